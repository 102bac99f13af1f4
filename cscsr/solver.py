"""What every method in the toolkit is: a Solver that solves a Problem and returns a Solution.

A solver is a small frozen dataclass. Its constructor stores parameters and does
nothing else; weights are read and transforms are made in `prepare` or at the first
`solve`. This module needs neither torch nor pandas to be imported.
"""

from __future__ import annotations

import enum
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

P = TypeVar("P")

Callback = Callable[[int, Any], Any]
"""Called as callback(iteration, estimate) off the clock; returning True ends an iterative solve."""


class Status(enum.Enum):
    """How a solve ended. `status.message` is a sentence a person can read."""

    CONVERGED = "converged"
    CERTIFIED = "certified"
    MAX_ITERATIONS = "max_iterations"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    DIRECT = "direct"

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "The stopping tolerance was reached.",
    Status.CERTIFIED: "The duality gap reached its tolerance.",
    Status.MAX_ITERATIONS: "The cap on iterations was reached before the tolerance.",
    Status.MAX_SECONDS: "The time allowed was used up before the tolerance was reached.",
    Status.STOPPED: "The callback asked for the end.",
    Status.DIVERGED: "The iterates stopped being finite or the objective grew; "
    "the last good iterate is returned.",
    Status.DIRECT: "The method is not iterative: the answer was computed in one pass.",
}


class Trace:
    """One row per recorded iteration of a solve.

    Columns are `Trace.COLUMNS`; a quantity that was not asked for or is not defined
    for the method is NaN. `seconds` is the solver's own time: metrics and callbacks
    are off the clock. `operations` are the multiply-adds so far where they depend on the
    data and so are counted while solving; elsewhere `Solver.operations` has them.
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
        """Record one iteration; `values` are named by `Trace.COLUMNS`. Raises TypeError
        for a column that does not exist."""
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
        """The trace as a DataFrame with the columns of `Trace.COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(self.COLUMNS))

    def __repr__(self) -> str:
        return f"Trace({len(self)} rows)"


@dataclass(frozen=True)
class Solution:
    """What a solver returns.

    estimate: the answer: codes (M,H,W) for `SparseCoding`, the high-resolution image
    (sH,sW) or (sH,sW,3) in [0,1] for `SuperResolution`; of the kind, dtype and device
    of the problem's own array.
    status, trace, seconds: how it ended, what happened on the way, and the solver's
    own wall time.
    codes: the sparse codes, where the method has any.
    """

    estimate: Any
    status: Status
    trace: Trace = field(default_factory=Trace)
    seconds: float = 0.0
    codes: Any = None


class Stopwatch:
    """A clock for solvers that stands still while something else is measured.

    With a CUDA `device` the GPU is synchronised before each reading, so that queued
    work counts for whoever queued it.

    clock: what is read, seconds of wall time; a benchmark may put another in its place.
    """

    clock: ClassVar[Callable[[], float]] = staticmethod(time.perf_counter)

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
        """Seconds run so far, pauses left out."""
        return self._total + (0.0 if self._since is None else self._now() - self._since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still inside the `with` block."""
        self._total = self.seconds
        self._since = None
        try:
            yield
        finally:
            self._since = self._now()


class Solver(ABC, Generic[P]):
    """A method that solves one kind of problem. Subclasses are frozen dataclasses.

    problem_type: `cscsr.SparseCoding` or `cscsr.SuperResolution`.
    version: raised whenever the same parameters would give another answer, so that
    stored results are made again. A solver that holds another has that one's in it too.
    """

    problem_type: ClassVar[type]
    version: ClassVar[str] = "1"

    @property
    @abstractmethod
    def name(self) -> str:
        """The registered name, for instance ``csc-sr[ista]``."""

    @property
    def line(self) -> str:
        """For `SuperResolution`, the line of the paper's tables the method belongs to: "y"
        (works on luma) or "rgb"."""
        return "y"

    @abstractmethod
    def solve(self, problem: P, *, init: Any = None, callback: Callback | None = None) -> Solution:
        """Solve `problem`, starting from `init` where the method has a starting point.

        Raises `cscsr.InputError` when `supports(problem)` gives a reason.
        """

    def supports(self, problem: P) -> str | None:
        """None if the problem can be solved, else the reason why not, as a sentence."""
        if not isinstance(problem, self.problem_type):
            return (
                f"{self.name} solves a {self.problem_type.__name__}, "
                f"not a {type(problem).__name__}."
            )
        return None

    def prepare(self, problem: P) -> None:
        """Do now what needs doing once (read weights, transform filters), so that the
        time of `solve` does not hold it."""

    def operations(self, problem: P, iterations: int | None = None) -> float | None:
        """Multiply-adds that a solve of `problem` takes, or None where nobody has counted them.

        iterations: how many an iterative method makes; None: its cap. What is counted is the
        arithmetic of convolutions, matrix products and transforms as they are computed here
        (a Fourier transform of n real points as 1.25·n·log₂ n); additions of whole arrays,
        shrinkage and norms are left out, and so is what `prepare` does once.
        """
        return None

    def params(self) -> dict[str, Any]:
        """The constructor's arguments, in order: with `name`, `version` and `weights_sha256`
        they identify a result."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def halo(self, scale: int) -> int | None:
        """For `SuperResolution`: how far around a part of the low-resolution image, in its
        pixels, the answer there depends on the image to more than rounding, so that a large
        image can be enlarged in parts. None, the default: on all of it."""
        return None

    def tile_side(self, scale: int) -> int | None:
        """For `SuperResolution`: the side of the parts, halos not counted, that a large
        low-resolution image is best cut into; None, the default: any that `supports` accepts."""
        return None

    def weights_sha256(self) -> str | None:
        """SHA-256 of the trained parameters that `solve` reads, or None."""
        return None
