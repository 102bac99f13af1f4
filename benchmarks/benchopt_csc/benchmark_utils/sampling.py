"""What all solvers share: when benchopt looks at their codes."""

from benchopt import BaseSolver


class Sampled(BaseSolver):
    """A solver that benchopt looks at after each of the first iterations, then ever more rarely."""

    sampling_strategy = "callback"

    def get_next(self, stop_val):
        """Return the iteration to look at after this one: the next, or a tenth more."""
        return stop_val + max(1, stop_val // 10)
