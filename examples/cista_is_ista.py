# %% [markdown]
# # CISTA is ISTA
#
# CRNet's block is derived from one remark. ISTA's step
#
#     z ← h_{λ/L}(z + (1/L) Fᵀ(y − F z))
#
# is linear in z and y inside h, so its terms can be collected into two convolutions:
#
#     z ← h_{λ/L}(W⊗y + S⊗z),   W = (1/L) flip(f),   S = n − (1/L) flip(f)⊗f,
#
# with the identity filter n. That is CISTA: two convolutions and a pointwise function, a network.
# With these W and S it is the same iteration, which a computation can show.

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
from cscsr.data.problems import camera_problem

problem = camera_problem(size=64, atoms=16, filter_size=5, lam=0.05)
iterates = {"ista": [], "cista": []}
for name, codes_of in iterates.items():
    solver = cscsr.make_solver(name, iterations=40, tol=0)
    solver.solve(problem, callback=lambda k, z, codes_of=codes_of: codes_of.append(z.copy()))
    print(f"{name:6} {solver.operations(problem, 1):.3g} multiply-adds per iteration")

# %% [markdown]
# The iterates agree to a few roundings of double precision, and the difference does not grow.
# CISTA costs more, because S maps all M maps to all M maps with filters of (2s−1)×(2s−1). Nobody
# would solve sparse coding this way; but S and W can be learned, and then the block is no longer
# bound to one dictionary.

# %%
differences = [
    abs(a - b).max() / abs(a).max() for a, b in zip(*iterates.values(), strict=True) if a.any()
]
print(f"largest relative difference of the iterates: {max(differences):.1e}")

# %%
operator = problem.operator()
W, S = (np.asarray(filters) for filters in operator.cista_filters())
figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), dpi=110, layout="constrained")
axes[0].semilogy(np.arange(1, len(differences) + 1), differences, ".-")
axes[0].axhline(np.finfo(float).eps, color="black", linewidth=0.8, linestyle=":")
axes[0].set(xlabel="iteration", ylabel="largest relative difference")
axes[0].set_title("ISTA against CISTA (dotted: one rounding)", fontsize=10)
axes[0].set_ylim(1e-17, 1e-13)
axes[1].imshow(W[0, 0], cmap="gray")
axes[1].set_title(f"one filter of W, {W.shape[-2]}×{W.shape[-1]}", fontsize=10)
axes[2].imshow(S[0, 1], cmap="gray")
axes[2].set_title(f"one filter of S, {S.shape[-2]}×{S.shape[-1]}", fontsize=10)
for axis in axes[1:]:
    axis.set_axis_off()
figure.savefig("cista_is_ista.png")
