"""The figure and the table of `benchmarks.is_crnet_sparse_coding`, from its CSV files and, for the
spectra, from the shipped weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks._study.figures import central_part
from cscsr import plot
from cscsr.output import write_text
from cscsr.plot import COLOURS


def draw(walks: Path, picture: Path, spectrum: Callable[[str], np.ndarray]) -> None:
    """Draw the picture from the table of recursions: PSNR, non-zeros, change, norm and energy over
    recursions; and the `spectrum` of a network's S over frequencies, called with its name."""
    import pandas as pd

    rows = pd.read_csv(walks)
    first = rows.iloc[0]
    figure, made = plot.panels(2, 3, (11.5, 7.2))
    panels = made.ravel()
    columns = (
        ("psnr_db", f"PSNR of z_k decoded, ×{first.scale} (dB)", "linear"),
        ("nnz_share", "share of z_k that is not zero", "linear"),
        ("relative_change", "‖z_k − z_k₋₁‖ / ‖z_k‖", "log"),
        ("norm", "‖z_k‖ / ‖z_K‖", "log"),
        ("energy", "(E(z_k) − E(z_K)) / |E(z₀) − E(z_K)|", "linear"),
    )
    for panel, (column, label, scale) in zip(panels, columns, strict=False):
        for (name, curve), colour in zip(
            rows.groupby("solver", sort=False), plot.COLOURS, strict=False
        ):
            trained = int(curve.trained_recursions.iloc[0])
            panel.plot(curve.recursion / trained, curve[column], ".-", color=colour, label=name)
        panel.axvline(1, color="#888888", linewidth=1, linestyle=":")
        panel.set(yscale=scale, xlabel="recursions k / trained K", ylabel=label)
    until = rows.psnr_db[rows.recursion <= rows.trained_recursions]
    margin = 0.3 * (until.max() - until.min())  # a network may fall far below after its K
    panels[0].set_ylim(until.min() - margin, until.max() + margin)
    panels[0].legend(fontsize=9, loc="best")
    panels[4].set_yscale("symlog", linthresh=1)  # its own value leaves no room for the ticks
    panels[4].set_ylim(3 * min(-1.0, rows.energy.min()), 3 * max(1.0, rows.energy.max()))
    last = panels[5]
    for (name, _), colour in zip(rows.groupby("solver", sort=False), COLOURS, strict=False):
        values = np.sort(spectrum(name).ravel())
        last.plot(np.linspace(0, 1, len(values)), values, color=colour, label=name)
    band = last.axhspan(0, 1, color="#000000", alpha=0.06, linewidth=0)
    last.legend([band], ["CISTA with the step 1/L"], fontsize=8.5, loc="lower right")
    last.set(xlabel="share of all frequencies and channels", ylabel="eigenvalues of (S + Sᵀ)/2")
    figure.suptitle(
        f"The trained recursion z ← ReLU(W⊗y + S⊗z + b); mean over {first.images} images of "
        f"{first.dataset}. Dotted: the number of recursions it was trained with.",
        fontsize=10,
    )
    plot.save(figure, picture, dpi=130)


_FACTS = (
    ("K recursions, m₀ codes, n₀ features", "{recursions:.0f}, {atoms:.0f}, {channels:.0f}"),
    ("‖S‖ over all frequencies (CISTA: at most 1)", "{norm:.2f}"),
    ("spectral radius of Ŝ (CISTA: at most 1)", "{radius:.2f}"),
    (
        "eigenvalues of the symmetric part of S (CISTA: 0 to 1)",
        "{least_eigenvalue:.2f} to {largest_eigenvalue:.2f}",
    ),
    ("of these above 1", "{eigenvalues_above_one:.1%}"),
    ("mean of the middle of Sᵢᵢ (n has 1)", "{diagonal:.2f}"),
    ("‖S − n‖ / ‖S‖", "{identity_distance:.3f}"),
    ("size of S", "{size:.0f}×{size:.0f}"),
    ("the same to n − flip(g)⊗g for the nearest g of 2×2", "{fit_2x2:.3f}"),
    ("… for the nearest g of 3×3, its 5×5 cut to the size of S", "{fit_3x3:.3f}"),
    ("… for g = W up to a factor, cut in the same way", "{fit_W:.3f}"),
    ("share of ‖n − S‖² that g of 2×2 explains", "{explained_2x2:.1%}"),
    ("… of 3×3, cut to the size of S", "{explained_3x3:.1%}"),
    ("… g = W up to a factor, cut", "{explained_W:.1%}"),
    ("… g of 2×2 for a random S of the same form, as far from n", "{random_explained_2x2:.1%}"),
    ("… g of 3×3 for a random S of the same form", "{random_explained_3x3:.1%}"),
    ("share of ‖n − S‖² that no g explains: asymmetric", "{floor_asymmetric:.1%}"),
    ("… of a random S of the same form", "{random_asymmetric:.1%}"),
    ("… symmetric, with eigenvalues below 0", "{floor_indefinite:.1%}"),
    ("… past rank n₀", "{floor_rank:.1%}"),
    ("largest eigenvalue of flip(g)⊗g, g of 2×2 (a step 1/L: 1)", "{gram_2x2:.2f}"),
    ("channels whose threshold −(b_W + b_S) is positive", "{positive_thresholds:.0%}"),
    ("… is within a factor of 2 of the median (CISTA: all)", "{thresholds_near_median:.0%}"),
)
"""What the table says of the weights: words, and how the figures are written."""

_WALK = (
    ("codes that are not zero at K", "{0.nnz_share:.1%}"),
    ("… at {beyond}K − 1", "{2.nnz_share:.1%}"),
    ("‖z_k − z_k₋₁‖ / ‖z_k‖ at K", "{0.relative_change:.3f}"),
    ("… at {beyond}K − 1", "{2.relative_change:.3f}"),
    ("‖z_k‖ / ‖z_K‖ at {beyond}K − 1", "{2.norm:.3g}"),
    ("PSNR at K, dB", "{0.psnr_db:.2f}"),
    ("… at 2K", "{1.psnr_db:.2f}"),
    ("… at {beyond}K − 1", "{2.psnr_db:.2f}"),
)


def describe_tables(walks: Path, facts: Path, page: Path) -> None:
    """Write the page from the two tables: a row a question, a column a network."""
    import pandas as pd

    rows, measured = pd.read_csv(walks), pd.read_csv(facts)
    first = rows.iloc[0]
    names = list(measured.solver)
    lines = [
        "# Is CRNet sparse coding? The figures",
        "",
        "S is the recurrent filter bank of the trained block z ← ReLU(W⊗y + S⊗z + b), n the "
        "identity filter, g = f/√L; norms are Frobenius unless they are said to be over "
        "frequencies. S is scaled to D S D⁻¹ with a diagonal D, which changes nothing in the "
        "network and brings it as near to a symmetric one as such a D can. What the rows mean is "
        "in docs/is-crnet-sparse-coding.md.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'--:|' * len(names)}",
    ]
    for words, form in _FACTS:
        cells = []
        for _, row in measured.iterrows():
            values = row.dropna().to_dict()
            try:
                cells.append(form.format(**values))
            except KeyError:  # a network without biases, or with another kernel
                cells.append("–")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    for words, form in _WALK:
        cells = []
        for name in names:
            walk = rows[rows.solver == name].set_index("recursion")
            trained = int(walk.trained_recursions.iloc[0])
            last = walk.index.max()
            cells.append(
                form.format(*(walk.loc[min(k, last)] for k in (trained, 2 * trained, last)))
            )
        lines.append(f"| {words.format(beyond=first.beyond)} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Recursions: mean over the {first.images} images of {first.dataset}"
        f"{central_part(first.crop, 'their')}, ×{first.scale}. Made "
        f"by `python -m benchmarks.is_crnet_sparse_coding --dataset {first.dataset} --scale "
        f"{first.scale}`.",
        "",
    ]
    write_text(page, "\n".join(lines))
