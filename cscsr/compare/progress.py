"""One progress bar over work of many kinds, which knows how long each of them takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm

PRIOR_SECONDS = {
    "bicubic": 0.4,
    "csc-sr[admm]": 20.0,
    "csc-ridge": 20.0,
    "csc-sr[ista]": 10.0,
    "csc-sr[cista]": 80.0,
    "crnet-a-small": 5.0,
    "crnet-b-small": 2.0,
    "crnet-b-small+": 15.0,
}
"""Rough seconds a megapixel of the large image, until a solver has been timed in the run."""

_UNKNOWN_SECONDS = 20.0


class Progress:
    """One bar over all the work; its unit is the second, so that the time left is one.

    Work is counted in amounts of a kind: for a solver at a scale, megapixels. What is left
    is estimated from what that kind took so far, else the solver at any scale, else `prior`.
    """

    def __init__(
        self, prior: Mapping[str, float], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._prior, self._clock = prior, clock
        self._left: dict[tuple[str, int], float] = {}
        self._taken: dict[tuple[str, int], tuple[float, float]] = {}
        self._start = clock()
        self._current: tuple[tuple[str, int], float, float] | None = None
        self._bar = tqdm(
            total=1.0,
            smoothing=0,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left: {desc}",
        )

    def add(self, kind: tuple[str, int], amount: float) -> None:
        """More work to come."""
        self._left[kind] = self._left.get(kind, 0.0) + amount

    def begin(self, text: str, kind: tuple[str, int], amount: float) -> None:
        """Begin with some of the work, and name it."""
        self._current = kind, amount, self._clock()
        self.show(text)

    def done(self) -> None:
        """What was begun is done: it is known now how long its kind takes."""
        if self._current is None:
            return
        kind, amount, begun = self._current
        seconds, past = self._taken.get(kind, (0.0, 0.0))
        self._taken[kind] = seconds + self._clock() - begun, past + amount
        self._left[kind] = max(0.0, self._left[kind] - amount)
        self._current = None
        self.show()

    def say(self, text: str, error: bool = False) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr if error else sys.stdout)

    def close(self) -> None:
        self._bar.close()

    def _rate(self, kind: tuple[str, int]) -> float:
        same = [kind] if kind in self._taken else [k for k in self._taken if k[0] == kind[0]]
        if same:
            seconds = sum(self._taken[k][0] for k in same)
            return seconds / sum(self._taken[k][1] for k in same)
        return self._prior.get(kind[0], _UNKNOWN_SECONDS)

    def seconds_left(self) -> float:
        """The estimate for all that is still to be done."""
        left = sum(self._rate(kind) * amount for kind, amount in self._left.items())
        if self._current is not None:
            kind, amount, begun = self._current
            left -= min(self._clock() - begun, self._rate(kind) * amount)
        return left

    def show(self, text: str | None = None) -> None:
        """Draw the bar anew, with another text if one is given."""
        if text is not None:
            self._bar.set_description_str(text, refresh=False)
        self._bar.n = self._clock() - self._start
        self._bar.total = self._bar.n + self.seconds_left()
        self._bar.refresh()
