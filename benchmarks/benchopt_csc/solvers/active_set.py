"""Newton's method on the active codes, of cscsr."""

from benchmark_utils.coder import Coder


class Solver(Coder):
    """`cscsr.make_solver("active-set")`."""

    name = "active-set"
