"""Networks trained alike, on the page of a comparison: from the copy of their table alone."""

from __future__ import annotations

import re
import shutil

import pytest

from cscsr import InputError
from cscsr.compare.page import keep_figures, main
from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results
from cscsr.compare.trained_alike import (
    COLUMNS,
    chosen,
    command_of,
    latest_rows,
    points_of,
    table_of,
)


def line(network: str, budget: str, rate: str, seed: int, holdout: str, test: str) -> str:
    values = ["s", network, budget, rate, str(seed), "y", "83745", "1661184.0", budget]
    return ",".join([*values, "30.4", "33.7", holdout, test, "212.4" if holdout else "", "Set5"])


HEADER = ",".join([*COLUMNS, "test_set"])
TABLE = "\n".join(
    [
        HEADER,
        line("drrn-<small>", "2e+13", "0.0015", 0, "32.0", "36.0"),
        line("vdsr-small", "2e+13", "0.0015", 0, "31.6", "35.0"),
        line("vdsr-small", "2e+13", "0.0005", 0, "31.8", "35.5"),
        line("vdsr-small", "2e+13", "0.0005", 1, "32.4", "35.7"),
        line("vdsr-small", "2e+13", "0.0045", 0, "", ""),
        line("vdsr-small", "6e+13", "0.0005", 0, "32.9", "36.4"),
    ]
)


@pytest.fixture
def remade(report, tmp_path):
    """Makes the page of the report's database again, with the table in one of two folders."""

    def run(table: str, own: bool = True) -> str:
        shutil.copy(report.with_name(FILE_NAME), tmp_path)
        (tmp_path / "reference").mkdir()
        folder = tmp_path if own else tmp_path / "reference"
        (folder / "equal_compute.csv").write_text(table)
        with Results(tmp_path / FILE_NAME) as results:
            assert keep_figures(results, tmp_path, tmp_path / "reference") == []
        (folder / "equal_compute.csv").unlink()
        assert main([str(tmp_path)]) == 0
        return (tmp_path / "index.html").read_text(encoding="utf-8")

    return run


def section(page: str) -> str:
    return re.search(r'<section id="alike".*?</section>', page, re.DOTALL)[0]


def test_the_page_has_a_table_for_each_budget(remade):
    text = section(remade(TABLE))
    assert "hidden" not in text
    large, small = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert "1 network, 6·10<sup>13</sup> floating-point operations" in large
    assert "2 networks, 2·10<sup>13</sup>" in small
    assert "rates tried per network: 1 and 3" in small
    assert "Set5 (dB)" in small
    names = re.findall(r'<th scope="row">(.*?)</th>', small)
    assert names == ["vdsr-small", "drrn-&lt;small&gt;"], "by the gain on the held-out images"
    cells = re.findall(r"<td[^>]*>(.*?)</td>", small.split("vdsr-small")[1])[:10]
    assert cells[3:9] == ["0.0005", "2", "32.10 ± 0.30", "<b>+1.70</b>", "35.60 ± 0.10", "+1.90"]
    assert "--budgets 2e13 6e13 --rates 0.0015 0.0005 0.0045 --seeds 2</pre>" in text
    assert "Not of this run" not in text
    assert "One learning rate" not in text


def test_that_of_the_reference_run_says_so(remade):
    assert "Not of this run: from the toolkit" in section(remade(TABLE, own=False))


def test_half_a_study_is_shown_with_what_it_cannot_say(remade):
    page = remade("\n".join(TABLE.splitlines()[:3]))
    text = section(page)
    assert text.count("<table") == 1
    assert "One learning rate was tried" in text
    assert "There is one seed" in text
    assert "rates tried per network: 1</caption>" in text
    assert '<a href="#alike" >' in page


@pytest.mark.parametrize("table", ["", HEADER])
def test_without_rows_there_is_no_section(remade, table):
    page = remade(table)
    assert '<section id="alike" hidden>' in page
    assert '<a href="#alike" hidden>' in page


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("a,b\n1,2\n", "expected a table with the columns settings, network,"),
        (TABLE.replace("83745", "<many>"), "a number in each cell"),
        (TABLE.replace("2e+13", "much"), "a number in each cell"),
        (TABLE + "\ns,vdsr-small", "a number in each cell"),
    ],
)
def test_another_table_is_a_sentence(remade, table, reason):
    with pytest.raises(InputError, match=reason):
        points_of(table)
    text = section(remade(table))
    assert "equal_compute.csv cannot be shown: expected a table" in text
    assert "<many>" not in text


def test_the_markdown_says_what_the_points_cannot():
    mixed = table_of(points_of(TABLE))
    assert mixed.endswith(
        "Where there is one seed, small differences may be chance. "
        "Seconds are of each network's last run.\n"
    )
    two = table_of(points_of("\n".join([HEADER, *TABLE.splitlines()[3:5]])))
    assert "seed," not in two.splitlines()[-1]
    few = table_of(points_of("\n".join(TABLE.splitlines()[:3])))
    assert few.endswith(
        "\n\nOne learning rate was tried: another may suit a network better. There "
        "is one seed: small differences may be chance.\n"
    )


def test_seconds_of_two_processors_are_said_not_to_compare():
    rows = latest_rows(TABLE)
    same = [{**row, "machine": "one"} for row in rows]
    other = [*same[:-1], {**same[-1], "machine": "another"}]
    for machines, differ in ((rows, False), (same, False), (other, True)):
        assert ("unnamed machines" in table_of(chosen(machines))) == differ


def test_seconds_are_of_the_machine_that_all_networks_ran_on():
    drrn, _, vdsr, second, *_ = latest_rows(TABLE)
    rows = [
        {**drrn, "machine": "one", "seconds": "10"},
        {**vdsr, "seconds": "90"},
        {**second, "machine": "one", "seconds": "30"},
    ]
    table = table_of(chosen(rows))
    assert [point.seconds for point in chosen(rows)] == [10, 30]
    later = {**drrn, "seed": "1", "machine": "one", "seconds": "20"}
    assert [point.seconds for point in chosen([*rows, later])] == [20, 30]
    assert table.endswith("Seconds are of each network's last run, all on one machine.\n")
    assert [point.seconds for point in chosen(rows[:2])] == [10, 90]
    assert "unnamed machines" in table_of(chosen(rows[:2]))


def test_rates_that_few_networks_had_are_said():
    first = latest_rows(TABLE)[0]
    other = {**first, "network": "srcnn-small"}
    more = {**other, "learning_rate": "0.1"}
    assert "Not every learning rate" not in table_of(chosen([first, other]))
    assert "Not every learning rate" in table_of(chosen([first, other, more]))
    assert "Not every learning rate" in table_of(chosen([first, more]))


def test_the_command_names_what_differs_from_the_usual_study():
    rows = latest_rows(TABLE)
    assert "--search" not in command_of(rows)
    again = [*rows, {**rows[-1], "learning_rate": "0.0015"}]
    assert command_of(again).endswith("--seeds 2 --search each")
    usual = [{**row, "trained_on": "T91 BSD200"} for row in rows]
    assert command_of(usual) == command_of(rows)
    other = [{**row, "trained_on": "T91"} for row in rows]
    assert command_of(other).endswith("--seeds 2 --sets T91")


def test_rows_of_other_settings_are_left_out():
    other = TABLE.splitlines()[1].replace("s,", "other,", 1)
    assert len(latest_rows(f"{HEADER}\n{other}\n" + "\n".join(TABLE.splitlines()[1:]))) == 6
