"""A block of recursions that is sparse coding by construction: ISTA on a learned dictionary.

`cscsr.networks.cista_block` frees W and S of CISTA. Here they stay tied to one dictionary, so that
the block minimises a convex objective for any trained weights. Tensors are (B, C, H, W).
Needs torch only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from cscsr.networks.base import Convolution, convolutions_of
from cscsr.networks.cista_block import Block, CISTABlock, FactoredS, convolution, fused_recursion


def lipschitz_bound(filters: Tensor) -> Tensor:
    """Return an upper bound of ‖D‖² for the zero-padded convolution D by filters.

    ‖D‖² is at most the maximum over all frequencies ω of λ(ω), the largest eigenvalue of
    D̂(ω)D̂(ω)ᴴ. For a fixed vector u, |D̂(ω)ᴴu|² is a trigonometric polynomial of degree n = k − 1
    in each of two variables, so its maximum over N×N frequencies, divided by cos²(πn/N), bounds it
    everywhere (Ehlich and Zeller 1964). With N = 8n the bound is at most 17 % too large.

    Parameters
    ----------
    filters
        (C, m₀, k, k).

    Returns
    -------
    Tensor
        A scalar, differentiable in `filters`. The eigenvector counts as constant, because the
        derivative of an eigenvalue does not depend on that of its eigenvector.

    References
    ----------
    H. Ehlich and K. Zeller, "Schwankung von Polynomen zwischen Gitterpunkten",
    Mathematische Zeitschrift 86, 1964.
    """
    size = filters.shape[-1]
    grid = max(8 * (size - 1), 1)
    with torch.no_grad():
        spectrum = torch.fft.rfft2(filters.detach(), (grid, grid)).permute(2, 3, 0, 1)
        gram = spectrum @ spectrum.mH
        largest = torch.linalg.eigvalsh(gram)[..., -1]
        row, column = divmod(int(largest.argmax()), largest.shape[1])
        vector = torch.linalg.eigh(gram[row, column])[1][:, -1]
        taps = torch.arange(size, dtype=filters.dtype, device=filters.device)
        angles = -2 * math.pi / grid * (row * taps[:, None] + column * taps)
        phases = torch.polar(torch.ones_like(angles), angles).to(spectrum.dtype)
    transfer = torch.einsum("cmhw,hw->cm", filters.to(phases.dtype), phases)
    value = (vector.conj() @ transfer).abs().square().sum()
    return value / math.cos(math.pi / 8) ** 2 if size > 1 else value


class TiedCISTABlock(Block):
    """K iterations of nonnegative ISTA from zero on ½‖y − d⊗z‖² + ⟨θ, z⟩, z ≥ 0.

    The iteration z ← ReLU(z + dᵀ(y − d⊗z) − θ) is eq. (12) with W = dᵀ and S = n − dᵀ⊗d by
    construction, where d = g/√L for free filters g and their `lipschitz_bound` L. Since ‖d‖ ≤ 1,
    the step 1 is safe: the objective never rises, for any weights, input and number of recursions.

    Parameters
    ----------
    inputs
        Channels of y and of the dictionary.
    codes
        Channels m₀ of z, the atoms of the dictionary.
    recursions
        K; as in `CISTABlock`, they amount to K + 1 iterations from zero.
    kernel
        Size of the filters.
    threshold
        The initial value of θ, which has one threshold per atom.
    """

    def __init__(
        self, inputs: int, codes: int, recursions: int, kernel: int = 3, threshold: float = 0.02
    ) -> None:
        super().__init__()
        self.recursions = recursions
        self.g = convolution(codes, inputs, kernel, bias=False)
        self.raw_threshold = nn.Parameter(torch.full((codes,), threshold))

    @property
    def threshold(self) -> Tensor:
        """θ (m₀,), nonnegative: an absolute value, which unlike a ReLU lets a zero grow again."""
        return self.raw_threshold.abs()

    def dictionary(self) -> Tensor:
        """Return d (inputs, m₀, k, k), with ‖d‖ ≤ 1, as the correlation that torch computes."""
        return self.g.weight / lipschitz_bound(self.g.weight).sqrt()

    def objective(self, y: Tensor, z: Tensor) -> Tensor:
        """Return ½‖y − d⊗z‖² + ⟨θ, z⟩ of codes z (B, m₀, H, W) for features y; one value per
        image."""
        misfit = y - conv2d(z, self.dictionary(), padding="same")
        penalty = z * self.threshold[:, None, None]
        return misfit.square().sum((1, 2, 3)) / 2 + penalty.sum((1, 2, 3))

    def forward(self, y: Tensor, visit: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """Return the codes (B, m₀, H, W) of features y (B, inputs, H, W); `visit` as in
        `CISTABlock`."""
        synthesis = self.dictionary()
        analysis = synthesis.transpose(0, 1).flip(-2, -1).contiguous()
        padding = self.g.padding
        drive = conv2d(y, analysis, -self.threshold, padding=padding)
        z = relu(drive)
        if visit is not None:
            visit(0, z)
        fused = fused_recursion(drive, synthesis, analysis, None, padding)
        for k in range(self.recursions):
            if fused is not None:
                z = fused(z)
            else:
                step = conv2d(conv2d(z, synthesis, padding=padding), analysis, padding=padding)
                z = (z - step).add_(drive).relu_()
            if visit is not None:
                visit(k + 1, z)
        return z

    def untied(self) -> CISTABlock:
        """Return the free block with a factored S of the same W and S, which computes the same."""
        signal, atoms, kernel, _ = self.g.weight.shape
        block = CISTABlock(signal, atoms, self.recursions, kernel, kernel, s_rank=signal)
        block.to(self.g.weight)
        S = cast(FactoredS, block.S)
        with torch.no_grad():
            synthesis = self.dictionary()
            analysis = synthesis.transpose(0, 1).flip(-2, -1)
            block.W.weight.copy_(analysis)
            cast(Tensor, block.W.bias).copy_(-self.threshold)
            S.B.weight.copy_(synthesis)
            S.A.weight.copy_(analysis)
        return block

    def convolutions(self) -> Iterator[Convolution]:
        """Yield the convolutions of a forward pass: one for W, two at each recursion."""
        for layer in convolutions_of(self.g):
            yield layer._replace(times=1 + 2 * self.recursions)

    def pixel_bytes(self) -> int:
        """Return the peak memory per pixel, in bytes of float32: W⊗y, z and S⊗z at once."""
        return 4 * 3 * self.g.in_channels
