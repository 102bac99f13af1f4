# %% [markdown]
# # A solver of your own, in the table
#
# A solver is a frozen dataclass with a method `solve`. This one sharpens what bicubic
# interpolation makes, until shrinking it gives the small image again (iterative back-projection,
# Irani and Peleg 1991).

# %%
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

import cscsr
from cscsr.data.datasets import demo
from cscsr.imaging import degrade, imresize, score


@dataclass(frozen=True)
class BackProjection(cscsr.Solver[cscsr.SuperResolution]):
    """x ← x + enlarge(y − shrink(x)), from x = enlarge(y)."""

    problem_type = cscsr.SuperResolution
    line = "rgb"
    name = "back-projection"

    iterations: int = 5

    def solve(self, problem, *, init=None, callback=None):
        if reason := self.supports(problem):
            raise cscsr.InputError(reason)
        clock, trace = cscsr.Stopwatch(), cscsr.Trace()
        small = np.asarray(problem.lr, dtype=np.float64)
        image = imresize(small, problem.scale)
        for k in range(1, self.iterations + 1):
            image = image + imresize(small - imresize(image, 1 / problem.scale), problem.scale)
            trace.append(k, clock.seconds)
        estimate = image.astype(np.asarray(problem.lr).dtype)
        return cscsr.Solution(estimate, cscsr.Status.MAX_ITERATIONS, trace, clock.seconds)


# %% [markdown]
# `cscsr.testing.check_solver` holds a solver to the contract that all solvers keep: shapes and
# types, determinism, refusals, threads. This one breaks three rules, each named by a sentence.

# %%
from cscsr.testing import check_solver

try:
    check_solver(BackProjection())
except AssertionError as broken:
    print(broken)

# %% [markdown]
# `problem.lr` may be a torch tensor, and then the answer has to be one. `to_type_of` does that.
# `callback` has to be called, too.

# %%
from cscsr.arrays import to_numpy, to_type_of


@dataclass(frozen=True)
class Mended(BackProjection):
    def solve(self, problem, *, init=None, callback=None):
        if reason := self.supports(problem):
            raise cscsr.InputError(reason)
        clock, trace, status = cscsr.Stopwatch(), cscsr.Trace(), cscsr.Status.MAX_ITERATIONS
        small = to_numpy(problem.lr).astype(np.float64)
        image = imresize(small, problem.scale)
        for k in range(1, self.iterations + 1):
            image = image + imresize(small - imresize(image, 1 / problem.scale), problem.scale)
            trace.append(k, clock.seconds)
            with clock.paused():
                if callback is not None and callback(k, to_type_of(image, problem.lr)):
                    status = cscsr.Status.STOPPED
                    break
        return cscsr.Solution(to_type_of(image, problem.lr), status, trace, clock.seconds)


check_solver(Mended())
print("the contract is kept")

# %% [markdown]
# Now beside others, on the four colour photographs of the embedded set `demo`. In a package of its
# own, with two lines in `pyproject.toml`, the solver stands in `cscsr solvers`, and in the table
# and the page of `cscsr compare`: [add a solver](../docs/add-a-solver.md).

# %%
scale = 3
solvers = [cscsr.Bicubic(), Mended(), cscsr.make_solver("crnet-b-small")]
images = {name: truth for name, truth in demo() if truth.ndim == 3}
table = np.zeros((len(solvers), len(images)))
for column, truth in enumerate(images.values()):
    problem = cscsr.SuperResolution(degrade(truth, scale, "rgb"), scale)
    for row, solver in enumerate(solvers):
        table[row, column] = score(solver.solve(problem).estimate, truth, scale, "rgb")["psnr"]

print(f"{'PSNR, dB':16}", *(f"{name:>10}" for name in images), f"{'mean':>10}")
for solver, row in zip(solvers, table, strict=True):
    print(f"{solver.name:16}", *(f"{value:10.2f}" for value in (*row, row.mean())))

# %%
figure, axis = plt.subplots(figsize=(7, 3.2), dpi=110, layout="constrained")
for solver, row, marker in zip(solvers, table, "osD", strict=True):
    axis.plot(row, range(len(images)), marker, label=solver.name)
axis.set_yticks(range(len(images)), images)
axis.set(xlabel="PSNR (dB)", title=f"×{scale}", ylim=(-0.5, len(images) - 0.2))
axis.grid(alpha=0.25)
axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
figure.savefig("your_own_solver.png")
