"""The paper has the form that JOSS asks for, cites what is in its bibliography, and can be built.

Its figures are held to reports/reference by tests/test_figures.py.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "paper"
_, FRONT_MATTER, TEXT = (FOLDER / "paper.md").read_text(encoding="utf-8").split("---\n", 2)
HEAD = yaml.safe_load(FRONT_MATTER)

SECTIONS = [
    "Summary",
    "Statement of need",
    "State of the field",
    "Software design",
    "Research impact statement",
    "How it was made",
    "Acknowledgements",
    "References",
]


def entries(text: str) -> dict[str, str]:
    """The BibTeX entries of a text by their keys."""
    entries = re.finditer(r"^@\w+\{(\w+),\n.*?^\}", text, re.MULTILINE | re.DOTALL)
    return {entry[1]: entry[0] for entry in entries}


def test_sections_are_those_of_the_journal():
    assert re.findall(r"^# (.+)$", TEXT, re.MULTILINE) == SECTIONS
    assert TEXT.rstrip().endswith("# References")


def test_words_are_as_many_as_the_journal_asks_for():
    prose = re.sub(
        r"<!--.*?-->|^\|.*$|\]\(.*?\)|\[@.*?\]|\$\$.*?\$\$", " ", TEXT, flags=re.M | re.S
    )
    assert 750 <= len(re.findall(r"\w[\w'.-]*", prose)) <= 1750


def test_head_agrees_with_the_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert HEAD["title"] == citation["title"]
    assert [author["name"] for author in HEAD["authors"]] == [
        a["name"] for a in citation["authors"]
    ]
    known = {affiliation["index"] for affiliation in HEAD["affiliations"]}
    assert {author["affiliation"] for author in HEAD["authors"]} == known
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]+ 20\d\d", HEAD["date"])
    assert len(HEAD["tags"]) >= 3 and HEAD["bibliography"] == "paper.bib"


def test_every_citation_has_an_entry_and_every_entry_a_citation():
    cited = set(re.findall(r"@(\w+)", TEXT))
    assert cited == entries((FOLDER / "paper.bib").read_text(encoding="utf-8")).keys()


def test_entries_are_those_of_the_bibliography_where_it_has_them():
    ours = entries((FOLDER / "paper.bib").read_text(encoding="utf-8"))
    page = entries((ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8"))
    shared = ours.keys() & page.keys()
    assert len(shared) > 15
    assert [key for key in shared if ours[key] != page[key]] == []


def test_figures_are_files_of_the_reference_run():
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", TEXT)
    assert len(figures) == 2
    for figure in figures:
        assert (FOLDER / figure).resolve().parent == ROOT / "reports" / "reference"
        assert (FOLDER / figure).is_file()


@pytest.fixture
def build():
    for tool in ("pypandoc", "typst"):
        pytest.importorskip(tool, reason=f"no {tool}: make paper installs the extra cscsr[paper]")
    spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_paper_is_built_with_its_references(build):
    assert build.pages().startswith(b"%PDF")
    assert len(build.pages("png")) >= 4
    source = build.typst_source()
    assert source.count("<ref-") == len(set(re.findall(r"@(\w+)", TEXT)))
    assert "@" not in re.sub(r"#link\(.*?\)", "", source.partition("= Summary")[2])


def test_citation_without_an_entry_stops_the_build(build, monkeypatch, tmp_path):
    for name in ("paper.md", "paper.bib"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("@beck2009fista]", "@beck2010fista]"), "utf-8")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "SOURCE", tmp_path / "paper.md")
    with pytest.raises(RuntimeError, match="beck2010fista"):
        build.typst_source()
