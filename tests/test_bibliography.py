"""docs/bibliography.md has a source for every method and data set, and agrees with CITATION.cff."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cscsr import list_solvers
from cscsr.data.sources import SOURCES
from cscsr.networks import architectures
from cscsr.published_weights import PUBLISHED
from cscsr.registry import is_builtin
from cscsr.trained_weights import TRAINED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")


def entries() -> dict[str, dict[str, str]]:
    """The fields of each BibTeX entry, without its braces."""
    (code,) = re.findall(r"^```bibtex\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    fields_of = {}
    for key, body in re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", code, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^  (\w+)\s*= \{(.*)\},?$", body, re.MULTILINE)
        assert len(fields) == len(body.splitlines()), f"{key}: a line that is no field"
        assert key not in fields_of
        fields_of[key] = {name: re.sub(r"[{}]", "", value) for name, value in fields}
    return fields_of


def rows() -> list[list[str]]:
    """The cells of the table, without its head."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_row_has_an_entry_and_every_entry_a_row():
    keys = [key for row in rows() for key in re.findall(r"`(\w+)`", row[2])]
    assert len(keys) == len(set(keys))
    assert set(keys) == entries().keys()


def test_entries_are_complete_and_match_their_keys():
    for key, fields in entries().items():
        assert {"author", "title", "year"} <= fields.keys(), key
        assert {"journal", "booktitle", "url", "note"} & fields.keys(), key
        surname = re.sub(r"[^a-z]", "", fields["author"].partition(",")[0].lower())
        assert key.startswith(surname) and fields["year"] in key, key


def test_rows_name_the_authors_and_years_of_their_entries():
    known = entries()
    for _, source, keys in rows():
        for key in re.findall(r"`(\w+)`", keys):
            assert known[key]["author"].partition(",")[0].replace("\\'a", "á") in source
    years = [
        (row[1], known[key]["year"]) for row in rows() for key in re.findall(r"`(\w+)`", row[2])
    ]
    assert all(year in source for source, year in years if re.search(r"\d{4}", source))


def names() -> str:
    return " ".join(row[0] for row in rows())


@pytest.mark.parametrize(
    "solver", sorted({s for s in list_solvers() if is_builtin(s)} | {*TRAINED})
)
def test_every_solver_has_a_source(solver):
    family = {
        "auto": "active-set",  # or admm, which is a source too
        "csc-ridge": "csc-sr",
        "csc-sr-paper": "csc-sr",
        "crnet-b-tied": "crnet-b-small",
    }
    base = solver.partition("[")[0].removesuffix("+")
    assert f"`{family.get(base, base)}`" in names()


@pytest.mark.parametrize("architecture", architectures())
def test_every_network_has_a_source(architecture):
    name = {"crnet-b-tied": "crnet-b"}.get(architecture, architecture)
    assert re.search(rf"`{name}(\[published\])?`", names())


def test_every_data_set_and_published_network_has_a_source():
    for name in SOURCES:
        assert name.removesuffix("test") in names()
    for name in PUBLISHED:
        assert f"`{name}[published]`" in names()


def test_papers_of_the_citation_file_are_in_it_by_the_same_authors():
    by_title = {re.sub(r"\W", "", fields["title"]).lower(): fields for fields in entries().values()}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for work in citation["references"]:
        fields = by_title[re.sub(r"\W", "", work["title"]).lower()]
        authors = [f"{a['family-names']}, {a['given-names']}" for a in work["authors"]]
        assert fields["author"] == " and ".join(authors)
        assert fields["year"] == str(work["year"])
