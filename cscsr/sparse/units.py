"""The units in which a problem is solved, so that squares stay in the range of its dtype."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch

from cscsr.arrays import to_tensor, value_range
from cscsr.problem import SparseCoding

SAFE_EXPONENT = {torch.float32: 40, torch.float64: 300}
"""Signals and dictionaries whose largest element lies within 2 to the power of ± this are solved
as they are: squares, of codes a millionth as large too, then stay in the range of the dtype."""


@dataclass(frozen=True)
class Units:
    """The units, powers of 2, in which a problem is solved.

    With y = a·y', f = b·f', z = (a/b)·z' and λ = a·b·λ' the objective is a² times that of y', f'
    and λ'.

    Attributes
    ----------
    signal, dictionary
        a and b.
    """

    signal: float = 1.0
    dictionary: float = 1.0

    @classmethod
    def of(cls, problem: SparseCoding) -> Units:
        """Return the units of a problem in torch; 1 where its numbers are of an ordinary size."""
        safe = SAFE_EXPONENT[problem.signal.dtype]

        def unit(array: torch.Tensor) -> float:
            largest = max(map(abs, value_range(array)))
            exponent = math.frexp(largest)[1]
            return 1.0 if largest == 0 or abs(exponent) <= safe else 2.0 ** (exponent - 1)

        signal = problem.signal if problem.mask is None else problem.observed()
        return cls(unit(signal), unit(problem.dictionary))

    @property
    def codes(self) -> float:
        """a/b."""
        return self.signal / self.dictionary

    @property
    def objective(self) -> float:
        """a², infinite where it is beyond float64."""
        return self.signal * self.signal

    def scaled(self, problem: SparseCoding) -> SparseCoding:
        """Return a problem in torch in these units."""
        if self == Units():
            return problem
        smallest, largest = sys.float_info.min, sys.float_info.max
        lam: Any
        if problem.has_lam_array:
            exact = to_tensor(problem.lam, problem.signal.device, torch.float64)
            lam = (exact / self.signal / self.dictionary).clamp(smallest, largest)
            lam = lam.masked_fill(exact == 0, 0.0)
        else:
            lam = min(max(problem.lam / self.signal / self.dictionary, smallest), largest)
            lam = lam if problem.lam > 0 else 0.0
        limit = torch.finfo(problem.signal.dtype).max  # of missing elements, whatever they hold
        return replace(
            problem,
            signal=multiplied(problem.signal, 1.0 / self.signal).clamp(-limit, limit),
            dictionary=multiplied(problem.dictionary, 1.0 / self.dictionary),
            lam=lam,
        )


def multiplied(array: torch.Tensor, factor: float) -> torch.Tensor:
    """Return `array` times a factor that may be beyond the range of its dtype."""
    return array if factor == 1 else (array.double() * factor).to(array.dtype)
