"""The paper's studies: short runs are trained, kept, and drawn from their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, inference, leak_worth, levers, parameters
from benchmarks.short_runs import Variant, _close
from cscsr.data.datasets import demo, training_textures
from cscsr.imaging import read_image, write_image
from cscsr.networks import CRNetA


@pytest.fixture
def data(tmp_path):
    """A folder with a little of T91 and Set5, of embedded images."""
    for name in ("T91", "Set5"):
        (tmp_path / name).mkdir()
    for name, image in list(training_textures().items())[:2]:
        write_image(tmp_path / "T91" / f"{name}.png", image[:60, :60])
    write_image(tmp_path / "Set5" / "only.png", demo().images[0].read()[100:148, 100:148])
    return str(tmp_path)


def is_drawn(picture):
    pixels = read_image(picture)
    return min(pixels.shape[:2]) > 400 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_the_ablation_trains_eight_networks_and_keeps_them(tmp_path, data, capsys):
    out = tmp_path / "out"
    options = ["--out", str(out), "--data", data, "--steps", "4", "--width", "2"]
    options += ["--seeds", "2"]
    assert ablation.main(options) == 0
    rows = pd.read_csv(out / "ablation.csv", keep_default_na=False)
    assert set(rows.variant) == {ablation.label(switches) for switches in ablation.PUBLISHED}
    assert set(rows.trained_on) == {"T91"}
    first = rows[rows.seed == 0].set_index("variant")
    assert first.psnr_db.nunique() > 4, "the switches make different networks"
    size = first.parameters
    assert size["none"] == size["LRL, PA"] < size["CC"] == size["LRL, PA, CC"]
    assert is_drawn(out / "ablation.png")

    # A run that is there is not made again, one that is missing is.
    kept = rows.iloc[:-1].copy()
    kept.loc[0, "psnr_db"] = 12.5
    kept.to_csv(out / "ablation.csv", index=False)
    assert ablation.main(options) == 0
    again = pd.read_csv(out / "ablation.csv", keep_default_na=False)
    assert again.psnr_db[0] == 12.5
    assert again.psnr_db.iloc[-1] == rows.psnr_db.iloc[-1]


def test_runs_of_another_width_are_made_anew(tmp_path, data):
    for width in ("2", "3"):
        options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "1"]
        assert parameters.main(["fig9", *options, "--width", width, "--seeds", "1"]) == 0
        rows = pd.read_csv(tmp_path / "out" / "fig9.csv")
        assert set(rows.n0) == {int(width)}
        assert not rows.duplicated(["variant", "seed"]).any()


def test_recursions_can_be_chosen(tmp_path, data):
    options = ["--data", data, "--steps", "1", "--width", "2", "--seeds", "1", "--out"]
    fig9 = tmp_path / "fig9"
    assert parameters.main(["fig9", *options, str(fig9), "--recursions", "3", "5"]) == 0
    assert set(pd.read_csv(fig9 / "fig9.csv").recursions) == {3, 5}
    assert ablation.main([*options, str(fig9), "--recursions", "3"]) == 0
    assert set(pd.read_csv(fig9 / "ablation.csv").recursions) == {3}


def test_the_levers_make_different_runs_and_a_table(tmp_path, data):
    names = sorted(path.name for path in (tmp_path / "T91").iterdir())
    (tmp_path / "holdout.txt").write_text(f"T91/{names[0]}\n")
    options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "8", "--width", "16"]
    assert levers.main([*options, "--seeds", "1"]) == 0
    rows = pd.read_csv(tmp_path / "out" / "levers.csv").set_index("variant")
    assert set(rows.dataset) == {"holdout"}
    assert list(rows.index) == [variant.label for variant in levers.variants(16)]
    assert rows.psnr_db.nunique() >= len(rows) - 1, "all but clipping act within eight steps"
    table = (tmp_path / "out" / "levers.md").read_text()
    assert all(f"| {label} | " in table for label in rows.index)


def test_recursions_grow_to_all_of_them():
    network, grow = CRNetA(4, 4, 4), levers.growth(4)
    seen = []
    for done in np.arange(8) / 8:
        grow(network, done)
        seen.append(network.block.recursions)
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4]


def test_what_a_leak_is_worth_is_a_row_a_run(tmp_path, data, monkeypatch):
    folder = tmp_path / "BSD200"
    folder.mkdir()
    photos = dict(demo())
    for name, photo in ((leak_worth.LEAK, "chelsea"), (leak_worth.CONTROL, "coffee")):
        write_image(folder / f"{name}.png", photos[photo][:60, :60])
    write_image(tmp_path / "Set5" / f"{leak_worth.SHOWN}.png", photos["chelsea"][:42, :42])
    options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "2", "--seeds", "2"]
    assert leak_worth.main(options) == 0
    rows = pd.read_csv(tmp_path / "out" / "leak.csv", dtype={"added": str})
    assert sorted(rows.added) == 2 * [leak_worth.CONTROL] + 2 * [leak_worth.LEAK]
    assert rows.psnr_db_woman.nunique() == 4


def test_precision_and_memory_of_the_shipped_networks(tmp_path, data, capsys):
    names = sorted(path.name for path in (tmp_path / "T91").iterdir())
    (tmp_path / "holdout.txt").write_text(f"T91/{names[0]}\n")
    # Of few pixels the PSNR moves with every one that is rounded the other way.
    write_image(tmp_path / "T91" / names[0], demo().images[1].read()[:192, :192])
    write_image(tmp_path / "Set5" / "only.png", demo().images[0].read())
    out = tmp_path / "out"
    assert inference.main(["precision", "--out", str(out), "--data", data, "--first", "1"]) == 0
    rows = pd.read_csv(out / "speed-precision.csv")
    assert len(rows) == 2 * 2 * 3
    assert rows.difference_db.abs().max() < 0.02, "bfloat16 costs under 0.02 dB"
    assert rows.difference_db.abs().max() > 0
    assert inference.main(["memory", "--out", str(out), "--size", "40x50"]) == 0
    row = pd.read_csv(out / "network-memory.csv").iloc[0]
    assert row.arrays_mb == round(15 * 40 * 50 * 4 / 1e6)
    assert row.peak_mb > row.arrays_mb
    assert inference.main(["memory", "--out", str(out), "--size", "40"]) == 2
    assert "4000x6000" in capsys.readouterr().err


def test_widths_and_recursions_are_drawn(tmp_path, data):
    out = tmp_path / "out"
    for name, column in (("fig8", "parameters"), ("fig9", "recursions")):
        options = ["--out", str(out), "--data", data, "--steps", "1", "--width", "2"]
        options += ["--seeds", "1"]
        assert parameters.main([name, *options]) == 0
        rows = pd.read_csv(out / f"{name}.csv")
        assert (rows.groupby("architecture")[column].nunique() >= 3).all()
        assert is_drawn(out / f"{name}.png")


def test_figure_4_counts_the_parameters_of_the_shipped_networks(tmp_path, capsys):
    assert parameters.main(["fig4", "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "fig4.csv").set_index("method")
    assert rows.kind["crnet-a-small"] == "measured"
    assert rows.parameters["CRNet-A"] == 1_330_305
    assert rows.psnr_db["CRNet-A"] == 31.82
    assert is_drawn(tmp_path / "fig4.png")
    missing = ["fig4", "--out", str(tmp_path), "--table", str(tmp_path / "none.csv")]
    assert parameters.main(missing) == 2
    assert "benchmarks.compare makes one" in capsys.readouterr().err


def test_only_close_variants_are_run_with_more_seeds():
    variants = [Variant(name, "crnet-a") for name in "abc"] + [Variant("d", "crnet-b")]
    psnr = {"a": 30.0, "b": 30.09, "c": 30.3, "d": 30.0}
    rows = [{"variant": name, "seed": 0, "psnr_db": value} for name, value in psnr.items()]
    assert [variant.label for variant in _close(variants, rows)] == ["a", "b"]
