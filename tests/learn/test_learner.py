"""Learning a dictionary: what it reaches, what it repeats, what it refuses."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import cscsr
from cscsr import ActiveSet, InputError, SparseCoding, learn_dictionary
from cscsr.csc_sr.decompose import split
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of
from cscsr.learn import ImageSignals

torch.set_num_threads(1)

SHORT = {"atoms": 8, "size": 6, "lam": 0.05, "steps": 12, "crop": 32, "batch": 3}


@pytest.fixture(scope="module")
def residuals():
    return [
        split(luma_of(image.read()) / 255.0).residual.astype(np.float32) for image in demo().images
    ]


def planted(seed=0, channels=1):
    """Signals of four known filters with sparse codes, and the filters."""
    random = np.random.default_rng(seed)
    filters = random.standard_normal((4, channels, 5, 5))
    filters /= np.linalg.norm(filters.reshape(4, -1), axis=1)[:, None, None, None]
    signals = []
    for _ in range(6):
        codes = random.standard_normal((4, 40, 40)) * (random.random((4, 40, 40)) < 0.01)
        problem = SparseCoding(np.zeros((channels, 40, 40)), filters, 0.1)
        signals.append(problem.operator().synthesis(codes))
    return signals, filters


def likeness(learned, true):
    """For each true filter the largest correlation, over shifts, with a learned one."""
    side = 16
    spectra = [np.fft.fft2(f, (side, side)) for f in (learned, true)]
    products = np.einsum("ichw,jchw->ijhw", spectra[0], spectra[1].conj())
    return np.abs(np.fft.ifft2(products)).max((0, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("online", [True, False])
def test_filters_that_made_the_signals_are_learned(channels, online):
    signals, filters = planted(channels=channels)
    learned = learn_dictionary(
        signals,
        16,
        7,
        0.1,
        channels=channels,
        online=online,
        steps=40 if online else 20,
        crop=40,
        seed=1,
    ).filters.reshape(16, channels, 7, 7)
    assert (likeness(learned, filters) > 0.93).all()


@pytest.mark.slow
@pytest.mark.parametrize("online", [True, False])
def test_masks_exclude_what_is_missing(online):
    """From half of the pixels, the others holding a number that would spoil every code, filters
    that start far from the true ones come to them."""
    signals, filters = planted()
    random = np.random.default_rng(1)
    masks = [random.random((40, 40)) < 0.5 for _ in signals]
    spoilt = [np.where(mask, signal[0], 3.0) for signal, mask in zip(signals, masks, strict=True)]
    init = filters[:, 0] + random.standard_normal((4, 5, 5)) / 5
    init /= np.linalg.norm(init, axis=(1, 2), keepdims=True)
    assert (likeness(init[:, None], filters) < 0.8).all()
    options = {"online": online, "steps": 20, "crop": 40, "init": init}
    learned = learn_dictionary(spoilt, 4, 5, 0.1, masks=masks, **options).filters
    assert (likeness(learned[:, None], filters) > 0.99).all()


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_held_out_images_are_coded_better_with_each_step(residuals, boundary):
    objectives = {}

    def note(step, filters):
        if step in (1, 4, 12):
            for residual in residuals[-2:]:
                part = residual[96:160, 96:160]
                problem = SparseCoding(part, filters, 0.05, boundary=boundary)
                codes = ActiveSet(tol=1e-3).solve(problem).codes
                objectives[step] = objectives.get(step, 0.0) + problem.objective(codes)

    options = {**SHORT, "crop": 64, "batch": 4}
    learned = learn_dictionary(residuals[:-2], boundary=boundary, callback=note, **options)
    assert objectives[1] > 1.05 * objectives[4] > 1.05 * 1.03 * objectives[12]
    np.testing.assert_allclose(np.linalg.norm(learned.filters, axis=(1, 2)), 1, rtol=1e-5)
    assert len(learned.objective) == len(learned.seconds) == 12
    assert (np.diff(learned.seconds) > 0).all()


def test_a_seed_determines_every_bit(residuals):
    first, again = (learn_dictionary(residuals, seed=3, **SHORT).filters for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (learn_dictionary(residuals, seed=4, **SHORT).filters != first).any()


@pytest.mark.slow
@pytest.mark.parametrize("online", [True, False])
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path, residuals, online):
    class Stop(Exception):
        pass

    def stop(step, filters):
        if step == 2:
            raise Stop

    options = {**SHORT, "steps": 4, "online": online}
    signals = [residual[:48, :48] for residual in residuals]
    whole = learn_dictionary(signals, **options)
    checkpoint = tmp_path / "checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cscsr.learn.learner.SAVE_SECONDS", 0.0)
        with pytest.raises(Stop):
            learn_dictionary(signals, checkpoint=checkpoint, callback=stop, **options)
    seen = []
    rest = learn_dictionary(
        signals, checkpoint=checkpoint, callback=lambda step, _: seen.append(step), **options
    )
    assert seen == [3, 4]
    np.testing.assert_array_equal(rest.filters, whole.filters)
    np.testing.assert_array_equal(rest.objective, whole.objective)
    with pytest.raises(InputError, match="other options or signals"):
        learn_dictionary(signals, checkpoint=checkpoint, **{**options, "lam": 0.1})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, residuals):
    """The checkpoint of a run over all signals, what it holds, and its arguments."""
    path = tmp_path_factory.mktemp("run") / "checkpoint"
    signals = [residual[:32, :32] for residual in residuals[:2]]
    options = {**SHORT, "steps": 2, "online": False, "checkpoint": path}
    learn_dictionary(signals, **options)
    return path, torch.load(path, weights_only=True), lambda: learn_dictionary(signals, **options)


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("filters", lambda filters: filters[:2], r"filters should have the shape \(8, 1, 6, 6\)"),
        ("filters", lambda filters: filters * np.nan, "filters holds a number that is not finite"),
        ("step", lambda _: "x", "step should be a whole number, got 'x'"),
        ("step", lambda _: 3, r"step should be in \[0, 2\], got 3"),
        ("sums", lambda sums: sums[:1], "sums should be a list of 2"),
        ("objective", lambda values: values[:1], r"objective should have the shape \(2,\)"),
        ("seconds", lambda values: values.tolist(), "seconds should be a tensor"),
        ("codes", lambda _: 3, "codes should be a table, got 3"),
        ("codes", lambda codes: {"0": codes["0"][:1]}, r"codes\.0 should be a list of 2"),
        (
            "codes",
            lambda codes: {"0": [codes["0"][0] + 8 * 32 * 32, codes["0"][1]]},
            r"codes\.0 should be places from 0 to 8191",
        ),
    ],
)
def test_a_damaged_checkpoint_is_a_sentence(checkpoint, name, wrong, sentence):
    path, state, learn = checkpoint
    torch.save({**state, name: wrong(state[name])}, path)
    with pytest.raises(InputError, match=rf"checkpoint: {sentence}"):
        learn()
    torch.save(state, path)
    np.testing.assert_array_equal(learn().filters, state["filters"][:, 0])


def test_start_and_codes_that_are_not_negative(residuals):
    init = np.random.default_rng(0).standard_normal((8, 6, 6))
    options = {**SHORT, "steps": 1}
    learned = learn_dictionary(residuals, init=init, nonnegative=True, **options)
    assert (learn_dictionary(residuals, init=init, **options).filters != learned.filters).any()
    for same in (init[:, None], torch.from_numpy(init).requires_grad_()):
        again = learn_dictionary(residuals, init=same, nonnegative=True, **options).filters
        np.testing.assert_array_equal(again, learned.filters)


@pytest.mark.parametrize(
    ("init", "sentence"),
    [
        (
            np.ones((7, 6, 6)),
            r"init must have shape \(8, 1, 6, 6\) or \(8, 6, 6\), got \(7, 6, 6\)",
        ),
        (np.ones((6, 6, 8)), r"init must have shape .*, got \(6, 6, 8\)"),
        (np.ones((8, 6, 6), int), "init must be float32 or float64, got int64"),
        (np.full((8, 6, 6), np.nan), "init must be finite"),
        (torch.full((8, 6, 6), 1e39, dtype=torch.float64), "init must be finite in float32"),
        ("abc", "init must be a numpy array or a torch tensor, got str"),
    ],
)
def test_another_start_is_a_sentence(residuals, init, sentence):
    with pytest.raises(InputError, match=sentence):
        learn_dictionary(residuals, init=init, **{**SHORT, "steps": 1})


def test_a_start_of_several_channels_has_their_axis():
    signals = [planted(channels=3)[0][0]]
    with pytest.raises(InputError, match=r"init must have shape \(8, 3, 6, 6\), got \(8, 6, 18\)"):
        learn_dictionary(signals, channels=3, init=np.ones((8, 6, 18)), **SHORT)


def test_an_atom_without_codes_is_drawn_anew():
    """Signals that are constant along rows have no codes of an atom that sums to zero there, and no
    gradient moves it."""
    rows = np.random.default_rng(0).standard_normal((40, 1)).astype(np.float32)
    signal = np.repeat(rows, 40, 1)
    useless = np.tile([1.0, -1.0], (6, 3))
    init = np.stack([useless, *(signal[top : top + 6, :6] for top in range(0, 28, 4))])
    learned = learn_dictionary([signal], init=init, **{**SHORT, "steps": 1}).filters
    assert abs((learned[0] * useless).sum()) / np.linalg.norm(useless) < 0.1


@pytest.mark.parametrize("atoms", [1, 8])
def test_filters_come_from_the_little_contrast_there_is(atoms):
    """Nothing exceeds λ, so that all atoms are drawn anew at each step: they are parts of the one
    signal of three that is not flat where it is observed."""
    details = np.random.default_rng(0).standard_normal((6, 6))
    signals, masks = np.zeros((3, 128, 128)), np.ones((3, 128, 128))
    signals[1, 60:66, 90:96] = details
    signals[2, 5, 7], masks[2, 5, 7] = 1.0, 0.0
    options = {"steps": 3, "lam": 1e3, "masks": list(masks)}
    learned = learn_dictionary(list(signals), atoms, 5, **options).filters
    patches = np.lib.stride_tricks.sliding_window_view(signals[1], (5, 5)).reshape(-1, 25)
    patches = patches[patches.any(axis=1)]
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    assert ((learned.reshape(atoms, 25) @ patches.T).max(axis=1) > 0.999).all()
    again = learn_dictionary(list(signals), atoms, 5, **options).filters
    np.testing.assert_array_equal(learned, again)


def test_a_single_pixel_is_contrast_enough():
    signal = np.zeros((96, 96))
    signal[70, 3] = 0.5
    learned = learn_dictionary([signal], 3, 5, 1e3, steps=1).filters
    np.testing.assert_allclose(np.abs(learned).max(axis=(1, 2)), 1, atol=0.02)


def test_learning_does_not_end_at_an_unused_atom_of_mostly_flat_signals():
    signal = np.zeros((128, 128), np.float32)
    signal[40:72, 40:72] = np.random.default_rng(0).standard_normal((32, 32))
    options = {"steps": 14, "batch": 2, "crop": 128, "coding_iterations": 5}
    learned = learn_dictionary([signal], 24, 5, 4.0, **options)
    assert len(learned.objective) == 14


@pytest.mark.parametrize("unit", [2.0**-44, 2.0**44])
def test_filters_are_those_of_the_signals_in_any_unit(residuals, unit):
    options = {**SHORT, "steps": 3}
    ours = learn_dictionary(
        [unit * r for r in residuals], **{**options, "lam": unit * options["lam"]}
    )
    np.testing.assert_allclose(
        ours.filters, learn_dictionary(residuals, **options).filters, atol=1e-4
    )


def test_lists_need_not_fit_into_memory(tmp_path, monkeypatch):
    """With room for one signal the filters are those of signals that are all in memory."""
    paths = [image.path for image in demo().images]
    whole = learn_dictionary(ImageSignals(paths), **{**SHORT, "steps": 3}).filters
    monkeypatch.setattr("cscsr.learn.signals.CACHE_BYTES", 1)
    read = []
    original = ImageSignals.__getitem__
    monkeypatch.setattr(
        ImageSignals, "__getitem__", lambda self, i: read.append(i) or original(self, i)
    )
    np.testing.assert_array_equal(
        learn_dictionary(ImageSignals(paths), **{**SHORT, "steps": 3}).filters, whole
    )
    assert len(read) > len(paths)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"atoms": 0}, "atoms must be at least 1, got 0"),
        ({"lam": 0.0}, "lam must be a finite number above 0"),
        ({"lam": float("nan")}, "lam must be a finite number above 0"),
        ({"size": 2.5}, "size must be a whole number"),
        ({"boundary": "valid"}, "boundary must be circular or zero"),
        ({"crop": 4}, "crop must be at least 6, got 4"),
        ({"seed": 2**32}, r"seed should be in \[0, 4294967295\], got 4294967296"),
        ({"channels": 3}, r"signal \d+ must have shape \(3, H, W\) with sides of at least 6"),
    ],
)
def test_options_out_of_range_are_a_sentence(residuals, options, sentence):
    with pytest.raises(InputError, match=sentence):
        learn_dictionary(residuals, **{**SHORT, **options})


@pytest.mark.parametrize(
    ("signals", "sentence"),
    [
        ([], "at least one signal"),
        ([np.zeros((40, 40), np.float32)], "contrast"),
        ([np.full((40, 40), np.nan, np.float32)], "finite"),
        ([np.full((40, 40), 1e39)], r"signal 0 reaches 1e\+39: .* from 1e-15 to 1e\+15; scale"),
        ([np.full((40, 40), 1e-16)], "signal 0 reaches 1e-16: learning computes in float32"),
        ([np.zeros((40, 40), np.uint8)], "float32 or float64, got uint8"),
        ([np.zeros((40, 5), np.float32)], "sides of at least 6 pixels"),
    ],
)
def test_signals_out_of_range_are_a_sentence(signals, sentence):
    with pytest.raises(InputError, match=sentence):
        learn_dictionary(signals, **SHORT)


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        ([np.ones((40, 40))], "a mask for each of the 2 signals, got 1"),
        ([np.ones((40, 40)), np.ones((40, 39))], r"mask \d: mask must broadcast to .*40, 40"),
        ([np.ones((40, 40)), np.full((40, 40), 2.0)], r"mask \d: mask must lie in \[0, 1\]"),
    ],
)
def test_masks_out_of_range_are_a_sentence(masks, sentence):
    signals = [planted()[0][0][:, :40, :40].astype(np.float32)] * 2
    with pytest.raises(InputError, match=sentence):
        learn_dictionary(signals, masks=masks, **SHORT)


def test_repr_is_short():
    learned = cscsr.LearnedDictionary(np.zeros((4, 3, 5, 5)), np.ones(2), np.ones(2))
    assert len(repr(learned)) < 120
    assert "4 filters of 5x5, 3 channels" in repr(learned)


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path):
    """kill -9 in the middle; the same command ends with the filters of a run without it."""
    photos = [str(image.path) for image in demo().images]
    options = ["--atoms", "8", "--size", "6", "--steps", "60", *photos]
    program = (
        "import sys, cscsr.learn.learner as l; l.SAVE_SECONDS = 0.0\n"
        "from cscsr.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def command(name):
        words = ["learn-dictionary", "--out", str(tmp_path / name), *options]
        return [sys.executable, "-c", program, *words]

    subprocess.run(command("whole.npy"), check=True, capture_output=True)
    with subprocess.Popen(command("killed.npy"), stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not (tmp_path / "killed.npy.checkpoint").exists() and time.monotonic() < end:
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "killed.npy").exists()
    subprocess.run(command("killed.npy"), check=True, capture_output=True)
    whole, killed = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "killed"))
    np.testing.assert_array_equal(whole, killed)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "killed.npy",
        "killed.png",
        "whole.npy",
        "whole.png",
    ]
