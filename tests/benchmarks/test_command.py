"""The measurement of the command: a process of its own, timed, watched, and stopped in time."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from benchmarks import command
from cscsr import InputError, list_solvers
from cscsr.cli.upscale import BEST_SOLVER, DEFAULT_SOLVER
from cscsr.imaging import write_image


def row(solver: str, quality: float, seconds: float, scale: int = 2) -> dict[str, str]:
    return {
        "solver": solver,
        "scale": str(scale),
        "holdout_psnr_db": str(quality),
        "cpu_seconds": str(seconds),
        "start_cpu_seconds": "1",
        "peak_mb": "300",
        "holdout_images": "4",
        "machine": "a machine",
    }


def test_choice_is_the_best_of_the_fast_and_the_best_of_all():
    rows = [
        row("fast", 28.0, 1.0),
        row("good", 30.0, 8.8),
        row("best", 31.0, 30.0),
        row("slow at x4", 30.5, 2.0),
        row("slow at x4", 30.5, 9.2, 4),
    ]
    assert command.choice(rows) == ("good", "best")
    with pytest.raises(InputError, match="no solver takes under 5 s"):
        command.choice(rows[2:3])


def test_command_is_measured_from_outside(tmp_path):
    image = tmp_path / "photo.png"
    write_image(image, np.full((64, 64), 99, np.uint8))
    usage = command.measure("bicubic", image, 2)
    assert usage["finished"] == 1
    assert usage["cpu_seconds"] > 0 and usage["seconds"] > 0
    assert 20 < usage["peak_mb"] < 500
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    with pytest.raises(InputError, match="unknown solver 'bicubik'"):
        command.measure("bicubik", image, 2)


def test_rows_replace_their_like_and_make_the_page(tmp_path, monkeypatch):
    path = tmp_path / "command.csv"
    command.write_rows(path, [row("a", 28.0, 1.0), row("b", 29.0, 1.0)], ("solver", "scale"))
    command.write_rows(path, [row("a", 30.0, 2.0)], ("solver", "scale"))
    with path.open(newline="") as file:
        stored = {(r["solver"], r["holdout_psnr_db"]) for r in csv.DictReader(file)}
    assert stored == {("a", "30.0"), ("b", "29.0")}
    memory = {"size": "9x9", "peak_mb": "77", "finished": "0.0", "seconds": "5"}
    command.write_rows(tmp_path / "memory.csv", [row("a", 0, 0) | memory], ("solver",))
    monkeypatch.setattr(command, "SOLVERS_CSV", path)
    monkeypatch.setattr(command, "MEMORY_CSV", tmp_path / "memory.csv")
    blocks = "<!-- memory -->\n<!-- /memory -->\n<!-- command -->\n<!-- /command -->\n"
    text = command.page(blocks)
    assert "| a (default, --best) | 30.00 | 1.5 | 300 MB |" in text.replace("`", "")
    assert "| a | 9×9, ×2 | 77 MB, stopped after 5 s |" in text
    assert command.page(text) == text
    with pytest.raises(InputError, match="markers"):
        command.page("no markers")


def test_example_of_the_protocol_page_is_what_the_command_says():
    text = command.PROTOCOL_PAGE.read_text(encoding="utf-8")
    assert text == command.protocol_page(text), "run python -m benchmarks.command explain"


def test_picture_has_a_panel_for_each_solver(tmp_path):
    from PIL import Image

    command.draw_picture(tmp_path / "a.png", ["bicubic"])
    command.draw_picture(tmp_path / "b.png", ["bicubic", "bicubic"])
    heights = [Image.open(tmp_path / name).height for name in ("a.png", "b.png")]
    assert heights[1] / heights[0] == pytest.approx(2, abs=0.05)  # three panels, and four


def test_tables_of_the_quick_start_are_of_the_measurements():
    text = command.PAGE.read_text(encoding="utf-8")
    assert text == command.page(text), "run python -m benchmarks.command"


def test_default_and_best_solver_are_those_that_measured_best():
    with command.SOLVERS_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert command.choice(rows) == (DEFAULT_SOLVER, BEST_SOLVER)
    taught = {
        "crnet-a",
        "crnet-b",
        "crnet-b+",
    }  # by another network: upscale takes them only by name
    shipped = {
        name for name in list_solvers("SuperResolution") if name.startswith("crnet")
    } - taught
    assert {row["solver"] for row in rows} >= shipped, "measure the new ones too"
