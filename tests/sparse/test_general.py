"""λ by atom and by code, masks, filters of any shape: every solver against a dense LASSO.

The reference is independent of the package: the matrix of F is written out from the definition of
convolution, and coordinate descent solves the problem.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from cscsr import InputError, SparseCoding, Status, list_solvers, make_solver, stack_filters
from cscsr.certificate import without_exempt

HEIGHT, WIDTH, ATOMS = 7, 6, 3


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def unit(filters: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, filters.ndim))
    return filters / np.sqrt((filters**2).sum(axes, keepdims=True))


SIGNAL, COLOUR = normal(HEIGHT, WIDTH), normal(3, HEIGHT, WIDTH)
SQUARE, BARS = unit(normal(ATOMS, 3, 3, seed=1)), unit(normal(ATOMS, 2, 4, seed=1))
COLOUR_BARS = unit(normal(ATOMS, 3, 2, 4, seed=1))
MIXED = stack_filters([SQUARE[0], BARS[1], unit(normal(1, 5, 2, seed=2))[0]])
BY_ATOM = np.array([0.8, 1.3, 1.0])[:, None, None]
BY_CODE = 0.7 + np.random.default_rng(3).random((ATOMS, HEIGHT, WIDTH))
EXEMPT_ATOM = np.array([0.0, 1.3, 1.0])[:, None, None]
EXEMPT_GRID = np.full((ATOMS, HEIGHT, WIDTH), 1.0)
EXEMPT_GRID[0, ::3, ::3] = 0.0
HOLES = np.random.default_rng(4).random((HEIGHT, WIDTH)) > 0.4
WEIGHTS = HOLES * (0.2 + 0.8 * np.random.default_rng(5).random((HEIGHT, WIDTH)))

CASES = {
    "plain": (SIGNAL, SQUARE, 1.0, {}),
    "by atom": (SIGNAL, SQUARE, BY_ATOM, {}),
    "by code": (SIGNAL, SQUARE, BY_CODE, {}),
    "by code, no atoms": (SIGNAL, SQUARE, BY_CODE[:1], {}),
    "exempt atom": (COLOUR, COLOUR_BARS, EXEMPT_ATOM, {}),
    "exempt codes": (SIGNAL, SQUARE, EXEMPT_GRID, {}),
    "mask": (SIGNAL, SQUARE, 1.0, {"mask": HOLES}),
    "weights": (SIGNAL, SQUARE, 0.6, {"mask": WEIGHTS}),
    "a row of a mask": (SIGNAL, SQUARE, 1.0, {"mask": HOLES[0]}),
    "not square": (SIGNAL, BARS, 1.0, {}),
    "mixed sizes": (SIGNAL, MIXED, 1.0, {}),
    "colour": (COLOUR, COLOUR_BARS, 1.2, {}),
    "nonnegative": (SIGNAL, BARS, 0.4 * BY_ATOM, {"mask": WEIGHTS, "nonnegative": True}),
    "nonnegative, exempt": (SIGNAL, SQUARE, EXEMPT_GRID, {"nonnegative": True}),
    "colour, mask, by atom": (COLOUR, COLOUR_BARS, BY_ATOM, {"mask": HOLES}),
    "mask, exempt codes": (SIGNAL, MIXED, 0.6 * EXEMPT_GRID, {"mask": WEIGHTS}),
    "zero, mask, by code": (SIGNAL, BARS, 0.5 * BY_CODE, {"mask": WEIGHTS, "boundary": "zero"}),
    "zero, exempt codes": (SIGNAL, MIXED, EXEMPT_GRID, {"boundary": "zero"}),
    "zero, row, exempt atom": (
        COLOUR,
        COLOUR_BARS,
        EXEMPT_ATOM,
        {"mask": HOLES[0], "boundary": "zero"},
    ),
    "batch": (
        normal(2, 1, HEIGHT, WIDTH),
        SQUARE[:, None],
        np.array([0.7, 1.1])[:, None, None, None] * BY_ATOM,
        {"mask": np.stack([HOLES, HOLES[::-1]])[:, None]},
    ),
    "batch, exempt codes": (normal(2, 1, HEIGHT, WIDTH), SQUARE[:, None], EXEMPT_GRID, {}),
}


def problem_of(case: str, dtype: str = "float64") -> SparseCoding:
    signal, dictionary, lam, options = CASES[case]
    return SparseCoding(signal.astype(dtype), dictionary.astype(dtype), lam, **options)


class Dense(NamedTuple):
    """min ½‖b − Az‖² + Σ λⱼ|zⱼ| of one signal."""

    matrix: np.ndarray
    observed: np.ndarray
    lam: np.ndarray
    nonnegative: bool

    def objective(self, codes: np.ndarray) -> float:
        residual = self.observed - self.matrix @ codes
        return 0.5 * residual @ residual + self.lam @ np.abs(codes)

    def kkt(self, codes: np.ndarray) -> float:
        """The largest distance of Aᵀ(b − Az) from the subdifferential of Σ λⱼ|zⱼ|."""
        c = self.matrix.T @ (self.observed - self.matrix @ codes)
        at_zero = c - self.lam if self.nonnegative else np.abs(c) - self.lam
        return np.where(codes, np.abs(c - self.lam * np.sign(codes)), np.maximum(at_zero, 0)).max()

    def solution(self) -> np.ndarray:
        """Coordinate descent; then the equations of the codes that are not zero, exactly."""
        gram, codes = self.matrix.T @ self.matrix, np.zeros(len(self.lam))
        slope, sizes = self.matrix.T @ self.observed, np.maximum(np.diag(gram), 1e-12)
        for _ in range(40):
            for j in list(range(len(codes))) * 50:
                target = codes[j] + slope[j] / sizes[j]
                sign = 1.0 if self.nonnegative else np.sign(target)
                new = sign * max(sign * target - self.lam[j] / sizes[j], 0.0)
                if new != codes[j]:
                    slope -= gram[:, j] * (new - codes[j])
                    codes[j] = new
            active = np.flatnonzero(codes)
            exact, right = np.zeros_like(codes), self.matrix[:, active].T @ self.observed
            right -= self.lam[active] * np.sign(codes[active])
            exact[active] = np.linalg.lstsq(gram[np.ix_(active, active)], right, rcond=None)[0]
            if self.kkt(exact) < 1e-10 and (exact * codes >= 0).all():
                return exact
        raise AssertionError("coordinate descent did not converge")


def dense_problems(problem: SparseCoding) -> list[Dense]:
    """The problem's signals one by one, with F written out element by element."""
    signals = problem.signal.reshape(-1, *(1, *problem.signal.shape)[-3:])
    filters = problem.dictionary.reshape(ATOMS, signals.shape[1], *problem.dictionary.shape[-2:])
    rows, columns = filters.shape[-2:]
    zero = problem.boundary == "zero"
    grid = (HEIGHT + rows - 1, WIDTH + columns - 1) if zero else (HEIGHT, WIDTH)
    matrix = np.zeros((signals.shape[1], *grid, ATOMS, HEIGHT, WIDTH))
    for m, row, column, i, j in np.ndindex(ATOMS, HEIGHT, WIDTH, rows, columns):
        place = (row + i) % grid[0], (column + j) % grid[1]
        matrix[(slice(None), *place, m, row, column)] += filters[m, :, i, j]
    matrix = matrix.reshape(-1, ATOMS * HEIGHT * WIDTH)
    mask = np.ones(1) if problem.mask is None else np.asarray(problem.mask, float)
    mask = np.broadcast_to(mask, signals.shape)
    lam = np.broadcast_to(problem.lam, (len(signals), ATOMS, HEIGHT, WIDTH))
    if zero:
        top, left = (rows - 1) // 2, (columns - 1) // 2
        margins = ((0, 0), (0, 0), (top, rows - 1 - top), (left, columns - 1 - left))
        signals, mask = np.pad(signals, margins), np.pad(mask, margins, constant_values=1)
    return [
        Dense(m.reshape(-1, 1) * matrix, (m * y).ravel(), weights.ravel(), problem.nonnegative)
        for y, m, weights in zip(signals, mask, lam, strict=True)
    ]


@cache
def reference(case: str) -> tuple[list[Dense], list[np.ndarray]]:
    problems = dense_problems(problem_of(case))
    return problems, [dense.solution() for dense in problems]


def split(codes: np.ndarray) -> list[np.ndarray]:
    return list(codes.reshape(-1, ATOMS * HEIGHT * WIDTH).astype(float))


NAMES = [
    name
    for name in sorted(list_solvers("SparseCoding"))
    if make_solver(name).supports(problem_of("plain")) is None
]

SLOW = ("ista", "cista", "lista[step]", "sporco-pgm")
"""Solvers that take thousands of iterations to an accurate answer."""

BY_PACE = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NAMES]

PRECISE = {  # sporco adapts ρ without end on some small random problems
    "sporco-admm": {"auto_rho": False, "rho": 1.0, "tol": 1e-12},
    "active-set": {"gap_tol": 1e-13},
}


def solver_of(name: str, **changes):
    options = {"iterations": 20_000, "tol": 0, "record_every": 0, "gap_tol": 1e-13}
    return make_solver(name, **{**options, **PRECISE.get(name, {}), **changes})


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", BY_PACE)
def test_codes_are_those_of_the_dense_problem(name, case):
    problem, solver = problem_of(case), solver_of(name)
    reason = solver.supports(problem)
    if reason is not None:
        assert reason.startswith((name, solver.name))
        with pytest.raises(InputError) as caught:
            solver.solve(problem)
        assert str(caught.value) == reason
        return
    problems, solutions = reference(case)
    solution = solver.solve(problem)
    best = sum(d.objective(z) for d, z in zip(problems, solutions, strict=True))
    assert max(d.kkt(z) for d, z in zip(problems, split(solution.codes), strict=True)) <= 1e-6
    assert problem.objective(solution.codes) == pytest.approx(best, rel=1e-10)
    assert solution.codes.any()
    assert not problem.nonnegative or solution.codes.min() >= 0


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["active-set", "admm", "fista", "sporco-pgm"])
def test_single_precision(name, case):
    problem = problem_of(case, "float32")
    solver = solver_of(name, iterations=500, gap_tol=2e-5)
    if solver.supports(problem) is not None:
        return
    problems, solutions = reference(case)
    codes = solver.solve(problem).codes
    assert codes.dtype == np.float32
    best = sum(d.objective(z) for d, z in zip(problems, solutions, strict=True))
    value = sum(d.objective(z) for d, z in zip(problems, split(codes), strict=True))
    assert best * (1 - 1e-6) <= value <= best * (1 + 3e-5)


@pytest.mark.parametrize("case", CASES)
def test_measures_are_those_of_the_dense_problem(case):
    """Objective, KKT residual, λ_max, L and a gap that bounds the distance to the optimum, from
    zero codes to the solution, where it is zero."""
    problem = problem_of(case)
    problems, solutions = reference(case)
    best = sum(d.objective(z) for d, z in zip(problems, solutions, strict=True))
    solved = np.stack(solutions).reshape(problem.codes_shape)
    other = normal(*problem.codes_shape, seed=9) * 0.3
    other = np.maximum(other, 0) if problem.nonnegative else other
    for share in (0.0, 0.5, 0.99, 1 - 1e-4, 1.0):
        for codes in (share * solved, share * solved + (1 - share) * other):
            pairs = list(zip(problems, split(codes), strict=True))
            objective = sum(d.objective(z) for d, z in pairs)
            assert problem.objective(codes) == pytest.approx(objective, rel=1e-12)
            expected = max(d.kkt(z) for d, z in pairs)
            assert problem.kkt_residual(codes) == pytest.approx(expected, rel=1e-9, abs=1e-9)
            gap = problem.duality_gap(codes)
            assert gap >= objective - best - 1e-11 * best
    assert problem.duality_gap(solved) <= 1e-9 * best
    near = (1 - 1e-4) * solved
    assert problem.duality_gap(near) < 0.05 * best
    c = np.stack([d.matrix.T @ d.observed for d in problems])
    assert problem.lambda_max() == pytest.approx((c if problem.nonnegative else np.abs(c)).max())
    largest = max(np.linalg.norm(d.matrix, 2) ** 2 for d in problems)
    assert largest <= problem.operator().lipschitz * (1 + 1e-12)
    if problem.mask is None and problem.boundary == "circular":
        assert problem.operator().lipschitz == pytest.approx(largest)


@pytest.mark.parametrize("case", [case for case in CASES if "exempt" in case])
def test_dual_points_meet_the_constraints_of_exempt_codes(case):
    """Aⱼᵀu = 0, or ≤ 0 for nonnegative codes, of any codes' residual; and u is not just zero."""
    problem = problem_of(case).on()
    problems, solutions = reference(case)
    solved = np.stack(solutions).reshape(problem.codes_shape)
    for share in (0.0, 0.5, 1.0):
        codes = problem.codes(share * solved)
        residual = problem.observed() - problem.operator().synthesis(codes)
        dual = without_exempt(problem, residual, codes).reshape(len(problems), -1).numpy()
        for dense, u in zip(problems, dual, strict=True):
            c = (dense.matrix.T @ u)[dense.lam == 0]
            assert (c if problem.nonnegative else np.abs(c)).max() <= 1e-10
            assert np.linalg.norm(u) > 0.1


def test_an_exempt_atom_without_zeros_explains_any_signal():
    """P* = 0 in one channel: the only dual point is zero, and the gap is P itself. Where the
    transform of the atom has zeros, what it cannot explain bounds P*."""
    smooth = unit(np.array([[[1.0, 0.5], [0.5, 0.25]]]))[0]
    hann = np.outer(np.hanning(9)[1:-1], np.hanning(8)[1:-1])
    codes = normal(ATOMS, HEIGHT, WIDTH)
    for atom, explains_all in ((smooth, True), (hann / np.linalg.norm(hann), False)):
        filters = stack_filters([atom, SQUARE[1], SQUARE[2]])
        problem = SparseCoding(SIGNAL, filters, EXEMPT_ATOM)
        objective, gap = problem.objective_and_gap(codes)
        assert (gap == pytest.approx(objective, rel=1e-9)) == explains_all


@pytest.mark.parametrize("case", CASES)
def test_synthesis_is_the_image_without_the_mask(case):
    problem = problem_of(case)
    codes = normal(*problem.codes_shape)
    whole = dense_problems(dataclasses.replace(problem, mask=None))
    images = np.stack([d.matrix @ z for d, z in zip(whole, split(codes), strict=True)])
    images = images.reshape(len(whole), -1, *problem.operator().grid)
    if problem.boundary == "zero":
        top, left = ((n - 1) // 2 for n in problem.dictionary.shape[-2:])
        images = images[..., top : top + HEIGHT, left : left + WIDTH]
    image = problem.synthesis(codes)
    assert image.shape == problem.signal.shape
    np.testing.assert_allclose(image, images.reshape(image.shape), atol=1e-12)
    tensor = dataclasses.replace(problem, signal=torch.from_numpy(problem.signal))
    assert isinstance(tensor.synthesis(codes), torch.Tensor)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_arrays_of_one_value_are_the_number_and_no_mask(name):
    signal, dictionary = SIGNAL, SQUARE
    solver = make_solver(name, iterations=40, tol=0)
    plain = solver.solve(SparseCoding(signal, dictionary, 0.6)).codes
    changes = [{"lam": np.full((1, 1, 1), 0.6)}, {"lam": np.full((ATOMS, HEIGHT, WIDTH), 0.6)}]
    if name != "admm":  # which splits the mask off, so that its iterates are others
        changes.append({"mask": np.ones((HEIGHT, WIDTH), bool)})
    for change in changes:
        problem = SparseCoding(signal, dictionary, **{"lam": 0.6, **change})
        if solver.supports(problem) is None:
            np.testing.assert_allclose(solver.solve(problem).codes, plain, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("unit_of_signal", [1e-120, 1e150])
@pytest.mark.parametrize("name", ["fista", "admm", "active-set", "sporco-pgm"])
def test_the_unit_of_the_signal_changes_nothing(name, unit_of_signal):
    """Missing elements may hold anything, and λ goes with the unit."""
    problem = problem_of("mask, exempt codes")
    signal = problem.signal.copy()
    signal[problem.mask == 0] = 1e300
    other = dataclasses.replace(
        problem,
        signal=np.where(problem.mask == 0, signal, unit_of_signal * problem.signal),
        lam=unit_of_signal * problem.lam,
    )
    solver = solver_of(name, gap_tol=1e-10)
    codes = solver.solve(other).codes / unit_of_signal
    np.testing.assert_allclose(codes, solver.solve(problem).codes, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_is_observed_the_codes_are_zero_at_once(name):
    lams = (0.0, 0.5, BY_ATOM, EXEMPT_ATOM, 0 * BY_CODE)
    for lam in lams:
        problem = SparseCoding(SIGNAL, SQUARE, lam, mask=np.zeros((HEIGHT, WIDTH), bool))
        if make_solver(name).supports(problem) is None:
            solution = make_solver(name).solve(problem)
            assert solution.status is Status.CONVERGED
            assert not solution.codes.any()
            assert solution.trace["iteration"].tolist() == [0]


@pytest.mark.parametrize("name", NAMES)
def test_zero_is_the_answer_from_each_codes_own_bound_on(name):
    problem = SparseCoding(SIGNAL, SQUARE, 1.0)
    bound = np.abs(problem.operator().adjoint(problem.observed().numpy())).reshape(BY_CODE.shape)
    zero = dataclasses.replace(problem, lam=bound * (1 + 1e-12))
    solution = make_solver(name).solve(zero)
    assert (solution.status, solution.trace["iteration"].tolist()) == (Status.CONVERGED, [0])
    bound[1, 2, 3] *= 0.9
    assert make_solver(name, iterations=100).solve(dataclasses.replace(zero, lam=bound)).codes.any()


@pytest.mark.slow
@pytest.mark.parametrize("constant", [1.0, 1e-12])
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("lista")])
def test_converged_is_near_the_optimum_on_constant_signals(name, constant):
    """Where little changes per step, a bound by a dual point and not the change decides."""
    ended = []
    for change in ({}, {"mask": HOLES}, {"lam": 0.02 * BY_ATOM}, {"lam": 0.02 * EXEMPT_GRID}):
        options = {"lam": 0.02, **change}
        options["lam"] = constant * options["lam"]
        problem = SparseCoding(np.full((HEIGHT, WIDTH), constant), np.abs(SQUARE), **options)
        solver = make_solver(name, tol=1e-3, iterations=1000)
        if solver.supports(problem) is not None:
            continue
        solution = solver.solve(problem)
        ended.append(solution.status)
        if solution.status is Status.CONVERGED:
            (dense,), (codes,) = dense_problems(problem), split(solution.codes)
            dual = dense.observed - dense.matrix @ codes
            exempt = dense.matrix[:, dense.lam == 0]
            dual -= exempt @ np.linalg.lstsq(exempt, dual, rcond=None)[0]
            taxed = dense.lam > 0
            dual /= max(1.0, (np.abs(dense.matrix.T @ dual)[taxed] / dense.lam[taxed]).max())
            bound = dense.observed @ dual - 0.5 * dual @ dual
            assert dense.objective(codes) <= bound / (1 - 0.0101)
    assert name not in ("fista", "admm", "active-set") or Status.CONVERGED in ended


def test_without_a_penalty_converged_means_a_small_gradient():
    problem = SparseCoding(SIGNAL, SQUARE, 0.0)
    for name in ("ista", "fista", "admm"):
        solution = make_solver(name, tol=1e-2, iterations=3000).solve(problem)
        assert solution.status is Status.CONVERGED
        assert problem.kkt_residual(solution.codes) <= 0.01 * problem.lambda_max()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lam": np.array([0.1, 0.2, 0.3])}, r"such as \(3, 1, 1\) for one per atom, got shape"),
        ({"lam": np.ones((4, 1, 1))}, r"broadcast to the codes' shape \(3, 7, 6\)"),
        ({"lam": np.array([0.1, -0.2, 0.3])[:, None, None]}, r"its least value is -0\.2"),
        ({"lam": np.array([0.1, np.nan, 0.3])[:, None, None]}, "lam must be finite"),
        ({"lam": np.array([0.1, np.inf, 0.3])[:, None, None]}, "lam must be finite"),
        ({"lam": BY_ATOM * 1j}, "lam must hold real numbers"),
        ({"lam": [0.1, 0.2, 0.3]}, "a finite number of at least 0 or an array"),
        ({"lam": -1.0}, r"a finite number of at least 0, got -1"),
        ({"lam": np.array(np.nan)}, "a finite number of at least 0, got nan"),
        ({"mask": np.ones((6, 7), bool)}, r"mask must broadcast to the signal's shape \(7, 6\)"),
        ({"mask": 255 * HOLES.astype(np.uint8)}, r"mask must lie in \[0, 1\].* from 0 to 255"),
        ({"mask": HOLES - 0.5}, r"mask must lie in \[0, 1\]"),
        ({"mask": np.where(HOLES, 1.0, np.nan)}, r"mask must lie in \[0, 1\]"),
        ({"mask": HOLES * 1j}, "mask must be boolean or hold numbers"),
        ({"mask": True}, "mask must broadcast"),
        ({"mask": HOLES, "signal": np.where(HOLES, SIGNAL, np.nan)}, "give missing elements any"),
        ({"dictionary": np.ones((3, 8, 2))}, "filters must fit into the signal.* 8x2"),
    ],
)
def test_bad_input_is_one_sentence(change, sentence):
    arguments = {"signal": SIGNAL, "dictionary": SQUARE, "lam": 0.1, **change}
    with pytest.raises(InputError, match=sentence) as caught:
        SparseCoding(**arguments)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_penalty_too_small_for_the_dtype_is_no_exemption():
    lam = np.array([1e-60, 0.0, 0.5])[:, None, None]
    problem = SparseCoding(SIGNAL.astype("float32"), SQUARE.astype("float32"), lam)
    assert (problem.weights().flatten() > 0).tolist() == [True, False, True]


def test_the_table_of_the_page_is_what_supports_says():
    page = (Path(__file__).parents[2] / "docs" / "solvers.md").read_text(encoding="utf-8")
    table = page.split("<!-- features")[1].split("\n\n")[1].splitlines()[2:]
    told = {}
    for line in table:
        names, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        told |= {name.strip("` "): [cell == "yes" for cell in cells] for name in names.split(",")}
    assert sorted(told) == sorted(list_solvers("SparseCoding"))
    for name, row in told.items():
        solver = make_solver(name)
        own = solver.dictionary() if hasattr(solver, "dictionary") else SQUARE[:, None]
        signal = np.ones((own.shape[1], 20, 21), own.dtype)
        plain = SparseCoding(signal, own, 0.1)
        problems = [
            dataclasses.replace(
                plain, lam=np.array([0.0, 0.1, 0.2] * len(own))[: len(own), None, None]
            ),
            dataclasses.replace(plain, mask=np.ones((20, 21), bool)),
            SparseCoding(np.ones((3, 20, 21)), COLOUR_BARS, 0.1),
            dataclasses.replace(plain, boundary="zero"),
        ]
        assert solver.supports(plain) is None
        assert [solver.supports(problem) is None for problem in problems] == row, name


def test_reprs_tell_and_print_no_arrays():
    problem = problem_of("colour, mask, by atom")
    assert repr(problem) == (
        "SparseCoding(signal (3, 7, 6) float64, 3 filters of 2x4, "
        "lam (3, 1, 1) float64 from 0.8 to 1.3, circular, mask (7, 6) bool)"
    )
    solution = make_solver("fista", iterations=7, tol=0, gap=True).solve(problem)
    text = repr(solution)
    assert text.startswith("Solution(max_iterations after 7 iterations in ")
    assert f"objective {solution.trace['objective'][-1]:.6g}" in text
    assert f"{np.count_nonzero(solution.codes)} nonzero" in text
    assert len(text) < 250
