"""Training patches: cut where input and target agree, and the partition of the paper."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from cscsr import InputError
from cscsr.training.patches import Partition, PatchBank, load_banks, partition_counts
from cscsr.training.recipe import load_recipe


def test_patches_are_cut_where_input_and_target_agree():
    """Each target is its input enlarged by repetition, in whatever orientation."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (3, h, w), dtype=np.uint8) for h, w in ((9, 14), (20, 8))]
    pairs = [(image, image.repeat(2, axis=1).repeat(2, axis=2)) for image in inputs]
    bank = PatchBank(pairs)
    source, target = bank.sample(64, 6, torch.Generator().manual_seed(0))
    assert source.shape == (64, 3, 6, 6)
    assert torch.equal(target, source.repeat_interleave(2, 2).repeat_interleave(2, 3))
    windows = {
        turned.tobytes()
        for image in inputs
        for top in range(image.shape[1] - 5)
        for left in range(image.shape[2] - 5)
        for flipped in (image[:, top : top + 6, left : left + 6],)
        for k in range(4)
        for turned in (np.rot90(flipped, k, (1, 2)), np.rot90(flipped[:, ::-1], k, (1, 2)))
    }
    patches = [np.rint(patch.numpy() * 255).astype(np.uint8).tobytes() for patch in source]
    assert all(patch in windows for patch in patches)


def test_all_eight_orientations_occur_equally():
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    bank = PatchBank([(image, image)])
    source, _ = bank.sample(4000, 3, torch.Generator().manual_seed(0))
    _, counts = torch.unique(source.flatten(1), dim=0, return_counts=True)
    assert len(counts) == 8
    assert (counts - 500).abs().max() < 110  # five standard deviations


def test_patches_larger_than_all_images_are_refused():
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    with pytest.raises(InputError, match="9x9"):
        PatchBank([(image, image)]).sample(1, 9, torch.Generator())
    with pytest.raises(InputError, match="at least one image"):
        PatchBank([])


def test_the_papers_training_pairs_are_1929728(shared_data):
    """Appendix A.4, counted from the sizes of the 291 images."""
    from PIL import Image

    recipe = load_recipe("crnet-a-paper")
    shapes = []
    for name in recipe.sets:
        for path in sorted((shared_data / name).iterdir()):
            with Image.open(path) as image:
                shapes.append(image.size[::-1])
    assert len(shapes) == 291
    sizes = []
    for shape in shapes:
        for size in recipe.sizes:
            shrunk = [math.ceil(n * Fraction(str(size))) for n in shape]
            sizes += [[n - n % scale for n in shrunk] for scale in recipe.scales]
    each, total = partition_counts(torch.tensor(sizes), recipe.optimiser.patch)
    assert 12 * int(each.sum()) == 1_929_744
    assert total == 1_929_728
    assert recipe.steps == 35 * (total // recipe.optimiser.batch)


def test_a_partition_goes_through_all_patches_of_the_turned_images_in_a_new_order():
    rng = np.random.default_rng(0)
    images = [rng.random((1, h, w), dtype=np.float32) for h, w in ((13, 15), (9, 11))]
    partition = Partition(PatchBank([(image, image) for image in images]), 3, seed=0)
    expected = Counter()
    for image in images:
        for flipped in (image, image[:, ::-1], image[:, :, ::-1]):
            for turns in range(4):
                turned = np.rot90(flipped, turns, (1, 2))
                for top in range(0, turned.shape[1] - 2, 3):
                    for left in range(0, turned.shape[2] - 2, 3):
                        expected[turned[:, top : top + 3, left : left + 3].tobytes()] += 1
    assert sum(expected.values()) == 348
    assert partition.total == 320
    epochs = []
    for epoch in range(2):
        patches = []
        for step in range(10 * epoch, 10 * epoch + 10):
            source, target = partition.batch(step, 32)
            assert torch.equal(source, target)
            patches += [patch.numpy().tobytes() for patch in source]
        assert not Counter(patches) - expected
        epochs.append(patches)
    assert epochs[0] != epochs[1]


def test_held_out_and_leaked_images_are_not_trained_on(data, small_recipe):
    banks = load_banks(small_recipe(), data)
    assert len(banks[2].sizes) == 3


def test_a_partition_of_patches_of_several_sizes_is_refused(data, small_recipe):
    recipe = replace(small_recipe("crnet-b"), sampling="partition")
    with pytest.raises(InputError, match=r"mixes the scales, which crnet-b \(line rgb\) cannot"):
        load_banks(recipe, data)
