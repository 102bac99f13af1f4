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

import torch
import torch.nn.functional as F

from cscsr.errors import InputError


def kernel_offset(kernel: int, filter_size: int, scale: int) -> int:
    """HR pixels from s·i, the first under a filter at i, back to the first of its kernel."""
    return scale * ((kernel // scale - filter_size) // 2)


def enlarge_codes(
    codes: torch.Tensor, kernels: torch.Tensor, filter_size: int, scale: int
) -> torch.Tensor:
    """The HR residual Σᵢ kernelsᵢ ⊗ (codesᵢ with s−1 zeros between), cropped to the grid.

    codes (N,H,W), kernels (N,k,k) with k a multiple of s; returns (sH,sW). What reaches
    over the edge of the grid is cut off.
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
    """Those of min over G of Σ ‖x − G(z)‖² + ρ‖G‖², summed over pairs of codes z and HR
    residuals x on a torus, G being `enlarge_codes` with all indices wrapping.

    An HR block at LR pixel p is a linear function of the m×m codes around p, so there are
    N·m² unknowns for each of the s² places in a block, and one matrix for them all. On a
    torus its entries depend on the codes' lag only:

        A[(a,i),(b,j)] = Cᵢⱼ(b − a),    Cᵢⱼ(d) = Σₚ zᵢ(p) zⱼ(p + d),

    so that (2m−1)² N×N matrices hold all there is, at N² multiply-adds a pixel and lag.

    atoms: N; scale: s; support: m, the kernel's side in LR pixels: the filters' side or
    an even number more. Raises InputError for another.
    """

    def __init__(self, atoms: int, scale: int, support: int, filter_size: int) -> None:
        if support < filter_size or (support - filter_size) % 2:
            raise InputError(
                f"support must be the filters' side {filter_size} or an even number more, "
                f"got {support}."
            )
        self.atoms, self.scale, self.support, self.filter_size = atoms, scale, support, filter_size
        # The code at a filter's place covers the LR pixels behind it.
        self._reach = support - 1 - kernel_offset(scale * support, filter_size, scale) // scale
        lags = 2 * support - 1
        self._correlation = torch.zeros(lags, lags, atoms, atoms, dtype=torch.float64)
        self._targets = torch.zeros(scale**2, support, support, atoms, dtype=torch.float64)
        self.pixels = 0

    def add(self, codes: torch.Tensor, target: torch.Tensor) -> None:
        """Adds one torus: codes (N,H,W), float32, and the HR residual (sH,sW) of its image."""
        last = self.support - 1
        height, width = codes.shape[-2:]
        row = width + 2 * last
        # With a periodic margin and pixels in one long row, each lag is a shift of the row.
        margin = F.pad(codes[None], (last,) * 4, mode="circular")[0]
        shifted = margin.permute(1, 2, 0).reshape(-1, self.atoms)
        count = height * row - 2 * last
        still = F.pad(codes, (0, 2 * last)).flatten(1)[:, :count].contiguous()
        for down in range(self.support):
            for right in range(-last if down else 0, self.support):
                start = (down + last) * row + right + last
                self._correlation[down + last, right + last] += (
                    still @ shifted[start : start + count]
                )
        blocks = F.pixel_unshuffle(target[None, None].to(codes.dtype), self.scale)[0]
        blocks = F.pad(blocks, (0, 2 * last)).flatten(1)[:, :count].contiguous()
        for a in range(self.support):
            for b in range(self.support):
                start = (a - self._reach + last) * row + b - self._reach + last
                self._targets[:, a, b] += blocks @ shifted[start : start + count]
        self.pixels += height * width

    def solve(self, ridge: float) -> torch.Tensor:
        """The kernels (N,k,k), float64, for ρ = ridge × the mean of A's diagonal."""
        support, last = self.support, self.support - 1
        # C(−d) is C(d) transposed; only half of the lags were summed.
        lags = self._correlation + self._correlation.flip(0, 1).transpose(2, 3)
        lags[last, last] = self._correlation[last, last]
        matrix = torch.empty((support, support, self.atoms) * 2, dtype=torch.float64)
        for a in range(support):
            for b in range(support):
                window = lags[last - a : last - a + support, last - b : last - b + support]
                matrix[a, b] = window.permute(2, 0, 1, 3)
        matrix = matrix.reshape((support**2 * self.atoms,) * 2)
        matrix.diagonal().add_(ridge * matrix.diagonal().mean())
        right_side = self._targets.flatten(1).T
        solution = torch.cholesky_solve(right_side, torch.linalg.cholesky(matrix)).T
        # (place in the block, code's offset, atom) to kernels: a code further down adds to
        # HR pixels further up in its kernel.
        blocks = solution.reshape(self.scale, self.scale, support, support, self.atoms)
        kernels = blocks.flip(2, 3).permute(4, 2, 0, 3, 1)
        side = self.scale * support
        return kernels.reshape(self.atoms, side, side).contiguous()
