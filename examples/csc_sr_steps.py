# %% [markdown]
# # CSC-SR step by step
#
# CSC-SR (Gu et al. 2015) enlarges an image in four steps. `cscsr.CSCSR` makes them in one call;
# here they are one by one, on a photograph that comes with scikit-image, shrunk by 2.

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
from cscsr.csc_sr.solver import divide, enlarged_residual
from cscsr.csc_sr.weight_file import read_weights
from cscsr.data.datasets import demo
from cscsr.imaging import degrade, imresize, luma_of, score

scale = 2
truth = dict(demo())["chelsea"]
small = degrade(truth, scale, "y")
print("input:", small.shape, small.dtype)

# %% [markdown]
# **1. Divide.** A smooth part, which bicubic interpolation enlarges well, and a residual, which
# it does not. (The residual is continued beyond the edge by a margin, because the filters wrap
# around.)

# %%
weights = read_weights("csc-sr-fista")
smooth, residual = divide(small, scale, "float32")
print("enlarged smooth part:", smooth.shape, " residual with margin:", residual.shape)

# %% [markdown]
# **2. Code** the residual: the sparse-coding problem of the first example, with filters learned
# on residuals of other images.

# %%
coder, problem = weights.coding(residual, scale, "fista")
codes = coder.solve(problem).codes
print(problem)
print(f"{np.count_nonzero(codes) / codes.size:.1%} of the codes are not zero")

# %% [markdown]
# **3. Map.** Each code of the small image becomes a code of the large one: zeros are put between,
# and the HR filters are combined by the mapping. **4. Add** the smooth part again.

# %%
kernels = weights.collapsed(scale, "paper")
detail = enlarged_residual(codes, kernels, weights.filter_size, scale)
estimate = smooth + detail

whole = cscsr.CSCSR(coder="fista").solve(cscsr.SuperResolution(small, scale)).estimate
print(f"difference from cscsr.CSCSR: {abs(estimate - whole).max():.1e}")

bicubic = imresize(small.astype(np.float64), scale)
psnr = {
    name: score(image, truth, scale, "y")["psnr"]
    for name, image in {"bicubic": bicubic, "CSC-SR": estimate}.items()
}
for name, value in psnr.items():
    print(f"{name:8} {value:.2f} dB")

# %%
part = np.s_[60:156, 20:116]
panels = {
    f"bicubic\n{psnr['bicubic']:.2f} dB": bicubic[part],
    "1. smooth part, enlarged": smooth[part],
    "3. detail from the codes\n(contrast ×4)": 0.5 + 4 * detail[part],
    f"4. their sum: CSC-SR\n{psnr['CSC-SR']:.2f} dB": estimate[part],
    "the truth": luma_of(truth)[part] / 255,
}
figure, axes = plt.subplots(1, len(panels), figsize=(11, 2.8), dpi=110, layout="constrained")
for axis, (title, image) in zip(axes, panels.items(), strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
figure.savefig("csc_sr_steps.png")
