"""The script that makes mutants, and its committed results."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests import mutants

SOURCE = '''"""A docstring of 1 + 2."""


class Grid:
    width: int = 3

    def __repr__(self) -> str:
        return f"{self.width + 1}"

    def rows(self, sizes: Annotated[int, 7]) -> Literal[5]:
        """Return 4 - 1."""
        if not sizes:
            raise ValueError(8 * 9)
        return sizes[self.width :]
'''


def test_every_kind_of_change_in_code_and_none_in_words():
    changes = {(m.before, m.after) for m in mutants.mutants_of("part", "file", SOURCE)}
    assert changes == {
        ("3", "4"),
        ("3", "2"),
        ("not sizes", "sizes"),
        ("self.width", "self.width + 1"),
    }


@pytest.mark.slow
def test_sixty_mutants_are_drawn_and_each_is_another_program():
    chosen = mutants.choose()
    assert chosen == mutants.choose()
    assert chosen != mutants.choose(seed=1)
    assert Counter(mutant.part for mutant in chosen) == dict.fromkeys(mutants.PARTS, 12)
    assert len({(mutant.file, mutant.line) for mutant in chosen}) == 60
    for mutant in chosen:
        source = (mutants.ROOT / mutant.file).read_bytes()
        changed = ast.dump(ast.parse(mutant.apply(source)))
        assert changed != ast.dump(ast.parse(source)), mutant


@pytest.mark.slow
def test_a_mutant_is_caught_and_the_code_is_not(tmp_path):
    """Of the real code the tests pass; L plus one ends them at the first test of L."""
    (mutant,) = [
        mutant
        for mutant in mutants.mutants_of(
            "operators", "cscsr/operators.py", (mutants.ROOT / "cscsr/operators.py").read_text()
        )
        if (mutant.before, mutant.after) == ("1.0 / self.lipschitz", "1.0 * self.lipschitz")
    ]
    assert mutants.try_mutant(mutant)["outcome"] == "caught"
    unchanged = mutant._replace(text=mutant.before)
    assert mutants.try_mutant(unchanged)["outcome"] == "survived"


def test_at_least_56_of_60_are_caught():
    rows = mutants.read_rows(mutants.REFERENCE)
    assert len(rows) == 60
    assert sum(row["outcome"] == "caught" for row in rows) >= 56
    assert all(row["test"] for row in rows if row["outcome"] == "caught")
    assert all(row["reason"] for row in rows if row["outcome"] == "equivalent")


def test_the_page_lists_them():
    assert mutants.block(mutants.read_rows(mutants.REFERENCE)) in mutants.PAGE.read_text("utf-8")
