"""How far a run is, and how long a step takes: what keeps a run within its minutes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Annotated

from cscsr.errors import InputError
from cscsr.schema import Range

OFF_PLAN = 0.1
"""The plan changes when the run would end too early or too late by more than this share of the
time left."""

PACE_STEPS = 30
"""Steps over which the time per step is averaged, to keep a run within its minutes."""

LONGEST_STEP = 3
"""A step that takes longer than this many times the average has waited for something else."""


@dataclass
class Progress:
    """The progress of a run, as the schedule, the log and a resumed run need it.

    Attributes
    ----------
    step
        The number of steps so far.
    done
        The completed share of the schedule, in [0, 1].
    per_step
        The share that a step adds to `done`.
    seconds
        The time of all training steps so far.
    """

    step: Annotated[int, Range(0)] = 0
    done: Annotated[float, Range(0, 1)] = 0.0
    per_step: Annotated[float, Range(0)] = 0.0
    seconds: Annotated[float, Range(0, math.inf, open_high=True)] = 0.0

    def plan(self, pace: float, budget: float) -> None:
        """Set `per_step` so that the run ends on time; keep it if it is off by at most `OFF_PLAN`.

        Parameters
        ----------
        pace
            Seconds per step.
        budget
            Seconds for the whole run.
        """
        left = max(budget - self.seconds, 0.0)
        needed = (1 - self.done) / self.per_step * pace if self.per_step else math.inf
        if abs(needed - left) > OFF_PLAN * left:
            self.per_step = (1 - self.done) / max(1.0, left / pace)

    def plan_steps(self, total: int) -> None:
        """Set `per_step` so that the run ends after `total` steps; keep it if it does so anyway.

        Parameters
        ----------
        total
            Steps of the whole run, more than those made.
        """
        left = total - self.step
        if not self.per_step or round((1 - self.done) / self.per_step) != left:
            self.per_step = (1 - self.done) / left


@dataclass(frozen=True)
class Budget:
    """What a run may take, with what was trained before it was resumed.

    Attributes
    ----------
    minutes
        The time in training steps; None: `steps` are given.
    steps
        Updates of the weights; None: `minutes` are given.

    Raises
    ------
    InputError
        For both or neither, and for one that is not positive or not finite.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise InputError("training needs either minutes or steps, not both or neither.")
        if not 0 < (self.minutes or self.steps or 0) < math.inf:
            raise InputError(f"training needs a positive budget, got {self}.")

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.minutes is None else f"{self.minutes:g} minutes"

    def spent(self, progress: Progress) -> str | None:
        """Return what a run has spent if that is all of the budget, for a sentence; else None."""
        if self.minutes is None:
            assert self.steps is not None
            return f"made {progress.step}" if progress.step >= self.steps else None
        minutes = progress.seconds / 60
        return f"trained for {minutes:.2f}" if minutes >= self.minutes else None


class Pace:
    """Seconds per step, averaged over the last `PACE_STEPS` of a run.

    The wall clock goes on while a process is stopped (SIGSTOP, Ctrl-Z). So a step counts for no
    more than `LONGEST_STEP` times the average, or for the processor time that it took.

    Parameters
    ----------
    seconds
        Of a step, as measured before the run; 0: those of the first step, when it is made.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._wall, self._processor = 0.0, 0.0

    def start(self) -> None:
        """Note the start of a step."""
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def stop(self) -> float:
        """Return the seconds that the step since `start` counts for."""
        wall = time.perf_counter() - self._wall
        processor = time.process_time() - self._processor
        counted = min(wall, max(LONGEST_STEP * (self.seconds or processor), processor))
        self.seconds = self.seconds or counted
        self.seconds += (min(counted, LONGEST_STEP * self.seconds) - self.seconds) / PACE_STEPS
        return counted
