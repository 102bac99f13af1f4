"""The two problems: sparse coding and super-resolution.

A problem owns its data and its measures (objective, duality gap), so that the same code scores
every solver. Needs numpy; imports torch only to handle codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.arrays import check_device, check_unit_range, dtype_name, plain, to_tensor, value_range
from cscsr.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cscsr.operators import ConvDictionary

PIECE = 2**18
"""Codes per piece where a measure runs over all of them."""


def check_scale(scale: Any) -> int:
    """Return `scale` as an int of at least 1; raise InputError for anything else."""
    if isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1:
        raise InputError(f"scale must be a whole number of at least 1, got {scale!r}.")
    return int(scale)


@dataclass(frozen=True, eq=False)
class SuperResolution:
    """A low-resolution image to enlarge.

    Parameters
    ----------
    lr
        (H,W) or (H,W,3) RGB, floating point in [0,1], numpy or torch. Overshoots down to −1 and up
        to 2 are allowed (`cscsr.arrays.UNIT_RANGE`): bicubic interpolation and noise cause them,
        and values of 0 to 255 lie beyond.
    scale
        The factor, a whole number.
    truth
        The high-resolution image (scale·H, scale·W[, 3]) where it is known. It scores traces;
        no solver computes with it.

    Raises
    ------
    InputError
        If a shape, a value (NaN, infinity, far outside [0,1]) or the scale is wrong, and for a
        masked array in which anything is masked.
    """

    lr: Any
    scale: int
    truth: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_scale(self.scale))
        object.__setattr__(self, "lr", _checked_image("lr", self.lr))
        if self.truth is not None:
            object.__setattr__(self, "truth", _checked_image("truth", self.truth))
            shape = tuple(self.scale * n for n in self.lr.shape[:2]) + tuple(self.lr.shape[2:])
            if tuple(self.truth.shape) != shape:
                raise InputError(
                    f"truth must have shape {shape} (scale times that of lr), "
                    f"got {tuple(self.truth.shape)}."
                )


def _checked_image(name: str, image: Any) -> Any:
    """`image` as a plain array; refuses what is no image on the [0,1] scale."""
    shape = tuple(getattr(image, "shape", ()))
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise InputError(f"{name} must have shape (H, W) or (H, W, 3), got {shape}.")
    if dtype_name(image) not in ("float16", "float32", "float64"):
        raise InputError(
            f"{name} must be floating point in [0, 1], got {image.dtype}; "
            "divide 8-bit values by 255."
        )
    image = plain(name, image)
    check_unit_range(name, image)
    return image


@dataclass(frozen=True, eq=False)
class SparseCoding:
    """Find the codes z that minimise P(z) = ½‖y − Σᵢ fᵢ⊗zᵢ‖² + λ‖z‖₁ (eq. 4).

    Codes are (M,H,W), or (B,M,H,W) for a batch, numpy or torch. The objective and the duality gap
    of a batch are sums over it.

    Parameters
    ----------
    signal
        y, (C,H,W) on the [0,1] scale, (H,W) for C = 1, or a batch (B,C,H,W) of independent
        problems; float32 or float64, numpy or torch.
    dictionary
        f, (M,C,s,s), or (M,s,s) for C = 1, of any norm; converted to the signal's dtype
        and device.
    lam
        λ ≥ 0, on the signal's scale.
    nonnegative
        Add the constraint z ≥ 0.
    boundary
        "circular" (all indices wrap) or "zero" (the full convolution of a zero-extended y);
        see `cscsr.operators`.

    Raises
    ------
    InputError
        If a shape, a value (NaN, infinity), λ or the boundary is wrong, and for a masked array in
        which anything is masked.
    """

    signal: Any
    dictionary: Any
    lam: float
    nonnegative: bool = False
    boundary: str = "circular"
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        signal, dictionary = (
            tuple(getattr(array, "shape", ())) for array in (self.signal, self.dictionary)
        )
        if len(signal) not in (2, 3, 4) or 0 in signal:
            raise InputError(
                f"signal must have shape (H, W), (C, H, W) or (B, C, H, W), got {signal}."
            )
        if len(dictionary) not in (3, 4) or 0 in dictionary or dictionary[-1] != dictionary[-2]:
            raise InputError(
                f"dictionary must have shape (M, C, s, s) or (M, s, s), got {dictionary}."
            )
        channels = 1 if len(signal) == 2 else signal[-3]
        if channels != (1 if len(dictionary) == 3 else dictionary[1]):
            raise InputError(
                f"signal and dictionary must have the same channels, got signal {signal} "
                f"and dictionary {dictionary}."
            )
        if dictionary[-1] > min(signal[-2:]):
            raise InputError(
                f"the filters must fit into the signal, but they are "
                f"{dictionary[-1]}x{dictionary[-1]} and it is {signal[-2]}x{signal[-1]}."
            )
        for name, array in (("signal", self.signal), ("dictionary", self.dictionary)):
            if dtype_name(array) not in ("float32", "float64"):
                raise InputError(f"{name} must be float32 or float64, got {array.dtype}.")
            object.__setattr__(self, name, plain(name, array))
            if not all(map(np.isfinite, value_range(getattr(self, name)))):
                raise InputError(f"{name} must be finite, but it holds NaN or infinity.")
        if not (isinstance(self.lam, (int, float, np.number)) and 0 <= self.lam < np.inf):
            raise InputError(f"lam must be a finite number of at least 0, got {self.lam!r}.")
        if self.boundary not in ("circular", "zero"):
            raise unknown_name("boundary", str(self.boundary), ("circular", "zero"))

    @property
    def codes_shape(self) -> tuple[int, ...]:
        """The shape of the codes: (M,H,W), or (B,M,H,W) for a batch."""
        batch = tuple(self.signal.shape[:1]) if self.signal.ndim == 4 else ()
        return (*batch, self.dictionary.shape[0], *self.signal.shape[-2:])

    def on(self, device: Any = None, dtype: Any = None) -> SparseCoding:
        """Return the same problem in torch; converted once and cached.

        Parameters
        ----------
        device
            "cpu", "cuda:0", …; None: the signal's.
        dtype
            "float32", torch.float64, …; None: the signal's.

        Raises
        ------
        InputError
            For another dtype or a device that this machine lacks.
        """
        key = (str(device), str(dtype))
        if key not in self._cache:
            self._cache[key] = self._convert(device, dtype)
        return self._cache[key]

    def _convert(self, device: Any, dtype: Any) -> SparseCoding:
        import torch

        torch_dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if torch_dtype not in (None, torch.float32, torch.float64):
            raise InputError(f"dtype must be float32 or float64, got {dtype!r}.")
        if device is not None:
            check_device(str(device))
        signal = to_tensor(self.signal, device, torch_dtype)
        dictionary = to_tensor(self.dictionary, signal.device, signal.dtype)
        if signal is self.signal and dictionary is self.dictionary:
            return self
        return SparseCoding(signal, dictionary, self.lam, self.nonnegative, self.boundary)

    def operator(self) -> ConvDictionary:
        """Return F on the signal's grid, in its dtype and on its device; made once and cached."""
        if "operator" not in self._cache:
            from cscsr.operators import ConvDictionary

            problem = self.on()
            self._cache["operator"] = ConvDictionary(
                problem.dictionary, tuple(self.signal.shape[-2:]), self.boundary
            )
        return self._cache["operator"]

    def observed(self) -> Any:
        """Return y in the size of F's output, a tensor ([B,]C,·,·): zero-extended if the boundary
        is "zero"."""
        if "observed" not in self._cache:
            signal = self.on().signal
            signal = signal[None] if signal.ndim == 2 else signal
            self._cache["observed"] = self.operator().extend(signal)
        return self._cache["observed"]

    def codes(self, codes: Any) -> Any:
        """Return `codes` as a tensor of the problem's dtype and device.

        Raises
        ------
        InputError
            If their shape is not `codes_shape`, and for a masked array in which anything is masked.
        """
        if tuple(getattr(codes, "shape", ())) != self.codes_shape:
            raise InputError(
                f"codes must have shape {self.codes_shape}, "
                f"got {tuple(getattr(codes, 'shape', ()))}."
            )
        observed = self.observed()
        return to_tensor(plain("codes", codes), observed.device, observed.dtype)

    def objective(self, codes: Any) -> float:
        """Return P(codes), summed over the batch. It does not check the constraint z ≥ 0."""
        import torch

        with torch.no_grad():
            codes = self.codes(codes)
            residual = self.observed() - self.operator().synthesis(codes)
            return 0.5 * _sum_of_squares(residual) + self.lam * _sum_of_sizes(codes)

    def duality_gap(self, codes: Any) -> float:
        """Return P(z) − D(u) ≥ P(z) − P*, summed over the batch.

        With r = y − Fz and q = ‖Fᵀr‖∞ (nonnegative: the largest of (Fᵀr)₊), the dual point is
        u = r·min(1, λ/q) and D(u) = ½‖y‖² − ½‖y − u‖².

        Raises
        ------
        InputError
            If λ = 0, where the dual point would be zero and certify nothing.
        """
        return self.objective_and_gap(codes)[1]

    def objective_and_gap(self, codes: Any) -> tuple[float, float]:
        """Return `objective` and `duality_gap` of the codes, with one F and one Fᵀ."""
        import torch

        if self.lam == 0:
            raise InputError("the duality gap needs lam > 0, got 0.")
        with torch.no_grad():
            codes = self.codes(codes)
            residual = self.observed() - self.operator().synthesis(codes)
            primal = 0.5 * _sum_of_squares(residual) + self.lam * _sum_of_sizes(codes)
            return primal, primal - self.dual_objective(residual, self.correlation(residual))

    def dual_objective(self, residual: Any, largest: Any) -> float:
        """Return D(u) at u = r·min(1, λ/q), summed over the batch.

        Parameters
        ----------
        residual
            r, ([B,]C,·,·).
        largest
            q, () or (B,); see `correlation`.
        """
        import torch

        observed = self.observed()
        scale = torch.where(largest > self.lam, self.lam / largest, 1.0)
        dual = residual * scale[..., None, None, None]
        return 0.5 * (_sum_of_squares(observed) - _sum_of_squares(observed - dual))

    def correlation(self, residual: Any) -> Any:
        """Return q = ‖Fᵀr‖∞ (nonnegative: the largest of (Fᵀr)₊), () or (B,), of a residual
        ([B,]C,*grid)."""
        import torch

        batch = residual if residual.ndim == 4 else residual[None]
        largest = batch.new_zeros(len(batch))
        for (signals, _, _), correlation in self.operator().sweep(batch):
            if not self.nonnegative:
                correlation.abs_()
            largest[signals] = torch.maximum(largest[signals], correlation.amax((1, 2, 3)))
        return largest if residual.ndim == 4 else largest[0]

    def lambda_max(self) -> float:
        """Return the least λ at which z = 0 is the solution: ‖Fᵀy‖∞ (nonnegative: the largest of
        (Fᵀy)₊), the maximum over a batch."""
        import torch

        with torch.no_grad():
            return float(self.correlation(self.observed()).max())


def _sum_of_squares(tensor: Any) -> float:
    return float(tensor.double().square().sum())


def _sum_of_sizes(codes: Any) -> float:
    """‖·‖₁ in float64."""
    return sum(float(part.abs().double().sum()) for (part,) in in_pieces(codes))


def in_pieces(*codes: Any) -> Iterator[tuple[Any, ...]]:
    """Yield codes ([B,]M,H,W), tensors of one shape, some rows at a time.

    A piece has about `PIECE` elements, so that intermediate arrays are small beside the codes.
    """
    height = codes[0].shape[-2]
    rows = max(PIECE * height // codes[0].numel(), 1)
    yield from zip(*(array.split(rows, -2) for array in codes), strict=True)
