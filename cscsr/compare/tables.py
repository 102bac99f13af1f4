"""Tables 1 to 3 as Markdown, CSV and LaTeX, made from the results database alone.

    python -m cscsr.compare.tables reports/latest

Rows are data set × scale. The paper's figures stand beside ours, always labelled as
published; a difference is shown only between a method and itself, for a mean over the whole
data set, scored along the same line of the paper's tables. Harder input has a table of its
own, and so have the differences to the best solver.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cscsr.compare.differences import LEAST_IMAGES, TIE, Difference, pairwise
from cscsr.compare.results import FAILED, FILE_NAME, SCORED, UNSUPPORTED, Key, Results
from cscsr.errors import InputError
from cscsr.registry import published_method

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_FILE = Path(__file__).with_name("published.csv")

CSV_COLUMNS = [
    "dataset",
    "scale",
    "method",
    "psnr_db",
    "ssim",
    "seconds",
    "images",
    "protocol",
    "published_psnr_db",
    "published_ssim",
]
DEGRADED_COLUMNS = ["dataset", "scale", "degradation", *CSV_COLUMNS[2:8]]

_PUBLISHED_LINE = {
    "Bicubic": "y",
    "CSC-SR": "y",
    "CRNet-A": "y",
    "CRNet-B": "rgb",
    "CRNet-B+": "rgb",
}
PUBLISHED_IMAGES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}


DEGRADED_LINE = "rgb"
"""The line on which degraded input is scored, whatever the protocol: noise and JPEG are things
of an 8-bit image file, and every solver is given the same."""


@cache
def published_beside(solver: str) -> str | None:
    """The published method whose figures stand beside those of `solver`, or None."""
    beside = published_method(solver)
    return beside[0] if beside else None


@cache
def same_method(solver: str) -> str | None:
    """The published method that `solver` is, by the name the paper gives it, or None."""
    beside = published_method(solver)
    return beside[0] if beside and beside[1] else None


def read_published(table: int | None = None) -> pd.DataFrame:
    """The figures of the paper's tables, or of one of them, one row for each (dataset, scale,
    method)."""
    import pandas as pd

    rows = pd.read_csv(PUBLISHED_FILE)
    if table is not None:
        rows = rows[rows.table == table]
    return rows.drop(columns="table").drop_duplicates(["dataset", "scale", "method"])


class Place(NamedTuple):
    """A row of the tables: a data set, a scale, and what was done to the input ("": nothing)."""

    dataset: str
    scale: int
    degradation: str = ""

    def __str__(self) -> str:
        return f"{self.dataset} ×{self.scale} {self.degradation}".rstrip()


@dataclass(frozen=True)
class Mean:
    """A cell: the mean over the images of a data set, for one solver and scale.

    psnr_db, ssim, seconds, operations: NaN where no image was scored.
    images, expected: how many images were scored, and how many there are to score.
    comparable: whether this is the whole of a published data set, on the published line.
    reasons: why images are missing.
    """

    dataset: str
    scale: int
    solver: str
    protocol: str
    psnr_db: float
    ssim: float
    seconds: float
    images: int
    expected: int
    reasons: tuple[str, ...]
    degradation: str = ""
    operations: float = math.nan

    @property
    def place(self) -> Place:
        return Place(self.dataset, self.scale, self.degradation)

    @property
    def complete(self) -> bool:
        return self.images == self.expected

    @property
    def comparable(self) -> bool:
        method = published_beside(self.solver)
        return (
            self.complete
            and not self.degradation
            and method is not None
            and self.images == PUBLISHED_IMAGES.get(self.dataset)
            and self.protocol == _PUBLISHED_LINE.get(method)
        )


@dataclass(frozen=True)
class Summary:
    """All that the tables say: the run, its means in the order of the run's plan, and the
    rows they were made from."""

    run: dict[str, Any]
    means: list[Mean]
    rows: pd.DataFrame

    @property
    def solvers(self) -> list[str]:
        return [solver["solver"] for solver in self.run["plan"]["solvers"]]

    @property
    def places(self) -> list[Place]:
        """The rows of the tables: those of the input as it is, then of each harder one."""
        plan = self.run["plan"]
        return [
            Place(dataset, scale, degradation)
            for degradation in plan.get("degradations", [""])
            for dataset in plan["datasets"]
            for scale in plan["scales"]
        ]

    @property
    def lines(self) -> list[Place]:
        """The places where the input is as it is."""
        return [place for place in self.places if not place.degradation]

    @cached_property
    def _by_place(self) -> dict[tuple[Place, str], Mean]:
        return {(mean.place, mean.solver): mean for mean in self.means}

    def mean(self, dataset: str, scale: int, solver: str, degradation: str = "") -> Mean:
        return self._by_place[Place(dataset, scale, degradation), solver]

    def at(self, place: Place) -> list[Mean]:
        """The means of a row of the tables, in the order of the plan."""
        return [self._by_place[place, solver] for solver in self.solvers]

    def ranking(self, place: Place) -> list[Mean]:
        """The means over all images, the best PSNR first; partial ones are not ranked."""
        complete = [mean for mean in self.at(place) if mean.complete]
        return sorted(complete, key=lambda mean: -mean.psnr_db)

    @cached_property
    def differences(self) -> dict[Place, dict[tuple[str, str], Difference]]:
        """Of every two solvers at each place, (first, second) in the order of the plan."""
        found = {}
        for place, rows in self.rows.groupby(list(Place._fields), sort=False):
            images = rows.drop_duplicates("image").image.tolist()
            scored = rows[rows.outcome == SCORED]
            psnr_db = scored.pivot_table(index="image", columns="solver", values="psnr_db")
            psnr_db = psnr_db.reindex(index=images, columns=self.solvers)
            found[Place(*place)] = pairwise({name: psnr_db[name] for name in self.solvers})
        return found

    def difference(self, place: Place, solver: str, other: str) -> Difference:
        """How much better `solver` is than `other`."""
        pairs = self.differences[place]
        if (solver, other) in pairs:
            return pairs[solver, other]
        return pairs[other, solver].reversed()


def summarise(results: Results) -> Summary:
    """The means of the latest run. Raises InputError if the database holds no run."""
    import pandas as pd

    run = results.latest_run()
    rows = results.frame()
    images = pd.DataFrame(
        [
            {"dataset": dataset, **image}
            for dataset, members in run["plan"]["datasets"].items()
            for image in members
        ]
    )
    solvers = pd.DataFrame(run["plan"]["solvers"])
    scales = pd.DataFrame({"scale": run["plan"]["scales"]})
    harder = pd.DataFrame({"degradation": run["plan"].get("degradations", [""])})
    planned = images.merge(solvers, how="cross").merge(scales, how="cross")
    planned = planned.merge(harder, how="cross")
    planned.loc[planned.degradation != "", "protocol"] = DEGRADED_LINE
    identity = [*Key.__dataclass_fields__, "dataset", "image"]
    rows = planned.merge(rows, how="left", on=identity)
    means = []
    for place, cell in rows.groupby([*Place._fields, "solver"], sort=False):
        dataset, scale, degradation, solver = place
        scored = cell[cell.outcome == SCORED]
        missing = cell[cell.outcome.isin([UNSUPPORTED, FAILED])]
        reasons = list(dict.fromkeys(missing.message))
        if cell.outcome.isna().any():
            reasons.append("Not computed yet: the same command goes on where it stopped.")
        means.append(
            Mean(
                dataset,
                int(scale),
                solver,
                cell.protocol.iloc[0],
                float(scored.psnr_db.mean()),
                float(scored.ssim.mean()),
                float(scored.seconds.mean()),
                len(scored),
                len(cell),
                tuple(reasons),
                degradation,
                float(scored.operations.mean()),
            )
        )
    return Summary(run, means, rows)


@dataclass(frozen=True)
class Column:
    """A column: one of our solvers, or a method of the paper."""

    name: str
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A table, whichever way it is written.

    name: its files', without the suffix. places: its rows. columns: in their order, ours and
    the published. published: the figures of these, (dataset, scale, method) to PSNR and SSIM.
    """

    name: str
    title: str
    summary: Summary
    places: list[Place]
    columns: list[Column]
    published: Mapping[tuple[str, int, str], tuple[float, float]]

    def mean(self, place: Place, column: Column) -> Mean:
        """The mean in a column of ours."""
        return self.summary.mean(place.dataset, place.scale, column.name, place.degradation)

    def figures(self, place: Place, column: Column) -> tuple[float, float] | None:
        """PSNR and SSIM in a cell, or None where there is nothing."""
        if not column.published:
            mean = self.mean(place, column)
            return (mean.psnr_db, mean.ssim) if mean.images else None
        where = (place.dataset, place.scale, column.name)
        return None if place.degradation else self.published.get(where)

    def beside(self, mean: Mean) -> tuple[float, float] | None:
        """The published figures that a mean of ours may be compared with: of the same method
        on the same line over the same data set. None if there are none."""
        method = same_method(mean.solver)
        if method is None or not mean.comparable:
            return None
        return self.published.get((mean.dataset, mean.scale, method))

    @cached_property
    def _ranks(self) -> dict[tuple[Place, int], dict[Column, int]]:
        return {
            (place, which): self._ranked(place, which) for place in self.places for which in (0, 1)
        }

    def rank(self, place: Place, column: Column, which: int) -> int | None:
        """1 for the best and 2 for the second best of the row, of ours and of the published by
        themselves; only means over all images count. which: 0 for PSNR, 1 for SSIM."""
        return self._ranks[place, which].get(column)

    def _ranked(self, place: Place, which: int) -> dict[Column, int]:
        digits = (2, 4)[which]
        found: dict[Column, int] = {}
        for published in (False, True):
            values = {}
            for column in self.columns:
                figures = self.figures(place, column)
                if column.published is not published or figures is None:
                    continue
                if published or self.mean(place, column).complete:
                    values[column] = round(figures[which], digits)
            if len(values) < 2:
                continue
            highest = sorted(set(values.values()), reverse=True)[:2]
            found |= {c: highest.index(v) + 1 for c, v in values.items() if v in highest}
        return found


def _beside_each(solvers: Sequence[str], known: Iterable[str]) -> list[Column]:
    """Our solvers, each group followed by the published method that belongs beside it."""
    known = set(known)
    columns = []
    for index, solver in enumerate(solvers):
        columns.append(Column(solver))
        method = published_beside(solver)
        later = map(published_beside, solvers[index + 1 :])
        if method in known and method not in later:
            columns.append(Column(method, published=True))
    return columns


_TITLES = {
    1: "Table 1: super-resolution, classical and learned",
    2: "Table 2: networks that refine an image after enlarging it (pre-upsampling)",
    3: "Table 3: networks that enlarge an image at their end (post-upsampling)",
}


def make_tables(summary: Summary) -> list[Table]:
    """Table 1, with all solvers; Tables 2 and 3 where one of theirs was run on a data set that
    the paper has; the table of harder input where there is one."""
    plain, tables = summary.lines, []
    for number, title in _TITLES.items():
        published = read_published(None if number == 1 else number)
        here = published[published.dataset.isin({place.dataset for place in plain})]
        methods = list(dict.fromkeys(here.method))
        if number == 1:
            columns = _beside_each(summary.solvers, methods)
        else:
            columns = []
            for method in methods:
                ours = [name for name in summary.solvers if published_beside(name) == method]
                columns += [*map(Column, ours), Column(method, published=True)]
            if all(column.published for column in columns):
                continue
        figures = {
            (row.dataset, row.scale, row.method): (row.psnr_db, row.ssim)
            for row in published.itertuples()
        }
        tables.append(Table(f"table{number}", title, summary, plain, columns, figures))
    harder = [place for place in summary.places if place.degradation]
    if harder:
        title = "Harder input: blurred, noisy or compressed low-resolution images"
        columns = [Column(solver) for solver in summary.solvers]
        tables.append(Table("degraded", title, summary, harder, columns, {}))
    return tables


def long_table(table: Table) -> pd.DataFrame:
    """The CSV of a table: a row for each data set, scale and method, ours in the plan's order
    and then the published ones that stand beside them.

    The published columns are filled where the method is the same, scored on the same line
    over the whole data set; a method of the paper alone has only these.
    """
    import pandas as pd

    heads = DEGRADED_COLUMNS if table.name == "degraded" else CSV_COLUMNS
    rows: list[dict[str, Any]] = []
    for place in table.places:
        for column in table.columns:
            if column.published:
                continue
            mean = table.mean(place, column)
            row = {name: getattr(mean, name, None) for name in heads} | {"method": column.name}
            beside = table.beside(mean)
            if beside:
                row["published_psnr_db"], row["published_ssim"] = beside
            rows.append(row)
        for column in table.columns:
            figures = table.figures(place, column)
            if column.published and figures:
                rows.append(
                    {
                        "dataset": place.dataset,
                        "scale": place.scale,
                        "method": f"{column.name} (published)",
                        "protocol": _PUBLISHED_LINE.get(column.name),
                        "published_psnr_db": figures[0],
                        "published_ssim": figures[1],
                    }
                )
    return pd.DataFrame(rows, columns=heads).astype({"images": "Int64"})


def difference_text(ours: float, published: float, digits: int) -> str:
    """Ours minus theirs, of the figures as they are printed."""
    return signed(round(round(ours, digits) - published, digits), digits)


def signed(value: float, digits: int) -> str:
    """A number with its sign: +0.12, −0.03, ±0.00."""
    value = round(value, digits)
    return f"{'±' if value == 0 else '+' if value > 0 else '−'}{abs(value):.{digits}f}"


def decibels(value: float) -> str:
    """A difference in dB: two decimals, small ones three or four."""
    digits = 2 if abs(value) >= 0.0995 else 3 if abs(value) >= 0.00095 else 4
    return signed(value, digits)


def notes_of(summary: Summary) -> list[str]:
    """The reasons for missing cells, each once, to be numbered."""
    return list(dict.fromkeys(reason for mean in summary.means for reason in mean.reasons))


def two_digits(seconds: float) -> str:
    """A duration with two significant digits and no exponent: 0.0031, 0.12, 4.5, 130."""
    if not seconds or not math.isfinite(seconds):
        return "0" if seconds == 0 else "–"
    decimals = 1 - math.floor(math.log10(abs(seconds)))
    rounded = round(seconds, decimals)
    decimals = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


_LINE_MEANING = {
    "y": "line y (the low-resolution image is made from luma and kept in floating point)",
    "rgb": "line rgb (the low-resolution image is an 8-bit one, in colour where the truth is)",
}


def remarks(summary: Summary) -> list[str]:
    """The sentences under the tables, apart from the numbered notes."""
    plan, rows = summary.run["plan"], summary.rows
    by_line: dict[str, list[str]] = {}
    for solver in plan["solvers"]:
        by_line.setdefault(solver["protocol"], []).append(solver["solver"])
    each = "; ".join(f"{_LINE_MEANING[line]}: {', '.join(who)}" for line, who in by_line.items())
    meaning = {
        "paper": "each solver is scored as the paper scores its kind",
        "common": "every solver is given the same images",
    }[plan["protocol"]]
    sentences = [f"Protocol {plan['protocol']}, {meaning}. {each[0].upper()}{each[1:]}."]
    if any(place.degradation for place in summary.places):
        sentences.append(
            "Harder input is always given to every solver as the same 8-bit image (line rgb)."
        )
    if any(same_method(mean.solver) and mean.comparable for mean in summary.means):
        sentences.append(
            "In brackets: ours minus the published figure of the same method, where the mean is "
            "over the same images on the same line."
        )
    if any(solver.startswith("csc-sr[") for solver in summary.solvers):
        sentences.append(
            "csc-sr[CODER] is CSC-SR (Gu et al. 2015) with that coder; docs/csc-sr.md says how its "
            "filters and its maps were fitted, and what differs from the published method."
        )
    if any(solver.rstrip("+").endswith("-small") for solver in summary.solvers):
        sentences.append(
            "The -small networks are narrower than the paper's and trained for a small part of "
            "its time; they are not its networks, so no difference is shown."
        )
    scored = rows[rows.outcome == SCORED]
    if len(scored):
        machines = "; ".join(dict.fromkeys(scored.machine))
        threads = ", ".join(str(int(n)) for n in sorted(scored.threads.dropna().unique()))
        devices = ", ".join(dict.fromkeys(scored.device))
        precisions = ", ".join(dict.fromkeys(scored.precision))
        versions = ", ".join(dict.fromkeys(scored.code_version))
        sentences.append(
            f"Seconds are the solvers' own, for one image, on {machines}; threads: {threads}; "
            f"device: {devices}; precision: {precisions}."
        )
        sentences.append(
            f"Version {versions}; {len(scored)} scored images, newest {max(scored.time)}."
        )
    if summary.run["finished"] is None:
        sentences.append("The run was cut off before its end.")
    return sentences


BEST = (
    "Means over the images of a data set. Bold: the best of ours there; underlined: the second "
    "best; partial means are not ranked. Published figures are ranked among themselves."
)


def _markdown_cell(table: Table, place: Place, column: Column, notes: list[str]) -> str:
    figures = table.figures(place, column)
    parts, numbers = [], ""
    beside = None if column.published else table.beside(table.mean(place, column))
    for which, digits in enumerate((2, 4)):
        if figures is None:
            break
        text = f"{figures[which]:.{digits}f}"
        rank = table.rank(place, column, which)
        text = f"**{text}**" if rank == 1 else f"<ins>{text}</ins>" if rank == 2 else text
        text = f"*{text}*" if column.published else text
        if beside:
            text += f"\u00a0({difference_text(figures[which], beside[which], digits)})"
        parts.append(text)
    if not column.published:
        mean = table.mean(place, column)
        if mean.images and not mean.complete:
            parts.append(f"*{mean.images} of {mean.expected} images*")
        numbers = "".join(f" <sup>{notes.index(reason) + 1}</sup>" for reason in mean.reasons)
    return ("<br>".join(parts) or "–") + numbers


def _markdown_rows(heads: Sequence[str], rows: Iterable[tuple[Place, Sequence[str]]]) -> list[str]:
    lines = [f"| | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for place, cells in rows:
        nowrap = str(place).replace(" ", "\u00a0")
        lines.append(f"| {nowrap} | {' | '.join(cells)} |")
    return lines


def markdown(table: Table) -> str:
    """A table as a Markdown page: quality, seconds, and how it was made."""
    summary = table.summary
    notes = notes_of(summary)
    ours = [column for column in table.columns if not column.published]
    parts = [
        f"# {table.title}",
        "",
        "## PSNR (dB) above SSIM",
        "",
        *_markdown_rows(
            [f"*published* {c.name}" if c.published else c.name for c in table.columns],
            (
                (place, [_markdown_cell(table, place, c, notes) for c in table.columns])
                for place in table.places
            ),
        ),
        "",
        BEST,
        "",
        *(f"{number}. {reason}" for number, reason in enumerate(notes, start=1)),
        *([""] if notes else []),
        "## Seconds an image",
        "",
        *_markdown_rows(
            [column.name for column in ours],
            (
                (place, [two_digits(table.mean(place, column).seconds) for column in ours])
                for place in table.places
            ),
        ),
        "",
        "## How it was made",
        "",
        *(f"- {sentence}" for sentence in remarks(summary)),
        "",
        "```",
        summary.run["command"],
        "```",
        "",
    ]
    return "\n".join(parts)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "×": r"$\times$",
    "−": "$-$",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "[": "{[}",
    "]": "{]}",
}


def latex_text(text: str) -> str:
    """`text` with what LaTeX would take for commands written out."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex(table: Table) -> str:
    """A table for a paper, with `booktabs`: methods down, scales across, a block for each
    data set. The best of ours is bold, the second best underlined; partial means are starred."""
    places = table.places
    scales = list(dict.fromkeys(place.scale for place in places))
    blocks = list(dict.fromkeys((place.dataset, place.degradation) for place in places))
    width = 1 + 2 * len(scales)
    heading = table.title.partition(": ")[2] or table.title
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(heading[0].upper() + heading[1:])}. "
        r"PSNR (dB) and SSIM; bold: the best of ours, underlined: the second best.}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'rr' * len(scales)}}}",
        r"\toprule",
        " & ".join(["", *(rf"\multicolumn{{2}}{{c}}{{$\times {scale}$}}" for scale in scales)])
        + r" \\",
        "".join(rf"\cmidrule(lr){{{n}-{n + 1}}}" for n in range(2, width, 2)),
        " & ".join(["method", *(["PSNR", "SSIM"] * len(scales))]) + r" \\",
    ]
    partial = False
    for dataset, degradation in blocks:
        name = latex_text(f"{dataset} {degradation}".strip())
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{name}}}}} \\"]
        for column in table.columns:
            cells = []
            for scale in scales:
                place = Place(dataset, scale, degradation)
                figures = table.figures(place, column) if place in places else None
                for which, digits in enumerate((2, 4)):
                    if figures is None:
                        cells.append("--")
                        continue
                    text = f"{figures[which]:.{digits}f}"
                    rank = table.rank(place, column, which)
                    if rank:
                        text = rf"\{'textbf' if rank == 1 else 'underline'}{{{text}}}"
                    if not column.published and not table.mean(place, column).complete:
                        text, partial = f"{text}$^*$", True
                    cells.append(text)
            label = f"{column.name} (published)" if column.published else column.name
            lines.append(" & ".join([latex_text(label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if partial:
        lines.append(r"\\[2pt] {\footnotesize $^*$ mean over a part of the images}")
    return "\n".join([*lines, r"\end{table}", ""])


def _csv(table: Table) -> str:
    frame = long_table(table)
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


DIFFERENCES_COLUMNS = [*Place._fields, "solver", "against", "images", "mean_db", "spread_db"]
DIFFERENCES_COLUMNS += ["won", "lost", "low_db", "high_db", "verdict"]


def differences_csv(summary: Summary) -> str:
    """Every two solvers at each place; see `cscsr.compare.differences`."""
    import pandas as pd

    rows = [
        {
            **place._asdict(),
            "solver": solver,
            "against": other,
            **{name: getattr(found, name) for name in DIFFERENCES_COLUMNS[5:]},
        }
        for place, pairs in summary.differences.items()
        for (solver, other), found in pairs.items()
    ]
    frame = pd.DataFrame(rows, columns=DIFFERENCES_COLUMNS)
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


DIFFERENCES_TITLE = "Differences to the best solver"
DIFFERENCES_NOTE = (
    "PSNR of each solver less that of the best, mean over the images; in brackets its 95 % "
    f"interval by the studentised bootstrap, from {LEAST_IMAGES} images up; then the images on "
    "which it beats the best. A tie: 0 lies inside the interval. Each interval stands by itself: "
    "of many pairs that are equal in truth, one in twenty shows a difference."
)


def difference_words(found: Difference) -> str:
    """A difference in a line: −0.21 [−0.25, −0.17], 3 of 100."""
    if not found.images:
        return "no image in common"
    interval = ""
    if found.low_db is not None and found.high_db is not None:
        interval = f" [{decibels(found.low_db)}, {decibels(found.high_db)}]"
    tie = ", tie" if found.verdict == TIE else ""
    return f"{decibels(found.mean_db)}{interval}, {found.won} of {found.images}{tie}"


def _difference_rows(summary: Summary) -> list[tuple[Place, list[str]]]:
    rows = []
    for place in summary.places:
        ranking = summary.ranking(place)
        cells = []
        for mean in summary.at(place):
            if not ranking or not mean.images:
                cells.append("–")
            elif mean.solver == ranking[0].solver:
                cells.append("best")
            else:
                found = summary.difference(place, mean.solver, ranking[0].solver)
                cells.append(difference_words(found))
        rows.append((place, cells))
    return rows


def differences_markdown(summary: Summary) -> str:
    """The differences to the best solver at each place."""
    return "\n".join(
        [
            f"# {DIFFERENCES_TITLE}",
            "",
            *_markdown_rows(summary.solvers, _difference_rows(summary)),
            "",
            DIFFERENCES_NOTE,
            "",
        ]
    )


def differences_latex(summary: Summary) -> str:
    """The same for a paper: a block for each place."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(DIFFERENCES_TITLE)}. {latex_text(DIFFERENCES_NOTE)}}}",
        r"\label{tab:differences}",
        r"\begin{tabular}{ll}",
        r"\toprule",
    ]
    for number, (place, cells) in enumerate(_difference_rows(summary)):
        lines += [r"\midrule"] if number else []
        lines.append(rf"\multicolumn{{2}}{{l}}{{\emph{{{latex_text(str(place))}}}}} \\")
        lines += [
            rf"{latex_text(solver)} & {latex_text(cell)} \\"
            for solver, cell in zip(summary.solvers, cells, strict=True)
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def written_tables(summary: Summary) -> dict[str, str]:
    """All files of tables: name to text."""
    files = {}
    for table in make_tables(summary):
        files[f"{table.name}.md"] = markdown(table)
        files[f"{table.name}.csv"] = _csv(table)
        files[f"{table.name}.tex"] = latex(table)
    files["differences.md"] = differences_markdown(summary)
    files["differences.csv"] = differences_csv(summary)
    files["differences.tex"] = differences_latex(summary)
    return files


_NAMES = ("table1", "table2", "table3", "degraded", "differences")


def write_file(path: Path, text: str) -> Path:
    """Write `text`; a file that was there is replaced only when the new one is complete."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def write_tables(results: Results, out: Path) -> list[Path]:
    """Write the tables' files into `out`, and remove those of tables that the latest run does
    not have; returns the paths."""
    files = written_tables(summarise(results))
    for name in (f"{table}.{kind}" for table in _NAMES for kind in ("md", "csv", "tex")):
        if name not in files:
            (out / name).unlink(missing_ok=True)
    return [write_file(out / name, text) for name, text in files.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.compare.tables",
        description=f"Make the tables again (Markdown, CSV, LaTeX) from a {FILE_NAME}.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("reports/latest"), help="default: %(default)s"
    )
    folder = parser.parse_args(arguments).folder
    try:
        with Results(folder / FILE_NAME, create=False) as results:
            for path in write_tables(results, folder):
                print(path)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
