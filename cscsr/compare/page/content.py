"""What the report says, as HTML: the answer first, then all that it rests on.

Everything comes from a `Summary` and the results database. Text from outside (names, messages,
commands) is escaped here; page.js puts what it adds into the page as text only.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from cscsr.compare.differences import LEAST_IMAGES
from cscsr.compare.grid import (
    BEST,
    Column,
    Table,
    difference_text,
    make_tables,
    notes_of,
    remarks,
)
from cscsr.compare.page.answer import answer_panel, best_published, picker
from cscsr.compare.page.sources import (
    Sources,
    escaped,
    number_cell,
    place_id,
    sortable_head,
    source_button,
)
from cscsr.compare.results import Figure, Key, Results, truth_key
from cscsr.compare.summary import Place, Summary
from cscsr.compare.tables import written_tables

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
        return number_cell(value, "".join(texts) or "–")
    mean = table.mean(place, column)
    beside = table.beside(mean)
    if beside and figures:
        texts.append(f"<em>({difference_text(figures[0], beside[0], 2)})</em>")
    if mean.images and not mean.complete:
        texts.append(f"<i>{mean.images} of {mean.expected}</i>")
    return number_cell(value, source_button(sources, mean, "".join(texts) or "–"))


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
    heads = sortable_head("Method", 0, "text") + "".join(
        sortable_head(f"×{place.scale}", column) for column, place in enumerate(places, start=1)
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


def _data(summary: Summary, sources: Sources) -> dict[str, Any]:
    """Per-image figures and all pairs, for the differences; sources, for the cells."""
    places = []
    for place, rows in summary.rows.groupby(list(Place._fields), sort=False):
        place = Place(place[0], int(place[1]), place[2])
        images = list(dict.fromkeys(rows.image))
        psnr_db = {}
        for solver, cell in rows.groupby("solver", sort=False):
            scored = dict(zip(cell.image, cell.psnr_db, strict=True))
            psnr_db[solver] = [rounded(scored[image]) for image in images]
        pairs = {}
        for (solver, other), d in summary.differences[place].items():
            if d.images:
                figures = (d.mean_db, d.spread_db, d.low_db, d.high_db)
                pairs[f"{solver}|{other}"] = [d.images, d.won, d.lost, *map(rounded, figures)]
        places.append(
            {
                "id": place_id(place),
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


def rounded(value: float | None) -> float | None:
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
                        "psnr": rounded(row.psnr_db),
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
    tables, paper = make_tables(summary), best_published()
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
        picker=picker(summary),
        answers="".join(answer_panel(summary, sources, place, paper) for place in summary.places),
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
