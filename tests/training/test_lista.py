"""The command that trains LISTA, and what it says of bad input."""

from __future__ import annotations

import math
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cscsr import InputError, SparseCoding, make_solver, weights
from cscsr.data.datasets import demo, training_textures
from cscsr.imaging import write_image
from cscsr.sparse.lista import LISTA
from cscsr.training.lista import Options, draw, main


@pytest.fixture
def large(tmp_path):
    """A folder of data whose held-out image is large enough for the card's figures."""
    folder = tmp_path / "data" / "T91"
    folder.mkdir(parents=True)
    for name, image in list(training_textures().items())[:2]:
        write_image(folder / f"{name}.png", image[:96, :96])
    write_image(folder / "held.png", demo().images[0].read()[:160, :160])
    (folder.parent / "holdout.txt").write_text("T91/held.png\n")
    return folder.parent


SMALL = ["--steps", "3", "--updates", "25", "--batch", "4", "--crop", "16", "--rate", "0.02"]


def objective(solver, problem):
    """The objective after the last step."""
    return solver.solve(problem).trace["objective"][-1]


@pytest.mark.slow
def test_trained_steps_code_better_than_ista_and_the_next_form_starts_from_them(
    tmp_path, large, capsys
):
    out = tmp_path / "out"
    command = ["--data", str(large), "--out", str(out), "--form", "step", *SMALL]
    main(command)
    path = out / "lista-step.safetensors"
    assert capsys.readouterr().out == f"{path}\n"
    tensors, _ = weights.load(str(path))
    dictionary = weights.load("lista-step")[0]["dictionary"]
    np.testing.assert_array_equal(tensors["dictionary"], dictionary)
    signal = np.random.default_rng(0).standard_normal((24, 24), np.float32) / 20
    problem = SparseCoding(signal, dictionary, 0.02)
    trained = objective(LISTA(form="step", weights=str(path), iterations=3), problem)
    assert trained < objective(make_solver("ista", iterations=3), problem)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith("# lista-step")

    # Once more: the run is at its end, and its file stays the same.
    before = path.read_bytes()
    main(command)
    assert weights.load(str(path))[0].keys() == tensors.keys()
    for name, value in weights.load(str(path))[0].items():
        np.testing.assert_array_equal(value, tensors[name])
    assert len(path.read_bytes()) == len(before)

    # The tied form has the same steps to begin with, and its own filters at the end.
    main(["--data", str(large), "--out", str(out), "--form", "tied", *SMALL[:3], "1", *SMALL[4:]])
    tied, _ = weights.load(str(out / "lista-tied.safetensors"))
    np.testing.assert_allclose(tied["gains"], tensors["gains"], rtol=0.05)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--crop", "200"], "training needs residuals of at least 200x200 pixels"),
        (["--filters", "crnet-a-small"], "crnet-a-small holds no filters"),
        (["--data", "nowhere"], "nowhere"),
        (["--steps", "0"], "steps should be in [1, 1000], got 0"),
        (["--updates", "0"], "updates should be in [1, 1000000000], got 0"),
        (["--batch", "0"], "batch should be in [1, 65536], got 0"),
        (["--crop", "0"], "crop should be in [1, 4096], got 0"),
        (["--rate", "nan"], "rate should be positive and finite, got nan"),
        (["--seed", "-1"], "seed should be in [0, 4294967295], got -1"),
        (["--seed", "9" * 30], "seed should be in [0, 4294967295], got 9999"),
        ([], "a held-out image with a residual of at least 48x48 pixels at x2"),
    ],
)
def test_bad_input_is_a_sentence(tmp_path, data, large, capsys, words, sentence):
    folder = large if words else data
    command = ["--data", str(folder), "--out", str(tmp_path / "out"), *SMALL, *words]
    assert main(command) == 2
    last = capsys.readouterr().err.split("\r")[-1]  # after bars of progress
    assert last.startswith("cscsr: ") and last.count("\n") == 1
    assert sentence in last
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lams": (0.0, 0.1)}, "each of lams should be positive and finite, got 0.0"),
        ({"lams": (0.1, math.inf)}, "each of lams should be positive and finite, got inf"),
        ({"lams": (0.2, 0.1)}, "lams should be a low and a high one, got (0.2, 0.1)"),
        ({"lams": (0.1,)}, "lams should be a low and a high one, got (0.1,)"),
        ({"scales": (1,)}, "each of scales should be in [2, 16], got 1"),
        ({"scales": (2.5,)}, "each of scales should be a whole number, got 2.5"),
        ({"scales": ()}, "scales should be a list of at least one item, got []"),
    ],
)
def test_options_made_in_python_are_checked_too(options, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        Options(**options)


def test_lambda_is_drawn_evenly_by_its_logarithm():
    """From a range of one number, that number."""
    generator = torch.Generator().manual_seed(0)
    image = [np.zeros((4, 4), np.float32)]
    options = Options(batch=1, crop=4, lams=(0.01, 1.0))
    drawn = [draw(image, options, generator)[1] for _ in range(2000)]
    assert min(drawn) >= 0.01 and max(drawn) <= 1.0
    assert np.mean(np.log10(drawn)) == pytest.approx(-1, abs=0.05)
    assert draw(image, Options(batch=1, crop=4, lams=(0.3, 0.3)), generator)[1] == (
        pytest.approx(0.3)
    )


def test_a_run_with_other_options_is_not_continued(tmp_path, large, capsys):
    command = [
        "--data",
        str(large),
        "--out",
        str(tmp_path / "out"),
        "--form",
        "step",
        "--crop",
        "16",
    ]
    command += ["--steps", "2", "--batch", "2"]
    assert main([*command, "--updates", "1"]) == 0
    assert main([*command, "--updates", "2"]) == 2
    assert "belongs to a run with other options (updates)" in capsys.readouterr().err


TINY = ["--steps", "3", "--updates", "2", "--batch", "1", "--crop", "16"]


def test_a_run_for_another_dictionary_or_other_images_is_not_continued(tmp_path, large, capsys):
    out = tmp_path / "out"
    command = ["--data", str(large), "--out", str(out), *TINY]
    assert main([*command, "--form", "step"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def refused(*words):
        assert main([*command, *words]) == 2
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        return capsys.readouterr().err.split("\r")[-1]

    other = ("--filters", "csc-sr-fista")
    assert "a run with other options (dictionary)" in refused("--form", "step", *other)
    assert "lista-step.safetensors is of another dictionary" in refused("--form", "tied", *other)
    assert "has 3 steps, not 2" in refused("--form", "tied", "--steps", "2")
    (large / "T91" / "held.png").rename(large / "T91" / "b.png")
    (large / "holdout.txt").write_text("T91/b.png\n")
    assert main([*command, "--form", "step"]) == 0, "the training images are the same"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write_image(large / "T91" / "more.png", demo().images[1].read()[:96, :96])
    assert "a run with other options (images)" in refused("--form", "step")
    (out / "lista-step.checkpoint").unlink()
    del before["lista-step.checkpoint"]
    assert "whose checkpoint is missing" in refused("--form", "step")


@pytest.mark.slow
def test_the_command_of_a_card_makes_its_weights_again(tmp_path, large):
    """Also those of a form that starts from another one, and with an option that is not usual."""
    first, again = tmp_path / "first", tmp_path / "again"
    options = ["--form", "step", "tied", "--rate", "0.0123456789", "--filter-rate", "0.002"]
    options += ["--seed", "5", "--filters", "csc-sr-fista"]
    assert main(["--data", str(large), "--out", str(first), *TINY, *options]) == 0
    card = (first / "lista-tied.md").read_text(encoding="utf-8")
    command = card.split("python -m cscsr.training.lista --data DIR ")[1].split("`")[0]
    assert main(["--data", str(large), "--out", str(again), *shlex.split(command)]) == 0
    tensors, expected = (
        weights.load(folder / "lista-tied.safetensors")[0] for folder in (again, first)
    )
    assert tensors.keys() == expected.keys()
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)
    # From the file of the form before, which the card names.
    (again / "lista-tied.safetensors").unlink()
    (again / "lista-tied.checkpoint").unlink()
    assert (
        main(["--data", str(large), "--out", str(again), *TINY, *options[:1], "tied", *options[3:]])
        == 0
    )
    card = (again / "lista-tied.md").read_text(encoding="utf-8")
    digest = weights.sha256(again / "lista-step.safetensors")
    assert "--form tied " in card and f"lista-step.safetensors, SHA-256 {digest}" in card


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_ends_in_a_sentence_and_goes_on(tmp_path, large, number):
    """Its steps are then those of a training that was not interrupted."""
    words = ["--data", str(large), "--form", "step", "--updates", "400", "--crop", "16"]
    command = [sys.executable, "-m", "cscsr.training.lista", *words, "--steps", "3", "--batch", "2"]
    out, unbroken = tmp_path / "out", tmp_path / "unbroken"
    child = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True)
    checkpoint = out / "lista-step.checkpoint"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "Traceback" not in said
    assert said.endswith("cscsr: interrupted.\n")
    assert [path.name for path in out.iterdir()] == [checkpoint.name]
    for folder in (out, unbroken):
        subprocess.run([*command, "--out", str(folder)], check=True, capture_output=True)
    tensors, expected = (
        weights.load(folder / "lista-step.safetensors")[0] for folder in (out, unbroken)
    )
    assert tensors.keys() == expected.keys()
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_shipping_says_what_is_missing(tmp_path, data):
    command = [sys.executable, "-m", "cscsr.training.ship", str(tmp_path), "crnet-a-small"]
    process = subprocess.run([*command, "--data", str(data)], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith("publish: ")
    assert process.stderr.count("\n") == 1
