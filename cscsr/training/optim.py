"""Optimisers, the schedule of the learning rate, gradient clipping and losses.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) is momentum with an
orthogonalised step, for the inner convolutions of a network. It treats the weights (M,N,k,k) of a
convolution as a matrix (M, N·k·k). A step moves all singular directions by the same length, whereas
a few of them dominate the gradient itself. Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from cscsr.training.recipe import Optimiser

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The coefficients of Jordan's quintic, which maps singular values in (0,1] to about 1 in five
rounds."""

ROUNDS = 5

STEP = 0.2
"""Root mean square of a step at learning rate 1. It is close to Adam's (Liu et al. 2025,
https://arxiv.org/abs/2502.16982, section 2.2), so that both use the same rate."""

NARROWEST = 16
"""Adam updates the layers with fewer channels on either side, such as the first and the last."""


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return approximately U Vᵀ for a matrix U S Vᵀ, by a Newton–Schulz iteration; zero stays zero.

    The singular values of the result lie between 0.7 and 1.2, except for those below a thousandth
    of the norm, which five rounds do not suffice for.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def inner_convolutions(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that Muon updates: convolutions with at least `NARROWEST` channels on both
    sides."""
    return [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) >= NARROWEST]


class Muon(torch.optim.Optimizer):
    """θ ← θ − η·0.2·√max(M, N·k²)·orthogonalised(g + μm),   m ← μm + g.

    Parameters
    ----------
    params
        Weights of two or more dimensions.
    lr
        η.
    momentum
        μ.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                direction = parameter.grad.add(momentum, alpha=group["momentum"])
                update = orthogonalised(direction.flatten(1))
                length = STEP * max(update.shape) ** 0.5
                parameter.add_(update.view_as(parameter), alpha=-group["lr"] * length)


def make_optimisers(settings: Optimiser, network: nn.Module) -> list[torch.optim.Optimizer]:
    """Return Adam or SGD for all weights, or Muon for the inner convolutions and Adam for the
    rest."""
    inner = inner_convolutions(network) if settings.method == "muon" else []
    others = [p for p in network.parameters() if not any(p is q for q in inner)]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.method == "sgd":  # not fused, which needs a gradient of every weight at every step
        return [torch.optim.SGD(others, rate, momentum=0.9, weight_decay=decay)]
    adam = torch.optim.Adam(others, rate, weight_decay=decay, fused=True)
    return [adam, Muon(inner, rate)] if inner else [adam]


def learning_rate(settings: Optimiser, done: float) -> float:
    """Return the learning rate after the share `done` of the run, in [0, 1]."""
    peak, warmup = settings.learning_rate, settings.warmup
    if done < warmup:
        return peak * done / warmup
    if settings.schedule == "step":
        return peak * settings.decay ** math.floor(done / settings.decay_every + 1e-9)
    if settings.schedule == "wsd":
        return peak * min(1.0, (1 - done) / settings.cooldown)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def clip_gradient(settings: Optimiser, parameters: list[nn.Parameter], rate: float) -> Tensor:
    """Clip the gradients in place, and return their norm before clipping."""
    if settings.clip_by == "norm":
        return nn.utils.clip_grad_norm_(parameters, settings.clip)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if rate > 0:
        nn.utils.clip_grad_value_(parameters, settings.clip / rate)
    return norm


def loss_of(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Return the loss of a batch; `name` is that of `Optimiser.loss`."""
    if name == "charbonnier":
        return ((output - target).square() + 1e-6).sqrt().mean()
    return mse_loss(output, target) if name == "mse" else l1_loss(output, target)
