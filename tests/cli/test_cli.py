"""The command `cscsr` as a whole: its help, its exit codes, and what it loads."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import cscsr
from cscsr.cli import main

SUBCOMMANDS = (
    "solvers",
    "upscale",
    "score",
    "compare",
    "train",
    "learn-dictionary",
    "data",
    "weights",
    "export",
)


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cscsr {cscsr.__version__}\n"


def test_python_m_runs_the_command(photo):
    done = subprocess.run(
        [sys.executable, "-m", "cscsr", "upscale", str(photo), "--scale", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "cscsr: scale must be a whole number of at least 1, got 0.\n"


def test_command_without_arguments_or_with_wrong_ones(refused):
    assert "COMMAND" in refused()
    assert "upscal" in refused("upscal")
    assert "--scale" in refused("upscale", "photo.png")


@pytest.mark.parametrize("words", [[], *([name] for name in SUBCOMMANDS), ["train", "csc-sr"]])
def test_help_of_every_command_speaks_of_the_installed_package_alone(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: {' '.join(['cscsr', *words])} ")
    assert "benchmarks" not in printed
    if not words:
        assert all(re.search(rf"\n    {name}\s", printed) for name in SUBCOMMANDS)


def test_compare_makes_tables_and_takes_its_own_options(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
    assert main([*command, "--out", str(out)]) == 0
    assert {"index.html", "table1.md", "results.sqlite"} <= {path.name for path in out.iterdir()}
    capsys.readouterr()
    assert main(["compare", "--scales", "x", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
