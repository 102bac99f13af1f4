# %% [markdown]
# # ADMM or ISTA, on your own dictionary
#
# Which solver is fastest depends on the dictionary, on λ and on how accurate the codes must be.
# So try your own: here a dictionary of Gabor filters, which nothing in this package was tuned to.
# Put your filters, of shape (M, h, w), and your image in their place.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import cscsr
import cscsr.plot
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
# The optimum comes first, from the active-set solver in double precision: its duality gap says
# how close it is, so no solver is judged by another.

# %%
exact = cscsr.SparseCoding(signal, dictionary, lam=0.05)
optimum = cscsr.ActiveSet(tol=0, gap_tol=1e-6).solve(exact)
optimum

# %% [markdown]
# Each solver records its objective and its own time at every iteration. All start from zero; the
# clock stops while the objective is computed. ISTA and FISTA take many cheap steps, ADMM takes
# few that each solve a linear system, and the active-set solver works on the few codes that are
# not zero.

# %%
P = exact.objective(optimum.codes)
solutions = {}
for name in ("ista", "fista", "admm", "active-set", "sporco-admm"):
    solver = cscsr.make_solver(name, iterations=120, tol=0, gap_tol=1e-3)
    solver.prepare(problem)
    solutions[name] = solver.solve(problem)
    reached = np.flatnonzero(solutions[name].trace["objective"] <= 1.01 * P)
    needed = f"{reached[0] + 1} iterations" if reached.size else "more than 120"
    print(f"{name:12} {needed:>16} to 1 %")

# %%
figure, ((left, right),) = plt.subplots(
    1, 2, figsize=(10, 3.8), dpi=110, sharey=True, squeeze=False, layout="constrained"
)
cscsr.plot.trace(solutions, optimum=P, ax=left)
cscsr.plot.trace(solutions, optimum=P, x="seconds", ax=right)
left.set_ylim(1e-5, 1)
right.set(xscale="log", ylabel="")
right.get_legend().remove()
figure.suptitle("24 Gabor filters of 9×9, 64×64 pixels, λ = 0.05", fontsize=10)
figure.savefig("admm_or_ista.png")
