"""The table and the plot of `benchmarks.race`, from race_grid.csv alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks._study.figures import thread_count
from benchmarks._study.race import BEST_RHO, SPORCO
from cscsr import plot
from cscsr.output import write_text

Row = dict[str, str]

OURS = ("auto", "active-set", "admm", "fista", "ista", "cista")
"""Our solvers; on a GPU, "admm on cuda" and the like are ours too."""

THEIRS = (SPORCO, BEST_RHO, "sporco-pgm")

_MARKERS = {
    "active-set": ("#D55E00", "o"),
    "admm": ("#CC79A7", "s"),
    "fista": ("#009E73", "^"),
    "auto": ("#000000", "x"),
    SPORCO: ("#0072B2", "D"),
    BEST_RHO: ("#56B4E9", "d"),
    "sporco-pgm": ("#E69F00", "v"),
    "scico-admm": ("#8C6D1F", "P"),
}

_OTHER = ("#555555", "*")


class Case(NamedTuple):
    """A point of the grid, by what the rows say of it."""

    threads: int
    image: str
    size: int
    dictionary: str
    boundary: str
    share: float

    @property
    def label(self) -> str:
        name = f"{Path(self.image).stem}, " if self.image else ""
        edge = "" if self.boundary == "circular" else f", {self.boundary}"
        return f"{name}{self.size}², {self.dictionary}{edge}, {self.share:g} λ_max"


Results = dict[Case, dict[tuple[str, str], Row]]
"""Rows by solver and gap, by point."""


def results(rows: Sequence[Row]) -> Results:
    """The rows of solvers, in the order of points, λ falling."""
    by_case: Results = {}
    for row in rows:
        if not row["gap"]:
            continue
        case = Case(
            threads=int(row["threads"]),
            image=row["image"],
            size=int(row["size"]),
            dictionary=row["dictionary"],
            boundary=row["boundary"],
            share=float(row["share"]),
        )
        by_case.setdefault(case, {})[row["solver"], row["gap"]] = row
    order = list(dict.fromkeys(row["dictionary"] for row in rows))

    def key(case: Case) -> tuple[int, str, str, int, int, float]:
        place = order.index(case.dictionary)
        return (case.threads, case.boundary, case.image, case.size, place, -case.share)

    return {case: by_case[case] for case in sorted(by_case, key=key)}


def gaps_of(rows: Sequence[Row]) -> list[str]:
    """The gaps of the rows, the widest first."""
    return sorted({row["gap"] for row in rows if row["gap"]}, key=float, reverse=True)


def fastest(own: dict[tuple[str, str], Row], gap: str, names: Sequence[str]) -> Row | None:
    """The row of the first of some solvers to be within a gap, on whatever device, None where none
    is."""
    there = [
        row
        for (solver, at), row in own.items()
        if at == gap and row["seconds"] and (solver in names or _method(solver) in names)
    ]
    return min(there, key=lambda row: float(row["seconds"])) if there else None


def _method(solver: str) -> str:
    """A solver's name without the device that it computes on."""
    return solver.partition(" on ")[0]


def lead(own: dict[tuple[str, str], Row], gap: str) -> tuple[float, bool] | None:
    """How many times faster our fastest solver reaches a gap than sporco's fastest, and whether
    that is a lower bound, since none of sporco's reached it within the limit. None where none of
    ours did, and where sporco's ADMM was not measured."""
    ours, theirs = fastest(own, gap, OURS), fastest(own, gap, THEIRS)
    if ours is None or (SPORCO, gap) not in own:
        return None
    if theirs is not None:
        return float(theirs["seconds"]) / float(ours["seconds"]), False
    limit = own[SPORCO, gap]["limit"]
    return (float(limit) / float(ours["seconds"]), True) if limit else None


def write_table(rows: Sequence[Row], path: Path, introduction: Sequence[str]) -> None:
    """Write race_grid.md."""
    lines = ["# The race", ""]
    for paragraph in introduction:
        lines += [paragraph, ""]
    cases, gaps = results(rows), gaps_of(rows)
    names = [name for name in _names(rows) if any(_ran(cases, name))]
    devices = any(name != _method(name) for name in names)
    for threads in sorted({case.threads for case in cases}):
        lines += [
            f"## {thread_count(threads).capitalize()}",
            "",
            "Seconds (iterations) to each relative gap, the fastest in bold; > 30: not reached in "
            "30 s. Lead: how many times faster our fastest solver is than sporco's fastest"
            + (", each on its device." if devices else "."),
            "",
            f"| point | gap | {' | '.join(names)} | lead |",
            f"|---|--:|{'--:|' * (len(names) + 1)}",
        ]
        for case, own in cases.items():
            if case.threads == threads:
                measured = [gap for gap in gaps if any(at == gap for _, at in own)]
                lines += [_line(case, own, gap, names) for gap in measured]
        lines.append("")
    lines += [*_notes(rows, cases), ""]
    last = {int(row["threads"]): row for row in rows if row["seconds"]}
    for threads, row in sorted(last.items()):
        lines += [f"{thread_count(threads).capitalize()}: {row['clock']}; {row['machine']}.", ""]
    write_text(path, "\n".join(lines))


def _names(rows: Sequence[Row]) -> list[str]:
    """The solvers of the rows: those with a marker, in their order, and then the others."""
    raced = dict.fromkeys(row["solver"] for row in rows if row["gap"])
    known = [name for name in _MARKERS if name in raced]
    return known + [name for name in raced if name not in known]


def _ran(cases: Results, name: str) -> Iterator[bool]:
    """For each row of a solver, whether it ran."""
    for own in cases.values():
        for (solver, _), row in own.items():
            if solver == name:
                yield bool(row["limit"])


def _line(case: Case, own: dict[tuple[str, str], Row], gap: str, names: Sequence[str]) -> str:
    first = fastest(own, gap, names)
    cells = []
    for name in names:
        row = own.get((name, gap))
        if row is None or not row["limit"]:
            cells.append("–" if row is not None else "")
        elif not row["seconds"]:
            cells.append(f"> {float(row['limit']):g}")
        else:
            text = f"{float(row['seconds']):.2f} ({row['iterations']})"
            cells.append(f"**{text}**" if row is first else text)
    ratio = lead(own, gap)
    shown = "" if ratio is None else f"{'> ' if ratio[1] else ''}{ratio[0]:.1f}"
    return f"| {case.label} | {gap} | {' | '.join(cells)} | {shown} |"


def _notes(rows: Sequence[Row], cases: Results) -> Iterator[str]:
    """What did not run, and why; what `auto` picked; how many points were measured."""
    refused = {(row["solver"], row["note"]) for row in rows if row["gap"] and not row["limit"]}
    for solver, note in sorted(refused):
        yield f"- – {solver}: {note.rstrip('.')}."
    picked: dict[str, list[str]] = {}
    for case, own in cases.items():
        for (solver, gap), row in own.items():
            if _method(solver) == "auto" and row["setting"]:
                picked.setdefault(row["setting"], []).append(f"{case.label} to {gap}")
    for setting, where in picked.items():
        yield f"- auto picked {setting} at: {'; '.join(where)}."
    yield f"- Points measured: {len(cases)}."


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw race_grid.png: seconds to each gap, by point; a row of panels for each number of
    threads."""
    cases, gaps = results(rows), gaps_of(rows)
    names = [name for name in _names(rows) if any(_ran(cases, name))]
    counts = sorted({case.threads for case in cases})
    most = max(sum(case.threads == n for case in cases) for n in counts)
    figure, made = plot.panels(
        len(counts),
        len(gaps),
        (3.9 * len(gaps) + 1.6, (0.24 * most + 1.2) * len(counts) + 1.0),
        sharey="row",
        sharex=True,
    )
    for line, threads in zip(made, counts, strict=True):
        shown = [case for case in cases if case.threads == threads]
        for panel, gap in zip(line, gaps, strict=True):
            for name in names:
                colour, marker = _MARKERS.get(name, (_MARKERS.get(_method(name), _OTHER)[0], "*"))
                at = [(i, cases[c].get((name, gap))) for i, c in enumerate(shown)]
                places = [(i, float(row["seconds"])) for i, row in at if row and row["seconds"]]
                panel.plot(
                    [s for _, s in places], [i for i, _ in places], marker, color=colour,
                    label=name, markersize=6, fillstyle="full" if _method(name) in OURS else "none",
                )  # fmt: skip
            panel.set_title(f"to a gap of {gap}, {thread_count(threads)}", fontsize=10)
            panel.set_xscale("log")
            panel.set_yticks(range(len(shown)), [case.label for case in shown], fontsize=8)
        line[0].set_ylim(len(shown) - 0.5, -0.5)
    for panel in made[-1]:
        panel.set_xlabel("seconds")
        panel.xaxis.set_major_formatter("{x:g}")
    handles, labels = made[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    plot.save(figure, picture, dpi=110)
