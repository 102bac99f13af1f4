# %% [markdown]
# # Which solver is fastest on your dictionary?
#
# ISTA, FISTA, ADMM or the active set: it depends on the dictionary, on λ and on how accurate the
# codes must be. So try your own: here a dictionary of Gabor filters, which nothing in this package
# was tuned to. Put your filters, of shape (M, h, w), and your image in their place.
#
# On the command line `OMP_NUM_THREADS=1 cscsr race photo.png --dictionary filters.npy` does this
# for an image and a NumPy file of filters. With one thread, seconds are processor time, to which
# other work on the machine adds little.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch

import cscsr
from cscsr.data.problems import camera, high_passed

y, x = np.mgrid[-4:5, -4:5]
filters = []
for angle, period in itertools.product(np.arange(6) * np.pi / 6, (3.0, 5.0)):
    wave = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    envelope = np.exp(-(x**2 + y**2) / (2 * (0.5 * period) ** 2))
    filters += [envelope * np.cos(wave), envelope * np.sin(wave)]
dictionary = np.stack([f - f.mean() for f in filters])
dictionary /= np.linalg.norm(dictionary, axis=(1, 2), keepdims=True)

signal = high_passed(camera())[64:128, 192:256]
problem = cscsr.SparseCoding(signal.astype(np.float32), dictionary.astype(np.float32), lam=0.05)
problem

# %% [markdown]
# `cscsr.race` first computes the optimum P* in double precision, with a duality gap that says how
# close it is, so no solver is judged by another. Then each solver runs from zero until its
# objective is within the gap. The clock stops while the objective is computed.

# %%
torch.set_num_threads(1)
names = ["ista", "fista", "admm", "active-set", "sporco-admm"]
result = cscsr.race(problem, names, gap=1e-3, iterations=200)
print(result)

# %% [markdown]
# The first row is the fastest. Dashes mark a solver that did not come within the gap. ISTA and
# FISTA take many cheap steps, ADMM takes few that each solve a linear system, and the active-set
# solver works on the few codes that are not zero.

# %%
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3.8), dpi=110, sharey=True, layout="constrained"
)
for name, run in result.runs.items():
    left.plot(run.iteration, run.gap, label=name)
    right.plot(run.seconds, run.gap)
left.set(yscale="log", xlabel="iteration", ylabel="relative gap, P/P* − 1")
right.set(xscale="log", xlabel=f"seconds ({result.clock})")
for axes in (left, right):
    axes.axhline(result.gap, color="black", linewidth=0.8, linestyle=":")
    axes.grid(alpha=0.25)
figure.legend(loc="outside right center", frameon=False)
figure.suptitle("24 Gabor filters of 9×9, 64×64 pixels, λ = 0.05", fontsize=10)
figure.savefig("admm_or_ista.png")
