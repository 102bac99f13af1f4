"""The answer at the top of the page: the best solver at each place, the ranking, the cost."""

from __future__ import annotations

import math

from cscsr.compare.differences import LEAST_IMAGES, TIE
from cscsr.compare.grid import (
    decibels,
    two_digits,
)
from cscsr.compare.page.plots import Point, interval, scatter
from cscsr.compare.page.sources import (
    Sources,
    engineering,
    escaped,
    family,
    number_cell,
    place_id,
    sortable_head,
    source_button,
)
from cscsr.compare.published import PUBLISHED_IMAGES, read_published
from cscsr.compare.summary import Place, Summary


def default_place(summary: Summary) -> Place:
    """B100 at ×3 if it was measured, else the largest data set at the scale nearest to 3."""
    images = {place: summary.at(place)[0].expected for place in summary.lines}
    return max(
        images,
        key=lambda p: (p.dataset == "B100", images[p], -abs(p.scale - 3), p.scale),
    )


def picker(summary: Summary) -> str:
    """Radio buttons for data set, scale and input."""
    default = default_place(summary)
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


def _card(question: str, answer: str, detail: str, kind: str = "") -> str:
    return (
        f'<div class="card {kind}"><dt>{question}</dt>'
        f"<dd><strong>{answer}</strong><span>{detail}</span></dd></div>"
    )


def best_published() -> dict[Place, tuple[str, float]]:
    """The best of the paper's methods at each place, with its PSNR."""
    rows = read_published().sort_values("psnr_db")
    return {Place(r.dataset, r.scale): (r.method, r.psnr_db) for r in rows.itertuples()}


def answer_panel(
    summary: Summary, sources: Sources, place: Place, paper: dict[Place, tuple[str, float]]
) -> str:
    """The panel of a place: five questions answered, the ranking, and the plots of cost."""
    ranking = summary.ranking(place)
    shown = "" if place == default_place(summary) else " hidden"
    parts = [f'<div class="answer" data-place="{escaped(place_id(place))}"{shown}>']
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
            source_button(sources, best, escaped(came), "link"),
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
        sortable_head(text, column, kind, "ascending" if column == 0 else "none")
        for column, (text, kind) in enumerate(_RANKING_HEADS)
    )
    rows = []
    for number, mean in enumerate([*ranking, *partial], start=1):
        ranked = mean.complete
        cells = [
            number_cell(number, str(number) if ranked else "–"),
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
            number_cell(
                mean.psnr_db, source_button(sources, mean, f"<b>{mean.psnr_db:.2f}</b>{part}")
            )
        )
        cells.append(number_cell(mean.ssim, f"{mean.ssim:.4f}"))
        if mean is best:
            cells += [number_cell(0.0, '<span class="chip best">best</span>'), "<td></td>"]
        elif ranked:
            difference = found[mean.solver]
            tie = ' <span class="chip tie">tie</span>' if difference.verdict == TIE else ""
            bounds = ""
            if difference.low_db is not None and difference.high_db is not None:
                low, high = decibels(difference.low_db), decibels(difference.high_db)
                bounds = f"<small>[{low}, {high}]</small>"
            line = interval(difference.mean_db, difference.low_db, difference.high_db, least)
            text = f"{line}<span>{decibels(difference.mean_db)} {bounds}{tie}</span>"
            cells.append(number_cell(difference.mean_db, text, ' class="behind"'))
            cells.append(number_cell(difference.won, f"{difference.won} of {difference.images}"))
        else:
            cells += ["<td></td>", "<td></td>"]
        cells.append(number_cell(mean.seconds, two_digits(mean.seconds)))
        cells.append(number_cell(mean.operations, engineering(mean.operations)))
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
