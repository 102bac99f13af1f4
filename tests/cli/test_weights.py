"""Weights that others published: the table, the import, what it refuses, and the solvers.

Tests that need the published files run where `published_files` is, and are skipped elsewhere.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

import cscsr
from benchmarks.published import files_in, measured
from cscsr import InputError, SuperResolution, weights
from cscsr.cli import main
from cscsr.compare.published import PUBLISHED_LINES, read_published
from cscsr.conversion import convert, import_weights, read_matlab, read_torch
from cscsr.data.datasets import load_dataset
from cscsr.networks import architecture, build
from cscsr.published_weights import (
    CACHE_VARIABLE,
    PUBLISHED,
    PublishedFile,
    PublishedWeights,
    cache_folder,
    imported_path,
    is_imported,
)
from cscsr.registry import is_builtin, published_method, solver_family
from cscsr.testing import CHECKS

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
NAMES = sorted(PUBLISHED)
SOLVERS = [PUBLISHED[name].solver for name in NAMES]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of one test."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def imported(published_files, tmp_path_factory):
    """A cache in which all published weights are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("imported")))
        for row in PUBLISHED.values():
            import_weights(row, files_in(published_files, row))
        yield


def test_the_table_names_each_file_once_and_pins_it():
    files = [file for row in PUBLISHED.values() for file in row.files]
    assert len({file.sha256 for file in files}) == len(files)
    for file in files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.bytes > 0
    for name, row in PUBLISHED.items():
        assert row.name == name
        assert re.fullmatch("[0-9a-f]{8,40}", row.commit)
        assert row.licence
        assert architecture(row.architecture).line == PUBLISHED_LINES[row.method]
        assert row.method in set(read_published().method)


@pytest.mark.parametrize("name", NAMES)
def test_a_solver_exists_once_its_weights_are_imported(name, cache, refused, capsys):
    """Without them there is one sentence, which says the command."""
    row = PUBLISHED[name]
    assert row.solver not in cscsr.list_solvers("SuperResolution")
    with pytest.raises(InputError, match=f"cscsr weights import {name} FILE"):
        cscsr.make_solver(row.solver)
    sentence = refused("upscale", "photo.png", "--scale", "2", "--solver", row.solver)
    assert f"'cscsr weights import {name} FILE" in sentence
    assert main(["compare", "--datasets", "demo", "--solvers", row.solver]) == 2
    assert f"'cscsr weights import {name} FILE" in capsys.readouterr().err
    assert not is_builtin(row.solver)
    assert solver_family(row.solver) == "learned"
    assert published_method(row.solver) == (row.method, True)

    write_random(row)
    assert row.solver in cscsr.list_solvers("SuperResolution")
    solver = cscsr.make_solver(row.solver)
    assert solver.name == row.solver
    assert solver.weights_sha256() == weights.sha256(imported_path(row))


def write_random(row: PublishedWeights) -> None:
    """Random weights in the place of imported ones."""
    torch.manual_seed(0)
    scales = row.scales
    network = build(row.architecture, **row.network, scales=scales)
    metadata = {"architecture": row.architecture, "network": row.network, "line": network.line}
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    weights.write(imported_path(row), tensors, {**metadata, "scales": list(scales)})


QUICK = ("construction", "description", "refusals", "solution")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", QUICK)
def test_solvers_keep_the_contract_with_any_weights(name, rule, cache):
    write_random(PUBLISHED[name])
    CHECKS[rule](cscsr.make_solver(PUBLISHED[name].solver))


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rule", CHECKS)
def test_solvers_keep_the_contract_with_the_published_weights(solver, rule, imported):
    CHECKS[rule](cscsr.make_solver(solver))


def test_the_cache_lies_where_the_system_has_its_caches(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "cscsr"


def test_the_list_says_where_and_under_which_licence(cache, capsys):
    assert main(["weights", "list"]) == 0
    printed = capsys.readouterr().out
    for row in PUBLISHED.values():
        assert f"licence: {row.licence}; not imported" in printed
        for file in row.files:
            assert f"https://github.com/{row.repository}/blob/{row.commit}/{file.path}" in printed
            assert file.sha256 in printed
    write_random(PUBLISHED["vdsr"])
    main(["weights", "list"])
    assert f"imported, {imported_path(PUBLISHED['vdsr'])}" in capsys.readouterr().out


def test_a_file_that_is_none_of_the_published_ones_is_refused(cache, tmp_path, refused):
    made_up = tmp_path / "VDSR_Official.mat"
    savemat(made_up, {"model": {"weight": np.zeros(3), "bias": np.zeros(3)}})
    digest = hashlib.sha256(made_up.read_bytes()).hexdigest()
    sentence = refused("weights", "import", "vdsr", made_up)
    assert digest[:12] in sentence
    assert "none of the files of vdsr, which are Test/VDSR_Official.mat (f61316666084…)" in sentence
    too_large = tmp_path / "large.mat"
    with too_large.open("wb") as file:
        file.truncate(2**40)  # a hole: reading it would take all memory
    assert "none of the files" in refused("weights", "import", "vdsr", too_large)
    assert "cannot be read: No such file" in refused("weights", "import", "vdsr", tmp_path / "no")
    assert "none of the files" in refused("weights", "import", "vdsr", tmp_path)
    assert "did you mean vdsr?" in refused("weights", "import", "vdrs", made_up)
    assert not cache.exists()


class _Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_file_is_not_run(cache, tmp_path, refused):
    """Neither by the command, which knows that such a file was never published, nor by the reader
    to which the digest would be right."""
    proof, plain = tmp_path / "proof", tmp_path / "plain.pth"
    content = io.BytesIO()
    torch.save({"head.weight": _Payload(proof)}, content)
    for harmful in (content.getvalue(), pickle.dumps(_Payload(proof))):
        plain.write_bytes(harmful)
        assert "none of the files of imdn" in refused("weights", "import", "imdn", plain)
        with pytest.raises(InputError, match="asks for code to be run"):
            read_torch(harmful)
    assert not proof.exists()
    torch.load(io.BytesIO(content.getvalue()), weights_only=False)
    assert proof.exists()  # it would have been noticed


@pytest.mark.parametrize("length", [0, 1, 200, 5000])
def test_the_readers_refuse_what_is_cut_short(length):
    matlab, tensors = io.BytesIO(), io.BytesIO()
    savemat(matlab, {"a": np.random.default_rng(0).random((40, 40))})
    torch.save({"a": torch.zeros(40, 40)}, tensors)
    assert read_matlab(matlab.getvalue())["a"].shape == (40, 40)
    assert read_torch(tensors.getvalue())["a"].shape == (40, 40)
    with pytest.raises(InputError, match="cannot be read"):
        read_torch(tensors.getvalue()[:length])
    with pytest.raises(InputError, match="cannot be read"):
        read_matlab(matlab.getvalue()[:length])
    for state in ([torch.zeros(2)], {"a": 3}):
        other = io.BytesIO()
        torch.save(state, other)
        with pytest.raises(InputError, match="tensors by name"):
            read_torch(other.getvalue())


def published_as(row: PublishedWeights, path: Path) -> PublishedWeights:
    """The row, as if `path` had been published for it."""
    content = path.read_bytes()
    file = PublishedFile(path.name, len(content), hashlib.sha256(content).hexdigest(), (2, 3, 4))
    return PublishedWeights(
        row.name, row.method, "", row.architecture, row.repository, row.commit, "", (file,)
    )


def test_vdsr_is_converted_filter_by_filter(tmp_path):
    """MATLAB's order is (h, w, in, out), of the last layer (h, w, in); torch's (out, in, h, w)."""
    rng = np.random.default_rng(0)
    widths = [1, *[64] * 19, 1]
    banks = [rng.normal(size=(3, 3, a, b)).astype("f4") for a, b in itertools.pairwise(widths)]
    biases = [rng.normal(size=(b, 1)).astype("f4") for b in widths[1:]]
    model = np.zeros((1, 1), [("weight", object), ("bias", object)])
    cells = {"weight": [*banks[:-1], banks[-1][..., 0]], "bias": biases}
    for name, arrays in cells.items():
        model[name][0, 0] = np.empty((1, 20), object)
        for index, array in enumerate(arrays):
            model[name][0, 0][0, index] = array
    savemat(tmp_path / "vdsr.mat", {"model": model})
    row = published_as(PUBLISHED["vdsr"], tmp_path / "vdsr.mat")
    tensors, metadata = convert(row, [tmp_path / "vdsr.mat"])
    assert metadata["scales"] == [2, 3, 4]
    for index, (bank, bias) in enumerate(zip(banks, biases, strict=True)):
        weight = tensors[f"layers.{index}.weight"]
        assert weight.shape == (*bank.shape[::-1][:2], 3, 3)
        assert weight[-1, 0, 1, 2] == bank[1, 2, 0, -1]
        assert weight[0, -1, 2, 0] == bank[2, 0, -1, 0]
        np.testing.assert_array_equal(tensors[f"layers.{index}.bias"], bias[:, 0])


def test_what_does_not_fit_the_network_is_refused(tmp_path):
    """Even where the digest is right: too many tensors, another shape, a mean of its own."""
    path = tmp_path / "imdn.pth"
    state = build("imdn", scales=(2,)).state_dict()
    for change, message in (
        ({"more": torch.zeros(1)}, r"expected 92 tensors, got 93"),
        ({"bodies.2.head.weight": torch.zeros(64, 3, 5, 5)}, r"should have the shape"),
    ):
        torch.save({**state, **change}, path)
        row = published_as(PUBLISHED["imdn"], path)
        only_x2 = PublishedFile(path.name, row.files[0].bytes, row.files[0].sha256, (2,))
        row = PublishedWeights(
            "imdn", "IMDN", "", "imdn", row.repository, row.commit, "", (only_x2,)
        )
        with pytest.raises(InputError, match=message):
            convert(row, [path])
    path = tmp_path / "carn.pth"
    shifts = {
        f"{kind}_mean.shifter.{part}": value
        for kind in ("sub", "add")
        for part, value in (("weight", torch.eye(3)[..., None, None]), ("bias", torch.zeros(3)))
    }
    torch.save({**shifts, **build("carn-m").state_dict()}, path)
    with pytest.raises(InputError, match="expected CARN-M to subtract the mean"):
        convert(published_as(PUBLISHED["carn-m"], path), [path])


def test_a_damaged_file_is_refused(published_files, cache, tmp_path, refused):
    for row in PUBLISHED.values():
        (path, *_) = files_in(published_files, row)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "damaged").write_bytes(content)
        assert "is damaged or none" in refused("weights", "import", row.name, tmp_path / "damaged")
        (tmp_path / "short").write_bytes(path.read_bytes()[:-1])
        assert "is damaged or none" in refused("weights", "import", row.name, tmp_path / "short")
    assert not cache.exists()


def test_a_scale_needs_all_its_files(published_files, cache, refused):
    imdn, scn = PUBLISHED["imdn"], PUBLISHED["scn"]
    (x3,) = [path for path in files_in(published_files, imdn) if "3" in path.name]
    assert import_weights(imdn, [x3])[1] == (3,)
    assert cscsr.make_solver(imdn.solver).network().scales == (3,)
    by_digest = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in files_in(published_files, scn)
    }
    first, second = (by_digest[file.sha256] for file in scn.files)
    assert import_weights(scn, [first])[1] == (2,)
    assert import_weights(scn, [second, first])[1] == (2, 3, 4)
    sentence = refused("weights", "import", "scn", second)
    assert f"needs also {scn.files[0].path}" in sentence


def test_the_command_imports_and_the_solver_enlarges(published_files, cache, photo, capsys):
    (path,) = files_in(published_files, PUBLISHED["carn-m"])
    assert main(["weights", "import", "carn-m", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{imported_path(PUBLISHED['carn-m'])}: x2, x3, x4; licence: MIT" in printed
    assert "The solver is 'carn-m[published]'." in printed
    assert is_imported(PUBLISHED["carn-m"])
    assert [file.name for file in (cache / "published").iterdir()] == ["carn-m.safetensors"]
    assert main(["upscale", str(photo), "--scale", "3", "--solver", "carn-m[published]"]) == 0
    assert (photo.parent / "photo-x3.png").is_file()


@pytest.mark.slow
def test_tiles_do_not_change_the_answer(imported):
    """But for IMDN, whose attention is over the whole image and which has none."""
    lr = np.random.default_rng(0).random((70, 84), dtype=np.float32)
    for name in NAMES:
        problem = SuperResolution(lr, 2)
        whole = cscsr.make_solver(PUBLISHED[name].solver, tile=0)
        tiled = cscsr.make_solver(PUBLISHED[name].solver, tile=32)
        if name == "imdn":
            assert tiled.tile_side(2) is None
        else:
            difference = whole.solve(problem).estimate - tiled.solve(problem).estimate
            assert tiled.tile_side(2) <= 32
            assert np.abs(difference).max() < 1e-4, name


def committed(name: str) -> list[dict[str, str]]:
    with (REFERENCE / "published.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["network"] == name]


def committed_images(name: str, image: str) -> dict[int, dict[str, str]]:
    """The rows of an image of Set5, by scale."""
    with gzip.open(REFERENCE / "published_images.csv.gz", "rt", encoding="utf-8") as file:
        return {
            int(row["scale"]): row
            for row in csv.DictReader(file)
            if (row["dataset"], row["network"], row["image"]) == ("Set5", name, image)
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_measured_figures_are_those_of_the_reference(name, imported, shared_data):
    """Those of one image of Set5, to 0.005 dB and 0.0001 of SSIM."""
    solver = cscsr.make_solver(PUBLISHED[name].solver)
    truth = dict(load_dataset("Set5", shared_data))["butterfly"]
    rows = committed_images(name, "butterfly")
    assert set(rows) == set(PUBLISHED[name].scales)
    for scale, row in rows.items():
        for key, value in measured(solver, name, truth, scale).items():
            tolerance = 0.005 if "psnr" in key else 1e-4
            assert float(value) == pytest.approx(float(row[key]), abs=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_the_means_of_the_images(name):
    rows = {int(row["scale"]): row for row in committed(name) if row["dataset"] == "Set5"}
    assert set(rows) == set(PUBLISHED[name].scales)
    images = [
        committed_images(name, image) for image in ("baby", "bird", "butterfly", "head", "woman")
    ]
    for scale, row in rows.items():
        for key in filter(row.get, ("psnr_db", "ssim", "unrounded_psnr_db", "unrounded_ssim")):
            mean = np.mean([float(each[scale][key]) for each in images])
            assert mean == pytest.approx(float(row[key]), abs=5e-4 if "psnr" in key else 5e-6)
