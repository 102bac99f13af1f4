# %% [markdown]
# # Your first sparse code
#
# An image y is written as a sum of small filters, each convolved with a map of codes that is zero
# almost everywhere: y ≈ Σᵢ fᵢ⊗zᵢ. Finding the codes is a convex problem,
#
#     z = argmin ½‖y − Σᵢ fᵢ⊗zᵢ‖² + λ‖z‖₁,
#
# and `cscsr.SparseCoding` is this problem. Here y is a crop of scikit-image's camera without its
# smooth part, and the filters were learned by sporco on other parts of the image.

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
import cscsr.plot
from cscsr.data.problems import camera_problem

problem = camera_problem(size=96, atoms=16, filter_size=5, lam=0.05)
problem

# %% [markdown]
# A solver is made by name or from its class. `gap_tol=1e-3` stops it as soon as the duality gap
# proves that the objective is within 0.1 % of the optimum.

# %%
solution = cscsr.FISTA(iterations=500, tol=0, gap_tol=1e-3).solve(problem)
solution

# %% [markdown]
# The codes have one map per filter. Nearly all are zero, and what they add up to is close to the
# image.

# %%
codes = solution.codes
approximation = problem.synthesis(codes)
share = np.count_nonzero(codes) / codes.size
error = np.linalg.norm(problem.signal - approximation) / np.linalg.norm(problem.signal)
print(f"codes {codes.shape}, {share:.1%} of them not zero; relative error {error:.1%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), dpi=110, layout="constrained")
limit = abs(problem.signal).max()
parts = {"image without its smooth part": problem.signal, "sum of filters and codes": approximation}
for axis, (title, part) in zip(axes[[0, 2]], parts.items(), strict=True):
    axis.imshow(part, cmap="gray", vmin=-limit, vmax=limit)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
cscsr.plot.dictionary(problem.dictionary, ax=axes[1])
axes[1].set_title("the 16 filters", fontsize=10)

# %% [markdown]
# The maps with the most in them, each with its filter in the corner. Most of each map is zero.

# %%
figure = cscsr.plot.codes(codes, most=7, filters=problem.dictionary)
figure.savefig("first_sparse_code.png")
