"""The loops of the solvers on a device, as tensors without values (torch's "meta") show them.

A value that Python reads makes it wait for a GPU, which then has nothing to do. Here, to read one
is an error, so a loop that runs has no such wait. (LISTA asks after each of its 16 steps whether
the objective rose; a second F would cost more than that wait.)
"""

from __future__ import annotations

import itertools

import pytest
import torch

import cscsr
from cscsr import SparseCoding
from cscsr.operators import ConvDictionary
from cscsr.sparse.ista import _next_momentum

SIDE, ATOMS, SIZE = 20, 6, 5
SOLVERS = {
    "ista": cscsr.ISTA(),
    "fista": cscsr.FISTA(restart=False),
    "fista, restart": cscsr.FISTA(),
    "cista": cscsr.CISTA(),
    "admm": cscsr.ADMM(tol=0, rho=1.0, auto_rho=False),
}


class Unread(SparseCoding):
    """A problem of fake tensors, whose L (a number of the preparation) is known."""

    def __post_init__(self) -> None:
        pass

    def operator(self, masked: bool = True) -> ConvDictionary:
        operator = ConvDictionary(self.dictionary, (SIDE, SIDE), self.boundary)
        operator.__dict__["lipschitz"] = 10.0
        return operator


class Zeros(torch.Tensor):
    """Codes known to be zero, which ADMM asks once, before its loop."""

    def any(self) -> bool:
        return False


def first_iterates(solver, count: int):
    """The codes after each of the first iterations, without values."""
    signal = torch.empty(1, SIDE, SIDE, device="meta")
    dictionary = torch.empty(ATOMS, 1, SIZE, SIZE, device="meta")
    problem = Unread(signal, dictionary, 0.1)
    codes = problem.operator().zeros().as_subclass(Zeros)
    for iterate in itertools.islice(solver.iterates(problem, codes), count):
        yield iterate.codes


@pytest.mark.parametrize("name", SOLVERS)
def test_100_iterations_read_no_value_of_the_device(name):
    codes = list(first_iterates(SOLVERS[name], 100))
    assert len(codes) == 100
    assert {(tuple(z.shape), z.device.type) for z in codes} == {((ATOMS, SIDE, SIDE), "meta")}


def test_a_value_that_is_read_is_noticed():
    with pytest.raises((RuntimeError, ValueError)):  # the penalty is adapted after 16 iterations
        list(first_iterates(cscsr.ADMM(tol=0, rho=1.0), 20))
    assert len(list(first_iterates(cscsr.ADMM(tol=0, rho=1.0), 15))) == 15


def test_the_momentum_of_a_device_is_that_of_numbers():
    number, tensor = 1.0, torch.ones((), dtype=torch.float64)
    for k in range(50):
        uphill = torch.tensor(1.0 if k % 7 == 6 else -1.0)
        number, momentum = _next_momentum(number, uphill)
        tensor, on_device = _next_momentum(tensor, uphill)
        assert isinstance(on_device, torch.Tensor)
        assert momentum == pytest.approx(float(on_device), abs=1e-14)
        assert (momentum == 0) == (k % 7 == 6 or k == 0)
