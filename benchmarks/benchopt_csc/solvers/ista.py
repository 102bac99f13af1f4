"""ISTA, proximal gradient descent, of cscsr."""

from benchmark_utils.coder import Coder


class Solver(Coder):
    """`cscsr.make_solver("ista")`."""

    name = "ista"
