"""What a dictionary update needs to know of codes and signals: two sums of correlations.

For codes z of signals y, ½‖y − Σᵢ fᵢ⊗zᵢ‖² is a quadratic function of the filters,

    ½⟨f, A f⟩ − ⟨B, f⟩ + ½‖y‖²,   (A f)ᵢ[k] = Σⱼ Σₗ Aᵢⱼ[k−l] fⱼ[l],
    Aᵢⱼ[τ] = Σₙ zᵢ[n] zⱼ[n+τ],   Bᵢ[k] = Σₙ zᵢ[n] y[n+k],

so that sums of A and B over any number of signals are all that has to be remembered of them
(Mairal et al. 2010; Liu et al. 2018 for convolutions). Both are computed from the nonzero codes
alone. Needs torch and scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from cscsr.errors import InputError
from cscsr.problem import SparseCoding


@dataclass
class Statistics:
    """Sums of A and B over signals.

    Attributes
    ----------
    codes
        A, (M,M,2s−1,2s−1), float64, lag 0 in the middle.
    signal
        B, (M,C,s,s), float64.
    """

    codes: torch.Tensor
    signal: torch.Tensor

    @classmethod
    def empty(cls, atoms: int, channels: int, size: int) -> Statistics:
        """Return the sums over no signal. Raises InputError where there is no memory for them."""
        lags = 2 * size - 1
        try:
            return cls(
                torch.zeros(atoms, atoms, lags, lags, dtype=torch.float64),
                torch.zeros(atoms, channels, size, size, dtype=torch.float64),
            )
        except RuntimeError as error:  # torch's for memory that cannot be had
            raise InputError(
                f"{atoms} filters of {size}x{size} need {8 * (atoms * lags) ** 2 / 1e9:.3g} GB of "
                "memory, more than there is; learn fewer or smaller ones."
            ) from error

    def fade(self, factor: float) -> None:
        """Multiply all sums by `factor`, so that later signals count more."""
        self.codes *= factor
        self.signal *= factor

    def add(self, problem: SparseCoding, codes: torch.Tensor) -> None:
        """Add the signals of a problem and their codes ([B,]M,H,W).

        Signals with a mask are completed first (`_completed`).
        """
        completed = _completed(problem, codes)
        signals = (completed if completed.ndim == 4 else completed[None]).double()
        maps = codes if codes.ndim == 4 else codes[None]
        nonzero = _Nonzero.of(maps)
        circular = problem.boundary == "circular"
        self.signal += torch.from_numpy(self._with_signals(nonzero, signals.numpy(), circular))
        reach = self.signal.shape[-1] - 1
        self.codes += torch.from_numpy(_correlations(nonzero, tuple(maps.shape), reach, circular))

    def _with_signals(self, codes: _Nonzero, signals: np.ndarray, circular: bool) -> np.ndarray:
        """B of these signals (B,C,·,·)."""
        atoms, _, size, _ = self.signal.shape
        if circular:
            signals = np.pad(signals, ((0, 0), (0, 0), (0, size - 1), (0, size - 1)), "wrap")
        patches = np.lib.stride_tricks.sliding_window_view(signals, (size, size), (2, 3))
        order = np.argsort(codes.atoms, kind="stable")
        ends = np.searchsorted(codes.atoms[order], np.arange(atoms + 1))
        sums = np.zeros(tuple(self.signal.shape))
        for atom in range(atoms):
            own = order[ends[atom] : ends[atom + 1]]
            touched = patches[codes.signals[own], :, codes.rows[own], codes.columns[own]]
            sums[atom] = np.tensordot(codes.values[own], touched, 1)
        return sums


def _completed(problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
    """Return ŷ = x + m²∘(y − x), x = Fz: what is missing of y is taken from the codes.

    Σ m²∘(y − x)² is no quadratic function of the two sums. With ŷ, whose x has the filters of the
    problem, ½‖ŷ − Fz‖² exceeds ½‖m∘(y − Fz)‖² by a constant at these filters, and by at least as
    much at all others (0 ≤ m ≤ 1): filters that lower the one lower the other.
    """
    signal = problem.observed(masked=False)
    if problem.mask is None:
        return signal
    image = problem.operator(masked=False).synthesis(codes)
    weight = problem.operator().mask
    assert weight is not None
    return image + weight.square() * (signal - image)


class _Nonzero(NamedTuple):
    """The nonzero codes of a batch: values, and where they are."""

    values: np.ndarray
    signals: np.ndarray
    atoms: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, maps: torch.Tensor) -> _Nonzero:
        """Those of codes (B,M,H,W)."""
        places = maps.nonzero(as_tuple=True)
        return cls(maps[places].double().numpy(), *(index.numpy() for index in places))

    def wrapped(self, shape: tuple[int, int], reach: int) -> _Nonzero:
        """These codes and their copies in a margin of `reach` around a grid (H,W) that wraps."""
        height, width = shape
        parts = []
        for down in (-height, 0, height):
            for across in (-width, 0, width):
                moved = self._replace(rows=self.rows + down, columns=self.columns + across)
                inside = (moved.rows >= -reach) & (moved.rows < height + reach)
                inside &= (moved.columns >= -reach) & (moved.columns < width + reach)
                parts.append([array[inside] for array in moved])
        return _Nonzero(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _correlations(
    codes: _Nonzero, shape: tuple[int, ...], reach: int, circular: bool
) -> np.ndarray:
    """Σₙ zᵢ[n] zⱼ[n+τ] of codes (B,M,H,W) for all lags up to `reach`, lag 0 in the middle.

    Each signal's grid has a margin of `reach`, filled with what wraps around or left empty. The
    pixels of these grids are the rows of a sparse matrix, and a lag is a shift of its rows.
    """
    from scipy.sparse import csr_array

    batch, atoms, height, width = shape
    line = width + 2 * reach
    grid = (height + 2 * reach) * line

    def pixels(codes: _Nonzero) -> np.ndarray:
        return codes.signals * grid + (codes.rows + reach) * line + codes.columns + reach

    # Shifts by up to ±margin leave the rows of `left` inside the rows of `right`.
    margin = reach * line + reach
    count = batch * grid - 2 * margin
    left = csr_array((codes.values, (codes.atoms, pixels(codes) - margin)), (atoms, count))
    around = codes.wrapped((height, width), reach) if circular else codes
    right = csr_array((around.values, (pixels(around), around.atoms)), (batch * grid, atoms))
    sums = np.zeros((atoms, atoms, 2 * reach + 1, 2 * reach + 1))
    for down in range(reach + 1):
        for across in range(-reach if down else 0, reach + 1):
            first = margin + down * line + across
            product = (left @ _rows(right, first, first + count)).toarray()
            sums[:, :, reach + down, reach + across] = product
            sums[:, :, reach - down, reach - across] = product.T
    return sums


def _rows(matrix: Any, start: int, stop: int) -> Any:
    """Consecutive rows of a CSR matrix, without a copy of its elements."""
    from scipy.sparse import csr_array

    ends = matrix.indptr[start : stop + 1]
    part = slice(ends[0], ends[-1])
    rows = (matrix.data[part], matrix.indices[part], ends - ends[0])
    return csr_array(rows, (stop - start, matrix.shape[1]))


class Quadratic:
    """The function ½⟨f, A f⟩ − ⟨B, f⟩ of filters f, (M,C,s,s), computed in float32.

    Attributes
    ----------
    usage
        (M,), float64: Aᵢᵢ[0], the energy of the codes of each atom.
    """

    def __init__(self, statistics: Statistics) -> None:
        middle = statistics.codes.shape[-1] // 2
        self.usage = statistics.codes[..., middle, middle].diagonal().clone()
        self._kernel = statistics.codes.flip(-2, -1).float()
        self._signal = statistics.signal.float()

    def product(self, filters: torch.Tensor) -> torch.Tensor:
        """Return A f, (M,C,s,s)."""
        reach = filters.shape[-1] - 1
        return F.conv2d(filters.transpose(0, 1), self._kernel, padding=reach).transpose(0, 1)

    def gradient(self, filters: torch.Tensor) -> torch.Tensor:
        """Return A f − B, (M,C,s,s)."""
        return self.product(filters) - self._signal

    def value(self, filters: torch.Tensor) -> float:
        """Return ½⟨f, A f⟩ − ⟨B, f⟩."""
        return float((filters * (0.5 * self.product(filters) - self._signal)).double().sum())
