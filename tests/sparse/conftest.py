"""The problem on which the sparse solvers are compared: a real image and a learned dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import Solution, SparseCoding
from cscsr.sparse.ista import FISTA


@pytest.fixture(scope="session")
def camera_problem() -> SparseCoding:
    """A 64×64 crop of scikit-image's camera, high-passed; 16 atoms of 7×7 that sporco learned
    on two other crops; λ = 0.05, circular."""
    from skimage.data import camera
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn
    from sporco.signal import tikhonov_filter

    _, high = tikhonov_filter(camera() / 255.0, 5.0, 16)
    crops = np.stack([high[300:364, 100:164], high[160:224, 160:224]], axis=-1)
    start = np.random.default_rng(0).standard_normal((7, 7, 16))
    options = {"Verbose": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start, crops, 0.05, ConvBPDNDictLearn.Options(options, dmethod="cns"), dmethod="cns"
    )
    learning.solve()
    dictionary = learning.getdict().squeeze().transpose(2, 0, 1)
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=(1, 2)), 1.0)
    return SparseCoding(high[64:128, 224:288].copy(), dictionary.copy(), 0.05)


@pytest.fixture(scope="session")
def certified(camera_problem) -> Solution:
    """FISTA's answer to `camera_problem`, with its duality gap every 50 iterations."""
    return FISTA(iterations=900, tol=0, record_every=50, gap=True).solve(camera_problem)
