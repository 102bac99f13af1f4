"""The first section of the page: the best solver at each place, the ranking, and the costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from cscsr.compare.differences import FEW, LEAST_IMAGES, TIE, Difference
from cscsr.compare.page.elements import (
    escaped,
    number_cell,
    place_id,
    sortable_head,
    source_button,
)
from cscsr.compare.page.plots import Point, interval, scatter
from cscsr.compare.page.sources import Sources
from cscsr.compare.published import PAPER, PUBLISHED_IMAGES, family, read_published
from cscsr.compare.summary import BUSY_MARK, Mean, Place, Summary, seconds_text
from cscsr.compare.text import decibels, engineering


def default_place(summary: Summary) -> Place:
    """Return B100 at ×3 if it was measured, else the largest data set at the scale nearest to 3."""
    images = {
        place: summary.at(place)[0].expected
        for place in summary.places
        if not place.degradation and summary.asks(place)
    }
    return max(
        images,
        key=lambda p: (p.dataset == "B100", images[p], -abs(p.scale - 3), p.scale),
    )


def picker(summary: Summary) -> str:
    """Return radio buttons for data set, scale and input."""
    default = default_place(summary)
    plan = summary.run["plan"]
    groups = [
        ("dataset", "Data set", [(name, name) for name in plan["datasets"]]),
        ("scale", "Scale", [(scale, f"×{scale}") for scale in plan["scales"]]),
        ("degradation", "Input", [(d, d or "original") for d in plan.get("degradations", [""])]),
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


def answers(summary: Summary, sources: Sources) -> str:
    """Return the panels of all places; only that of the default place is visible."""
    rows = read_published().sort_values("psnr_db")
    rows = rows[rows.source == PAPER]
    paper = {Place(r.dataset, r.scale): (r.method, r.psnr_db) for r in rows.itertuples()}
    return "".join(_panel(summary, sources, place, paper) for place in summary.places)


Paper = Mapping[Place, tuple[str, float]]
"""The best of the paper's methods at each place, with its PSNR."""


def _panel(summary: Summary, sources: Sources, place: Place, paper: Paper) -> str:
    """The panel of a place: five questions answered, the ranking, and the plots of cost."""
    ranking = summary.ranking(place)
    hidden = "" if place == default_place(summary) else " hidden"
    parts = [f'<div class="answer" data-place="{escaped(place_id(place))}"{hidden}>']
    if ranking:
        cards = "".join(_cards(summary, sources, place))
        parts.append(f'<dl class="cards">{cards}</dl>{_remarks(ranking, paper)}')
    elif any(mean.complete and mean.left_out for mean in summary.at(place)):
        parts.append(
            "<p>No solver is ranked here: each image is restored without any error by one of "
            "them.</p>"
        )
    elif not summary.asks(place):
        parts.append("<p>This has not been compared; see the command at the end of the page.</p>")
    else:
        parts.append("<p>No solver has finished all images of this data set yet.</p>")
    parts += [_ranking(summary, sources, place), _costs(summary, place), "</div>"]
    return "".join(parts)


def _card(question: str, answer: str, detail: str, kind: str = "") -> str:
    """A question with its answer."""
    return (
        f'<div class="card {kind}"><dt>{question}</dt>'
        f"<dd><strong>{answer}</strong><span>{detail}</span></dd></div>"
    )


def _cards(summary: Summary, sources: Sources, place: Place) -> list[str]:
    """Cards: the best solver, its lead, whether chance explains it, its time, and its origin."""
    best, *others = summary.ranking(place)
    scores = ", ".join(
        f"{metric.label} {best.scores[metric.name]:.{metric.digits}f}"
        for metric in summary.metrics
        if metric.name in best.scores and metric.name != "psnr"
    )
    quality = ", ".join(filter(None, [f"{best.psnr_db:.2f} dB", scores]))
    count = best.images - best.left_out
    images = f"{count} image{'s' if count != 1 else ''}"
    if best.left_out:
        images += f", {best.left_out} of {best.images} left out as a solver makes no error there"
    cards = [
        _card(f"Best on {escaped(place)}", escaped(best.solver), f"{quality}; mean of {images}")
    ]
    faster = ""
    if others:
        second = others[0]
        name = escaped(second.solver)
        difference = summary.difference(place, best.solver, second.solver)
        gap = f"{decibels(difference.mean_db)} dB"
        cards += [
            _card("By how much?", gap, f"ahead of {name}, the second best"),
            _chance(difference),
        ]
        faster = f"; {name}: {seconds_text(second)} s"
        if best.busy or second.busy:
            faster += f". {BUSY_MARK} too long: the machine was busy"
    facts = sources.of(best)["facts"]
    machine = facts["Machine"].split(",")[0]
    weights = summary.rows[summary.rows.solver == best.solver].weights_sha256.iloc[0]
    origin = escaped(f"weights {weights[:8]}" if weights else "no trained weights")
    return [
        *cards,
        _card(
            "How long does it take?",
            f"{seconds_text(best)} s per image",
            f"on {escaped(machine or 'an unknown machine')}{faster}",
        ),
        _card(
            "Where does it come from?",
            source_button(sources, best, origin, "link"),
            f"version {escaped(facts['Code version'])}, line {best.line}; "
            "click for machine and command",
        ),
    ]


def _chance(difference: Difference) -> str:
    """The card that says whether a difference may be due to chance."""
    won = f"better on {difference.won} of {difference.images} images"
    if difference.verdict == FEW or difference.low_db is None or difference.high_db is None:
        answer, kind = "Too few images", "few"
        detail = f"{won}; an interval needs at least {LEAST_IMAGES}"
    else:
        low, high = decibels(difference.low_db), decibels(difference.high_db)
        answer, kind = ("No: a tie", "tie") if difference.verdict == TIE else ("Yes", "sure")
        detail = f"95 % interval {low} to {high} dB; {won}"
    return _card("More than chance?", answer, detail, kind)


def _remarks(ranking: list[Mean], paper: Paper) -> str:
    """How the best compares with the paper's best, and whether the second had the same input."""
    best, place = ranking[0], ranking[0].place
    sentences = []
    if place in paper and not best.left_out and best.images == PUBLISHED_IMAGES.get(place.dataset):
        name, psnr_db = paper[place]
        gap = round(best.psnr_db - psnr_db, 2)
        sentences.append(
            f"The best published result of the paper here is {escaped(name)} with "
            f"{psnr_db:.2f} dB; ours is {abs(gap):.2f} dB {'above' if gap > 0 else 'below'}."
        )
    if len(ranking) > 1 and ranking[1].line != best.line:
        sentences.append(
            f"{escaped(best.solver)} is scored on line {best.line}, "
            f"{escaped(ranking[1].solver)} on line {ranking[1].line}: their low-resolution "
            "images differ, as in the paper."
        )
    return f'<p class="remark">{" ".join(sentences)}</p>' if sentences else ""


def _ranking(summary: Summary, sources: Sources, place: Place) -> str:
    """All solvers at a place, the best first."""
    ranking = summary.ranking(place)
    behind = {
        mean.solver: summary.difference(place, mean.solver, ranking[0].solver)
        for mean in ranking[1:]
    }
    least = min((difference.mean_db for difference in behind.values()), default=-1.0)
    heads = [
        ("#", "number"),
        ("Solver", "text"),
        *((metric.heading, "number") for metric in summary.metrics),
        ("Behind the best (dB), 95 % interval", "number"),
        ("Beats it on", "number"),
        ("Seconds per image", "number"),
        ("Multiply-adds", "number"),
    ]
    headings = "".join(
        sortable_head(text, column, kind, "ascending" if column == 0 else "none")
        for column, (text, kind) in enumerate(heads)
    )
    rows = []
    for number, mean in enumerate([*ranking, *summary.unranked(place)], start=1):
        ranked = number <= len(ranking)
        first = number_cell(number, str(number) if ranked else "–")
        first += f'<th scope="row"><span class="dot {family(mean.solver)}"></span>'
        first += f"{escaped(mean.solver)}</th>"
        if mean.images:
            cells = _scores(summary, sources, mean)
            cells += _behind(behind.get(mean.solver), least) if ranked else ["<td></td>"] * 2
            cells.append(number_cell(mean.seconds, seconds_text(mean)))
            cells.append(number_cell(mean.operations, engineering(mean.operations)))
            kind = "" if mean.complete else " class=partial"
        else:
            why = escaped(" ".join(mean.reasons) or "Not computed.")
            cells = [f'<td colspan="{len(heads) - 2}" class="why">{why}</td>']
            kind = ' class="partial"'
        rows.append(f"<tr{kind}>{first}{''.join(cells)}</tr>")
    caption = f"All solvers on {escaped(place)}"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="sortable ranking"><caption>{caption}</caption>'
        f"<thead><tr>{headings}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _scores(summary: Summary, sources: Sources, mean: Mean) -> list[str]:
    """The cells of a mean's metrics; PSNR shows where it came from."""
    cells = []
    for metric in summary.metrics:
        value = mean.scores.get(metric.name)
        text = "–" if value is None else f"{value:.{metric.digits}f}"
        if metric.name == "psnr":
            part = "" if mean.complete else f" <i>{mean.images} of {mean.expected} images</i>"
            part += f" <i>exact on {mean.exact}</i>" if mean.exact else ""
            text = source_button(sources, mean, f"<b>{text}</b>{part}")
        cells.append(number_cell(value, text))
    return cells


def _behind(difference: Difference | None, least: float) -> list[str]:
    """The cells on how far a solver is behind the best and how often it wins; None: the best."""
    if difference is None:
        return [number_cell(0.0, '<span class="chip best">best</span>'), "<td></td>"]
    tie = ' <span class="chip tie">tie</span>' if difference.verdict == TIE else ""
    bounds = ""
    if difference.low_db is not None and difference.high_db is not None:
        low, high = decibels(difference.low_db), decibels(difference.high_db)
        bounds = f"<small>[{low}, {high}]</small>"
    line = interval(difference.mean_db, difference.low_db, difference.high_db, least)
    text = f"{line}<span>{decibels(difference.mean_db)} {bounds}{tie}</span>"
    return [
        number_cell(difference.mean_db, text, ' class="behind"'),
        number_cell(difference.won, f"{difference.won} of {difference.images}"),
    ]


_LEGEND = (
    '<p class="legend"><span class="dot classical"></span>convolutional sparse coding '
    '<span class="dot learned"></span>trained networks <span class="dot other"></span>other; '
    "line: no solver is both better and cheaper than these</p>"
)


def _costs(summary: Summary, place: Place) -> str:
    """PSNR against seconds and against multiply-adds."""
    means = [m for m in summary.at(place) if m.complete and not math.isnan(m.psnr_db)]
    time = _cost_plot(
        f"PSNR against time on {place}",
        "seconds per image (the solver's own time)",
        [(m, m.seconds, f"{seconds_text(m)} s") for m in means],
        "{:g}".format,
    )
    arithmetic = _cost_plot(
        f"PSNR against arithmetic on {place}",
        "multiply-adds per image",
        [
            (mean, mean.operations, f"{engineering(mean.operations)} multiply-adds")
            for mean in means
        ],
        engineering,
    )
    drawings = time + arithmetic
    busy = sorted({m.solver for m in means if m.busy}, key=summary.solvers.index)
    remark = ""
    if busy:
        remark = (
            f'<p class="remark">{BUSY_MARK} The machine was busy with other work while these were '
            f"timed, so that their seconds are too long: {escaped(', '.join(busy))}.</p>"
        )
    return f'<div class="plots">{drawings}</div>{_LEGEND}{remark}' if drawings else ""


def _cost_plot(
    title: str,
    axis: str,
    costs: list[tuple[Mean, float, str]],
    tick_text: Callable[[float], str],
) -> str:
    """PSNR against one cost; "" without points. `costs` holds (mean, cost, cost in words) of each
    solver."""
    points = [
        Point(
            mean.solver,
            cost,
            mean.psnr_db,
            family(mean.solver),
            f"{mean.solver}: {mean.psnr_db:.2f} dB, {words}",
        )
        for mean, cost, words in costs
        if cost > 0 and math.isfinite(mean.psnr_db)
    ]
    if not points:
        return ""
    heading = title.partition(" on ")[0]
    drawings = (scatter(points, axis, tick_text, title, narrow) for narrow in (False, True))
    return (
        f'<figure class="plot"><figcaption><h3>{heading}</h3></figcaption>'
        f"{''.join(drawings)}</figure>"
    )
