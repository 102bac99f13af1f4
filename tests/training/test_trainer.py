"""A network in training: steps, averages, checkpoints, and that it learns."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cscsr import InputError, make_solver, networks, weights
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of
from cscsr.networks import CRNetA
from cscsr.networks.base import LumaRefiner
from cscsr.training.pace import Progress
from cscsr.training.patches import PatchBank, load_banks
from cscsr.training.recipe import Teacher, load_recipe, recipe_names
from cscsr.training.run import train
from cscsr.training.trainer import NonFiniteLoss, Trainer, read_start


def _through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_plan_is_kept_until_it_is_a_tenth_off():
    progress = Progress()
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.01)
    progress.done, progress.seconds = 0.5, 52.0
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.01), "a little late"
    progress.plan(pace=1.5, budget=100)
    assert (1 - progress.done) / progress.per_step * 1.5 == pytest.approx(48)
    progress.done, progress.seconds = 0.9, 101.0
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.1), "one step more, and it ends"


@pytest.mark.parametrize("name", ["l1", "charbonnier", "mse"])
def test_losses_are_their_formulas(data, name, small_recipe):
    recipe = small_recipe(loss=name, balance=False)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    batch = trainer.batch()
    with torch.no_grad():
        errors = [trainer.network(x, scale) - y for scale, (x, y) in batch.items()]
    expected = {
        "l1": lambda e: e.abs().mean(),
        "charbonnier": lambda e: (e**2 + 1e-6).sqrt().mean(),
        "mse": lambda e: (e**2).mean(),
    }[name]
    loss = trainer.loss(batch).item()
    assert loss == pytest.approx(float(sum(map(expected, errors)) / len(errors)), rel=1e-5)


def _taught_by(recipe, solver, weight=0.25):
    return replace(recipe, teacher=Teacher(solver, weight))


def test_a_teachers_output_is_a_target_besides_the_truth(data, small_recipe):
    """The teacher has its share of the loss, and stays as it is."""
    recipe = _taught_by(small_recipe(balance=False), "crnet-a-small")
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    teacher = make_solver("crnet-a-small").network()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    expected = []
    batch = trainer.batch()
    with torch.no_grad():
        for scale, (x, y) in batch.items():
            output = trainer.network(x, scale)
            taught = (output - teacher(x, scale)).abs().mean()
            expected.append(0.75 * (output - y).abs().mean() + 0.25 * taught)
    assert trainer.loss(batch).item() == pytest.approx(float(sum(expected) / 2), rel=1e-5)
    trainer.progress.per_step = 0.1
    for _ in range(3):
        trainer.step()
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        ("bicubic", "a teacher is a network"),
        ("crnet-b-small+", "without the self-ensemble"),
        ("crnet-b-small", "takes another input"),
        ("crnet-c", "unknown solver"),
    ],
)
def test_what_cannot_teach_is_refused(data, small_recipe, solver, reason):
    recipe = _taught_by(small_recipe(), solver)
    with pytest.raises(InputError, match=reason):
        Trainer(recipe, load_banks(recipe, data), bf16=False)


def test_a_teacher_without_one_of_the_scales_is_refused(data, small_recipe):
    recipe = replace(_taught_by(small_recipe(), "crnet-a-small"), scales=[2, 5])
    with pytest.raises(InputError, match="cannot teach x5: it was not trained for it"):
        Trainer(recipe, load_banks(recipe, data), bf16=False)


WIDTHS = ("n0", "m0", "n1", "n2", "width", "growth", "codes", "features")


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains_when_made_small(data, name):
    """A rehearsal of the runs that wait for a GPU: all of the recipe but its width, its data and
    its teacher, whose weights may not be here; K = 25 with it, at its first learning rates."""
    recipe = load_recipe(name)
    recipe = replace(
        recipe,
        teacher=None,
        sets=["T91"],
        network=recipe.network | {key: 8 for key in WIDTHS if key in recipe.network},
        optimiser=replace(recipe.optimiser, batch=6, patch=16),
    )
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.progress.per_step = 1e-3
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    losses = [trainer.step() for _ in range(24)]
    assert max(losses[12:]) < 3 * max(losses[:6]), "it does not run away"
    assert any(not torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("architecture", ["crnet-a", "crnet-b"])
def test_images_without_contrast_are_refused_unless_the_losses_are_not_balanced(
    small_recipe, architecture, level
):
    """Bicubic interpolation makes no error there, whose inverse would be a weight."""
    flat, network = np.full((64, 64, 3), level, np.uint8), networks.architecture(architecture)
    banks = {scale: PatchBank([network.training_pair(flat, scale)]) for scale in (2, 3)}
    with pytest.raises(InputError, match=r"too little contrast .* set balance = false"):
        Trainer(small_recipe(architecture), banks)
    trainer = Trainer(small_recipe(architecture, balance=False), banks, bf16=False)
    assert trainer.loss_weight == {2: 1.0, 3: 1.0}
    assert math.isfinite(trainer.step())


def test_a_run_from_weights_starts_where_they_are(tmp_path, data, small_recipe):
    recipe = small_recipe()
    path = train(recipe, data, tmp_path / "first", steps=3, bf16=False)
    again = Trainer(recipe, load_banks(recipe, data), bf16=False, seed=9, init=path)
    for key, value in weights.load(path)[0].items():
        np.testing.assert_array_equal(again.network.state_dict()[key], value)
    assert again.start["trained"]["steps"] == 3
    with pytest.raises(InputError, match="does not hold the network"):
        Trainer(small_recipe("crnet-b"), load_banks(recipe, data), init=path)


def test_the_origin_of_a_start_names_its_file_and_what_it_learned_from(tmp_path, small_recipe):
    recipe = replace(small_recipe(), teacher=Teacher("vdsr[published]", 0.25))
    recipe = replace(recipe, network=load_recipe("crnet-a-small").network, scales=[2])
    tensors, metadata = weights.load("crnet-a-small")
    path = tmp_path / "mine.safetensors"
    weights.write(path, tensors, {**metadata, "recipe": recipe.as_dict()})
    _, start = read_start(recipe, path)
    assert start == {
        "name": f"{tmp_path.name}/mine.safetensors",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "scales": [2, 3, 4],
        "sets": ["T91"],
        "teacher": {"solver": "vdsr[published]", "weight": 0.25},
        "trained": metadata["trained"],
    }
    of_others = {key: metadata[key] for key in ("architecture", "network", "scales", "line")}
    weights.write(path, tensors, of_others)
    _, start = read_start(recipe, path)
    assert start["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [start[key] for key in ("sets", "teacher", "trained")] == [None] * 3
    assert read_start(recipe, "crnet-a-small")[1]["name"] == "crnet-a-small"


def test_a_run_from_weights_need_not_state_the_networks_defaults(data, small_recipe):
    """The metadata of srcnn name n1 and n2, the recipe leaves them at their defaults."""
    recipe = replace(small_recipe("srcnn"), network={}, scales=[2, 3, 4])
    tensors, start = read_start(recipe, "srcnn")
    network = networks.build("srcnn", scales=recipe.scales)
    assert tensors.keys() == network.state_dict().keys()
    assert start["trained"]["steps"] > 0
    with pytest.raises(InputError, match="does not hold the network"):
        read_start(replace(recipe, network={"n1": 32}), "srcnn")


def test_a_run_may_start_from_weights_of_other_scales(tmp_path, data, small_recipe):
    """As EDSR's x3 and x4 start from its x2: the trunk is taken, and what belongs to a scale only
    if both have the scale; the rest is as without `init`."""
    doubling = replace(small_recipe("crnet-b"), scales=[2])
    path = train(doubling, data, tmp_path / "x2", steps=2, bf16=False)
    recipe = replace(doubling, scales=[2, 3])
    banks = load_banks(recipe, data)
    fresh = Trainer(recipe, banks, bf16=False, seed=5).network.state_dict()
    trainer = Trainer(recipe, banks, bf16=False, seed=5, init=path)
    doubled = weights.load(path)[0]
    for key, value in trainer.network.state_dict().items():
        torch.testing.assert_close(
            value,
            torch.from_numpy(doubled[key]) if ".3." not in key else fresh[key],
            rtol=0,
            atol=0,
        )
        torch.testing.assert_close(trainer.average[key], value, rtol=0, atol=0)
    trainer.step()
    trainer.check_finite()


@pytest.mark.parametrize("name", networks.architectures())
def test_what_networks_of_other_scales_share_has_one_shape(name):
    shapes = [
        {
            key: tensor.shape
            for key, tensor in networks.blueprint(name, arguments).state_dict().items()
        }
        for arguments in ({"scales": [2]}, {"scales": [4]}, {"scales": [2, 4]})
    ]
    for first, second in itertools.combinations(shapes, 2):
        for key in first.keys() & second.keys():
            assert first[key] == second[key], key
    assert shapes[2].keys() == shapes[0].keys() | shapes[1].keys()


def test_weights_of_other_scales_are_refused_where_each_has_its_own_network(
    tmp_path, data, small_recipe
):
    recipe = replace(small_recipe("imdn"), network={"width": 8, "blocks": 1}, scales=[2])
    path = train(recipe, data, tmp_path / "x2", steps=1, bf16=False)
    with pytest.raises(InputError, match=r"holds nothing for the scales \[3\] .* each of \[2\]"):
        read_start(replace(recipe, scales=[3]), path)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_out_of_range_is_refused_before_anything_is_read(tmp_path, small_recipe, seed):
    with pytest.raises(InputError, match=r"seed should be in \[0, 4294967295\], got"):
        train(small_recipe(), tmp_path / "no data is read", tmp_path / "run", steps=1, seed=seed)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="seed should be in"):
        Trainer(small_recipe(), {}, seed=seed)


def test_a_resumed_run_gives_the_same_losses_bit_for_bit(data, small_recipe):
    recipe, banks = small_recipe(), load_banks(small_recipe(), data)
    whole = Trainer(recipe, banks, bf16=False)
    whole.progress.per_step = 0.1
    losses = [whole.step() for _ in range(3)]
    checkpoint = _through_a_file(whole.state())
    losses += [whole.step() for _ in range(4)]
    resumed = Trainer(recipe, banks, bf16=False, seed=5)
    resumed.restore(checkpoint)
    assert [resumed.step() for _ in range(4)] == losses[3:]
    for key, value in whole.average.items():
        assert torch.equal(value, resumed.average[key])


def test_a_checkpoint_of_another_kind_of_device_goes_on_with_other_patches(data, small_recipe):
    """A GPU's generator has a state of 16 bytes, which one of a CPU cannot take."""
    recipe = small_recipe()
    banks = load_banks(recipe, data)
    first = Trainer(recipe, banks, bf16=False, seed=3)
    first.progress.per_step = 0.1
    first.step()
    state = {**first.state(), "generator": torch.zeros(16, dtype=torch.uint8)}
    again = [Trainer(recipe, banks, bf16=False) for _ in range(2)]
    for trainer in again:
        trainer.restore(state)
        assert (trainer.seed, trainer.progress.step) == (3, 1)
    assert again[0].step() == again[1].step()


def test_a_checkpoint_of_another_recipe_is_refused(data, small_recipe):
    banks = load_banks(small_recipe(), data)
    state = Trainer(small_recipe(), banks).state()
    with pytest.raises(InputError, match="another recipe"):
        Trainer(small_recipe(learning_rate=1e-4), banks).restore(state)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_network(data, small_recipe):
    recipe = small_recipe()
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.banks[2]._inputs[:] = math.nan
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    with pytest.raises(NonFiniteLoss):
        trainer.step()
    for key, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.slow
def test_one_patch_can_be_learned_by_heart(small_recipe):
    """A network that is trained right fits one 16x16 patch to more than 45 dB."""
    image = demo().images[0].read()[100:116, 100:116]
    recipe = small_recipe(batch=2, learning_rate=5e-3, ema=0.5)
    recipe.network.update(n0=24, m0=32)
    banks = {2: PatchBank([CRNetA.training_pair(image, 2)])}
    trainer = Trainer(recipe, banks, bf16=False)
    trainer.progress.per_step = 1 / 900
    loss = 0.0
    for _ in range(900):
        loss = trainer.step()
    source, target = banks[2].sample(8, 16, torch.Generator().manual_seed(3))
    with trainer.averaged() as network, torch.no_grad():
        error = (network(source, 2) - target).square().mean().item()
    assert loss < 0.01
    assert -10 * math.log10(error) > 45


def test_a_network_that_is_far_off_is_scored(data, small_recipe):
    """As what its output is when it is rounded to an image."""
    recipe = small_recipe()
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.average["H.bias"].fill_(-300.0)
    truth = demo().images[0].read()[100:148, 100:148]
    luma = luma_of(truth)[2:-2, 2:-2].astype(float)
    expected = 10 * math.log10(255**2 / (luma**2).mean())  # against a black image
    assert trainer.evaluate([truth])[2] == pytest.approx(expected, abs=1e-3)


def test_a_resumed_partition_keeps_its_order(data, small_recipe):
    recipe = replace(small_recipe(), sampling="partition")
    banks = load_banks(recipe, data)
    first = Trainer(recipe, banks, bf16=False, seed=3)
    again = Trainer(recipe, banks, bf16=False, seed=0)
    again.restore(first.state())
    assert torch.equal(again.batch()[0][0], first.batch()[0][0])


class Normalised(LumaRefiner):
    """A convolution and a batch normalisation, whose buffers change at every step."""

    def __init__(self, scales=(2, 3)) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.norm = torch.nn.BatchNorm2d(1)
        self.convolution = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, scale, visit=None):
        return self.convolution(self.norm(x))


def test_parameters_are_averaged_and_buffers_copied(data, small_recipe, monkeypatch, tmp_path):
    monkeypatch.setitem(networks.architectures(), "normalised", Normalised)
    recipe = replace(small_recipe("normalised"), network={})
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.progress.per_step = 0.1
    expected = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    trainer.seconds_per_step()
    assert trainer.network.norm.num_batches_tracked == 0, "measuring changes nothing"
    for step in range(3):
        trainer.step()
        decay = min(recipe.optimiser.ema, (1 + step) / (10 + step))
        for name, parameter in trainer.network.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, average in expected.items():
        torch.testing.assert_close(trainer.average[name], average)
        assert not torch.equal(average, dict(trainer.network.named_parameters())[name])
    assert trainer.average["norm.num_batches_tracked"] == 3
    for name, buffer in trainer.network.named_buffers():
        assert torch.equal(trainer.average[name], buffer), name
    assert trainer.network.norm.running_mean.abs() > 1e-3
    with trainer.averaged() as network:
        assert torch.equal(network.norm.weight, trainer.average["norm.weight"])
    assert trainer.network.norm.num_batches_tracked == 3
    again = Trainer(recipe, load_banks(recipe, data), bf16=False)
    again.restore(_through_a_file(trainer.state()))
    assert again.step() == trainer.step()
    for name, average in trainer.average.items():
        assert torch.equal(again.average[name], average), name
