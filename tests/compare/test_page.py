"""The report: remade from the database alone, whole in one file, and right in what it says."""

import html
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cscsr.compare.page import PAGE_NAME, REFERENCE, main, write_page
from cscsr.compare.page.content import page_of
from cscsr.compare.page.figures import FIGURES
from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results
from cscsr.compare.summary import summarise
from cscsr.compare.tables import write_tables

REPOSITORY = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "img", "br", "input", "path", "rect", "circle"}


class Outline(HTMLParser):
    """What a page is made of; fails where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, **wanted):
        """Attributes of the elements of a kind that have the wanted ones."""
        elements = [attributes for name, attributes in self.elements if name == tag]
        return [a for a in elements if all(a.get(key) == value for key, value in wanted.items())]


@pytest.fixture(scope="module")
def page(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def summary(report):
    with Results(report.with_name(FILE_NAME)) as results:
        return summarise(results)


def script(page, name):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1])


def panel(page, place):
    """The HTML of the answer for a place."""
    start = page.index(f'data-place="{place}"')
    ends = [page.find(mark, start + 1) for mark in ('<div class="answer"', 'id="pairs"')]
    return page[start : min(end for end in ends if end > 0)]


def words(text):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_the_page_is_remade_from_the_database_alone_byte_for_byte(report, tmp_path, capsys):
    shutil.copy(report.with_name(FILE_NAME), tmp_path)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / PAGE_NAME)
    assert (tmp_path / PAGE_NAME).read_bytes() == report.read_bytes()


@pytest.mark.parametrize("create", [True, False], ids=["of a run", "to be read"])
def test_tables_and_page_leave_the_database_as_it_is(report, page, tmp_path, create):
    """Also where the figures of a showcase image are stored under another data set's name."""
    path = tmp_path / FILE_NAME
    shutil.copy(report.with_name(FILE_NAME), path)
    shown = script(page, "pictures")
    dataset, image = shown[0]["title"].split(" ")[0].split("/")
    with closing(sqlite3.connect(path)) as connection, connection:
        moved = connection.execute(
            "UPDATE results SET dataset = 'another', image = 'twin' "
            "WHERE dataset = ? AND image = ?",
            (dataset, image),
        ).rowcount
    assert moved
    before = path.read_bytes()
    with Results(path, create=create) as results:
        summary = summarise(results)
        write_tables(summary, tmp_path)
        write_page(summary, results, tmp_path)
    assert path.read_bytes() == before
    written = (tmp_path / PAGE_NAME).read_text(encoding="utf-8")
    assert script(written, "pictures") == shown


@pytest.mark.slow
def test_another_process_elsewhere_makes_the_same_bytes(report, tmp_path):
    shutil.copy(report.with_name(FILE_NAME), tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
        "from cscsr.compare.page import main; "
    )
    subprocess.run(
        [sys.executable, "-c", code + "raise SystemExit(main(['.']))"],
        cwd=tmp_path,
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo", "PATH": ""},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / PAGE_NAME).read_bytes() == report.read_bytes()


def test_without_a_database_there_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_needs_no_other_file(page):
    outline = Outline(page)
    for tag, attributes in outline.elements:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes[name])
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", page)
    assert len(page.encode()) < 15e6


def test_elements_nest_and_names_are_used_once(page):
    outline = Outline(page)
    names = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for attributes in outline.all("a"):
        if attributes["href"].startswith("#"):
            assert attributes["href"][1:] in names
    for tag in ("img", "svg"):
        for attributes in outline.all(tag):
            assert {"alt", "aria-label", "aria-hidden"} & set(attributes), tag
    for attributes in outline.all("label"):
        assert attributes.get("for", names[0]) in names


def test_text_from_outside_is_escaped(page):
    assert "--for 'a <test>" not in page
    assert "--for &#x27;a &lt;test&gt; &amp; more&#x27;" in page


def test_the_answer_is_first_and_says_who_by_how_much_and_whether_by_chance(page, summary):
    outline = Outline(page)
    shown = [
        a["data-place"] for a in outline.all("div", **{"class": "answer"}) if "hidden" not in a
    ]
    assert shown == ["B100/3"]
    text = words(panel(page, "B100/3"))
    place = summary.places[1]
    assert str(place) == "B100 ×3"
    best, second = summary.ranking(place)[:2]
    assert f"Best on B100 ×3 {best.solver} {best.psnr_db:.2f} dB" in text
    assert f"ahead of {second.solver}, the second best" in text
    assert {best.solver, second.solver} == {"sharpened-0.6", "sharpened-0.61"}
    difference = summary.difference(place, best.solver, second.solver)
    chance = "No: a tie" if difference.verdict == "tie" else "Yes"
    assert f"More than chance? {chance} 95 % interval" in text
    assert f"better on {difference.won} of 12 images" in text
    assert "How long does it take? 0.6" in text
    assert "Where does it come from? no trained weights version" in text


def test_with_few_images_nothing_is_said_of_chance(page):
    assert "More than chance? Too few images" in words(panel(page, "Set5/2"))


def test_the_papers_best_stands_beside_whole_data_sets_only(page):
    assert "The best published result of the paper" not in page, "three images are not Set5"


def test_the_ranking_names_ties_and_partial_means(page, summary):
    text = words(panel(page, "Set5/2"))
    assert "sharpened-2" in text
    assert "2 of 3 images" in text
    ranked = [mean.solver for mean in summary.ranking(summary.places[2])]
    assert "sharpened-2" not in ranked
    (place,) = (p for p in summary.places if str(p) == "B100 ×3 noise:5")
    assert [mean.line for mean in summary.at(place)] == ["rgb"] * 4
    assert "Best on B100 ×3 noise:5" in words(panel(page, "B100/3/noise:5"))


def test_all_metrics_are_in_the_tables_and_in_the_sources(page, summary):
    assert "GMSD (lower is better)" in words(panel(page, "B100/2"))
    place = next(place for place in summary.places if str(place) == "B100 ×2")
    for mean in summary.at(place)[:3]:
        assert f"{mean.scores['gmsd']:.4f}" in words(panel(page, "B100/2"))
    (table,) = re.findall(r'<section class="table" id="table1">.*?</section>', page, re.DOTALL)
    assert all(f"{mean.scores['gmsd']:.4f}" in table for mean in summary.at(place)[:3])
    lowest = min(mean.scores["gmsd"] for mean in summary.at(place) if mean.complete)
    assert f"<b>{lowest:.4f}</b>" in table
    facts = script(page, "data")["sources"][0]["facts"]
    assert list(facts)[:3] == ["PSNR", "SSIM", "GMSD"]
    assert float(facts["GMSD"]) == pytest.approx(summary.means[0].scores["gmsd"], abs=1e-5)


def test_every_measured_cell_says_where_it_came_from(page, summary):
    sources = script(page, "data")["sources"]
    outline = Outline(page)
    numbers = {int(a["data-source"]) for a in outline.all("button") if "data-source" in a}
    assert numbers == set(range(len(sources)))
    assert len(sources) == len(summary.means) == 4 * 2 * 2 * 2
    for source in sources:
        facts = source["facts"]
        assert facts["Weights (SHA-256)"] == "none: the solver is not trained"
        assert facts["Line"].startswith(("y: ", "rgb: "))
        assert "Python" in facts["Machine"]
        assert facts["Code version"]
        assert source["commands"] == ["python -m benchmarks.compare --for 'a <test> & more'"]
        assert json.loads(facts["Parameters"])["amount"] >= 0


def test_the_data_behind_the_differences_are_the_stored_figures(page, report):
    data = script(page, "data")
    with Results(report.with_name(FILE_NAME)) as results:
        rows = results.frame()
    (place,) = (place for place in data["places"] if place["id"] == "B100/2")
    for solver, figures in place["psnr"].items():
        here = rows[(rows.dataset == "B100") & (rows.scale == 2) & (rows.degradation == "")]
        stored = here[here.solver == solver].set_index("image").psnr_db[place["images"]]
        np.testing.assert_allclose(figures, stored, atol=1e-5)
    images, won, lost, mean, *_ = place["pairs"]["bicubic|sharpened-0.6"]
    gains = np.subtract(*(place["psnr"][solver] for solver in ("bicubic", "sharpened-0.6")))
    assert (images, won, lost) == (12, (gains > 0).sum(), (gains < 0).sum())
    assert mean == pytest.approx(gains.mean(), abs=2e-5)


def test_pictures_are_in_the_page_with_all_solvers(page):
    shown = script(page, "pictures")
    assert len(shown) == 6
    assert {case["title"].split("/")[0] for case in shown} == {"B100", "Set5"}
    for case in shown:
        names = [picture["solver"] for picture in case["pictures"]]
        assert names[:3] == ["bicubic", "sharpened-0.6", "sharpened-0.61"]


@pytest.mark.parametrize(("name", "columns"), [("fig8", ("n0", "m0")), ("fig9", ("recursions",))])
def test_a_caption_names_what_the_figure_varies(name, columns):
    rows = pd.read_csv(REFERENCE / f"{name}.csv")
    varied = rows.groupby("architecture")[["n0", "m0", "recursions"]].nunique().max() > 1
    assert tuple(varied.index[varied]) == columns
    caption = FIGURES[name][1]
    assert caption.startswith("PSNR")
    for symbol, column in (("n₀", "n0"), ("m₀", "m0"), ("recursions K", "recursions")):
        assert (symbol in caption) is (column in columns)


def test_figures_of_the_reference_run_are_kept_in_the_database(page, report):
    with Results(report.with_name(FILE_NAME)) as results:
        figures = results.figures()
        assert {"fig5", "convergence"} <= set(figures)
        assert all(figure.origin for figure in figures.values())
        assert page_of(summarise(results), results) == page
    outline = Outline(page)
    assert len(outline.all("figure", **{"class": "picture"})) == len(figures)
