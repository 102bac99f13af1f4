"""What is measured of CRNet's weights, on weights whose answer is known."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from benchmarks.is_crnet_sparse_coding import (
    autocorrelation,
    balanced,
    floor_of,
    identity,
    is_crnet_sparse_coding,
    nearest_dictionary,
    recursions,
    symbol,
)
from cscsr import make_solver
from cscsr.data.datasets import demo
from cscsr.operators import ConvDictionary


def exact(atoms=6, channels=2, size=2, seed=0) -> np.ndarray:
    """n − (1/L) flip(f)⊗f of a random f, as a network's layer holds it."""
    filters = np.random.default_rng(seed).standard_normal((atoms, channels, size, size))
    operator = ConvDictionary(filters, (32, 32))
    gram = autocorrelation(torch.from_numpy(filters), 2 * size - 1).numpy()
    return identity(atoms, 2 * size - 1) - gram / operator.lipschitz


def test_the_target_is_the_recurrent_filters_of_cista():
    filters = np.random.default_rng(0).standard_normal((6, 2, 3, 3))
    _, recurrent = ConvDictionary(filters, (32, 32)).cista_filters()
    # CISTA's are filters of a convolution, a layer's of a correlation.
    np.testing.assert_allclose(exact(size=3), recurrent.numpy()[..., ::-1, ::-1], atol=1e-14)


def test_the_symbol_is_what_the_layer_does():
    filters = np.random.default_rng(1).standard_normal((3, 4, 3, 3))
    maps = np.random.default_rng(2).standard_normal((4, 8, 8))
    padded = torch.from_numpy(np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="wrap"))
    layer = torch.nn.functional.conv2d(padded[None], torch.from_numpy(filters))[0].numpy()
    spectrum = np.einsum("hwij,jhw->ihw", symbol(filters, 8), np.fft.fft2(maps))
    np.testing.assert_allclose(np.fft.ifft2(spectrum), layer, atol=1e-12)


def test_an_s_of_cista_is_known_as_one():
    recurrent = exact()
    transfer = symbol(recurrent)
    np.testing.assert_allclose(transfer, np.conj(np.swapaxes(transfer, -1, -2)), atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(transfer)
    assert eigenvalues.max() == pytest.approx(1.0)
    assert eigenvalues.min() == pytest.approx(0.0, abs=1e-12)
    assert sum(floor_of(recurrent, 2).values()) < 1e-20
    filters, distance = nearest_dictionary(recurrent, 2, 2)
    assert distance < 1e-3
    assert ConvDictionary(filters, (32, 32)).lipschitz == pytest.approx(1.0, abs=1e-3)
    # One channel is not enough for the dictionary of two, and the floor knows by how much.
    away = np.linalg.norm(identity(6, 3) - recurrent)
    _, distance = nearest_dictionary(recurrent, 1, 2)
    assert (distance / away) ** 2 >= floor_of(recurrent, 1)["rank"] > 0.01


def test_scaled_channels_are_scaled_back():
    recurrent = exact()
    scales = np.exp(np.random.default_rng(3).standard_normal(6))
    scaled = recurrent * (scales[:, None] / scales)[..., None, None]
    assert floor_of(scaled, 2)["asymmetric"] > 0.05
    back, found = balanced(scaled)
    np.testing.assert_allclose(back, recurrent, atol=1e-9)
    np.testing.assert_allclose(found * scales / (found * scales)[0], 1.0, atol=1e-9)


def test_no_dictionary_is_nearer_than_the_floor():
    recurrent = np.random.default_rng(4).standard_normal((5, 5, 3, 3))
    floor = floor_of(recurrent, 2)
    assert floor["asymmetric"] > 0.3
    away = np.linalg.norm(identity(5, 3) - recurrent)
    for size in (2, 3):
        filters, distance = nearest_dictionary(recurrent, 2, size)
        # Cut to 3×3 lags the autocorrelation of 3×3 filters is no longer semidefinite.
        if size == 2:
            assert (distance / away) ** 2 >= sum(floor.values())
        gram = autocorrelation(torch.from_numpy(filters), 3).numpy()
        assert distance == pytest.approx(np.linalg.norm(identity(5, 3) - gram - recurrent))


def test_recursions_are_those_of_the_network():
    image = dict(demo())["chelsea"][100:140, 100:144]
    rows = recursions("crnet-b-small", 2, [image], 2)
    trained = rows[0]["trained_recursions"]
    assert [row["recursion"] for row in rows] == list(range(2 * trained))
    assert rows[trained]["norm"] == 1.0
    assert rows[trained]["energy"] == 0.0
    assert abs(rows[0]["energy"]) == pytest.approx(1.0)
    solution = make_solver("crnet-b-small").solve(problem_of_crop(image))
    assert rows[trained]["nnz_share"] == pytest.approx(np.mean(solution.codes != 0), rel=1e-4)


def problem_of_crop(image):
    from benchmarks.sr_convergence import problem_of

    return problem_of(image, 2, "rgb")


def test_the_page_has_a_column_for_each_network(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.is_crnet_sparse_coding.FIT_STEPS", 3)
    from cscsr.imaging import write_image

    (tmp_path / "data" / "one").mkdir(parents=True)
    crop = dict(demo())["chelsea"][100:140, 100:144]
    write_image(tmp_path / "data" / "one" / "cat.png", (crop / 255).astype(np.float32))
    walks, facts, picture, page = is_crnet_sparse_coding(
        tmp_path / "out", data=tmp_path / "data", dataset="one", solvers=["crnet-a-small"]
    )
    with facts.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    text = page.read_text(encoding="utf-8")
    assert "| | crnet-a-small |" in text
    assert f"| {float(row['norm']):.2f} |" in text
    assert "–" not in text.split("Recursions:")[0].split("|---|")[1]
    assert picture.stat().st_size > 10_000
    assert walks.is_file()
