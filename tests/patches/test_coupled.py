"""Learning of coupled dictionaries, on patches that planted dictionaries make."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import InputError
from cscsr.patches.coupled import improve, learn_coupled
from cscsr.patches.lasso import lasso_codes
from cscsr.patches.samples import Samples


def planted(count: int = 4000) -> tuple[Samples, np.ndarray, np.ndarray]:
    """Patches of one or two atoms of known dictionaries, and these."""
    rng = np.random.default_rng(0)
    low = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    high = rng.standard_normal((8, 36))
    codes = np.zeros((count, 8))
    for row in codes:
        row[rng.choice(8, 2, replace=False)] = rng.choice([-1, 1], 2) * rng.uniform(0.2, 1, 2)
    features = codes @ low
    norms = np.linalg.norm(features, axis=1)
    samples = Samples(
        2,
        np.zeros((8, 81), np.float32),
        (features / norms[:, None]).astype(np.float32),
        norms.astype(np.float32),
        (codes @ high).astype(np.float32).ravel(),
        36 * np.arange(count),
        np.full(count, 6),
    )
    return samples, low, high


def mean_objective(samples: Samples, low: np.ndarray, high: np.ndarray, lam: float) -> float:
    """½‖y − Dₗα‖² + ½w²‖x − Dₕα‖² + 2λ‖α‖₁ of the best joint codes, a mean over all patches."""
    residuals = samples.residual_patches(np.arange(len(samples)))
    weight = 1 / np.sqrt((residuals**2).sum(axis=1).mean())
    signals = np.hstack([samples.features, weight * residuals]).astype(float)
    dictionary = np.hstack([low, weight * high]).astype(float)
    codes = lasso_codes(signals, dictionary, 2 * lam).toarray()
    misfit = 0.5 * ((signals - codes @ dictionary) ** 2).sum()
    return float((misfit + 2 * lam * np.abs(codes).sum()) / len(samples))


def test_dictionaries_are_learned_that_are_as_good_as_fewer_planted_ones():
    samples, low, high = planted()
    norms = np.sqrt(1 + (high**2).sum(axis=1) / (high**2).sum(axis=1).mean()) / np.sqrt(2)
    best = mean_objective(samples, low / norms[:, None], high / norms[:, None], 0.05)
    values = [
        mean_objective(
            samples,
            *learn_coupled(samples, 16, 0.05, steps, np.random.default_rng(1), progress=False),
            0.05,
        )
        for steps in (1, 5, 60)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1.1 * best
    assert values[0] > 1.3 * values[-1]


def test_atoms_move_to_where_the_objective_is_less_and_have_unit_norm():
    rng = np.random.default_rng(3)
    dictionary = rng.standard_normal((12, 7))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes, signals = rng.standard_normal((90, 12)) * (rng.random((90, 12)) < 0.3), 0
    signals = rng.standard_normal((90, 7))
    codes[:, 5] = 0
    unused = dictionary[5].copy()

    def squares() -> float:
        return float(((signals - codes @ dictionary) ** 2).sum())

    values = [squares()]
    for _ in range(4):
        improve(dictionary, codes.T @ codes, codes.T @ signals)
        values.append(squares())
        np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1)
    assert (np.diff(values) < 0).all()
    np.testing.assert_array_equal(dictionary[5], unused)


def test_seed_determines_the_dictionaries():
    samples, _, _ = planted(500)
    first, again, other = (
        learn_coupled(samples, 8, 0.1, 5, np.random.default_rng(seed), progress=False)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_fewer_patches_than_atoms_are_refused():
    samples, _, _ = planted(7)
    with pytest.raises(InputError, match="8 atoms need at least as many patches"):
        learn_coupled(samples, 8, 0.1, 5, np.random.default_rng(0), progress=False)
