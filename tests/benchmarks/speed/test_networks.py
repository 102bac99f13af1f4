"""Speed of the networks beside a chain of their convolutions, at a tiny width."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from benchmarks.speed.__main__ import main
from benchmarks.speed.networks import Chain
from cscsr.networks import CRNetA, CRNetB

RECIPE = """
architecture = "crnet-a"
sets = ["T91"]
scales = [2, 3]

[network]
n0 = 16
m0 = 24
recursions = 3
s_rank = 16

[optimiser]
batch = 4
patch = 24
learning_rate = 1e-3
method = "muon"
"""


@pytest.mark.slow
def test_a_recipe_without_weights_is_measured_in_both_precisions(tmp_path, capsys):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    out = tmp_path / "out"
    assert main(["inference", "training", "--networks", str(recipe), "--out", str(out)]) == 0
    rows = pd.read_csv(out / "speed-networks.csv").set_index(["measurement", "precision"])
    assert set(rows.index) == {(w, p) for w in ("inference", "training") for p in ("fp32", "bf16")}
    assert (rows["rate_of_chain"] > 0).all()
    assert (rows["ms"] > 0).all()
    assert (rows.loc["training", "data_share"] < 1).all()
    assert "plain chain" in (out / "speed-networks.md").read_text()

    other = tmp_path / "other.toml"
    other.write_text(RECIPE)
    assert main(["inference", "--networks", str(other), "--out", str(out)]) == 0
    both = pd.read_csv(out / "speed-networks.csv")
    assert list(both.network) == [str(recipe)] * 4 + [str(other)] * 2
    assert list(both.ms[:4]) == list(rows.ms), "rows of another network are kept"


@pytest.mark.parametrize("name", ["crnet-c", "crnet-a-paper"])
def test_what_cannot_be_measured_is_refused(tmp_path, capsys, name):
    assert main(["training", "--networks", name, "--out", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("rank", [None, 4])
def test_the_chain_is_the_networks_convolutions_in_their_order(rank):
    recursion = [12] if rank is None else [4, 12]
    image = torch.rand(1, 1, 9, 8)
    chain = Chain(CRNetA(8, 12, 3, s_rank=rank), image, 2, bf16=False)
    widths = [layer.out_channels for part, _ in chain.parts for layer in part]
    assert widths == [8, 8, 12, *(3 * recursion), 8, 1]
    chain = Chain(CRNetB(8, 12, 2, s_rank=rank), image.repeat(1, 3, 1, 1), 3, bf16=True)
    widths = [layer.out_channels for part, _ in chain.parts for layer in part]
    assert widths == [8, 8, 8, 8, 8, 12, *(2 * recursion), 8, 8, 8 * 9, 3]
    assert chain.parts[-1][1].shape == (1, 8, 27, 24)
