"""CRNet-A and CRNet-B: super-resolution networks around an unrolled CISTA block.

The paper is "CRNet: Image Super-Resolution Using A Convolutional Sparse Coding Inspired
Network"; equations are cited by its numbers. Only torch is needed. All tensors are
(B, C, H, W); images are scaled to [0, 1]. Convolutions here are torch's (correlations):
weights are learned, so nothing is flipped.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from cscsr.errors import InputError, unknown_name

MEAN_Y = 0.4415
MEAN_RGB = (0.4488, 0.4371, 0.4040)
"""Values near the mean of natural images, taken off before the first layer. The RGB mean is
the one EDSR uses for DIV2K, which the paper (A.4) subtracts as well. Trained weights belong to
these values: with others the same file gives another, worse network."""


Visit = Callable[[int, Tensor, Callable[[], Tensor]], None]
"""Called as visit(k, z, decode) at each recursion k of a forward pass. The next may overwrite z:
what is to be kept has to be copied."""


def _conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """A zero-padded convolution that keeps the size, drawn as in A.4: variance 2 / n_out."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    nn.init.normal_(layer.weight, std=(2.0 / (kernel * kernel * outputs)) ** 0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _full_precision(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply `layer` in float32 whatever autocast says: the first and last layers touch
    image values, of which bfloat16 keeps only eight bits."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


def _bicubic(image: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement. With antialias torch takes the kernel a = −0.5 of MATLAB and PIL
    (without, a = −0.75); enlarging, it is the same but for a pixel or two at the border."""
    return interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


@lru_cache
def _add_convolution_relu(dtype: torch.dtype) -> Callable[..., Tensor] | None:
    """oneDNN's in-place total ← ReLU(total + w⊗x + b) on a CPU, for tensors in channels-last
    order. torch has it for its own compiler only and promises nothing: it is tried on four
    numbers, and None where that does not work."""
    total = torch.ones(1, 2, 1, 2, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.full((2, 2, 1, 1), -1.0, dtype=dtype)
    try:
        kernel = torch.ops.mkldnn._convolution_pointwise_.binary
        found = kernel(
            total.clone(), total, weight, torch.tensor([3, 0], dtype=dtype), [0, 0], *_PLAIN
        )
    except (AttributeError, RuntimeError, TypeError):
        return None
    expected = [2.0, 2.0, 0.0, 0.0]  # ReLU(1 − 2 + 3) and ReLU(1 − 2 + 0)
    return kernel if found.flatten().tolist() == expected else None


_PLAIN = ([1, 1], [1, 1], 1, "add", 1.0, "relu", [], "")
"""Stride, dilation and groups of a plain convolution, then what follows it there."""


class FactoredS(nn.Module):
    """S⊗z = z − A⊗(B⊗z), as n − (1/L) flip(f)⊗f is made of W and its adjoint (eq. 10): with
    `rank` filters in B it takes 2·rank/m₀ of the multiply-adds of a free S of the same kernel.
    Starts as an iteration of ISTA: A is the adjoint of a random B, over its Lipschitz constant.
    """

    def __init__(self, codes: int, rank: int, kernel: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.B = _conv(codes, rank, kernel, bias=False)
        self.A = _conv(rank, codes, kernel, bias)
        with torch.no_grad():
            adjoint = self.B.weight.transpose(0, 1).flip(-2, -1)
            spectrum = torch.fft.rfft2(self.B.weight, (16, 16)).permute(2, 3, 0, 1)
            self.A.weight.copy_(adjoint / torch.linalg.matrix_norm(spectrum, 2).max() ** 2)

    def forward(self, z: Tensor) -> Tensor:
        step = self.A(self.B(z))
        return z - step if torch.is_grad_enabled() else torch.sub(z, step, out=step)

    def fused(self, drive: Tensor) -> Callable[[Tensor], Tensor] | None:
        """z → ReLU(drive + S⊗z), into z itself, with a sum and the ReLU made where A's convolution
        writes: one pass of their own over the codes in place of three. None outside of inference
        mode and where the processor or torch has no such operation."""
        usable = (
            torch.is_inference_mode_enabled()
            and drive.device.type == "cpu"
            and drive.is_contiguous(memory_format=torch.channels_last)
            and not drive.is_contiguous()  # a single pixel is in both orders
            and not any(  # they want to be called
                layer._forward_hooks or layer._forward_pre_hooks for layer in (self, self.A)
            )
        )
        kernel = _add_convolution_relu(drive.dtype) if usable else None
        if kernel is None:
            return None
        weight = -self.A.weight.to(drive.dtype)
        bias = None if self.A.bias is None else -self.A.bias.to(drive.dtype)

        def recursion(z: Tensor) -> Tensor:
            inner = self.B(z)
            return kernel(z.add_(drive), inner, weight, bias, self.A.padding, *_PLAIN)

        return recursion

    @property
    def weight(self) -> Tensor:
        """The filters of S as a layer of its own, (m₀,m₀,2k−1,2k−1): n − A∘B. Within k−1 pixels
        of the border such a layer differs, as A pads what B has made there with zeros."""
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
        """The bias (m₀,) of S as a layer of its own: minus that of A, which z − A⊗(B⊗z) subtracts
        with the rest."""
        return None if self.A.bias is None else -self.A.bias


class CISTABlock(nn.Module):
    """K learned iterations of CISTA, eq. (12): z ← ReLU(W⊗y + S⊗z), from z₀ = ReLU(W⊗y).

    S is shared by all recursions and W⊗y is computed once. A bias in W is minus the
    threshold of the shrinkage; without biases the threshold is zero. K recursions are
    K + 1 iterations of nonnegative ISTA from zero.

    inputs: channels of y; codes: channels m₀ of z; kernel: size of W's filters;
    s_kernel: size of S's filters (2·kernel − 1 holds the exact n − (1/L) flip(f)⊗f, 1 breaks
    the consistency constraint, CC); s_rank: where given, S is a `FactoredS` of that rank.

    The other two parts of the ablation in Table 1 (right) are switches. local_residual (LRL):
    W⊗y is added at every recursion, not only at the first. pre_activation (PA): the ReLU
    stands before S; without it, u ← W⊗y + ReLU(S⊗u), from u₀ = W⊗y, and z = ReLU(u).
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
        self.W = _conv(inputs, codes, kernel, bias)
        if s_rank is None:
            self.S: nn.Module = _conv(codes, codes, s_kernel, bias)
        else:
            self.S = FactoredS(codes, s_rank, s_kernel, bias)

    def forward(self, y: Tensor, visit: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """Codes (B, m₀, H, W) of features y (B, inputs, H, W). `visit(k, z)` is called
        with each iterate, k = 0 … K; in inference mode the next may overwrite it."""
        drive = self.W(y)
        u, z = drive, relu(drive)
        if visit is not None:
            visit(0, z)
        whole = self.pre_activation and self.local_residual and isinstance(self.S, FactoredS)
        fused = self.S.fused(drive) if whole else None
        for k in range(self.recursions):  # nothing else needs what S returns: the rest is in place
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


class CRNetA(nn.Module):
    """CRNet-A, the pre-upsampling model (Fig. 2, eqs. 11–14): it refines an image that was
    already enlarged by bicubic interpolation, one model for every scale.

    The paper's widths are n0=128, m0=256, recursions=25: 1,330,305 parameters.

    n0: feature channels; m0: code channels; recursions: K; channels: 1 for luma;
    residual: the global skip of eq. (14), switched off in Fig. 5; s_kernel: size of S;
    bias: learned biases; local_residual, pre_activation, s_rank: see `CISTABlock`;
    small_start: with the skip, draw the last layer so small that training starts at the
    enlarged image (A.4 draws it as all others).
    """

    def __init__(
        self,
        n0: int = 128,
        m0: int = 256,
        recursions: int = 25,
        channels: int = 1,
        residual: bool = True,
        s_kernel: int = 3,
        bias: bool = True,
        local_residual: bool = True,
        pre_activation: bool = True,
        s_rank: int | None = None,
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.F0 = _conv(channels, n0, bias=bias)
        self.F1 = _conv(n0, n0, bias=bias)
        self.block = CISTABlock(
            n0,
            m0,
            recursions,
            s_kernel=s_kernel,
            bias=bias,
            local_residual=local_residual,
            pre_activation=pre_activation,
            s_rank=s_rank,
        )
        self.Wh = _conv(m0, n0, bias=bias)
        self.H = _conv(n0, channels, bias=bias)
        if residual and small_start:
            nn.init.normal_(self.H.weight, std=1e-3)

    def decode(self, z: Tensor, image: Tensor) -> Tensor:
        """The high-resolution image of codes z, eqs. (13) and (14)."""
        detail = _full_precision(self.H, self.Wh(z).relu_())
        return image + detail if self.residual else MEAN_Y + detail

    def forward(self, image: Tensor, visit: Visit | None = None) -> Tensor:
        """Refine an enlarged image (B, channels, H, W).

        `visit(k, z, decode)` is called at each recursion; ``decode()`` is the image that
        the codes z = z_k give (only the last was trained to be one).
        """
        y = self.F1(_full_precision(self.F0, image - MEAN_Y).relu_()).relu_()
        seen = visit and (lambda k, z: visit(k, z, lambda: self.decode(z, image)))
        return self.decode(self.block(y, seen), image)


class _ResidualUnit(nn.Module):
    """x + conv(ReLU(conv(x))), CRNet-B's pre-processing of one scale."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.first = _conv(channels, channels, bias=bias)
        self.second = _conv(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu_())


def _upsampler(channels: int, scale: int, bias: bool) -> nn.Sequential:
    """Sub-pixel convolutions to `scale`: ×4 is ×2 twice, as in EDSR and MDSR."""
    factors = {2: [2], 3: [3], 4: [2, 2]}[scale]
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [_conv(channels, channels * factor**2, bias=bias), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class CRNetB(nn.Module):
    """CRNet-B, the post-upsampling model (Fig. 6): it works at low resolution, with
    pre-processing and upsampling modules of its own for each scale.

    The paper's widths are n0=64, m0=1024, recursions=25: 11,730,307 parameters.

    n0: feature channels; m0: code channels; recursions: K; scales: those it can do;
    channels: 3 for RGB; residual: add the bicubic enlargement to the output, as eq. (14) does
    in CRNet-A (the paper's CRNet-B does not); s_kernel: size of S; bias: learned biases;
    s_rank: see `CISTABlock`; small_start: draw the layers that end a skip, and the last, at a
    tenth (the last, with `residual`, at a hundredth) of what A.4 draws them at.
    """

    def __init__(
        self,
        n0: int = 64,
        m0: int = 1024,
        recursions: int = 25,
        scales: Sequence[int] = (2, 3, 4),
        channels: int = 3,
        residual: bool = False,
        s_kernel: int = 3,
        bias: bool = True,
        s_rank: int | None = None,
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.residual = residual
        self.head = _conv(channels, n0, bias=bias)
        self.pre = nn.ModuleDict({str(s): _ResidualUnit(n0, bias) for s in self.scales})
        self.F0 = _conv(n0, n0, bias=bias)
        self.F1 = _conv(n0, n0, bias=bias)
        self.block = CISTABlock(n0, m0, recursions, s_kernel=s_kernel, bias=bias, s_rank=s_rank)
        self.Wh = _conv(m0, n0, bias=bias)
        self.H = _conv(n0, n0, bias=bias)
        self.up = nn.ModuleDict({str(s): _upsampler(n0, s, bias) for s in self.scales})
        self.tail = _conv(n0, channels, bias=bias)
        if small_start:
            with torch.no_grad():
                for layer in (*(unit.second for unit in self.pre.values()), self.H):
                    layer.weight.mul_(0.1)
                self.tail.weight.mul_(0.01 if residual else 0.1)
        mean = torch.tensor(MEAN_RGB if channels == 3 else (MEAN_Y,))
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)

    def decode(self, z: Tensor, features: Tensor, image: Tensor, scale: int) -> Tensor:
        """The high-resolution image of codes z, given the features before the skip and the
        low-resolution image."""
        x = self.up[str(scale)](features + self.H(self.Wh(z).relu_()))
        detail = _full_precision(self.tail, x)
        return detail + (_bicubic(image, scale) if self.residual else self.mean)

    def forward(
        self,
        image: Tensor,
        scale: int,
        visit: Visit | None = None,
    ) -> Tensor:
        """Enlarge (B, channels, H, W) to (B, channels, scale·H, scale·W).

        `visit(k, z, decode)` is called at each recursion; ``decode()`` is the image that
        the codes z = z_k give (only the last was trained to be one).
        """
        features = self.pre[str(scale)](_full_precision(self.head, image - self.mean))
        y = self.F1(self.F0(features).relu_()).relu_()
        seen = visit and (lambda k, z: visit(k, z, lambda: self.decode(z, features, image, scale)))
        return self.decode(self.block(y, seen), features, image, scale)


_ARCHITECTURES = {"crnet-a": CRNetA, "crnet-b": CRNetB}


def build(architecture: str, **arguments: Any) -> nn.Module:
    """A network by the name that weight files and recipes give it: "crnet-a", "crnet-b".

    `scales` is passed on to a network that depends on it. Raises InputError for an unknown
    name or argument.
    """
    if architecture not in _ARCHITECTURES:
        raise unknown_name("architecture", architecture, _ARCHITECTURES)
    network = _ARCHITECTURES[architecture]
    known = inspect.signature(network).parameters
    wrong = sorted(set(arguments) - set(known) - {"scales"})
    if wrong:
        raise InputError(
            f"{architecture} has no argument {', '.join(wrong)}; it has {', '.join(known)}."
        )
    return network(**{key: value for key, value in arguments.items() if key in known})
