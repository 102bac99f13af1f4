"""What every solver, ours or another package's, must keep to: checked whenever one is used.

`cscsr compare`, `cscsr upscale` and `cscsr.testing.check_solver` all solve by `checked_solve`, so
that a solver which fails or returns something other than a solution is one sentence, and the work
on the other solvers goes on. The checks read the arrays once. Needs numpy.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from cscsr.arrays import copied, is_tensor
from cscsr.errors import SolverError, failures_of, one_line
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Solver, Status, Trace
from cscsr.super_resolution import SuperResolution

Problem = SparseCoding | SuperResolution


def checked_solver(solver: Any, name: str) -> Solver:
    """Return what another package made as its solver `name`, if it is one.

    Raises
    ------
    SolverError
        If it is not an instance of `Solver`, not a dataclass, of no known `problem_type`, or has
        no name.
    """
    if not isinstance(solver, Solver):
        raise SolverError(f"{name} is {_a(solver)}, not an instance of cscsr.Solver.")
    if not is_dataclass(solver):
        raise SolverError(f"{name} is a solver, but its class is no dataclass.")
    problem_type = getattr(solver, "problem_type", None)
    if problem_type not in (SparseCoding, SuperResolution):
        raise SolverError(
            f"the problem_type of {name} must be SparseCoding or SuperResolution, "
            f"got {one_line(repr(problem_type))}."
        )
    label = solver.name
    if not isinstance(label, str) or not label or one_line(label) != label:
        raise SolverError(
            f"the name of the solver {name} must be a line of text, got {one_line(repr(label))}."
        )
    return solver


def checked_support(solver: Solver, problem: Any) -> str | None:
    """Return `solver.supports(problem)`: None, or the reason against, on one line.

    Raises
    ------
    SolverError
        If it raises, or returns something other than None and a sentence.
    """
    with failures_of(f"{solver.name} failed to say whether it can solve the problem"):
        reason = solver.supports(problem)
    if reason is None:
        return None
    if not isinstance(reason, str) or not reason.strip():
        raise SolverError(
            f"{solver.name} must say None or a reason against a problem, "
            f"but said {one_line(repr(reason))}."
        )
    return one_line(reason)


def checked_operations(
    solver: Solver, problem: Problem, iterations: int | None = None
) -> float | None:
    """Return `solver.operations(problem, iterations)`: None, or multiply-adds.

    Raises
    ------
    SolverError
        If it raises, or returns something other than None and a finite number of at least 0.
    """
    with failures_of(f"{solver.name} failed to count its operations"):
        count = solver.operations(problem, iterations)
    if count is not None and not _is_amount(count):
        raise SolverError(
            f"{solver.name} must count its operations by a finite number of at least 0 or None, "
            f"but returned {one_line(repr(count))}."
        )
    return None if count is None else float(count)


def checked_solve(
    solver: Solver, problem: Problem, *, init: Any = None, callback: Callback | None = None
) -> Solution:
    """Solve a problem, and check that a solution came back.

    The solution must be a `Solution` with a `Status`, a `Trace` and seconds of at least 0; its
    estimate (and codes, where there are any) finite, of the array type, dtype and device of the
    problem's array, and of the shape that the problem demands; the problem's arrays must be as
    before. It costs a copy of those arrays and one pass over each.

    Parameters
    ----------
    solver, problem
    init, callback
        As `Solver.solve` takes them.

    Raises
    ------
    SolverError
        If the solver raises something other than an InputError, KeyboardInterrupt or MemoryError,
        or if what it returns is no such solution.
    InputError
        If the solver refuses the problem.
    """
    inputs = _inputs(problem)
    before = {name: copied(array) for name, array in inputs.items()}
    options = {"init": init, "callback": callback}
    options = {name: value for name, value in options.items() if value is not None}
    with failures_of(f"{solver.name} failed"):
        solution = solver.solve(problem, **options)
        fault = solution_fault(solution, problem)
        for name, array in inputs.items():
            if fault is None and not (
                getattr(problem, name) is array and _equal(array, before[name])
            ):
                fault = f"changed the {name} of its problem"
    if fault is not None:
        raise SolverError(f"{solver.name} {fault}.")
    return solution


def solution_fault(solution: Any, problem: Problem) -> str | None:
    """Return what is wrong with what a solver returned, such as "returned …", or None."""
    if not isinstance(solution, Solution):
        return f"returned {_a(solution)} instead of a Solution"
    if not isinstance(solution.status, Status):
        return f"returned a status that is no cscsr.Status: {one_line(repr(solution.status))}"
    if not _is_amount(solution.seconds):
        return (
            "returned seconds that are no finite number of at least 0: "
            f"{one_line(repr(solution.seconds))}"
        )
    if not isinstance(solution.trace, Trace):
        return f"returned {_a(solution.trace)} instead of a Trace"
    if isinstance(problem, SparseCoding):
        like, shape = problem.signal, problem.codes_shape
    else:
        like = problem.lr
        height, width, *channels = like.shape
        shape = (problem.scale * height, problem.scale * width, *channels)
    fault = _array_fault("an estimate", solution.estimate, like, shape)
    if fault is None and solution.codes is not None:
        expected = shape if isinstance(problem, SparseCoding) else None
        fault = _array_fault("codes", solution.codes, like, expected)
    return fault


def _array_fault(label: str, array: Any, like: Any, shape: tuple[int, ...] | None) -> str | None:
    """What is wrong with an array that should be as `like` and of a shape, or None."""
    if is_tensor(like):
        same_type = is_tensor(array)
    else:
        same_type = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
    if not same_type:
        return f"returned {label} as {_a(array)}, but its input is {_a(like)}"
    if shape is not None and tuple(array.shape) != shape:
        return f"returned {label} of shape {tuple(array.shape)} instead of {shape}"
    if array.dtype != like.dtype:
        return f"returned {label} of dtype {array.dtype} instead of {like.dtype}, that of its input"
    if is_tensor(like) and array.device != like.device:
        return f"returned {label} on {array.device} instead of {like.device}, where its input is"
    finite = array.isfinite() if is_tensor(array) else np.isfinite(array)
    if not bool(finite.all()):
        return f"returned {label} with NaN or infinity in it"
    return None


def _inputs(problem: Problem) -> dict[str, Any]:
    """The arrays of a problem by name."""
    sparse = isinstance(problem, SparseCoding)
    names = ("signal", "dictionary", "lam", "mask") if sparse else ("lr", "truth")
    arrays = {name: getattr(problem, name) for name in names}
    return {name: array for name, array in arrays.items() if getattr(array, "shape", ())}


def _equal(array: Any, other: Any) -> bool:
    return bool((array == other).all())


def _is_amount(value: Any) -> bool:
    """Whether a value is a finite number of at least 0."""
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    return real and math.isfinite(value) and value >= 0


def _a(value: Any) -> str:
    """The type of a value with its article, such as "a numpy.ndarray"; None as it is."""
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
