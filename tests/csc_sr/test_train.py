"""Training of CSC-SR end to end on a few small embedded images."""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cscsr import ADMM, InputError, SparseCoding, SuperResolution, weights
from cscsr.cli import main
from cscsr.csc_sr.card import command_line
from cscsr.csc_sr.decompose import MARGIN, split
from cscsr.csc_sr.map_training import CodedImage, HeldOut, MapTraining
from cscsr.csc_sr.options import PRESETS, Coding, Options
from cscsr.csc_sr.solver import CSCSR
from cscsr.csc_sr.store import RunStore
from cscsr.csc_sr.train import filter_tiles, learned_filters, train_csc_sr
from cscsr.csc_sr.training_images import TILE, residual_tiles, training_pair
from cscsr.csc_sr.weight_file import read_weights
from cscsr.data.datasets import demo, licence_of_weights, training_images, training_textures
from cscsr.imaging import degrade, imresize, luma_of, read_image, rgb_to_y, score, write_image
from cscsr.locks import folder_lock

QUICK = replace(Options(), atoms=8, hr_atoms=12, filter_steps=2, crop=40, rounds=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder: four textures as T91, the brick held out."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "T91").mkdir()
    textures = training_textures()
    for name in ("brick", "coins", "motorcycle_left", "page"):
        write_image(folder / "T91" / f"{name}.png", textures[name][:120, :120])
    (folder / "holdout.txt").write_text("T91/brick.png\n")
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("out")
    paths = train_csc_sr(data, out, scales=(2,), options=QUICK, progress=False)
    return {path.stem.removeprefix("csc-sr-"): path for path in paths}


@pytest.mark.parametrize("coder", ["admm", "ista", "fista"])
def test_even_a_quick_training_beats_bicubic_on_another_image(trained, coder):
    truth = rgb_to_y(dict(demo())["astronaut"])[:128, 64:192]
    lr = degrade(truth, 2, "y")
    ours = CSCSR(coder, weights=str(trained[coder])).solve(SuperResolution(lr, 2)).estimate
    assert score(ours, truth, 2, "y")["psnr"] > score(imresize(lr, 2), truth, 2, "y")["psnr"] + 0.3


def test_file_and_card_say_what_was_done(trained):
    _, metadata = weights.load(trained["ista"])
    assert (metadata["coder"], metadata["training_images"]) == ("ista", 3)
    row = metadata["scales"]["2"]
    assert row["settings"]["iterations"] == 30
    assert max(row["holdout_psnr_db"].values()) > row["holdout_bicubic_psnr_db"]
    card = trained["ista"].with_suffix(".md").read_text()
    assert "3 images of T91" in card
    assert "learned by `cscsr.learn_dictionary` on T91" in card
    assert licence_of_weights(["T91"]) in card
    assert "1 held-out images" in card
    assert str(trained["ista"].parent) not in card


def test_same_seed_same_weights(data, trained, tmp_path):
    (again,) = train_csc_sr(
        data, tmp_path, coders=("ista",), scales=(2,), options=QUICK, progress=False
    )
    first, second = read_weights(str(trained["ista"])), read_weights(str(again))
    np.testing.assert_allclose(second.filters, first.filters, atol=1e-5)
    np.testing.assert_allclose(second.kernels[2], first.kernels[2], atol=1e-4)


def test_sums_go_on_where_they_were_saved(trained, tmp_path):
    """A run over the first two images, saved, taken up by one over all four."""
    start = read_weights(str(trained["ista"]))
    images = [luma_of(image)[:64, :64] for _, image in list(demo())[:4]]
    whole, part = (RunStore(tmp_path / name, name) for name in ("whole", "part"))

    def sums(store, count):
        return MapTraining(start, QUICK, images[:count], [], 0, False, store).sums(2)

    assert sums(part, 2).pixels < sums(part, 4).pixels == sums(whole, 4).pixels
    ends = [sums(store, 4).solve(0.1) for store in (part, whole)]  # float32, added otherwise
    torch.testing.assert_close(ends[0], ends[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "should be a checkpoint but cannot be read"),
        ({"filter": 3}, r"filters\.pt should hold"),
        ({"filters": torch.ones(8, 5, 4)}, r"filters\.pt\.filters should have the shape"),
        ({"filters": torch.full((8, 5, 5), np.nan)}, "holds a number that is not finite"),
    ],
)
def test_results_of_the_run_that_are_spoilt_are_refused(data, tmp_path, content, reason):
    paths = [path.name for path in training_images(data, QUICK.sets)]
    requested = dataclasses.asdict(QUICK)
    store = RunStore(tmp_path / "state", [requested, None, 0, paths])
    store.save("filters", {})
    torch.save(content, tmp_path / "state" / "filters.pt")
    with pytest.raises(InputError, match=reason):
        train_csc_sr(data, tmp_path, scales=(2,), options=QUICK, progress=False, coders=["ista"])
    (tmp_path / "state" / "filters.pt").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"filters\.pt should be a checkpoint but cannot be read"):
        train_csc_sr(data, tmp_path, scales=(2,), options=QUICK, progress=False, coders=["ista"])


def test_two_trainings_do_not_share_a_folder(data, tmp_path):
    with folder_lock(tmp_path, "trains"), pytest.raises(InputError, match="trains in"):
        train_csc_sr(data, tmp_path, scales=(2,), options=QUICK, progress=False)


def test_sums_of_another_shape_are_refused(data, trained, tmp_path):
    store = RunStore(tmp_path, ["sums"])
    start = read_weights(str(trained["ista"]))
    heldout: list[np.ndarray] = []
    images = [rgb_to_y(dict(demo())["chelsea"])[:60, :60]]
    training = MapTraining(start, QUICK, images, heldout, 0, False, store)
    name = training._sums_name(2)
    training.sums(2)
    state = store.load(name)
    for change, reason in (
        ({"done": 2}, r"should be in \[1, 1\]"),
        ({"sums": torch.ones(2)}, "sums should have the shape"),
        ({"pixels": "1"}, "pixels should be like"),
        ({"sums": state["sums"] * np.nan}, "not finite"),
    ):
        store.save(name, {**state, **change})
        with pytest.raises(InputError, match=reason) as raised:
            training.sums(2)
        assert f"{name}.pt" in str(raised.value)


def test_a_folder_with_another_run_is_refused(data, trained):
    out = trained["ista"].parent
    with pytest.raises(InputError, match="other options"):
        train_csc_sr(data, out, scales=(2,), options=QUICK, seed=1, progress=False)


def test_coder_without_a_map_of_its_own(data, tmp_path):
    with pytest.raises(InputError, match="cista"):
        train_csc_sr(data, tmp_path, coders=("cista",), progress=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--atoms 0", "--atoms must be at least 1, got 0"),
        ("--atoms 1", "at least 2 filters can be learned, got 1"),
        ("--atoms 8 --hr-atoms 7", "8 filters go with 8 to 36 HR filters"),
        ("--atoms 8 --hr-atoms 37", "one for each pair at most, got 37"),
        ("--filters csc-sr-admm --hr-atoms 100", "384 filters go with 384 to"),
        ("--filters lista-step", "expected the filters of csc-sr in lista-step"),
        ("--support 4", "support must be the filters' side 5 or an even number more, got 4"),
        ("--iterations 0", "iterations must be at least 1, got 0"),
        ("--coder admm --rho -1", "rho must be a finite number above 0, got -1.0"),
        ("--lam nan", "lambda must be a finite number of at least 0, got nan"),
        ("--seed -1", "seed should be in [0, 4294967295], got -1"),
        ("--ship ../mine", "a name without folders, got '../mine'"),
        ("--scale 0", "scale must be a whole number of at least 1, got 0"),
    ],
)
def test_command_says_at_once_what_is_wrong(data, tmp_path, capsys, words, sentence):
    out = tmp_path / "out"
    options = ["--data", str(data), "--out", str(out), "--coder", "ista", *words.split()]
    assert main(["train", "csc-sr", *options]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert not out.exists()


def test_images_too_small_and_codes_of_zero_are_named(data, tmp_path):
    with pytest.raises(InputError, match="no image to fit to has 8x8 low-resolution pixels at x20"):
        train_csc_sr(data, tmp_path, coders=("ista",), scales=(20,), options=QUICK, progress=False)
    silent = replace(QUICK, codings={"ista": Coding(1e3, {"iterations": 2, "tol": 0.0})})
    with pytest.raises(InputError, match="codes that are all zero"):
        train_csc_sr(
            data, tmp_path / "b", coders=("ista",), scales=(2,), options=silent, progress=False
        )


def test_memory_does_not_grow_with_the_images(data, tmp_path, monkeypatch):
    """An image is read where its codes are made, and gone when the next but one is read."""
    (tmp_path / "T91").mkdir()
    image = read_image(data / "T91" / "page.png")
    for number in range(9):
        write_image(tmp_path / "T91" / f"{number}.png", np.roll(image, 10 * number, 0))
    (tmp_path / "holdout.txt").write_text("T91/0.png\n")
    alive, counts = [], []

    def luma(path):
        image = luma_of(read_image(path)).view(Watched)
        alive.append(weakref.ref(image))
        counts.append(sum(other() is not None for other in alive))
        return image

    monkeypatch.setattr("cscsr.csc_sr.training_images.read_luma", luma)
    train_csc_sr(tmp_path, tmp_path, coders=("ista",), scales=(2,), options=QUICK, progress=False)
    assert len(counts) == 1 + 8 + 8  # the held-out one, for the filters, for the sums
    assert max(counts) <= 3  # the held-out one, this one and the one before


class Watched(np.ndarray):
    """An array that can be referred to weakly."""


def test_a_folder_where_nothing_was_made_is_free(data, tmp_path):
    """A run that ended before it had learned anything leaves the folder to others."""
    RunStore(tmp_path / "state", "one")
    other = RunStore(tmp_path / "state", "other")
    other.save("filters", {"filters": torch.zeros(1)})
    RunStore(tmp_path / "state", "other")
    with pytest.raises(InputError, match="other options"):
        RunStore(tmp_path / "state", "one")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_training_pair_adds_up_on_the_torus(scale):
    """Shifted reflections of a pair are those of the image's own: flips map to flips."""
    truth = rgb_to_y(dict(demo())["coffee"])[: 12 * scale, : 10 * scale]
    residual, target = training_pair(truth, scale)
    flipped_residual, flipped_target = training_pair(np.ascontiguousarray(truth[::-1]), scale)
    assert residual.shape == (24, 20)
    assert target.shape == (24 * scale, 20 * scale)
    np.testing.assert_allclose(residual[:12], flipped_residual[12:], atol=1e-12)
    np.testing.assert_allclose(residual[12:], flipped_residual[:12], atol=1e-12)
    np.testing.assert_allclose(target[::-1], target, atol=1e-12)
    np.testing.assert_allclose(flipped_target[: 12 * scale], target[12 * scale :], atol=1e-12)


def test_filters_are_unit_and_code_the_residuals_better_than_patches(data):
    """By the objective of ADMM's codes, beside as many patches drawn at random."""
    tiles = filter_tiles(data, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    places = zip(
        rng.integers(len(tiles), size=8), *rng.integers(TILE - 4, size=(2, 8)), strict=True
    )
    patches = np.stack([tiles[k, i : i + 5, j : j + 5] for k, i, j in places])
    patches /= np.linalg.norm(patches, axis=(1, 2), keepdims=True)
    filters = learned_filters(data, replace(QUICK, filter_steps=20))
    np.testing.assert_allclose(np.linalg.norm(filters, axis=(1, 2)), 1, rtol=1e-5)
    values = []
    for bank in (patches, filters):
        problem = SparseCoding(tiles[:, None], bank, QUICK.filter_lam)
        values.append(problem.objective(ADMM(60, record_every=0).solve(problem).codes))
    assert values[1] < 0.97 * values[0]


def test_flat_images_teach_no_filters(tmp_path):
    (tmp_path / "T91").mkdir()
    for name in ("one", "two"):
        write_image(tmp_path / "T91" / f"{name}.png", np.full((120, 120), 7, np.uint8))
    (tmp_path / "holdout.txt").write_text("T91/one.png\n")
    with pytest.raises(InputError, match="contrast"):
        learned_filters(tmp_path, QUICK)


def test_command_on_the_card_names_no_folder():
    words = ["train", "csc-sr", "--data", "/data/images", "--out", "runs/my filters"]
    expected = "cscsr train csc-sr --data images --out 'my filters'"
    assert command_line(words) == expected
    assert command_line(["-q", "tests/csc_sr"]) == "cscsr.csc_sr.train.train_csc_sr(...)"


@pytest.mark.parametrize("shape", [(120, 200), (200, 120)])
def test_tiles_are_windows_of_the_residual(shape):
    """Each is found in the residual, as wide as it is high, and not always at one place."""
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    whole = split(np.pad(degrade(image, 2, "y"), MARGIN, mode="edge")).residual
    whole = whole[MARGIN:-MARGIN, MARGIN:-MARGIN]
    windows = np.lib.stride_tricks.sliding_window_view(whole, (TILE, TILE))
    tiles = list(residual_tiles([image] * 20, (2,), np.random.default_rng(1)))
    places = {tuple(np.argwhere((windows == tile).all((2, 3)))[0]) for tile in tiles}
    assert len(tiles) == 20
    assert len(places) > 5


@pytest.mark.parametrize(("preset", "weight"), [("small", "admm"), ("paper", "paper-admm")])
def test_presets_are_what_the_shipped_weights_were_trained_with(preset, weight):
    options = PRESETS[preset]
    tensors, metadata = weights.load(f"csc-sr-{weight}")
    atoms, size, _ = tensors["filters"].shape
    assert (options.atoms, options.filter_size) == (atoms, size)
    assert tensors["mapping_x2"].shape == (options.hr_atoms, options.atoms)
    assert options.crop == metadata["crop"]
    for scale, phases in metadata["phases"].items():
        assert options.phases_at(int(scale)) == phases


def test_bicubic_on_the_held_out_images_is_what_score_measures():
    truths = [luma_of(image)[:61, :62] for _, image in list(demo())[:2]]
    images = [CodedImage(truth, np.empty(0), torch.empty(0)) for truth in truths]
    expected = [
        score(imresize(degrade(truth, 3, "y"), 3), truth, 3, "y")["psnr"] for truth in truths
    ]
    assert HeldOut(images, 5, 3).bicubic_psnr() == pytest.approx(np.mean(expected), abs=1e-9)
