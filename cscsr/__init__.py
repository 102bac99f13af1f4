"""Classical and learned convolutional sparse coding for image super-resolution.

Everything is a solver of one of two problems, made by name:

    >>> import numpy as np, cscsr
    >>> image = np.random.default_rng(0).random((24, 32), dtype=np.float32)
    >>> solution = cscsr.make_solver("bicubic").solve(cscsr.SuperResolution(image, scale=2))
    >>> solution.estimate.shape
    (48, 64)

- `list_solvers()` names the solvers, `make_solver(name, **parameters)` makes one.
- `SuperResolution(lr, scale)` is an image to be enlarged, floating point in [0,1];
  `SparseCoding(signal, dictionary, lam)` wants the codes z that minimise
  ½‖y − Σ fᵢ⊗zᵢ‖² + λ‖z‖₁.
- `Solution` has the `estimate`, a `status`, the `seconds` and the `trace`, a row for each
  iteration (`solution.trace.to_frame()`).
- `InputError` is what bad input raises: one sentence with the remedy.
- `Solver` is the class to derive from; a package's entry points in the group
  ``cscsr.solvers`` put its solvers beside these (docs/add-a-solver.md).

Files are read and written by `cscsr.imaging` (`read_image`, `write_image`; the protocol of the
tables is there too), data sets by `cscsr.data`. The command is `cscsr --help`.

Importing this package loads neither torch nor sporco nor pandas nor matplotlib.
"""

from cscsr.errors import InputError
from cscsr.problem import SparseCoding, SuperResolution
from cscsr.registry import list_solvers, make_solver
from cscsr.solver import Solution, Solver, Status, Stopwatch, Trace

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Solution",
    "Solver",
    "SparseCoding",
    "Status",
    "Stopwatch",
    "SuperResolution",
    "Trace",
    "list_solvers",
    "make_solver",
]
