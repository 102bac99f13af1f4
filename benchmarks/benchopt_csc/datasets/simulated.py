"""Signals made from sparse codes, of one channel or several."""

import numpy as np
from benchopt import BaseDataset


class Dataset(BaseDataset):
    """Random filters of unit norm, codes of which one in a hundred is not zero, and noise."""

    name = "simulated"
    requirements = ["numpy"]
    parameters = {"size": [64], "atoms": [32], "filter_size": [8], "channels": [3], "seed": [0]}
    DENSITY = 0.01
    NOISE = 0.05

    def get_data(self):
        """Return the signal (C,H,W) and the filters (M,C,s,s), in float32."""
        rng = np.random.default_rng(self.seed)
        filters = rng.standard_normal(
            (self.atoms, self.channels, self.filter_size, self.filter_size)
        )
        filters /= np.sqrt(np.square(filters).sum((1, 2, 3), keepdims=True))
        shape = (self.size, self.size)
        codes = rng.standard_normal((self.atoms, *shape))
        codes *= rng.random(codes.shape) < self.DENSITY
        spectra = np.einsum("mchw,mhw->chw", np.fft.rfft2(filters, shape), np.fft.rfft2(codes))
        signal = np.fft.irfft2(spectra, shape)
        signal += self.NOISE * rng.standard_normal(signal.shape)
        return {"signal": signal.astype(np.float32), "dictionary": filters.astype(np.float32)}
