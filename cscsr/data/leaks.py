"""Training images that show a test image, or a part of it, at whatever size.

Local features (ORB: oriented corners over sizes) of a training image are matched to those
of the test images; where enough of them agree on one similarity transform, the training
image is warped onto the test image, and the two are compared where they overlap. So crops and
other sizes are found, and a chance agreement of a few corners is not taken for one. Each test
image is looked for as it is and mirrored, as training mirrors its images; turned ones are found
by their corners' orientation. Needs scikit-image and numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cscsr.data.datasets import Dataset
from cscsr.errors import InputError
from cscsr.imaging import imresize, luma_of

KEYPOINTS = 250
"""Corners of each image, the strongest over all sizes."""

LONGEST = 384
"""Larger images are shrunk to this many pixels before corners are looked for."""

FEWEST = 7
"""Matches that have to agree on one transform."""

NEAREST = 50
"""Bits of 256 in which the descriptors of a match may differ."""

RATIO = 0.85
"""How much nearer a match has to be than the second nearest corner."""

TOLERANCE = 4.0
"""Pixels by which a match may miss the transform."""

LEAST_CORRELATION = 0.85
"""Of the two images where they overlap: well below what a copy has, and well above what other
scenes have."""


@dataclass(frozen=True)
class Leak:
    """A training image that shows a test image.

    size: its linear size relative to the test image; share: the part of the test image that
    it shows; matches: corners that agree; correlation: of the pixels that both show; mirrored:
    whether it is the mirror image that it shows.
    """

    train: str
    test: str
    size: float
    share: float
    matches: int
    correlation: float
    mirrored: bool = False

    def __str__(self) -> str:
        shown = f"{self.test}, mirrored," if self.mirrored else self.test
        return (
            f"{self.train}\tshows {self.share:.0%} of {shown} at {self.size:.2f} times the "
            f"size ({self.matches} corners agree, correlation {self.correlation:.3f})"
        )


@dataclass(frozen=True)
class _Features:
    """Corners of an image: places (N,2), x and y in its pixels; descriptors (N,256), ±1."""

    name: str
    mirrored: bool
    image: np.ndarray
    places: np.ndarray
    descriptors: np.ndarray


def find_leaks(
    train: Dataset, test: Dataset, progress: Callable[[str, int, int], None] | None = None
) -> list[Leak]:
    """The images of `train` that show one of `test`, in the order of `train`.

    progress: called after each image with what was done to it, how many are done, and how
    many there are. Raises InputError for an empty data set.
    """
    if not len(train) or not len(test):
        raise InputError("looking for leaks needs at least one image on either side.")
    sources = [*test.images, *train.images]

    def features(index: int, mirrored: Sequence[bool]) -> list[_Features]:
        source = sources[index]
        name, image = f"{source.path.parent.name}/{source.path.name}", source.read()
        found = [_features(name, image, each) for each in mirrored]
        if progress is not None:
            progress(source.name, index + 1, len(sources))
        return found

    tested = [image for index in range(len(test)) for image in features(index, (False, True))]
    descriptors = np.concatenate([image.descriptors for image in tested])
    ends = np.cumsum([len(image.places) for image in tested])
    found = []
    for index in range(len(test), len(sources)):
        (image,) = features(index, (False,))
        theirs, ours = _matches(descriptors, image.descriptors)
        owner = np.searchsorted(ends, theirs, side="right")
        for number in np.flatnonzero(np.bincount(owner, minlength=len(tested)) >= FEWEST):
            other = tested[number]
            start = ends[number] - len(other.places)
            chosen = owner == number
            leak = _verified(image, other, ours[chosen], theirs[chosen] - start)
            if leak is not None:
                found.append(leak)
    return found


def _features(name: str, image: np.ndarray, mirrored: bool) -> _Features:
    from skimage.feature import ORB

    luma = luma_of(image[:, ::-1] if mirrored else image).astype(np.float64) / 255
    factor = min(1.0, LONGEST / max(luma.shape))
    small = luma if factor == 1 else imresize(luma, factor)
    orb = ORB(n_keypoints=KEYPOINTS, fast_threshold=0.04)
    try:
        orb.detect_and_extract(small)
    except (RuntimeError, ValueError, IndexError):  # no corner at all, or too small an image
        return _Features(name, mirrored, luma, np.zeros((0, 2)), np.zeros((0, 256), np.float32))
    places = (orb.keypoints[:, ::-1] + 0.5) / factor - 0.5
    return _Features(name, mirrored, luma, places, 2 * orb.descriptors.astype(np.float32) - 1)


def _matches(theirs: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices into both of descriptors that are near each other, and nearer than the second
    nearest of `ours`."""
    if len(ours) < 2 or not len(theirs):
        return np.zeros(0, int), np.zeros(0, int)
    distance = (theirs.shape[1] - theirs @ ours.T) / 2
    nearest = distance.argmin(1)
    rows = np.arange(len(theirs))
    least = distance[rows, nearest]
    near = np.flatnonzero(least <= NEAREST)
    second = np.partition(distance[near], 1, axis=1)[:, 1]
    kept = near[least[near] < RATIO * second]
    return kept, nearest[kept]


def _verified(
    train: _Features, test: _Features, ours: np.ndarray, theirs: np.ndarray
) -> Leak | None:
    """The leak that matched corners of a training and a test image speak for, if any."""
    from skimage.measure import ransac
    from skimage.transform import SimilarityTransform, warp

    source, target = test.places[theirs], train.places[ours]
    model, agreeing = ransac(
        (source, target),
        SimilarityTransform,
        min_samples=2,
        residual_threshold=TOLERANCE,
        max_trials=300,
        rng=0,
    )
    if agreeing is None or agreeing.sum() < FEWEST or not 0.1 < model.scale < 10:
        return None
    if len(np.unique(np.rint(source[agreeing] / 8), axis=0)) < FEWEST - 2:
        return None  # a handful of corners in one place agree on anything
    warped = warp(train.image, model, output_shape=test.image.shape, cval=np.nan)
    both = np.isfinite(warped)
    if both.sum() < 32 * 32:
        return None
    correlation = np.corrcoef(warped[both], test.image[both])[0, 1]
    if not correlation >= LEAST_CORRELATION:
        return None
    return Leak(
        train.name,
        test.name,
        float(model.scale),
        float(both.mean()),
        int(agreeing.sum()),
        float(correlation),
        test.mirrored,
    )
