"""Learning a dictionary: the loop, its options, and the checkpoint it goes on from. Needs torch."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from tqdm import tqdm

from cscsr import checkpoints
from cscsr.arrays import dtype_name, ordinary_torch, plain, to_numpy, to_tensor
from cscsr.errors import InputError
from cscsr.learn.signals import CheckedSignals, Observed, Signals
from cscsr.learn.statistics import Quadratic, Statistics
from cscsr.learn.update import update_filters
from cscsr.problem import SparseCoding
from cscsr.schema import Range, Seed, check
from cscsr.sparse.admm import ADMM
from cscsr.sparse.ista import FISTA

FORGETTING = 6.0
"""At step t what was before counts (1 − 1/t)^FORGETTING: early codes, of filters that have since
changed, fade (Mairal et al. 2010, section 3.4.3)."""

FLATTEST = 0.5
"""Filters start from patches whose ℓ2 norm is at least this fraction of the average patch's."""

NOISE = 1e-3
"""Standard deviation of the noise in them, by which equal patches differ."""

UNUSED = 1e-6
"""An atom whose codes have less than this fraction of the largest energy is drawn anew."""

SAVE_SECONDS = 30.0
"""Seconds between two checkpoints."""


@dataclass(frozen=True)
class Options:
    """The arguments of `learn_dictionary` that a run goes on with, checked."""

    atoms: int
    size: int
    lam: float
    channels: int
    online: bool
    steps: int
    seed: int
    nonnegative: bool
    boundary: str
    crop: int
    batch: int
    coding_iterations: int
    update_iterations: int

    def __post_init__(self) -> None:
        check(Seed, self.seed, "seed")
        least = {"crop": self.size}
        whole = ("atoms", "size", "channels", "steps", "crop", "batch")
        for name in (*whole, "coding_iterations", "update_iterations"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise InputError(f"{name} must be a whole number, got {value!r}.")
            if value < least.get(name, 1):
                raise InputError(f"{name} must be at least {least.get(name, 1)}, got {value}.")
        if not (isinstance(self.lam, (int, float, np.number)) and 0 < self.lam < np.inf):
            raise InputError(f"lam must be a finite number above 0, got {self.lam!r}.")
        if self.boundary not in ("circular", "zero"):
            raise InputError(f"boundary must be circular or zero, got {self.boundary!r}.")


@dataclass(frozen=True)
class LearnedDictionary:
    """What `learn_dictionary` returns.

    Attributes
    ----------
    filters
        (M,s,s), or (M,C,s,s) for several channels, float32, of unit norm.
    objective
        (steps,): per pixel, the objective of the signals that each step coded, with the filters it
        coded them with.
    seconds
        (steps,): seconds of computation up to each step.
    """

    filters: np.ndarray
    objective: np.ndarray
    seconds: np.ndarray

    def __repr__(self) -> str:
        channels = f"{self.filters.shape[1]} channels, " if self.filters.ndim == 4 else ""
        side = self.filters.shape[-1]
        return (
            f"LearnedDictionary({len(self.filters)} filters of {side}x{side}, {channels}"
            f"{len(self.objective)} steps in {self.seconds[-1]:.1f} s, "
            f"last objective {self.objective[-1]:.4g} per pixel)"
        )


def learn_dictionary(
    signals: Signals,
    atoms: int = 64,
    size: int = 8,
    lam: float = 0.1,
    *,
    channels: int = 1,
    online: bool = True,
    steps: int = 200,
    seed: int = 0,
    nonnegative: bool = False,
    boundary: str = "circular",
    masks: Signals | None = None,
    init: Any = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    callback: Callable[[int, np.ndarray], None] | None = None,
    crop: int = 64,
    batch: int = 4,
    coding_iterations: int = 15,
    update_iterations: int = 20,
) -> LearnedDictionary:
    """Learn a dictionary for convolutional sparse coding.

    A step codes a few parts of the signals (`online`) or all of them, adds what the filters need
    to know of these codes to two sums, and minimises over the filters. The same arguments give the
    same filters, bit for bit on one machine; a run with a `checkpoint` that was stopped, in
    whatever way, ends with the filters of one that was not.

    Parameters
    ----------
    signals
        Arrays (H,W), or (C,H,W) for several channels, float32 or float64, numpy or torch, or any
        sequence that makes them when it is indexed, such as `cscsr.learn.ImageSignals`: they need
        not fit into memory together. Filters of a few pixels cannot code smooth parts sparsely, so
        remove them first (`ImageSignals` does).
    atoms, size
        The number of filters, and their side.
    lam
        λ > 0, on the signals' scale.
    channels
        C.
    online
        Code random parts, and forget the codes; otherwise all signals at each step, starting from
        their codes of the step before, which are stored.
    steps
        The number of steps.
    seed
        Of all that is random.
    nonnegative, boundary
        As in `cscsr.SparseCoding`.
    masks
        For each signal a mask as in `cscsr.SparseCoding`: 1 where it is observed, 0 where it is
        missing. At each step the codes fill in what is missing before the filters are updated,
        which lowers the objective of what is observed (`cscsr.learn.statistics`).
    init
        Filters to start from, (M,s,s) or (M,C,s,s), float32 or float64, numpy or torch; None:
        random patches of the signals.
    checkpoint
        A file to go on from if it is there, and to write to as the run proceeds.
    progress
        Show a progress bar.
    callback
        Called after each step with its number, from 1, and a copy of the filters.
    crop, batch
        If online, a step codes `batch` parts of `crop`×`crop` pixels (or of the whole signal, if
        it is smaller), each of a signal drawn at random.
    coding_iterations
        Iterations per step of the solver that codes: ADMM, or FISTA where there are codes to start
        from; three times as many of FISTA at the boundary "zero".
    update_iterations
        The most gradient steps for the filters per step.

    Returns
    -------
    LearnedDictionary
        The filters, and the objective and seconds of each step.

    Raises
    ------
    InputError
        For an option or a signal out of range, signals without contrast, an `init` of another
        shape, a checkpoint of another run, and one that is damaged or cannot be read or written.

    References
    ----------
    Mairal, Bach, Ponce and Sapiro, "Online learning for matrix factorization and sparse coding",
    JMLR 11 (2010); Liu, Garcia-Cardona, Wohlberg and Yin, "First- and second-order methods for
    online convolutional dictionary learning", SIAM J. Imaging Sci. 11 (2018), for the sums of
    correlations; Moreau and Gramfort, "DiCoDiLe" (2020), for their computation from sparse codes.
    """
    options = Options(
        atoms,
        size,
        lam,
        channels,
        online,
        steps,
        seed,
        nonnegative,
        boundary,
        crop,
        batch,
        coding_iterations,
        update_iterations,
    )
    with ordinary_torch(), torch.no_grad():
        run = _Run(CheckedSignals(signals, masks, channels, size), options, init, checkpoint)
        bar = tqdm(total=steps, initial=run.step, desc="filters", disable=not progress)
        with bar:
            while run.step < steps:
                run.advance()
                bar.update()
                bar.set_postfix_str(f"objective {run.objective[-1]:.4g} per pixel", refresh=False)
                if callback is not None:
                    callback(run.step, run.result())
        run.save()
    return LearnedDictionary(run.result(), np.array(run.objective), np.array(run.seconds))


class _Run:
    """The state of a run: filters, sums, and the trace."""

    def __init__(
        self, signals: CheckedSignals, options: Options, init: Any, checkpoint: str | Path | None
    ) -> None:
        self._signals, self._options = signals, options
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._saved = time.perf_counter()
        shape = (options.atoms, options.channels, options.size, options.size)
        self.step = 0
        self.objective: list[float] = []
        self.seconds: list[float] = []
        self._statistics = Statistics.empty(options.atoms, options.channels, options.size)
        self._codes: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        start = None if init is None else _checked_start(init, shape)
        self._identity = self._digest(init)
        iterations = options.coding_iterations
        self._coder: ADMM | FISTA = ADMM(iterations, tol=0.0, record_every=0)
        if options.boundary != "circular":
            self._coder = FISTA(3 * iterations, tol=0.0, record_every=0)
        if self._checkpoint is not None and self._checkpoint.exists():
            self._load(self._checkpoint)
        else:
            self._filters = self._patches(options.atoms, 0) if start is None else start

    def result(self) -> np.ndarray:
        """A copy of the filters, (M,s,s) or (M,C,s,s)."""
        filters = self._filters.numpy().copy()
        return filters[:, 0] if self._options.channels == 1 else filters

    def advance(self) -> None:
        """Make one step."""
        start = time.perf_counter()
        options, statistics = self._options, self._statistics
        self.step += 1
        statistics.fade((1 - 1 / self.step) ** FORGETTING if options.online else 0.0)
        value, pixels = self._code_parts() if options.online else self._code_all()
        quadratic = Quadratic(statistics)
        filters = _unit(update_filters(quadratic, self._filters, options.update_iterations))
        unused = quadratic.usage <= UNUSED * float(quadratic.usage.max())
        if count := int(unused.sum()):
            filters[unused] = self._patches(count, self.step)
        self._filters = filters
        self.objective.append(value / pixels)
        self.seconds.append((self.seconds or [0.0])[-1] + time.perf_counter() - start)
        if time.perf_counter() - self._saved > SAVE_SECONDS:
            self.save()

    def _problem(self, signals: np.ndarray, masks: np.ndarray | None) -> SparseCoding:
        options = self._options
        return SparseCoding(
            torch.from_numpy(signals),
            self._filters,
            options.lam,
            options.nonnegative,
            options.boundary,
            masks,
        )

    def _code_parts(self) -> tuple[float, int]:
        """Code random parts; returns the sum of their objectives and their pixels."""
        options, value, pixels = self._options, 0.0, 0
        random = np.random.default_rng((options.seed, self.step))
        parts: dict[tuple[int, ...], list[Observed]] = {}
        for index in random.integers(len(self._signals), size=options.batch):
            part = self._signals[int(index)].random_part(options.crop, random)
            parts.setdefault(part.signal.shape, []).append(part)
        for alike in parts.values():
            masks = [part.mask for part in alike if part.mask is not None]
            problem = self._problem(
                np.stack([part.signal for part in alike]), np.stack(masks) if masks else None
            )
            codes = self._coder.solve(problem).codes
            self._statistics.add(problem, codes)
            value += problem.objective(codes)
            pixels += problem.signal[:, 0].numel()
        return value, pixels

    def _code_all(self) -> tuple[float, int]:
        """Code all signals, from the codes of the step before; returns as `_code_parts`."""
        options, value, pixels = self._options, 0.0, 0
        again = FISTA(options.coding_iterations, tol=0.0, record_every=0)
        for index in range(len(self._signals)):
            problem = self._problem(*self._signals[index])
            if index in self._codes:
                before = torch.zeros(problem.codes_shape).flatten()
                places, values = self._codes[index]
                before[places] = values
                codes = again.solve(problem, init=before.view(problem.codes_shape)).codes
            else:
                codes = self._coder.solve(problem).codes
            places = codes.flatten().nonzero()[:, 0]
            self._codes[index] = (places, codes.flatten()[places])
            self._statistics.add(problem, codes)
            value += problem.objective(codes)
            pixels += problem.signal[0].numel()
        return value, pixels

    def _patches(self, count: int, step: int) -> torch.Tensor:
        """Patches of unit norm, drawn from the signals where they have contrast, (count,C,s,s)."""
        size = self._options.size
        random = np.random.default_rng((self._options.seed, step, 1))
        tried = [
            self._signals[int(index)].random_part(size, random).masked()
            for index in random.integers(len(self._signals), size=4 * count)
        ]
        if not any(patch.any() for patch in tried):
            tried = self._patches_with_contrast(4 * count, random)
        patches = torch.from_numpy(np.stack(tried))
        # in whatever unit: a power of two, so that not a bit of an ordinary signal changes
        patches = torch.ldexp(patches, -torch.frexp(patches.abs().max()).exponent)
        norms = patches.flatten(1).norm(dim=1)
        drawn = (norms >= FLATTEST * norms.mean()).nonzero()[:count, 0]
        if len(drawn) < count:  # flat signals with few details: the patches that have most
            drawn = norms.argsort(descending=True, stable=True)[:count]
        noise = torch.from_numpy(random.standard_normal((count, *patches.shape[1:])))
        return _unit(
            patches[drawn] / norms[drawn].clamp_min(1e-12)[:, None, None, None]
            + NOISE * noise.float()
        )

    def _patches_with_contrast(self, count: int, random: np.random.Generator) -> list[np.ndarray]:
        """Patches (C,s,s) around pixels that are not zero, all of one signal."""
        size = self._options.size
        for index in random.permutation(len(self._signals)):
            signal = self._signals[int(index)].masked()
            pixels = np.argwhere(signal.any(axis=0))
            if len(pixels):
                ends = np.array(signal.shape[1:]) - size
                centres = pixels[random.integers(len(pixels), size=count)]
                corners = np.clip(centres - size // 2, 0, ends)
                return [signal[:, top : top + size, left : left + size] for top, left in corners]
        raise InputError("learning a dictionary needs signals with contrast, got flat ones.")

    def _digest(self, init: Any) -> str:
        """What tells this run from others: the options, the start, and of the signals how many
        there are, and the first and the last."""
        options = asdict(self._options) | {"lam": float(self._options.lam)}
        count = len(self._signals)
        about = json.dumps([options, count], sort_keys=True, default=int)
        digest = hashlib.sha256(about.encode())
        for array in (init, *self._signals[0], *self._signals[count - 1]):
            digest.update(b"none" if array is None else np.ascontiguousarray(to_numpy(array)).data)
        return digest.hexdigest()

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        self._saved = time.perf_counter()
        if self._checkpoint is None:
            return
        statistics = self._statistics
        codes = {str(index): list(pair) for index, pair in self._codes.items()}
        state = {
            "run": self._identity,
            "step": self.step,
            "filters": self._filters,
            "sums": [statistics.codes, statistics.signal],
            "objective": torch.tensor(self.objective, dtype=torch.float64),
            "seconds": torch.tensor(self.seconds, dtype=torch.float64),
            "codes": codes,
        }
        checkpoints.write(self._checkpoint, state)

    def _load(self, path: Path) -> None:
        state = checkpoints.read(path)
        if state["run"] != self._identity:
            raise InputError(
                f"{path} is the checkpoint of a run with other options or signals; remove it, or "
                "name another one."
            )
        step = check(Annotated[int, Range(0, self._options.steps)], state["step"], f"{path}: step")
        sums, trace = self._statistics, torch.zeros(step, dtype=torch.float64)
        like = {
            "filters": sums.signal,  # of the same shape
            "sums": [sums.codes, sums.signal],
            "objective": trace,
            "seconds": trace,
        }
        for name, part in like.items():
            checkpoints.check_like(state[name], part, f"{path}: {name}")
        codes = check(dict[str, list[Any]], state["codes"], f"{path}: codes")
        self.step, self._filters = step, state["filters"].float()
        self._statistics = Statistics(*(part.double() for part in state["sums"]))
        self.objective, self.seconds = state["objective"].tolist(), state["seconds"].tolist()
        for index in range(len(self._signals)):
            if (pair := codes.get(str(index))) is not None:
                size = self._options.atoms * self._signals[index].signal[0].size
                self._codes[index] = _checked_codes(pair, size, f"{path}: codes.{index}")


def _checked_codes(pair: list[Any], size: int, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The places and values of codes that are not zero, among `size` codes. Raises InputError for
    anything else."""
    count = len(pair[0]) if pair and isinstance(pair[0], torch.Tensor) and pair[0].ndim else 0
    checkpoints.check_like(pair, [torch.zeros(count, dtype=torch.int64), torch.zeros(count)], where)
    places, values = pair[0].long(), pair[1].float()
    if count and not 0 <= int(places.min()) <= int(places.max()) < size:
        raise InputError(f"{where} should be places from 0 to {size - 1}.")
    return places, values


def _checked_start(init: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Filters to start from, of unit norm and of the shape (M,C,s,s), float32. Raises InputError
    unless they are finite, float32 or float64, and of that shape, or (M,s,s) where C is 1."""
    filters = plain("init", init)
    shapes = [shape] if shape[1] > 1 else [shape, (shape[0], *shape[2:])]
    if tuple(filters.shape) not in shapes:
        known = " or ".join(map(str, shapes))
        raise InputError(f"init must have shape {known}, got {tuple(filters.shape)}.")
    if dtype_name(filters) not in ("float32", "float64"):
        raise InputError(f"init must be float32 or float64, got {filters.dtype}.")
    start = to_tensor(filters, "cpu", torch.float32).detach().reshape(shape)
    if not bool(start.isfinite().all()):
        raise InputError("init must be finite in float32, but it holds NaN or infinity.")
    return _unit(start)


def _unit(filters: torch.Tensor) -> torch.Tensor:
    """Filters scaled to unit norm; those that are zero stay zero."""
    norms = filters.flatten(1).norm(dim=1).clamp_min(1e-12)
    return filters / norms[:, None, None, None]
