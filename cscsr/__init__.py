"""Classical and learned convolutional sparse coding for image super-resolution.

    >>> import cscsr
    >>> solver = cscsr.make_solver("bicubic")
    >>> solution = solver.solve(cscsr.SuperResolution(lr, scale=2))    # doctest: +SKIP

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
