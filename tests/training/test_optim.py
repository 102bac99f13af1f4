"""Optimisers, the schedule of the learning rate, and clipping, each by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cscsr.networks import build
from cscsr.training.optim import (
    Muon,
    clip_gradient,
    learning_rate,
    make_optimisers,
    orthogonalised,
)
from cscsr.training.patches import load_banks
from cscsr.training.recipe import Optimiser, load_recipe
from cscsr.training.trainer import Trainer


def test_the_schedule_rises_then_falls_to_zero(small_recipe):
    recipe = small_recipe()
    rates = [learning_rate(recipe.optimiser, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(2e-3)
    assert np.argmax(rates) == 10
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates[10:]) < 0).all()


def test_a_rate_falls_in_steps():
    recipe = load_recipe("crnet-a-paper")
    epochs = np.array([0, 9.9, 10, 19.9, 20, 30, 34.9]) / 35
    rates = [learning_rate(recipe.optimiser, done) for done in epochs]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-4, 1e-4])


def test_a_rate_stays_at_its_peak_until_the_cooldown(small_recipe):
    recipe = small_recipe(schedule="wsd", cooldown=0.25, warmup=0.1)
    done = np.linspace(0, 1, 101)
    rates = [learning_rate(recipe.optimiser, d) for d in done]
    expected = 2e-3 * np.interp(done, [0, 0.1, 0.75, 1], [0, 1, 1, 0])
    np.testing.assert_allclose(rates, expected, atol=1e-15)


@pytest.mark.parametrize("warmup", [0.05, 0.1, 0.3, 0.7])
def test_a_cooldown_may_begin_where_the_warmup_ends(small_recipe, warmup):
    recipe = small_recipe(schedule="wsd", warmup=warmup, cooldown=1 - warmup)
    done = np.linspace(0, 1, 101)
    rates = [learning_rate(recipe.optimiser, d) for d in done]
    np.testing.assert_allclose(rates, 2e-3 * np.interp(done, [0, warmup, 1], [0, 1, 0]), atol=1e-15)


def test_sgd_is_momentum_on_the_clipped_gradient_and_the_decay(data, small_recipe):
    settings = {"method": "sgd", "weight_decay": 0.1, "clip": 1e-6, "clip_by": "rate"}
    recipe = small_recipe(**settings, learning_rate=1e-3, schedule="step", warmup=0.0)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    weight = trainer.network.F1.weight
    expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
    for _ in range(2):
        trainer.step()
        gradient = weight.grad + 0.1 * expected
        assert weight.grad.abs().max() <= 1e-3
        momentum = 0.9 * momentum + gradient
        expected -= 1e-3 * momentum
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-7)


def test_sgd_leaves_the_layers_of_other_scales_and_their_momentum(data, small_recipe):
    """Each step takes one scale; a run that goes on from a checkpoint does the same."""
    recipe = small_recipe("crnet-b", method="sgd", clip=math.inf, schedule="step", warmup=0.0)
    banks = load_banks(recipe, data)
    trainer = Trainer(recipe, banks, bf16=False)
    weights = dict(trainer.network.named_parameters())
    expected = {name: weight.detach().clone() for name, weight in weights.items()}
    momenta = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step in range(5):
        if step == 1:  # before the layers of the second scale have had a gradient
            resumed = Trainer(recipe, banks, bf16=False, seed=4)
            resumed.restore(trainer.state())
            trainer, weights = resumed, dict(resumed.network.named_parameters())
        trainer.step()
        without_gradient = {name for name, weight in weights.items() if weight.grad is None}
        assert without_gradient
        for name in weights.keys() - without_gradient:
            momenta[name] = 0.9 * momenta[name] + weights[name].grad
            expected[name] -= recipe.optimiser.learning_rate * momenta[name]
        for name, weight in weights.items():
            torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_in_proportion_to_the_inverse_rate(data, small_recipe):
    recipe = small_recipe(clip=0.4, clip_by="rate", balance=False)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.loss(trainer.batch()).backward()
    largest = max(p.grad.abs().max() for p in trainer.network.parameters())
    rate = 0.4 / largest.item() * 2
    norm = clip_gradient(recipe.optimiser, list(trainer.network.parameters()), rate)
    after = [p.grad for p in trainer.network.parameters()]
    assert max(g.abs().max() for g in after) == pytest.approx(largest.item() / 2, rel=1e-6)
    assert norm > torch.cat([g.flatten() for g in after]).norm()


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (20, 20)])
def test_orthogonalised_keeps_the_singular_vectors_and_evens_the_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    values = u.T @ orthogonalised(matrix) @ vh.T
    assert (values - values.diag().diag()).abs().max() < 1e-9, "the singular vectors stay"
    assert 0.6 < values.diag().min() <= values.diag().max() < 1.25
    assert not orthogonalised(torch.zeros(shape)).any()


def test_a_step_of_muon_has_the_length_of_adams():
    """Root mean square 0.2 η, from the gradient plus μ times its momentum."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(32, 16, 3, 3))
    optimiser = Muon([weight], lr=0.5, momentum=0.9)
    momentum = torch.zeros(32, 144)
    for _ in range(2):
        weight.grad = torch.randn(weight.shape, generator=generator)
        before = weight.detach().clone()
        optimiser.step()
        step = (before - weight.detach()).flatten(1)
        gradient = weight.grad.flatten(1)
        momentum = 0.9 * momentum + gradient
        u, _, vh = torch.linalg.svd(gradient + 0.9 * momentum, full_matrices=False)
        values = u.T @ step @ vh.T / (0.5 * 0.2 * 144**0.5)
        assert (values - values.diag().diag()).abs().max() < 1e-4
        assert step.square().mean().sqrt() == pytest.approx(0.2 * 0.5, rel=0.25)


def test_muon_is_for_inner_convolutions_and_adam_for_the_rest():
    network = build("crnet-a", n0=16, m0=24, recursions=1)
    settings = Optimiser(batch=1, patch=1, learning_rate=1e-3, method="muon")
    adam, muon = make_optimisers(settings, network)
    inner = {id(p) for group in muon.param_groups for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in inner}
    assert names == {"F1.weight", "block.W.weight", "block.S.weight", "Wh.weight"}
    others = [p for group in adam.param_groups for p in group["params"]]
    assert len(others) + len(inner) == len(list(network.parameters()))
