"""The tables of the page, and the tables' files to copy."""

from __future__ import annotations

from pathlib import Path

from cscsr.compare.grid import Cell, Table
from cscsr.compare.page.elements import escaped, number_cell, sortable_head, source_button
from cscsr.compare.page.sources import Sources
from cscsr.compare.references import bibtex
from cscsr.compare.summary import Place, Summary
from cscsr.compare.tables import latex_rows, written_tables
from cscsr.imaging import METRICS

_RANKS = {1: "<b>{}</b>", 2: "<u>{}</u>"}


def _table_cell(table: Table, sources: Sources, cell: Cell) -> str:
    """A cell with all metrics; a cell of ours is a button that shows their origin."""
    texts = [
        f"<span>{_RANKS.get(cell.ranks.get(metric.name, 0), '{}').format(text)}</span>"
        for metric, text in cell.texts(table.metrics)
    ]
    psnr_db = cell.scores.get("psnr")
    if cell.mean is None:
        return number_cell(psnr_db, "".join(texts) or "–")
    difference = cell.difference(METRICS["psnr"])
    if difference is not None:
        texts.append(f"<em>({difference})</em>")
    if cell.mean.images and not cell.mean.complete:
        texts.append(f"<i>{cell.mean.images} of {cell.mean.expected}</i>")
    if cell.mean.exact:
        texts.append(f"<i>exact on {cell.mean.exact}</i>")
    return number_cell(psnr_db, source_button(sources, cell.mean, "".join(texts) or "–"))


def quality_table(table: Table, sources: Sources) -> str:
    """Return a table as HTML: one row per method, so that methods can be sorted; one column per
    data set and scale."""
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
        cells = "".join(_table_cell(table, sources, table.cells[place, column]) for place in places)
        rows.append(f'<tr{kind}><th scope="row">{escaped(column.name)}{label}</th>{cells}</tr>')
    return (
        f'<section class="table" id="{table.name}"><h3>{escaped(table.title)}</h3>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(table.title)}">'
        f'<table class="sortable quality"><thead><tr><td></td>{over}</tr><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{_copies(table)}</section>"
    )


def _copies(table: Table) -> str:
    """Buttons that copy a table's rows as LaTeX, and its bibliography as BibTeX."""
    texts = {"LaTeX rows": "\n".join(latex_rows(table)) + "\n", "BibTeX": bibtex(table)}
    buttons = "".join(
        f'<div><button type="button" class="copy">Copy {name}</button>'
        f"<pre hidden>{escaped(text)}</pre></div>"
        for name, text in texts.items()
    )
    return f'<div class="copies needs-script">{buttons}</div>'


_KINDS = {".md": "Markdown", ".csv": "CSV", ".tex": "LaTeX"}


def table_files(summary: Summary) -> str:
    """Return the tables' files as text to be copied."""
    return "".join(
        f'<details class="file"><summary>{escaped(name)} <small>{_KINDS[Path(name).suffix]}</small>'
        f'</summary><button type="button" class="copy">Copy</button>'
        f"<pre>{escaped(text)}</pre></details>"
        for name, text in written_tables(summary).items()
    )
