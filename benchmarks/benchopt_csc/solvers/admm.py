"""ADMM, each step exact by Fourier transforms, of cscsr."""

from benchmark_utils.coder import Coder


class Solver(Coder):
    """`cscsr.make_solver("admm")`."""

    name = "admm"
