"""Codes in files: what comes back, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import cscsr
from cscsr import InputError, load_codes, save_codes
from cscsr.data.problems import camera_problem


def sparse(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * (random.random(shape) < 0.1)).astype(dtype)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_codes_come_back_as_they_were(tmp_path, shape, dtype):
    codes = sparse(shape, dtype)
    assert save_codes(tmp_path / "codes.safetensors", codes) == tmp_path / "codes.safetensors"
    loaded = load_codes(tmp_path / "codes.safetensors")
    assert loaded.dtype == codes.dtype
    np.testing.assert_array_equal(loaded, codes)
    loaded += 1  # it is the caller's own


def test_codes_of_any_layout_are_the_same_file(tmp_path):
    codes = sparse((3, 5, 7), "float32")
    for name, same in {
        "numpy": codes,
        "torch": torch.from_numpy(codes).requires_grad_(),
        "strided": np.asfortranarray(codes),
        "big-endian": codes.astype(">f4"),
    }.items():
        save_codes(tmp_path / name, same)
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1
    np.testing.assert_array_equal(load_codes(tmp_path / "torch"), codes)


def test_a_file_holds_the_nonzero_codes_alone(tmp_path):
    """Another reader of safetensors has them too, and the file is small."""
    codes = sparse((30, 40, 50), "float32")
    path = save_codes(tmp_path / "codes", codes)
    tensors = load_file(path)
    positions = np.unravel_index(tensors["positions"], codes.shape)
    np.testing.assert_array_equal(np.stack(positions), np.stack(codes.nonzero()))
    np.testing.assert_array_equal(tensors["values"], codes[codes != 0])
    assert path.stat().st_size < 12 * (codes != 0).sum() + 400


def test_codes_of_a_solution_give_its_objective(tmp_path):
    problem = camera_problem(32, 6, 5, 0.05)
    codes = cscsr.ActiveSet().solve(problem).codes
    loaded = load_codes(save_codes(tmp_path / "codes", codes))
    assert problem.objective(loaded) == problem.objective(codes)
    save_codes(tmp_path / "none", np.zeros(problem.codes_shape))
    assert not load_codes(tmp_path / "none").any()


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (np.zeros((4, 5)), r"shape \(M, H, W\) or \(B, M, H, W\), got \(4, 5\)"),
        (np.zeros((4, 0, 5)), "shape"),
        (np.zeros((4, 5, 5), int), "float32 or float64, got int64"),
        (np.zeros((4, 5, 5), np.float16), "float32 or float64, got float16"),
        (np.full((4, 5, 5), np.nan), "finite"),
        ([[[1.0]]], "numpy array or a torch tensor, got list"),
        (np.ma.masked_equal(np.ones((1, 2, 2)), 1), "masked"),
    ],
)
def test_what_are_no_codes_is_refused(tmp_path, codes, sentence):
    with pytest.raises(InputError, match=sentence):
        save_codes(tmp_path / "codes", codes)
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_stays_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = save_codes(tmp_path / "codes", np.ones((1, 2, 2)))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        save_codes(path, np.zeros((1, 2, 2)))
    assert load_codes(path).all()
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="cannot be written"):
        save_codes(tmp_path / "no folder" / "codes", np.zeros((1, 2, 2)))


def test_every_cut_and_what_is_no_file_is_a_sentence(tmp_path):
    path = save_codes(tmp_path / "codes", sparse((2, 3, 4), "float32"))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="cut short or of another kind"):
            load_codes(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_codes(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_codes(tmp_path)


def test_no_changed_byte_of_the_header_ends_in_an_error_of_another_kind(tmp_path):
    path = save_codes(tmp_path / "codes", sparse((2, 3, 4), "float32"))
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for place in range(len(content)):
        damaged = content.copy()
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            load_codes(path)


@pytest.mark.parametrize(
    ("tensors", "shape", "sentence"),
    [
        ({"positions": [0, 1], "values": [1.0]}, [1, 2, 2], "2 positions of 1 values"),
        ({"positions": [0, 4], "values": [1.0, 1.0]}, [1, 2, 2], "rising ones below 4"),
        ({"positions": [-1, 2], "values": [1.0, 1.0]}, [1, 2, 2], "rising ones below 4"),
        ({"positions": [2, 2], "values": [1.0, 1.0]}, [1, 2, 2], "rising ones below 4"),
        ({"positions": [2], "values": [np.inf]}, [1, 2, 2], "not finite"),
        ({"positions": [[2]], "values": [1.0]}, [1, 2, 2], "list positions"),
        ({"positions": [2], "values": [1]}, [1, 2, 2], "list values of the type F32 or F64"),
        ({"values": [1.0]}, [1, 2, 2], "list positions"),
        ({"positions": [2], "values": [1.0]}, [2, 2], "its shape is"),
        ({"positions": [2], "values": [1.0]}, [1, 2, -2], "its shape is"),
        ({"positions": [2], "values": [1.0]}, [True, 2, 2], "its shape is"),
        ({"positions": [2], "values": [1.0]}, {"M": 1}, "its shape is"),
        ({"positions": [2], "values": [1.0]}, [2**40, 2**20, 2], "do not fit into memory"),
        ({"positions": [2], "values": [1.0]}, None, "not one of codes"),
    ],
)
def test_files_of_another_kind_are_a_sentence(tmp_path, tensors, shape, sentence):
    arrays = {name: np.array(values) for name, values in tensors.items()}
    header = {} if shape is None else {"cscsr-codes": json.dumps(shape)}
    save_file(arrays, tmp_path / "codes", metadata=header)
    with pytest.raises(InputError, match=sentence):
        load_codes(tmp_path / "codes")
