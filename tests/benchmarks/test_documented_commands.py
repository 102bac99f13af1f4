"""Every command of a study that docs/reproduce.md names is there, with the options it is given."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reproduce.md"
COMMANDS = sorted(set(re.findall(r"python -m (benchmarks\.[^`]*)`", PAGE.read_text("utf-8"))))


def test_the_page_names_every_study():
    folder = PAGE.parents[1] / "benchmarks"
    modules = {path.stem for path in folder.glob("[a-z]*.py")}
    packages = {path.parent.name for path in folder.glob("*/__main__.py")}
    named = {command.split()[0].removeprefix("benchmarks.") for command in COMMANDS}
    assert named == modules | packages


@pytest.mark.parametrize("command", COMMANDS)
def test_it_takes_its_options(command, capsys):
    module, *words = command.split()
    if find_spec(module).submodule_search_locations is not None:
        module += ".__main__"
    with pytest.raises(SystemExit) as ending:
        import_module(module).main([*words, "--help"])
    assert ending.value.code == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in words if word.startswith("--"))
