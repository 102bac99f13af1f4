"""``cscsr race``: its files, its dictionaries, and what it refuses."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from cscsr.cli import main
from cscsr.csc_sr.decompose import split
from cscsr.data.datasets import demo
from cscsr.data.problems import named_dictionary
from cscsr.imaging import luma_of

FAST = ("--solvers", "fista", "active-set", "--gap", "1e-2", "--crop", "24")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(demo().images[0].read()[96:160, 96:160]).save(path)
    return path


@pytest.fixture
def filters(tmp_path):
    path = tmp_path / "filters.npy"
    np.save(path, np.random.default_rng(0).standard_normal((6, 4, 4)))
    return path


def run(*arguments) -> int:
    return main(["race", *map(str, arguments)])


def rows_of(folder):
    with (folder / "race.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_curves_and_plot_are_written(image, filters, tmp_path, capsys):
    out = tmp_path / "new" / "race"
    assert run(image, "--dictionary", filters, *FAST, "--lam", "0.02", "--out", out) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "race.csv",
        "curves.csv",
        "race.md",
        "race.png",
    }
    assert {row["solver"] for row in rows_of(out)} == {"fista", "active-set"}
    assert all(row["reached"] == "True" for row in rows_of(out))
    assert (out / "race.md").read_text(encoding="utf-8").strip() in printed
    assert "signal (24, 24) float32, 6 filters of 4x4, lam 0.02" in printed


def test_the_signal_is_the_middle_of_the_residual(image, filters, tmp_path, monkeypatch):
    problems = []
    monkeypatch.setattr(
        "cscsr.racing.race", lambda problem, *_, **__: problems.append(problem) or Silent()
    )

    class Silent:
        def save(self, folder):
            pass

    assert run(image, "--dictionary", filters, *FAST, "--dtype", "float64", "--out", tmp_path) == 0
    assert run(image, "--dictionary", filters, *FAST, "--keep-smooth", "--out", tmp_path) == 0
    luma = luma_of(np.asarray(Image.open(image))) / 255
    for problem, whole in zip(problems, (split(luma).residual, luma), strict=True):
        np.testing.assert_allclose(problem.signal, whole[20:44, 20:44], atol=1e-6)
    assert [problem.signal.dtype for problem in problems] == [np.float64, np.float32]


@pytest.mark.slow
def test_dictionaries_by_name_by_colour_and_learned(image, tmp_path, capsys):
    random = np.random.default_rng(0)
    np.save(tmp_path / "rgb.npy", random.standard_normal((5, 3, 4, 4)).astype(np.float32))
    colour = ("--dictionary", tmp_path / "rgb.npy")
    assert run(image, *colour, *FAST, "--out", tmp_path / "colour") == 0
    assert "signal (3, 24, 24) float32, 5 filters" in capsys.readouterr().out
    assert run(image, "--dictionary", "lista", *FAST, "--out", tmp_path / "named") == 0
    count, side = named_dictionary("lista").shape[:2]
    assert f"{count} filters of {side}x{side}" in capsys.readouterr().out
    assert run(image, "--learn", "5x4", *FAST, "--out", tmp_path / "learned") == 0
    learned = np.load(tmp_path / "learned" / "dictionary.npy")
    assert learned.shape == (5, 4, 4)
    assert len(rows_of(tmp_path / "learned")) == 2


def test_nothing_is_replaced_unasked(image, filters, tmp_path, refused):
    out = tmp_path / "out"
    out.mkdir()
    (out / "curves.csv").write_text("earlier")
    arguments = ("race", image, "--dictionary", filters, *FAST, "--out", out)
    assert "curves.csv exists already; replace it with --force" in refused(*arguments)
    assert (out / "curves.csv").read_text() == "earlier"
    assert main([*map(str, arguments), "--force"]) == 0
    assert (out / "curves.csv").read_text() != "earlier"


def test_bad_input_is_a_sentence(image, filters, tmp_path, refused):
    def said(*arguments):
        return refused("race", *arguments, "--out", tmp_path / "out")

    words = ("--dictionary", filters)
    assert "one of the arguments --dictionary --learn is required" in said(image)
    assert "there is no file" in said(tmp_path / "none.png", *words)
    assert "none.npy cannot be read" in said(image, "--dictionary", tmp_path / "none.npy")
    assert "G:8x8x64" in said(image, "--dictionary", "G:8x8x65")
    assert "like 64x8" in said(image, "--learn", "64")
    assert "atoms must be at least 1" in said(image, "--learn", "0x8")
    assert "--crop must be at least 0" in said(image, *words, "--crop", -1)
    assert "filters must fit into the signal" in said(image, *words, "--crop", 3)
    assert "gap must be" in said(image, *words, "--gap", 0)
    assert "lam" in said(image, *words, "--lam", -1)
    assert "no-solver" in said(image, *words, "--solvers", "no-solver")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_noticed_first(image, filters, tmp_path, refused):
    words = ("race", image, "--dictionary", filters, "--solvers", "lista[tied]", "--out")
    assert f"cannot write into the folder {image}: {image} is no folder" in refused(*words, image)
    assert "is no folder" in refused(*words, image / "race" / "new")
    assert "no solver can race: lista[tied] " in refused(*words, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_table_is_printed_though_the_files_cannot_be_written(image, filters, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "race.csv").mkdir(parents=True)
    words = (image, "--dictionary", filters, *FAST, "--lam", "1e9")
    assert run(*words, "--force", "--out", out) == 2
    printed = capsys.readouterr()
    assert "| fista " in printed.out
    assert "race.csv cannot be written" in printed.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cut short or of another kind"),
        (b"\x93NUMPY\x01\x00", "cut short or of another kind"),
        (np.zeros((4, 4)), r"should hold filters (M,h,w) or (M,3,h,w), got (4, 4)"),
        (np.zeros((4, 2, 4, 4)), "should hold filters"),
        (np.zeros((4, 4, 4), int), "floating-point filters, got int64"),
        (np.array([{}], object), "cut short or of another kind"),
    ],
)
def test_files_that_are_no_dictionary_are_a_sentence(image, tmp_path, refused, content, sentence):
    path = tmp_path / "filters.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    assert sentence in refused("race", image, "--dictionary", path, "--out", tmp_path / "out")
