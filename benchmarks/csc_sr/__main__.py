"""What the choices in CSC-SR are worth on the held-out images, and what it has learned.

    python -m benchmarks.csc_sr choices --data DIR    choices.csv, choices.md, sparsity.png
    python -m benchmarks.csc_sr learners --data DIR   learners.csv, learners.md
    python -m benchmarks.csc_sr mapping --data DIR    mapping.csv, mapping.md, shipped.csv, .md
    python -m benchmarks.csc_sr ensemble --data DIR   ensemble.csv, .md, ensemble_means.csv
    python -m benchmarks.csc_sr pictures              filters.png, hr-filters.png, parts.png

Each row of `choices` and `learners` is a training of its own, by `cscsr.csc_sr.train`, each row of
`mapping` a fit of mapping and HR filters to the same sums; rows that a stopped run had made are
kept. `shipped` is how far the shipped mappings are from where their fit began. `ensemble` adds a
self-ensemble and back-projection to the shipped solver; rows of a run that was stopped are used
again. `pictures` needs the shipped weights only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks._study.command import Report, add_data, needed_data, run_command, study_parser
from benchmarks.csc_sr.choices import choices
from benchmarks.csc_sr.ensemble import ensemble
from benchmarks.csc_sr.learners import learners
from benchmarks.csc_sr.mapping import mapping
from benchmarks.csc_sr.pictures import pictures
from cscsr import interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.csc_sr`."""
    parser = study_parser("csc_sr", __doc__)
    parser.add_argument("study", choices=("choices", "learners", "mapping", "ensemble", "pictures"))
    add_data(parser)
    parser.set_defaults(out=Path("reports/latest/csc-sr"))
    return run_command(_make, vars(parser.parse_args(arguments)))


def _make(study: str, out: Path, data: str | None, report: Report) -> list[Path]:
    if study == "pictures":
        return pictures(out, report)
    studies = {"choices": choices, "learners": learners, "mapping": mapping, "ensemble": ensemble}
    return studies[study](needed_data(data), out, report)


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
