"""ADMM of the sporco package, called without cscsr."""

import numpy as np
from benchmark_utils.sampling import Sampled
from sporco.admm.cbpdn import ConvBPDN


class Solver(Sampled):
    """`sporco.admm.cbpdn.ConvBPDN` with its own ρ = 50λ + 1, which it adapts unless told not to."""

    name = "sporco-admm"
    requirements = ["sporco"]
    parameters = {"auto_rho": [True, False]}

    def set_objective(self, signal, dictionary, lam):
        """Take a signal (C,H,W), filters (M,C,h,w) and λ, into sporco's layout."""
        self.arrays = (dictionary.transpose(2, 3, 1, 0), signal.transpose(1, 2, 0)[..., None], lam)
        self.start = np.zeros((len(dictionary), *signal.shape[-2:]), signal.dtype)
        self.run_once(3)  # benchopt's warm_up comes once, but what is planned depends on shapes

    def run(self, callback):
        """Solve until the callback ends it."""
        options = {
            "FastSolve": True,  # no statistics of its own
            "MaxMainIter": 10**9,
            "RelStopTol": 0.0,
            "AutoRho": {"Enabled": self.auto_rho},
            "Callback": lambda _: not callback(),
        }
        self.method = None
        if callback():
            self.method = ConvBPDN(*self.arrays, ConvBPDN.Options(options))
            self.method.solve()

    def get_result(self):
        """Return the codes (M,H,W), the sparse one of ADMM's two variables."""
        if self.method is None:
            return {"codes": self.start}
        return {"codes": self.method.Y[:, :, 0, 0].transpose(2, 0, 1)}
