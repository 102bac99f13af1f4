"""Table 1, right: what the three parts of the CISTA block are worth in CRNet-A.

    python -m benchmarks.ablation --out reports/latest

Eight narrow networks with and without local residual learning (LRL), pre-activation (PA) and
the consistency constraint (CC, S of 3×3 rather than 1×1) are trained here and now; see
`benchmarks._study.short_runs` for how, and `cscsr.networks.CISTABlock` for what the switches do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks._study.short_runs import Variant, caption, study_command
from cscsr import interrupts, plot

RECURSIONS = 8

PUBLISHED = {
    (False, False, False): 33.53,
    (True, False, False): 33.54,
    (False, True, False): 33.52,
    (False, False, True): 34.05,
    (True, True, False): 33.58,
    (True, False, True): 34.09,
    (False, True, True): 33.97,
    (True, True, True): 34.15,
}
"""PSNR in dB on Set5 ×3 by (LRL, PA, CC), from Table 1 of the paper."""


def label(switches: tuple[bool, bool, bool]) -> str:
    """Such as "LRL, CC"; "none" for none."""
    names = ("LRL", "PA", "CC")
    return ", ".join(n for n, on in zip(names, switches, strict=True) if on) or "none"


def variants(width: int, recursions: int = RECURSIONS) -> list[Variant]:
    """The eight networks, in the order of the paper's table."""
    return [
        Variant(
            label(switches),
            "crnet-a",
            {
                "n0": width,
                "m0": 2 * width,
                "recursions": recursions,
                "local_residual": switches[0],
                "pre_activation": switches[1],
                "s_kernel": 3 if switches[2] else 1,
            },
        )
        for switches in PUBLISHED
    ]


def draw(table: Path, picture: Path) -> None:
    """Draw ablation.png from ablation.csv: our runs on the left, the published on the right."""
    import pandas as pd

    rows = pd.read_csv(table)
    labels = [label(switches) for switches in PUBLISHED]
    places = {name: len(labels) - index for index, name in enumerate(labels)}
    figure, made = plot.panels(1, 2, (9, 4.4), sharey=True)
    ours, theirs = made[0]
    colours = {True: "#0072B2", False: "#D55E00"}
    for switches, name in zip(PUBLISHED, labels, strict=True):
        runs, colour = rows[rows.variant == name].psnr_db, colours[switches[2]]
        ours.plot(runs, [places[name]] * len(runs), ".", color=colour, alpha=0.5)
        ours.plot(runs.mean(), places[name], "D", color=colour)
        theirs.plot(PUBLISHED[switches], places[name], "s", color=colour, fillstyle="none")
    first = rows.iloc[0]
    ours.set_title(f"here: n₀ = {first.n0}, m₀ = {first.m0}, K = {first.recursions}", fontsize=10)
    theirs.set_title("published: n₀ = 128, m₀ = 256, K = 25", fontsize=10)
    ours.set_yticks(list(places.values()), list(places))
    for panel in (ours, theirs):
        panel.set_xlabel("mean PSNR (dB)")
    ours.set_xlabel(f"mean PSNR on {first.dataset} ×{first.scale} (dB)")
    theirs.set_xlabel("mean PSNR on Set5 ×3 (dB)")
    for with_cc, text in ((True, "with CC (S is 3×3)"), (False, "without CC (S is 1×1)")):
        theirs.plot([], [], "s", color=colours[with_cc], fillstyle="none", label=text)
    theirs.legend(loc="lower left", fontsize=9)
    figure.suptitle(
        "CRNet-A with and without the parts of its block (Table 1, right)\n" + caption(rows),
        fontsize=10.5,
    )
    plot.save(figure, picture)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.ablation`."""
    return study_command(
        "ablation",
        __doc__.split("\n\n")[2],
        variants,
        draw,
        arguments,
        recursions=RECURSIONS,
    )


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
