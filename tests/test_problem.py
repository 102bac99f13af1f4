"""`SparseCoding`: objective, duality gap and λ_max against written-out sums; its checks."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cscsr
from cscsr import InputError, SparseCoding, SuperResolution
from cscsr.weighting import PIECE, in_pieces


@st.composite
def problems(draw):
    size, channels = draw(st.integers(1, 7)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    atoms = draw(st.integers(1, 5))
    shape = (channels, draw(st.integers(size, 13)), draw(st.integers(size, 13)))
    problem = SparseCoding(
        rng.standard_normal(shape),
        rng.standard_normal((atoms, channels, size, size)),
        draw(st.floats(0.01, 5.0)),
        draw(st.booleans()),
        draw(st.sampled_from(["circular", "zero"])),
    )
    codes = rng.standard_normal(problem.codes_shape) * (rng.random(problem.codes_shape) < 0.3)
    return problem, np.abs(codes) if problem.nonnegative else codes


@given(problems())
def test_objective(drawn):
    problem, codes = drawn
    residual = np.asarray(problem.observed()) - problem.operator().synthesis(codes)
    expected = 0.5 * np.sum(residual**2) + problem.lam * np.abs(codes).sum()
    assert problem.objective(codes) == pytest.approx(expected, rel=1e-12)


@given(problems())
def test_zero_extension_keeps_the_signal(drawn):
    problem, codes = drawn
    observed = np.asarray(problem.observed())
    assert np.sum(observed**2) == pytest.approx(np.sum(problem.signal**2), rel=1e-12)
    assert problem.objective(0 * codes) == pytest.approx(0.5 * np.sum(problem.signal**2), rel=1e-12)


@given(problems(), st.sampled_from([1.0, 100.0]))
def test_duality_gap_is_as_it_is_written(drawn, factor):
    """Also where λ is so large that Fᵀr is within it, and u = r."""
    problem, codes = drawn
    problem = dataclasses.replace(problem, lam=factor * problem.lam)
    signal, operator = np.asarray(problem.observed()), problem.operator()
    residual = signal - operator.synthesis(codes)
    correlation = operator.adjoint(residual)
    largest = max(correlation.max(), 0) if problem.nonnegative else np.abs(correlation).max()
    dual = residual * min(1, problem.lam / largest) if largest else residual
    primal = 0.5 * np.sum(residual**2) + problem.lam * np.abs(codes).sum()
    expected = primal - 0.5 * np.sum(signal**2) + 0.5 * np.sum((signal - dual) ** 2)
    assert problem.duality_gap(codes) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(problems())
def test_duality_gap_bounds_what_any_other_codes_gain(drawn):
    problem, codes = drawn
    gap = problem.duality_gap(codes)
    assert gap >= -1e-10
    best = problem.objective(codes) - gap
    better = cscsr.make_solver("fista", iterations=50, tol=0, record_every=0).solve(problem).codes
    assert problem.objective(better) >= best - 1e-9 * abs(best)


@given(problems())
def test_duality_gap_closes_at_zero_where_zero_is_the_answer(drawn):
    problem, codes = drawn
    problem = dataclasses.replace(problem, lam=problem.lambda_max() or 1.0)
    assert problem.duality_gap(0 * codes) == pytest.approx(0.0, abs=1e-9)


@given(problems())
def test_below_lambda_max_zero_is_not_the_answer(drawn):
    problem, codes = drawn
    largest = problem.lambda_max()
    correlation = problem.operator().adjoint(np.asarray(problem.observed()))
    expected = correlation.max() if problem.nonnegative else np.abs(correlation).max()
    assert largest == pytest.approx(max(expected, 0.0), rel=1e-12)
    if largest > 1e-6:
        below = dataclasses.replace(problem, lam=0.9 * largest)
        assert below.duality_gap(0 * codes) > 0


def test_a_batch_is_the_sum_of_its_problems():
    rng = np.random.default_rng(0)
    signals, dictionary = rng.standard_normal((3, 2, 9, 8)), rng.standard_normal((4, 2, 3, 3))
    batch = SparseCoding(signals, dictionary, 0.3)
    codes = rng.standard_normal((3, 4, 9, 8)) * [[[[1.0]]], [[[0.1]]], [[[3.0]]]]
    single = [SparseCoding(signal, dictionary, 0.3) for signal in signals]
    pairs = list(zip(single, codes, strict=True))
    assert batch.objective(codes) == pytest.approx(sum(p.objective(z) for p, z in pairs))
    assert batch.duality_gap(codes) == pytest.approx(sum(p.duality_gap(z) for p, z in pairs))
    assert batch.lambda_max() == pytest.approx(max(p.lambda_max() for p in single))


def test_numpy_and_torch_hold_the_same_problem():
    rng = np.random.default_rng(0)
    signal, dictionary = rng.standard_normal((9, 8)), rng.standard_normal((4, 3, 3))
    codes = rng.standard_normal((4, 9, 8))
    array = SparseCoding(signal, dictionary, 0.3)
    tensor = SparseCoding(torch.from_numpy(signal), torch.from_numpy(dictionary), 0.3)
    assert array.objective(torch.from_numpy(codes)) == tensor.objective(codes)
    assert array.duality_gap(codes) == tensor.duality_gap(codes)
    assert tensor.on("cpu", "float32").signal.dtype == torch.float32
    assert array.on(None, "float32") is array.on(None, "float32")


SIGNAL, DICTIONARY = np.ones((8, 9)), np.ones((4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.ones(8), DICTIONARY, 0.1), "signal must have shape"),
        ((SIGNAL, np.ones((3, 3)), 0.1), "dictionary must have shape"),
        ((SIGNAL, np.ones((4, 3, 10)), 0.1), "they are 3x10 and it is 8x9"),
        ((np.ones((3, 8, 9)), DICTIONARY, 0.1), "same channels"),
        ((SIGNAL, np.ones((4, 9, 9)), 0.1), "they are 9x9 and it is 8x9"),
        ((np.full((8, 9), np.nan), DICTIONARY, 0.1), "signal must be finite"),
        ((SIGNAL, DICTIONARY * np.inf, 0.1), "dictionary must be finite"),
        (
            (SIGNAL.astype(np.uint8), DICTIONARY, 0.1),
            "signal must be float32 or float64, got uint8",
        ),
        ((SIGNAL, DICTIONARY, -0.1), "lam must be .* at least 0, got -0.1"),
        ((SIGNAL, DICTIONARY, np.nan), "lam must be"),
        ((SIGNAL, DICTIONARY, "0.1"), "lam must be"),
        ((SIGNAL, DICTIONARY, 0.1, False, "periodic"), "unknown boundary 'periodic'"),
        ((torch.full((8, 9), torch.nan), DICTIONARY, 0.1), "signal must be finite"),
        (
            (SIGNAL, DICTIONARY, True),
            "lam must be a finite number of at least 0 or an array, got True",
        ),
        (
            (SIGNAL, DICTIONARY, np.True_),
            "lam must be a finite number of at least 0 or an array, got True",
        ),
        ((SIGNAL, DICTIONARY, np.complex128(1)), "lam must be a finite number of at least 0"),
        ((SIGNAL, DICTIONARY, 0.1, "no"), "nonnegative must be True or False, got 'no'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        SparseCoding(*arguments)
    assert "\n" not in str(caught.value)


def test_bad_codes_and_dtype():
    problem = SparseCoding(SIGNAL, DICTIONARY, 0.1)
    with pytest.raises(InputError, match=r"codes must have shape \(4, 8, 9\), got \(4, 9, 8\)"):
        problem.objective(np.ones((4, 9, 8)))
    for codes in (np.ones((4, 8, 9), complex), torch.ones(4, 8, 9, dtype=torch.complex64)):
        with pytest.raises(InputError, match=r"codes must hold real numbers, got .*complex"):
            problem.objective(codes)
    for dtype in ("half", "float", "double", torch.half):
        with pytest.raises(InputError, match="dtype must be float32 or float64"):
            problem.on(dtype=dtype)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("name", ["signal", "dictionary", "lam", "mask"])
def test_a_problem_stays_as_it_was_when_its_arrays_change(kind, name):
    rng = np.random.default_rng(0)
    arrays = {
        "signal": kind(rng.standard_normal((9, 8))),
        "dictionary": kind(rng.standard_normal((4, 3, 3))),
        "lam": kind(rng.uniform(0.5, 1, (4, 1, 1))),
        "mask": kind(rng.uniform(0, 1, (9, 8))),
    }
    problem = SparseCoding(**arrays)
    changed = SparseCoding(**arrays)
    codes = rng.standard_normal((4, 9, 8))
    before = problem.objective(codes), problem.lambda_max()
    arrays[name][:] = 0
    assert (problem.objective(codes), problem.lambda_max()) == before
    assert (changed.objective(codes), changed.lambda_max()) == before


def test_a_lam_by_code_is_not_held_twice():
    lam = np.ones((4, 8, 9))
    assert np.shares_memory(SparseCoding(SIGNAL, DICTIONARY, lam).lam, lam)


def test_no_gap_without_lam():
    with pytest.raises(InputError, match="needs lam > 0"):
        SparseCoding(SIGNAL, DICTIONARY, 0.0).duality_gap(np.zeros((4, 8, 9)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.ones((8, 9)), 0), "scale must be a whole number"),
        ((np.ones((8, 9)), 1.5), "scale must be a whole number"),
        ((np.ones((8, 9), np.uint8), 2), "divide 8-bit values by 255"),
        ((np.ones((8, 9, 4)), 2), "lr must have shape"),
        ((np.full((8, 9), np.inf), 2), "lr must be finite"),
        ((np.ones((8, 9)), 2, np.ones((16, 9))), "truth must have shape"),
    ],
)
def test_bad_super_resolution(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        SuperResolution(*arguments)


def test_sizes_are_summed_in_pieces_without_a_second_array():
    """Each piece is some rows of all maps, of whatever order in memory; nothing is written."""
    codes = torch.randn(2, 64, 100, 50, dtype=torch.float64)
    problem = SparseCoding(torch.zeros(2, 1, 100, 50).double(), torch.zeros(64, 3, 3).double(), 2.0)
    assert len(list(in_pieces(codes))) > 1
    for array in (codes, codes.contiguous(memory_format=torch.channels_last)):
        before = array.clone()
        assert problem.objective(array) == pytest.approx(2.0 * float(codes.abs().sum()))
        assert torch.equal(array, before)
        parts = [part for (part,) in in_pieces(array)]
        assert torch.equal(torch.cat(parts, -2), codes)
        assert PIECE / 2 < max(part.numel() for part in parts) <= PIECE


def test_sums_of_single_precision_are_taken_in_double():
    """The objective of a large image in float32 has no rounding of its sums: float32's are off
    in the eighth digit, which is where a duality gap of 1e-6 begins to count."""
    rng = np.random.default_rng(0)
    signal = (0.1 + 0.8 * rng.random((700, 900))).astype(np.float32)
    codes = rng.standard_normal((2, 700, 900)).astype(np.float32)
    silent = SparseCoding(signal, np.zeros((2, 3, 3), np.float32), 0.25)  # F of it is zero
    squares, sizes = np.sum(signal.astype(float) ** 2), np.abs(codes.astype(float)).sum()
    assert abs(float(np.cumsum(signal**2)[-1]) - squares) > 1e-6 * squares
    assert silent.objective(np.zeros_like(codes)) == pytest.approx(0.5 * squares, rel=1e-13)
    assert silent.objective(codes) == pytest.approx(0.5 * squares + 0.25 * sizes, rel=1e-13)
    objective, gap = silent.objective_and_gap(codes)
    assert objective == pytest.approx(0.5 * squares + 0.25 * sizes, rel=1e-13)
    assert gap == pytest.approx(0.25 * sizes, rel=1e-12)  # u = y is the dual optimum


@pytest.mark.parametrize("shape", [None, (3, 1, 1), (3, 9, 8)])
def test_a_deep_copy_has_arrays_of_its_own_in_the_same_graph(shape):
    rng = np.random.default_rng(0)
    signal, filters = rng.standard_normal((1, 9, 8)), rng.standard_normal((3, 1, 3, 3))
    tensor = torch.from_numpy(filters.copy()).requires_grad_()
    lam = 0.1 if shape is None else torch.full(shape, 0.1, dtype=torch.float64)
    problem = SparseCoding(torch.from_numpy(signal), tensor, lam, mask=np.eye(9, 8))
    expected = problem.lambda_max()
    copied = copy.deepcopy(problem)
    copied.dictionary.square().sum().backward()
    np.testing.assert_array_equal(tensor.grad, 2 * filters)
    with torch.no_grad():
        problem.signal.zero_()
        problem.dictionary.zero_()
        if shape is not None:
            problem.lam.zero_()
    np.testing.assert_array_equal(copied.signal, signal)
    np.testing.assert_array_equal(copied.dictionary.detach(), filters)
    assert np.asarray(copied.lam).max() == 0.1
    assert copied.lambda_max() == expected
