"""The linear map from low-resolution codes to the high-resolution residual, and its fit.

Steps 3 and 4 of CSC-SR (codes to HR codes, HR codes to the image) are both linear and
collapse into one transposed convolution with the scale s as its stride. Its kernels are
the solution of a ridge regression, whose normal equations are summed over images one at a
time. Needs torch.

A code at (i, j), whose 5×5 filter covers LR pixels i … i+4, adds its kernel to the HR
pixels under them, s·i … s·(i+5)−1 for a kernel of side k = 5s. A kernel of another
number of LR pixels, k = s·m, is centred on the same place.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from cscsr.errors import InputError

BLOCK = 24
"""Side of the blocks of codes that `NormalEquations` transforms."""

TOGETHER = 128
"""Blocks that are transformed and summed at a time."""

LARGE = 12_000
"""Unknowns past which a system is made in float32, to stay within a few GiB."""

PIECE = 1 << 24
"""Numbers transformed back at a time."""


def kernel_offset(kernel: int, filter_size: int, scale: int) -> int:
    """Return how many HR pixels before s·i, the first under a filter at i, its kernel begins."""
    return scale * ((kernel // scale - filter_size) // 2)


def check_support(support: int, filter_size: int) -> None:
    """Check that a kernel over `support` LR pixels can be centred on a filter.

    Raises
    ------
    InputError
        If it cannot.
    """
    if support < filter_size or (support - filter_size) % 2:
        raise InputError(
            f"support must be the filters' side {filter_size} or an even number more, "
            f"got {support}."
        )


def enlarge_codes(
    codes: torch.Tensor, kernels: torch.Tensor, filter_size: int, scale: int
) -> torch.Tensor:
    """Return the HR residual Σᵢ kernelsᵢ ⊗ (codesᵢ with s−1 zeros between).

    Parameters
    ----------
    codes
        (N,H,W).
    kernels
        (N,k,k), k a multiple of s.
    filter_size
        The side of the LR filters.
    scale
        s.

    Returns
    -------
    torch.Tensor
        (sH,sW); what reaches over the edge of the grid is cut off.
    """
    kernel = kernels.shape[-1]
    height, width = codes.shape[-2:]
    columns = kernels.flatten(1).T @ codes.flatten(1)
    size = (scale * (height - 1) + kernel, scale * (width - 1) + kernel)
    full = F.fold(columns[None], size, kernel, stride=scale)[0, 0]
    before = kernel_offset(kernel, filter_size, scale)
    after = max(0, before + scale * height - size[0])
    full = F.pad(full, (0, after, 0, after))
    return full[before : before + scale * height, before : before + scale * width]


class NormalEquations:
    """The normal equations of min over G of Σ ‖x − G(z)‖² + ρ‖G‖².

    They are summed over pairs of codes z and HR residuals x on a torus, G being `enlarge_codes`
    with all indices wrapping.

    An HR block at LR pixel p is a linear function of the m×m codes around p, so there are
    N·m² unknowns for each of the s² places in a block, and one matrix for them all. On a
    torus its entries depend on the codes' lag only:

        A[(a,i),(b,j)] = Cᵢⱼ(b − a),    Cᵢⱼ(d) = Σₚ zᵢ(p) zⱼ(p + d),

    so that (2m−1)² N×N matrices hold all of them. They are summed as spectra: codes are cut
    into blocks of `BLOCK`², each is correlated with the codes around it by Fourier transforms
    of n = BLOCK + 2m − 2, and one complex N×N product per frequency sums over the blocks.
    That is about 2·(n/BLOCK)²·N² multiply-adds per pixel; lag by lag it would be (2m−1)²/2·N².

    Parameters
    ----------
    atoms
        N.
    scale
        s.
    support
        m, the kernel's side in LR pixels: the filters' side or an even number more.
    filter_size
        The filters' side.
    dtype
        The dtype of the sums, torch.float32 or torch.float64.

    Raises
    ------
    InputError
        If `check_support` refuses the support.

    Attributes
    ----------
    pixels
        LR pixels summed over so far.
    """

    def __init__(
        self,
        atoms: int,
        scale: int,
        support: int,
        filter_size: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_support(support, filter_size)
        self.atoms, self.scale, self.support, self.filter_size = atoms, scale, support, filter_size
        # The code at a filter's place covers the LR pixels behind it.
        self._reach = support - 1 - kernel_offset(scale * support, filter_size, scale) // scale
        self._side = BLOCK + 2 * (support - 1)
        self._sums = torch.zeros(
            self._side * (self._side // 2 + 1),
            atoms + scale**2,
            atoms,
            dtype=torch.promote_types(dtype, torch.complex64),
        )
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.dtype, self.pixels = dtype, 0

    def add(self, codes: torch.Tensor, target: torch.Tensor) -> None:
        """Add one torus: codes (N,H,W) and the HR residual (sH,sW) of its image."""
        codes, target = codes.to(self.dtype), target.to(self.dtype)
        last = self.support - 1
        height, width = codes.shape[-2:]
        blocks = F.pixel_unshuffle(target[None, None], self.scale)[0]
        still = torch.cat([codes, blocks])
        still = F.pad(still, (0, -width % BLOCK, 0, -height % BLOCK))
        rows, columns = (n // BLOCK for n in still.shape[-2:])
        index_rows = torch.arange(-last, rows * BLOCK + last) % height
        index_columns = torch.arange(-last, columns * BLOCK + last) % width
        moving = codes[:, index_rows][:, :, index_columns]
        self._waiting += [
            (
                still[:, y : y + BLOCK, x : x + BLOCK].clone(),
                moving[:, y : y + self._side, x : x + self._side].clone(),
            )
            for y in range(0, rows * BLOCK, BLOCK)
            for x in range(0, columns * BLOCK, BLOCK)
        ]
        while len(self._waiting) >= TOGETHER:
            self._sum(TOGETHER)
        self.pixels += height * width

    def _sum(self, count: int) -> None:
        """Add the first `count` waiting blocks: with many at a time the sums are bound by
        arithmetic, not by memory."""
        still, moving = (torch.stack(b) for b in zip(*self._waiting[:count], strict=True))
        left = _spectra(still, self._side, conjugate=True)
        right = _spectra(moving, self._side)
        self._sums.baddbmm_(left.mT, right)
        del self._waiting[:count]

    def state(self) -> dict[str, Any]:
        """Return the sums so far, for `restore`."""
        if self._waiting:
            self._sum(len(self._waiting))
        return {"sums": self._sums, "pixels": self.pixels}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the sums of a `state`."""
        self._sums, self.pixels = state["sums"], state["pixels"]

    def _correlations(self) -> torch.Tensor:
        """Correlations of codes and targets with the codes at the lags 1−m … m−1, down and right:
        (2m−1,2m−1,N+s²,N)."""
        if self._waiting:
            self._sum(len(self._waiting))
        side, lags = self._side, 2 * self.support - 1
        rows = self._sums.shape[1]
        correlations = torch.empty(lags, lags, rows, self.atoms, dtype=self.dtype)
        step = max(1, PIECE // (self.atoms * side * side))
        for start in range(0, rows, step):
            piece = self._sums[:, start : start + step].unflatten(0, (side, side // 2 + 1))
            piece = torch.fft.irfft2(piece, (side, side), dim=(0, 1))
            correlations[:, :, start : start + step] = piece[:lags, :lags]
        return correlations

    def system(self, ridge: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the equations' matrix and right sides.

        Unknowns are in the order (a, b, i): rows and columns of the m×m codes, atom.

        Parameters
        ----------
        ridge
            ρ over the mean of A's diagonal.

        Returns
        -------
        tuple[torch.Tensor, torch.Tensor]
            A + ρI, (m²N, m²N), and the right sides, (m²N, s²), in float64 up to `LARGE` unknowns,
            else in float32.
        """
        support, last = self.support, self.support - 1
        unknowns = support**2 * self.atoms
        dtype = torch.float64 if unknowns <= LARGE else torch.float32
        correlations = self._correlations()
        lags, targets = correlations[:, :, : self.atoms], correlations[:, :, self.atoms :]
        matrix = torch.empty((support, support, self.atoms) * 2, dtype=dtype)
        for a in range(support):
            for b in range(support):
                window = lags[last - a : last - a + support, last - b : last - b + support]
                matrix[a, b] = window.permute(2, 0, 1, 3)
        matrix = matrix.reshape(unknowns, unknowns)
        matrix.diagonal().add_(ridge * matrix.diagonal().mean())
        first = last - self._reach
        right = targets[first : first + support, first : first + support]
        return matrix, right.permute(0, 1, 3, 2).reshape(unknowns, -1).to(dtype)

    def solve(self, ridge: float) -> torch.Tensor:
        """Return the kernels (N,k,k) for ρ = ridge × the mean of A's diagonal.

        Raises
        ------
        InputError
            If all codes were zero.
        """
        matrix, right = self.system(ridge)
        if not matrix.diagonal().any():
            raise InputError("a map cannot be fitted to codes that are all zero: lower lambda.")
        factor = torch.linalg.cholesky(matrix)
        del matrix
        return self.kernels(torch.cholesky_solve(right, factor))

    def kernels(self, solution: torch.Tensor) -> torch.Tensor:
        """Return unknowns (m²N, s²), as `system` orders them, as kernels (N,k,k), of any N."""
        support, scale = self.support, self.scale
        # (code's offset, atom, place in the block) to kernels: a code further down adds to HR
        # pixels further up in its kernel.
        blocks = solution.reshape(support, support, -1, scale, scale)
        kernels = blocks.flip(0, 1).permute(2, 0, 3, 1, 4)
        side = scale * support
        return kernels.reshape(-1, side, side).contiguous()

    def unknowns(self, kernels: torch.Tensor) -> torch.Tensor:
        """Return kernels (N,k,k) as unknowns (m²N, s²): the inverse of `kernels`."""
        support, scale = self.support, self.scale
        blocks = kernels.reshape(-1, support, scale, support, scale)
        return blocks.permute(1, 3, 0, 2, 4).flip(0, 1).reshape(-1, scale**2).contiguous()


def _spectra(blocks: torch.Tensor, side: int, conjugate: bool = False) -> torch.Tensor:
    """Spectra (side·(side//2+1), K, N) of blocks (K,N,h,w), zero-extended to side×side, or
    their conjugates. As products with the Fourier matrices, which for sides this small are
    many times faster than fast transforms, and leave the frequencies in front."""
    count, atoms, height, width = blocks.shape
    angles = torch.outer(torch.arange(max(height, width)), torch.arange(side)) % side
    turns = angles.to(blocks.dtype) * (2 * math.pi / side * (1 if conjugate else -1))
    fourier = torch.polar(torch.ones_like(turns), turns)
    half = torch.view_as_real(fourier[:width, : side // 2 + 1].contiguous())
    across = (blocks.reshape(-1, width) @ half.flatten(1)).view(count, atoms, height, -1, 2)
    across = torch.view_as_complex(across.permute(2, 3, 0, 1, 4).contiguous())
    down = fourier[:height].T @ across.flatten(1)
    return down.view(-1, count, atoms)
