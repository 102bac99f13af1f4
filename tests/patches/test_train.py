"""Training of A+ and ScSR end to end, on small images and on T91."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import APlus, InputError, ScSR, SuperResolution, make_solver, weights
from cscsr.cli import main
from cscsr.data.datasets import demo, licence_of_weights, load_dataset
from cscsr.imaging import degrade, imresize, rgb_to_y, score
from cscsr.patches.train import APlusOptions, ScSROptions, train
from cscsr.published_weights import CACHE_VARIABLE
from cscsr.trained_weights import trained_path

QUICK = APlusOptions(anchors=16, neighbours=512, samples=20_000, rounds=4, scales=(2, 3))


QUICK_SCSR = ScSROptions(atoms=32, samples=5000, steps=6, scales=(2, 3))


@pytest.fixture(scope="module")
def trained(textures, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "quick.safetensors"
    train(textures, path, QUICK, progress=False)
    return path


@pytest.fixture(scope="module")
def trained_scsr(textures, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "quick.safetensors"
    train(textures, path, QUICK_SCSR, progress=False)
    return path


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("method", [APlus, ScSR])
def test_even_a_quick_training_beats_bicubic_on_another_image(method, trained, trained_scsr, scale):
    path = trained if method is APlus else trained_scsr
    truth = rgb_to_y(dict(demo())["astronaut"])[:120, 64:184]
    lr = degrade(truth, scale, "y")
    ours = method(weights=str(path)).solve(SuperResolution(lr, scale)).estimate
    bicubic = score(imresize(lr, scale), truth, scale, "y")["psnr"]
    assert score(ours, truth, scale, "y")["psnr"] > bicubic + 0.3


def test_file_and_card_say_what_was_done(trained):
    _, metadata = weights.load(trained)
    assert metadata["training_images"] == 3
    assert metadata["options"]["anchors"] == 16
    row = metadata["scales"]["2"]
    assert row["holdout_psnr_db"] > row["holdout_bicubic_psnr_db"]
    card = trained.with_suffix(".md").read_text()
    assert "16 anchors and their regressors of A+; 512 neighbours per anchor" in card
    assert "3 images of T91" in card
    assert licence_of_weights(["T91"]) in card
    assert f"| x2 | {row['holdout_bicubic_psnr_db']:.2f} | {row['holdout_psnr_db']:.2f} |" in card
    assert str(trained.parent) not in card


def test_seed_determines_the_weights(textures, trained, tmp_path):
    for seed, same in ((0, True), (1, False)):
        path = tmp_path / f"{seed}.safetensors"
        options = APlusOptions(
            anchors=16, neighbours=512, samples=20_000, rounds=4, scales=(2,), seed=seed
        )
        train(textures, path, options, progress=False)
        first, again = weights.load(trained)[0], weights.load(path)[0]
        assert all(np.array_equal(first[name], array) for name, array in again.items()) == same


def test_command_trains_into_the_cache(textures, tmp_path, monkeypatch, capsys, refused):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    words = ["train", "a-plus", "--data", str(textures), "--scale", "2", "--anchors", "8"]
    words += ["--samples", "3000", "--neighbours", "64"]
    assert main(words) == 0
    path = trained_path("a-plus")
    printed = capsys.readouterr()
    assert printed.out == f"{path}: use it with cscsr upscale --solver a-plus\n"
    assert "x2: " in printed.err
    assert make_solver("a-plus").solve(SuperResolution(np.eye(9), 2)).estimate.shape == (18, 18)
    assert refused(*words) == f"{path} exists; --force replaces it."
    before = path.read_bytes()
    assert main([*words, "--force", "--seed", "1"]) == 0
    assert path.read_bytes() != before
    words = ["train", "scsr", *words[2:6], "--atoms", "16", "--samples", "3000", "--steps", "2"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("use it with cscsr upscale --solver scsr\n")
    assert make_solver("scsr").solve(SuperResolution(np.eye(9), 2)).estimate.shape == (18, 18)
    other = tmp_path / "other.safetensors"
    assert main([*words, "--out", str(other)]) == 0
    assert f"--solver scsr --weights {other}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--anchors", "0"], "anchors should be in [1, 65536], got 0"),
        (["--ridge", "nan"], "ridge should be in (0, 1000000], got nan"),
        (["--ridge", "0"], "ridge should be in (0, 1"),
        (["--scale", "1"], "each of scales should be in [2, 16], got 1"),
        (["--scale", "2", "2"], "a list without repetitions"),
        (["--sets", "Set5"], "expected training sets, but Set5 is a test set"),
        (["--sets", "T92"], "did you mean T91"),
        (["--out", "weights.bin"], "name of a .safetensors file, got weights.bin"),
        (["--minutes", "1"], "unrecognized arguments: --minutes 1"),
    ],
)
def test_command_says_at_once_what_is_wrong(words, sentence, textures, refused, tmp_path):
    out = [] if "--out" in words else ["--out", str(tmp_path / "w.safetensors")]
    assert sentence in refused("train", "a-plus", "--data", str(textures), *out, *words)


def test_few_patches_are_one_sentence(textures, tmp_path):
    options = APlusOptions(scales=(4,), samples=100)
    with pytest.raises(InputError, match="1024 anchors need at least as many patches"):
        train(textures, tmp_path / "w.safetensors", options, progress=False)


def test_training_without_a_folder_of_images_or_for_results(
    textures, tmp_path, refused, monkeypatch
):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    out = str(tmp_path / "w.safetensors")
    assert "CSCSR_DATA" in refused("train", "a-plus", "--out", out)
    (tmp_path / "taken.safetensors").mkdir()
    words = ["train", "a-plus", "--data", str(textures), "--force", "--out"]
    assert "it is a folder" in refused(*words, str(tmp_path / "taken.safetensors"))
    (tmp_path / "file").write_text("")
    assert "cannot write into the folder" in refused(
        *words, str(tmp_path / "file" / "w.safetensors")
    )


@pytest.mark.slow
def test_a_tenth_of_the_patches_of_t91_is_near_the_published_figure(shared_data, tmp_path):
    path = tmp_path / "a-plus.safetensors"
    train(shared_data, path, APlusOptions(samples=500_000, scales=(2,)), progress=False)
    solver, figures = APlus(weights=str(path)), []
    for _, truth in load_dataset("Set5", shared_data):
        estimate = solver.solve(SuperResolution(degrade(truth, 2, "y"), 2)).estimate
        figures.append(score(estimate, truth, 2, "y")["psnr"])
    assert np.mean(figures) > 36.2
