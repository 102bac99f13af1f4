"""The code of docs/python.md runs, block by block, and prints what the page says of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the one block with these words, beside a photo of 16 bits; returns what it prints and
    its names."""
    pixels = np.arange(20 * 16).reshape(20, 16) * 97 % 65536
    Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    def run_block(words):
        (code,) = [block for block in BLOCKS if words in block]
        names = {}
        exec(compile(code, "docs/python.md", "exec"), names)
        return capsys.readouterr().out, names

    return run_block


def test_a_photo_of_16_bits_is_enlarged(run, tmp_path):
    _, names = run("read_picture")
    written = np.asarray(Image.open(tmp_path / "large.png"))
    assert written.dtype == np.uint16 and written.shape == (40, 32)
    assert written.mean() == pytest.approx(names["picture"].pixels.mean(), rel=0.02)


@pytest.mark.slow
def test_the_trace_has_the_psnr_of_each_iteration(run):
    printed, _ = run("truth=truth")
    traces = re.findall(r"\[([^][]*[0-9n])\s*\]", printed)
    assert len(traces) == 2
    for text in traces:
        psnr_db = [float(number) for number in text.split()]
        assert len(psnr_db) > 3 and np.isfinite(psnr_db).all()
        assert psnr_db[-1] > psnr_db[0] - 1


def test_codes_become_an_image(run):
    printed, names = run("synthesis(")
    error, gap = map(float, printed.split())
    assert error == pytest.approx(np.abs(names["image"] - names["problem"].signal).max())
    assert 0 <= gap < 0.01 * names["problem"].objective(names["solution"].codes)


@pytest.mark.slow
def test_plots_are_written(run, tmp_path):
    _, names = run("plot.trace(")
    for name in ("gap", "atoms", "codes"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200
    ends = {line.get_label(): line.get_ydata()[-1] for line in names["axes"].lines}
    assert ends["fista"] < ends["ista"]


@pytest.mark.slow
def test_tensors_come_back_as_they_are(run):
    printed, _ = run('layout="chw"')
    assert printed.split("\n")[:2] == ["torch.Size([2, 3, 48, 64]) torch.float32", "torch.uint8"]
