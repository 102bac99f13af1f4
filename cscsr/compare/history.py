"""What the tables show: the selection of the latest run, and those of earlier runs beside it.

A folder of results holds the plans of all its runs. A run with fewer scales, data sets or solvers
leaves what earlier runs compared in the tables, unless its plan says that it stands alone.
Needs the standard library.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALONE = "alone"
"""The entry of a plan that leaves earlier runs out of the tables."""

Asked = tuple[str, int, str, str]
"""Data set, scale, degradation and solver."""


@dataclass(frozen=True)
class Selection:
    """What the tables show.

    Attributes
    ----------
    plan
        A plan (`cscsr.compare.plan.Plan.as_dict`) with the data sets, scales, degradations and
        solvers of all the runs.
    asked
        What one of the runs asked for, of all combinations in the plan.
    runs
        The numbers of the runs, the latest first.
    """

    plan: dict[str, Any]
    asked: frozenset[Asked]
    runs: tuple[int, ...]


def select(plans: Sequence[tuple[int, Mapping[str, Any]]], most_shown: int) -> Selection:
    """Merge the plans of a folder's runs.

    Earlier runs count as far as they are of the latest one's protocol. Of a solver, and of the
    images of a data set, the newest version counts, and what was asked for with an older one is
    left out.

    Parameters
    ----------
    plans
        The number and the plan of each run, the latest first.
    most_shown
        The most showcase images.
    """
    (number, latest), *earlier = plans
    chosen = [(number, latest)]
    if not latest.get(ALONE):
        chosen += [(n, plan) for n, plan in earlier if plan.get("protocol") == latest["protocol"]]
    plan = dict(latest)
    datasets: dict[str, Any] = {}
    solvers: dict[str, Any] = {}
    shown: dict[tuple[Any, ...], Any] = {}
    left_out: dict[tuple[Any, ...], Any] = {}
    for _, one in chosen:
        for name, images in one["datasets"].items():
            datasets.setdefault(name, images)
        for solver in one["solvers"]:
            solvers.setdefault(solver["solver"], solver)
        for case in one.get("showcases", []):
            shown.setdefault((case["dataset"], case["image"], case["scale"]), case)
        for image in one.get("left_out", []):
            left_out.setdefault((image["dataset"], image["image"]), image)
    asked: dict[Asked, int] = {}
    for run, one in chosen:
        for cell in _asked(one, datasets, solvers):
            asked.setdefault(cell, run)
    plan |= {
        "datasets": datasets,
        "scales": sorted(_distinct(one["scales"] for _, one in chosen)),
        "solvers": list(solvers.values()),
        "degradations": _distinct(one.get("degradations", [""]) for _, one in chosen),
        "showcases": list(shown.values())[:most_shown],
        "left_out": list(left_out.values()),
    }
    if len(chosen) == 1:
        plan["scales"] = list(latest["scales"])
    runs = [run for run, _ in chosen if run == number or run in set(asked.values())]
    return Selection(plan, frozenset(asked), tuple(runs))


def is_sound(plan: Any) -> bool:
    """Whether an earlier run's plan can be read."""
    try:
        datasets, solvers = plan["datasets"], {one["solver"]: one for one in plan["solvers"]}
        cells = list(_asked(plan, datasets, solvers))
        shown = [case["box"] for case in plan.get("showcases", [])]
        named = [image["image"] for image in plan.get("left_out", [])]
        members = [image["input_sha256"] for images in datasets.values() for image in images]
    except (KeyError, TypeError, AttributeError):
        return False
    return all(isinstance(scale, int) for _, scale, _, _ in cells) and all(
        isinstance(found, list) for found in (shown, named, members)
    )


def _asked(
    plan: Mapping[str, Any], datasets: Mapping[str, Any], solvers: Mapping[str, Any]
) -> Iterator[Asked]:
    """What a plan asks for of these images and these versions of the solvers."""
    same_images = [name for name, images in plan["datasets"].items() if images == datasets[name]]
    same_solvers = [s["solver"] for s in plan["solvers"] if s == solvers[s["solver"]]]
    yield from itertools.product(
        same_images, plan["scales"], plan.get("degradations", [""]), same_solvers
    )


def _distinct(groups: Iterable[Iterable[Any]]) -> list[Any]:
    return list(dict.fromkeys(itertools.chain.from_iterable(groups)))
