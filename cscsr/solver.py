"""What every method in the toolkit is: a Solver that solves a Problem and returns a Solution.

A solver is a small frozen dataclass. Its constructor only checks and stores parameters; it reads
weights and computes transforms in `prepare` or at the first `solve`. Importing this module loads
neither torch nor pandas.
"""

from __future__ import annotations

import enum
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from cscsr.arrays import described

if TYPE_CHECKING:
    import pandas as pd

P = TypeVar("P")

Callback = Callable[[int, Any], Any]
"""Called as callback(iteration, estimate) while the clock is paused; returning True ends the
solve."""


class Status(enum.Enum):
    """How a solve ended."""

    CONVERGED = "converged"
    CERTIFIED = "certified"
    MAX_ITERATIONS = "max_iterations"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    DIRECT = "direct"

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "The stopping tolerance was reached.",
    Status.CERTIFIED: "The duality gap reached its tolerance.",
    Status.MAX_ITERATIONS: "All iterations that were allowed were made; "
    "no tolerance ended the solve before.",
    Status.MAX_SECONDS: "The time allowed was used up before the tolerance was reached.",
    Status.STOPPED: "The callback asked for the end.",
    Status.DIVERGED: "The iterates stopped being finite or the objective grew; "
    "the last good iterate is returned.",
    Status.DIRECT: "The method is not iterative: the answer was computed in one pass.",
}


class Trace:
    """One row per recorded iteration of a solve.

    The columns are `Trace.COLUMNS`; a quantity that was not requested, or that the method does not
    define, is NaN. `seconds` is the solver's own time, without metrics and callbacks. `operations`
    is the number of multiply-adds so far where it depends on the data and is counted while solving;
    otherwise see `Solver.operations`.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "iteration",
        "seconds",
        "objective",
        "relative_change",
        "nnz",
        "duality_gap",
        "psnr_db",
        "operations",
    )

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []

    def append(self, iteration: int, seconds: float, **values: float) -> None:
        """Record one iteration.

        Parameters
        ----------
        iteration
            The number of the iteration, from 1 (0: the start).
        seconds
            The solver's own time so far.
        **values
            Further columns by name.

        Raises
        ------
        TypeError
            For a column that does not exist.
        """
        unknown = set(values) - set(self.COLUMNS)
        if unknown:
            raise TypeError(f"a trace has no column {', '.join(sorted(unknown))}")
        row = dict.fromkeys(self.COLUMNS, math.nan)
        row.update(iteration=iteration, seconds=seconds, **values)
        self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, column: str) -> np.ndarray:
        """One column as a float64 array of shape (len(trace),)."""
        if column not in self.COLUMNS:
            raise KeyError(column)
        return np.array([row[column] for row in self._rows], dtype=np.float64)

    def to_frame(self) -> pd.DataFrame:
        """Return the trace as a DataFrame with the columns of `Trace.COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(self.COLUMNS))

    def __repr__(self) -> str:
        return f"Trace({len(self)} rows)"

    def _repr_html_(self) -> str:
        """The first and the last rows, for notebooks."""
        from cscsr.notebook import trace_html

        return trace_html(self)


@dataclass(frozen=True, repr=False)
class Solution:
    """What a solver returns.

    Attributes
    ----------
    estimate
        The answer, in the array type, dtype and device of the problem's own array: codes
        ([B,]M,H,W) of a `SparseCoding`, the high-resolution image (sH,sW[,3]) of a
        `SuperResolution`, nominally in [0,1].
    status
        How the solve ended.
    trace
        Its recorded iterations.
    seconds
        The solver's own wall time.
    codes
        The sparse codes, where the method has any.
    solver
        The name of the solver that `auto` picked; None of all others.
    """

    estimate: Any
    status: Status
    trace: Trace = field(default_factory=Trace)
    seconds: float = 0.0
    codes: Any = None
    solver: str | None = None

    def __repr__(self) -> str:
        parts = [f"{self.status.value} in {self.seconds:.3g} s"]
        if len(self.trace):
            parts[0] = (
                f"{self.status.value} after {self.trace['iteration'][-1]:.0f} iterations "
                f"in {self.seconds:.3g} s"
            )
            for column in ("objective", "duality_gap"):
                value = self.trace[column][-1]
                if not math.isnan(value):
                    parts.append(f"{column} {value:.6g}")
        if self.solver is not None:
            parts[0] += f" by {self.solver}"
        if self.codes is not None:
            count = int((self.codes != 0).sum())
            share = count / math.prod(self.codes.shape)
            parts.append(f"codes {described(self.codes)}, {count} nonzero ({share:.2%})")
        if self.codes is not self.estimate:
            parts.append(f"estimate {described(self.estimate)}")
        return f"Solution({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        from cscsr.notebook import solution_html

        return solution_html(self)


class Stopwatch:
    """A clock for solvers that can be paused while something else runs.

    Parameters
    ----------
    device
        With a CUDA device the GPU is synchronised before each reading, so that queued work
        counts for whoever queued it.

    Attributes
    ----------
    clock
        The function that is read, in seconds of wall time; a benchmark may replace it.
    """

    clock: ClassVar[staticmethod[[], float]] = staticmethod(time.perf_counter)

    def __init__(self, device: Any = None) -> None:
        self._cuda = device if str(device).startswith("cuda") else None
        self._total = 0.0
        self._since: float | None = self._now()

    def _now(self) -> float:
        if self._cuda is not None:
            import torch

            torch.cuda.synchronize(self._cuda)
        return self.clock()

    @property
    def seconds(self) -> float:
        """Seconds so far, without the pauses."""
        return self._total + (0.0 if self._since is None else self._now() - self._since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the clock inside the `with` block."""
        self._total = self.seconds
        self._since = None
        try:
            yield
        finally:
            self._since = self._now()


class Solver(ABC, Generic[P]):
    """A method that solves one kind of problem. Subclasses are frozen dataclasses.

    A solver computes on the device of the problem's array unless its parameter `device` names
    another or it runs on the CPU only; the solution returns to the problem's device.

    Attributes
    ----------
    problem_type
        `cscsr.SparseCoding` or `cscsr.SuperResolution`.
    supports_lam_array, supports_mask
        Of a solver of `SparseCoding`: whether it can solve problems with λ by atom or by code, and
        with a mask. `supports` refuses those that it cannot.
    """

    problem_type: ClassVar[type]
    supports_lam_array: ClassVar[bool] = False
    supports_mask: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """Raised whenever the same parameters would give another answer, so that stored results
        are computed again. Include the inner solver's version."""
        return "1"

    @property
    @abstractmethod
    def name(self) -> str:
        """The registered name, for instance ``csc-sr[ista]``."""

    @property
    def line(self) -> str:
        """The line of the paper's tables that a `SuperResolution` method belongs to: "y" (luma) or
        "rgb"."""
        return "y"

    @abstractmethod
    def solve(self, problem: P, *, init: Any = None, callback: Callback | None = None) -> Solution:
        """Solve `problem`.

        Parameters
        ----------
        problem
            An instance of `problem_type`.
        init
            The starting point, where the method has one.
        callback
            Called after each iteration of an iterative method; see `Callback`.

        Raises
        ------
        InputError
            If `supports(problem)` returns a reason.
        """

    def supports(self, problem: P) -> str | None:
        """Return None if the solver can solve `problem`, else the reason as a sentence."""
        if not isinstance(problem, self.problem_type):
            return (
                f"{self.name} solves a {self.problem_type.__name__}, "
                f"not a {type(problem).__name__}."
            )
        if getattr(problem, "has_lam_array", False) and not self.supports_lam_array:
            return f"{self.name} solves only problems with one number lam, not with an array."
        if getattr(problem, "mask", None) is not None and not self.supports_mask:
            return f"{self.name} solves only problems without a mask."
        return None

    def prepare(self, problem: P) -> None:
        """Do the one-time work (read weights, transform filters) now, outside the time of
        `solve`."""

    def operations(self, problem: P, iterations: int | None = None) -> float | None:
        """Return the multiply-adds of a solve of `problem`, or None where they are unknown.

        The count covers convolutions, matrix products and transforms as they are computed here (a
        Fourier transform of n real points counts 1.25·n·log₂ n). It leaves out additions of whole
        arrays, shrinkage, norms and the one-time work of `prepare`.

        Parameters
        ----------
        problem
            The problem to solve.
        iterations
            The number of iterations; None: the solver's cap.
        """
        return None

    def params(self) -> dict[str, Any]:
        """Return the constructor's arguments, in order. With `name`, `version` and `weights_sha256`
        they identify a result."""
        assert is_dataclass(self)
        return {parameter.name: getattr(self, parameter.name) for parameter in fields(self)}

    def halo(self, scale: int) -> int | None:
        """Return how far the enlargement of a part depends on the image around it.

        Returns the distance in pixels of the low-resolution image beyond which the answer changes
        by no more than rounding, so that a large image can be enlarged in parts. None, the
        default: every pixel depends on the whole image.
        """
        return None

    def tile_side(self, scale: int) -> int | None:
        """For `SuperResolution`: the side of the parts, halos not counted, that a large
        low-resolution image is best cut into; None, the default: any that `supports` accepts."""
        return None

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 of the trained parameters that `solve` reads, or None."""
        return None

    def _repr_html_(self) -> str:
        """A table of the parameters, for notebooks."""
        from cscsr.notebook import solver_html

        return solver_html(self)
