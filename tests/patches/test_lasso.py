"""The lasso of many signals: its optimality conditions certify each answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr.patches.lasso import BLOCK, LEAST_LAM, TOLERANCE, lasso_codes


def unit_rows(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dimensions))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def check_optimal(signals, dictionary, lam, codes) -> None:
    """⟨dₖ, y − Dα⟩ is λ sign(αₖ) where αₖ ≠ 0, and at most λ elsewhere: α is a minimum."""
    products = (signals - codes @ dictionary) @ dictionary.T
    active = codes != 0
    np.testing.assert_allclose(products[active], lam * np.sign(codes[active]), rtol=0, atol=1e-7)
    assert np.abs(products).max(initial=0) <= lam * (1 + 2 * TOLERANCE) + 1e-9


@given(
    st.integers(1, 60), st.integers(1, 12), st.sampled_from([0.003, 0.05, 0.3]), st.integers(0, 99)
)
def test_answers_meet_the_conditions_of_a_minimum(atoms, dimensions, lam, seed):
    rng = np.random.default_rng(seed)
    dictionary = unit_rows(rng, atoms, dimensions) * rng.uniform(0.3, 1.5, (atoms, 1))
    signals = unit_rows(rng, 20, dimensions)
    codes = lasso_codes(signals, dictionary, lam).toarray()
    assert codes.shape == (20, atoms)
    check_optimal(signals, dictionary, lam, codes)


@pytest.mark.parametrize("factor", [2.0**-20, 1e3, 2.0**20])
@pytest.mark.parametrize("lam", [1e-4, 0.05])
def test_codes_do_not_depend_on_the_unit(factor, lam):
    rng = np.random.default_rng(0)
    dictionary, signals = rng.standard_normal((40, 6)), rng.standard_normal((60, 6))
    codes = lasso_codes(signals, dictionary, lam).toarray()
    scaled = lasso_codes(factor * signals, factor * dictionary, factor**2 * lam).toarray()
    np.testing.assert_allclose(scaled, codes, atol=1e-6)


def test_orthonormal_atoms_shrink():
    rng = np.random.default_rng(0)
    dictionary = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    signals = rng.standard_normal((50, 6))
    products = signals @ dictionary.T
    expected = np.sign(products) * np.maximum(np.abs(products) - 0.7, 0)
    np.testing.assert_allclose(lasso_codes(signals, dictionary, 0.7).toarray(), expected, atol=1e-8)


def test_no_code_where_no_product_exceeds_lambda():
    dictionary = unit_rows(np.random.default_rng(0), 9, 4)
    signals = np.vstack([np.zeros(4), 0.4 * dictionary[0]])
    assert lasso_codes(signals, dictionary, 0.4).nnz == 0
    assert lasso_codes(signals, dictionary, 0.39)[[0]].nnz == 0
    assert lasso_codes(signals, dictionary, 0.39)[[1]].nnz == 1


def test_equal_and_opposite_atoms_end_at_a_minimum():
    rng = np.random.default_rng(1)
    dictionary = unit_rows(rng, 8, 5)
    dictionary = np.vstack([dictionary, dictionary, -dictionary])
    signals = unit_rows(rng, 30, 5)
    check_optimal(signals, dictionary, 0.05, lasso_codes(signals, dictionary, 0.05).toarray())


def test_large_codes_are_exact_down_to_the_least_lambda():
    """Two long atoms at a small angle θ, sin ½θ = √2 λ, and a signal along their difference: its
    codes are ±1/(8λ)."""
    lam = LEAST_LAM
    sine = np.sqrt(2) * lam
    cosine = np.sqrt(1 - sine**2)
    dictionary = np.sqrt(2) * np.array([[cosine, sine], [cosine, -sine]])
    signal = np.array([[0.0, 1.0]])
    codes = lasso_codes(signal, dictionary, lam).toarray()
    np.testing.assert_allclose(codes, [[1 / (8 * lam), -1 / (8 * lam)]], rtol=1e-6)
    products = (signal - codes @ dictionary) @ dictionary.T
    np.testing.assert_allclose(products, [[lam, -lam]], rtol=TOLERANCE)


def test_signals_of_several_blocks_are_coded_as_alone():
    rng = np.random.default_rng(2)
    dictionary, signals = unit_rows(rng, 30, 6), unit_rows(rng, BLOCK + 50, 6)
    codes = lasso_codes(signals, dictionary, 0.2)
    for index in (0, BLOCK - 1, BLOCK, BLOCK + 49):
        alone = lasso_codes(signals[[index]], dictionary, 0.2).toarray()
        np.testing.assert_allclose(codes[[index]].toarray(), alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_few_signals(count):
    codes = lasso_codes(np.ones((count, 3)), np.eye(3), 0.5)
    assert codes.shape == (count, 3)
    np.testing.assert_allclose(codes.toarray(), np.full((count, 3), 0.5))
