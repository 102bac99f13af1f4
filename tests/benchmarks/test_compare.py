"""The comparison with its figures: options of the figures are checked first."""

import pytest

from benchmarks.compare import main


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--fig5-width", "0"], "positive width, got 0"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_bad_options_get_one_sentence(tmp_path, capsys, option, sentence):
    assert main(["--solvers", "bicubic", "--out", str(tmp_path / "out"), *option]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists(), "bad input is found before anything is made"


def test_without_its_figures_it_is_the_comparison(tmp_path):
    command = ["--datasets", "demo", "--scales", "4", "--solvers", "bicubic", "--no-figures"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "fig5.png").exists()
    assert "python -m benchmarks.compare" in (tmp_path / "table1.md").read_text()
