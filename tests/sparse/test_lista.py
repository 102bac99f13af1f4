"""LISTA: it starts as ISTA, learns to be faster, and knows its dictionary."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cscsr import InputError, SparseCoding, list_solvers, make_solver, weights
from cscsr.csc_sr.decompose import continued, split
from cscsr.data.datasets import demo, licence_of_weights
from cscsr.imaging import degrade
from cscsr.sparse.ista import ISTA
from cscsr.sparse.lista import FORMS, LISTA, LearnedSteps, dictionary_sha256, lista_step
from cscsr.training.lista import TRAINING_SET, Options, card, train, write
from cscsr.training.lista_learner import Learner, mean_log_objective

SHIPPED = [form for form in FORMS if f"lista-{form}" in weights.manifest()]


def small_dictionary(atoms=4, size=3, seed=0) -> np.ndarray:
    filters = np.random.default_rng(seed).standard_normal((atoms, 1, size, size))
    return (filters / np.linalg.norm(filters, axis=(2, 3), keepdims=True)).astype(np.float32)


def small_signal(seed=1, side=16) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, side, side))


def detached(learner: Learner) -> LearnedSteps:
    return LearnedSteps(*(v if v is None else v.detach() for v in vars(learner.learned()).values()))


def weight_file(folder, form, dictionary, learned=None, steps=6):
    """A weight file of `learned`, by default of ISTA's steps."""
    if learned is None:
        learned = detached(Learner(form, torch.from_numpy(dictionary), steps))
    path = folder / f"{form}.safetensors"
    write(path, form, learned, dictionary, Options(steps=steps), 0, 1.0)
    return str(path)


def drawn_steps(form, dictionary, steps=6, seed=0) -> LearnedSteps:
    """Steps off ISTA's by a little of everything there is to learn."""
    generator = torch.Generator().manual_seed(seed)
    learner = Learner(form, torch.from_numpy(dictionary), steps)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return detached(learner)


def residual_problems(side=48):
    """LR residuals of photographs that were never trained on, as CSC-SR codes them."""
    crops = []
    for _, image in demo():
        residual = split(continued(degrade(image, 2, "y").astype(np.float64))).residual
        crops.append(residual[40 : 40 + side, 40 : 40 + side])
    return np.stack(crops[:3])[:, None].astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("boundary", ["circular", "zero"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_before_it_learns_it_is_ista_exactly(tmp_path, form, boundary, nonnegative):
    dictionary = small_dictionary()
    path = weight_file(tmp_path, form, dictionary)
    problem = SparseCoding(
        small_signal(), dictionary.astype(np.float64), 0.1, nonnegative, boundary
    )
    ours = LISTA(form=form, weights=path, iterations=6).solve(problem)
    ista = ISTA(iterations=6, tol=0).solve(problem)
    np.testing.assert_allclose(ours.codes, ista.codes, atol=1e-14)
    assert ours.codes.any()
    np.testing.assert_allclose(ours.trace["objective"], ista.trace["objective"], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("form", SHIPPED)
@pytest.mark.parametrize("lam", [0.01, 0.05])
def test_learned_steps_beat_ista_after_every_number_of_them(form, lam):
    solver = LISTA(form=form)
    problem = SparseCoding(residual_problems(), solver.dictionary(), lam)
    learned = solver.solve(problem).trace
    ista = ISTA(iterations=solver.iterations, tol=0).solve(problem).trace
    assert np.all(learned["objective"][1:] < ista["objective"][1:])
    # What K steps leave of the way to the optimum, ISTA needs more than twice K for.
    longer = ISTA(iterations=2 * solver.iterations, tol=0, record_every=0).solve(problem)
    assert learned["objective"][-1] < longer.trace["objective"][-1]


def test_more_learned_is_better():
    problem = SparseCoding(residual_problems(), LISTA().dictionary(), 0.02)
    last = [LISTA(form=form).solve(problem).trace["objective"][-1] for form in SHIPPED]
    assert last == sorted(last, reverse=True)


@pytest.mark.parametrize("form", ["tied", "untied"])
def test_another_dictionary_is_refused(tmp_path, form):
    own, other = small_dictionary(), small_dictionary(seed=5)
    solver = LISTA(form=form, weights=weight_file(tmp_path, form, own))
    reason = solver.supports(SparseCoding(small_signal(), other.astype(np.float64), 0.1))
    assert reason.startswith(f"lista[{form}] was trained for the dictionary of 4 atoms of 3x3")
    assert dictionary_sha256(own)[:8] in reason
    assert dictionary_sha256(other)[:8] in reason
    with pytest.raises(InputError, match="cannot use the one of 4 atoms"):
        solver.solve(SparseCoding(small_signal(), other.astype(np.float64), 0.1))
    np.testing.assert_array_equal(solver.dictionary(), own)
    for same in (own, own[:, 0], own.astype(np.float64), torch.from_numpy(own).double()):
        signal = small_signal()
        signal = torch.from_numpy(signal) if isinstance(same, torch.Tensor) else signal
        assert solver.supports(SparseCoding(signal, same, 0.1)) is None
    nudged = own.copy()
    nudged[2, 0, 1, 1] = np.nextafter(nudged[2, 0, 1, 1], 1)
    assert solver.supports(SparseCoding(small_signal(), nudged, 0.1)) is not None


@pytest.mark.parametrize("channels", [1, 3])
def test_step_sizes_serve_any_dictionary_and_the_objective_never_rises(tmp_path, channels):
    own = small_dictionary()
    gains = torch.tensor([1.0, 3.0, 50.0, 0.5, 300.0, 2.0])
    learned = LearnedSteps(gains, torch.tensor([[1.0], [0.2], [4.0], [1.0], [9.0], [1.0]]))
    path = weight_file(tmp_path, "step", own, learned)
    rng = np.random.default_rng(3)
    signals = rng.standard_normal((2, channels, 14, 15))
    signals[1] *= 0.05
    problem = SparseCoding(signals, rng.standard_normal((7, channels, 4, 4)), 0.2)
    trace = LISTA(form="step", weights=path, iterations=9).solve(problem).trace
    assert np.all(np.diff(trace["objective"]) <= 0)
    assert trace["objective"][0] < problem.objective(np.zeros(problem.codes_shape))
    # A signal that needs ISTA's step does not take the learned one from the other.
    alone = [dataclasses.replace(problem, signal=signal) for signal in signals]
    solver = LISTA(form="step", weights=path, iterations=6)
    together = solver.solve(problem).codes
    for codes, each in zip(together, alone, strict=True):
        np.testing.assert_allclose(codes, solver.solve(each).codes, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_solve_makes_the_steps_and_then_istas(tmp_path, form):
    dictionary = small_dictionary()
    learned = drawn_steps(form, dictionary)
    path = weight_file(tmp_path, form, dictionary, learned)
    problem = SparseCoding(small_signal(), dictionary.astype(np.float64), 0.05)
    solver = LISTA(form=form, weights=path, iterations=6)
    codes = torch.zeros(problem.codes_shape, dtype=torch.float64)
    for k in range(6):
        codes = solver.step(problem, codes, k)
    np.testing.assert_allclose(solver.solve(problem).codes, codes, atol=1e-13)
    onwards = dataclasses.replace(solver, iterations=10).solve(problem)
    ista = ISTA(iterations=4, tol=0).solve(problem, init=codes.numpy())
    np.testing.assert_allclose(onwards.codes, ista.codes, atol=1e-13)
    assert onwards.trace["iteration"].tolist() == list(range(1, 11))
    fewer = dataclasses.replace(solver, iterations=2).solve(problem)
    two = solver.step(problem, solver.step(problem, torch.zeros_like(codes), 0), 1)
    np.testing.assert_allclose(fewer.codes, two, atol=1e-13)


@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_a_step_is_cista_with_its_factors_multiplied_out(boundary):
    """z + γ/L Wᵀ(y − Bz) = W⊗y + S⊗z with S = n − (γ/L) WᵀB, as dense matrices."""
    dictionary = small_dictionary(atoms=2)
    learned = drawn_steps("untied", dictionary)
    problem = SparseCoding(
        torch.from_numpy(small_signal(side=5)), dictionary.astype(np.float64), 0.05, False, boundary
    )
    step = lista_step(dataclasses.replace(learned, thresholds=torch.zeros(6, 2)), problem)
    shape = problem.codes_shape
    drive = step(torch.zeros(shape, dtype=torch.float64), 2)
    units = torch.eye(50, dtype=torch.float64).reshape(50, *shape)
    columns = torch.stack([(step(unit, 2) - drive).flatten() for unit in units], dim=1)
    codes = torch.randn(shape, dtype=torch.float64)
    np.testing.assert_allclose(
        step(codes, 2).flatten(), columns @ codes.flatten() + drive.flatten(), atol=1e-12
    )
    operator = problem.operator()
    from cscsr.operators import ConvDictionary

    banks = (learned.analysis[2].double(), learned.synthesis[2].double())
    w, b = (ConvDictionary(bank, operator.shape, boundary) for bank in banks)
    gain = float(learned.gains[2]) / operator.lipschitz
    unit = units[17]
    expected = unit - gain * w.adjoint(b.synthesis(unit))
    np.testing.assert_allclose(columns[:, 17], expected.flatten(), atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_all_that_is_learned(form):
    dictionary = small_dictionary(atoms=3)
    learner = Learner(form, torch.from_numpy(dictionary), 3).double()
    problem = SparseCoding(small_signal(side=8)[None], dictionary.astype(np.float64), 0.1)
    names = [name for name, _ in learner.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in learner.parameters()]

    def loss(*parameters):
        changed = dict(zip(names, parameters, strict=True))
        log_gains, log_thresholds = changed["log_gains"], changed["log_thresholds"]
        banks = (changed.get("analysis"), changed.get("synthesis"))
        return mean_log_objective(
            LearnedSteps(log_gains.exp(), log_thresholds.exp(), *banks), problem
        )

    assert torch.autograd.gradcheck(loss, parameters, atol=1e-6)
    loss(*parameters).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)


class Interrupting(np.ndarray):
    """An image that interrupts the run when it has been cropped so many times."""

    left = 35

    def __getitem__(self, index):
        Interrupting.left -= 1
        if Interrupting.left < 0:
            raise KeyboardInterrupt
        return np.asarray(self)[index]


def test_an_interrupted_training_goes_on_to_the_same_steps(tmp_path):
    dictionary = small_dictionary()
    images = [small_signal(seed)[0].astype(np.float32) for seed in range(4)]
    options = Options(steps=3, updates=24, batch=2, crop=12, lams=(0.05, 0.2))
    whole, _ = train("tied", images, dictionary, options)
    checkpoint = tmp_path / "checkpoint"
    ending = [image.view(Interrupting) for image in images]
    with pytest.raises(KeyboardInterrupt):
        train("tied", ending, dictionary, options, checkpoint=checkpoint)
    assert torch.load(checkpoint)["done"] == 10
    again, seconds = train("tied", images, dictionary, options, checkpoint=checkpoint)
    for name, tensor in vars(whole).items():
        np.testing.assert_array_equal(getattr(again, name), tensor)
    assert seconds > 0
    problem = SparseCoding(np.stack(images)[:, None], dictionary, 0.1)
    with torch.no_grad():
        before = Learner("tied", torch.from_numpy(dictionary), 3).learned()
        assert mean_log_objective(again, problem) < mean_log_objective(before, problem)
    with pytest.raises(InputError, match="other options"):
        other = dataclasses.replace(options, rate=0.1)
        train("tied", images, dictionary, other, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("learner"), "lacks the key learner"),
        (lambda s: s.pop("about"), "lacks the key about"),
        (lambda s: s.update(done=10**9), r"done should be in \[1, 2\]"),
        (lambda s: s.update(seconds="1"), "seconds should be a number"),
        (lambda s: s["learner"].update(log_gains=torch.ones(9)), "log_gains should have the shape"),
        (lambda s: s["learner"]["log_gains"].fill_(np.nan), "log_gains holds a number that is not"),
        (lambda s: s["adam"]["param_groups"][0].update(lr="high"), "lr should be like"),
        (lambda s: s["adam"]["state"].pop(0), "adam.state should hold"),
        (lambda s: s["adam"]["state"][0].update(exp_avg=3), "exp_avg should be a tensor"),
        (lambda s: s["schedule"].update(last_epoch=None), "last_epoch should be like"),
        (lambda s: s.update(generator=torch.ones(3)), "generator should have the shape"),
        (lambda s: s["generator"].fill_(255), "generator should be a random state"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, change, reason):
    dictionary, images = small_dictionary(), [small_signal(0)[0].astype(np.float32)]
    options = Options(steps=2, updates=2, batch=1, crop=12)
    path = tmp_path / "checkpoint"
    train("tied", images, dictionary, options, checkpoint=path)
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=reason) as raised:
        train("tied", images, dictionary, options, checkpoint=path)
    assert str(path) in str(raised.value)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="should be a checkpoint but cannot be read"):
        train("tied", images, dictionary, options, checkpoint=path)


def test_foreign_weights_are_refused(tmp_path):
    problem = SparseCoding(small_signal(), small_dictionary().astype(np.float64), 0.1)
    with pytest.raises(InputError, match="expected learned steps of lista in crnet-b-small"):
        LISTA(weights="crnet-b-small").supports(problem)
    path = weight_file(tmp_path, "tied", small_dictionary())
    with pytest.raises(InputError, match="holds the form 'tied' of LISTA, not 'untied'"):
        LISTA(form="untied", weights=path).supports(problem)
    with pytest.raises(InputError, match="did you mean untied or tied"):
        LISTA(form="untid")
    with pytest.raises(InputError, match="at least 64x64"):
        train("step", [np.zeros((9, 9), np.float32)], small_dictionary(), Options(crop=64))


def test_registered_under_the_forms_that_are_shipped():
    names = [name for name in list_solvers("SparseCoding") if name.startswith("lista")]
    assert names == [f"lista[{form}]" for form in SHIPPED]
    assert [make_solver(name).name for name in names] == names


def test_the_card_names_the_training_images_and_their_terms():
    gaps = {0.01: {"ista": 0.5, "lista[step]": 0.25}}
    assert licence_of_weights([TRAINING_SET]) in card("a", ["step"], Options(), 60, 3, "b", 0, gaps)
