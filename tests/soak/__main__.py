"""The command: `python -m tests.soak --minutes 20`."""

from __future__ import annotations

import argparse
import faulthandler
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from cscsr.compare import machine
from cscsr.output import write_text
from tests.soak.counts import FAULTS, Case, Counts
from tests.soak.disks import Disks, can_mount
from tests.soak.fuzz import Fuzz
from tests.soak.inputs import write_inputs
from tests.soak.kills import Kills
from tests.soak.processes import stop_running

SHORT_SEED = 1

SHORT: tuple[tuple[str, Iterable[int]], ...] = (
    ("kill compare", [0]),
    ("kill train", [0]),
    ("kill upscale", [0]),
    ("kill upscale --jobs 2 or a worker", [0]),
    ("kill one of two trainings", [0]),
    ("full disk: upscale", [0]),
    ("full disk: train", [0]),
    ("fuzz image", range(60)),
    ("fuzz weight file", range(30)),
    ("fuzz recipe", range(30)),
    ("fuzz checkpoint", range(20)),
    ("fuzz checkpoint of CSC-SR", range(20)),
    ("fuzz checkpoint of LISTA", range(20)),
    ("fuzz curve", range(20)),
    ("fuzz results database", range(20)),
    ("fuzz manifest", range(20)),
    ("fuzz list of images", range(20)),
    ("fuzz download", range(20)),
)
"""The cases of the short form, by number, all of `SHORT_SEED`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak.

    Returns
    -------
    int
        0; 1 if there was a fault.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Kill commands at random moments, read damaged files and fill disks, and count "
        "what is lost. Exit code 1 at any traceback, hang, unexpected exit code, excess "
        "of memory, or lost, doubled or left file or row.",
    )
    parser.add_argument("--minutes", type=float, default=20, help="at least (default: 20)")
    parser.add_argument(
        "--inputs", type=int, default=10_000, help="damaged files (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: 0)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="a Markdown file to write")
    parser.add_argument(
        "--faults",
        type=Path,
        default=Path("soak-faults"),
        metavar="DIR",
        help="where the files of faults go (default: %(default)s, made at the first)",
    )
    parser.add_argument("--case", metavar="NAME:N", help="run this case of the seed only")
    parser.add_argument(
        "--short", action="store_true", help="run a fixed list of cases, in less than a minute"
    )
    options = parser.parse_args(arguments)
    faulthandler.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background, inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="cscsr-soak-", ignore_cleanup_errors=True) as place:
        soak = _Soak(Path(place), SHORT_SEED if options.short else options.seed, options.faults)
        kinds = {case.name: case for case in soak.cases()}
        cases = list(SHORT) if options.short else []
        if options.case:
            name, _, number = options.case.rpartition(":")
            if name not in kinds or not number.isdigit():
                parser.error(f"expected one of {', '.join(kinds)}, then :N, got {options.case!r}.")
            cases = [(name, [int(number)])]
        if cases:
            soak.run_all((kinds[name], number) for name, numbers in cases for number in numbers)
        else:
            soak.go_on(60 * options.minutes, options.inputs)
    table = soak.counts.table()
    print("\n".join("  ".join(f"{text:>12}" for text in [*row[1:], row[0]]) for row in table))
    if options.report:
        words = shlex.join(sys.argv[1:] if arguments is None else arguments)
        write_text(options.report, _report(soak, words, table))
    faults = sum(soak.counts.total(kind) for kind in FAULTS)
    saved = f", saved in {options.faults}" if faults else ""
    print(f"{soak.seconds / 60:.1f} minutes, seed {soak.seed}, {faults} faults{saved}.")
    return 1 if faults else 0


class _Soak:
    """The trials in their order.

    Parameters
    ----------
    place
        A folder for everything.
    seed
        Of all choices.
    faults
        A folder for the files of faults.
    """

    def __init__(self, place: Path, seed: int, faults: Path) -> None:
        for name in ("inputs", "scratch", "trials", "mount"):
            (place / name).mkdir()
        self.place, self.seed = place, seed
        self.counts, self.seconds = Counts(faults), 0.0
        inputs = write_inputs(place / "inputs")
        self.mounting = can_mount(place / "mount")
        kills = Kills(inputs, place / "scratch")
        self.commands = [*kills.cases(), *Disks(inputs, kills, self.mounting).cases()]
        self.fuzz = Fuzz(inputs, place / "scratch").cases()
        random.Random(f"{seed}").shuffle(self.fuzz)

    def cases(self) -> list[Case]:
        return [*self.commands, *self.fuzz]

    def run(self, case: Case, number: int) -> None:
        with tempfile.TemporaryDirectory(
            dir=self.place / "trials", ignore_cleanup_errors=True
        ) as folder:
            try:
                self.counts.run(case, self.seed, number, Path(folder))
            finally:
                stop_running()

    def run_all(self, cases: Iterable[tuple[Case, int]]) -> None:
        """Run cases by their kind and number."""
        since = time.monotonic()
        for case, number in cases:
            self.run(case, number)
            self.seconds = time.monotonic() - since

    def go_on(self, seconds: float, inputs: int) -> None:
        """Run commands for so many seconds, and between them their share of the inputs, which take
        no more than half of the time until it is over."""
        since = time.monotonic()
        reading = 0.0
        kinds, commands = cycle(self.fuzz), cycle(self.commands)
        tried = commanded = 0
        said = since
        while True:
            self.seconds = time.monotonic() - since
            over = self.seconds >= seconds
            if over and tried >= inputs:
                return
            share = inputs * min(1.0, self.seconds / seconds)
            if tried < share and (over or reading <= self.seconds / 2):
                before = time.monotonic()
                self.run(next(kinds), tried)
                reading += time.monotonic() - before
                tried += 1
            else:
                self.run(next(commands), commanded)
                commanded += 1
            if time.monotonic() - said > 15:
                said = time.monotonic()
                faults = ", ".join(f"{self.counts.total(kind)} {kind}" for kind in FAULTS)
                print(
                    f"{(said - since) / 60:.1f} of {seconds / 60:g} minutes: {commanded} commands, "
                    f"{tried} of {inputs} inputs; {faults}",
                    flush=True,
                )


def _report(soak: _Soak, words: str, table: Sequence[Sequence[str]]) -> str:
    """The report as Markdown."""
    about = machine.describe("cpu")
    described = (
        ", ".join(f"{value}" for value in about.values()) if isinstance(about, dict) else about
    )
    lines = [
        "# Soak",
        "",
        f"Made by `python -m tests.soak {words}` on {datetime.now(UTC):%Y-%m-%d}, in "
        f"{soak.seconds / 60:.1f} minutes with seed {soak.seed} on {described}; "
        f"full disks were "
        f"{'disks in memory of that size' if soak.mounting else 'quotas of the size of a file'}.",
        "",
        "A trial of a kill ends one or two processes of a command and then runs it to its end "
        "(accepted); its results are those of an unbroken run. A trial of a full disk runs its "
        "command with too little room or just enough (refused in a sentence, or accepted), then "
        "with enough.",
        "",
        *(f"| {' | '.join(row)} |" for row in table[:1]),
        f"|---|{'---:|' * (len(table[0]) - 1)}",
        *(f"| {' | '.join(row)} |" for row in table[1:]),
        "",
        *(["No faults."] if not soak.counts.faults else ["## Faults", ""]),
        *(f"```\n{fault}\n```\n" for fault in soak.counts.faults[:20]),
    ]
    return "\n".join(lines) + ("\n" if not soak.counts.faults else "")


if __name__ == "__main__":
    sys.exit(main())
