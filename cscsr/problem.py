"""The problem of sparse coding.

It owns its data and its measures (objective, duality gap), so that the same code scores every
solver. Needs numpy; imports torch only to handle codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.arrays import (
    check_device,
    check_float_dtype,
    copied,
    described,
    dtype_name,
    plain,
    to_tensor,
    to_type_of,
    value_range,
)
from cscsr.errors import InputError, unknown_name
from cscsr.weighting import (
    checked_lam,
    checked_mask,
    in_pieces,
    part_of,
    sum_of_sizes,
    sum_of_squares,
)

if TYPE_CHECKING:
    from cscsr.operators import ConvDictionary


@dataclass(frozen=True, eq=False, repr=False)
class SparseCoding:
    """Find the codes z that minimise P(z) = ½‖m∘(y − Σᵢ fᵢ⊗zᵢ)‖² + Σⱼ λⱼ|zⱼ| (eq. 3 for m = 1 and
    one number λ).

    Codes are (M,H,W), or (B,M,H,W) for a batch, numpy or torch. The objective and the duality gap
    of a batch are sums over it. With A = m∘F and b = m∘y, P(z) = ½‖b − Az‖² + Σⱼ λⱼ|zⱼ|: `operator`
    is A and `observed` is b.

    The problem holds copies of its arrays, which are small beside codes, so that changing the
    originals changes no problem. Only a λ of one element per code is not copied: leave it as it is.

    Parameters
    ----------
    signal
        y, (C,H,W) on the [0,1] scale, (H,W) for C = 1, or a batch (B,C,H,W) of independent
        problems; float32 or float64, numpy or torch.
    dictionary
        f, (M,C,h,w), or (M,h,w) for C = 1, of any norm; converted to the signal's dtype
        and device. Filters of different sizes go through `cscsr.stack_filters`, which pads them
        with zeros and puts each in the middle.
    lam
        λ ≥ 0, on the signal's scale: a number, or an array of the codes' dimensions that broadcasts
        to them, (M,1,1) for one λ per atom and (M,H,W) for one per code. A code with λⱼ = 0 is
        exempt from the penalty. An exempt atom explains all that it can of a signal; one whose
        transform has no zero can explain any signal (docs/maths.md).
    nonnegative
        Add the constraint z ≥ 0.
    boundary
        "circular" (all indices wrap) or "zero" (the full convolution of a zero-extended y);
        see `cscsr.operators`.
    mask
        m, boolean or in [0,1], numpy or torch, that broadcasts to the signal: 1 (True) where the
        signal is observed, 0 where it is missing. It multiplies the residual, so that an error
        counts by m². The extension of the boundary "zero" counts as observed. None: all of the
        signal is observed.

    Raises
    ------
    InputError
        If a shape, a value (NaN, infinity), λ, `nonnegative`, the mask or the boundary is wrong,
        and for a masked array in which anything is masked.
    """

    signal: Any
    dictionary: Any
    lam: Any
    nonnegative: bool = False
    boundary: str = "circular"
    mask: Any = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        signal, dictionary = (
            tuple(getattr(array, "shape", ())) for array in (self.signal, self.dictionary)
        )
        if len(signal) not in (2, 3, 4) or 0 in signal:
            raise InputError(
                f"signal must have shape (H, W), (C, H, W) or (B, C, H, W), got {signal}."
            )
        if len(dictionary) not in (3, 4) or 0 in dictionary:
            raise InputError(
                f"dictionary must have shape (M, C, h, w) or (M, h, w), got {dictionary}."
            )
        channels = 1 if len(signal) == 2 else signal[-3]
        if channels != (1 if len(dictionary) == 3 else dictionary[1]):
            raise InputError(
                f"signal and dictionary must have the same channels, got signal {signal} "
                f"and dictionary {dictionary}."
            )
        if dictionary[-2] > signal[-2] or dictionary[-1] > signal[-1]:
            raise InputError(
                f"the filters must fit into the signal, but they are "
                f"{dictionary[-2]}x{dictionary[-1]} and it is {signal[-2]}x{signal[-1]}."
            )
        for name, array in (("signal", self.signal), ("dictionary", self.dictionary)):
            if dtype_name(array) not in ("float32", "float64"):
                raise InputError(f"{name} must be float32 or float64, got {array.dtype}.")
            object.__setattr__(self, name, copied(plain(name, array)))
            if not all(map(np.isfinite, value_range(getattr(self, name)))):
                remedy = "; give missing elements any number" if self.mask is not None else ""
                raise InputError(f"{name} must be finite, but it holds NaN or infinity{remedy}.")
        lam = checked_lam(self.lam, self.codes_shape)
        small = getattr(lam, "shape", None) not in (None, self.codes_shape)
        object.__setattr__(self, "lam", copied(lam) if small else lam)
        if self.mask is not None:
            object.__setattr__(self, "mask", copied(checked_mask(self.mask, signal)))
        if not isinstance(self.nonnegative, (bool, np.bool_)):
            raise InputError(f"nonnegative must be True or False, got {self.nonnegative!r}.")
        if self.boundary not in ("circular", "zero"):
            raise unknown_name("boundary", str(self.boundary), ("circular", "zero"))

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseCoding:
        """The same problem with arrays of its own. Tensors remain in their graphs, which their own
        deep copy refuses."""
        return replace(self, lam=copied(self.lam) if self.has_lam_array else self.lam)

    def __repr__(self) -> str:
        height, width = self.dictionary.shape[-2:]
        parts = [
            f"signal {described(self.signal)}",
            f"{self.dictionary.shape[0]} filters of {height}x{width}",
            f"lam {self.lam if isinstance(self.lam, (int, float)) else described(self.lam, True)}",
            self.boundary,
        ]
        if self.nonnegative:
            parts.append("nonnegative")
        if self.mask is not None:
            parts.append(f"mask {described(self.mask)}")
        return f"SparseCoding({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        from cscsr.notebook import sparse_coding_html

        return sparse_coding_html(self)

    @property
    def codes_shape(self) -> tuple[int, ...]:
        """The shape of the codes: (M,H,W), or (B,M,H,W) for a batch."""
        batch = tuple(self.signal.shape[:1]) if self.signal.ndim == 4 else ()
        return (*batch, self.dictionary.shape[0], *self.signal.shape[-2:])

    @property
    def has_lam_array(self) -> bool:
        """Whether λ is an array."""
        return not isinstance(self.lam, (int, float))

    @property
    def has_gap(self) -> bool:
        """Whether any code has a penalty, without which there is no duality gap."""
        return self._lam_range[1] > 0

    @property
    def has_exempt(self) -> bool:
        """Whether some codes have λⱼ = 0 and others have not."""
        return self._lam_range[0] == 0 < self._lam_range[1]

    @property
    def _lam_range(self) -> tuple[float, float]:
        if not self.has_lam_array:
            return self.lam, self.lam
        if "range" not in self._cache:
            self._cache["range"] = value_range(self.lam)
        return self._cache["range"]

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

        check_float_dtype(dtype)
        torch_dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        if device is not None:
            check_device(str(device))
        signal = to_tensor(self.signal, device, torch_dtype)
        dictionary = to_tensor(self.dictionary, signal.device, signal.dtype)
        if signal is self.signal and dictionary is self.dictionary:
            return self
        return replace(self, signal=signal, dictionary=dictionary)

    def weights(self) -> Any:
        """Return λ to compute with: a number, or a tensor of as many dimensions as the codes that
        broadcasts to them, in the signal's dtype and on its device. λⱼ > 0 stays above 0."""
        if not self.has_lam_array:
            return self.lam
        if "weights" not in self._cache:
            import torch

            signal = self.on().signal
            lam = to_tensor(self.lam, signal.device, torch.float64)
            limits = torch.finfo(signal.dtype)
            weights = lam.clamp(limits.tiny, limits.max).to(signal.dtype)
            weights = weights.masked_fill_(lam == 0, 0.0)
            weights = weights[(None,) * (len(self.codes_shape) - weights.ndim)]
            if weights.shape[-3:] == self.codes_shape[-3:]:
                weights = self.operator().arrange(weights)
            self._cache["weights"] = weights
        return self._cache["weights"]

    def operator(self, masked: bool = True) -> ConvDictionary:
        """Return A = m∘F on the signal's grid, or F if not `masked`, in the signal's dtype and on
        its device; made once and cached."""
        masked = masked and self.mask is not None
        key = ("operator", masked)
        if key not in self._cache:
            from cscsr.operators import ConvDictionary

            operator = ConvDictionary(
                self.on().dictionary, tuple(self.signal.shape[-2:]), self.boundary
            )
            if masked:
                operator.mask = self._mask_of(operator)
            self._cache[key] = operator
        return self._cache[key]

    def _mask_of(self, operator: ConvDictionary) -> Any:
        """m as a tensor that broadcasts to ([B,]C,*grid) of an operator."""
        signal = self.on().signal
        mask = to_tensor(self.mask, signal.device, signal.dtype)
        if self.boundary == "zero":
            mask = operator.extend(mask.expand(*mask.shape[:-2], *operator.shape), 1.0)
        return mask

    def observed(self, masked: bool = True) -> Any:
        """Return b = m∘y, or y if not `masked`, in the size of F's output, a tensor ([B,]C,·,·):
        zero-extended if the boundary is "zero"."""
        masked = masked and self.mask is not None
        key = ("observed", masked)
        if key not in self._cache:
            signal = self.on().signal
            signal = signal[None] if signal.ndim == 2 else signal
            observed = self.operator().extend(signal)
            self._cache[key] = observed * self.operator().mask if masked else observed
        return self._cache[key]

    def codes(self, codes: Any) -> Any:
        """Return `codes` as a tensor of the problem's dtype and device.

        Raises
        ------
        InputError
            If their shape is not `codes_shape` or they are no real numbers, and for a masked array
            in which anything is masked.
        """
        if tuple(getattr(codes, "shape", ())) != self.codes_shape:
            raise InputError(
                f"codes must have shape {self.codes_shape}, "
                f"got {tuple(getattr(codes, 'shape', ()))}."
            )
        if not dtype_name(codes).startswith(("float", "bfloat", "int", "uint", "bool")):
            raise InputError(f"codes must hold real numbers, got {codes.dtype}.")
        observed = self.observed()
        return to_tensor(plain("codes", codes), observed.device, observed.dtype)

    def synthesis(self, codes: Any) -> Any:
        """Return the image of some codes, Σᵢ fᵢ⊗zᵢ on the signal's grid, without the mask.

        Parameters
        ----------
        codes
            z, of shape `codes_shape`, numpy or torch.

        Returns
        -------
        Any
            In the shape, array type, dtype and device of the signal.

        Raises
        ------
        InputError
            If their shape is not `codes_shape`.
        """
        import torch

        with torch.no_grad():
            operator = self.operator(masked=False)
            image = operator.crop(operator.synthesis(self.codes(codes)))
            return to_type_of(image.reshape(self.signal.shape), self.signal)

    def objective(self, codes: Any) -> float:
        """Return P(codes), summed over the batch. It does not check the constraint z ≥ 0."""
        import torch

        with torch.no_grad():
            codes = self.codes(codes)
            residual = self.observed() - self.operator().synthesis(codes)
            return 0.5 * sum_of_squares(residual) + self.penalty(codes)

    def penalty(self, codes: Any) -> float:
        """Return Σⱼ λⱼ|zⱼ|, summed over the batch, of codes as a tensor."""
        if not self.has_lam_array:
            return self.lam * sum_of_sizes(codes)
        weights = self.weights().expand(codes.shape)
        return sum(
            float((part.abs().double() * weight).sum())
            for part, weight in in_pieces(codes, weights)
        )

    def duality_gap(self, codes: Any) -> float:
        """Return P(z) − D(u) ≥ P(z) − P*, summed over the batch.

        With r = b − Az, the dual point u = r·min(1, minⱼ λⱼ/|Aⱼᵀr|) (nonnegative: (Aⱼᵀr)₊)
        satisfies |Aⱼᵀu| ≤ λⱼ, and D(u) = ½‖b‖² − ½‖b − u‖². Where codes are exempt, r is first
        projected onto Aⱼᵀu = 0 for these j; see `cscsr.certificate`.

        Raises
        ------
        InputError
            If λ = 0 everywhere.
        """
        return self.objective_and_gap(codes)[1]

    def objective_and_gap(self, codes: Any) -> tuple[float, float]:
        """Return `objective` and `duality_gap` of the codes, with one F and one Fᵀ where no code is
        exempt."""
        import torch

        if not self.has_gap:
            raise InputError("the duality gap needs lam > 0, got 0.")
        with torch.no_grad():
            codes = self.codes(codes)
            residual = self.observed() - self.operator().synthesis(codes)
            primal = 0.5 * sum_of_squares(residual) + self.penalty(codes)
            if self.has_exempt:
                from cscsr.certificate import without_exempt

                residual = without_exempt(self, residual, codes)
            scale = self.dual_scale(self.correlation(residual.to(codes.dtype), relative=True))
            return primal, primal - self.dual_objective(residual, scale)

    def dual_scale(self, largest: Any) -> Any:
        """Return min(1, 1/largest), the factor that makes a residual a dual point, of the largest
        |Aⱼᵀr|/λⱼ, () or (B,)."""
        return 1.0 / largest.clamp(min=1.0)

    def dual_objective(self, residual: Any, scale: Any) -> float:
        """Return D(u) at u = scale·r, summed over the batch.

        Parameters
        ----------
        residual
            r, ([B,]C,·,·).
        scale
            () or (B,); see `dual_scale`.
        """
        observed = self.observed()
        dual = residual * scale[..., None, None, None]
        return 0.5 * (sum_of_squares(observed) - sum_of_squares(observed - dual))

    def correlation(self, residual: Any, relative: bool = False) -> Any:
        """Return the largest |Aⱼᵀr| (nonnegative: (Aⱼᵀr)₊), () or (B,), of a residual
        ([B,]C,*grid); if `relative`, the largest |Aⱼᵀr|/λⱼ of the codes that are not exempt."""
        import torch

        batch = residual if residual.ndim == 4 else residual[None]
        largest = batch.new_zeros(len(batch))
        weights = self.divisors() if relative else 1.0
        for block, correlation in self.operator().sweep(batch):
            signals = block[0]
            if not self.nonnegative:
                correlation.abs_()
            if relative and self.has_lam_array:
                correlation.div_(part_of(weights, block))
            largest[signals] = torch.maximum(largest[signals], correlation.amax((1, 2, 3)))
        if relative and not self.has_lam_array:
            largest = largest.double() / self.lam
        return largest if residual.ndim == 4 else largest[0]

    def divisors(self) -> Any:
        """Return `weights` with infinity in place of 0: a correlation divided by it exceeds 1 where
        it exceeds λⱼ > 0, and is 0 for exempt codes."""
        if not self.has_lam_array:
            return self.lam
        return self.weights().masked_fill(self.weights() == 0, np.inf)

    def kkt_residual(self, codes: Any) -> float:
        """Return how far codes are from the conditions of optimality, 0 at a solution.

        With c = Aᵀ(b − Az), it is the largest distance of cⱼ from the subdifferential of λⱼ|zⱼ|:
        |cⱼ − λⱼ sign zⱼ| where zⱼ ≠ 0, and (|cⱼ| − λⱼ)₊ (nonnegative: (cⱼ − λⱼ)₊) where zⱼ = 0.

        Raises
        ------
        InputError
            If their shape is not `codes_shape`.
        """
        import torch

        with torch.no_grad():
            codes = self.codes(codes)
            residual = self.observed() - self.operator().synthesis(codes)
            batch = codes if codes.ndim == 4 else codes[None]
            largest = 0.0
            for block, correlation in self.operator().sweep(
                residual if residual.ndim == 4 else residual[None]
            ):
                weights, part = part_of(self.weights(), block), batch[block]
                active = (correlation - weights * part.sign()).abs_()
                excess = correlation if self.nonnegative else correlation.abs()
                distance = torch.where(part == 0, (excess - weights).clamp_(min=0), active)
                largest = max(largest, float(distance.max()))
            return largest

    def lambda_max(self) -> float:
        """Return ‖Aᵀb‖∞ (nonnegative: the largest of (Aᵀb)₊), the maximum over a batch: the least
        number λ at which z = 0 is the solution, whatever `lam` is."""
        import torch

        if "lambda_max" not in self._cache:
            with torch.no_grad():
                self._cache["lambda_max"] = float(self.correlation(self.observed()).max())
        return self._cache["lambda_max"]

    def zero_is_optimal(self) -> bool:
        """Whether z = 0 is the solution: |Aⱼᵀb| ≤ λⱼ for all codes."""
        import torch

        if not self.has_lam_array:
            return self.lam >= self.lambda_max()
        observed = self.observed()
        with torch.no_grad():
            batch = observed if observed.ndim == 4 else observed[None]
            for block, correlation in self.operator().sweep(batch):
                if not self.nonnegative:
                    correlation.abs_()
                if not bool((correlation <= part_of(self.weights(), block)).all()):
                    return False
        return True
