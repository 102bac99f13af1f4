"""Convolution by a dictionary: synthesis F, its adjoint Fᵀ, L = ‖FᵀF‖ and the CISTA filters.

Every sum over shifted filters in the toolkit is made here. Needs torch (numpy arrays are
carried over and back).

``⊗`` is true convolution, (f⊗z)[n] = Σₖ f[k] z[n−k], and a filter's origin is its top-left
element k = (0, 0), as in sporco. Two boundaries:

- "circular": all indices wrap; F maps codes (M,H,W) to a signal (C,H,W).
- "zero": F is the full convolution, (M,H,W) to (C,H+s−1,W+s−1). `extend` puts a signal
  (C,H,W) into that size, (s−1)//2 zeros before it and the rest behind, so that for odd s
  Fᵀ(extended y) is the zero-padded 'same' correlation that a network's layer computes.

torch's `conv2d` is a correlation; `convolve` is the one place where filters are flipped for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, reduce
from typing import Any

import torch
import torch.nn.functional as F

from cscsr.arrays import to_tensor, to_type_of
from cscsr.errors import InputError, unknown_name

BOUNDARIES = ("circular", "zero")

PATCH_ELEMENTS = 128
"""Filters of at most this many elements (C·s²) are applied patch by patch, larger ones by FFT.
Patches take C·s² multiply-adds a code at nearly the processor's peak, a transform some tens at
the pace of memory: the two cross at one or two hundred elements."""

BLOCK_BYTES = {"cpu": 2**22, "cuda": 2**28}
"""What the patches and codes of one block may take: on a CPU what its caches hold, so that a
block is read from memory once, however often it is used."""

LANES = 16
"""A convolution layer of a CPU makes its outputs in groups of so many channels."""


Block = tuple[slice, slice, slice]
"""An index of codes (B,M,H,W): some signals, all atoms, some rows."""


def convolve(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """True convolution where the filters fit inside the maps: out_i = Σⱼ filtersᵢⱼ ⊗ mapsⱼ.

    maps (B,J,H,W), filters (I,J,k,k); returns (B,I,H−k+1,W−k+1), whose first element is
    that at (k−1, k−1) of the full convolution.
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
    """Multiply-adds of a Fourier transform of `pixels` real numbers: 1.25·n·log₂ n."""
    return 1.25 * pixels * math.log2(max(pixels, 2))


class ConvDictionary:
    """The linear map F of a dictionary on a grid, codes → Σᵢ fᵢ⊗zᵢ, and what is derived from it.

    filters: (M,C,s,s), or (M,s,s) for C = 1; numpy or torch, of any norm.
    shape: (H,W) of the codes, which is that of the signal.
    boundary: "circular" or "zero", as this module's first lines say.

    Codes are (M,H,W) or (B,M,H,W); signals (C,·,·) or (B,C,·,·), numpy or torch, and the
    answer is of the same kind. `synthesis` and `adjoint` are differentiable by torch.
    Raises InputError for a wrong shape, a filter larger than the grid, or a boundary that
    does not exist.
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
        self._uses_patches = self.channels * self.size**2 <= PATCH_ELEMENTS
        self._uses_layers = (
            self._uses_patches
            and self.filters.dtype == torch.float32
            and self.filters.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
        )

    @property
    def full_shape(self) -> tuple[int, int]:
        """(H+s−1, W+s−1), the size of the full convolution."""
        return self.shape[0] + self.size - 1, self.shape[1] + self.size - 1

    @property
    def grid(self) -> tuple[int, int]:
        """The size of F's output: (H,W) if circular, (H+s−1, W+s−1) if zero."""
        return self.shape if self.boundary == "circular" else self.full_shape

    @property
    def operations(self) -> float:
        """Multiply-adds of one F and one Fᵀ of a single signal, as they are computed here (those
        with the zeros that fill up F's layer, `_phases`, left out)."""
        if self._uses_patches:
            return 2.0 * self.atoms * self.channels * self.size**2 * math.prod(self.shape)
        pixels = math.prod(self.grid)
        transforms = 2 * (self.atoms + self.channels) * transform_operations(pixels)
        return transforms + 4.0 * self.atoms * self.channels * pixels

    def extend(self, signal: Any) -> Any:
        """A signal (…,H,W) zero-extended to `grid`; unchanged if circular."""
        if self.boundary == "circular":
            return signal
        tensor = to_tensor(signal)
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        return to_type_of(F.pad(tensor, (before, after, before, after)), signal)

    def synthesis(self, codes: Any) -> Any:
        """F z = Σᵢ fᵢ⊗zᵢ: codes (…,M,H,W) to a signal (…,C,*grid)."""
        return self._apply(self._synthesis, codes, (self.atoms, *self.shape), "codes")

    def adjoint(self, residual: Any) -> Any:
        """Fᵀ r, with (Fᵀr)ᵢ[n] = Σ_c Σₖ fᵢ_c[k] r_c[n+k]: (…,C,*grid) to (…,M,H,W)."""
        return self._apply(self._adjoint, residual, (self.channels, *self.grid), "a residual")

    def _apply(self, function: Any, array: Any, shape: tuple[int, ...], what: str) -> Any:
        if array.ndim not in (3, 4) or tuple(array.shape[-3:]) != shape:
            raise InputError(
                f"{what} must have shape {shape}, with or without a leading batch, "
                f"got {tuple(array.shape)}."
            )
        tensor = to_tensor(array, self.filters.device, self.filters.dtype)
        out = function(tensor if array.ndim == 4 else tensor[None])
        return to_type_of(out if array.ndim == 4 else out[0], array)

    def zeros(self, *batch: int) -> torch.Tensor:
        """Codes ([B,]M,H,W) of zero, arranged; no memory is touched before they are written to."""
        if not self._uses_layers:
            return self.filters.new_zeros(*batch, self.atoms, *self.shape)
        return self.filters.new_zeros(*batch, *self.shape, self.atoms).movedim(-1, -3)

    def arrange(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes ([B,]M,H,W), all the same, in the order in memory for which F and Fᵀ are fastest:
        a pixel's atoms side by side where they are convolution layers, else as they come."""
        if not self._uses_layers:
            return codes
        batch = codes if codes.ndim == 4 else codes[None]
        batch = batch.contiguous(memory_format=torch.channels_last)
        return batch if codes.ndim == 4 else batch[0]

    def blocks(self, batch: int) -> Iterator[Block]:
        """The codes (B,M,H,W) of `batch` signals in parts: indices of whole rows of all M maps
        of one signal, or of several small signals; one part for all if F goes by FFT."""
        height, width = self.shape
        if not self._uses_patches:
            yield slice(0, batch), slice(None), slice(0, height)
            return
        pixel = (self.atoms + self.channels * self.size**2) * self.filters.element_size()
        rows = max(
            BLOCK_BYTES.get(self.filters.device.type, BLOCK_BYTES["cuda"]) // (pixel * width), 1
        )
        signals = max(rows // height, 1)
        for first in range(0, batch, signals):
            for top in range(0, height, rows):
                bottom = min(top + rows, height)
                yield slice(first, min(first + signals, batch)), slice(None), slice(top, bottom)

    def sweep(self, residual: torch.Tensor) -> Sweep:
        """Fᵀ of a residual (B,C,*grid), and F of new codes, in one pass over the blocks."""
        return Sweep(self, residual)

    def _synthesis(self, codes: torch.Tensor) -> torch.Tensor:
        if self._uses_patches and not _is_tracked(codes, self.filters):
            full = self._empty_synthesis(len(codes))
            for block in self.blocks(len(codes)):
                self._add_synthesis(codes[block], full, block)
            return self._gathered(full)
        if not self._uses_patches:
            spectrum = torch.fft.rfft2(codes, self.grid)
            return torch.fft.irfft2(_contract(spectrum, self._spectrum), self.grid)
        columns = self._matrix.T @ codes.flatten(2)
        return self._gathered(F.fold(columns, self.full_shape, self.size))

    def _adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        if self._uses_patches and not _is_tracked(residual, self.filters):
            codes = torch.empty(
                (len(residual), self.atoms, *self.shape),
                dtype=residual.dtype,
                device=residual.device,
                memory_format=(
                    torch.channels_last if self._uses_layers else torch.contiguous_format
                ),
            )
            around = self._surroundings(residual)
            for block in self.blocks(len(residual)):
                codes[block] = self._correlate(around, block)
            return codes
        if not self._uses_patches:
            spectrum = torch.fft.rfft2(residual)
            conjugate = self._spectrum.transpose(0, 1).conj()
            codes = torch.fft.irfft2(_contract(spectrum, conjugate), self.grid)
            return codes[..., : self.shape[0], : self.shape[1]]
        codes = self._matrix @ F.unfold(self._surroundings(residual), self.size)
        return codes.unflatten(-1, self.shape)

    def _surroundings(self, residual: torch.Tensor) -> torch.Tensor:
        """The residual with all that the codes' patches reach into."""
        if self._uses_patches and self.boundary == "circular":
            return self._unwrap(residual)
        return residual

    def _correlate(self, around: torch.Tensor, block: Block) -> torch.Tensor:
        """Fᵀr on the codes of `block`: (b,M,rows,W)."""
        if not self._uses_patches:
            return self._adjoint(around)
        signals, _, rows = block
        size, width = self.size, self.shape[1]
        part = around[signals, :, rows.start : rows.stop + size - 1]
        if self._uses_layers:
            part = torch.empty_like(part, memory_format=torch.channels_last).copy_(part)
            return F.conv2d(part, self._analysis_layer)
        height = rows.stop - rows.start
        patches = part.new_empty(self.channels, size, size, len(part), height, width)
        for row in range(size):  # C, column, b, rows, W
            shifted = part[:, :, row : row + height].unfold(-1, width, 1)
            patches[:, row] = shifted.permute(1, 3, 0, 2, 4)
        codes = self._matrix @ patches.flatten(3).flatten(0, 2)
        return codes.view(self.atoms, len(part), height, width).transpose(0, 1)

    def _empty_synthesis(self, batch: int) -> torch.Tensor:
        shape = self.full_shape if self._uses_patches else self.grid
        return self.filters.new_zeros(batch, self.channels, *shape)

    def _add_synthesis(self, codes: torch.Tensor, full: torch.Tensor, block: Block) -> None:
        """Adds F of the codes (b,M,rows,W) of `block` to `full`."""
        if not self._uses_patches:
            full += self._synthesis(codes)
            return
        signals, _, rows = block
        lines = self._lines_by_layer(codes) if self._uses_layers else self._lines(codes)
        for row, line in enumerate(lines):
            top = rows.start + row
            full[signals, :, top : top + codes.shape[-2]].add_(line)

    def _lines(self, codes: torch.Tensor) -> torch.Tensor:
        """What the codes (b,M,rows,W) add to the output by each row of the filters: (s,b,C,rows,
        W+s−1)."""
        size, width = self.size, self.shape[1]
        count, _, height, _ = codes.shape
        columns = self._matrix.T @ codes.transpose(0, 1).reshape(self.atoms, -1)
        columns = columns.view(self.channels, size, size, count, height, width)
        lines = columns.new_zeros(self.channels, size, count, height, width + size - 1)
        for column in range(size):
            lines[..., column : column + width] += columns[:, :, column]
        return lines.permute(1, 2, 0, 3, 4)

    def _lines_by_layer(self, codes: torch.Tensor) -> torch.Tensor:
        """`_lines`, by a convolution layer whose channels are the filters' rows at each of
        `_phases` neighbouring columns."""
        size, phases = self.size, self._phases
        lines = F.conv2d(
            codes, self._synthesis_layer, stride=(1, phases), padding=(0, size + phases - 2)
        )
        lines = lines.permute(0, 2, 3, 1).unflatten(-1, (size, self.channels, phases))
        lines = lines.permute(3, 0, 4, 1, 2, 5).flatten(-2)
        # Padding is the same on both sides, so that the first output is at column 1 − phases.
        return lines[..., phases - 1 : phases - 1 + self.shape[1] + size - 1]

    def _gathered(self, full: torch.Tensor) -> torch.Tensor:
        """F's output from sums over whole patches."""
        return self._wrap(full) if self._uses_patches and self.boundary == "circular" else full

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
    def _matrix(self) -> torch.Tensor:
        """(M, C·s²): one filter a row."""
        return self.filters.flatten(1)

    @cached_property
    def _phases(self) -> int:
        """How many neighbouring columns F's layer makes as channels of one output. Each takes
        s−1 taps of nothing more a line, and fills up the `LANES` that are computed anyway."""
        rows = self.channels * self.size

        def cost(phases: int) -> float:
            channels = math.ceil(rows * phases / LANES) * LANES
            return channels * (self.size + phases - 1) / phases

        return min(range(1, self.size + 1), key=cost)

    @cached_property
    def _analysis_layer(self) -> torch.Tensor:
        """(M,C,s,s): Fᵀ is a correlation with the filters."""
        return self.filters.contiguous(memory_format=torch.channels_last)

    @cached_property
    def _synthesis_layer(self) -> torch.Tensor:
        """(s·C·phases,M,1,s+phases−1): the rows of the filters, flipped and shifted."""
        size, phases = self.size, self._phases
        shape = (size, self.channels, phases, self.atoms, size + phases - 1)
        bank = self.filters.new_zeros(shape)
        for phase in range(phases):
            bank[:, :, phase, :, phase : phase + size] = self.filters.flip(-1).permute(2, 1, 0, 3)
        bank = bank.flatten(0, 2).unsqueeze(2)
        return bank.contiguous(memory_format=torch.channels_last)

    @property
    def _spectrum(self) -> torch.Tensor:
        """(M,C,*grid): the filters' transforms (half of the spectrum); made anew for each use
        that gradients of the filters are wanted of."""
        if _is_tracked(self.filters):
            return torch.fft.rfft2(self.filters, self.grid)
        return self._kept_spectrum

    @cached_property
    def _kept_spectrum(self) -> torch.Tensor:
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
        """Compute now what is computed once: L and the filters' transforms."""
        _ = self.lipschitz
        if self._uses_layers:
            _ = self._analysis_layer, self._synthesis_layer
        elif not self._uses_patches:
            _ = self._spectrum

    def cista_filters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The two filter banks of CISTA (eq. 8), W = (1/L) flip(f) (M,C,s,s) and
        S = n − (1/L) flip(f)⊗f (M,M,2s−1,2s−1), n being the identity filter.

        Both are filters of true convolutions whose origin is the element (s−1, s−1), W's
        last and S's middle one, so that h(W⊗y + S⊗z) is one step of ISTA.
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
        self._operator._add_synthesis(codes, self._full, block)

    @property
    def image(self) -> torch.Tensor:
        """F of all that was put; once, at the end."""
        return self._operator._gathered(self._full)


def _is_tracked(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _contract(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Σⱼ mapsⱼ·filtersⱼᵢ at each frequency: (B,J,h,w) and (J,I,h,w) to (B,I,h,w)."""
    if filters.shape[0] == 1:
        return maps * filters[0]
    return torch.einsum("bjhw,jihw->bihw", maps, filters)
