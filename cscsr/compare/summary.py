"""What a run found: means over the images of a data set, ranks, and differences between solvers.

Made from the results database alone. Needs pandas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from cscsr.compare.differences import Difference, pairwise
from cscsr.compare.results import FAILED, SCORED, UNSUPPORTED, Key, Results

if TYPE_CHECKING:
    import pandas as pd
from cscsr.compare.published import PUBLISHED_IMAGES, PUBLISHED_LINE, published_beside

DEGRADED_LINE = "rgb"
"""The line on which degraded input is scored, whatever the protocol: noise and JPEG are things
of an 8-bit image file, and every solver is given the same."""


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
            and self.protocol == PUBLISHED_LINE.get(method)
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
