"""One progress bar over work of many kinds, with an estimate of the time each kind takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tqdm import tqdm

from cscsr.compare.text import duration, enumeration
from cscsr.output import printable

PRIOR_SECONDS = {
    "bicubic": 0.4,
    "csc-sr[admm]": 20.0,
    "csc-sr[admm]+": 160.0,
    "csc-ridge": 20.0,
    "csc-sr[ista]": 10.0,
    "csc-sr[cista]": 80.0,
    "crnet-a-small": 5.0,
    "crnet-b-small": 2.0,
    "crnet-b-small+": 15.0,
}
"""Rough seconds per megapixel of the large image, used until the run has timed a solver."""

_UNKNOWN_SECONDS = 20.0

LINE_SECONDS = 15.0
"""How often a line says how far the work is where there is no terminal for a bar."""

Kind = tuple[str, int]
"""A solver's name and a scale, or another name and a number."""


class _Current(NamedTuple):
    """The work that is being done."""

    kind: Kind
    amount: float
    begun: float


class Progress:
    """One bar over all the work, in seconds, so that it shows the time left.

    Work is counted in amounts of a kind: for a solver at a scale, megapixels. The time left is
    estimated from the time per amount of the same kind so far; failing that, of the same solver at
    any scale; failing that, from `prior`.

    Parameters
    ----------
    prior
        Rough seconds per amount, by the first part of a kind.
    clock
        Returns the time in seconds.

    Attributes
    ----------
    workers
        The number of tasks that run at the same time.
    """

    def __init__(
        self, prior: Mapping[str, float], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._prior, self._clock = prior, clock
        self._left: dict[Kind, float] = {}
        self._taken: dict[Kind, tuple[float, float]] = {}
        self._start = clock()
        self._current: _Current | None = None
        self.workers = 1
        self._said = self._start
        self._text = ""
        self._lines = not sys.stderr.isatty()
        self._bar = tqdm(
            total=1.0,
            smoothing=0,
            disable=self._lines,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left: {desc}",
        )

    def add(self, kind: Kind, amount: float) -> None:
        """Add work to the total."""
        self._left[kind] = self._left.get(kind, 0.0) + amount

    def begin(self, text: str, kind: Kind, amount: float) -> None:
        """Begin a piece of work, with `text` as its label."""
        self._current = _Current(kind, amount, self._clock())
        self.show(text)

    def done(self) -> None:
        """End the current piece of work, and update the rate of its kind."""
        if self._current is None:
            return
        kind, amount, begun = self._current
        seconds, past = self._taken.get(kind, (0.0, 0.0))
        self._taken[kind] = seconds + self._clock() - begun, past + amount
        self._left[kind] = max(0.0, self._left[kind] - amount)
        self._current = None
        self.show()

    def finish(self, kind: Kind, amount: float, seconds: float | None = None) -> None:
        """Note work that was done elsewhere, and how long it took there if that is known."""
        if seconds is not None:
            past_seconds, past = self._taken.get(kind, (0.0, 0.0))
            self._taken[kind] = past_seconds + seconds, past + amount
        self._left[kind] = max(0.0, self._left[kind] - amount)
        self.show()

    def say(self, text: str, error: bool = False) -> None:
        """Print a line above the bar."""
        file = sys.stderr if error else sys.stdout
        self._bar.write(printable(text), file=file)
        file.flush()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _rate(self, kind: Kind) -> float:
        """Seconds per amount of a kind."""
        timed = [kind] if kind in self._taken else [k for k in self._taken if k[0] == kind[0]]
        if timed:
            seconds = sum(self._taken[k][0] for k in timed)
            return seconds / sum(self._taken[k][1] for k in timed)
        return self._prior.get(kind[0], _UNKNOWN_SECONDS)

    def seconds_left(self) -> float:
        """Return the estimated seconds of the remaining work."""
        left = sum(self._rate(kind) * amount for kind, amount in self._left.items())
        if self._current is not None:
            kind, amount, begun = self._current
            left -= min(self._clock() - begun, self._rate(kind) * amount)
        return left / self.workers

    def announce(self, images: int, figures: Sequence[str] = ()) -> None:
        """Say how much there is to do, and roughly how long it will take."""
        if not images and not figures:
            return
        work = [f"{images} images to enlarge"] if images else []
        work += figures
        self.say(
            f"{enumeration(work)}: {duration(self.seconds_left())}, roughly, on an idle machine."
        )

    def _say_how_far(self) -> None:
        """Print a line in place of the bar, if the last one is some time ago."""
        now = self._clock()
        if now - self._said >= LINE_SECONDS:
            self._said = now
            gone, left = now - self._start, self.seconds_left()
            share = 100 * gone / max(gone + left, 1e-9)
            text = f"{share:.0f} %, {duration(gone)} gone, {duration(left)} left: {self._text}"
            self.say(text, error=True)

    def show(self, text: str | None = None) -> None:
        """Redraw the bar, with `text` as its new label if it is not None. Where standard error is
        no terminal, a line stands for the bar now and then."""
        if text is not None:
            self._text = text
        if self._lines:
            self._say_how_far()
            return
        if text is not None:
            self._bar.set_description_str(printable(text), refresh=False)
        self._bar.n = self._clock() - self._start
        self._bar.total = self._bar.n + self.seconds_left()
        self._bar.refresh()
