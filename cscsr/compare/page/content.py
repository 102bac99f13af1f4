"""What the report says, as HTML: the answer first, then all that it rests on.

Everything comes from a `Summary` and the results database. Text from outside (names, messages,
commands) is escaped here; page.js puts what it adds into the page as text only.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from cscsr.compare.differences import LEAST_IMAGES, TIE
from cscsr.compare.page.plots import Point, interval, scatter
from cscsr.compare.results import SCORED, Figure, Key, Results, truth_key
from cscsr.compare.tables import (
    BEST,
    PUBLISHED_IMAGES,
    Column,
    Mean,
    Place,
    Summary,
    Table,
    decibels,
    difference_text,
    make_tables,
    notes_of,
    read_published,
    remarks,
    two_digits,
    written_tables,
)
from cscsr.registry import solver_family

_HERE = Path(__file__).parent

FIGURES = {
    "fig5": (
        "Figure 5: with and without the global skip",
        "PSNR of small CRNet-A over training, residual and not, for K = 1 and K = 5 recursions.",
    ),
    "convergence": (
        "Convergence of the sparse-coding solvers",
        "How fast each comes near the certified optimum of one convolutional sparse coding "
        "problem.",
    ),
    "sr_convergence": (
        "Super-resolution along the iterations",
        "PSNR of CSC-SR with each coder and of CRNet, decoded at every iteration, against "
        "iterations, seconds and multiply-adds.",
    ),
    "fig4": (
        "Figure 4: PSNR against parameters",
        "Ours as measured, the paper's networks as published.",
    ),
    "ablation": (
        "Table 1, right: ablation",
        "PSNR of small CRNet-A with and without local residual learning (LRL), pre-activation (PA) "
        "and the consistency constraint (CC), here and as published.",
    ),
    "fig8": (
        "Figure 8: number of filters",
        "PSNR against parameters of small CRNet-A and CRNet-B of other widths n₀/m₀.",
    ),
    "fig9": (
        "Figure 9: recursions",
        "PSNR of small CRNet-A and CRNet-B with other numbers of recursions K.",
    ),
    "is_crnet_sparse_coding": (
        "Is CRNet sparse coding?",
        "PSNR, codes and energy of the trained networks along their recursions, and the "
        "eigenvalues of S.",
    ),
    "convergence_grid": (
        "Convergence over a grid of problems",
        "Relative objective gap against seconds at other sizes, dictionaries and weights of the ℓ1 "
        "norm; below, the first problem against iterations and multiply-adds.",
    ),
}
"""Name of a figure's files: its title, and what it shows."""


def escaped(text: Any) -> str:
    return html.escape(str(text))


def family(solver: str) -> str:
    """Which kind of method a solver is, for its colour and mark in the plots."""
    kind = solver_family(solver)
    return kind if kind in ("classical", "learned") else "other"


def engineering(value: float) -> str:
    """A count with two digits and a prefix: 1.2 G, 340 M."""
    if not math.isfinite(value):
        return "–"
    for unit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.995 * unit:
            return two_digits(value / unit) + prefix
    return two_digits(value)


def _place_id(place: Place) -> str:
    return "/".join(map(str, place)).rstrip("/")


class Sources:
    """Where each measured cell came from; a cell in the page names its number here."""

    def __init__(self, summary: Summary, commands: dict[int, str]) -> None:
        self.commands = commands
        self.rows: list[dict[str, Any]] = []
        self._numbers: dict[tuple[Place, str], int] = {}
        for key, cell in summary.rows.groupby([*Place._fields, "solver"], sort=False):
            place, solver = Place(key[0], int(key[1]), key[2]), key[3]
            self._numbers[place, solver] = len(self.rows)
            mean = summary.mean(place.dataset, place.scale, solver, place.degradation)
            self.rows.append(self._described(place, mean, cell))

    def number(self, mean: Mean) -> int:
        return self._numbers[mean.place, mean.solver]

    def of(self, mean: Mean) -> dict[str, Any]:
        return self.rows[self.number(mean)]

    def _described(self, place: Place, mean: Mean, cell: Any) -> dict[str, Any]:
        scored = cell[cell.outcome == SCORED]
        first = cell.iloc[0]

        def each(column: str) -> str:
            values = [v for v in scored[column] if v == v and v not in ("", None)]
            return "; ".join(dict.fromkeys(map(str, values)))

        def between(column: str, text: Callable[[float], str] = "{:g}".format) -> str:
            values = scored[column].dropna()
            if not len(values):
                return ""
            low, high = text(values.min()), text(values.max())
            return low if low == high else f"{low} to {high}"

        ran = [
            self.commands[int(n)] for n in dict.fromkeys(scored.run.dropna()) if n in self.commands
        ]
        figures = {}
        if mean.images:
            seconds = f"{two_digits(mean.seconds)} ({between('seconds', two_digits)})"
            figures = {
                "PSNR": f"{mean.psnr_db:.4f} dB",
                "SSIM": f"{mean.ssim:.5f}",
                "Seconds an image": seconds,
                "Multiply-adds an image": engineering(mean.operations),
            }
        line = {"y": "y: luma, low-resolution image in floating point"}
        line["rgb"] = "rgb: 8-bit low-resolution image, in colour where the truth is"
        return {
            "title": f"{mean.solver} on {place}",
            "facts": {
                **figures,
                "Images": f"{mean.images} of {mean.expected}",
                "Missing": " ".join(mean.reasons),
                "Protocol": f"line {line[mean.protocol]}",
                "Input": place.degradation or "as it is",
                "Weights (SHA-256)": first.weights_sha256 or "none: nothing is trained",
                "Solver": f"{mean.solver}, version {first.solver_version}",
                "Parameters": first.params,
                "Code version": each("code_version"),
                "Machine": each("machine"),
                "Device, threads, precision": ", ".join(
                    filter(None, (each("device"), between("threads"), each("precision")))
                ),
                "Iterations": between("iterations"),
                "Ended": each("status"),
                "Preparation": f"{two_digits(scored.prepare_seconds.max())} s at most"
                if mean.images
                else "",
                "Peak memory": f"{scored.memory_mb.max():.0f} MB"
                if scored.memory_mb.notna().any()
                else "",
                "Measured": " to ".join(sorted({scored.time.min(), scored.time.max()}))
                if mean.images
                else "",
            },
            "commands": list(dict.fromkeys(ran))
            or (["unknown: measured before commands were kept"] if mean.images else []),
        }


# The answer: one panel for each place


def _default_place(summary: Summary) -> Place:
    """B100 at ×3 if it was measured, else the largest data set at the scale nearest to 3."""
    images = {place: summary.at(place)[0].expected for place in summary.lines}
    return max(
        images,
        key=lambda p: (p.dataset == "B100", images[p], -abs(p.scale - 3), p.scale),
    )


def _picker(summary: Summary) -> str:
    """Radio buttons for data set, scale and input."""
    default = _default_place(summary)
    plan = summary.run["plan"]
    groups = [
        ("dataset", "Data set", [(name, name) for name in plan["datasets"]]),
        ("scale", "Scale", [(scale, f"×{scale}") for scale in plan["scales"]]),
        ("degradation", "Input", [(d, d or "as it is") for d in plan.get("degradations", [""])]),
    ]
    parts = []
    for field, legend, choices in groups:
        if field == "degradation" and len(choices) == 1:
            choices = []
        buttons = "".join(
            f'<label><input type="radio" name="{field}" value="{escaped(value)}"'
            f"{' checked' if value == getattr(default, field) else ''}>"
            f"<span>{escaped(text)}</span></label>"
            for value, text in choices
        )
        if buttons:
            parts.append(f"<fieldset><legend>{legend}</legend>{buttons}</fieldset>")
    return "".join(parts)


def _source_button(sources: Sources, mean: Mean, text: str, kind: str = "cell") -> str:
    return (
        f'<button type="button" class="{kind}" data-source="{sources.number(mean)}" '
        f'aria-haspopup="dialog">{text}</button>'
    )


def _card(question: str, answer: str, detail: str, kind: str = "") -> str:
    return (
        f'<div class="card {kind}"><dt>{question}</dt>'
        f"<dd><strong>{answer}</strong><span>{detail}</span></dd></div>"
    )


def _best_published() -> dict[Place, tuple[str, float]]:
    """The best of the paper's methods at each place, with its PSNR."""
    rows = read_published().sort_values("psnr_db")
    return {Place(r.dataset, r.scale): (r.method, r.psnr_db) for r in rows.itertuples()}


def _answer(
    summary: Summary, sources: Sources, place: Place, paper: dict[Place, tuple[str, float]]
) -> str:
    """The panel of a place: five questions answered, the ranking, and the plots of cost."""
    ranking = summary.ranking(place)
    shown = "" if place == _default_place(summary) else " hidden"
    parts = [f'<div class="answer" data-place="{escaped(_place_id(place))}"{shown}>']
    if ranking:
        parts += _cards(summary, sources, place, paper)
    else:
        parts.append("<p>No solver has finished all images here yet.</p>")
    parts += [_ranking(summary, sources, place), _costs(summary, place), "</div>"]
    return "".join(parts)


def _cards(
    summary: Summary, sources: Sources, place: Place, paper: dict[Place, tuple[str, float]]
) -> list[str]:
    best, *others = summary.ranking(place)
    images = f"{best.images} image{'s' if best.images != 1 else ''}"
    cards = [
        _card(
            f"Best on {escaped(place)}",
            escaped(best.solver),
            f"{best.psnr_db:.2f} dB, SSIM {best.ssim:.4f}; mean of {images}",
        )
    ]
    if others:
        second = others[0]
        found = summary.difference(place, best.solver, second.solver)
        name = escaped(second.solver)
        cards.append(
            _card("By how much?", f"{decibels(found.mean_db)} dB", f"over {name}, the second best")
        )
        won = f"better on {found.won} of {found.images} images"
        if found.low_db is None or found.high_db is None:
            answer, kind = "Too few images", "few"
            detail = f"{won}; an interval needs {LEAST_IMAGES}, this set has {found.images}"
        else:
            spread = f"95 % interval {decibels(found.low_db)} to {decibels(found.high_db)} dB"
            tie = found.verdict == TIE
            answer, kind = ("No: a tie", "tie") if tie else ("Yes", "sure")
            detail = f"{spread}; {won}"
        cards.append(_card("More than chance?", answer, detail, kind))
        faster = f"; {name}: {two_digits(second.seconds)} s"
    else:
        faster = ""
    facts = sources.of(best)["facts"]
    machine = facts["Machine"].split(",")[0]
    cards.append(
        _card(
            "How long?",
            f"{two_digits(best.seconds)} s an image",
            f"on {escaped(machine or 'an unknown machine')}{faster}",
        )
    )
    weights = summary.rows[summary.rows.solver == best.solver].weights_sha256.iloc[0]
    came = f"weights {weights[:8]}" if weights else "nothing trained"
    cards.append(
        _card(
            "From where?",
            _source_button(sources, best, escaped(came), "link"),
            f"version {escaped(facts['Code version'])}, line {best.protocol}; "
            "press for machine and command",
        )
    )
    remarks_here = []
    if place in paper and best.images == PUBLISHED_IMAGES.get(place.dataset):
        name, psnr_db = paper[place]
        gap = round(best.psnr_db - psnr_db, 2)
        remarks_here.append(
            f"The paper's best here is {escaped(name)} with {psnr_db:.2f} dB, as published: ours "
            f"is {abs(gap):.2f} dB {'above' if gap > 0 else 'below'}."
        )
    if others and others[0].protocol != best.protocol:
        remarks_here.append(
            f"{escaped(best.solver)} is scored on line {best.protocol}, "
            f"{escaped(others[0].solver)} on line {others[0].protocol}: their low-resolution "
            "images differ, as in the paper."
        )
    remark = f'<p class="remark">{" ".join(remarks_here)}</p>' if remarks_here else ""
    return [f'<dl class="cards">{"".join(cards)}</dl>{remark}']


_RANKING_HEADS = (
    ("#", "number"),
    ("Solver", "text"),
    ("PSNR (dB)", "number"),
    ("SSIM", "number"),
    ("Behind the best (dB), 95 % interval", "number"),
    ("Beats it on", "number"),
    ("Seconds an image", "number"),
    ("Multiply-adds", "number"),
)


def _sortable_head(text: str, column: int, kind: str = "number", pressed: str = "none") -> str:
    return (
        f'<th scope="col" aria-sort="{pressed}"><button type="button" class="sort" '
        f'data-column="{column}" data-kind="{kind}">{text}</button></th>'
    )


def _number_cell(value: float | None, text: str, kind: str = "") -> str:
    shown = "" if value is None or not math.isfinite(value) else f"{value:.6g}"
    return f'<td data-value="{shown}"{kind}>{text}</td>'


def _ranking(summary: Summary, sources: Sources, place: Place) -> str:
    ranking = summary.ranking(place)
    partial = [mean for mean in summary.at(place) if not mean.complete]
    best = ranking[0] if ranking else None
    found = {
        mean.solver: summary.difference(place, mean.solver, ranking[0].solver)
        for mean in ranking[1:]
    }
    least = min((difference.mean_db for difference in found.values()), default=-1.0)
    heads = "".join(
        _sortable_head(text, column, kind, "ascending" if column == 0 else "none")
        for column, (text, kind) in enumerate(_RANKING_HEADS)
    )
    rows = []
    for number, mean in enumerate([*ranking, *partial], start=1):
        ranked = mean.complete
        cells = [
            _number_cell(number, str(number) if ranked else "–"),
            f'<th scope="row"><span class="dot {family(mean.solver)}"></span>'
            f"{escaped(mean.solver)}</th>",
        ]
        if not mean.images:
            why = escaped(" ".join(mean.reasons) or "Not computed.")
            cells.append(f'<td colspan="6" class="why">{why}</td>')
            rows.append(f'<tr class="partial">{"".join(cells)}</tr>')
            continue
        part = "" if ranked else f" <i>{mean.images} of {mean.expected} images</i>"
        cells.append(
            _number_cell(
                mean.psnr_db, _source_button(sources, mean, f"<b>{mean.psnr_db:.2f}</b>{part}")
            )
        )
        cells.append(_number_cell(mean.ssim, f"{mean.ssim:.4f}"))
        if mean is best:
            cells += [_number_cell(0.0, '<span class="chip best">best</span>'), "<td></td>"]
        elif ranked:
            difference = found[mean.solver]
            tie = ' <span class="chip tie">tie</span>' if difference.verdict == TIE else ""
            bounds = ""
            if difference.low_db is not None and difference.high_db is not None:
                low, high = decibels(difference.low_db), decibels(difference.high_db)
                bounds = f"<small>[{low}, {high}]</small>"
            line = interval(difference.mean_db, difference.low_db, difference.high_db, least)
            text = f"{line}<span>{decibels(difference.mean_db)} {bounds}{tie}</span>"
            cells.append(_number_cell(difference.mean_db, text, ' class="behind"'))
            cells.append(_number_cell(difference.won, f"{difference.won} of {difference.images}"))
        else:
            cells += ["<td></td>", "<td></td>"]
        cells.append(_number_cell(mean.seconds, two_digits(mean.seconds)))
        cells.append(_number_cell(mean.operations, engineering(mean.operations)))
        rows.append(f"<tr{'' if ranked else ' class=partial'}>{''.join(cells)}</tr>")
    caption = f"All solvers on {escaped(place)}"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="sortable ranking"><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _costs(summary: Summary, place: Place) -> str:
    """PSNR against seconds and against multiply-adds."""
    means = [mean for mean in summary.at(place) if mean.complete]
    drawings = []
    for title, axis, cost, text, tick in (
        (
            "PSNR against time",
            "seconds an image (solver's own time)",
            lambda mean: mean.seconds,
            lambda value: f"{two_digits(value)} s",
            lambda value: f"{value:g}",
        ),
        (
            "PSNR against arithmetic",
            "multiply-adds an image",
            lambda mean: mean.operations,
            lambda value: f"{engineering(value)} multiply-adds",
            engineering,
        ),
    ):
        points = [
            Point(
                mean.solver,
                cost(mean),
                mean.psnr_db,
                family(mean.solver),
                f"{mean.solver}: {mean.psnr_db:.2f} dB, {text(cost(mean))}",
            )
            for mean in means
            if cost(mean) > 0 and math.isfinite(mean.psnr_db)
        ]
        if points:
            drawn = scatter(points, axis, tick, f"{title} on {place}")
            drawings.append(
                f'<figure class="plot"><figcaption><h3>{title}</h3></figcaption>'
                f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">{drawn}</div>'
                "</figure>"
            )
    if not drawings:
        return ""
    legend = (
        '<p class="legend"><span class="dot classical"></span>convolutional sparse coding '
        '<span class="dot learned"></span>trained networks <span class="dot other"></span>other; '
        "line: nothing is both better and cheaper</p>"
    )
    return f'<div class="plots">{"".join(drawings)}</div>{legend}'


# The tables of the paper


def _table_cell(table: Table, sources: Sources, place: Place, column: Column) -> str:
    figures = table.figures(place, column)
    texts = []
    for which, digits in enumerate((2, 4)):
        if figures is None:
            break
        text = f"{figures[which]:.{digits}f}"
        rank = table.rank(place, column, which)
        text = f"<b>{text}</b>" if rank == 1 else f"<u>{text}</u>" if rank == 2 else text
        texts.append(f"<span>{text}</span>")
    value = figures[0] if figures else None
    if column.published:
        return _number_cell(value, "".join(texts) or "–")
    mean = table.mean(place, column)
    beside = table.beside(mean)
    if beside and figures:
        texts.append(f"<em>({difference_text(figures[0], beside[0], 2)})</em>")
    if mean.images and not mean.complete:
        texts.append(f"<i>{mean.images} of {mean.expected}</i>")
    return _number_cell(value, _source_button(sources, mean, "".join(texts) or "–"))


def _table(table: Table, sources: Sources) -> str:
    """Methods down, so that they can be sorted; data sets and scales across."""
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in table.places:
        groups.setdefault((place.dataset, place.degradation), []).append(place)
    places = [place for members in groups.values() for place in members]
    over = "".join(
        f'<th scope="colgroup" colspan="{len(members)}">{escaped(" ".join(name).strip())}</th>'
        for name, members in groups.items()
    )
    heads = _sortable_head("Method", 0, "text") + "".join(
        _sortable_head(f"×{place.scale}", column) for column, place in enumerate(places, start=1)
    )
    rows = []
    for column in table.columns:
        kind = ' class="published"' if column.published else ""
        label = " <small>published</small>" if column.published else ""
        cells = "".join(_table_cell(table, sources, place, column) for place in places)
        rows.append(f'<tr{kind}><th scope="row">{escaped(column.name)}{label}</th>{cells}</tr>')
    return (
        f'<section class="table" id="{table.name}"><h3>{escaped(table.title)}</h3>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(table.title)}">'
        f'<table class="sortable quality"><thead><tr><td></td>{over}</tr><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _files(summary: Summary) -> str:
    """The tables for a paper, to be copied."""
    names = {".md": "Markdown", ".csv": "CSV", ".tex": "LaTeX"}
    parts = []
    for name, text in written_tables(summary).items():
        kind = names[Path(name).suffix]
        parts.append(
            f'<details class="file"><summary>{escaped(name)} <small>{kind}</small></summary>'
            '<button type="button" class="copy">Copy</button>'
            f"<pre>{escaped(text)}</pre></details>"
        )
    return "".join(parts)


# Figures


def _data_address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _figures(figures: Iterable[Figure]) -> str:
    parts = []
    for figure in figures:
        title, caption = FIGURES.get(figure.name, (figure.name, ""))
        origin = f" ({escaped(figure.origin)})" if figure.origin else ""
        address = _data_address("image/png", figure.png)
        drawn = f'<img src="{address}" alt="{escaped(title)}. {escaped(caption)}">'
        data = ""
        if figure.csv:
            address = _data_address("text/csv", figure.csv.encode())
            data = (
                f'<a download="{escaped(figure.name)}.csv" href="{address}">the numbers, as CSV</a>'
            )
        parts.append(
            f'<figure class="picture" id="{escaped(figure.name)}"><h3>{escaped(title)}</h3>'
            f"{drawn}<figcaption>{escaped(caption)}{origin} {data}</figcaption></figure>"
        )
    return "".join(parts)


# What page.js needs


def _data(summary: Summary, sources: Sources) -> dict[str, Any]:
    """Per-image figures and all pairs, for the differences; sources, for the cells."""
    places = []
    for place, rows in summary.rows.groupby(list(Place._fields), sort=False):
        place = Place(place[0], int(place[1]), place[2])
        images = list(dict.fromkeys(rows.image))
        psnr_db = {}
        for solver, cell in rows.groupby("solver", sort=False):
            scored = dict(zip(cell.image, cell.psnr_db, strict=True))
            psnr_db[solver] = [_rounded(scored[image]) for image in images]
        pairs = {}
        for (solver, other), d in summary.differences[place].items():
            if d.images:
                figures = (d.mean_db, d.spread_db, d.low_db, d.high_db)
                pairs[f"{solver}|{other}"] = [d.images, d.won, d.lost, *map(_rounded, figures)]
        places.append(
            {
                "id": _place_id(place),
                "title": str(place),
                "images": images,
                "psnr": psnr_db,
                "pairs": pairs,
            }
        )
    return {
        "solvers": summary.solvers,
        "leastImages": LEAST_IMAGES,
        "places": places,
        "sources": sources.rows,
    }


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, 5)


def _pictures(summary: Summary, results: Results) -> list[dict[str, Any]]:
    """The showcase images of which the database holds the truth, with the solvers' pictures."""
    shown = []
    for case in summary.run["plan"].get("showcases", []):
        box, scale = case["box"], case["scale"]
        truth = results.picture(truth_key(case["input_sha256"], scale), box)
        if truth is None:
            continue
        pictures = []
        for identity in summary.run["plan"]["solvers"]:
            key = Key(**identity, input_sha256=case["input_sha256"], scale=scale)
            png = results.picture(key, box)
            row = results.find(key, case["dataset"], case["image"])
            if png is not None and row is not None:
                pictures.append(
                    {
                        "solver": identity["solver"],
                        "psnr": _rounded(row.psnr_db),
                        "png": base64.b64encode(png).decode("ascii"),
                    }
                )
        shown.append(
            {
                "title": f"{case['dataset']}/{case['image']} ×{scale}",
                "height": box[2],
                "width": box[3],
                "truth": base64.b64encode(truth).decode("ascii"),
                "pictures": pictures,
            }
        )
    return shown


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _made(summary: Summary) -> Sequence[str]:
    notes = [f"<li>{escaped(sentence)}</li>" for sentence in remarks(summary)]
    notes += [f"<li>{escaped(reason)}</li>" for reason in notes_of(summary)]
    return notes


def page_of(summary: Summary, results: Results) -> str:
    """The page of a summary; figures and pictures come from the same database."""
    sources = Sources(summary, results.commands())
    tables, paper = make_tables(summary), _best_published()
    pictures = _pictures(summary, results)
    plan = summary.run["plan"]
    kept = results.figures()
    figures = [kept[name] for name in FIGURES if name in kept]
    figures += [figure for name, figure in kept.items() if name not in FIGURES]
    finished = summary.run["finished"]
    state = f"finished {finished}" if finished else "cut off before its end"
    what = (
        f"{len(summary.solvers)} solvers, {', '.join(plan['datasets'])}, "
        f"{', '.join(f'×{scale}' for scale in plan['scales'])}"
    )
    template = Template((_HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        what=escaped(what),
        state=escaped(state.replace("T", " ").replace("+00:00", " UTC")),
        picker=_picker(summary),
        answers="".join(_answer(summary, sources, place, paper) for place in summary.places),
        no_pictures="" if pictures else "hidden",
        tables="".join(_table(table, sources) for table in tables),
        best=escaped(BEST),
        files=_files(summary),
        no_figures="" if figures else "hidden",
        figures=_figures(figures),
        made="".join(_made(summary)),
        command=escaped(summary.run["command"]),
        data=_script_json(_data(summary, sources)),
        pictures=_script_json(pictures),
    )
