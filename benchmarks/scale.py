"""What a comparison costs: each solver per pixel, one task's bookkeeping, and 10⁶ tasks simulated.

    OMP_NUM_THREADS=1 python -m benchmarks.scale --out reports/reference

Every super-resolution solver of this package enlarges a square of scikit-image's astronaut, one
thread, median of a few solves in processor time. The bookkeeping of a task is measured where a
comparison does it: `Claims.take`, `Results.find` and `Results.add` in a database of 10⁵ rows, and
Dask's share on a `LocalCluster`. From both, a simulation without chance says how long many tasks
take on many workers. docs/scale.md says what follows.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._study.command import Report, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from cscsr import InputError, SuperResolution, interrupts, list_solvers, make_solver
from cscsr.compare.claims import Claims
from cscsr.compare.cluster import AHEAD
from cscsr.compare.records import SCORED, Key, Row
from cscsr.compare.results import KEY_FIELDS, Results
from cscsr.imaging import degrade
from cscsr.output import make_folder, write_text
from cscsr.parallel import connect
from cscsr.registry import is_builtin

ROOT = Path(__file__).parent.parent

SCALES = (2, 3, 4)
REPEATS = 3
SIDE = 48
"""Low-resolution pixels of each side of the square."""

DIV2K_IMAGES = 100
DIV2K_PIXELS = 2040 * 1404
"""High-resolution pixels of an image of DIV2K's validation set, as docs/scale.md assumes."""

ROWS = 100_000
WRITES = 200
DASK_TASKS = 1000
TASKS = 1_000_000
WORKERS = (2, 10, 100, 1000)
MIXES = {"DIV2K": DIV2K_PIXELS, "256×256": 256 * 256}
"""High-resolution pixels of the images whose tasks are simulated."""


def solver_costs(side: int, repeats: int, report: Report) -> list[dict[str, Any]]:
    """A row for each solver of this package and scale: processor time and multiply-adds."""
    from skimage import data

    rows = []
    names = [name for name in list_solvers("SuperResolution") if is_builtin(name)]
    pairs = list(itertools.product(names, SCALES))
    photograph = data.astronaut()
    for done, (name, scale) in enumerate(pairs):
        report(f"{name} ×{scale}", done, len(pairs))
        solver = make_solver(name)
        truth = photograph[: side * scale, : side * scale]
        problem = SuperResolution(degrade(truth, scale, solver.line), scale)
        if solver.supports(problem) is not None:
            continue
        solver.prepare(problem)
        times, iterations = [], None
        for _ in range(repeats):
            start = time.process_time()
            trace = solver.solve(problem).trace["iteration"]
            times.append(time.process_time() - start)
            iterations = int(trace[-1]) if len(trace) else None
        operations = solver.operations(problem, iterations)
        rows.append(
            {
                "solver": name,
                "scale": scale,
                "side": side,
                "processor_us_per_pixel": f"{1e6 * statistics.median(times) / side**2:.4g}",
                "operations_per_pixel": "" if operations is None else f"{operations / side**2:.5g}",
            }
        )
    return rows


def _timed(step: str, count: int, call: Callable[[int], object]) -> dict[str, Any]:
    """The median time of `count` calls, on the clock and on the processor."""
    seconds, processor = [], []
    for number in range(count):
        start, start_processor = time.perf_counter(), time.process_time()
        call(number)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return _step(step, count, statistics.median(seconds), statistics.median(processor))


def _step(step: str, count: int, seconds: float, processor: float) -> dict[str, Any]:
    return {
        "step": step,
        "count": count,
        "ms": f"{1e3 * seconds:.3g}",
        "processor_ms": f"{1e3 * processor:.3g}",
    }


def database_costs(folder: Path, filled: int, writes: int) -> list[dict[str, Any]]:
    """The cost of one claim, one look-up and one `Results.add` with `filled` rows in the database.

    The filling copies one row under other hashes, in one transaction.
    """
    key = Key("bicubic", "{}", "1", "", "0" * 64, 2, "y")
    row = Row(key, "set", "image", SCORED, {"psnr": 30.0, "ssim": 0.9}, seconds=1.0)

    def numbered(number: int) -> Key:
        return replace(key, input_sha256=f"{number:064x}")

    with Results(folder / "results.sqlite") as results:
        results.add(row)
        with results.exclusive() as connection:
            for table in ("results", "scores"):
                columns = [c[1] for c in connection.execute(f"PRAGMA table_info({table})")]
                copied = ", ".join(
                    "printf('%064x', n)" if column == "input_sha256" else column
                    for column in columns
                )
                connection.execute(
                    f"INSERT INTO {table} WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL "
                    f"SELECT n + 1 FROM c WHERE n < {filled - 1}) "
                    f"SELECT {copied} FROM {table}, c WHERE {table}.{KEY_FIELDS[4]} = '{'0' * 64}'"
                )
        keys = [numbered(number * 7919 + filled) for number in range(writes)]
        with Claims(results, results.start_run("python -m benchmarks.scale", {}, {})) as claims:
            return [
                _timed("claim", writes, lambda n: claims.take(keys[n])),
                _timed("look-up", writes, lambda n: results.find(keys[n], "set", "image")),
                _timed("write", writes, lambda n: results.add(replace(row, key=keys[n]))),
            ]


def dask_cost(tasks: int) -> dict[str, Any]:
    """Dask's time per task: empty tasks by two workers of a `LocalCluster`."""
    with connect(2) as client:
        client.submit(abs, -1).result()
        start, start_processor = time.perf_counter(), time.process_time()
        client.gather([client.submit(abs, -n, pure=False) for n in range(tasks)])
        seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
    return _step("Dask", tasks, seconds / tasks, processor / tasks)


def simulate(seconds: Sequence[float], tasks: int, workers: int, own: float, dask: float) -> float:
    """How long many tasks take on many workers, in seconds.

    One process hands out tasks and stores results, one after the other, and at most `AHEAD` tasks
    for each worker are with the scheduler, as in `cscsr.compare.cluster`. Nothing is random.

    Parameters
    ----------
    seconds
        The tasks' own times, which come in turn.
    tasks, workers
        Their numbers.
    own, dask
        Seconds per task for the database, and for the scheduler.
    """
    times = itertools.cycle(seconds)
    queue: deque[float] = deque()
    busy: list[float] = []
    idle = workers
    clock = 0.0  # of the process that hands out and stores
    for _ in range(min(AHEAD * workers, tasks)):
        clock += dask
        if idle:
            idle -= 1
            heapq.heappush(busy, clock + next(times))
        else:
            queue.append(clock)
    left = tasks - min(AHEAD * workers, tasks)
    while busy:
        finished = heapq.heappop(busy)
        if queue:
            heapq.heappush(busy, max(finished, queue.popleft()) + next(times))
        else:
            idle += 1
        clock = max(clock, finished) + own
        if left:
            left -= 1
            clock += dask
            if idle:
                idle -= 1
                heapq.heappush(busy, max(clock, finished) + next(times))
            else:
                queue.append(clock)
    return clock


def task_seconds(costs: Sequence[Mapping[str, Any]], pixels: int) -> list[float]:
    """The processor time of a task of each solver and scale, for images of so many pixels."""
    return [
        1e-6 * float(row["processor_us_per_pixel"]) * pixels / int(row["scale"]) ** 2
        for row in costs
    ]


def simulations(
    costs: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]], tasks: int
) -> list[dict[str, Any]]:
    """The simulation of DIV2K's validation set itself, and of `tasks` tasks of each mix."""
    ms = {step["step"]: float(step["ms"]) for step in steps}
    own = (ms["claim"] + ms["look-up"] + ms["write"]) / 1e3
    rows = []
    for mix, pixels in MIXES.items():
        times = task_seconds(costs, pixels)
        whole = DIV2K_IMAGES * len(times)
        for count in (whole, tasks) if mix == "DIV2K" else (tasks,):
            for workers in WORKERS if count == whole or mix != "DIV2K" else WORKERS[2:]:
                took = simulate(times, count, workers, own, ms["Dask"] / 1e3)
                computed = count * statistics.mean(times)
                rows.append(
                    {
                        "images": mix,
                        "tasks": count,
                        "workers": workers,
                        "mean_task_s": f"{statistics.mean(times):.4g}",
                        "hours": f"{took / 3600:.4g}",
                        "workers_busy": f"{computed / workers / took:.3f}",
                        "own_share": f"{count * (own + ms['Dask'] / 1e3) / took:.3f}",
                    }
                )
    return rows


def markdown(
    costs: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    simulated: Sequence[Mapping[str, Any]],
) -> str:
    """The tables of docs/scale.md."""
    lines = [
        "| solver | µs per pixel | multiply-adds per pixel | DIV2K on two cores, hours |",
        "|---|--:|--:|--:|",
    ]
    for solver in dict.fromkeys(row["solver"] for row in costs):
        rows = {int(row["scale"]): row for row in costs if row["solver"] == solver}
        cells: list[list[str]] = [[], [], []]
        for scale in SCALES:
            row = rows.get(scale)
            operations = "" if row is None else row["operations_per_pixel"]
            hours = None if row is None else DIV2K_IMAGES * task_seconds([row], DIV2K_PIXELS)[0]
            cells[0].append("–" if row is None else f"{float(row['processor_us_per_pixel']):.3g}")
            cells[1].append(f"{float(operations):,.0f}" if operations else "–")
            cells[2].append("–" if hours is None else f"{hours / 2 / 3600:.2g}")
        lines.append("| " + " | ".join([solver, *(" / ".join(cell) for cell in cells)]) + " |")
    lines += ["", "| step of a task | ms | processor ms |", "|---|--:|--:|"]
    lines += [f"| {step['step']} | {step['ms']} | {step['processor_ms']} |" for step in steps]
    lines += [
        "",
        "| images | tasks | workers | hours | workers busy | one process busy |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in simulated:
        shares = (f"{100 * float(row[name]):.0f} %" for name in ("workers_busy", "own_share"))
        cells_of_row = (row["images"], f"{int(row['tasks']):,}", row["workers"], row["hours"])
        lines.append("| " + " | ".join(map(str, (*cells_of_row, *shares))) + " |")
    return "\n".join(lines)


def study(
    out: str | Path,
    side: int = SIDE,
    repeats: int = REPEATS,
    rows: int = ROWS,
    tasks: int = TASKS,
    report: Report = silent,
) -> list[Path]:
    """Make scale_solvers.csv, scale_steps.csv, scale_simulated.csv and scale.md in `out`.

    Raises InputError for a number that is not positive, and for a square larger than a quarter of
    the photograph.
    """
    if min(side, repeats, rows, tasks) < 1 or side * max(SCALES) > 512:
        raise InputError(
            f"expected positive numbers and a side of at most {512 // max(SCALES)}, got a side of "
            f"{side}, {repeats} repeats, {rows} rows and {tasks} tasks."
        )
    costs = solver_costs(side, repeats, report)
    with tempfile.TemporaryDirectory() as folder:
        steps = database_costs(Path(folder), rows, WRITES)
    steps.append(dask_cost(DASK_TASKS))
    simulated = simulations(costs, steps, tasks)
    folder_out = make_folder(out)
    paths = []
    for name, table in (("solvers", costs), ("steps", steps), ("simulated", simulated)):
        paths.append(folder_out / f"scale_{name}.csv")
        write_curves(paths[-1], table)
    tables = [read_curves(path) for path in paths]
    paths.append(folder_out / "scale.md")
    write_text(paths[-1], markdown(*tables) + "\n")
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.scale`."""
    parser = study_parser("scale", __doc__.split("\n\n")[2])
    parser.add_argument("--side", type=int, default=SIDE, help="(%(default)s)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="(%(default)s)")
    parser.add_argument("--rows", type=int, default=ROWS, help="(%(default)s)")
    parser.add_argument("--tasks", type=int, default=TASKS, help="(%(default)s)")
    return run_command(study, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
