"""Is one solver better than another? Differences of PSNR, image by image.

Two solvers are compared on the same images, so the differences on each image count, not the two
means. From `LEAST_IMAGES` images on, their mean has a 95 % interval by the studentised bootstrap
(`intervals`); where 0 lies inside, the difference is a tie. `benchmarks.interval_coverage` measures
how often such intervals cover the true mean. Needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEAST_IMAGES = 10
"""With fewer images no interval is given: resampling a handful says little about others."""

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0

LEAST_SPREAD = 0.1
"""Lower bound on a resample's standard deviation, relative to the sample's. Where only one image
differs much, resamples without it have almost no spread, and t would be infinite."""

TIE, BETTER, WORSE, FEW = "tie", "better", "worse", "too few images"


@dataclass(frozen=True)
class Difference:
    """By how much one solver is better than another, on the images scored by both.

    Attributes
    ----------
    images
        The number of those images.
    mean_db, spread_db
        Mean and standard deviation of the differences in dB; NaN with no image or, for the
        deviation, only one.
    won, lost
        The numbers of images on which the difference is above and below 0.
    low_db, high_db
        The 95 % interval of the mean, or None.
    """

    images: int
    mean_db: float
    spread_db: float
    won: int
    lost: int
    low_db: float | None = None
    high_db: float | None = None

    @property
    def verdict(self) -> str:
        """`BETTER` or `WORSE` where the interval leaves no doubt, `TIE` where 0 is inside, `FEW`
        where there is no interval."""
        if self.low_db is None or self.high_db is None:
            return FEW
        if self.low_db <= 0 <= self.high_db:
            return TIE
        return BETTER if self.low_db > 0 else WORSE

    def reversed(self) -> Difference:
        """Return the same difference from the other solver's side."""
        low = None if self.high_db is None else -self.high_db
        high = None if self.low_db is None else -self.low_db
        return Difference(
            self.images, -self.mean_db, self.spread_db, self.lost, self.won, low, high
        )


@lru_cache(maxsize=64)
def _draws(images: int) -> np.ndarray:
    """(RESAMPLES, images): how often each image is drawn, divided by how many are drawn."""
    draw = np.random.default_rng(SEED)
    return draw.multinomial(images, [1 / images] * images, size=RESAMPLES) / images


def intervals(differences: np.ndarray) -> np.ndarray:
    """Return the 95 % intervals of means, by the studentised bootstrap (bootstrap-t).

    Let x̄ and s be the mean and the standard deviation of the n differences, and x̄* and s* those
    of a resample of size n, drawn with replacement. With t* = √n (x̄* − x̄) / s* the interval is
    [x̄ − t*₀.₉₇₅ s/√n, x̄ − t*₀.₀₂₅ s/√n]. All pairs share the same seeded resamples. Where all
    differences are equal, both bounds have their value.

    Parameters
    ----------
    differences
        (images, pairs), finite.

    Returns
    -------
    numpy.ndarray
        (2, pairs): lower and upper bounds, in the unit of the differences.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5.
    """
    images, pairs = differences.shape
    mean = differences.mean(axis=0)
    centred = differences - mean
    variance = np.mean(centred**2, axis=0)
    drawn = _draws(images) @ np.hstack([centred, centred**2])
    shift, square = drawn[:, :pairs], drawn[:, pairs:]
    least = LEAST_SPREAD**2 * variance
    spread = np.sqrt(np.maximum(square - shift**2, np.where(variance > 0, least, 1.0)))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(shift / spread, [tail, 100 - tail], axis=0)  # t* / √(n − 1)
    return mean - np.sqrt(variance) * np.array([high, low])


def pairwise(psnr_db: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Difference]:
    """Return the difference of every pair of solvers.

    Parameters
    ----------
    psnr_db
        Each solver's PSNR on every image, in dB; NaN where it has none. Infinite values (of
        estimates without error) are left out too.

    Returns
    -------
    dict
        Keys (first, second), in the order of `psnr_db`; each value says by how much the first is
        better.
    """
    solvers = list(psnr_db)
    figures = np.array([psnr_db[solver] for solver in solvers], dtype=float).T
    figures[~np.isfinite(figures)] = math.nan
    pairs = [(a, b) for a in range(len(solvers)) for b in range(a + 1, len(solvers))]
    together: dict[bytes, list[tuple[int, int]]] = {}
    for a, b in pairs:
        both = ~np.isnan(figures[:, a] - figures[:, b])
        together.setdefault(both.tobytes(), []).append((a, b))
    of_pair: dict[tuple[int, int], Difference] = {}
    for mask, members in together.items():
        rows = figures[np.frombuffer(mask, dtype=bool)]
        first, second = np.array(members).T
        differences = rows[:, first] - rows[:, second]
        of_pair.update(zip(members, _described(differences), strict=True))
    return {(solvers[a], solvers[b]): of_pair[a, b] for a, b in pairs}


def _described(differences: np.ndarray) -> list[Difference]:
    """The `Difference` of each column of `differences` (images, pairs)."""
    images, pairs = differences.shape
    mean = differences.mean(axis=0) if images else np.full(pairs, math.nan)
    spread = differences.std(axis=0, ddof=1) if images > 1 else np.full(pairs, math.nan)
    won, lost = (differences > 0).sum(axis=0), (differences < 0).sum(axis=0)
    bounds = intervals(differences) if images >= LEAST_IMAGES else None
    return [
        Difference(
            images,
            float(mean[pair]),
            float(spread[pair]),
            int(won[pair]),
            int(lost[pair]),
            None if bounds is None else float(bounds[0, pair]),
            None if bounds is None else float(bounds[1, pair]),
        )
        for pair in range(pairs)
    ]
