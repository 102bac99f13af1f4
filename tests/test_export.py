"""Exported networks: other programs' answers are torch's, at sizes that were not traced."""

import numpy as np
import pytest
import torch

from cscsr import InputError, SuperResolution, make_solver
from cscsr.cli import main
from cscsr.data.datasets import demo
from cscsr.export import TOLERANCE, _AtScale, export, largest_difference
from cscsr.imaging import degrade

PHOTO = dict(demo())["chelsea"][:54, 60:126]


def enlarged_by_the_solver(name, scale):
    small = degrade(PHOTO, scale, "rgb")
    return small, make_solver(name).solve(SuperResolution(small, scale)).estimate


@pytest.mark.slow
def test_a_program_of_torch_gives_the_solvers_image(tmp_path):
    written = export("crnet-b-small", tmp_path / "model.pt2", 3)
    assert written.difference <= TOLERANCE
    facts = {"weights_sha256": "", "input": "", "scale": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=facts).module()
    assert facts["weights_sha256"] == make_solver("crnet-b-small").weights_sha256()
    assert facts["scale"] == "3" and "RGB in [0, 1]" in facts["input"]
    small, expected = enlarged_by_the_solver("crnet-b-small", 3)
    large = program(torch.from_numpy(small.transpose(2, 0, 1)[None]))[0].detach().numpy()
    np.testing.assert_allclose(large.transpose(1, 2, 0), expected, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("crnet-b-small", 3), ("srcnn", 2)])
def test_onnxruntime_gives_the_solvers_image(tmp_path, name, scale, capsys):
    onnx = pytest.importorskip("onnx", reason="the extra cscsr[onnx] is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra cscsr[onnx] is not installed")
    path = tmp_path / "model.onnx"
    assert main(["export", name, str(path), "--scale", str(scale)]) == 0
    assert "differs from torch by at most" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == "image"
    assert [n for n in given.shape if isinstance(n, int)] == [3 if "crnet-b" in name else 1]
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["model"] == name and facts["scale"] == str(scale)
    network = make_solver(name).network()
    small, expected = enlarged_by_the_solver(name, scale)
    planes = network.prepare(small, scale)[None]
    (large,) = session.run(None, {"image": planes})
    image = network.finish(large[0], small, scale)
    np.testing.assert_allclose(image, expected, atol=TOLERANCE)


def test_a_difference_is_found_at_any_size():
    module = _AtScale(make_solver("crnet-b-small").network(), 2).eval()

    def run(offset, last):
        def runner(image):
            with torch.no_grad():
                output = module(image).numpy().copy()
            output[..., -1, -1] += offset if image.shape[-1] == last else 0
            return output

        return runner

    assert largest_difference(module, run(0.0, 17), 3) == 0
    for last in (31, 24, 17):
        assert largest_difference(module, run(1e-3, last), 3) == pytest.approx(1e-3, rel=1e-3)
    cut = largest_difference(module, lambda image: module(image).detach().numpy()[..., 1:], 3)
    assert cut == np.inf


@pytest.mark.parametrize(
    ("name", "file", "scale", "sentence"),
    [
        ("bicubic", "a.pt2", 2, "is no single network; these can be exported: srcnn, crnet-a"),
        ("crnet-b-small+", "a.pt2", 2, "is no single network"),
        ("crnet-b-small", "a.pt2", 5, "was trained for x2, x3, x4, not for x5"),
        ("crnet-b-small", "a.pth", 2, "must end in .onnx or .pt2, got 'a.pth'"),
        ("crnet-b-small", "old.pt2", 2, "old.pt2 exists; give --force"),
        ("crnet-b-small", "no/a.pt2", 2, "there is no folder"),
        ("crnet-b-smal", "a.pt2", 2, "did you mean crnet-b-small"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(tmp_path, capsys, name, file, scale, sentence):
    (tmp_path / "old.pt2").write_text("old")
    assert main(["export", name, str(tmp_path / file), "--scale", str(scale)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt2"]
    assert (tmp_path / "old.pt2").read_text() == "old"


def test_without_onnx_the_extra_is_named(tmp_path):
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"extra cscsr\[onnx\].*\.pt2 files need torch alone"):
            export("crnet-b-small", tmp_path / "a.onnx", 2)
        assert list(tmp_path.iterdir()) == []
    else:
        pytest.skip("the extra cscsr[onnx] is installed")
