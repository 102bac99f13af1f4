"""The tables: published figures beside ours, the best marked, three files that agree."""

import csv
import io
import re
from dataclasses import replace

import pandas as pd
import pytest

from cscsr.compare.grid import Cell, Column, make_tables, published_scores
from cscsr.compare.page import write_page
from cscsr.compare.published import read_published
from cscsr.compare.records import FAILED, UNSUPPORTED
from cscsr.compare.summary import Place, summarise
from cscsr.compare.tables import csv_file, latex, write_tables
from cscsr.compare.tables import markdown as markdown_of

SET5_X2 = Place("Set5", 2)


def markdown(summary, number=0):
    return markdown_of(make_tables(summary)[number])


def frame(table):
    """The CSV file of a table, by method."""
    return pd.read_csv(io.StringIO(csv_file(table))).set_index("method")


def cells(text, solver):
    """The cell of each row of the first Markdown table in the column of `solver`."""
    table = text.split("## Seconds")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    column = [name.strip() for name in lines[0]].index(solver)
    return [line[column].strip() for line in lines[2:]]


def test_a_difference_is_shown_between_a_method_and_itself_only(made_up):
    text = markdown(made_up.fill())
    assert "(±0.00)" in cells(text, "bicubic")[0]
    assert "(−0.92)" in cells(text, "csc-sr[ista]")[0]
    for solver in ("crnet-a-small", "crnet-b-small"):
        assert "(" not in cells(text, solver)[0]
    assert cells(text, "*published* CRNet-B") == ["***38.13***<br>***0.9610***"]
    assert cells(text, "*published* CRNet-A") == ["*<ins>37.79</ins>*<br>*<ins>0.9600</ins>*"]
    assert cells(text, "*published* CSC-SR") == ["*36.62*<br>*0.9549*"]


def test_a_published_figure_that_we_do_not_know_is_left_out(made_up):
    metrics = make_tables(made_up.fill())[0].metrics
    published = read_published()
    published.loc[published.method == "VDSR", "ssim"] = float("nan")
    scores = published_scores(published)["Set5", 2, "VDSR"]
    assert [(m.name, text) for m, text in Cell(scores).texts(metrics)] == [("psnr", "37.53")]


def test_the_csv_file_labels_what_is_published(made_up):
    table = frame(make_tables(made_up.fill())[0])
    assert table.loc["csc-sr[ista]", "psnr_db"] == pytest.approx(35.7)
    assert table.loc["csc-sr[ista]", "images"] == 5
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
        ({"images": ["baby", "bird", "butterfly", "head"]}, "an image is missing"),
        (
            {"planned": ["baby", "bird", "butterfly", "head", "woman", "extra"]},
            "there is an image too many, not yet scored",
        ),
        (
            {name: ["baby", "bird", "butterfly", "head"] for name in ("images", "planned")},
            "the folder lacks an image",
        ),
        ({"lines": {"bicubic": "rgb"}}, "the published figure is of the other line"),
        ({"dataset": "mine"}, "there is no published figure"),
    ],
)
def test_no_difference_unless_the_mean_is_the_published_one(made_up, change, reason):
    summary = made_up.fill(**change)
    assert "(" not in cells(markdown(summary), "bicubic")[0], reason
    assert frame(make_tables(summary)[0]).loc["bicubic"].published_psnr_db != 33.66


def test_the_best_of_ours_is_bold_and_an_incomplete_mean_never_is(made_up):
    made_up.start()
    for image in made_up.images:
        made_up.results.add(made_up.scored("bicubic", image, 33.66))
        made_up.results.add(made_up.scored("crnet-a-small", image, 36.0))
    for image in made_up.images[:3]:
        made_up.results.add(made_up.scored("crnet-b-small", image, 40.0))
    text = markdown(summarise(made_up.results))
    assert cells(text, "crnet-a-small")[0].startswith("**36.00**")
    assert cells(text, "bicubic")[0].startswith("<ins>33.66</ins>")
    assert "**" not in cells(text, "crnet-b-small")[0]
    assert "3 of 5 images" in cells(text, "crnet-b-small")[0]
    assert "goes on where it stopped" in text


@pytest.fixture
def three_metrics(made_up):
    """GMSD, for which lower is better, in another order than PSNR; one solver is without it."""
    made_up.start()
    gmsd = {"bicubic": 0.2, "csc-sr[ista]": 0.05, "crnet-a-small": None, "crnet-b-small": 0.1}
    for solver, value in gmsd.items():
        for image in made_up.images:
            psnr_db = made_up.psnr_db[solver]
            made_up.results.add(made_up.scored(solver, image, psnr_db, value))
    return summarise(made_up.results)


def test_the_lowest_is_the_best_where_lower_is_better(three_metrics):
    table = make_tables(three_metrics)[0]
    ranks = {
        column.name: table.cells[SET5_X2, column].ranks
        for column in table.columns
        if not column.published
    }
    assert ranks == {
        "bicubic": {},
        "csc-sr[ista]": {"gmsd": 1},
        "crnet-a-small": {"psnr": 2, "ssim": 2},
        "crnet-b-small": {"psnr": 1, "ssim": 1, "gmsd": 2},
    }


def test_a_third_metric_stands_in_all_three_files(three_metrics):
    table = make_tables(three_metrics)[0]
    text = markdown_of(table)
    assert "## PSNR (dB) above SSIM above GMSD (lower is better)" in text
    assert cells(text, "csc-sr[ista]")[0].endswith("<br>**0.0500**")
    assert cells(text, "crnet-a-small")[0].endswith("<br>–")
    assert cells(text, "*published* CRNet-B") == ["***38.13***<br>***0.9610***"]
    rows = frame(table)
    assert list(rows.columns)[-3:] == ["published_psnr_db", "published_ssim", "gmsd"]
    assert rows.loc["csc-sr[ista]", "gmsd"] == 0.05
    assert rows.gmsd.notna().sum() == 3
    paper = latex(table)
    assert "PSNR (dB), SSIM and GMSD (lower is better); bold" in paper
    assert r"\multicolumn{3}{c}{$\times 2$}" in paper and r"\cmidrule(lr){2-4}" in paper
    (row,) = (line for line in paper.splitlines() if line.startswith("csc-sr"))
    assert row.split(" & ")[3] == r"\textbf{0.0500} \\"


def test_reasons_for_missing_cells_are_notes(made_up):
    made_up.start()
    for image in made_up.images:
        made_up.results.add(
            made_up.row("bicubic", image, outcome=UNSUPPORTED, message="Too <wide>.")
        )
        made_up.results.add(made_up.row("csc-sr[ista]", image, outcome=FAILED, message="It broke."))
    text = markdown(summarise(made_up.results))
    assert cells(text, "bicubic") == ["– <sup>1</sup>"]
    assert cells(text, "csc-sr[ista]") == ["– <sup>2</sup>"]
    assert "1. Too &lt;wide>." in text
    assert "2. It broke." in text


def test_the_files_of_a_table_agree(made_up, tmp_path):
    summary = made_up.fill()
    (tmp_path / "degraded.md").write_text("of an earlier run")
    paths = write_tables(summary, tmp_path)
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


def test_tables_two_and_three_hold_their_kind_of_network(made_up):
    summary = made_up.fill()
    one, two, three = make_tables(summary)
    assert [c.name for c in one.columns if not c.published] == list(made_up.lines)
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


def test_a_data_set_that_the_paper_lacks_has_table_one_alone(made_up):
    assert [t.name for t in make_tables(made_up.fill(dataset="mine"))] == ["table1"]


def test_harder_input_has_a_table_of_its_own(made_up):
    made_up.start(degradations=["", "noise:5"])
    for image in made_up.images:
        for solver in made_up.lines:
            made_up.results.add(made_up.scored(solver, image, made_up.psnr_db[solver]))
            made_up.results.add(made_up.scored(solver, image, 30.0, degradation="noise:5"))
    *plain, noisy = make_tables(summarise(made_up.results))
    assert [table.name for table in plain] == ["table1", "table2", "table3"]
    assert [str(place) for place in noisy.places] == ["Set5 ×2 noise:5"]
    assert frame(noisy).loc["csc-sr[ista]"][["degradation", "psnr_db", "protocol"]].tolist() == [
        "noise:5",
        30.0,
        "rgb",
    ]
    assert frame(plain[0]).psnr_db.max() == pytest.approx(36.9)
    assert noisy.cells[noisy.places[0], Column("bicubic")].beside == {}
    assert "(" not in cells(markdown_of(noisy), "bicubic")[0], "nothing published beside"


def test_latex_is_whole_and_its_rows_have_all_columns(made_up):
    summary = made_up.fill(images=made_up.images[:4])
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


def test_files_are_made_again_from_the_database(made_up, tmp_path, capsys):
    from cscsr.compare.tables import main

    made_up.fill()
    made_up.results.add(replace(made_up.scored("bicubic", "baby", 40.0), dataset="another"))
    assert main([str(tmp_path)]) == 0
    written = capsys.readouterr().out.split()
    assert str(tmp_path / "table1.md") in written
    assert (tmp_path / "table1.md").read_text() == markdown(summarise(made_up.results))
    assert main([str(tmp_path / "nowhere")]) == 2


def test_no_table_has_an_infinite_figure_and_all_say_what_is_exact(with_blank, made_up, tmp_path):
    texts = {path.name: path.read_text() for path in write_tables(with_blank, tmp_path)}
    page = write_page(with_blank, made_up.results, tmp_path).read_text()
    for name, text in texts.items():
        assert not re.search(r"\binf\b", text), name
        if not name.endswith(".csv"):
            assert "infinite PSNR" in text, name
    assert texts["table1.md"].count("*exact on 1 of 5*") == 2
    table = pd.read_csv(io.StringIO(texts["table1.csv"])).set_index("method")
    assert table.exact["bicubic"] == 1
    assert table.exact["crnet-b-small"] == 0
    assert table.psnr_db["bicubic"] == pytest.approx(33.81)
    best = next(line for line in texts["differences.md"].splitlines() if "Set5" in line)
    assert [cell.strip() for cell in best.strip("| ").split("|")][-1] == "best"
    assert "Best on Set5 ×2</dt><dd><strong>crnet-b-small</strong>" in page
    assert "mean of 4 images, 1 of 5 left out as a solver makes no error there" in page
    assert "<i>exact on 1</i>" in page
    assert "infinite PSNR" in page


def test_tables_without_exact_images_have_no_column_for_them(made_up, tmp_path):
    write_tables(made_up.fill(), tmp_path)
    assert "exact" not in pd.read_csv(tmp_path / "table1.csv").columns
