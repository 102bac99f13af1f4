"""`python -m benchmarks.compare`: the comparison of the package, with two figures beside it."""

import pytest

from benchmarks import compare
from cscsr.compare.command import main as compare_in_the_package


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fig5-width", "0"], "positive width, got 0"),
        (["--fig5-seconds", "0"], "positive"),
        (["--scales", "1"], "at least 2, got 1"),
    ],
)
def test_bad_arguments_get_one_sentence(tmp_path, capsys, arguments, sentence):
    assert compare.main(["--solvers", "bicubic", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_both_commands_make_the_same_tables(tmp_path, capsys):
    arguments = ["--datasets", "demo", "--scales", "4", "--solvers", "bicubic", "--showcase", "0"]
    assert compare.main([*arguments, "--no-figures", "--out", str(tmp_path / "study")]) == 0
    assert compare_in_the_package([*arguments, "--out", str(tmp_path / "package")]) == 0
    study, package = (
        (tmp_path / name / "table1.csv").read_text().splitlines() for name in ("study", "package")
    )
    seconds = study[0].split(",").index("seconds")
    for ours, theirs in zip(study, package, strict=True):
        cells = [line.split(",") for line in (ours, theirs)]
        assert [c[:seconds] + c[seconds + 1 :] for c in cells[:1]] == [
            c[:seconds] + c[seconds + 1 :] for c in cells[1:]
        ]
    assert not (tmp_path / "study" / "fig5.png").exists()
