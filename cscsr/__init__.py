"""Classical and learned convolutional sparse coding for image super-resolution.

Everything is a solver of one of two problems, made by name or from its class:

    >>> import numpy as np, cscsr
    >>> image = np.random.default_rng(0).random((24, 32), dtype=np.float32)
    >>> solution = cscsr.make_solver("bicubic").solve(cscsr.SuperResolution(image, scale=2))
    >>> solution.estimate.shape
    (48, 64)
    >>> cscsr.Bicubic().solve(cscsr.SuperResolution(image, scale=3)).estimate.shape
    (72, 96)

- `list_solvers()` names the solvers, `make_solver(name, **parameters)` makes one. Their classes
  are here too: `ISTA`, `FISTA`, `CISTA`, `ADMM`, `ActiveSet`, `Auto`, `SporcoADMM`, `SporcoPGM` and
  `LISTA` solve sparse coding; `Bicubic`, `ScSR`, `APlus`, `CSCSR` and `NetworkSolver`
  super-resolution.
- `SuperResolution(lr, scale)` is an image to be enlarged, floating point in [0,1];
  `SparseCoding(signal, dictionary, lam)` asks for the codes z that minimise
  ½‖y − Σ fᵢ⊗zᵢ‖² + λ‖z‖₁. λ may vary by atom or code, and a mask marks missing elements of y.
- `race(problem, solvers, gap=1e-4)` runs solvers of sparse coding to a certified optimum.
- `learn_dictionary(images)` learns the filters of sparse coding; `save_codes` and `load_codes`
  keep codes in small files.
- `upscale(images, scale)` takes images as torch has them (``layout="chw"``), batches and whole
  numbers; `from_sporco(D, S, lmbda)` makes the problem of sporco's arrays.
- `Solution` has the `estimate`, a `status`, the `seconds` and the `trace`, a row for each
  iteration (`solution.trace.to_frame()`).
- Bad input raises `InputError`: one sentence with the remedy.
- `Solver` is the class to derive from; a package's entry points in the group
  ``cscsr.solvers`` put its solvers beside these (docs/add-a-solver.md).

Files are read and written by `cscsr.imaging` (`read_image`, `write_image`; the protocol of the
tables is there too), data sets by `cscsr.data`. The command is `cscsr --help`.

Importing this package loads none of the packages that it needs: a module is imported when what it
holds is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cscsr.errors import InputError

if TYPE_CHECKING:  # the same as _LAZY, for type checkers and editors
    from cscsr.bicubic import Bicubic
    from cscsr.codes import load_codes, save_codes
    from cscsr.convolution import stack_filters
    from cscsr.csc_sr.solver import CSCSR
    from cscsr.layouts import from_sporco, upscale
    from cscsr.learn.learner import LearnedDictionary, learn_dictionary
    from cscsr.network import NetworkSolver
    from cscsr.patches.a_plus import APlus
    from cscsr.patches.scsr import ScSR
    from cscsr.problem import SparseCoding
    from cscsr.racing import Race, race
    from cscsr.registry import list_solvers, make_solver
    from cscsr.solver import Solution, Solver, Status, Stopwatch, Trace
    from cscsr.sparse.active_set import ActiveSet
    from cscsr.sparse.admm import ADMM
    from cscsr.sparse.auto import Auto
    from cscsr.sparse.cista import CISTA
    from cscsr.sparse.ista import FISTA, ISTA
    from cscsr.sparse.lista import LISTA
    from cscsr.sparse.sporco import SporcoADMM, SporcoPGM
    from cscsr.super_resolution import SuperResolution

__version__ = "0.2.0"

__all__ = [
    "ADMM",
    "CISTA",
    "CSCSR",
    "FISTA",
    "ISTA",
    "LISTA",
    "APlus",
    "ActiveSet",
    "Auto",
    "Bicubic",
    "InputError",
    "LearnedDictionary",
    "NetworkSolver",
    "Race",
    "ScSR",
    "Solution",
    "Solver",
    "SparseCoding",
    "SporcoADMM",
    "SporcoPGM",
    "Status",
    "Stopwatch",
    "SuperResolution",
    "Trace",
    "from_sporco",
    "learn_dictionary",
    "list_solvers",
    "load_codes",
    "make_solver",
    "race",
    "save_codes",
    "stack_filters",
    "upscale",
]

_LAZY = {
    "ADMM": "cscsr.sparse.admm:ADMM",
    "APlus": "cscsr.patches.a_plus:APlus",
    "ActiveSet": "cscsr.sparse.active_set:ActiveSet",
    "Auto": "cscsr.sparse.auto:Auto",
    "Bicubic": "cscsr.bicubic:Bicubic",
    "CISTA": "cscsr.sparse.cista:CISTA",
    "CSCSR": "cscsr.csc_sr.solver:CSCSR",
    "FISTA": "cscsr.sparse.ista:FISTA",
    "ISTA": "cscsr.sparse.ista:ISTA",
    "LISTA": "cscsr.sparse.lista:LISTA",
    "LearnedDictionary": "cscsr.learn.learner:LearnedDictionary",
    "NetworkSolver": "cscsr.network:NetworkSolver",
    "Race": "cscsr.racing:Race",
    "Solution": "cscsr.solver:Solution",
    "Solver": "cscsr.solver:Solver",
    "ScSR": "cscsr.patches.scsr:ScSR",
    "SparseCoding": "cscsr.problem:SparseCoding",
    "SporcoADMM": "cscsr.sparse.sporco:SporcoADMM",
    "SporcoPGM": "cscsr.sparse.sporco:SporcoPGM",
    "Status": "cscsr.solver:Status",
    "Stopwatch": "cscsr.solver:Stopwatch",
    "SuperResolution": "cscsr.super_resolution:SuperResolution",
    "Trace": "cscsr.solver:Trace",
    "learn_dictionary": "cscsr.learn.learner:learn_dictionary",
    "list_solvers": "cscsr.registry:list_solvers",
    "load_codes": "cscsr.codes:load_codes",
    "make_solver": "cscsr.registry:make_solver",
    "race": "cscsr.racing:race",
    "save_codes": "cscsr.codes:save_codes",
    "stack_filters": "cscsr.convolution:stack_filters",
    "from_sporco": "cscsr.layouts:from_sporco",
    "upscale": "cscsr.layouts:upscale",
}
"""What is imported when it is first used, so that the command is there at once: name to
"module:attribute"."""


def __getattr__(name: str) -> Any:
    """What `name` stands for in `_LAZY` (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name].split(":")
    globals()[name] = value = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
