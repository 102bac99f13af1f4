"""Table 1 as Markdown, HTML and CSV, made from the results database alone.

    python -m benchmarks.tables reports/latest

Rows are data set × scale. The paper's figures stand beside ours, always labelled as
published; a difference is shown only between a method and itself, for a mean over the whole
data set, scored along the same line of the paper's tables.
"""

from __future__ import annotations

import argparse
import html
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import FAILED, FILE_NAME, SCORED, UNSUPPORTED, Key, Results
from cscsr.errors import InputError

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

_SAME = {
    "bicubic": "Bicubic",
    "crnet-a": "CRNet-A",
    "crnet-b": "CRNet-B",
    "crnet-b+": "CRNet-B+",
}
_RELATED = {
    "crnet-a-small": "CRNet-A",
    "crnet-b-small": "CRNet-B",
    "crnet-b-small+": "CRNet-B+",
}
_PUBLISHED_LINE = {
    "Bicubic": "y",
    "CSC-SR": "y",
    "CRNet-A": "y",
    "CRNet-B": "rgb",
    "CRNet-B+": "rgb",
}
_PUBLISHED_IMAGES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}


def same_method(solver: str) -> str | None:
    """The published method that `solver` is, by the name the paper gives it, or None."""
    return "CSC-SR" if solver.startswith("csc-sr[") else _SAME.get(solver)


def published_beside(solver: str) -> str | None:
    """The published method whose figures stand beside those of `solver`, or None."""
    return same_method(solver) or _RELATED.get(solver)


def read_published() -> pd.DataFrame:
    """The figures of the paper's tables, one row for each (dataset, scale, method)."""
    import pandas as pd

    rows = pd.read_csv(PUBLISHED_FILE).drop(columns="table")
    return rows.drop_duplicates(["dataset", "scale", "method"])


@dataclass(frozen=True)
class Mean:
    """A cell: the mean over the images of a data set, for one solver and scale.

    psnr_db, ssim, seconds: NaN where no image was scored.
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

    @property
    def complete(self) -> bool:
        return self.images == self.expected

    @property
    def comparable(self) -> bool:
        method = published_beside(self.solver)
        return (
            self.complete
            and method is not None
            and self.images == _PUBLISHED_IMAGES.get(self.dataset)
            and self.protocol == _PUBLISHED_LINE[method]
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
    def lines(self) -> list[tuple[str, int]]:
        """The rows of the tables: (data set, scale)."""
        plan = self.run["plan"]
        return [(dataset, scale) for dataset in plan["datasets"] for scale in plan["scales"]]

    def mean(self, dataset: str, scale: int, solver: str) -> Mean:
        wanted = (dataset, scale, solver)
        return next(m for m in self.means if (m.dataset, m.scale, m.solver) == wanted)


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
    planned = images.merge(solvers, how="cross").merge(
        pd.DataFrame({"scale": run["plan"]["scales"]}), how="cross"
    )
    identity = [*Key.__dataclass_fields__, "dataset", "image"]
    rows = planned.merge(rows, how="left", on=identity)
    means = []
    for (dataset, scale, solver), cell in rows.groupby(["dataset", "scale", "solver"], sort=False):
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
            )
        )
    return Summary(run, means, rows)


def long_table(summary: Summary) -> pd.DataFrame:
    """`table1.csv`: a row for each data set, scale and method, ours in the plan's order and
    then the published ones that stand beside them.

    The published columns are filled where the method is the same, scored on the same line
    over the whole data set; a method of the paper alone has only these.
    """
    import pandas as pd

    published = read_published().set_index(["dataset", "scale", "method"])
    rows: list[dict[str, Any]] = []
    for dataset, scale in summary.lines:
        beside = []
        for solver in summary.solvers:
            mean = summary.mean(dataset, scale, solver)
            row = {name: getattr(mean, name, None) for name in CSV_COLUMNS} | {"method": solver}
            place = (dataset, scale, same_method(solver))
            if mean.comparable and place in published.index:
                row["published_psnr_db"] = published.psnr_db[place]
                row["published_ssim"] = published.ssim[place]
            rows.append(row)
            beside.append(published_beside(solver))
        for method in dict.fromkeys(m for m in beside if m):
            place = (dataset, scale, method)
            if place in published.index:
                rows.append(
                    {
                        "dataset": dataset,
                        "scale": scale,
                        "method": f"{method} (published)",
                        "protocol": _PUBLISHED_LINE[method],
                        "published_psnr_db": published.psnr_db[place],
                        "published_ssim": published.ssim[place],
                    }
                )
    return pd.DataFrame(rows, columns=CSV_COLUMNS).astype({"images": "Int64"})


@dataclass(frozen=True)
class Figure:
    """One figure of a cell: its text, whether it is the best of its row, and the difference
    to the published figure of the same method ("" where there is none)."""

    text: str
    best: bool = False
    difference: str = ""


@dataclass(frozen=True)
class Cell:
    """Figures one above another, a remark under them, and the numbers of the notes."""

    figures: tuple[Figure, ...] = ()
    remark: str = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column: one of our solvers, or a method of the paper."""

    name: str
    published: bool = False


@dataclass(frozen=True)
class Grid:
    """A table, whichever way it is written."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]


def _columns(summary: Summary, published: pd.DataFrame) -> list[Column]:
    """Our solvers, each group followed by the published method that belongs beside it."""
    known = set(published[published.dataset.isin(summary.run["plan"]["datasets"])].method)
    columns = []
    for index, solver in enumerate(summary.solvers):
        columns.append(Column(solver))
        method = published_beside(solver)
        later = map(published_beside, summary.solvers[index + 1 :])
        if method in known and method not in later:
            columns.append(Column(method, published=True))
    return columns


def _difference(ours: float, published: float, digits: int) -> str:
    """Ours minus theirs, of the figures as they are printed."""
    value = round(round(ours, digits) - published, digits)
    return f"{'±' if value == 0 else '+' if value > 0 else '−'}{abs(value):.{digits}f}"


def _notes(summary: Summary) -> list[str]:
    """The reasons for missing cells, each once, to be numbered."""
    return list(dict.fromkeys(reason for mean in summary.means for reason in mean.reasons))


def quality_grid(summary: Summary) -> Grid:
    """PSNR over SSIM: ours, with the published methods beside."""
    published = read_published()
    columns = _columns(summary, published)
    figures = published.set_index(["dataset", "scale", "method"])
    notes = _notes(summary)
    rows = []
    for dataset, scale in summary.lines:
        means = [summary.mean(dataset, scale, solver) for solver in summary.solvers]
        finished = [mean for mean in means if mean.complete]
        best_psnr = best_ssim = math.nan
        if len(finished) > 1:
            best_psnr = max(round(mean.psnr_db, 2) for mean in finished)
            best_ssim = max(round(mean.ssim, 4) for mean in finished)
        cells = []
        for column in columns:
            if column.published:
                place = (dataset, scale, column.name)
                if place in figures.index:
                    psnr_db, ssim = figures.psnr_db[place], figures.ssim[place]
                    cells.append(Cell((Figure(f"{psnr_db:.2f}"), Figure(f"{ssim:.4f}"))))
                else:
                    cells.append(Cell())
                continue
            mean = summary.mean(dataset, scale, column.name)
            numbers = tuple(notes.index(reason) + 1 for reason in mean.reasons)
            if not mean.images:
                cells.append(Cell(notes=numbers))
                continue
            differences = ("", "")
            place = (dataset, scale, same_method(column.name))
            if mean.comparable and place in figures.index:
                differences = (
                    _difference(mean.psnr_db, figures.psnr_db[place], 2),
                    _difference(mean.ssim, figures.ssim[place], 4),
                )
            psnr_is_best = mean.complete and round(mean.psnr_db, 2) == best_psnr
            ssim_is_best = mean.complete and round(mean.ssim, 4) == best_ssim
            cells.append(
                Cell(
                    (
                        Figure(f"{mean.psnr_db:.2f}", psnr_is_best, differences[0]),
                        Figure(f"{mean.ssim:.4f}", ssim_is_best, differences[1]),
                    ),
                    "" if mean.complete else f"{mean.images} of {mean.expected} images",
                    numbers,
                )
            )
        rows.append((f"{dataset} ×{scale}", cells))
    return Grid(columns, rows)


def two_digits(seconds: float) -> str:
    """A duration with two significant digits and no exponent: 0.0031, 0.12, 4.5, 130."""
    if not seconds or not math.isfinite(seconds):
        return "0" if seconds == 0 else "–"
    decimals = 1 - math.floor(math.log10(abs(seconds)))
    rounded = round(seconds, decimals)
    decimals = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def seconds_grid(summary: Summary) -> Grid:
    """Seconds an image: the solver's own time, what it prepares once left out."""
    rows = [
        (
            f"{dataset} ×{scale}",
            [
                Cell((Figure(two_digits(mean.seconds)),)) if mean.images else Cell()
                for mean in (summary.mean(dataset, scale, solver) for solver in summary.solvers)
            ],
        )
        for dataset, scale in summary.lines
    ]
    return Grid([Column(solver) for solver in summary.solvers], rows)


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
    if any(same_method(mean.solver) and mean.comparable for mean in summary.means):
        sentences.append(
            "In brackets: ours minus the published figure of the same method, where the mean is "
            "over the same images on the same line."
        )
    if any(solver.startswith("csc-sr[") for solver in summary.solvers):
        sentences.append(
            "csc-sr is CSC-SR (Gu et al. 2015) in its ridge form: one linear map from the codes "
            "to the pixels, fitted in closed form, with fewer filters than the published method."
        )
    if any(solver in _RELATED for solver in summary.solvers):
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


TITLE = "Table 1: super-resolution, classical and learned"
_QUALITY = "PSNR (dB) above SSIM"
_QUALITY_BEST = "Means over the images of a data set; the best of ours in each row is bold."
_SECONDS = "Seconds an image"


def _markdown_cell(cell: Cell, column: Column) -> str:
    parts = []
    for figure in cell.figures:
        mark = "**" if figure.best else "*" if column.published else ""
        text = f"{mark}{figure.text}{mark}"
        parts.append(f"{text}\u00a0({figure.difference})" if figure.difference else text)
    if cell.remark:
        parts.append(f"*{cell.remark}*")
    text = "<br>".join(parts) or "–"
    return text + "".join(f" <sup>{number}</sup>" for number in cell.notes)


def _markdown_grid(grid: Grid) -> list[str]:
    heads = [f"*published* {c.name}" if c.published else c.name for c in grid.columns]
    lines = [f"| | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for label, cells in grid.rows:
        nowrap = label.replace(" ", "\u00a0")
        inside = [_markdown_cell(*pair) for pair in zip(cells, grid.columns, strict=True)]
        lines.append(f"| {nowrap} | {' | '.join(inside)} |")
    return lines


def markdown(summary: Summary) -> str:
    """`table1.md`."""
    notes = [f"{number}. {reason}" for number, reason in enumerate(_notes(summary), start=1)]
    parts = [
        f"# {TITLE}",
        "",
        f"## {_QUALITY}",
        "",
        *_markdown_grid(quality_grid(summary)),
        "",
        _QUALITY_BEST,
        "",
        *([*notes, ""] if notes else []),
        f"## {_SECONDS}",
        "",
        *_markdown_grid(seconds_grid(summary)),
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


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fff; --rule: #d5dbe2;
  --soft: #f3f5f8; --faint: #5c6b7a; }
@media (prefers-color-scheme: dark) { :root { --ink: #dde4ec; --paper: #14191f;
  --rule: #36414d; --soft: #1d242c; --faint: #94a3b3; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1240px; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--ink); font-weight: 600; }
tbody th { text-align: left; font-weight: 600; }
tr.group > * { border-top: 2px solid var(--rule); }
.published { background: var(--soft); color: var(--faint); font-weight: 400; }
.published small, .difference, .remark { color: var(--faint); font-size: .85em; }
p, li { max-width: 60rem; } pre { background: var(--soft); padding: .7rem 1rem; overflow-x: auto; }
"""


def _html_cell(cell: Cell, column: Column) -> str:
    parts = []
    for figure in cell.figures:
        text = f"<b>{figure.text}</b>" if figure.best else figure.text
        if figure.difference:
            text += f' <span class="difference">({figure.difference})</span>'
        parts.append(text)
    if cell.remark:
        parts.append(f'<span class="remark">{html.escape(cell.remark)}</span>')
    text = "<br>".join(parts) or "–"
    text += "".join(f"<sup>{number}</sup>" for number in cell.notes)
    return f"<td{' class=published' if column.published else ''}>{text}</td>"


def _html_grid(grid: Grid) -> list[str]:
    heads = "".join(
        f"<th class=published scope=col><small>published</small><br>{html.escape(c.name)}</th>"
        if c.published
        else f"<th scope=col>{html.escape(c.name)}</th>"
        for c in grid.columns
    )
    lines = ["<div class=scroll><table>", f"<thead><tr><th></th>{heads}</tr></thead>", "<tbody>"]
    before = None
    for label, cells in grid.rows:
        dataset = label.rsplit(" ", 1)[0]
        group = " class=group" if before not in (None, dataset) else ""
        before = dataset
        inside = "".join(_html_cell(*pair) for pair in zip(cells, grid.columns, strict=True))
        lines.append(f"<tr{group}><th scope=row>{html.escape(label)}</th>{inside}</tr>")
    return [*lines, "</tbody></table></div>"]


def webpage(summary: Summary) -> str:
    """`table1.html`: one file that needs no other."""
    notes = [f"<li>{html.escape(reason)}</li>" for reason in _notes(summary)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{TITLE}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{TITLE}</h1>",
            f"<h2>{_QUALITY}</h2>",
            *_html_grid(quality_grid(summary)),
            f"<p>{_QUALITY_BEST}</p>",
            *(["<ol>", *notes, "</ol>"] if notes else []),
            f"<h2>{_SECONDS}</h2>",
            *_html_grid(seconds_grid(summary)),
            "<h2>How it was made</h2><ul>",
            *(f"<li>{html.escape(sentence)}</li>" for sentence in remarks(summary)),
            f"</ul><pre>{html.escape(summary.run['command'])}</pre>",
            "</body></html>",
            "",
        ]
    )


def _csv(summary: Summary) -> str:
    return long_table(summary).to_csv(index=False, float_format="%.6g", lineterminator="\n")


_WRITERS: dict[str, Callable[[Summary], str]] = {
    "table1.csv": _csv,
    "table1.md": markdown,
    "table1.html": webpage,
}


def write_tables(results: Results, out: Path) -> list[Path]:
    """Write table1.csv, table1.md and table1.html into `out`; returns their paths."""
    summary = summarise(results)
    paths = []
    for name, written in _WRITERS.items():
        path = out / name
        temporary = path.with_name(f"{name}.part")
        temporary.write_text(written(summary), encoding="utf-8")
        os.replace(temporary, path)
        paths.append(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables",
        description=f"Make table1.md, table1.html and table1.csv again from a {FILE_NAME}.",
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
