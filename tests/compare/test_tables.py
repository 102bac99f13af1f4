"""Table 1: means of the rows, the published figures beside them, differences where allowed."""

import csv
import io
import re
from collections import defaultdict
from dataclasses import replace

import pytest

from cscsr.compare.grid import make_tables, two_digits
from cscsr.compare.published import PUBLISHED_FILE, read_published
from cscsr.compare.results import FAILED, SCORED, UNSUPPORTED, Key, Results, Row
from cscsr.compare.summary import summarise
from cscsr.compare.tables import differences_markdown, latex, latex_text, write_tables
from cscsr.compare.tables import long_table as table_csv
from cscsr.compare.tables import markdown as table_markdown

SET5 = ["baby", "bird", "butterfly", "head", "woman"]
LINES = {"bicubic": "y", "csc-sr[ista]": "y", "crnet-a-small": "y", "crnet-b-small": "rgb"}
PSNR_DB = {"bicubic": 33.66, "csc-sr[ista]": 35.7, "crnet-a-small": 36.0, "crnet-b-small": 36.9}


def identity(solver, line):
    return {
        "solver": solver,
        "params": "{}",
        "solver_version": "1",
        "weights_sha256": "",
        "protocol": line,
    }


def plan(images, lines=LINES, dataset="Set5", scales=(2,)):
    members = [{"image": image, "input_sha256": image * 2} for image in images]
    return {
        "datasets": {dataset: members},
        "scales": list(scales),
        "solvers": [identity(*pair) for pair in lines.items()],
        "protocol": "paper",
    }


def row(solver, image, dataset="Set5", line=None, scale=2, outcome=SCORED, **values):
    who = identity(solver, line or LINES[solver])
    key = Key(**who, input_sha256=image * 2, scale=scale)
    return Row(key, dataset, image, outcome, **values)


def scored(solver, image, psnr_db, **place):
    values = {"psnr_db": psnr_db, "ssim": psnr_db / 40, "seconds": 0.12345, "threads": 2}
    return row(solver, image, **place, **values, machine="a machine", device="cpu")


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path / "results.sqlite") as database:
        yield database


def fill(results, lines=LINES, images=SET5, planned=SET5, dataset="Set5"):
    results.start_run("the command", {}, plan(planned, lines, dataset))
    for solver, line in lines.items():
        for offset, image in enumerate(images):
            middle = (len(images) - 1) / 2
            psnr_db = PSNR_DB[solver] + 0.1 * (offset - middle)
            results.add(scored(solver, image, psnr_db, line=line, dataset=dataset))
    return summarise(results)


def markdown(summary, number=0):
    return table_markdown(make_tables(summary)[number])


def long_table(summary, number=0):
    return table_csv(make_tables(summary)[number])


def cells(text, solver):
    """The cell of each row of the first Markdown table in the column of `solver`."""
    table = text.split("## Seconds")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    column = [name.strip() for name in lines[0]].index(solver)
    return [line[column].strip() for line in lines[2:]]


def test_means_are_means(results):
    summary = fill(results)
    mean = summary.mean("Set5", 2, "csc-sr[ista]")
    assert mean.psnr_db == pytest.approx(35.7)
    assert (mean.images, mean.expected) == (5, 5)
    table = long_table(summary).set_index("method")
    assert table.loc["csc-sr[ista]", "psnr_db"] == pytest.approx(35.7)
    assert table.loc["csc-sr[ista]", "images"] == 5


def test_a_difference_is_shown_between_a_method_and_itself_only(results):
    text = markdown(fill(results))
    assert "(±0.00)" in cells(text, "bicubic")[0]
    assert "(−0.92)" in cells(text, "csc-sr[ista]")[0]
    for solver in ("crnet-a-small", "crnet-b-small"):
        assert "(" not in cells(text, solver)[0]
    assert cells(text, "*published* CRNet-B") == ["***38.13***<br>***0.9610***"]
    assert cells(text, "*published* CRNet-A") == ["*<ins>37.79</ins>*<br>*<ins>0.9600</ins>*"]
    assert cells(text, "*published* CSC-SR") == ["*36.62*<br>*0.9549*"]


def test_the_long_table_labels_what_is_published(results):
    table = long_table(fill(results)).set_index("method")
    assert table.loc["bicubic", "published_psnr_db"] == 33.66
    assert table.loc["csc-sr[ista]", "published_psnr_db"] == 36.62
    small = table.loc[["crnet-a-small", "crnet-b-small"], ["published_psnr_db", "published_ssim"]]
    assert small.isna().all(axis=None)
    published = table[table.index.str.endswith("(published)")]
    assert set(published.index) == {
        f"{name} (published)" for name in ("Bicubic", "CSC-SR", "CRNet-A", "CRNet-B")
    }
    assert published.psnr_db.isna().all()
    assert published.published_psnr_db.notna().all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": SET5[:4]}, "an image is missing"),
        ({"planned": [*SET5, "extra"]}, "there is an image too many, not yet scored"),
        ({"images": SET5[:4], "planned": SET5[:4]}, "the folder lacks an image"),
        ({"lines": {"bicubic": "rgb"}}, "the published figure is of the other line"),
        ({"dataset": "mine"}, "there is no published figure"),
    ],
)
def test_no_difference_unless_the_mean_is_the_published_one(results, change, reason):
    summary = fill(results, **change)
    assert "(" not in cells(markdown(summary), "bicubic")[0], reason
    assert long_table(summary).set_index("method").loc["bicubic"].published_psnr_db != 33.66


def test_the_best_of_ours_is_bold_and_an_incomplete_mean_never_is(results):
    results.start_run("the command", {}, plan(SET5))
    for image in SET5:
        results.add(scored("bicubic", image, 33.66))
        results.add(scored("crnet-a-small", image, 36.0))
    for image in SET5[:3]:
        results.add(scored("crnet-b-small", image, 40.0))
    text = markdown(summarise(results))
    assert cells(text, "crnet-a-small")[0].startswith("**36.00**")
    assert cells(text, "bicubic")[0].startswith("<ins>33.66</ins>")
    assert "**" not in cells(text, "crnet-b-small")[0]
    assert "3 of 5 images" in cells(text, "crnet-b-small")[0]
    assert "goes on where it stopped" in text


def test_reasons_for_missing_cells_are_notes(results):
    results.start_run("the command", {}, plan(SET5))
    for image in SET5:
        results.add(row("bicubic", image, outcome=UNSUPPORTED, message="Too <wide>."))
        results.add(row("csc-sr[ista]", image, outcome=FAILED, message="It broke."))
    text = markdown(summarise(results))
    assert cells(text, "bicubic") == ["– <sup>1</sup>"]
    assert cells(text, "csc-sr[ista]") == ["– <sup>2</sup>"]
    assert "1. Too <wide>." in text
    assert "2. It broke." in text


def test_only_results_of_the_planned_solvers_count(results):
    fill(results)
    for image in SET5:
        stale = scored("bicubic", image, 99.0)
        results.add(replace(stale, key=replace(stale.key, solver_version="0")))
    assert summarise(results).mean("Set5", 2, "bicubic").psnr_db == pytest.approx(33.66)


def test_the_files_of_a_table_agree(results, tmp_path):
    fill(results)
    (tmp_path / "degraded.md").write_text("of an earlier run")
    paths = write_tables(results, tmp_path)
    names = ("table1", "table2", "table3", "differences")
    assert {path.name for path in paths} == {
        f"{n}.{k}" for n in names for k in ("md", "csv", "tex")
    }
    assert not (tmp_path / "degraded.md").exists(), "the run had no harder input"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table1.csv").read_text())))
    columns = "dataset scale method psnr_db ssim seconds images protocol"
    assert ",".join(rows[0]) == columns.replace(" ", ",") + ",published_psnr_db,published_ssim"
    text, paper = ((tmp_path / f"table1.{kind}").read_text() for kind in ("md", "tex"))
    for line in rows:
        if line["psnr_db"]:
            shown = f"{float(line['psnr_db']):.2f}"
            assert shown in cells(text, line["method"])[0]
            assert any(shown in row for row in paper.splitlines() if line["method"][:3] in row)
    assert "0.12" in text


def test_tables_two_and_three_hold_their_kind_of_network(results):
    summary = fill(results)
    one, two, three = make_tables(summary)
    assert [c.name for c in one.columns if not c.published] == list(LINES)
    assert [(c.name, c.published) for c in two.columns] == [
        ("bicubic", False),
        ("Bicubic", True),
        *((name, True) for name in ("VDSR", "DRCN", "DRRN", "MemNet")),
        ("crnet-a-small", False),
        ("CRNet-A", True),
    ]
    assert [c.name for c in three.columns if not c.published] == ["crnet-b-small"]
    assert cells(markdown(summary, 2), "*published* EDSR") == ["*38.11*<br>*0.9601*"]
    assert cells(markdown(summary, 1), "*published* CRNet-A")[0].startswith("***37.79***")


def test_a_data_set_that_the_paper_lacks_has_table_one_alone(results):
    assert [t.name for t in make_tables(fill(results, dataset="mine"))] == ["table1"]


def test_harder_input_has_a_table_of_its_own(results):
    harder = {**plan(SET5), "degradations": ["", "noise:5"]}
    results.start_run("the command", {}, harder)
    for image in SET5:
        for solver in LINES:
            clean = scored(solver, image, PSNR_DB[solver])
            results.add(clean)
            key = replace(clean.key, degradation="noise:5", protocol="rgb")
            results.add(replace(clean, key=key, psnr_db=30.0))
    summary = summarise(results)
    *plain, noisy = make_tables(summary)
    assert [table.name for table in plain] == ["table1", "table2", "table3"]
    assert [str(place) for place in noisy.places] == ["Set5 ×2 noise:5"]
    table = table_csv(noisy).set_index("method")
    assert table.loc["csc-sr[ista]"][["degradation", "psnr_db", "protocol"]].tolist() == [
        "noise:5",
        30.0,
        "rgb",
    ]
    assert long_table(summary).psnr_db.max() == pytest.approx(36.9)
    assert "(" not in cells(table_markdown(noisy), "bicubic")[0], "nothing published beside"


def test_differences_are_to_the_best_and_a_tie_is_named(results):
    images = [f"image{n}" for n in range(12)]
    results.start_run("the command", {}, plan(images, dataset="mine"))
    for number, image in enumerate(images):
        wobble = 0.2 * (-1) ** number
        results.add(scored("bicubic", image, 30.0, dataset="mine"))
        results.add(scored("csc-sr[ista]", image, 32.9 + wobble, dataset="mine"))
        results.add(scored("crnet-b-small", image, 32.91, dataset="mine"))
    text = differences_markdown(summarise(results))
    assert cells(text, "crnet-b-small") == ["best"]
    assert cells(text, "crnet-a-small") == ["–"]
    assert cells(text, "bicubic") == ["−2.91 [−2.91, −2.91], 0 of 12"]
    (close,) = cells(text, "csc-sr[ista]")
    assert close.startswith("−0.010 [−0.1")
    assert close.endswith("6 of 12, tie")


def test_latex_is_whole_and_its_rows_have_all_columns(results):
    summary = fill(results, images=SET5[:4])
    for table in make_tables(summary):
        text = latex(table)
        for left, right in ("{}", "[]"):
            assert text.count(left) == text.count(right)
        for environment in ("table", "tabular"):
            assert text.count(rf"\begin{{{environment}}}") == 1
            assert text.count(rf"\end{{{environment}}}") == 1
        assert re.search(r"\\caption\{[A-Z]", text)
        for rule in ("toprule", "midrule", "bottomrule"):
            assert rf"\{rule}" in text
        body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
        rows = [line for line in body.splitlines() if " & " in line]
        assert len(rows) == len(table.columns)
        assert all(row.count(" & ") == 2 and row.endswith(r" \\") for row in rows)
    assert "$^*$" in latex(make_tables(summary)[0]), "partial means are starred"
    assert latex_text("a_b & 50 % [×]") == r"a\_b \& 50 \% {[}$\times${]}"


def test_published_figures_agree_between_the_papers_tables():
    seen = defaultdict(set)
    with PUBLISHED_FILE.open(newline="") as file:
        for line in csv.DictReader(file):
            place = line["dataset"], line["scale"], line["method"]
            seen[place].add((line["psnr_db"], line["ssim"]))
    assert all(len(figures) == 1 for figures in seen.values())
    assert len(read_published()) == len(seen)


def test_published_figures_are_the_reference(shared_data):
    reference = shared_data.parent / "reference" / "published.csv"
    if not reference.is_file():
        pytest.skip(f"no {reference.name} beside the research images")
    assert PUBLISHED_FILE.read_text() == reference.read_text()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.003142, "0.0031"),
        (0.0995, "0.10"),
        (0.1, "0.10"),
        (0.996, "1.0"),
        (4.449, "4.4"),
        (9.96, "10"),
        (12.3, "12"),
        (127.0, "130"),
        (0.0, "0"),
        (float("nan"), "–"),
    ],
)
def test_durations_have_two_significant_digits(seconds, text):
    assert two_digits(seconds) == text
