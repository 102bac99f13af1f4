"""Solvers of other packages that break the contract: one sentence each, and the rest goes on."""

from __future__ import annotations

import pickle
import sqlite3
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

import cscsr
from cscsr import InputError, Solution, Solver, SparseCoding, Status, SuperResolution
from cscsr.cli import main
from cscsr.contract import checked_operations, checked_solve, checked_support
from cscsr.errors import SolverError
from cscsr.imaging import write_image
from cscsr.testing import CHECKS, check_solver
from cscsr.testing_problems import image, problem_for

BREACHES = {
    "None": "returned None instead of a Solution",
    "shape": r"returned an estimate of shape \(12, 10\) instead of \(24, 20\)",
    "nan": "returned an estimate with NaN or infinity",
    "masked": "returned an estimate as a numpy.ma.MaskedArray",
    "list": "returned an estimate as a list",
    "dtype": "returned an estimate of dtype float64 instead of float32",
    "codes": "returned codes with NaN",
    "status": "returned a status that is no cscsr.Status: 'done'",
    "seconds": "returned seconds that are no finite number of at least 0: -1",
    "endless": "returned seconds that are no finite number of at least 0: inf",
    "trace": "returned a list instead of a Trace",
    "input": "changed the lr of its problem",
    "surrogate": r"failed: RuntimeError: caf\\udce9 \\x1b\[31m bar",
    "exit": "failed: SystemExit: 3",
    "silent": "failed: Silent",
}


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@dataclass(frozen=True)
class Breach(Solver[SuperResolution]):
    """Repeats pixels, except for the breach."""

    kind: str = ""
    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "rgb"
    name: ClassVar[str] = "breach"

    def solve(self, problem, *, init=None, callback=None):
        if reason := self.supports(problem):
            raise InputError(reason)
        if self.kind == "surrogate":
            raise RuntimeError("caf\udce9\n\x1b[31m bar")
        if self.kind == "exit":
            raise SystemExit(3)
        if self.kind == "silent":
            raise Silent
        if self.kind == "interrupt":
            raise KeyboardInterrupt
        if self.kind == "None":
            return None
        large = problem.lr.repeat(problem.scale, 0).repeat(problem.scale, 1)
        estimate = {
            "shape": problem.lr,
            "nan": large * np.nan,
            "masked": np.ma.masked_greater(large, 2),
            "dtype": large.astype("f8"),
        }.get(self.kind, large)
        estimate = large.tolist() if self.kind == "list" else estimate
        if self.kind == "input":
            problem.lr[0, 0] += 0.25
        solution = Solution(estimate, Status.DIRECT, seconds=0.5)
        return replace(
            solution,
            **{
                "codes": {"codes": large[None] * np.nan},
                "status": {"status": "done"},
                "seconds": {"seconds": -1},
                "endless": {"seconds": float("inf")},
                "trace": {"trace": []},
            }.get(self.kind, {}),
        )


@pytest.mark.parametrize("kind", BREACHES)
def test_a_breach_is_one_sentence(kind):
    problem = SuperResolution(image(12, 10), 2)
    with pytest.raises(SolverError, match="^breach " + BREACHES[kind]) as caught:
        checked_solve(Breach(kind), problem)
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert sentence.encode()
    assert sentence.endswith(".")


def test_a_solution_passes_and_an_interrupt_interrupts():
    problem = SuperResolution(image(12, 10), 2)
    assert checked_solve(Breach(), problem).estimate.shape == (24, 20)
    with pytest.raises(KeyboardInterrupt):
        checked_solve(Breach("interrupt"), problem)


def test_what_a_solver_says_of_itself_is_checked():
    @dataclass(frozen=True)
    class Odd(Breach):
        def supports(self, problem):
            return True

        def operations(self, problem, iterations=None):
            return float("nan")

    problem = SuperResolution(image(12, 10), 2)
    with pytest.raises(SolverError, match="must say None or a reason against a problem"):
        checked_support(Odd(), problem)
    with pytest.raises(SolverError, match="must count its operations by a finite number"):
        checked_operations(Odd(), problem)


def install(folder, monkeypatch, **entries: str) -> None:
    """Put a package on the path, as a wheel does, whose entry points are `entries`."""
    source = __file__
    (folder / "breaches.py").write_text(
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('test_contract_again', {source!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "import sys; sys.modules['test_contract_again'] = module\n"
        "spec.loader.exec_module(module)\n"
        "number = 5\n"
        "def __getattr__(name):\n"
        "    if name == 'leaves': return lambda: sys.exit(4)\n"
        "    if name == 'nothing': return lambda: None\n"
        "    kind = name.removeprefix('breach_')\n"
        "    def make():\n"
        "        solver = module.Breach(kind)\n"
        "        class Named(module.Breach):\n"
        "            name = 'breach-' + kind\n"
        "        return Named(kind)\n"
        "    return make\n"
    )
    (folder / "exits.py").write_text("raise SystemExit('no licence')\n")
    facts = folder / "breaches-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: breaches\nVersion: 1\n")
    lines = [f"{name} = {target}" for name, target in entries.items()]
    (facts / "entry_points.txt").write_text("\n".join(["[cscsr.solvers]", *lines, ""]))
    monkeypatch.syspath_prepend(folder)


UNUSABLE = {
    "number": ("breaches:number", "names int, not a class or function"),
    "exits": ("exits:Solver", "SystemExit: no licence"),
    "absent": ("no_such_module:Solver", "ModuleNotFoundError"),
    "leaves": ("breaches:leaves", "SystemExit: 4"),
    "nothing": ("breaches:nothing", "nothing is None, not an instance of cscsr.Solver"),
}


def test_a_comparison_says_which_solvers_failed_and_why_and_does_the_others(
    tmp_path, monkeypatch, capsys
):
    targets = {f"breach-{kind}": f"breaches:breach_{kind}" for kind in BREACHES}
    targets |= {name: target for name, (target, _) in UNUSABLE.items()}
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, **targets)
    photos = tmp_path / "data" / "mine"
    photos.mkdir(parents=True)
    write_image(photos / "photo.png", image(36, 40, 3))
    command = ["compare", "--data", tmp_path / "data", "--datasets", "mine", "--scales", "2"]
    command += ["--showcase", "0", "--out", tmp_path / "out", "--protocol", "common"]
    assert main([*map(str, command), "--solvers", *targets, "bicubic"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "out" / "results.sqlite") as database:
        rows = database.execute("select solver, outcome, message from results").fetchall()
    outcomes = {solver: (outcome, message) for solver, outcome, message in rows}
    assert outcomes.keys() == {*targets, "bicubic"}
    assert outcomes.pop("bicubic")[0] == "scored"
    assert {outcome for outcome, _ in outcomes.values()} == {"failed"}
    for name, (_, reason) in UNUSABLE.items():
        assert reason in outcomes[name][1]
    assert "returned None instead of a Solution" in outcomes["breach-None"][1]
    assert r"caf\udce9" in outcomes["breach-surrogate"][1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, reason) for name, (_, reason) in UNUSABLE.items()]
    + [("exit", "SystemExit: 3"), ("status", "no cscsr.Status"), ("surrogate", r"caf\udce9")],
)
def test_upscale_says_it_in_one_sentence(tmp_path, monkeypatch, capsys, name, reason):
    target = UNUSABLE[name][0] if name in UNUSABLE else f"breaches:breach_{name}"
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, **{name: target})
    photo = tmp_path / "photo.png"
    write_image(photo, image(12, 10))
    assert main(["upscale", str(photo), "--scale", "2", "--solver", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cscsr: ")
    assert reason in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "site"]
    assert main(["solvers"]) == 0
    assert "bicubic" in capsys.readouterr().out


# check_solver finds what is wrong


@dataclass(frozen=True)
class Sound(Solver[SuperResolution]):
    """Repeats pixels: keeps every rule."""

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "rgb"
    name: ClassVar[str] = "sound"

    def enlarged(self, problem):
        lr = problem.lr if isinstance(problem.lr, np.ndarray) else problem.lr.numpy()
        return np.kron(lr, np.ones((problem.scale,) * 2 + (1,) * (lr.ndim - 2), lr.dtype))

    def solve(self, problem, *, init=None, callback=None):
        if reason := self.supports(problem):
            raise InputError(reason)
        large = self.enlarged(problem)
        if not isinstance(problem.lr, np.ndarray):
            large = torch.from_numpy(large)
        elif large.dtype != problem.lr.dtype:
            large = large.astype(problem.lr.dtype)
        return Solution(large, Status.DIRECT, seconds=0.0)


class Random(Sound):
    def enlarged(self, problem):
        noise = np.random.default_rng().random() * 1e-3
        return super().enlarged(problem) + problem_type_of(problem, noise)


def problem_type_of(problem, value):
    return np.asarray(value, str(problem.lr.dtype).removeprefix("torch."))


class Flipped(Sound):
    def enlarged(self, problem):
        return super().enlarged(problem)[::-1].copy()


class Peeking(Sound):
    def enlarged(self, problem):
        large = super().enlarged(problem)
        return large if problem.truth is None else large * 0 + np.asarray(problem.truth)


class Silenced(Sound):
    def supports(self, problem):
        return None if isinstance(problem, SuperResolution) else "No."


class Strided(Sound):
    def enlarged(self, problem):
        large = super().enlarged(problem)
        plain = not isinstance(problem.lr, np.ndarray) or problem.lr.flags.c_contiguous
        return large if plain else large * 0


class Unpicklable(Sound):
    def __reduce__(self):
        raise InputError("no pickles")


class Changing(Sound):
    """Different beside another thread: as one with state of its own."""

    def enlarged(self, problem):
        import threading

        main_thread = threading.current_thread() is threading.main_thread()
        return super().enlarged(problem) * problem_type_of(problem, 1.0 if main_thread else 0.5)


class Unversioned(Sound):
    version = 1


class Wordy(Sound):
    def supports(self, problem):
        reason = super().supports(problem)
        if reason is None and problem.lr.ndim == 3:
            reason = f"{self.name} enlarges no\u200b {'very ' * 200}colourful image."
        return reason


def test_a_sound_solver_passes():
    check_solver(Sound())


def test_a_reason_may_be_of_any_length_and_characters():
    CHECKS["solution"](Wordy())


@pytest.mark.parametrize(
    ("solver", "rule"),
    [
        (Random, "determinism"),
        (Flipped, "answer"),
        (Peeking, "truth"),
        (Silenced, "refusals"),
        (Strided, "array_types"),
        (Unpicklable, "copies"),
        (Changing, "threads"),
        (Unversioned, "description"),
    ],
)
def test_a_broken_rule_is_named(solver, rule):
    with pytest.raises(AssertionError, match=rf"(?m)^{rule}: "):
        check_solver(solver())


@dataclass(frozen=True)
class Coder(cscsr.FISTA):
    """FISTA with one fault."""

    fault: str = ""

    @property
    def name(self) -> str:
        return "coder"

    def solve(self, problem, *, init=None, callback=None):
        if self.fault == "init" and init is not None:
            init[:] = 0
        if self.fault == "callback":
            callback = None if callback is None else (lambda k, z, call=callback: call(1, z))
        if self.fault == "max_seconds":
            return replace(self, max_seconds=None, fault="").solve(problem)
        solution = super().solve(problem, init=init, callback=callback)
        if self.fault == "batch" and problem.signal.ndim == 4:
            solution.estimate[1] = 0
        return solution


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["init", "callback", "max_seconds", "batch"])
def test_a_coder_with_a_fault_is_caught(rule):
    with pytest.raises(AssertionError):
        CHECKS[rule](Coder(fault=rule))
    CHECKS[rule](Coder())


@dataclass(frozen=True)
class Starting(Coder):
    """A coder that ignores every start, or uses the wrong ones too, or fails at them."""

    def solve(self, problem, *, init=None, callback=None):
        wrong = init is not None and init.shape != problem.codes_shape
        if wrong and self.fault == "crash":
            raise IndexError("out of bounds")
        if wrong and self.fault == "use":
            return super().solve(problem, init=np.ones(problem.codes_shape))
        return super().solve(problem, callback=callback)


def test_a_start_may_be_ignored_but_a_wrong_one_not_used():
    CHECKS["init"](Starting())
    with pytest.raises(AssertionError, match=r"another shape must be refused .* or ignored"):
        CHECKS["init"](Starting(fault="use"))
    with pytest.raises(SolverError, match="coder failed: IndexError"):
        CHECKS["init"](Starting(fault="crash"))


def test_problems_are_of_the_solvers_kind():
    assert isinstance(problem_for(cscsr.FISTA()), SparseCoding)
    problem = problem_for(Sound(), "torch", "float64", 3)
    assert problem.lr.dtype == torch.float64
    assert problem.lr.shape == (24, 20, 3)
    assert pickle.loads(pickle.dumps(problem)).scale == 2
