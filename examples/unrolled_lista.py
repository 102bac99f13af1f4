# %% [markdown]
# # Unroll it: LISTA
#
# Stop ISTA after 16 steps, and call the step sizes γₖ and thresholds θₖ of each step parameters:
#
#     z ← h_{θₖλ/L}(z + (γₖ/L) Fᵀ(y − F z)),   k = 1 … 16.
#
# That is a network of 16 layers, and it can be trained. `lista[step]` was, on the objective
# itself: no other solver's codes were needed. Where a learned step would raise the objective,
# ISTA's step takes its place, so it never does.

# %%
import matplotlib.pyplot as plt
import numpy as np

import cscsr
import cscsr.plot
from cscsr.data.problems import camera, high_passed

lista = cscsr.make_solver("lista[step]")
filters = lista.dictionary()
print("the filters it was trained for:", filters.shape)

signal = high_passed(camera())[64:128, 192:256]
problem = cscsr.SparseCoding(signal.astype(np.float32), filters, lam=0.02)
exact = cscsr.SparseCoding(signal, filters.astype(np.float64), lam=0.02)
optimum = cscsr.ActiveSet(tol=0, gap_tol=1e-6).solve(exact)
P = exact.objective(optimum.codes)

# %% [markdown]
# All three make one F and one Fᵀ per step. Sixteen learned steps are worth many of ISTA's. FISTA,
# which has no parameters to learn, overtakes in the end.

# %%
solutions = {
    name: cscsr.make_solver(name, iterations=48, tol=0).solve(problem)
    for name in ("ista", "fista", "lista[step]")
}
level = solutions["lista[step]"].trace["objective"][15]
for name in ("ista", "fista"):
    reached = np.flatnonzero(solutions[name].trace["objective"] <= level)
    steps = f"{reached[0] + 1} steps" if reached.size else "more than 48 steps"
    print(f"{name} needs {steps} to where lista[step] is after 16")

# %%
figure, axis = plt.subplots(figsize=(6.4, 3.8), dpi=110, layout="constrained")
cscsr.plot.trace(solutions, optimum=P, ax=axis)
axis.axvline(16, color="black", linewidth=0.8, linestyle=":")
axis.text(16.5, 1, "learned steps end", fontsize=8)
axis.set_title(f"{filters.shape[0]} filters, 64×64 pixels, λ = 0.02", fontsize=10)
figure.savefig("unrolled_lista.png")
