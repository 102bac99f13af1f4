"""Convolutional dictionary learning: filters under which signals have sparse codes.

`learn_dictionary` minimises the objective of sparse coding over codes and filters,

    min over f, z of Σₖ ½‖yₖ − Σᵢ fᵢ⊗zᵢₖ‖² + λ‖zₖ‖₁   subject to ‖fᵢ‖ ≤ 1,

by turns: codes of some signals, then filters for all codes so far (`cscsr.learn.statistics`).
"""

from cscsr.learn.learner import LearnedDictionary, learn_dictionary
from cscsr.learn.signals import ImageSignals

__all__ = ["ImageSignals", "LearnedDictionary", "learn_dictionary"]
