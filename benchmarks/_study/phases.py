"""The order in which `benchmarks.equal_compute` trains: what is worth most first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def phases(
    budgets: Sequence[float],
    rates: Sequence[float],
    seeds: int,
    search: str,
) -> Iterator[tuple[float, list[float | None], list[int]]]:
    """Yield (budget, rates, seeds) in the order of what is worth most; None: the best rate."""
    for number, budget in enumerate(sorted(budgets)):
        first = number == 0
        yield budget, [rates[0] if first else None], [0]
        if first or search == "each":
            yield budget, list(rates), [0]
        if seeds > 1:
            yield budget, [None], list(range(1, seeds))
