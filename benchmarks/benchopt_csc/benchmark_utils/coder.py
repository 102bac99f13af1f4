"""How benchopt runs a solver of cscsr."""

import numpy as np
from benchmark_utils.sampling import Sampled

from cscsr import SparseCoding, make_solver


class Coder(Sampled):
    """The solver of cscsr that has the class's name, without a stop rule of its own.

    The clock runs from the arrays to the codes: what is computed once for a problem counts, and so
    does the copy of the codes that cscsr gives a callback at each iteration.
    """

    requirements = ["cscsr"]

    def set_objective(self, signal, dictionary, lam):
        """Take a signal (C,H,W), filters (M,C,h,w) and λ."""
        self.arrays = (signal, dictionary, lam)
        self.solver = make_solver(self.name, iterations=10**9, tol=0.0, record_every=0)
        self.run_once(3)  # benchopt's warm_up comes once, but what is planned depends on shapes

    def run(self, callback):
        """Solve until the callback ends it."""
        problem = SparseCoding(*self.arrays)
        self.codes = np.zeros(problem.codes_shape, problem.signal.dtype)

        def ends(_, codes):
            self.codes = codes
            return not callback()

        if callback():
            self.solver.solve(problem, callback=ends)

    def get_result(self):
        """Return the codes (M,H,W)."""
        return {"codes": self.codes}
