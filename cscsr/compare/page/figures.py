"""The figures of the page: pictures that were drawn beside the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cscsr.compare import trained_alike
from cscsr.compare.page.elements import data_address, escaped
from cscsr.compare.records import Figure

FIGURES = {
    "fig5": (
        "Figure 5: with and without the global skip",
        "PSNR of small CRNet-A during training, with and without the skip, for K = 1 and K = 5.",
    ),
    "convergence": (
        "Convergence of the sparse-coding solvers",
        "How fast each solver approaches the certified optimum of one convolutional sparse coding "
        "problem.",
    ),
    "sr_convergence": (
        "Super-resolution along the iterations",
        "PSNR of CSC-SR with each coder and of CRNet, decoded at every iteration, against "
        "iterations, seconds and multiply-adds.",
    ),
    "fig4": (
        "Figure 4: PSNR against parameters",
        "Our networks as measured, the paper's as published.",
    ),
    "ablation": (
        "Table 1, right: ablation",
        "PSNR of small CRNet-A with and without local residual learning (LRL), pre-activation (PA) "
        "and the consistency constraint (CC), here and as published.",
    ),
    "fig8": (
        "Figure 8: number of filters",
        "PSNR against parameters for small CRNet-A and CRNet-B of several widths n₀/m₀.",
    ),
    "fig9": (
        "Figure 9: recursions",
        "PSNR of small CRNet-A and CRNet-B for several numbers of recursions K.",
    ),
    "is_crnet_sparse_coding": (
        "Is CRNet sparse coding?",
        "PSNR, codes and energy of the trained networks along their recursions, and the "
        "eigenvalues of S.",
    ),
    "convergence_grid": (
        "Convergence over a grid of problems",
        "Relative objective gap against seconds for several sizes, dictionaries and weights of the "
        "ℓ1 norm; below, the first problem against iterations and multiply-adds.",
    ),
}
"""Name of a figure's files: its title, and what it shows."""


def ordered(figures: Mapping[str, Figure]) -> list[Figure]:
    """Return the figures in the order of `FIGURES`, then all others, without the one that has a
    section of its own."""
    names = [name for name in FIGURES if name in figures]
    return [
        figures[name] for name in dict.fromkeys([*names, *figures]) if name != trained_alike.NAME
    ]


def figures_section(figures: Sequence[Figure]) -> str:
    """Return the pictures with captions and numbers: those of this run, then those that were drawn
    elsewhere, which say so."""
    own = [figure for figure in figures if not figure.origin]
    others = [figure for figure in figures if figure.origin]
    section = _pictures(own)
    if others:
        section += (
            '<h3 class="elsewhere">Not of this run</h3><p class="remark">These figures come with '
            "the toolkit. Other machines drew them, from other solvers, images and settings than "
            "those of the tables above.</p>"
        )
    return section + _pictures(others)


def _pictures(figures: Iterable[Figure]) -> str:
    parts = []
    for figure in figures:
        title, caption = FIGURES.get(figure.name, (figure.name, ""))
        address = data_address("image/png", figure.png)
        drawn = f'<img src="{address}" alt="{escaped(title)}. {escaped(caption)}">'
        parts.append(
            f'<figure class="picture" id="{escaped(figure.name)}"><h3>{escaped(title)}</h3>'
            f"{drawn}<figcaption>{origin_chip(figure)}{escaped(caption)} {csv_link(figure)}"
            "</figcaption></figure>"
        )
    return "".join(parts)


def origin_chip(figure: Figure) -> str:
    """Return the mark of a figure that was drawn elsewhere, or ""."""
    if not figure.origin:
        return ""
    return f'<span class="chip few">Not of this run: {escaped(figure.origin)}</span> '


def csv_link(figure: Figure) -> str:
    """Return the link to a figure's numbers, or "" where it has none."""
    if not figure.csv:
        return ""
    address = data_address("text/csv", figure.csv.encode())
    return f'<a download="{escaped(figure.name)}.csv" href="{address}">data as CSV</a>'
