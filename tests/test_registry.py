"""The registry, and the contract that every registered solver keeps, ours or another's."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import cscsr
from cscsr import InputError, SparseCoding, SuperResolution
from cscsr.registry import published_method, solver_family

torch.set_num_threads(1)

SPARSE = sorted(cscsr.list_solvers("SparseCoding"))
SUPER = sorted(cscsr.list_solvers("SuperResolution"))
CASES = [(name, "numpy") for name in SPARSE + SUPER] + [(n, "torch") for n in SPARSE + SUPER]


def arrays(kind: str, *values: np.ndarray) -> list:
    return [torch.from_numpy(v.copy()) if kind == "torch" else v.copy() for v in values]


def sparse_problem(kind: str = "numpy", dtype=np.float64, dictionary=None) -> SparseCoding:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1, 14, 12)).astype(dtype)
    if dictionary is None:
        dictionary = rng.standard_normal((5, 1, 3, 3))
        dictionary /= np.sqrt((dictionary**2).sum((1, 2, 3), keepdims=True))
    dictionary = dictionary.astype(dtype)
    return SparseCoding(*arrays(kind, signal, dictionary), lam=0.2)


def image(height: int, width: int, channels: int | None = None) -> np.ndarray:
    """A smooth shape with an edge in it, in [0.1, 0.9], float32."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    grey = 0.5 + 0.2 * np.sin(rows / 3) * np.cos(columns / 4) + 0.2 * (columns > width / 2)
    if channels is None:
        return grey.astype(np.float32)
    return np.stack([grey, 0.9 * grey, 1 - grey], axis=2).astype(np.float32)


def super_problem(kind: str = "numpy", channels: int | None = None) -> SuperResolution:
    return SuperResolution(*arrays(kind, image(24, 20, channels)), scale=2)


def problem_for(name: str, kind: str = "numpy"):
    if name not in SPARSE:
        return super_problem(kind)
    problem, solver = sparse_problem(kind), cscsr.make_solver(name)
    if solver.supports(problem) is None:
        return problem
    return sparse_problem(kind, dictionary=solver.dictionary())  # bound to one, and says which


def numbers(array) -> np.ndarray:
    return np.asarray(array)


@pytest.fixture(params=SPARSE + SUPER)
def solver(request):
    return cscsr.make_solver(request.param)


def test_constructor_only_stores(solver):
    assert dataclasses.is_dataclass(solver)
    assert set(vars(solver)) == {field.name for field in dataclasses.fields(solver)}
    assert solver.params() == vars(solver)
    with pytest.raises(dataclasses.FrozenInstanceError):
        solver.anything = None


def test_parameters_make_the_same_solver_again(solver):
    again = type(solver)(**solver.params())
    assert again == solver
    assert again.name == solver.name


def test_the_device_is_the_problems_unless_one_is_named(solver):
    assert solver.params().get("device") is None


def test_name_is_the_registered_one(solver, request):
    assert solver.name == request.node.callspec.params["solver"]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_solution_is_of_the_kind_of_the_problem(name, kind):
    problem = problem_for(name, kind)
    solution = cscsr.make_solver(name).solve(problem)
    data = problem.signal if name in SPARSE else problem.lr
    assert type(solution.estimate) is type(data)
    assert solution.estimate.dtype == data.dtype
    expected = problem.codes_shape if name in SPARSE else (48, 40)
    assert tuple(solution.estimate.shape) == expected
    assert np.isfinite(numbers(solution.estimate)).all()


def test_solution_says_how_it_ended(solver):
    problem = problem_for(solver.name)
    solution = solver.solve(problem)
    assert solution.status in (
        cscsr.Status.CONVERGED,
        cscsr.Status.MAX_ITERATIONS,
        cscsr.Status.DIRECT,
    )
    assert solution.status.message.endswith(".")
    assert math.isfinite(solution.seconds)
    assert solution.seconds > 0
    assert tuple(solution.trace.to_frame().columns) == cscsr.Trace.COLUMNS
    if len(solution.trace):
        assert (np.diff(solution.trace["iteration"]) > 0).all()
        assert (np.diff(solution.trace["seconds"]) >= 0).all()
        assert solution.trace["seconds"][-1] <= solution.seconds


def test_problem_is_left_as_it_was(solver):
    problem, untouched = problem_for(solver.name), problem_for(solver.name)
    solver.solve(problem)
    for field in (f for f in dataclasses.fields(problem) if f.init):
        np.testing.assert_array_equal(getattr(problem, field.name), getattr(untouched, field.name))


def test_same_problem_same_answer(solver):
    first, second = (solver.solve(problem_for(solver.name)).estimate for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_foreign_problem_is_refused_with_a_reason(solver):
    foreign = super_problem() if solver.name in SPARSE else sparse_problem()
    assert solver.supports(problem_for(solver.name)) is None
    reason = solver.supports(foreign)
    assert isinstance(reason, str)
    assert solver.name in reason
    with pytest.raises(InputError):
        solver.solve(foreign)


def test_callback_ends_an_iterative_solve_and_leaves_a_direct_one_alone(solver):
    called = []
    alone = solver.solve(problem_for(solver.name))
    watched = solver.solve(
        problem_for(solver.name), callback=lambda iteration, _: called.append(iteration) or True
    )
    if alone.status is cscsr.Status.DIRECT:
        np.testing.assert_array_equal(watched.estimate, alone.estimate)
    else:
        assert len(called) == 1
        assert np.isfinite(numbers(watched.estimate)).all()
    assert called == sorted(called)


@pytest.mark.parametrize("name", SPARSE)
def test_objective_is_better_than_that_of_zero(name):
    problem = problem_for(name)
    solution = cscsr.make_solver(name).solve(problem)
    assert problem.objective(solution.estimate) < problem.objective(0 * solution.estimate)


@pytest.mark.parametrize("name", SPARSE)
def test_zero_is_the_answer_from_lambda_max_on(name):
    problem = problem_for(name)
    problem = dataclasses.replace(problem, lam=1.001 * float(problem.lambda_max()))
    codes = numbers(cscsr.make_solver(name).solve(problem).estimate)
    np.testing.assert_array_equal(codes, 0)


DEAR = ("csc-sr[cista]", "csc-sr[sporco-admm]")
"""Solvers that take seconds at each scale: the fast tests have ×4 alone."""


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        pytest.param(s, n, marks=[pytest.mark.slow] * (n in DEAR and s != 4))
        for s in (2, 3, 4)
        for n in SUPER
    ],
)
def test_enlarges_grey_and_colour_near_the_truth(name, scale):
    for channels in (None, 3):
        problem = SuperResolution(image(24, 20, channels), scale)
        if name == "csc-sr-paper[admm]" and scale != 2:
            assert "maps for ×2, not for" in cscsr.make_solver(name).supports(problem)
            return
        solution = cscsr.make_solver(name).solve(problem)
        shape = (24 * scale, 20 * scale) + ((channels,) if channels else ())
        assert solution.estimate.shape == shape
        assert solution.estimate.dtype == np.float32
        mean = solution.estimate.reshape(24, scale, 20, scale, -1).mean((1, 3)).squeeze()
        # Loose enough for a network on an image that is no photograph; a flip, a shift of
        # several pixels or two channels exchanged are an error of 0.07 and more.
        assert np.abs(mean - problem.lr).mean() < 0.04


@pytest.mark.parametrize("name", SUPER)
def test_halo_is_a_number_of_pixels_or_none(name):
    halo = cscsr.make_solver(name).halo(2)
    assert halo is None or (isinstance(halo, int) and 0 <= halo < 100)


@pytest.mark.parametrize("name", SUPER)
def test_truth_is_not_seen(name):
    lr = image(24, 20)
    blind = cscsr.make_solver(name).solve(SuperResolution(lr, 2)).estimate
    shown = cscsr.make_solver(name).solve(SuperResolution(lr, 2, truth=image(48, 40))).estimate
    np.testing.assert_array_equal(blind, shown)


def test_unknown_name_comes_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown solver 'fsta': did you mean fista"):
        cscsr.make_solver("fsta")


def test_unknown_parameter_comes_with_the_known():
    with pytest.raises(InputError, match=r"no parameter iteration; it has iterations"):
        cscsr.make_solver("fista", iteration=3)


def test_short_name_of_csc_sr():
    assert cscsr.make_solver("csc-sr").name == "csc-sr[admm]"


def test_every_solver_of_ours_belongs_to_a_family():
    for name in SPARSE + SUPER:
        expected = {"learned"} if name in SUPER else {"sparse", "learned"}
        if name == "bicubic":
            expected = {"interpolation"}
        elif name.startswith("csc-"):
            expected = {"classical"}
        assert solver_family(name) in expected, name
    assert solver_family("no-such-solver") == "other"


def test_figures_beside_a_solver_are_of_its_method_or_of_a_relative():
    assert published_method("bicubic") == ("Bicubic", True)
    assert published_method("csc-sr") == published_method("csc-sr[admm]") == ("CSC-SR", True)
    assert published_method("csc-ridge") == ("CSC-SR", False)
    assert published_method("crnet-b-small+") == ("CRNet-B+", False)
    assert published_method("ista") is None
    assert published_method("no-such-solver") is None


def test_a_solver_of_another_package_names_its_family_and_method(tmp_path, monkeypatch):
    """Installed as a wheel is: a module, and a folder of metadata beside it."""
    (tmp_path / "labelled_sr.py").write_text(
        "from cscsr.bicubic import Bicubic\n"
        "class Labelled(Bicubic):\n"
        "    name, family, published = 'labelled', 'learned', ('VDSR', True)\n"
    )
    metadata = tmp_path / "labelled_sr-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: labelled-sr\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cscsr.solvers]\nlabelled = labelled_sr:Labelled\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "labelled" in cscsr.list_solvers("SuperResolution")
    assert solver_family("labelled") == "learned"
    assert published_method("labelled") == ("VDSR", True)
