"""Recipes: those of the package, and files that are refused with a reason."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cscsr import InputError
from cscsr.cli import main
from cscsr.networks import LumaRefiner, architecture, architectures, blueprint, build
from cscsr.training.patches import load_banks
from cscsr.training.recipe import (
    FOLDER,
    SMALL,
    Recipe,
    Teacher,
    load_recipe,
    recipe_file,
    recipe_names,
)
from cscsr.training.trainer import Trainer

GOOD = """
architecture = "crnet-a"
sets = ["T91"]
scales = [2, 3]

[network]
n0 = 8

[optimiser]
batch = 6
patch = 16
learning_rate = 1
"""


@pytest.mark.slow
def test_recipes_that_come_with_the_package_build_their_networks():
    assert {"crnet-a-small", "crnet-b-small"} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        network = build(recipe.architecture, **recipe.network, scales=recipe.scales)
        assert network.scales == tuple(recipe.scales)
        assert load_recipe(name) == recipe


def test_a_recipe_names_its_teacher(tmp_path):
    """And one without is the same table as before there were any, so that its digests stay."""
    path = tmp_path / "taught.toml"
    path.write_text(f"{GOOD}[teacher]\nsolver = 'vdsr[published]'\n")
    recipe = load_recipe(path)
    assert recipe.teacher == Teacher("vdsr[published]", 0.5)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    assert "teacher" not in replace(recipe, teacher=None).as_dict()


@pytest.mark.parametrize("name", ["crnet-a", "crnet-b"])
def test_operations_of_a_step_are_the_mean_of_what_torch_counts_at_its_scales(small_recipe, name):
    """The first layer's input needs no gradient, so torch counts a little less."""
    recipe = small_recipe(name)
    network = build(recipe.architecture, **recipe.network, scales=recipe.scales)
    size = recipe.optimiser.patch
    x = torch.rand(recipe.optimiser.batch, 3 if network.line == "rgb" else 1, size, size)
    counted = []
    for scale in recipe.scales:
        with FlopCounterMode(display=False) as counter:
            network(x, scale).mean().backward()
        counted.append(counter.get_total_flops())
    assert 0.9 * recipe.step_operations() < np.mean(counted) <= recipe.step_operations()


@pytest.mark.parametrize(
    ("name", "sampling"),
    [("crnet-a", "random"), ("crnet-a", "partition"), ("crnet-b", "random")],
)
def test_operations_of_a_step_are_those_of_the_patches_that_it_takes(
    data, small_recipe, name, sampling
):
    """Seven patches are three for each of two scales, unless a step takes patches of any scale."""
    recipe = replace(small_recipe(name, batch=7), sampling=sampling)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    patches = sum(len(source) for source, _ in trainer.batch().values())
    one = replace(recipe, optimiser=replace(recipe.optimiser, batch=2)).step_operations() / 2
    assert recipe.step_operations() == pytest.approx(patches * one)


def test_a_recipe_is_what_its_file_says(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    recipe = load_recipe(path)
    assert (recipe.name, recipe.sets, recipe.scales) == ("good", ["T91"], [2, 3])
    assert recipe.optimiser.learning_rate == 1.0
    assert isinstance(recipe.optimiser.learning_rate, float)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    for name in (path.stem for path in FOLDER.glob("*.toml")):
        table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        written = load_recipe(name).as_dict()
        assert {key: written[key] for key in table if key != "optimiser"} == {
            key: value for key, value in table.items() if key != "optimiser"
        }
        assert table["optimiser"].items() <= written["optimiser"].items()


def test_a_small_recipe_is_another_one_with_its_own_network():
    tables = tomllib.loads(SMALL.read_text())
    assert len(tables) > 10
    for name, table in tables.items():
        recipe, like = load_recipe(name), load_recipe(table.pop("like"))
        assert recipe.architecture == name.removesuffix("-small")
        own = {"name": name, "architecture": recipe.architecture, **table}
        assert recipe.as_dict() == {**like.as_dict(), **own}
        assert recipe_file(name) == SMALL
    assert recipe_file("srcnn") == FOLDER / "srcnn.toml"


def test_small_networks_take_the_arithmetic_of_a_small_crnet():
    """Within 5 %, counted at ×2, of all that are no CRNet."""

    def arithmetic(name: str) -> float:
        recipe = load_recipe(name)
        network = blueprint(recipe.architecture, {**recipe.network, "scales": [2]})
        return network.multiply_adds(2)

    tables = tomllib.loads(SMALL.read_text())
    for name, table in tables.items():
        refines = issubclass(architecture(load_recipe(name).architecture), LumaRefiner)
        refines |= name == "scn-small"  # which enlarges by interpolation, too
        assert table["like"] == ("crnet-a-small" if refines else "crnet-b-small"), name
        assert arithmetic(name) == pytest.approx(arithmetic(table["like"]), rel=0.05), name
    assert {name.removesuffix("-small") for name in tables} == {
        name for name in architectures() if not name.startswith("crnet")
    }


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('architecture = "crnet-a"', "", "lacks the key architecture"),
        ('sets = ["T91"]', 'sets = "T91"', "sets should be a list, got 'T91'"),
        ("scales = [2, 3]", "scales = [2, 3.5]", "each of scales should be a whole number"),
        ("scales = [2, 3]", "scales = []", "scales should be a list of at least one item"),
        ("scales = [2, 3]", "scales = [1]", r"each of scales should be in \[2, 16\], got 1"),
        ("scales = [2, 3]", "scales = [2]\nline = 'y'", "unknown key of the recipe 'line'"),
        ("scales = [2, 3]", "scales = [2]\nsteps = true", "steps should be a whole number"),
        ("scales = [2, 3]", "scales = [2]\nsampling = 'all'", "unknown sampling 'all'"),
        ("n0 = 8\n\n[optimiser]", "[optimiser]\nspeed = 3", r"key of \[optimiser\] 'speed'"),
        ("batch = 6", "batch = 0", r"batch should be in \[1, 65536\], got 0"),
        ("batch = 6", "batch = true", "batch should be a whole number, got True"),
        ("batch = 6", "", r"\[optimiser\] lacks the key batch"),
        ("learning_rate = 1", "learning_rate = 'high'", "learning_rate should be a number"),
        ("learning_rate = 1", "learning_rate = -1", "positive and finite, got -1"),
        ("patch = 16", "patch = 16\nema = 1", r"ema should be in \[0, 1\), got 1.0"),
        ("patch = 16", "patch = 16\nloss = 'l2'", "unknown loss 'l2'"),
        ("patch = 16", "patch = 16\nschedule = 'wds'", "did you mean wsd"),
        (
            "patch = 16",
            "patch = 16\nschedule = 'wsd'\nwarmup = 0\ncooldown = 1",
            "cooldown should be below 1 in the schedule wsd, got 1",
        ),
        (
            "patch = 16",
            "patch = 16\nschedule = 'wsd'\nwarmup = 0.5\ncooldown = 0.9",
            "at most 1 together in the schedule wsd, got 0.5 and 0.9",
        ),
        ("patch = 16", "patch = 16\nema = 2", r"ema should be in \[0, 1\), got 2"),
        ("patch = 16", "patch = 16\nclip = -1", "clip should be positive, got -1"),
        ("patch = 16", "patch = 16\nclip = nan", "clip should be positive, got nan"),
        ("patch = 16", "patch = 2", "patch should be at least 3, the side of the largest filters"),
        ("patch = 16", "patch = 100000", r"patch should be in \[1, 4096\], got 100000"),
        ("batch = 6", "batch = 1", "batch should be at least 2, one patch of each scale, got 1"),
        ("learning_rate = 1", "learning_rate = nan", "positive and finite, got nan"),
        ("learning_rate = 1", f"learning_rate = 1{400 * '0'}", "should be a number, got 1000"),
        ("learning_rate = 1", f"learning_rate = 1{5000 * '0'}", "should be a TOML file"),
        ("scales = [2, 3]", "scales = [2, 2]", "scales should be a list without repetitions"),
        ("scales = [2, 3]", "scales = [2]\nsteps = 0", r"steps should be in \[1, 1000000000\]"),
        ("scales = [2, 3]", "scales = [2]\nsizes = [0.0]", r"each of sizes should be in \(0, 1\]"),
        ("scales = [2, 3]", "scales = [2]\nsets = 3", "TOML"),
        ('sets = ["T91"]', "sets = []", "sets should be a list of at least one item"),
        ('sets = ["T91"]', "sets = [[]]", "each of sets should be a text"),
        ('"crnet-a"', '"crnet-c"', "unknown architecture 'crnet-c': did you mean crnet-"),
        ("n0 = 8", "recursions = -1", r"recursions should be in \[0, 1000\], got -1"),
        ("n0 = 8", "recursions = 1000000000", r"recursions should be in \[0, 1000\]"),
        ("n0 = 8", "recursion = 2", "unknown argument of crnet-a 'recursion': did you mean"),
        ("n0 = 8", "n0 = 8.0", "n0 should be a whole number, got 8.0"),
        ("n0 = 8", "m0 = 4096\ns_kernel = 31", "more than the .* that are allowed"),
        ("n0 = 8", "scales = [2]", r"scales belong to the recipe, not to its table \[network\]"),
        ("[network]", f"x = {'[' * 5000}", "TOML"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(tmp_path, old, new, reason):
    assert old in GOOD
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=reason):
        load_recipe(path)


def test_a_recipe_that_is_not_there_or_no_toml_is_refused(tmp_path):
    with pytest.raises(InputError, match="crnet-a-small"):
        load_recipe("crnet-a-smal")
    with pytest.raises(InputError, match="no recipe file"):
        load_recipe(tmp_path / "none.toml")
    for content in (b"architecture = ", b"\xff", b"\x00", b"a = 1" * 2):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(InputError, match="TOML"):
            load_recipe(tmp_path / "bad.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"folder\.toml cannot be read: Is a directory"):
        load_recipe(tmp_path / "folder.toml")


def test_filters_wider_than_a_patch_are_refused(tmp_path):
    path = tmp_path / "srcnn.toml"
    path.write_text((FOLDER / "srcnn.toml").read_text().replace("patch = 56", "patch = 8"))
    with pytest.raises(InputError, match="patch should be at least 9"):
        load_recipe(path)


def test_the_command_ends_with_code_2(tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace("n0 = 8", "recursions = -1"))
    assert main(["train", str(path), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "recursions should be in [0, 1000], got -1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_made_in_python_is_checked_too():
    good = load_recipe("crnet-a-small")
    for change in ({"scales": []}, {"steps": -1}, {"sampling": "some"}, {"name": 3}):
        with pytest.raises(InputError):
            replace(good, **change)
    with pytest.raises(InputError, match="ema"):
        replace(good.optimiser, ema=2)
