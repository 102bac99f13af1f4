"""Dictionary learning, beside sporco's, at equal objective on held-out images.

    OMP_NUM_THREADS=1 python -m benchmarks.learn_dictionary --data DIR

64 filters of 8×8 are learned at λ = 0.1 from the central 256×256 pixels of 40 images of BSD200,
less their smooth part, by `cscsr.learn_dictionary` with its defaults, and by sporco's
`OnlineConvBPDNDictLearn` and `ConvBPDNDictLearn`, each with the best of several settings. All
start from the same patches. At fixed times the filters code the central 96×96 pixels of six
held-out images (`admm`, 80 iterations), and the objective is noted. Seconds are processor time of
one thread; neither that coding nor sporco's own statistics (`FastSolve`) is in them.

sporco's settings are those whose objective is lowest after a short run, on the same held-out
images: a bias in its favour.

Every row is written as soon as it is measured, and a run that was stopped goes on there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._study.command import (
    Report,
    add_data,
    counted,
    needed_data,
    run_command,
    silent,
    study_parser,
)
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.images import central
from benchmarks.drawing.learn_dictionary import draw, write_table
from cscsr import ADMM, InputError, SparseCoding, interrupts, learn_dictionary
from cscsr.compare import machine
from cscsr.csc_sr.decompose import split
from cscsr.data.datasets import holdout_images, training_images
from cscsr.imaging import luma_of, read_image
from cscsr.output import make_folder

ATOMS, SIZE, LAM = 64, 8, 0.1
IMAGES, SIDE = 40, 256
HELD_OUT, HELD_OUT_SIDE = 6, 96
CODING_ITERATIONS = 80

TIMES = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Seconds of learning after which the filters are looked at."""

OURS, ONLINE, BATCH = "cscsr", "sporco online", "sporco batch"
SEARCH_SECONDS = {ONLINE: 6, BATCH: 12}

Settings = dict[str, Any]
SEARCHED: dict[str, list[Settings]] = {
    ONLINE: [
        {"crop": crop, "eta": eta, "iterations": iterations}
        for crop, eta, iterations in (
            (64, (10, 20), 25),
            (64, (100, 100), 25),
            (64, (100, 100), 50),
            (64, (300, 300), 25),
            (64, (300, 100), 25),
            (64, (1000, 1000), 25),
            (64, (1000, 100), 25),
            (64, (300, 30), 25),
            (48, (300, 100), 25),
            (64, (30, 30), 25),
            (128, (100, 100), 25),
            (256, (10, 20), 25),
            (48, (100, 100), 25),
        )
    ],
    BATCH: [
        {"crops": crops, "update": update, "step": step}
        for crops, update, step in (
            (24, "cns", 2.0),
            (24, "cns", 10.0),
            (24, "pgm", 2.0),
            (24, "pgm", 5.0),
            (24, "pgm", 10.0),
            (12, "pgm", 10.0),
            (24, "pgm", 50.0),
            (24, "pgm", 200.0),
            (12, "pgm", 50.0),
            (48, "pgm", 50.0),
        )
    ],
}
"""Of the online solver: pixels of a side of what a step codes, (a, b) of its step size a/(b + t),
and ADMM's iterations. Of the batch solver: how many 64×64 parts it has, its dictionary update, and
that update's ρ ("cns") or L ("pgm")."""

BATCH_SIDE = 64
RHO = 5.0
"""sporco's default penalty at this λ is 50λ + 1 = 6 for one solver and 5.5 for the other."""


def training_signals(folder: Path) -> list[np.ndarray]:
    """Parts of 40 images of BSD200 without their smooth part, float32."""
    return [_residual(path, SIDE) for path in training_images(folder, ["BSD200"])[:IMAGES]]


def held_out_signals(folder: Path) -> np.ndarray:
    """Parts of the held-out images of BSD200, (B,1,H,W), float32."""
    paths = [path for path in holdout_images(folder) if path.parent.name == "BSD200"]
    return np.stack([_residual(path, HELD_OUT_SIDE) for path in sorted(paths)[:HELD_OUT]])[:, None]


def _residual(path: Path, side: int) -> np.ndarray:
    return central(split(luma_of(read_image(path)) / 255).residual, side).astype(np.float32)


def random_parts(
    signals: Sequence[np.ndarray], side: int, seed: int, contrast: float = 0.0
) -> Iterator[np.ndarray]:
    """Parts of random signals without end, of norm above `contrast`."""
    random = np.random.default_rng(seed)
    while True:
        signal = signals[int(random.integers(len(signals)))]
        top, left = (random.integers(n - side + 1) for n in signal.shape)
        part = np.ascontiguousarray(signal[top : top + side, left : left + side])
        if np.linalg.norm(part) > contrast:
            yield part


def start_of(signals: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """The filters that all start from, (M,s,s): patches of unit norm."""
    patches = random_parts(signals, SIZE, seed, contrast=0.15)
    filters = np.stack([next(patches) for _ in range(ATOMS)])
    return filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True)


def objective_of(filters: np.ndarray, held_out: np.ndarray) -> float:
    """The objective of the held-out signals under filters (M,s,s), scaled to unit norm; the mean of
    the signals."""
    unit = filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    problem = SparseCoding(held_out, np.ascontiguousarray(unit, np.float32), LAM)
    codes = ADMM(CODING_ITERATIONS, tol=0.0, record_every=0).solve(problem).codes
    return problem.objective(codes) / len(held_out)


class Finished(Exception):
    """Raised in a learner when its time is over."""


class Watch:
    """Looks at filters at some times of the learner's own processor time.

    times: in seconds, rising. note: called with (step, seconds, objective) for each look.
    """

    def __init__(
        self,
        held_out: np.ndarray,
        times: Sequence[float],
        note: Callable[[int, float, float], None],
    ) -> None:
        self._held_out, self._note = held_out, note
        self._times = list(times)
        self._start, self._off = time.process_time(), 0.0

    def __call__(self, step: int, filters: Callable[[], np.ndarray]) -> None:
        """Say that a step is done. Raises Finished after the last look."""
        now = time.process_time()
        seconds = now - self._start - self._off
        if seconds < self._times[0]:
            return
        while self._times and seconds >= self._times[0]:
            self._times.pop(0)
        self._note(step, seconds, objective_of(filters(), self._held_out))
        if not self._times:
            raise Finished
        self._off += time.process_time() - now


def learn(
    name: str, settings: Settings, signals: Sequence[np.ndarray], seed: int, watch: Watch
) -> None:
    """Run a learner until `watch` ends it."""
    try:
        if name == OURS:
            learn_dictionary(
                signals,
                ATOMS,
                SIZE,
                LAM,
                steps=10**6,
                seed=seed,
                init=start_of(signals, seed),
                callback=lambda step, filters: watch(step, lambda: filters),
            )
        elif name == ONLINE:
            _sporco_online(settings, signals, seed, watch)
        else:
            _sporco_batch(settings, signals, seed, watch)
    except Finished:
        pass


def _sporco_online(
    settings: Settings, signals: Sequence[np.ndarray], seed: int, watch: Watch
) -> None:
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn

    a, b = settings["eta"]
    coding = {
        "MaxMainIter": settings["iterations"],
        "rho": RHO,
        "AutoRho": {"Enabled": False},
        "RelaxParam": 1.8,
        "FastSolve": True,
        "HighMemSolve": True,
        "DataType": np.float32,
    }
    options = OnlineConvBPDNDictLearn.Options(
        {"DataType": np.float32, "eta_a": float(a), "eta_b": float(b), "CBPDN": coding}
    )
    start = np.moveaxis(start_of(signals, seed), 0, 2)
    learner = OnlineConvBPDNDictLearn(start, LAM, options)
    for step, part in enumerate(random_parts(signals, settings["crop"], seed), 1):
        learner.solve(part)
        watch(step, lambda: np.moveaxis(learner.getdict().reshape(SIZE, SIZE, ATOMS), 2, 0))


def _sporco_batch(
    settings: Settings, signals: Sequence[np.ndarray], seed: int, watch: Watch
) -> None:
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn

    update = settings["update"]
    step = {"L": settings["step"]} if update == "pgm" else {"rho": settings["step"]}
    if update == "cns":
        step["AutoRho"] = {"Enabled": False}
    coding = {"rho": RHO, "AutoRho": {"Enabled": False}, "RelaxParam": 1.8, "FastSolve": True}

    def look(learner: Any) -> None:
        watch(
            learner.j + 1,
            lambda: np.moveaxis(learner.getdict().reshape(SIZE, SIZE, ATOMS), 2, 0),
        )

    options = ConvBPDNDictLearn.Options(
        {
            "MaxMainIter": 10**6,
            "Callback": look,
            "CBPDN": {**coding, "DataType": np.float32},
            "CCMOD": {**step, "FastSolve": True, "DataType": np.float32},
        },
        dmethod=update,
    )
    parts = random_parts(signals, BATCH_SIDE, seed)
    stack = np.stack([next(parts) for _ in range(settings["crops"])], 2)
    start = np.moveaxis(start_of(signals, seed), 0, 2)
    ConvBPDNDictLearn(start, stack, LAM, options, dmethod=update, dimK=1).solve()


class Table:
    """learn_dictionary.csv: a run that is there already, to its end, is not made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_curves(path)

    def run(
        self,
        key: dict[str, str],
        times: Sequence[float],
        learning: Callable[[Watch], None],
        held_out: np.ndarray,
    ) -> float:
        """The objective at the end of a run, from the file or after learning."""
        own = [row for row in self.rows if key.items() <= row.items()]
        if own and float(own[-1]["seconds"]) >= times[-1]:
            return float(own[-1]["objective"])
        self.rows = [row for row in self.rows if row not in own]
        about = {"threads": str(machine.threads()), "machine": machine.describe()}

        def note(step: int, seconds: float, objective: float) -> None:
            row = {"step": str(step), "seconds": f"{seconds:.3f}", "objective": f"{objective:.5f}"}
            self.rows.append({**key, **row, **about})
            write_curves(self.path, self.rows)

        learning(Watch(held_out, times, note))
        return float(self.rows[-1]["objective"])


def study(
    out: Path,
    data: str | Path | None = None,
    seconds: float = 32,
    rounds: int = 2,
    report: Report = silent,
) -> list[Path]:
    """Make learn_dictionary.csv, .md and .png in the folder `out`; returns their paths.

    seconds: processor time of each run, at least that of `TIMES[0]`. rounds: runs, each of another
    seed. Raises InputError for a number out of range, and where the images are missing.
    """
    import sporco.fft

    if seconds < TIMES[0] or rounds < 1:
        raise InputError(
            f"expected at least {TIMES[0]} seconds and 1 round, got {seconds} and {rounds}."
        )
    if machine.threads() != 1:
        raise InputError("processor time needs one thread: set OMP_NUM_THREADS=1.")
    sporco.fft.pyfftw_threads = 1
    folder = needed_data(data)
    signals, held_out = training_signals(folder), held_out_signals(folder)
    table = Table(make_folder(out) / "learn_dictionary.csv")
    say = counted(report, sum(map(len, SEARCHED.values())) + 3 * rounds)
    times = [t for t in TIMES if t <= seconds]

    def learned(
        measurement: str, name: str, settings: Settings, seed: int, times: Sequence[float]
    ) -> float:
        say(f"{measurement}: {name} {written(settings)}")
        key = {"measurement": measurement, "learner": name, "settings": written(settings)}
        return table.run(
            {**key, "seed": str(seed)},
            times,
            lambda watch: learn(name, settings, signals, seed, watch),
            held_out,
        )

    best: dict[str, Settings] = {OURS: {}}
    for name, tried in SEARCHED.items():
        ends = [
            learned("search", name, settings, 0, [min(times[-1], SEARCH_SECONDS[name])])
            for settings in tried
        ]
        best[name] = tried[int(np.argmin(ends))]
    for seed in range(1, rounds + 1):
        for name in (OURS, ONLINE, BATCH):
            learned("race", name, best[name], seed, times)
    markdown, picture = Path(out) / "learn_dictionary.md", Path(out) / "learn_dictionary.png"
    write_table(table.rows, markdown, __doc__.split("\n\n")[2:4])
    draw(table.rows, picture)
    return [table.path, markdown, picture]


def written(settings: Settings) -> str:
    """Such as "crop=64, eta=100/100"."""
    values = {k: "/".join(map(str, v)) if isinstance(v, tuple) else v for k, v in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "defaults"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.learn_dictionary`."""
    parser = study_parser("learn_dictionary", __doc__.split("\n\n")[2])
    add_data(parser)
    parser.add_argument(
        "--seconds", type=float, default=32, help="processor time of each run (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="of other seeds (%(default)s)")
    return run_command(study, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
