"""Weight files of others: whatever is wrong is one sentence, before a network is built."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError, weights
from cscsr.cli import main
from cscsr.csc_sr.weight_file import read_weights
from cscsr.imaging import write_image
from cscsr.network import load_network, read_network
from cscsr.networks import architectures, blueprint, build
from cscsr.output import printable
from cscsr.sparse.lista import LISTA


def load_network_file(path):
    return load_network(str(path), weights.sha256(path), "cpu")


def load_lista(form):
    return lambda path: LISTA(form=form, weights=str(path)).dictionary()


LOADERS = {
    "crnet-b-small": load_network_file,
    "srcnn": load_network_file,
    "csc-sr-ista": lambda path: read_weights(str(path)),
    "lista-step": load_lista("step"),
    "lista-untied": load_lista("untied"),
}
"""For shipped weights of each kind: what reads a file of that kind."""


def refused(loader, path, reason):
    """The sentence with which a file is refused; it names the file and is one line."""
    with pytest.raises(InputError, match=reason) as raised:
        loader(path)
    assert printable(path.name) in str(raised.value)
    assert "\n" not in str(raised.value)


def written(path, name, change):
    """The shipped weights `name` with changes to copies of their tensors and metadata."""
    tensors, metadata = weights.load(name)
    tensors, metadata = dict(tensors), copy.deepcopy(metadata)
    change(tensors, metadata)
    weights.write(path, tensors, metadata)
    return path


@pytest.mark.parametrize("name", LOADERS)
def test_an_unchanged_copy_is_read(tmp_path, name):
    LOADERS[name](written(tmp_path / "copy.safetensors", name, lambda tensors, metadata: None))


NETWORK_FAULTS = [
    ("recursions", 10**9, r"recursions should be in \[0, 1000\], got 1000000000"),
    ("recursions", -1, r"recursions should be in \[0, 1000\], got -1"),
    ("recursions", 8.0, "recursions should be a whole number, got 8.0"),
    ("recursions", "8", "recursions should be a whole number, got '8'"),
    ("recursions", None, "recursions should be a whole number, got None"),
    ("n0", 0, r"n0 should be in \[1, 4096\], got 0"),
    ("n0", -48, r"n0 should be in \[1, 4096\], got -48"),
    ("n0", 10**7, r"n0 should be in \[1, 4096\], got 10000000"),
    ("m0", 4096, r"tensor .* should have the shape .*, got"),
    ("n0", 4000, "parameters, more than"),
    ("s_rank", True, "s_rank should be a whole number, got True"),
    ("s_rank", None, "lacks the tensor block.S.bias"),
    ("residual", 1, "residual should be true or false, got 1"),
    ("s_kernel", 2, r"s_kernel should be odd and in \[1, 31\], got 2"),
    ("recursion", 8, "unknown argument of crnet-b 'recursion': did you mean recursions"),
]


@pytest.mark.parametrize(("key", "value", "reason"), NETWORK_FAULTS)
def test_arguments_of_a_network_out_of_bounds_are_refused_at_once(tmp_path, key, value, reason):
    def change(tensors, metadata):
        metadata["network"][key] = value

    path = written(tmp_path / "bad.safetensors", "crnet-b-small", change)
    start = time.process_time()
    tracemalloc.start()
    try:
        refused(load_network_file, path, reason)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("architecture", "crnet-c", "unknown architecture 'crnet-c': did you mean crnet-"),
        ("architecture", 3, "architecture should be a text, got 3"),
        ("architecture", "crnet-a", "should be y, that of crnet-a|lacks the tensor|residual"),
        ("network", [], r"network should be a table, got \[\]"),
        ("line", "y", "line should be rgb, that of crnet-b, got y"),
        ("line", "bgr", "unknown line 'bgr'"),
        ("scales", [], "scales should be a list of at least one item"),
        ("scales", [2, 2], "scales should be a list without repetitions"),
        ("scales", [0], r"each of scales should be in \[2, 4\], got 0"),
        ("scales", [5], r"each of scales should be in \[2, 4\], got 5"),
        ("scales", 2, "scales should be a list, got 2"),
        ("scales", [2], "holds a tensor .* that its metadata do not ask for"),
        ("holdout_psnr_db", {"2": "high"}, "holdout_psnr_db.2 should be a number"),
        ("linne", "rgb", "unknown key of the metadata 'linne': did you mean line"),
    ],
)
def test_metadata_of_a_network_are_checked(tmp_path, key, value, reason):
    def change(tensors, metadata):
        metadata[key] = value

    path = written(tmp_path / "bad.safetensors", "crnet-b-small", change)
    refused(load_network_file, path, reason)


@pytest.mark.parametrize("key", ["network", "scales", "line"])
def test_metadata_that_lack_something_are_refused(tmp_path, key):
    path = tmp_path / "bad.safetensors"
    written(path, "srcnn", lambda tensors, metadata: metadata.pop(key))
    refused(load_network_file, path, f"the metadata lacks the key {key}")


@pytest.mark.parametrize(
    ("name", "key", "value", "reason"),
    [
        ("lista-step", "form", "steps", "unknown form 'steps': did you mean step"),
        ("lista-step", "form", "tied", "lacks the tensor analysis"),
        ("lista-untied", "form", "step", "holds a tensor analysis"),
        ("lista-step", "options", 3, "options should be a table"),
        ("lista-step", "formm", "step", "unknown key of the metadata 'formm'"),
        ("csc-sr-ista", "coder", "istaa", "unknown coder 'istaa': did you mean ista"),
        ("csc-sr-ista", "scales", {}, "scales should not be empty"),
        ("csc-sr-ista", "scales", [2], "scales should be a table"),
        ("csc-sr-ista", "scales", {"2.5": {"lam": 1, "settings": {}}}, "each key of scales"),
        ("csc-sr-ista", "scales", {"2": {"lam": -1, "settings": {}}}, "lam should be at least 0"),
        ("csc-sr-ista", "scales", {"2": {"lam": 1}}, "lacks the key settings"),
        (
            "csc-sr-ista",
            "scales",
            {"2": {"lam": 1, "settings": {"iterations": 10**9}}},
            r"iterations should be in \[1, 10000\]",
        ),
        (
            "csc-sr-ista",
            "scales",
            {"2": {"lam": 1, "settings": {"rho": 1.0}}},
            "ista has no parameter rho",
        ),
        (
            "csc-sr-ista",
            "scales",
            {"2": {"lam": 1, "settings": {"device": 5}}},
            "unknown key of .settings. 'device'",
        ),
        ("csc-sr-ista", "scales", {"5": {"lam": 1, "settings": {}}}, "lacks the tensor"),
    ],
)
def test_metadata_of_other_methods_are_checked(tmp_path, name, key, value, reason):
    def change(tensors, metadata):
        metadata[key] = value

    path = written(tmp_path / "bad.safetensors", name, change)
    refused(LOADERS[name] if name != "lista-step" or key != "form" else _any_lista, path, reason)


def _any_lista(path):
    return LISTA(form="tied", weights=str(path)).dictionary()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADERS)
def test_each_tensor_has_its_place_its_shape_and_finite_numbers(tmp_path, name):
    path = tmp_path / "bad.safetensors"
    for tensor in weights.load(name)[0]:

        def dropped(tensors, metadata, tensor=tensor):
            del tensors[tensor]

        def longer(tensors, metadata, tensor=tensor):
            tensors[tensor] = np.stack([tensors[tensor]] * 2)

        def empty(tensors, metadata, tensor=tensor):
            tensors[tensor] = tensors[tensor][:0]

        def spoilt(tensors, metadata, tensor=tensor):
            tensors[tensor] = tensors[tensor].copy()
            tensors[tensor].flat[-1] = np.nan

        refused(LOADERS[name], written(path, name, dropped), f"lacks the tensor {tensor}|shape")
        refused(LOADERS[name], written(path, name, longer), "shape")
        refused(LOADERS[name], written(path, name, empty), "shape|lacks")
        refused(LOADERS[name], written(path, name, spoilt), f"tensor {tensor} of .* not finite")


def test_maps_of_another_side_than_their_scale_allows_are_refused(tmp_path):
    def change(tensors, metadata):
        for part in ("kernels", "hr_filters"):
            tensors[f"{part}_x2"] = tensors[f"{part}_x2"][:, :9, :9]

    path = written(tmp_path / "bad.safetensors", "csc-sr-ista", change)
    refused(LOADERS["csc-sr-ista"], path, "kernels_x2 of .* should have a multiple of 2")


def raw_file(path, dtype, shape, data, metadata):
    """A safetensors file of one tensor, put together byte by byte."""
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    header["__metadata__"] = {"cscsr": metadata}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
        min_size=1,
        max_size=8,
    )
)
def test_bfloat16_is_read_as_torch_reads_it(tmp_path_factory, values):
    expected = torch.tensor(values).to(torch.bfloat16)
    path = tmp_path_factory.getbasetemp() / "bf16.safetensors"
    data = expected.view(torch.uint8).numpy().tobytes()
    raw_file(path, "BF16", [len(values)], data, "{}")
    if expected.isfinite().all():
        array = weights.load(path)[0]["a"]
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected.float().numpy())
    else:
        refused(weights.load, path, "not finite")


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_types_that_numpy_lacks_are_refused_by_name(tmp_path, dtype):
    path = raw_file(tmp_path / "fp8.safetensors", dtype, [4], b"\x38" * 4, "{}")
    refused(weights.load, path, f"tensor a of .* is of the type {dtype}")


def test_a_float64_beyond_float32_is_refused(tmp_path):
    path = tmp_path / "large.safetensors"
    weights.write(path, {"a": np.array([1.0, 1e39])}, {})
    refused(weights.load, path, "tensor a of .* not finite in float32")


@pytest.mark.parametrize(
    "metadata", ["", "[]", "3", "{", "[" * 100_000, '{"architecture": ' + "9" * 5000 + "}"]
)
def test_metadata_that_are_no_json_table_are_refused(tmp_path, metadata):
    path = raw_file(tmp_path / "bad.safetensors", "F32", [1], b"\0" * 4, metadata)
    refused(weights.load, path, "metadata of .* should be a JSON table")


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    refused(weights.load, tmp_path / "folder.safetensors", "which is a folder")
    (tmp_path / "file").write_text("")
    refused(weights.sha256, tmp_path / "file" / "x.safetensors", "cannot be read: Not a directory")
    refused(weights.load, tmp_path / ("x" * 300 + ".safetensors"), "cannot be read: File name too")
    refused(weights.load, tmp_path / "x\0.safetensors", "cannot be read: .*null")


@pytest.mark.parametrize("solver", ["crnet-b-small", "csc-sr[ista]"])
def test_the_command_names_the_weights_and_not_the_output(tmp_path, capsys, solver):
    """In the sentence about weights that cannot be read, exit code 2."""
    write_image(tmp_path / "photo.png", np.zeros((16, 16), np.uint8))
    (tmp_path / "w.safetensors").mkdir()
    words = ["upscale", str(tmp_path / "photo.png"), "--scale", "2", "--solver", solver]
    code = main([*words, "--weights", str(tmp_path / "w.safetensors")])
    error = capsys.readouterr().err
    assert code == 2
    assert "no weight file at" in error
    assert "w.safetensors" in error
    assert "written" not in error


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux without a content")
@pytest.mark.parametrize("solver", ["crnet-b-small", "csc-sr[ista]"])
def test_weights_that_the_system_cannot_read_are_no_unwritable_output(tmp_path, capsys, solver):
    write_image(tmp_path / "photo.png", np.zeros((16, 16), np.uint8))
    (tmp_path / "w.safetensors").symlink_to("/proc/self/mem")
    words = ["upscale", str(tmp_path / "photo.png"), "--scale", "2", "--solver", solver]
    assert main([*words, "--weights", str(tmp_path / "w.safetensors")]) == 2
    error = capsys.readouterr().err
    assert "w.safetensors cannot be read: Input/output error" in error
    assert "photo" not in error


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=40), st.sampled_from(sorted(LOADERS)))
def test_overwritten_headers_are_read_or_refused(tmp_path_factory, place, overwritten, name):
    """Nothing but an InputError comes out of any bytes."""
    content = bytearray(weights.weights_path(name).read_bytes())
    place %= 8 + int.from_bytes(content[:8], "little")
    content[place : place + len(overwritten)] = overwritten
    path = tmp_path_factory.getbasetemp() / "overwritten.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        LOADERS[name](path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b'{"srcnn": 3}', b'{"srcnn": {"bytes": "1", "sha256": "x"}}'],
)
def test_a_broken_manifest_is_one_sentence(tmp_path, monkeypatch, content):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    (tmp_path / "manifest.json").write_bytes(content)
    refused(lambda path: weights.load("srcnn"), tmp_path / "manifest.json", "is damaged .* again")
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    refused(lambda path: weights.load("srcnn"), tmp_path / "manifest.json", "is damaged")


@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_number_of_an_architecture_has_bounds(name):
    """A huge and a negative value of each are refused by their bounds, in no time."""
    for key, parameter in inspect.signature(architectures()[name]).parameters.items():
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            for value in (-1, 10**9):
                with pytest.raises(InputError, match=f"{key} should be .*in "):
                    build(name, **{key: value})


@pytest.mark.parametrize("name", sorted(architectures()))
def test_a_blueprint_has_the_shapes_of_the_network_and_draws_nothing(name):
    before = torch.get_rng_state()
    plan = blueprint(name, {"scales": [2, 4]})
    assert torch.equal(torch.get_rng_state(), before)
    network = build(name, scales=[2, 4])
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in plan.state_dict().items()} == shapes
    assert all(parameter.is_meta for parameter in plan.parameters())


def test_weights_of_every_network_that_is_shipped_fit_their_metadata():
    networks = [name for name in weights.manifest() if "architecture" in weights.load(name)[1]]
    assert {"crnet-a-small", "crnet-b-small", "srcnn"} <= set(networks)
    for name in networks:
        read_network(name)
