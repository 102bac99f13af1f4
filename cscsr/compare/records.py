"""The contents of the results database: keys, rows and figures.

Needs the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

FILE_NAME = "results.sqlite"

SCORED = "scored"
UNSUPPORTED = "unsupported"
FAILED = "failed"

DEGRADED_LINE = "rgb"
"""The line of degraded input under either protocol: noise and JPEG belong to 8-bit image files, and
every solver gets the same file."""


def canonical(values: Mapping[str, Any]) -> str:
    """Return JSON text that is equal for equal values: keys sorted, other objects by their repr."""
    return json.dumps(dict(values), sort_keys=True, default=repr)


@dataclass(frozen=True)
class Key:
    """Everything that determines a result.

    Attributes
    ----------
    solver, solver_version
        The solver's name and version.
    params
        The solver's parameters as `canonical` text.
    weights_sha256
        "" for a solver without trained parameters.
    input_sha256
        The hash of the true image's pixels (`cscsr.compare.plan.fingerprint`).
    scale
        The factor of the enlargement.
    line
        "y" or "rgb".
    degradation
        The degradation of the low-resolution image, such as "noise:5"; "" for none.
    """

    solver: str
    params: str
    solver_version: str
    weights_sha256: str
    input_sha256: str
    scale: int
    line: str
    degradation: str = ""

    @classmethod
    def of(
        cls, identity: Mapping[str, str], input_sha256: str, scale: int, degradation: str = ""
    ) -> Key:
        """Return the key of a result that a plan calls for.

        Parameters
        ----------
        identity
            The solver's part, `Contender.identity`. Degraded input overrides its line with
            `DEGRADED_LINE`.
        input_sha256, scale, degradation
            The remaining attributes.
        """
        line = DEGRADED_LINE if degradation else identity["line"]
        parts = {**identity, "line": line, "degradation": degradation}
        return cls(**parts, input_sha256=input_sha256, scale=scale)


@dataclass(frozen=True)
class Row:
    """The result of one solver on one image at one scale, and how it was computed.

    Attributes
    ----------
    key
        The key of the result.
    dataset, image
        The names under which the image was compared.
    outcome
        `SCORED`; or `UNSUPPORTED` or `FAILED`, with the reason in `message` and no scores, in
        which case the next run tries again.
    scores
        Name of each metric (`cscsr.imaging.METRICS`) to its value.
    seconds, prepare_seconds
        The solver's own time for this image, and for `cscsr.Solver.prepare`.
    processor_seconds, load, busy
        Processor time of the solve, all threads together; the load average per core before it, if
        the system reports one; and whether `seconds` are too long because the machine was busy
        (`cscsr.compare.machine.Conditions`). None in rows of releases that did not measure them.
    iterations
        The number of iterations, for an iterative solver.
    operations
        Multiply-adds of the solve (`cscsr.Solver.operations`).
    status
        How the solve ended (`cscsr.Status`).
    device, threads, precision, machine, code_version
        Where and by which code it was computed.
    memory_mb
        The peak memory during the solve: resident memory of the process, where the system reports
        it, or memory of the GPU.
    time
        When it was computed, in UTC.
    run
        The number of the run that computed it; `Results.commands` has its command.
    """

    key: Key
    dataset: str
    image: str
    outcome: str
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    prepare_seconds: float | None = None
    processor_seconds: float | None = None
    load: float | None = None
    busy: bool | None = None
    iterations: int | None = None
    operations: float | None = None
    status: str = ""
    message: str = ""
    device: str = ""
    threads: int | None = None
    precision: str = ""
    memory_mb: float | None = None
    machine: str = ""
    code_version: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run: int | None = None


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn beside the tables.

    Attributes
    ----------
    name
        The files' name without the suffix, such as "fig5".
    png, csv
        The picture, and the numbers it was drawn from ("" for none).
    origin
        Where the files came from; "" for the run itself.
    """

    name: str
    png: bytes
    csv: str = ""
    origin: str = ""


Box = tuple[int, int, int, int]
"""Part of an image: top row, left column, height, width, in pixels."""


def colour_key(key: Key) -> Key:
    """Return the key under which the colours of a picture are stored beside its luma."""
    return replace(key, solver=f"{key.solver} in colour")


def truth_key(input_sha256: str, scale: int) -> Key:
    """Return the key under which the true luma of an image is stored beside its estimates."""
    return Key("truth", "", "", "", input_sha256, scale, "")
