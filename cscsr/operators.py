"""Convolution by a dictionary: synthesis F, its adjoint Fᵀ, L = ‖FᵀF‖ and the CISTA filters.

Every sum over shifted filters in the toolkit is made here or in `cscsr.patch_operator`. Needs
torch (numpy arrays are carried over and back).

``⊗`` is true convolution, (f⊗z)[n] = Σₖ f[k] z[n−k], and a filter's origin is its top-left
element k = (0, 0), as in sporco. Two boundaries:

- "circular": all indices wrap; F maps codes (M,H,W) to a signal (C,H,W).
- "zero": F is the full convolution with filters of h×w, (M,H,W) to (C,H+h−1,W+w−1). `extend` puts
  a signal (C,H,W) into that size, (h−1)//2 rows and (w−1)//2 columns of zeros before it and the
  rest behind, so that for odd h and w Fᵀ(extended y) is the zero-padded 'same' correlation that a
  network's layer computes.

Filters of one dictionary have one size; `stack_filters` pads those of different sizes with zeros.
With a mask m, an operator is m∘F instead of F, m being a weight for each element of the signal.

torch's `conv2d` is a correlation; `convolve` is the one place where filters are flipped for it.
All of it computes in the dtype of the filters, inside `torch.autocast` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F

from cscsr.arrays import ordinary_torch, to_tensor, to_type_of
from cscsr.convolution import contract, transform_operations
from cscsr.errors import InputError, unknown_name
from cscsr.patch_operator import Block, PatchOperator, largest_patch

BOUNDARIES = ("circular", "zero")
"""What lies beyond the edge of a signal: the opposite edge, or zeros."""


class ConvDictionary:
    """The linear map F of a dictionary on a grid, codes → Σᵢ fᵢ⊗zᵢ, and derived quantities.

    Codes are (M,H,W) or (B,M,H,W); signals (C,·,·) or (B,C,·,·), numpy or torch, and the
    answer is of the same kind. `synthesis` and `adjoint` are differentiable by torch.

    Parameters
    ----------
    filters
        (M,C,h,w), or (M,h,w) for C = 1; numpy or torch, of any norm.
    shape
        (H,W) of the codes, which is that of the signal.
    boundary
        "circular" or "zero"; see the module.
    mask
        m, which broadcasts to (B,C,*grid): the map is then m∘F, its adjoint Fᵀ(m∘r). None: F.

    Raises
    ------
    InputError
        For a wrong shape, a filter larger than the grid, or an unknown boundary.

    Attributes
    ----------
    filters
        (M,C,h,w), a tensor.
    atoms, channels
        M and C.
    filter_shape
        (h,w).
    mask
        m, a tensor, or None.
    """

    def __init__(
        self, filters: Any, shape: tuple[int, int], boundary: str = "circular", mask: Any = None
    ) -> None:
        if boundary not in BOUNDARIES:
            raise unknown_name("boundary", str(boundary), BOUNDARIES)
        self.filters = to_tensor(filters)
        if self.filters.ndim == 3:
            self.filters = self.filters[:, None]
        if self.filters.ndim != 4:
            raise InputError(
                f"a dictionary must have shape (M, C, h, w) or (M, h, w), got {filters.shape}."
            )
        self.atoms, self.channels, height, width = (int(n) for n in self.filters.shape)
        self.filter_shape = (height, width)
        self.shape = (int(shape[0]), int(shape[1]))
        if height > self.shape[0] or width > self.shape[1]:
            raise InputError(
                f"the filters must fit into the signal of {self.shape[0]}x{self.shape[1]}, "
                f"but they are {height}x{width}."
            )
        self.boundary = boundary
        self.mask = None
        if mask is not None:
            self.mask = to_tensor(mask, self.filters.device, self.filters.dtype)
        self._patches: PatchOperator | None = None
        if self.elements <= largest_patch(self.filters):
            self._patches = PatchOperator(self.filters, self.shape)

    @property
    def elements(self) -> int:
        """The elements of a filter, C·h·w."""
        return self.channels * math.prod(self.filter_shape)

    @property
    def full_shape(self) -> tuple[int, int]:
        """The size of the full convolution, (H+h−1, W+w−1)."""
        height, width = self.filter_shape
        return self.shape[0] + height - 1, self.shape[1] + width - 1

    @property
    def grid(self) -> tuple[int, int]:
        """The size of F's output: (H,W) if circular, (H+h−1, W+w−1) if zero."""
        return self.shape if self.boundary == "circular" else self.full_shape

    @property
    def operations(self) -> float:
        """Multiply-adds of one F and one Fᵀ of a single signal, as they are computed here (those
        with the zeros that fill up the layers of `PatchOperator` left out)."""
        if self._patches is not None:
            return 2.0 * self.atoms * self.elements * math.prod(self.shape)
        pixels = math.prod(self.grid)
        transforms = 2 * (self.atoms + self.channels) * transform_operations(pixels)
        return transforms + 4.0 * self.atoms * self.channels * pixels

    def extend(self, signal: Any, value: float = 0.0) -> Any:
        """Return a signal (…,H,W) extended to `grid` by a value; unchanged if circular."""
        if self.boundary == "circular":
            return signal
        return to_type_of(F.pad(to_tensor(signal), self._margins, value=value), signal)

    def crop(self, image: Any) -> Any:
        """Return the part (…,H,W) of F's output (…,*grid) where `extend` puts a signal."""
        if self.boundary == "circular":
            return image
        left, _, top, _ = self._margins
        return image[..., top : top + self.shape[0], left : left + self.shape[1]]

    @property
    def _margins(self) -> tuple[int, int, int, int]:
        """Columns before and behind, rows before and behind a signal in the full convolution."""
        rows, columns = (n - 1 for n in self.filter_shape)
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    def synthesis(self, codes: Any) -> Any:
        """Return F z = Σᵢ fᵢ⊗zᵢ, times the mask.

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
        """Return Fᵀ r, with (Fᵀr)ᵢ[n] = Σ_c Σₖ fᵢ_c[k] r_c[n+k], of r times the mask.

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

    def _masked(self, image: torch.Tensor) -> torch.Tensor:
        """An image (B,C,*grid) times the mask."""
        return image if self.mask is None else image * self.mask

    def _synthesis(self, codes: torch.Tensor) -> torch.Tensor:
        return self._masked(self._whole_synthesis(codes))

    def _whole_synthesis(self, codes: torch.Tensor) -> torch.Tensor:
        """F without the mask."""
        if self._patches is None:
            spectrum = torch.fft.rfft2(codes, self.grid)
            return torch.fft.irfft2(contract(spectrum, self._spectrum), self.grid)
        if _is_tracked(codes, self.filters):
            columns = self.filters.flatten(1).T @ codes.flatten(2)
            return self._gathered(F.fold(columns, self.full_shape, self.filter_shape))
        full = self._empty_synthesis(len(codes))
        for block in self._patches.blocks(len(codes)):
            self._patches.add_synthesis(codes[block], full, block)
        return self._gathered(full)

    def _adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        return self._whole_adjoint(self._masked(residual))

    def _whole_adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        """Fᵀ without the mask."""
        if self._patches is None:
            spectrum = torch.fft.rfft2(residual)
            conjugate = self._spectrum.transpose(0, 1).conj()
            codes = torch.fft.irfft2(contract(spectrum, conjugate), self.grid)
            return codes[..., : self.shape[0], : self.shape[1]]
        if _is_tracked(residual, self.filters):
            patches = F.unfold(self._surroundings(residual), self.filter_shape)
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
            return self._whole_adjoint(around)
        return self._patches.correlate(around, block)

    def _empty_synthesis(self, batch: int) -> torch.Tensor:
        """Zeros that `_add_synthesis` adds to: (B,C,·,·)."""
        shape = self.grid if self._patches is None else self.full_shape
        return self.filters.new_zeros(batch, self.channels, *shape)

    @ordinary_torch()
    def _add_synthesis(self, codes: torch.Tensor, full: torch.Tensor, block: Block) -> None:
        """Add F of the codes (b,M,rows,W) of `block` to `full`."""
        if self._patches is None:
            full += self._whole_synthesis(codes)
        else:
            self._patches.add_synthesis(codes, full, block)

    def _gathered(self, full: torch.Tensor) -> torch.Tensor:
        """F's output from sums over whole patches."""
        wraps = self._patches is not None and self.boundary == "circular"
        return self._wrap(full) if wraps else full

    def _wrap(self, full: torch.Tensor) -> torch.Tensor:
        """(…,H+h−1,W+w−1) to (…,H,W): what left the grid comes in on the other side."""
        height, width = self.shape
        below, right = (n - 1 for n in self.filter_shape)
        rows = full[..., :height, :] + F.pad(full[..., height:, :], (0, 0, 0, height - below))
        return rows[..., :width] + F.pad(rows[..., width:], (0, width - right))

    def _unwrap(self, residual: torch.Tensor) -> torch.Tensor:
        """The adjoint of `_wrap`: (…,H,W) continued periodically to (…,H+h−1,W+w−1)."""
        below, right = (n - 1 for n in self.filter_shape)
        rows = torch.cat([residual, residual[..., :below, :]], dim=-2)
        return torch.cat([rows, rows[..., :right]], dim=-1)

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
        (…,2h−1,2w−1), lag 0 at [h−1, w−1]."""
        size = tuple(2 * n - 1 for n in self.filter_shape)
        spectrum = torch.fft.rfft2(self.filters.detach().double(), size)
        products = torch.einsum(contraction, spectrum.conj(), spectrum)
        return torch.fft.fftshift(torch.fft.irfft2(products, size), dim=(-2, -1))

    @cached_property
    def gram(self) -> torch.Tensor:
        """Σᵢ f̂ᵢ f̂ᵢᴴ at each frequency of `grid`, the C×C Gram matrices of the filters'
        transforms: complex128, (·,·,C,C), half of the spectrum. It is FFᵀ if circular and without a
        mask."""
        lags = self._correlation("mdhw,mchw->cdhw")
        rows, columns = (torch.arange(1 - n, n, device=lags.device) for n in self.filter_shape)
        height, width = self.grid
        cells = (rows[:, None] % height * width + columns % width).flatten()
        wrapped = lags.new_zeros(self.channels, self.channels, height * width)
        wrapped.index_add_(-1, cells, lags.flatten(-2))
        return torch.fft.rfft2(wrapped.unflatten(-1, self.grid)).movedim((0, 1), (-2, -1))

    @cached_property
    def lipschitz(self) -> float:
        """L, the largest eigenvalue over the frequencies of `grid` of the matrices `gram`, times
        the square of the mask's largest element. It is ‖FᵀF‖ if circular and without a mask, and
        bounds ‖(m∘F)ᵀ(m∘F)‖ otherwise."""
        gram = self.gram.real if self.channels == 1 else torch.linalg.eigvalsh(self.gram)
        weight = 1.0 if self.mask is None else float(self.mask.abs().max())
        return float(gram.max()) * weight**2

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
        """Return the two filter banks of CISTA (eq. 8), W and S, of an operator without a mask.

        Both are filters of true convolutions whose origin is the element (h−1, w−1), W's
        last and S's middle one, so that h(W⊗y + S⊗z) is one step of ISTA.

        Returns
        -------
        tuple[torch.Tensor, torch.Tensor]
            W = (1/L) flip(f), (M,C,h,w), and S = n − (1/L) flip(f)⊗f, (M,M,2h−1,2w−1), n being the
            identity filter.
        """
        step = self.step
        weights = step * self.filters.flip(-2, -1)
        recurrent = -step * self._correlation("ichw,jchw->ijhw")
        middle = tuple(n - 1 for n in self.filter_shape)
        recurrent[:, :, middle[0], middle[1]] += torch.eye(
            self.atoms, dtype=recurrent.dtype, device=recurrent.device
        )
        return weights, recurrent.to(self.filters.dtype)


class Sweep:
    """One pass over the codes of a batch: for each block Fᵀ of a residual, and for the codes that
    are `put` there, F of them all together, both with the operator's mask. Not differentiable.

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
        self._operator, self._residual = operator, operator._masked(residual)

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
        return self._operator._masked(self._operator._gathered(self._full))


def _is_tracked(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
