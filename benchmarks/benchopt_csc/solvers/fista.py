"""FISTA with restart, of cscsr."""

from benchmark_utils.coder import Coder


class Solver(Coder):
    """`cscsr.make_solver("fista")`."""

    name = "fista"
