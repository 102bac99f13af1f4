"""Convolutional sparse coding in two dimensions, min over z of ½‖y − Σₘ fₘ⊗zₘ‖² + λ‖z‖₁.

All indices wrap, and a filter's origin is its top-left element. The objective is computed here, in
numpy and float64, by none of the packages that are compared.
"""

import numpy as np
from benchopt import BaseObjective
from benchopt.stopping_criterion import SufficientProgressCriterion


class Objective(BaseObjective):
    """The objective, its duality gap, and the number of nonzero codes."""

    name = "2-D convolutional sparse coding"
    min_benchopt_version = "1.10"
    requirements = ["numpy"]
    # λ as a share of λ_max = ‖Fᵀy‖∞, from which on zero is optimal.
    parameters = {"reg": [0.1, 0.02]}
    sampling_strategy = "callback"
    # ADMM's objective may rise for some iterations, so that a few without progress end nothing.
    stopping_criterion = SufficientProgressCriterion(eps=1e-6, patience=12)
    test_dataset_name = "simulated"
    test_config = {"reg": 0.1, "dataset": {"size": 16, "atoms": 4, "filter_size": 3}}

    def set_data(self, signal, dictionary):
        """Take a signal (C,H,W) and filters (M,C,h,w)."""
        self.signal, self.dictionary = signal, dictionary
        shape = signal.shape[-2:]
        self._filters = np.fft.rfft2(np.asarray(dictionary, np.float64), shape)
        self.lam = self.reg * float(np.abs(self._correlations(signal)).max())

    def get_objective(self):
        """Return what a solver is given."""
        return {"signal": self.signal, "dictionary": self.dictionary, "lam": self.lam}

    def evaluate_result(self, codes):
        """Measure codes (M,H,W)."""
        codes = np.asarray(codes, np.float64)
        spectra = np.einsum("mchw,mhw->chw", self._filters, np.fft.rfft2(codes))
        residual = self.signal - np.fft.irfft2(spectra, self.signal.shape[-2:])
        value = 0.5 * np.sum(residual**2) + self.lam * np.abs(codes).sum()
        # The dual objective at the residual, scaled so that ‖Fᵀu‖∞ ≤ λ.
        largest = np.abs(self._correlations(residual)).max()
        dual = residual * min(1.0, self.lam / largest) if largest else residual
        bound = 0.5 * np.sum(self.signal.astype(np.float64) ** 2 - (self.signal - dual) ** 2)
        return {
            "value": float(value),
            "duality_gap": float(value - bound),
            "nnz": int(np.count_nonzero(codes)),
        }

    def get_one_result(self):
        """Return codes that can be measured."""
        return {"codes": np.zeros((len(self.dictionary), *self.signal.shape[-2:]))}

    def _correlations(self, signal):
        """Fᵀ of a signal (C,H,W), as codes (M,H,W)."""
        spectra = np.fft.rfft2(np.asarray(signal, np.float64))
        spectra = np.einsum("mchw,chw->mhw", self._filters.conj(), spectra)
        return np.fft.irfft2(spectra, signal.shape[-2:])
