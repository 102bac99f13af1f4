"""The CISTA block: K learned iterations of sparse coding, with a free or a factored S.

The paper is "CRNet: Image Super-Resolution Using A Convolutional Sparse Coding Inspired
Network"; equations are cited by its numbers. All tensors are (B, C, H, W). Convolutions here are
torch's (correlations): weights are learned, so nothing is flipped. Needs torch only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from cscsr.networks.base import Convolution, Visit, convolutions_of
from cscsr.networks.pointwise import PointwiseConvolution


def convolution(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """Return a size-preserving, zero-padded convolution, initialised as in A.4."""
    if kernel == 1:
        return initialised(PointwiseConvolution(inputs, outputs, bias))
    return initialised(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias))


def initialised(layer: nn.Conv2d) -> nn.Conv2d:
    """Return the layer with weights as in A.4, of variance 2 / n_out, and biases of zero."""
    if not layer.weight.is_meta:  # see `cscsr.networks.blueprint`; torch takes a second for it
        kernel_size = layer.weight[0, 0].numel()
        nn.init.normal_(layer.weight, std=(2.0 / (kernel_size * layer.out_channels)) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def fusion(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 1×1 convolution of joined features, with initial variance 2 / n_in.

    With that of A.4, which counts the outputs, the features would grow with each fusion.
    """
    layer = convolution(inputs, outputs, 1)
    if not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=(2.0 / inputs) ** 0.5)
    return layer


def start_small(layer: nn.Module) -> None:
    """Initialise the last convolution before a skip so small that training starts at the skip."""
    if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=1e-3)


@lru_cache
def _add_convolution_relu(dtype: torch.dtype) -> Callable[..., Tensor] | None:
    """oneDNN's in-place total ← ReLU(total + w⊗x + b) on a CPU, for channels-last tensors.

    torch has it for its own compiler and does not guarantee its interface, so it is tested on four
    numbers first. None where the test fails.
    """
    total = torch.ones(1, 2, 1, 2, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.full((2, 2, 1, 1), -1.0, dtype=dtype)
    try:
        kernel = torch.ops.mkldnn._convolution_pointwise_.binary
        result = kernel(
            total.clone(), total, weight, torch.tensor([3, 0], dtype=dtype), [0, 0], *_PLAIN
        )
    except (AttributeError, RuntimeError, TypeError):
        return None
    expected = [2.0, 2.0, 0.0, 0.0]  # ReLU(1 − 2 + 3) and ReLU(1 − 2 + 0)
    return kernel if result.flatten().tolist() == expected else None


_PLAIN: tuple[Any, ...] = ([1, 1], [1, 1], 1, "add", 1.0, "relu", [], "")
"""Stride, dilation and groups of a plain convolution, then the operations fused to it."""


def fused_recursion(
    drive: Tensor,
    inner: Tensor,
    outer: Tensor,
    bias: Tensor | None,
    padding: Any,
) -> Callable[[Tensor], Tensor] | None:
    """Return the function z → ReLU(drive + z − outer⊗(inner⊗z) − bias), which overwrites z.

    It adds and rectifies while the outer convolution writes its output: one pass over the codes
    instead of three.

    Parameters
    ----------
    drive
        (B, m₀, H, W).
    inner, outer
        Filters (r, m₀, k, k) and (m₀, r, k, k).
    bias
        (m₀,) or None.
    padding
        The padding of both convolutions.

    Returns
    -------
    Callable or None
        The function; None outside of inference mode, and where the processor or torch lacks the
        fused operation.
    """
    usable = (
        torch.is_inference_mode_enabled()
        and drive.device.type == "cpu"
        and drive.is_contiguous(memory_format=torch.channels_last)
        and not drive.is_contiguous()  # a single pixel is in both orders
    )
    kernel = _add_convolution_relu(drive.dtype) if usable else None
    if kernel is None:
        return None
    inner, weight = inner.to(drive.dtype), -outer.to(drive.dtype)
    negative_bias = None if bias is None else -bias.to(drive.dtype)

    def recursion(z: Tensor) -> Tensor:
        product = conv2d(z, inner, padding=padding)
        return kernel(z.add_(drive), product, weight, negative_bias, padding, *_PLAIN)

    return recursion


class FactoredS(nn.Module):
    """S⊗z = z − A⊗(B⊗z), the form of n − (1/L) flip(f)⊗f in eq. (8).

    With `rank` filters in B it takes 2·rank/m₀ of the multiply-adds of a free S of the same
    kernel. It is initialised to an iteration of ISTA: A is the adjoint of a random B, divided by
    ‖B‖². That is the largest value at 16×16 frequencies, or at 4(k−1) a side for larger kernels,
    hence at least half of ‖B‖² (see `cscsr.networks.tied_block.lipschitz_bound`): ‖S‖ ≤ 1.

    Parameters
    ----------
    codes
        Channels m₀ of z.
    rank
        Filters in B.
    kernel
        Size of the filters of A and of B.
    bias
        Whether A has a bias.
    """

    def __init__(self, codes: int, rank: int, kernel: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.B = convolution(codes, rank, kernel, bias=False)
        self.A = convolution(rank, codes, kernel, bias)
        if self.B.weight.is_meta:
            return
        with torch.no_grad():
            adjoint = self.B.weight.transpose(0, 1).flip(-2, -1)
            grid = (max(16, 4 * (kernel - 1)),) * 2
            spectrum = torch.fft.rfft2(self.B.weight, grid).permute(2, 3, 0, 1)
            self.A.weight.copy_(adjoint / torch.linalg.matrix_norm(spectrum, 2).max() ** 2)

    def forward(self, z: Tensor) -> Tensor:
        """Return S⊗z for codes z, both (B, m₀, H, W)."""
        step = self.A(self.B(z))
        return z - step if torch.is_grad_enabled() else torch.sub(z, step, out=step)

    def fused(self, drive: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Return the function z → ReLU(drive + S⊗z), which overwrites z, for a `drive` (B, m₀, H,
        W).

        None if a layer has hooks, which it would not call; otherwise as `fused_recursion`.
        """
        if any(  # a hook would not be called
            layer._forward_hooks or layer._forward_pre_hooks for layer in (self, self.A, self.B)
        ):
            return None
        return fused_recursion(drive, self.B.weight, self.A.weight, self.A.bias, self.A.padding)

    @property
    def weight(self) -> Tensor:
        """The filters n − A∘B of S as one layer, (m₀, m₀, 2k−1, 2k−1).

        Within k−1 pixels of the border it differs from `forward`, which pads B⊗z with zeros before
        A.
        """
        outer, inner = self.A.weight, self.B.weight
        codes, _, _, kernel = outer.shape
        bank = outer.new_zeros(codes, codes, 2 * kernel - 1, 2 * kernel - 1)
        for row in range(kernel):
            for column in range(kernel):
                shifted = bank[:, :, row : row + kernel, column : column + kernel]
                shifted -= torch.einsum("ir,rjhw->ijhw", outer[..., row, column], inner)
        bank[:, :, kernel - 1, kernel - 1] += torch.eye(codes, dtype=bank.dtype, device=bank.device)
        return bank

    @property
    def bias(self) -> Tensor | None:
        """The bias (m₀,) of S as one layer: minus that of A."""
        return None if self.A.bias is None else -self.A.bias


class Block(nn.Module, ABC):
    """The recursions of a network: features (B, C, H, W) to codes (B, m₀, H, W)."""

    recursions: int

    @abstractmethod
    def convolutions(self) -> Iterator[Convolution]:
        """Yield the convolutions of a forward pass."""

    @abstractmethod
    def pixel_bytes(self) -> int:
        """Return the peak memory per pixel, in bytes of float32."""


class CISTABlock(Block):
    """K learned iterations of CISTA, eq. (12): z ← ReLU(W⊗y + S⊗z), from z₀ = ReLU(W⊗y).

    S is shared by all recursions and W⊗y is computed once. A bias in W is minus the
    threshold of the shrinkage; without biases the threshold is zero. K recursions are
    K + 1 iterations of nonnegative ISTA from zero.

    Parameters
    ----------
    inputs
        Channels of y.
    codes
        Channels m₀ of z.
    recursions
        K.
    kernel
        Size of W's filters.
    s_kernel
        Size of S's filters: 2·kernel − 1 fits the exact n − (1/L) flip(f)⊗f; 1 breaks the
        consistency constraint (CC).
    bias
        Whether W and S have biases.
    local_residual
        Local residual learning (LRL): add W⊗y at every recursion, not only at the first.
    pre_activation
        Apply the ReLU before S (PA). Without it, u ← W⊗y + ReLU(S⊗u), from u₀ = W⊗y, and
        z = ReLU(u).
    s_rank
        The rank of a `FactoredS`; None: a free S.

    References
    ----------
    CC, LRL and PA are the parts of the ablation in Table 1 (right) of the paper.
    """

    def __init__(
        self,
        inputs: int,
        codes: int,
        recursions: int,
        kernel: int = 3,
        s_kernel: int = 3,
        bias: bool = True,
        local_residual: bool = True,
        pre_activation: bool = True,
        s_rank: int | None = None,
    ) -> None:
        super().__init__()
        self.recursions = recursions
        self.local_residual, self.pre_activation = local_residual, pre_activation
        self.W = convolution(inputs, codes, kernel, bias)
        if s_rank is None:
            self.S: nn.Module = convolution(codes, codes, s_kernel, bias)
        else:
            self.S = FactoredS(codes, s_rank, s_kernel, bias)

    def forward(self, y: Tensor, visit: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """Return the codes (B, m₀, H, W) of features y (B, inputs, H, W).

        `visit(k, z)` is called with each iterate, k = 0 … K; in inference mode the next recursion
        may overwrite z.
        """
        drive = self.W(y)
        u, z = drive, relu(drive)
        if visit is not None:
            visit(0, z)
        fused = None
        if self.pre_activation and self.local_residual and isinstance(self.S, FactoredS):
            fused = self.S.fused(drive)
        for k in range(self.recursions):  # in place, since nothing else reads the output of S
            if fused is not None:
                z = fused(z)
            elif self.pre_activation:
                z = self.S(z)
                z = (z.add_(drive) if self.local_residual else z).relu_()
            else:
                u = self.S(u).relu_()
                u = u + drive if self.local_residual else u
                z = relu(u)
            if visit is not None:
                visit(k + 1, z)
        return z

    def convolutions(self) -> Iterator[Convolution]:
        """Yield the convolutions of a forward pass: W once, those of S at each recursion."""
        yield from convolutions_of(self.W)
        for layer in convolutions_of(self.S):
            yield layer._replace(times=self.recursions)

    def pixel_bytes(self) -> int:
        """Return the peak memory per pixel, in bytes of float32: W⊗y, z and S⊗z at once."""
        return 4 * 3 * self.W.out_channels


def with_decoder(
    visit: Visit | None, decode: Callable[[Tensor], Tensor]
) -> Callable[[int, Tensor], None] | None:
    """Return the `visit` of `Network.forward` as a function that `CISTABlock` can call."""
    if visit is None:
        return None
    return lambda k, z: visit(k, z, lambda: decode(z))
