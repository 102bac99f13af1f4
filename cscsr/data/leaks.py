"""Training images that show a test image, or a part of it, at any size.

The local features of a training image (ORB: oriented corners at several sizes) are matched to
those of the test images. Where enough matches agree on one similarity transform, the training image
is warped onto the test image, and the two are compared where they overlap. This detects crops and
resized copies, and a few corners that agree by chance do not mislead it. The search covers each
test image and its mirror image, because training mirrors images; the orientation of the corners
reveals rotated copies. Needs scikit-image and numpy.

References
----------
E. Rublee et al., ORB: an efficient alternative to SIFT or SURF, ICCV 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cscsr.data.datasets import Dataset
from cscsr.errors import InputError
from cscsr.imaging import imresize, luma_of

KEYPOINTS = 250
"""Corners per image: the strongest over all sizes."""

LONGEST = 384
"""The longer side in pixels of the images that corners are detected in; larger ones are shrunk."""

FEWEST = 7
"""The least number of matches that must agree on one transform."""

NEAREST = 50
"""The most bits, of 256, in which the descriptors of a match may differ."""

RATIO = 0.85
"""Largest distance of a match relative to that of the second nearest corner (Lowe's ratio)."""

LEAST_PIXELS = 32 * 32
"""The least number of pixels that both images must show."""

TOLERANCE = 4.0
"""The most pixels by which a match may deviate from the transform."""

LEAST_CORRELATION = 0.85
"""Least correlation of the two images where they overlap: well below that of a copy, well above
that of other scenes."""


@dataclass(frozen=True)
class Leak:
    """A training image that shows a test image.

    Attributes
    ----------
    train, test
        The files of the two images, as FOLDER/FILE.
    size
        The linear size of the training image relative to the test image.
    share
        The part of the test image that the training image shows.
    matches
        The number of corners that agree.
    correlation
        The correlation of the pixels that both images show.
    mirrored
        Whether the training image shows the mirror image.
    """

    train: str
    test: str
    size: float
    share: float
    matches: int
    correlation: float
    mirrored: bool = False

    def __str__(self) -> str:
        test = f"{self.test}, mirrored," if self.mirrored else self.test
        return (
            f"{self.train}\tshows {self.share:.0%} of {test} at {self.size:.2f} times the "
            f"size ({self.matches} corners agree, correlation {self.correlation:.3f})"
        )


class Findings(NamedTuple):
    """What a search for leaks found.

    Attributes
    ----------
    leaks
        The leaks, in the order of the training images.
    unchecked
        The files, as FOLDER/FILE, of the images of either set in which nothing can be recognised:
        they have less than `LEAST_PIXELS` or fewer than `FEWEST` corners.
    """

    leaks: list[Leak]
    unchecked: list[str]


@dataclass(frozen=True)
class _Features:
    """Corners of an image: `places` (N,2), x and y in its pixels; `descriptors` (N,256), ±1."""

    name: str
    mirrored: bool
    image: np.ndarray
    places: np.ndarray
    descriptors: np.ndarray


def find_leaks(
    train: Dataset, test: Dataset, progress: Callable[[str, int, int], None] | None = None
) -> Findings:
    """Return the training images that show a test image, and the images that cannot be checked.

    Parameters
    ----------
    train, test
        The data sets to compare.
    progress
        Called after each image with (its name, images done, all images).

    Returns
    -------
    Findings

    Raises
    ------
    InputError
        For an empty data set.
    """
    if not len(train) or not len(test):
        raise InputError("a search for leaks needs at least one training image and one test image.")
    sources = [*test.images, *train.images]
    unchecked: dict[str, None] = {}

    def features(index: int, mirrored: Sequence[bool]) -> list[_Features]:
        source = sources[index]
        name, image = f"{source.path.parent.name}/{source.path.name}", source.read()
        corners = [_features(name, image, each) for each in mirrored]
        if image.shape[0] * image.shape[1] < LEAST_PIXELS or len(corners[0].places) < FEWEST:
            unchecked[name] = None
        if progress is not None:
            progress(source.name, index + 1, len(sources))
        return corners

    tested = [image for index in range(len(test)) for image in features(index, (False, True))]
    descriptors = np.concatenate([image.descriptors for image in tested])
    ends = np.cumsum([len(image.places) for image in tested])
    leaks = []
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
                leaks.append(leak)
    return Findings(leaks, list(unchecked))


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
    """Indices of descriptors that match: near, and nearer than the second nearest of `ours`."""
    if len(ours) < 2 or not len(theirs):
        return np.zeros(0, int), np.zeros(0, int)
    distance = (theirs.shape[1] - theirs @ ours.T) / 2
    nearest = distance.argmin(1)
    rows = np.arange(len(theirs))
    least = distance[rows, nearest]
    near = np.flatnonzero(least <= NEAREST)
    second = np.partition(distance[near], 1, axis=1)[:, 1]
    matched = near[least[near] < RATIO * second]
    return matched, nearest[matched]


def _verified(
    train: _Features, test: _Features, ours: np.ndarray, theirs: np.ndarray
) -> Leak | None:
    """The leak between a training and a test image with these matched corners, if it is one."""
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
        return None  # a few corners in one place agree on any transform
    warped = warp(train.image, model, output_shape=test.image.shape, cval=np.nan)
    both = np.isfinite(warped)
    if both.sum() < LEAST_PIXELS:
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
