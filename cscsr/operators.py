"""Convolution by a dictionary: synthesis F, its adjoint Fᵀ, L = ‖FᵀF‖ and the CISTA filters.

Every sum over shifted filters in the toolkit is made here or in `cscsr.patch_operator`. Needs
torch (numpy arrays are carried over and back).

``⊗`` is true convolution, (f⊗z)[n] = Σₖ f[k] z[n−k], and a filter's origin is its top-left
element k = (0, 0), as in sporco. Two boundaries:

- "circular": all indices wrap; F maps codes (M,H,W) to a signal (C,H,W).
- "zero": F is the full convolution, (M,H,W) to (C,H+s−1,W+s−1). `extend` puts a signal
  (C,H,W) into that size, (s−1)//2 zeros before it and the rest behind, so that for odd s
  Fᵀ(extended y) is the zero-padded 'same' correlation that a network's layer computes.

torch's `conv2d` is a correlation; `convolve` is the one place where filters are flipped for it.
All of it computes in the dtype of the filters, inside `torch.autocast` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property, reduce
from typing import Any

import torch
import torch.nn.functional as F

from cscsr.arrays import ordinary_torch, to_tensor, to_type_of
from cscsr.errors import InputError, unknown_name
from cscsr.patch_operator import Block, PatchOperator

BOUNDARIES = ("circular", "zero")

PATCH_ELEMENTS = 128
"""Filters of at most this many elements (C·s²) are applied patch by patch, larger ones by FFT.
Patches take C·s² multiply-adds per code at nearly the processor's peak, a transform some tens at
the pace of memory: the two cross at one or two hundred elements."""


@ordinary_torch()
def convolve(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Convolve where the filters fit inside the maps: outᵢ = Σⱼ filtersᵢⱼ ⊗ mapsⱼ.

    Parameters
    ----------
    maps
        (B,J,H,W).
    filters
        (I,J,k,k).

    Returns
    -------
    torch.Tensor
        (B,I,H−k+1,W−k+1), whose first element is that at (k−1, k−1) of the full convolution.
    """
    flipped = filters.flip(-2, -1)
    if maps.dtype != torch.float64 or maps.is_cuda:
        return F.conv2d(maps, flipped)
    # On a CPU torch has no fast conv2d in float64: a matrix product for each of the filters'
    # rows takes a quarter of its time and a k-th of its memory.
    size = filters.shape[-1]
    height, width = (n - size + 1 for n in maps.shape[-2:])
    columns = maps.unfold(-1, size, 1).permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
    products = (
        flipped[:, :, row].flatten(1) @ columns[..., row * width : (row + height) * width]
        for row in range(size)
    )
    return reduce(torch.add, products).unflatten(-1, (height, width))


def transform_operations(pixels: int) -> float:
    """Return the multiply-adds of a Fourier transform of `pixels` real numbers: 1.25·n·log₂ n."""
    return 1.25 * pixels * math.log2(max(pixels, 2))


class ConvDictionary:
    """The linear map F of a dictionary on a grid, codes → Σᵢ fᵢ⊗zᵢ, and derived quantities.

    Codes are (M,H,W) or (B,M,H,W); signals (C,·,·) or (B,C,·,·), numpy or torch, and the
    answer is of the same kind. `synthesis` and `adjoint` are differentiable by torch.

    Parameters
    ----------
    filters
        (M,C,s,s), or (M,s,s) for C = 1; numpy or torch, of any norm.
    shape
        (H,W) of the codes, which is that of the signal.
    boundary
        "circular" or "zero"; see the module.

    Raises
    ------
    InputError
        For a wrong shape, a filter larger than the grid, or an unknown boundary.

    Attributes
    ----------
    filters
        (M,C,s,s), a tensor.
    atoms, channels, size
        M, C and s.
    """

    def __init__(self, filters: Any, shape: tuple[int, int], boundary: str = "circular") -> None:
        if boundary not in BOUNDARIES:
            raise unknown_name("boundary", str(boundary), BOUNDARIES)
        self.filters = to_tensor(filters)
        if self.filters.ndim == 3:
            self.filters = self.filters[:, None]
        if self.filters.ndim != 4 or self.filters.shape[-2] != self.filters.shape[-1]:
            raise InputError(
                f"a dictionary must have shape (M, C, s, s) or (M, s, s), got {filters.shape}."
            )
        self.atoms, self.channels, self.size = (int(n) for n in self.filters.shape[:3])
        self.shape = (int(shape[0]), int(shape[1]))
        if self.size > min(self.shape):
            raise InputError(
                f"the filters must fit into the signal of {self.shape[0]}x{self.shape[1]}, "
                f"but they are {self.size}x{self.size}."
            )
        self.boundary = boundary
        self._patches: PatchOperator | None = None
        if self.channels * self.size**2 <= PATCH_ELEMENTS:
            self._patches = PatchOperator(self.filters, self.shape)

    @property
    def full_shape(self) -> tuple[int, int]:
        """The size of the full convolution, (H+s−1, W+s−1)."""
        return self.shape[0] + self.size - 1, self.shape[1] + self.size - 1

    @property
    def grid(self) -> tuple[int, int]:
        """The size of F's output: (H,W) if circular, (H+s−1, W+s−1) if zero."""
        return self.shape if self.boundary == "circular" else self.full_shape

    @property
    def operations(self) -> float:
        """Multiply-adds of one F and one Fᵀ of a single signal, as they are computed here (those
        with the zeros that fill up the layers of `PatchOperator` left out)."""
        if self._patches is not None:
            return 2.0 * self.atoms * self.channels * self.size**2 * math.prod(self.shape)
        pixels = math.prod(self.grid)
        transforms = 2 * (self.atoms + self.channels) * transform_operations(pixels)
        return transforms + 4.0 * self.atoms * self.channels * pixels

    def extend(self, signal: Any) -> Any:
        """Return a signal (…,H,W) zero-extended to `grid`; unchanged if circular."""
        if self.boundary == "circular":
            return signal
        tensor = to_tensor(signal)
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        return to_type_of(F.pad(tensor, (before, after, before, after)), signal)

    def synthesis(self, codes: Any) -> Any:
        """Return F z = Σᵢ fᵢ⊗zᵢ.

        Parameters
        ----------
        codes
            z, (…,M,H,W).

        Returns
        -------
        Any
            A signal (…,C,*grid).

        Raises
        ------
        InputError
            For another shape.
        """
        return self._apply(self._synthesis, codes, (self.atoms, *self.shape), "codes")

    def adjoint(self, residual: Any) -> Any:
        """Return Fᵀ r, with (Fᵀr)ᵢ[n] = Σ_c Σₖ fᵢ_c[k] r_c[n+k].

        Parameters
        ----------
        residual
            r, (…,C,*grid).

        Returns
        -------
        Any
            Codes (…,M,H,W).

        Raises
        ------
        InputError
            For another shape.
        """
        return self._apply(self._adjoint, residual, (self.channels, *self.grid), "a residual")

    @ordinary_torch()
    def _apply(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        array: Any,
        shape: tuple[int, ...],
        label: str,
    ) -> Any:
        """Apply a function of batches to an array with or without a batch."""
        if array.ndim not in (3, 4) or tuple(array.shape[-3:]) != shape:
            raise InputError(
                f"{label} must have shape {shape}, with or without a leading batch, "
                f"got {tuple(array.shape)}."
            )
        tensor = to_tensor(array, self.filters.device, self.filters.dtype)
        out = function(tensor if array.ndim == 4 else tensor[None])
        return to_type_of(out if array.ndim == 4 else out[0], array)

    @property
    def _atoms_last(self) -> bool:
        """Whether a pixel's atoms lie side by side in memory, as convolution layers need them."""
        return self._patches is not None and self._patches.uses_layers

    def zeros(self, *batch: int) -> torch.Tensor:
        """Return codes ([B,]M,H,W) of zero, arranged; memory is touched only when written to."""
        if not self._atoms_last:
            return self.filters.new_zeros(*batch, self.atoms, *self.shape)
        return self.filters.new_zeros(*batch, *self.shape, self.atoms).movedim(-1, -3)

    def arrange(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the same codes ([B,]M,H,W) in the order in memory for which F and Fᵀ are fastest:
        a pixel's atoms side by side if they are convolution layers, else unchanged."""
        if not self._atoms_last:
            return codes
        batch = codes if codes.ndim == 4 else codes[None]
        batch = batch.contiguous(memory_format=torch.channels_last)
        return batch if codes.ndim == 4 else batch[0]

    def blocks(self, batch: int) -> Iterator[Block]:
        """Yield the codes (B,M,H,W) of `batch` signals in parts: indices of whole rows of all M
        maps of one signal, or of several small signals; one part for all if F goes by FFT."""
        if self._patches is not None:
            yield from self._patches.blocks(batch)
        else:
            yield slice(0, batch), slice(None), slice(0, self.shape[0])

    def sweep(self, residual: torch.Tensor) -> Sweep:
        """Return a pass over the blocks: Fᵀ of a residual (B,C,*grid), and F of new codes."""
        return Sweep(self, residual)

    def _synthesis(self, codes: torch.Tensor) -> torch.Tensor:
        if self._patches is None:
            spectrum = torch.fft.rfft2(codes, self.grid)
            return torch.fft.irfft2(_contract(spectrum, self._spectrum), self.grid)
        if _is_tracked(codes, self.filters):
            columns = self.filters.flatten(1).T @ codes.flatten(2)
            return self._gathered(F.fold(columns, self.full_shape, self.size))
        full = self._empty_synthesis(len(codes))
        for block in self._patches.blocks(len(codes)):
            self._patches.add_synthesis(codes[block], full, block)
        return self._gathered(full)

    def _adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        if self._patches is None:
            spectrum = torch.fft.rfft2(residual)
            conjugate = self._spectrum.transpose(0, 1).conj()
            codes = torch.fft.irfft2(_contract(spectrum, conjugate), self.grid)
            return codes[..., : self.shape[0], : self.shape[1]]
        if _is_tracked(residual, self.filters):
            patches = F.unfold(self._surroundings(residual), self.size)
            return (self.filters.flatten(1) @ patches).unflatten(-1, self.shape)
        return self._patches.adjoint(self._surroundings(residual))

    def _surroundings(self, residual: torch.Tensor) -> torch.Tensor:
        """The residual with all that the codes' patches reach into."""
        if self._patches is not None and self.boundary == "circular":
            return self._unwrap(residual)
        return residual

    @ordinary_torch()
    def _correlate(self, around: torch.Tensor, block: Block) -> torch.Tensor:
        """Fᵀ of a residual with its surroundings on the codes of `block`: (b,M,rows,W)."""
        if self._patches is None:
            return self._adjoint(around)
        return self._patches.correlate(around, block)

    def _empty_synthesis(self, batch: int) -> torch.Tensor:
        """Zeros that `_add_synthesis` adds to: (B,C,·,·)."""
        shape = self.grid if self._patches is None else self.full_shape
        return self.filters.new_zeros(batch, self.channels, *shape)

    @ordinary_torch()
    def _add_synthesis(self, codes: torch.Tensor, full: torch.Tensor, block: Block) -> None:
        """Add F of the codes (b,M,rows,W) of `block` to `full`."""
        if self._patches is None:
            full += self._synthesis(codes)
        else:
            self._patches.add_synthesis(codes, full, block)

    def _gathered(self, full: torch.Tensor) -> torch.Tensor:
        """F's output from sums over whole patches."""
        wraps = self._patches is not None and self.boundary == "circular"
        return self._wrap(full) if wraps else full

    def _wrap(self, full: torch.Tensor) -> torch.Tensor:
        """(…,H+s−1,W+s−1) to (…,H,W): what left the grid comes in on the other side."""
        height, width = self.shape
        margin = self.size - 1
        rows = full[..., :height, :] + F.pad(full[..., height:, :], (0, 0, 0, height - margin))
        return rows[..., :width] + F.pad(rows[..., width:], (0, width - margin))

    def _unwrap(self, residual: torch.Tensor) -> torch.Tensor:
        """The adjoint of `_wrap`: (…,H,W) continued periodically to (…,H+s−1,W+s−1)."""
        margin = self.size - 1
        rows = torch.cat([residual, residual[..., :margin, :]], dim=-2)
        return torch.cat([rows, rows[..., :margin]], dim=-1)

    @property
    def _spectrum(self) -> torch.Tensor:
        """The filters' transforms (M,C,*grid), half of the spectrum; computed for each use if
        gradients with respect to the filters are needed."""
        if _is_tracked(self.filters):
            return torch.fft.rfft2(self.filters, self.grid)
        return self._fixed_spectrum

    @cached_property
    def _fixed_spectrum(self) -> torch.Tensor:
        return torch.fft.rfft2(self.filters.detach(), self.grid)

    def _correlation(self, contraction: str) -> torch.Tensor:
        """Correlations of filters, summed as the einsum `contraction` says; float64,
        (…,2s−1,2s−1), lag 0 at [s−1, s−1]."""
        size = (2 * self.size - 1,) * 2
        spectrum = torch.fft.rfft2(self.filters.detach().double(), size)
        products = torch.einsum(contraction, spectrum.conj(), spectrum)
        return torch.fft.fftshift(torch.fft.irfft2(products, size), dim=(-2, -1))

    @cached_property
    def gram(self) -> torch.Tensor:
        """Σᵢ f̂ᵢ f̂ᵢᴴ at each frequency of `grid`, the C×C Gram matrices of the filters'
        transforms: complex128, (h,w,C,C), half of the spectrum. It is FFᵀ if circular."""
        lags = self._correlation("mdhw,mchw->cdhw")
        lag = torch.arange(1 - self.size, self.size, device=lags.device)
        height, width = self.grid
        cells = (lag[:, None] % height * width + lag % width).flatten()
        wrapped = lags.new_zeros(self.channels, self.channels, height * width)
        wrapped.index_add_(-1, cells, lags.flatten(-2))
        return torch.fft.rfft2(wrapped.unflatten(-1, self.grid)).movedim((0, 1), (-2, -1))

    @cached_property
    def lipschitz(self) -> float:
        """L, the largest eigenvalue over the frequencies of `grid` of the matrices `gram`.
        It is ‖FᵀF‖ if circular, and bounds it if zero."""
        if self.channels == 1:
            return float(self.gram.real.max())
        return float(torch.linalg.eigvalsh(self.gram).max())

    @property
    def step(self) -> float:
        """1/L, the step of gradient descent; infinite where L is zero."""
        return 1.0 / self.lipschitz if self.lipschitz else math.inf

    def prepare(self) -> None:
        """Compute now what is computed once: L and the filters' transforms or layers."""
        _ = self.lipschitz
        if self._patches is not None:
            self._patches.prepare()
        else:
            _ = self._spectrum

    def cista_filters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two filter banks of CISTA (eq. 8), W and S.

        Both are filters of true convolutions whose origin is the element (s−1, s−1), W's
        last and S's middle one, so that h(W⊗y + S⊗z) is one step of ISTA.

        Returns
        -------
        tuple[torch.Tensor, torch.Tensor]
            W = (1/L) flip(f), (M,C,s,s), and S = n − (1/L) flip(f)⊗f, (M,M,2s−1,2s−1), n being the
            identity filter.
        """
        step = self.step
        weights = step * self.filters.flip(-2, -1)
        recurrent = -step * self._correlation("ichw,jchw->ijhw")
        recurrent[:, :, self.size - 1, self.size - 1] += torch.eye(
            self.atoms, dtype=recurrent.dtype, device=recurrent.device
        )
        return weights, recurrent.to(self.filters.dtype)


class Sweep:
    """One pass over the codes of a batch: for each block Fᵀ of a residual, and for the codes that
    are `put` there, F of them all together. Not differentiable.

        sweep = operator.sweep(residual)          # (B,C,*grid), in their dtype
        for block, correlation in sweep:          # Fᵀ residual there: (b,M,rows,W), yours
            sweep.put(block, …)                   # new codes, (b,M,rows,W)
        image = sweep.image                       # F of the new codes, (B,C,*grid)

    Parameters
    ----------
    operator
        The map F.
    residual
        (B,C,*grid).
    """

    def __init__(self, operator: ConvDictionary, residual: torch.Tensor) -> None:
        self._operator, self._residual = operator, residual

    @cached_property
    def _full(self) -> torch.Tensor:
        return self._operator._empty_synthesis(len(self._residual))

    def __iter__(self) -> Iterator[tuple[Block, torch.Tensor]]:
        around = self._operator._surroundings(self._residual)
        for block in self._operator.blocks(len(self._residual)):
            yield block, self._operator._correlate(around, block)

    def put(self, block: Block, codes: torch.Tensor) -> None:
        """Add F of the new codes (b,M,rows,W) of `block` to the image."""
        self._operator._add_synthesis(codes, self._full, block)

    @property
    def image(self) -> torch.Tensor:
        """F of all that was put, (B,C,*grid); read it once, at the end."""
        return self._operator._gathered(self._full)


def _is_tracked(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _contract(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Σⱼ mapsⱼ·filtersⱼᵢ at each frequency: (B,J,h,w) and (J,I,h,w) to (B,I,h,w)."""
    if filters.shape[0] == 1:
        return maps * filters[0]
    return torch.einsum("bjhw,jihw->bihw", maps, filters)
