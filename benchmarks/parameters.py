"""The parameter study of appendix A.5: Figure 8, CRNet-A and CRNet-B of other widths (n₀, m₀),
and Figure 9, with other recursions K. And Figure 4 (a, b), PSNR against parameters.

    python -m benchmarks.parameters fig8 --out reports/latest
    python -m benchmarks.parameters fig9 --out reports/latest
    python -m benchmarks.parameters fig4 --out reports/latest

The networks of Figures 8 and 9 are narrow ones, in the paper's proportions, trained here and
now (`benchmarks._study.short_runs`). CRNet-B has the global skip, as the small one that is
shipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._study.command import Report, run_command, silent, study_parser
from benchmarks._study.short_runs import Variant, caption, study_command
from cscsr import InputError, interrupts, make_solver, plot
from cscsr.compare.published import read_published
from cscsr.output import make_folder

RECURSIONS = (1, 2, 4, 8)
WIDTHS = {"crnet-a": ((1, 2), (0.5, 2), (1, 1)), "crnet-b": ((1, 1), (1, 2), (1, 4))}
"""(n₀, m₀) as multiples of the width: the paper's (128, 256), (64, 256), (128, 128) for A,
and growing m₀ for B."""

NAMES = {"crnet-a": "CRNet-A", "crnet-b": "CRNet-B"}
K = 4

LEAST_SPAN_DB = 0.6

PUBLISHED_PARAMETERS = Path(__file__).with_name("published_parameters.csv")


def _variant(architecture: str, label: str, n0: int, m0: int, recursions: int) -> Variant:
    network = {"n0": n0, "m0": m0, "recursions": recursions, "residual": True}
    return Variant(f"{NAMES[architecture]} {label}", architecture, network)


def widths(width: int, recursions: int = K) -> list[Variant]:
    """The networks of Figure 8."""
    networks = []
    for architecture, pairs in WIDTHS.items():
        for a, b in pairs:
            n0, m0 = int(a * width), int(b * width)
            networks.append(_variant(architecture, f"{n0}/{m0}", n0, m0, recursions))
    return networks


def recursions(width: int, numbers: Sequence[int] = RECURSIONS) -> list[Variant]:
    """The networks of Figure 9."""
    return [
        _variant(architecture, f"K={k}", width, 2 * width, k)
        for architecture in NAMES
        for k in numbers
    ]


def _panels(table: Path, heading: str, axis: str):
    import pandas as pd

    rows = pd.read_csv(table)
    figure, made = plot.panels(1, 2, (9, 4.2))
    panels = made[0]
    for panel, architecture in zip(panels, NAMES, strict=True):
        first = rows.iloc[0]
        panel.set_title(NAMES[architecture], fontsize=10)
        panel.set_xlabel(axis)
        panel.set_ylabel(f"mean PSNR on {first.dataset} ×{first.scale} (dB)")
    figure.suptitle(f"{heading}\n{caption(rows)}", fontsize=10.5)
    return rows, figure, dict(zip(NAMES, panels, strict=True))


def _finish(figure: Any, panels: dict[str, Any], picture: Path) -> None:
    """Give every axis of PSNR `LEAST_SPAN_DB` or more, lest noise look like an effect; save."""
    for panel in panels.values():
        low, high = panel.get_ylim()
        more = max(0.0, LEAST_SPAN_DB - (high - low)) / 2
        panel.set_ylim(low - more, high + more)
    plot.save(figure, picture)


def draw_widths(table: Path, picture: Path) -> None:
    """Draw fig8.png from fig8.csv: PSNR against parameters, each point named n₀/m₀."""
    rows, figure, panels = _panels(
        table, "Width of the networks (Figure 8), points are named n₀/m₀", "parameters, thousands"
    )
    first = rows.iloc[0]
    for architecture, panel in panels.items():
        for variant, runs in rows[rows.architecture == architecture].groupby("variant"):
            at = runs.parameters.iloc[0] / 1000
            panel.plot([at] * len(runs), runs.psnr_db, ".", color="#0072B2", alpha=0.5)
            panel.plot(at, runs.psnr_db.mean(), "D", color="#0072B2")
            panel.annotate(
                variant.split(" ")[1],
                (at, runs.psnr_db.mean()),
                (8, 0),
                textcoords="offset points",
                va="center",
            )
        panel.set_title(f"{NAMES[architecture]}, K = {first.recursions}", fontsize=10)
        panel.margins(0.25)
    _finish(figure, panels, picture)


def draw_recursions(table: Path, picture: Path) -> None:
    """Draw fig9.png from fig9.csv: PSNR against K."""
    rows, figure, panels = _panels(table, "Recursions of the block (Figure 9)", "recursions K")
    first = rows.iloc[0]
    for architecture, panel in panels.items():
        own = rows[rows.architecture == architecture]
        means = own.groupby("recursions").psnr_db.mean()
        panel.plot(own.recursions, own.psnr_db, ".", color="#0072B2", alpha=0.5)
        panel.plot(means.index, means, "D-", color="#0072B2")
        panel.set_xticks(list(means.index))
        panel.set_title(f"{NAMES[architecture]}, n₀ = {first.n0}, m₀ = {first.m0}", fontsize=10)
    _finish(figure, panels, picture)


FIGURE4 = {"dataset": "Set5", "scale": 4}


def figure4(out: str | Path, table: str | Path, report: Report = silent) -> list[Path]:
    """Make fig4.csv and fig4.png in the folder `out`: the networks of a table1.csv, with their
    parameters counted, beside the published ones (published.csv, published_parameters.csv).

    Raises InputError where the table is missing or has no network on Set5 at ×4.
    """
    import pandas as pd

    out, table = make_folder(out), Path(table)
    if not table.is_file():
        raise InputError(f"expected a table at {table}; python -m benchmarks.compare makes one.")
    rows = []
    measured = pd.read_csv(table)
    for row in _at_figure4(measured).itertuples():
        if row.method.startswith("crnet-") and "+" not in row.method:
            network = make_solver(row.method).network()
            count = sum(p.numel() for p in network.parameters())
            rows.append([row.method, count, round(row.psnr_db, 4), "measured", str(table)])
    if not rows:
        raise InputError(f"expected a network on Set5 at x4 in {table}, but found none.")
    published = _at_figure4(read_published()).set_index("method").psnr_db
    for row in pd.read_csv(PUBLISHED_PARAMETERS).itertuples():
        rows.append([row.method, row.parameters, published[row.method], "published", row.source])
    columns = ["method", "parameters", "psnr_db", "kind", "source"]
    pd.DataFrame(rows, columns=columns).to_csv(out / "fig4.csv", index=False, lineterminator="\n")
    draw_parameters(out / "fig4.csv", out / "fig4.png")
    return [out / "fig4.csv", out / "fig4.png"]


def _at_figure4(rows: Any) -> Any:
    return rows[(rows.dataset == FIGURE4["dataset"]) & (rows.scale == FIGURE4["scale"])]


def draw_parameters(table: Path, picture: Path) -> None:
    """Draw fig4.png from fig4.csv."""
    import pandas as pd

    rows = pd.read_csv(table)
    figure, made = plot.panels(1, 1, (8, 4.6))
    panel = made[0, 0]
    styles = {"measured": ("D", "#0072B2", "full"), "published": ("o", "0.35", "none")}
    for kind, (marker, colour, fill) in styles.items():
        own = rows[rows.kind == kind]
        panel.plot(
            own.parameters,
            own.psnr_db,
            marker,
            color=colour,
            fillstyle=fill,
            label="trained here" if kind == "measured" else "published",
        )
        for row in own.itertuples():
            left = row.method in LABELS_LEFT
            panel.annotate(
                row.method,
                (row.parameters, row.psnr_db),
                (-7 if left else 7, LABELS_UP.get(row.method, 0)),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                color=colour,
                fontsize=9,
            )
    panel.set_xscale("log")
    panel.margins(0.14, 0.1)
    panel.grid(alpha=0.25, which="both")
    panel.set_xlabel("parameters")
    panel.set_ylabel("mean PSNR on Set5 ×4 (dB)")
    panel.legend(loc="lower right", fontsize=9)
    figure.suptitle("PSNR against parameters (Figure 4 a, b)", fontsize=10.5)
    plot.save(figure, picture)


LABELS_LEFT = ("RDN", "D-DBPN", "VDSR", "DRRN", "MemNet", "crnet-b-small")
LABELS_UP = {"D-DBPN": -8, "RDN": 6, "CRNet-B": 8}
"""Where the names stand, so that none covers another."""

FIGURES = {
    "fig8": (widths, draw_widths, K),
    "fig9": (recursions, draw_recursions, RECURSIONS),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.parameters`."""
    description = __doc__.split("\n\n")[2]
    first = argparse.ArgumentParser(prog="python -m benchmarks.parameters", description=description)
    first.add_argument("figure", choices=("fig4", *FIGURES), help="parameters, widths, recursions")
    first.add_argument("options", nargs=argparse.REMAINDER, help="see FIGURE --help")
    chosen = first.parse_args(arguments)
    command = f"parameters {chosen.figure}"
    if chosen.figure == "fig4":
        parser = study_parser(command, description)
        parser.add_argument(
            "--table", default="reports/reference/table1.csv", help="whose networks (%(default)s)"
        )
        return run_command(figure4, vars(parser.parse_args(chosen.options)))
    variants, draw, default = FIGURES[chosen.figure]
    return study_command(command, description, variants, draw, chosen.options, default)


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
