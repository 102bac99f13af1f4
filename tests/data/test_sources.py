"""The table of public data sets: complete, and the same as the pinned hashes and the recipes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data import sources
from cscsr.data.datasets import PAPER_SETS, licence_of_weights, training_images
from cscsr.data.sources import FETCHABLE, SOURCES
from cscsr.imaging import write_image
from cscsr.training.recipe import load_recipe, recipe_names


def test_every_pinned_file_belongs_to_one_data_set():
    places = {(source.repository, source.folder) for source in FETCHABLE.values()}
    assert len(places) == len(FETCHABLE)
    table = Path(sources.__file__).with_name("upstream.csv")
    with table.open(newline="") as file:
        names = {row["dataset"] for row in csv.DictReader(file)}
    assert names == FETCHABLE.keys()


def test_recipes_train_on_training_sets_of_the_table():
    trained_on = {name for recipe in recipe_names() for name in load_recipe(recipe).sets}
    assert {"T91", "BSD200"} <= trained_on
    assert {SOURCES[name].purpose for name in trained_on} == {"training"}
    assert {SOURCES[name].purpose for name in PAPER_SETS} == {"test"}


@pytest.mark.parametrize(("name", "purpose"), [("Urban100", "test"), ("CID22val", "validation")])
def test_sets_of_another_purpose_are_not_trained_on(tmp_path, name, purpose):
    (tmp_path / name).mkdir()
    write_image(tmp_path / name / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=f"{name} is a {purpose} set"):
        training_images(tmp_path, [name])


def test_licence_of_weights_names_the_terms_of_each_set():
    line = licence_of_weights(["BSD200", "CID22", "mine"])
    assert "BSD200 (BSDS500, Arbeláez et al. 2011, github.com/BIDS/BSDS500: non-commercial" in line
    assert "CC BY-SA 4.0" in line and "mine (terms not known)" in line
