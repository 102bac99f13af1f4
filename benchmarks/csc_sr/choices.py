"""What the choices in CSC-SR are worth: a training for each, by `cscsr.csc_sr.train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import read_curves, write_curves
from cscsr import plot
from cscsr.output import make_folder, write_text

if TYPE_CHECKING:
    from cscsr.csc_sr.options import Options

SCALE = 2


@dataclass(frozen=True)
class Choice:
    """One training: its difference from the first, in words, and how. options: changes to `BASE`;
    lam is on 0–255, None for the coder's usual; settings: of the coder."""

    label: str
    coder: str = "admm"
    options: dict[str, Any] = field(default_factory=dict)
    lam: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


BASE = {"atoms": 96, "crop": 32, "phases": 1, "rounds": 0}
"""Smaller than what is shipped, so that a row takes less than a minute."""

FIXED = {"rho": 10.0, "rho_growth": 1.0, "relaxation": 1.8, "iterations": 10}
AUTHORS = {"rho": 0.05, "rho_growth": 1.1, "iterations": 40}

CHOICES = (
    Choice("ADMM, λ = 0.1/255, ρ from 0.1 by 1.5, 15 iterations"),
    *(Choice(f"λ = {lam}/255", lam=lam) for lam in (0.02, 0.5, 2)),
    *(Choice(f"{k} iterations", settings={"iterations": k}) for k in (10, 25)),
    Choice("ρ fixed at 10, λ = 0.5/255, 10 iterations", lam=0.5, settings=FIXED),
    Choice("as the authors: λ = 0.02/255, ρ from 0.05 by 1.1", lam=0.02, settings=AUTHORS),
    *(Choice(f"{n} filters", options={"atoms": n}) for n in (48, 192, 384)),
    Choice("filters after 6 steps of learning, not 60", options={"filter_steps": 6}),
    *(Choice(f"crops of {n} LR pixels", options={"crop": n}) for n in (56, 112)),
    Choice("HR filters over 7 LR pixels, not 5", options={"support": 7}),
    Choice("ISTA, λ = 2/255, 30 iterations", "ista"),
    *(Choice(f"ISTA, λ = {lam}/255", "ista", lam=lam) for lam in (1, 4)),
    *(Choice(f"ISTA, {k} iterations", "ista", settings={"iterations": k}) for k in (15, 60)),
    Choice("FISTA, λ = 1/255, 20 iterations", "fista"),
    *(Choice(f"FISTA, λ = {lam}/255", "fista", lam=lam) for lam in (0.5, 2)),
    *(Choice(f"FISTA, {k} iterations", "fista", settings={"iterations": k}) for k in (10, 40)),
)


def choices(data: str | Path, out: str | Path, report: Report = silent) -> list[Path]:
    """Train each of `CHOICES` at ×2 in the ridge form, with filters by sporco as in the shipped
    weights, and write their table and the picture of sparsity against PSNR. Raises InputError
    for a folder without the data."""
    from benchmarks.csc_sr.sporco_filters import sporco_filters, write_filters
    from cscsr.csc_sr.options import CODINGS, Coding, Options

    out = make_folder(out)
    rows: list[dict[str, Any]] = []
    filters: dict[tuple[int, int], str] = {}
    for index, choice in enumerate(CHOICES):
        report(choice.label, index, len(CHOICES))
        usual = CODINGS[choice.coder]
        lam = usual.lam if choice.lam is None else choice.lam / 255
        coding = Coding(lam, {**usual.settings, **choice.settings})
        options = replace(Options(), **{**BASE, **choice.options}, codings={choice.coder: coding})
        bank = (options.atoms, options.filter_steps)
        if bank not in filters:
            path = out / "runs" / f"sporco-{options.atoms}-{options.filter_steps}.safetensors"
            filters[bank] = write_filters(path, sporco_filters(data, options))
        folder = out / "runs" / f"{index:02d}"
        row = fitted_row(data, folder, choice.coder, options, filters[bank])
        rows.append(
            {
                "choice": choice.label,
                "coder": choice.coder,
                "lam_255": f"{255 * lam:g}",
                "iterations": coding.settings["iterations"],
                "atoms": options.atoms,
                **row,
            }
        )
    table = out / "choices.csv"
    write_curves(table, rows)
    text = out / "choices.md"
    write_text(text, _markdown(rows))
    picture = out / "sparsity.png"
    draw_sparsity(table, picture)
    return [table, text, picture]


def fitted_row(
    data: str | Path, folder: Path, coder: str, options: Options, filters: str, seed: int = 0
) -> dict[str, Any]:
    """Fit a coder's ridge form at ×2 to given filters: its pixels, and the best ridge weight, the
    density and the PSNR on the held-out images."""
    from cscsr import weights
    from cscsr.csc_sr.train import train_csc_sr

    (path,) = train_csc_sr(
        data,
        folder,
        coders=[coder],
        scales=[SCALE],
        options=options,
        filters=filters,
        seed=seed,
        progress=False,
    )
    made = weights.load(str(path))[1]["scales"][str(SCALE)]
    ridge, psnr_db = max(made["holdout_psnr_db"].items(), key=lambda item: item[1])
    return {
        "lr_pixels": made["lr_pixels"],
        "ridge": ridge,
        "density": f"{made['holdout_density']:.4f}",
        "psnr_db": f"{psnr_db:.3f}",
        "bicubic_psnr_db": f"{made['holdout_bicubic_psnr_db']:.3f}",
    }


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| ×2, ridge form | filters | LR pixels | codes not zero | PSNR, dB |",
        "|---|--:|--:|--:|--:|",
        f"| bicubic | | | | {rows[0]['bicubic_psnr_db'][:-1]} |",
    ]
    for row in rows:
        lines.append(
            f"| {row['choice']} | {row['atoms']} | {int(row['lr_pixels']):,} "
            f"| {100 * float(row['density']):.1f} % | {float(row['psnr_db']):.2f} |"
        )
    return "\n".join(lines) + "\n"


def draw_sparsity(table: Path, picture: Path) -> None:
    """PSNR against the share of codes that are not zero, as λ varies, one curve per coder."""

    rows = read_curves(table)
    figure, made = plot.panels(1, 1, (6.4, 4.2))
    axes = made[0, 0]
    for coder, marker in (("admm", "o"), ("ista", "s"), ("fista", "^")):
        first = next(row for row in rows if row["coder"] == coder)
        same = ("iterations", "atoms", "lr_pixels")
        with_lam = [
            row
            for row in rows
            if row["coder"] == coder
            and all(row[key] == first[key] for key in same)
            and (row is first or ("λ" in row["choice"] and "ρ" not in row["choice"]))
        ]
        with_lam.sort(key=lambda row: float(row["lam_255"]))
        x = [100 * float(row["density"]) for row in with_lam]
        y = [float(row["psnr_db"]) for row in with_lam]
        axes.plot(x, y, marker=marker, label=f"{coder.upper()}, {first['iterations']} iterations")
        for row, left, up in zip(with_lam, x, y, strict=True):
            axes.annotate(
                f"{float(row['lam_255']):g}",
                (left, up),
                textcoords="offset points",
                xytext=(0, -13),
                ha="center",
                fontsize=8,
                color="0.35",
            )
    axes.set_xscale("log")
    axes.set_xticks([10, 15, 20, 30], labels=["10", "15", "20", "30"])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("codes that are not zero, %")
    axes.set_ylabel("PSNR on the held-out images, dB")
    axes.set_title("Sparsity against quality at ×2; numbers are λ·255", fontsize=11)
    axes.margins(y=0.15)
    axes.legend(fontsize=9)
    plot.save(figure, picture)
