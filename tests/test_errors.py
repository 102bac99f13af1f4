"""The exception for bad input: its text stays one line, whatever it quotes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError, weights
from cscsr.errors import SolverError, failures_of
from cscsr.sparse.lista import LISTA


@given(st.text(st.characters(codec=None), max_size=20))
def test_a_sentence_stays_one_line_and_commands_no_terminal(text):
    said = str(InputError(f"expected a name, got {text}."))
    assert said.startswith("expected a name, got ")
    assert len(said.splitlines()) == 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in said)
    if text.isprintable():
        assert said == f"expected a name, got {text}."


def test_a_sentence_survives_the_way_between_processes():
    error = InputError("one line\nor two.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == str(error) == r"one line\nor two."


def test_what_a_weight_file_says_of_itself_stays_one_line(tmp_path):
    tensors, metadata = weights.load("lista-step")
    path = tmp_path / "other.safetensors"
    weights.write(path, dict(tensors), {**metadata, "kind": "net\n\x1b[2J"})
    with pytest.raises(InputError) as raised:
        LISTA(form="step", weights=str(path)).dictionary()
    assert r"net\n\x1b[2J" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no file at ../weights", "ista failed: OSError: no file at ../weights."),
        ("the disk is full.", "ista failed: OSError: the disk is full."),
    ],
)
def test_the_failure_of_a_solver_is_quoted_as_it_is(text, sentence):
    with pytest.raises(SolverError) as raised, failures_of("ista failed"):
        raise OSError(text)
    assert str(raised.value) == sentence
