"""The trained parameters of LISTA and their loss. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cscsr.problem import SparseCoding
from cscsr.sparse.lista import LearnedSteps, lista_step


class Learner(nn.Module):
    """The trained parameters of K steps: log γ, log θ, W and B, initialised to ISTA.

    Parameters
    ----------
    form
        "step", "tied" or "untied"; see `cscsr.sparse.lista`.
    dictionary
        (M, 1, s, s).
    steps
        K.
    """

    def __init__(self, form: str, dictionary: Tensor, steps: int) -> None:
        super().__init__()
        each = 1 if form == "step" else len(dictionary)
        self.log_gains = nn.Parameter(torch.zeros(steps))
        self.log_thresholds = nn.Parameter(torch.zeros(steps, each))
        self.analysis = self.synthesis = None
        if form != "step":
            banks = dictionary.expand(1 if form == "tied" else steps, *dictionary.shape)
            self.analysis = nn.Parameter(banks.clone())
            self.synthesis = nn.Parameter(banks.clone())

    def learned(self) -> LearnedSteps:
        """Return the steps, differentiable in the parameters."""
        return LearnedSteps(
            self.log_gains.exp(), self.log_thresholds.exp(), self.analysis, self.synthesis
        )

    def start_at(self, learned: LearnedSteps) -> None:
        """Copy the steps of a form with no more parameters than this one."""
        with torch.no_grad():
            self.log_gains.copy_(learned.gains.log())
            self.log_thresholds.copy_(learned.thresholds.log().expand_as(self.log_thresholds))
            for own, bank in (
                (self.analysis, learned.analysis),
                (self.synthesis, learned.synthesis),
            ):
                if own is not None and bank is not None:
                    own.copy_(bank.expand_as(own))


def mean_log_objective(learned: LearnedSteps, problem: SparseCoding) -> Tensor:
    """Return the loss: the mean of log P(zₖ), k = 1 … K, over a batch of signals."""
    step, operator, observed = lista_step(learned, problem), problem.operator(), problem.observed()
    codes = observed.new_zeros(problem.codes_shape)
    total = observed.new_zeros(())
    for k in range(len(learned)):
        codes = step(codes, k)
        misfit = (observed - operator.synthesis(codes)).square().sum((1, 2, 3))
        objective = 0.5 * misfit + problem.lam * codes.abs().sum((1, 2, 3))
        total = total + (objective + 1e-6).log().mean()
    return total / len(learned)
