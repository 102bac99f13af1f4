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
atoms = np.pad(problem.dictionary, ((0, 0), (1, 1), (1, 1)))
atoms /= abs(atoms).max(axis=(1, 2), keepdims=True)
mosaic = np.block([[atoms[4 * row + column] for column in range(4)] for row in range(4)])
strength = abs(codes).sum(axis=0)

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), dpi=110, layout="constrained")
limit = abs(problem.signal).max()
panels = [
    (
        "image without its smooth part",
        problem.signal,
        {"cmap": "gray", "vmin": -limit, "vmax": limit},
    ),
    ("16 filters", mosaic, {"cmap": "gray", "vmin": -1, "vmax": 1}),
    ("pixels with a code that is not zero", strength > 0, {"cmap": "gray_r"}),
    ("sum of filters and codes", approximation, {"cmap": "gray", "vmin": -limit, "vmax": limit}),
]
for axis, (title, image, look) in zip(axes, panels, strict=True):
    axis.imshow(image, interpolation="nearest", **look)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
figure.savefig("first_sparse_code.png")
