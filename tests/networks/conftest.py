"""What the tests of networks share: a short training."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def losses_of_learning():
    """A function that trains a network of luma for 40 steps on one small pair and returns its
    losses; every parameter must get a gradient in each step."""

    def train(network: torch.nn.Module) -> list[float]:
        x = torch.rand(2, 1, 16, 16)
        target = x + 0.1 * (x - x.roll(1, -1))
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        losses = []
        for _ in range(40):
            optimiser.zero_grad()
            loss = (network(x, 2) - target).abs().mean()
            loss.backward()
            losses.append(loss.item())
            assert all(p.grad is not None and p.grad.any() for p in network.parameters())
            optimiser.step()
        return losses

    return train
