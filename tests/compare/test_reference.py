"""A comparison that was really run gives its tables byte for byte.

`reference/` holds the rows and the plan of a run over Set5 and demo (five solvers, three scales,
one degradation), and the tables that were made of it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cscsr.compare.records import Key, Row
from cscsr.compare.results import Results
from cscsr.compare.summary import summarise
from cscsr.compare.tables import write_tables

REFERENCE = Path(__file__).with_name("reference")
NUMBERS = ("seconds", "prepare_seconds", "operations", "memory_mb")


def build(path: Path) -> Results:
    """A database of the reference rows, made by the calls that a run makes."""
    run = json.loads((REFERENCE / "run.json").read_text(encoding="utf-8"))
    plan = run["plan"]
    hashes = {
        (name, image["image"]): image["input_sha256"]
        for name, images in plan["datasets"].items()
        for image in images
    }
    identities = {identity["solver"]: identity for identity in plan["solvers"]}
    results = Results(path)
    number = results.start_run(run["command"], run["machine"], plan)
    with (REFERENCE / "rows.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = row["dataset"], row["image"]
            identity, degradation = identities[row["solver"]], row["degradation"]
            key = Key.of(identity, hashes[place], int(row["scale"]), degradation)
            assert key.line == row["line"]
            if row["outcome"] != "scored":
                results.add(
                    Row(key, *place, row["outcome"], message=row["message"], time=row["time"])
                )
                continue
            numbers = {name: float(row[name]) if row[name] else None for name in NUMBERS}
            iterations = int(row["iterations"]) if row["iterations"] else None
            results.add(
                Row(
                    key,
                    *place,
                    row["outcome"],
                    {"psnr": float(row["psnr_db"]), "ssim": float(row["ssim"])},
                    **numbers,
                    iterations=iterations,
                    status=row["status"],
                    time=row["time"],
                    **{**run["scored"], "run": number},
                )
            )
    results.finish_run(number)
    return results


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference")
    with build(out / "results.sqlite") as results:
        write_tables(summarise(results), out)
    return out


@pytest.mark.parametrize("kind", ["md", "csv", "tex"])
@pytest.mark.parametrize("name", ["table1", "differences", "degraded"])
def test_the_reference_run_gives_its_tables_byte_for_byte(written, name, kind):
    file = f"{name}.{kind}"
    assert (written / file).read_text(encoding="utf-8") == (REFERENCE / file).read_text(
        encoding="utf-8"
    )
