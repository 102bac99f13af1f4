# %% [markdown]
# # Learn a dictionary
#
# Filters that are made for an image code it with fewer of them. `cscsr.learn_dictionary` learns
# filters from any arrays or image files, by turns: the codes of some parts, then the filters for
# all codes so far. Here the lower part of scikit-image's camera is learned from, and the upper
# part is coded.

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
import cscsr.plot
from cscsr.data.problems import camera, high_passed

image = high_passed(camera()).astype(np.float32)
learned = cscsr.learn_dictionary([image[320:]], atoms=25, size=7, lam=0.05, steps=25)
print(learned)

# %% [markdown]
# The objective under the learned filters, and under random ones of the same size. Each solve stops
# when its duality gap proves that the optimum is at most 1 % lower.

# %%
random = np.random.default_rng(0).standard_normal(learned.filters.shape).astype(np.float32)
random /= np.linalg.norm(random, axis=(1, 2), keepdims=True)
figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), dpi=110, layout="constrained")
for axis, (name, filters) in zip(
    axes, {"random": random, "learned": learned.filters}.items(), strict=True
):
    problem = cscsr.SparseCoding(image[64:128, 192:256], filters, lam=0.05)
    solution = cscsr.ADMM(iterations=300, tol=0, gap_tol=1e-2).solve(problem)
    share = np.count_nonzero(solution.codes) / problem.signal.size
    objective = problem.objective(solution.codes)
    print(f"{name:8} objective {objective:.3f}, {share:.2f} codes per pixel")
    cscsr.plot.dictionary(filters, ax=axis)
    axis.set_title(f"{name} filters: objective {objective:.2f}", fontsize=10)
figure.savefig("learn_a_dictionary.png")

# %% [markdown]
# On the command line, `cscsr learn-dictionary photos --atoms 64 --size 8 --out dictionary.npy`
# does this with a folder of images. [Dictionary learning](../docs/dictionary-learning.md) has the
# method, and how fast it is.
