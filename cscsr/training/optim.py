"""Muon: momentum whose step is made orthogonal, for the inner convolutions of a network.

Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/. A convolution's weights (M,N,k,k)
are taken as the matrix (M, N·k·k). All its singular directions move by the same length in
a step, where the gradient itself is ruled by a few. Needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Jordan's quintic, which takes singular values in (0,1] to about 1 in five rounds."""

ROUNDS = 5

STEP = 0.2
"""Root mean square of a step at learning rate 1, which is about Adam's (Liu et al. 2025,
https://arxiv.org/abs/2502.16982, section 2.2), so that both can have the same rate."""

NARROWEST = 16
"""Layers of fewer channels on either side are left to Adam, which suits first and last ones."""


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U Vᵀ of the matrix U S Vᵀ, by a Newton–Schulz iteration; zero stays zero.

    The singular values of the result lie between 0.7 and 1.2, those too small to be seen
    by five rounds (under a thousandth of the norm) excepted.
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
    """The weights that Muon is for: convolutions with `NARROWEST` channels or more on both
    sides."""
    return [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) >= NARROWEST]


class Muon(torch.optim.Optimizer):
    """θ ← θ − η·0.2·√max(M, N·k²)·orthogonalised(g + μm),   m ← μm + g.

    lr: η. momentum: μ.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One update of all parameters that have a gradient."""
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
