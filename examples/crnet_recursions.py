# %% [markdown]
# # PSNR per iteration: ISTA, ADMM and CRNet
#
# A CRNet makes K recursions of one block, which was derived from ISTA. So its image can be looked
# at after each of them, like an iterate of ISTA or ADMM. A problem that knows the truth makes
# every solver record the PSNR of each iterate: `trace["psnr_db"]`.

# %%
import matplotlib.pyplot as plt

import cscsr
import cscsr.plot
from cscsr.data.datasets import demo
from cscsr.imaging import degrade, luma_of, luma_psnr

scale = 2
truth = dict(demo())["chelsea"]
y = luma_of(truth) / 255.0
problem = cscsr.SuperResolution(degrade(truth, scale, "y"), scale, truth=y.astype("float32"))
rgb = cscsr.SuperResolution(
    degrade(truth, scale, "rgb"), scale, truth=(truth / 255).astype("float32")
)

# %% [markdown]
# CSC-SR with ISTA and with ADMM as coder, and the two CRNets. The luma methods get luma, CRNet-B
# gets RGB, as in the paper; the PSNR is that of luma for all.

# %%
traces = {}
for coder in ("ista", "admm"):
    traces[f"CSC-SR, {coder.upper()}"] = cscsr.CSCSR(coder=coder, trace=True).solve(problem).trace
traces["CRNet-A-small"] = cscsr.make_solver("crnet-a-small").solve(problem).trace
traces["CRNet-B-small"] = cscsr.make_solver("crnet-b-small").solve(rgb).trace
bicubic = luma_psnr(cscsr.Bicubic().solve(problem).estimate, y, scale)

for name, trace in traces.items():
    k, psnr = trace["iteration"], trace["psnr_db"]
    print(f"{name:14} {psnr[0]:.2f} dB at k = {k[0]:.0f}, {psnr[-1]:.2f} dB at k = {k[-1]:.0f}")

# %% [markdown]
# The networks add detail to the bicubic image, so they begin above it. ADMM's sparse variable
# stays near zero until its penalty has grown. All four are decoded by a map or by layers that
# were fitted to the last iterate only: the curves say how the iteration gets there, not how good
# fewer iterations could be. Whether CRNet's block still is a step of sparse coding is the subject
# of [Is CRNet sparse coding?](../docs/is-crnet-sparse-coding.md)

# %%
figure, axis = plt.subplots(figsize=(6.8, 3.8), dpi=110, layout="constrained")
cscsr.plot.trace(traces, y="psnr_db", ax=axis)
axis.axhline(bicubic, color="black", linewidth=0.8, linestyle=":", label="bicubic")
axis.legend(fontsize=8)
axis.set(xlabel="iteration or recursion", ylabel="PSNR of the image decoded then (dB)")
axis.set_title(f"chelsea, ×{scale}", fontsize=10)
figure.savefig("crnet_recursions.png")
