"""``cscsr solvers``: every solver is listed, and those that cannot be loaded."""

from __future__ import annotations

import cscsr
from cscsr.cli import main


def test_solvers_lists_every_one(capsys):
    assert main(["solvers"]) == 0
    printed = capsys.readouterr().out
    for name, summary in cscsr.list_solvers().items():
        assert f"  {name} " in printed
        assert summary in printed
    assert "cscsr upscale takes crnet-b-small, and crnet-b-small+ with --best." in printed


def test_package_that_cannot_be_loaded_does_not_hide_the_others(
    photo, tmp_path, monkeypatch, capsys, refused
):
    facts = tmp_path / "broken-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[cscsr.solvers]\nbad = no_such_module:Solver\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["solvers"]) == 0
    printed = capsys.readouterr().out
    assert "  crnet-b-small " in printed
    assert printed.endswith("Cannot be loaded: bad (from the package broken).\n")
    said = refused("upscale", photo, "--scale", 2, "--solver", "bad")
    assert "no_such_module" in said and "reinstall or remove that package" in said
