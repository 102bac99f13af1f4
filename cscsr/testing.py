"""The contract of a solver as a test: `check_solver`, for solvers of this and of other packages.

    from cscsr.testing import check_solver
    check_solver(MySolver())

Each rule is a function of `CHECKS`, which pytest can run one by one:

    @pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
    def test_my_solver(check):
        check(MySolver())

Needs torch.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cscsr.arrays import to_numpy
from cscsr.contract import (
    Problem,
    checked_operations,
    checked_solve,
    checked_solver,
    checked_support,
    solution_fault,
)
from cscsr.errors import InputError, SolverError, one_line
from cscsr.problem import SparseCoding
from cscsr.solver import Solution, Solver, Status, Trace
from cscsr.super_resolution import SuperResolution
from cscsr.testing_problems import SCALES, image, problem_for, sparse_arrays, variants

Check = Callable[[Solver], None]
"""A rule of the contract, which raises AssertionError where a solver breaks it."""

BRIEF = 20
"""Iterations at most, where a solver has the parameter `iterations` and a rule is not about how
good the answer is."""


NEAR = 0.04
"""How far an enlargement, averaged over each pixel of its input, may be from it in the mean. A
flip, a shift of several pixels and two channels exchanged are 0.07 and more."""


def check_solver(solver: Solver) -> None:
    """Check that a solver keeps the contract of all solvers.

    It tries the solver on small problems: grey and colour, batches, numpy and torch, float32 and
    float64; with few iterations where a rule is not about the answer. What `supports` refuses is
    not solved, but `solve` must then refuse it with the same sentence.

    Parameters
    ----------
    solver
        An instance, with the parameters to be checked.

    Raises
    ------
    AssertionError
        With a line for each rule that the solver breaks.

    Examples
    --------
    >>> from cscsr import Bicubic
    >>> from cscsr.testing import check_solver
    >>> check_solver(Bicubic())
    """
    broken = []
    for name, check in CHECKS.items():
        try:
            check(solver)
        except (AssertionError, InputError) as error:
            broken.append(f"{name}: {error}")
    if broken:
        raise AssertionError("\n".join(broken))


def _solved(solver: Solver, problem: Problem, **options: Any) -> Solution | None:
    """The checked solution, or None if the solver refuses the problem both ways."""
    reason = checked_support(solver, problem)
    if reason is None:
        return checked_solve(solver, problem, **options)
    _check_refusal(solver, problem, reason)
    return None


def _check_refusal(solver: Solver, problem: Any, reason: str) -> None:
    try:
        solver.solve(problem)
    except InputError as error:
        assert one_line(str(error)) == reason, (
            f"solve must refuse with the sentence of supports, {reason!r}, got {str(error)!r}"
        )
    else:
        raise AssertionError(f"solve must refuse what supports refuses: {reason}")


def _brief(solver: Solver) -> Solver:
    """The same solver with at most `BRIEF` iterations."""
    iterations = solver.params().get("iterations")
    if not isinstance(iterations, int) or iterations <= BRIEF:
        return solver
    return type(solver)(**{**solver.params(), "iterations": BRIEF})


def _same(left: Solution, right: Solution) -> bool:
    return np.array_equal(to_numpy(left.estimate), to_numpy(right.estimate))


def check_construction(solver: Solver) -> None:
    """The constructor only checks and stores: a frozen dataclass made again by `params()`."""
    checked_solver(solver, type(solver).__name__)
    names = list(inspect.signature(type(solver)).parameters)
    assert set(vars(solver)) == set(names), (
        f"a solver holds its parameters {names} and nothing else, got {sorted(vars(solver))}"
    )
    assert solver.params() == vars(solver), "params() must be the parameters as they are stored"
    try:
        solver.anything = None  # type: ignore[attr-defined]
    except dataclasses.FrozenInstanceError:
        pass
    else:
        raise AssertionError("a solver must be a frozen dataclass")
    again = type(solver)(**solver.params())
    assert again == solver, "params() must make an equal solver"
    assert again.name == solver.name, "equal solvers must have one name"


def check_description(solver: Solver) -> None:
    """Version, weights, line, halo, tile side and operations are of their types."""
    assert isinstance(solver.version, str), f"version must be text, got {solver.version!r}"
    sha256 = solver.weights_sha256()
    assert sha256 is None or (isinstance(sha256, str) and len(sha256) == 64), (
        f"weights_sha256() must be a SHA-256 in hexadecimal or None, got {sha256!r}"
    )
    problem = problem_for(solver)
    for iterations in (None, 3):
        checked_operations(solver, problem, iterations)
    if isinstance(problem, SuperResolution):
        assert solver.line in ("y", "rgb"), f"line must be 'y' or 'rgb', got {solver.line!r}"
        for label, least in (("halo", 0), ("tile_side", 1)):
            pixels = getattr(solver, label)(problem.scale)
            assert pixels is None or (isinstance(pixels, int) and least <= pixels), (
                f"{label}() must be a whole number of at least {least} or None, got {pixels!r}"
            )


def check_solution(solver: Solver) -> None:
    """Grey and colour, numpy and torch, float32 and float64: type, shape, dtype and device follow
    the input, all is finite, there is a status, the input stays as it was."""
    solver = _brief(solver)
    solved = {name: _solved(solver, problem) for name, problem in variants(solver)}
    assert any(solved.values()), "the solver must solve at least one of these problems"
    for name, solution in solved.items():
        if solution is None:
            continue
        assert solution.status is not Status.STOPPED, f"{name}: nobody asked for the end"
        trace = solution.trace
        assert tuple(trace.to_frame().columns) == Trace.COLUMNS, f"{name}: columns of the trace"
        if len(trace):
            assert (np.diff(trace["iteration"]) > 0).all(), f"{name}: iterations must ascend"
            assert (np.diff(trace["seconds"]) >= 0).all(), f"{name}: seconds must not descend"
            assert trace["seconds"][-1] <= solution.seconds, (
                f"{name}: the trace ends after {trace['seconds'][-1]} s, "
                f"the solve after {solution.seconds} s"
            )


def check_array_types(solver: Solver) -> None:
    """numpy and torch, read-only, strided and big-endian arrays give one answer."""
    solver = _brief(solver)
    problem = problem_for(solver)
    expected = _solved(solver, problem)
    if expected is None:
        return
    for label, change in _ARRANGEMENTS.items():
        arrays = {name: change(array) for name, array in _arrays(problem).items()}
        solution = checked_solve(solver, dataclasses.replace(problem, **arrays))
        assert _same(solution, expected), f"{label} arrays give another answer"


def _strided(array: np.ndarray) -> np.ndarray:
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


_ARRANGEMENTS: dict[str, Callable[[np.ndarray], Any]] = {
    "torch": lambda array: torch.from_numpy(array.copy()),
    "read-only": _read_only,
    "strided": _strided,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
}


def _arrays(problem: Problem) -> dict[str, np.ndarray]:
    if isinstance(problem, SparseCoding):
        return {"signal": problem.signal, "dictionary": problem.dictionary}
    return {"lr": problem.lr}


def check_determinism(solver: Solver) -> None:
    """The same problem has the same answer, bit by bit, also after `prepare`."""
    solver = _brief(solver)
    first = _solved(solver, problem_for(solver))
    if first is None:
        return
    second = checked_solve(solver, problem_for(solver))
    assert _same(first, second), "two solves of one problem must give one answer"
    problem = problem_for(solver)
    solver.prepare(problem)
    assert _same(first, checked_solve(solver, problem)), "prepare must not change the answer"


def check_answer(solver: Solver) -> None:
    """Codes are better than zero, and zero from λ_max on; an enlargement is near its input."""
    problem = problem_for(solver)
    if isinstance(problem, SparseCoding):
        solution = _solved(solver, problem)
        if solution is None:
            return
        zero = 0 * solution.estimate
        assert problem.objective(solution.estimate) < problem.objective(zero), (
            "the codes must have a lower objective than zero"
        )
        at = dataclasses.replace(problem, lam=1.001 * problem.lambda_max())
        assert not to_numpy(checked_solve(solver, at).estimate).any(), (
            "from lambda_max on the codes are zero"
        )
        return
    for scale in SCALES:
        for channels in (None, 3):
            lr = image(24, 20, channels)
            solution = _solved(solver, SuperResolution(lr, scale))
            if solution is not None:
                blocks = solution.estimate.reshape(24, scale, 20, scale, -1)
                error = float(np.abs(blocks.mean((1, 3)).reshape(lr.shape) - lr).mean())
                assert error < NEAR, (
                    f"the x{scale} enlargement, averaged, is {error:.2f} from its input in the "
                    "mean; is it flipped, shifted, or are its channels exchanged?"
                )


def check_truth(solver: Solver) -> None:
    """The truth that a problem may hold changes nothing in the answer."""
    solver = _brief(solver)
    problem = problem_for(solver)
    if isinstance(problem, SuperResolution):
        blind = _solved(solver, problem)
        if blind is not None:
            truth = image(problem.scale * 24, problem.scale * 20)
            shown = checked_solve(solver, SuperResolution(problem.lr, problem.scale, truth))
            assert _same(blind, shown), "the answer must not depend on the truth"


def check_batch(solver: Solver) -> None:
    """A batch of signals is solved signal by signal: each has better codes than zero."""
    if solver.problem_type is not SparseCoding:
        return
    signal, dictionary = sparse_arrays(solver)
    batch = np.stack([signal, 2 * signal[..., ::-1]])
    solution = _solved(solver, SparseCoding(batch, dictionary, 0.2))
    if solution is not None:
        for index, codes in enumerate(solution.estimate):
            single = SparseCoding(np.ascontiguousarray(batch[index]), dictionary, 0.2)
            assert single.objective(codes) < single.objective(0 * codes), (
                f"signal {index} of the batch has codes no better than zero"
            )


def check_init(solver: Solver) -> None:
    """An `init` is used, ignored or refused by an InputError, and not written to; one of another
    shape or with NaN is never used."""
    solution = _solved(solver, problem_for(solver))
    if solution is None or solution.codes is None:
        return
    start = solution.codes.copy()
    try:
        warm = checked_solve(solver, problem_for(solver), init=start)
    except SolverError:
        raise
    except InputError:
        return  # it takes none
    assert np.array_equal(start, solution.codes), "init must not be written to"
    problem = problem_for(solver)
    if not isinstance(problem, SparseCoding):
        return
    limit = problem.objective(solution.estimate)
    assert problem.objective(warm.estimate) <= 1.01 * limit, (
        "a start from its own answer must not end more than 1 % above it"
    )
    for label, wrong in (("another shape", start[..., 1:]), ("NaN", np.full_like(start, np.nan))):
        try:
            answer = checked_solve(solver, problem_for(solver), init=wrong)
        except SolverError:
            raise
        except InputError:
            continue
        assert _same(answer, solution), (
            f"an init with {label} must be refused by an InputError, or ignored"
        )


def check_callback(solver: Solver) -> None:
    """A callback gets ascending iterations with estimates of its own, and True ends the solve."""
    solver = _brief(solver)
    alone = _solved(solver, problem_for(solver))
    if alone is None:
        return
    problem = problem_for(solver)
    calls: list[int] = []
    faults: list[str] = []

    def watch(iteration: int, estimate: Any) -> None:
        calls.append(iteration)
        fault = solution_fault(Solution(estimate, Status.STOPPED), problem)
        if fault is not None:
            faults.append(fault)
        estimate *= 0  # it is the callback's own

    watched = checked_solve(solver, problem, callback=watch)
    assert not faults, f"the callback was called with what is no estimate: {faults[0]}"
    assert calls == sorted(set(calls)), "the callback must be called with ascending iterations"
    assert _same(watched, alone), "a callback must not change the answer, whatever it does"
    calls.clear()

    def stop(iteration: int, estimate: Any) -> bool:
        calls.append(iteration)
        return True

    stopped = checked_solve(solver, problem_for(solver), callback=stop)
    if alone.status is Status.DIRECT:
        assert _same(stopped, alone), "a callback has no influence on a direct method"
    else:
        assert len(calls) == 1, f"True must end the solve, but {len(calls)} calls came"


def check_max_seconds(solver: Solver) -> None:
    """`max_seconds`, where there is one, ends the solve and is its status."""
    if "max_seconds" not in solver.params():
        return
    hasty = dataclasses.replace(solver, max_seconds=1e-9)  # type: ignore[type-var]
    solution = _solved(hasty, problem_for(solver))
    if solution is not None:
        assert solution.status is Status.MAX_SECONDS, (
            f"max_seconds=1e-9 must end the solve, but it ended as {solution.status.name}"
        )


def check_refusals(solver: Solver) -> None:
    """A problem of the other type, and what is no problem, are refused by a sentence with the
    solver's name: `supports` returns it, and `solve` raises it as an InputError."""
    other: Any = SuperResolution(image(24, 20), 2)
    if solver.problem_type is SuperResolution:
        other = SparseCoding(np.ones((8, 8)), np.ones((2, 3, 3)), 0.1)
    for foreign in (other, None):
        reason = checked_support(solver, foreign)
        assert reason is not None, f"a {type(foreign).__name__} must be refused"
        assert solver.name in reason and reason.endswith("."), (
            f"a refusal is a sentence with the solver's name, got {reason!r}"
        )
        _check_refusal(solver, foreign, reason)


def check_copies(solver: Solver) -> None:
    """Pickled and deep-copied, a solver is equal and gives the same answer; solutions pickle."""
    solver = _brief(solver)
    expected = _solved(solver, problem_for(solver))
    copies = {"pickled": pickle.loads(pickle.dumps(solver)), "deep-copied": copy.deepcopy(solver)}
    for label, other in copies.items():
        assert other == solver, f"a {label} solver must be equal to the original"
        if expected is not None:
            answer = checked_solve(other, problem_for(solver))
            assert _same(answer, expected), f"a {label} solver gives another answer"
    restored = pickle.loads(pickle.dumps(expected))
    assert expected is None or (_same(restored, expected) and restored.status is expected.status), (
        "a pickled solution must be as it was"
    )


def check_threads(solver: Solver) -> None:
    """Two threads that solve at once get the answers that one gets."""
    solver = _brief(solver)
    expected = _solved(solver, problem_for(solver))
    if expected is None:
        return
    start = threading.Barrier(2)
    answers: list[Solution | BaseException] = []

    def work() -> None:
        start.wait()
        for _ in range(2):
            try:
                answers.append(checked_solve(solver, problem_for(solver)))
            except Exception as error:
                answers.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert isinstance(answer, Solution), f"a solve beside another one failed: {answer}"
        assert _same(answer, expected), "a solve beside another one gives another answer"


CHECKS: dict[str, Check] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_construction,
        check_description,
        check_solution,
        check_array_types,
        check_determinism,
        check_answer,
        check_truth,
        check_batch,
        check_init,
        check_callback,
        check_max_seconds,
        check_refusals,
        check_copies,
        check_threads,
    )
}
"""The rules of the contract: name to a function that raises AssertionError or InputError where a
solver breaks the rule."""
