"""What a folder's tables show after several runs: nothing that was compared vanishes."""

import pytest

from cscsr.compare.command import main
from cscsr.compare.results import Results
from cscsr.compare.summary import Place, summarise


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Runs `cscsr compare` into one folder; returns the rows of Table 1 as text."""
    out = tmp_path / "out"

    def compare(*words):
        code = main(["--data", str(folder), "--showcase", "0", "--out", str(out), *words])
        assert code == 0, capsys.readouterr().err
        return (out / "table1.csv").read_text().splitlines()[1:]

    compare.out = out
    return compare


def test_rows_of_earlier_scales_and_data_sets_stay(run):
    both = run("--datasets", "mine", "--scales", "2", "3", "--solvers", "bicubic")
    assert [row.split(",")[:3] for row in both] == [["mine", s, "bicubic"] for s in "23"]
    again = run("--datasets", "mine", "--scales", "4", "--solvers", "bicubic")
    assert again[:2] == both
    assert again[2].startswith("mine,4,bicubic,")
    page = (run.out / "table1.md").read_text()
    assert "--scales 2 3 --showcase" in page and "--scales 4 --showcase" in page


def test_a_combination_that_nobody_asked_for_says_so(run):
    run("--datasets", "mine", "--scales", "2", "--solvers", "bicubic", "crnet-b-small")
    run("--datasets", "mine", "--scales", "3", "--solvers", "bicubic")
    with Results(run.out / "results.sqlite", create=False) as results:
        summary = summarise(results)
    assert summary.solvers == ["bicubic", "crnet-b-small"]
    assert summary.mean(Place("mine", 3), "crnet-b-small").reasons == (
        "Not compared: no run into this folder asked for this solver there.",
    )
    assert summary.mean(Place("mine", 2), "crnet-b-small").complete


def test_a_selection_alone_is_shown_alone(run):
    run("--datasets", "mine", "--scales", "2", "3", "--solvers", "bicubic")
    rows = run("--datasets", "mine", "--scales", "3", "--solvers", "bicubic", "--alone")
    assert [row.split(",")[1] for row in rows] == ["3"]
    assert len(run("--datasets", "mine", "--scales", "3", "--solvers", "bicubic")) == 2


def test_another_protocol_is_a_table_of_its_own(run):
    """Of a solver, too, that both protocols score on the same line."""
    run("--datasets", "mine", "--scales", "2", "--solvers", "crnet-b-small")
    selection = ["--datasets", "mine", "--scales", "3", "--solvers", "crnet-b-small"]
    rows = run(*selection, "--protocol", "common")
    assert [row.split(",")[1] for row in rows] == ["3"]
    assert len(run(*selection)) == 2, "the paper's protocol again"


def test_what_belongs_to_an_older_solver_or_to_other_images_is_left_out(made_up):
    made_up.fill()
    made_up.fill(dataset="mine")
    assert len(summarise(made_up.results).places) == 2
    changed = {"solver": "bicubic", "params": "{}", "solver_version": "2", "weights_sha256": ""}
    plan = {
        "datasets": {"Set5": [{"image": "other", "input_sha256": "x"}]},
        "scales": [2],
        "solvers": [{**changed, "line": "y"}],
        "protocol": "paper",
    }
    made_up.results.start_run("third", {}, plan)
    summary = summarise(made_up.results)
    asked = {(dataset, solver) for dataset, _, _, solver in summary.asked}
    assert ("Set5", "csc-sr[ista]") not in asked, "of other images"
    assert ("mine", "bicubic") not in asked, "of the older version"
    assert ("mine", "csc-sr[ista]") in asked
    assert ("Set5", "bicubic") in asked


@pytest.mark.parametrize("plan", ["[]", "{}", '{"protocol": "paper", "datasets": 3}', "spoilt"])
def test_an_earlier_plan_that_cannot_be_read_is_no_obstacle(made_up, plan):
    made_up.fill()
    made_up.fill()
    with made_up.results.exclusive() as connection:
        connection.execute("UPDATE runs SET plan = ? WHERE run = 1", (plan,))
    assert summarise(made_up.results).mean(Place("Set5", 2), "bicubic").complete
