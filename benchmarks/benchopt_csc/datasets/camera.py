"""A photograph without its smooth part, under filters that packages ship."""

import numpy as np
from benchopt import BaseDataset

from cscsr.data.problems import crop_problem, named_dictionary


class Dataset(BaseDataset):
    """A crop of scikit-image's camera, high-passed, in float32.

    The dictionaries are "lista", the filters of cscsr's weights, and sporco's "G:8x8x64".
    """

    name = "camera"
    requirements = ["cscsr", "sporco", "scikit-image"]
    parameters = {"dictionary": ["lista", "G:8x8x64"], "size": [96]}

    def get_data(self):
        """Return the signal (1,H,W) and the filters (M,1,s,s)."""
        problem = crop_problem(self.size, named_dictionary(self.dictionary), 1.0)
        return {
            "signal": problem.signal[None].astype(np.float32),
            "dictionary": problem.dictionary[:, None].astype(np.float32),
        }
