"""The figure and the table of `benchmarks.sr_convergence`, from its CSV file alone."""

from __future__ import annotations

import shlex
from pathlib import Path

from benchmarks._study.figures import busy, central_part, thread_count
from cscsr import plot
from cscsr.output import write_text


def draw(table: Path, picture: Path) -> None:
    """Draw sr_convergence.png from the table: a row of panels for each scale, PSNR against
    iterations, seconds and operations; a dot where a method was trained to stop."""
    import pandas as pd
    from matplotlib.ticker import LogLocator

    rows = pd.read_csv(table)
    scales = sorted(rows.scale.unique())
    figure, panels = plot.panels(len(scales), 3, (11.5, 1.1 + 3.3 * len(scales)), sharey="row")
    names = list(dict.fromkeys(rows.solver))
    axes = (
        ("iteration", "iterations, or recursions k"),
        ("seconds", "seconds per image, decoding included"),
        ("operations", "multiply-adds per image, decoding included"),
    )
    for line, scale in zip(panels, scales, strict=True):
        part = rows[rows.scale == scale]
        bicubic = part.bicubic_psnr_db.iloc[0]
        for panel, (column, label) in zip(line, axes, strict=True):
            for name, colour in zip(names, plot.COLOURS * 3, strict=False):
                curve = part[part.solver == name]
                if curve.empty:
                    continue
                network = name.startswith("crnet-")
                style = "-" if network else "--"
                trained = curve.trained_iterations.iloc[0]
                before = curve[curve.iteration <= trained]
                after = curve[curve.iteration >= trained]
                panel.plot(before[column], before.psnr_db, style, color=colour, label=name)
                panel.plot(after[column], after.psnr_db, style, color=colour, alpha=0.45)
                panel.plot(before[column].iloc[-1], before.psnr_db.iloc[-1], "o", color=colour)
            panel.axhline(bicubic, color="#888888", linewidth=1, linestyle=":")
            panel.set_xlabel(label)
            if column == "iteration":
                panel.set_xscale("symlog", linthresh=1)
                panel.set_xticks([0, 1, 2, 5, 10, 20, 50, 100, 200], minor=False)
                panel.set_xlim(0, 1.1 * part.iteration.max())
                panel.xaxis.set_major_formatter("{x:g}")
            else:
                panel.set_xscale("log")
            if column == "seconds":
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("")
        top = part.psnr_db.max()
        line[0].set_ylim(bicubic - 1.0, top + 0.3)
        line[0].set_ylabel(f"×{scale}: PSNR in dB")
        line[2].annotate(
            "bicubic",
            (0.8, bicubic),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
        )
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=7)
    first = rows.iloc[0]
    figure.suptitle(
        f"{first.dataset}{central_part(first.crop)}, mean over {first.images} images. "
        "Dot: the number of iterations it was trained with, the only one trained to be decoded;\n"
        f"pale: beyond it. {thread_count(first.threads, 'CPU ')}.",
        fontsize=10,
    )
    plot.save(figure, picture, dpi=130)


def describe_table(table: Path, page: Path) -> None:
    """Write sr_convergence.md from the table: PSNR at shares of the trained number of
    iterations, seconds and operations at it."""
    import pandas as pd

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    shares = (0.5, 1, (1 + first.beyond) / 2, first.beyond)
    heads = ["K/2", "**K**", *(f"{share:g} K" for share in shares[2:])]
    lines = [
        "# Super-resolution over iterations",
        "",
        f"PSNR in dB, mean over the {first.images} images of "
        f"{first.dataset}{central_part(first.crop)}, of what is there after k iterations "
        "(recursions, for a network), decoded; K is the "
        "number that a method was trained with, and the only one that was trained to be decoded. "
        "Seconds and multiply-adds are those of a solve that ends at K. csc-sr[cista] "
        "makes the iterates of csc-sr[ista].",
        "",
        f"| scale | solver | K | {' | '.join(heads)} | highest, at k | s | multiply-adds |",
        f"|---|---|--:|{'--:|' * len(heads)}--:|--:|--:|",
    ]
    for (scale, name), curve in rows.groupby(["scale", "solver"], sort=False):
        trained = int(curve.trained_iterations.iloc[0])
        by_k = curve.set_index("iteration")
        cells = [f"{by_k.psnr_db[round(share * trained)]:.2f}" for share in shares]
        best = int(by_k.psnr_db.idxmax())
        lines.append(
            f"| ×{scale} | {name} | {trained} | {' | '.join(cells)} | "
            f"{by_k.psnr_db[best]:.2f}, {best} | {by_k.seconds[trained]:.2g} | "
            f"{by_k.operations[trained]:.1e} |"
        )
    lines += [
        "",
        f"Made by `python -m benchmarks.sr_convergence --dataset {first.dataset} --scales "
        f"{first.scales}{f' --crop {first.crop}' if first.crop else ''} --solvers "
        f"{shlex.join(first.solvers.split())}`; "
        f"{first.threads} thread(s) of {first.machine}{busy(first)}.",
        "",
    ]
    write_text(page, "\n".join(lines))
