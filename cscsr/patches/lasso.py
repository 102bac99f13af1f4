"""The lasso for many signals at once, exact, by feature-sign search.

Patches are coded one by one, with a dictionary that has no structure, so the convolutional solvers
do not apply. Needs numpy and scipy.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

TOLERANCE = 1e-6
"""How far, relative to λ, a product with the residual may exceed λ at the end."""

_REGULAR = 1e-10
"""Added to the diagonal of the systems, as a share of it, so that atoms which depend on each other
can be solved for."""

LEAST_LAM = 0.01
"""The least λ whose codes are exact to `TOLERANCE` for signals of norm 1 and atoms of squared norms
of up to 2. `_REGULAR` lets the product of an active atom d with the residual exceed λ by a share
1e-10·‖d‖²|α|/λ, and λ|α| ≤ ½‖y‖², which is the objective at α = 0."""

BLOCK = 1024
"""Signals that are coded together."""


def lasso_codes(signals: np.ndarray, dictionary: np.ndarray, lam: float) -> csr_array:
    """Return the codes that minimise ½‖y − Dα‖² + λ‖α‖₁ for each signal y.

    Feature-sign search (Lee et al. 2006, Algorithm 1): the code with the largest product |⟨dₖ, r⟩|
    with the residual r becomes active, if that exceeds λ, with its sign. With the signs fixed, the
    minimum over the active codes solves a small linear system; on the way there, the first code
    that would change its sign becomes zero and leaves. The objective falls in each step, so no set
    of active codes comes twice and the search ends at the minimum.

    Parameters
    ----------
    signals
        (n,d), float64.
    dictionary
        (K,d), float64, one atom a row.
    lam
        λ > 0. Below `LEAST_LAM`, or its like in other units, the codes may be less exact than
        `TOLERANCE`.

    Returns
    -------
    csr_array
        (n,K), float64.
    """
    gram = dictionary @ dictionary.T
    most = min(len(dictionary), signals.shape[1] + 1)  # of d+1 atoms, which depend, one leaves
    rows, columns, values = [], [], []
    for begin in range(0, len(signals), BLOCK):
        search = _Search(signals[begin : begin + BLOCK], dictionary, gram, lam, most)
        search.run()
        row, slot = np.nonzero(search.atoms >= 0)
        rows.append(row + begin)
        columns.append(search.atoms[row, slot])
        values.append(search.codes[row, slot])
    places = (np.concatenate(rows), np.concatenate(columns)) if rows else ([], [])
    shape = (len(signals), len(dictionary))
    return csr_array((np.concatenate(values) if values else [], places), shape=shape)


class _Search:
    """Feature-sign search for a block of signals.

    Attributes
    ----------
    atoms
        (n,m): the active atoms of each signal, −1 in slots that are free.
    codes, signs
        (n,m): their codes and signs, 0 in slots that are free.
    """

    def __init__(
        self,
        signals: np.ndarray,
        dictionary: np.ndarray,
        gram: np.ndarray,
        lam: float,
        most: int,
    ) -> None:
        self.signals, self.dictionary, self.gram, self.lam = signals, dictionary, gram, lam
        self.atoms = np.full((len(signals), most), -1)
        self.codes = np.zeros(self.atoms.shape)
        self.signs = np.zeros(self.atoms.shape)

    def run(self) -> None:
        """Search until no signal has a code to activate, or a free slot for it."""
        searching = np.arange(len(self.signals))
        while len(searching):
            searching = self._activate(searching)
            moving = searching
            while len(moving):
                moving = self._move(moving)

    def _activate(self, rows: np.ndarray) -> np.ndarray:
        """Activate the best atom of each of some signals; returns those that have one."""
        width = self._width(rows)
        active = self.atoms[rows, :width]
        codes = self.codes[rows, :width]
        residual = self.signals[rows] - np.einsum("nm,nmd->nd", codes, self.dictionary[active])
        products = residual @ self.dictionary.T
        sizes = np.abs(products)
        row, slot = np.nonzero(active >= 0)
        sizes[row, active[row, slot]] = 0
        best = sizes.argmax(axis=1)
        order = np.arange(len(rows))
        free = (self.atoms[rows] < 0).argmax(axis=1)
        wanted = sizes[order, best] > self.lam * (1 + TOLERANCE)
        wanted &= self.atoms[rows, free] < 0
        rows, free, best = rows[wanted], free[wanted], best[wanted]
        self.atoms[rows, free] = best
        self.signs[rows, free] = np.sign(products[order[wanted], best])
        return rows

    def _move(self, rows: np.ndarray) -> np.ndarray:
        """Move the active codes of some signals to their minimum, or to the first change of sign.

        Returns the signals that are not at their minimum.
        """
        width = self._width(rows)
        atoms, codes = self.atoms[rows, :width], self.codes[rows, :width]
        signs, active = self.signs[rows, :width], atoms >= 0
        system = self.gram[atoms[:, :, None], atoms[:, None, :]]
        system *= active[:, :, None] & active[:, None, :]
        diagonal = np.arange(width)
        system[:, diagonal, diagonal] *= 1 + _REGULAR
        system[:, diagonal, diagonal] += ~active
        right = np.einsum("nd,nmd->nm", self.signals[rows], self.dictionary[atoms])
        right = (right - self.lam * signs) * active
        minimum = np.linalg.solve(system, right[:, :, None])[:, :, 0]
        crosses = active & (minimum * signs < 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(crosses, codes / (codes - minimum), np.inf)
        first = step.argmin(axis=1)
        order = np.arange(len(rows))
        share = np.minimum(step[order, first], 1.0)
        codes = codes + share[:, None] * (minimum - codes)
        stopped = share < 1
        codes[order[stopped], first[stopped]] = 0
        self.codes[rows, :width] = codes * active
        rows, first = rows[stopped], first[stopped]
        self.atoms[rows, first] = -1
        self.signs[rows, first] = 0
        return rows

    def _width(self, rows: np.ndarray) -> int:
        """The number of slots that hold all active codes of some signals, at least one."""
        used = (self.atoms[rows] >= 0).any(axis=0)
        return int(used.nonzero()[0].max(initial=0)) + 1
