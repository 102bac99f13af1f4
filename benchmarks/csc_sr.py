"""What the choices in CSC-SR are worth on the held-out images, and what it has learned.

    python -m benchmarks.csc_sr choices --data DIR    choices.csv, choices.md, sparsity.png
    python -m benchmarks.csc_sr mapping --data DIR    mapping.csv, mapping.md, shipped.csv, .md
    python -m benchmarks.csc_sr pictures              filters.png, hr-filters.png, parts.png

Each row of `choices` is a training of its own, by `cscsr.csc_sr.train`, each row of
`mapping` a fit of mapping and HR filters to the same sums; rows that a stopped run had made are
kept. `shipped` is how far the shipped mappings are from where their fit began. `pictures` needs
the shipped weights only.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.curves import make_folder, run_command, write_curves
from cscsr.errors import InputError

if TYPE_CHECKING:
    import torch

    from cscsr.csc_sr.hr_filters import Mapping

SCALE = 2

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Choice:
    """One training: what is different, in words, and how. options: changes to `BASE`;
    lam is on 0–255, None for the coder's usual; settings: of the coder."""

    what: str
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

COLUMNS = (
    "choice",
    "coder",
    "lam_255",
    "iterations",
    "atoms",
    "lr_pixels",
    "ridge",
    "density",
    "psnr_db",
    "bicubic_psnr_db",
)


def choices(data: str | Path, out: str | Path, report: Report = lambda *_: None) -> list[Path]:
    """Train each of `CHOICES` at ×2 in the ridge form and write their table and the picture of
    sparsity against PSNR. Raises InputError for a folder without the data."""
    from cscsr import weights
    from cscsr.csc_sr.train import CODINGS, Coding, Options, train_csc_sr

    out = make_folder(out)
    rows = []
    filters: dict[tuple[int, int], Path] = {}
    for index, choice in enumerate(CHOICES):
        report(choice.what, index, len(CHOICES))
        usual = CODINGS[choice.coder]
        lam = usual.lam if choice.lam is None else choice.lam / 255
        coding = Coding(lam, {**usual.settings, **choice.settings})
        options = replace(Options(), **{**BASE, **choice.options}, codings={choice.coder: coding})
        bank = (options.atoms, options.filter_steps)
        (path,) = train_csc_sr(
            data,
            out / "runs" / f"{index:02d}",
            coders=[choice.coder],
            scales=[SCALE],
            options=options,
            filters=str(filters[bank]) if bank in filters else None,
            progress=False,
        )
        filters.setdefault(bank, path)
        made = weights.load(path)[1]["scales"][str(SCALE)]
        ridge, psnr_db = max(made["holdout_psnr_db"].items(), key=lambda item: item[1])
        rows.append(
            {
                "choice": choice.what,
                "coder": choice.coder,
                "lam_255": f"{255 * lam:g}",
                "iterations": coding.settings["iterations"],
                "atoms": options.atoms,
                "lr_pixels": made["lr_pixels"],
                "ridge": ridge,
                "density": f"{made['holdout_density']:.4f}",
                "psnr_db": f"{psnr_db:.3f}",
                "bicubic_psnr_db": f"{made['holdout_bicubic_psnr_db']:.3f}",
            }
        )
    table = out / "choices.csv"
    write_curves(table, COLUMNS, rows)
    text = out / "choices.md"
    text.write_text(_markdown(rows), encoding="utf-8")
    picture = out / "sparsity.png"
    draw_sparsity(table, picture)
    return [table, text, picture]


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


MAPPING_STARTS = (
    ("identity and pairs", (96, 144), (0.1, 0.3, 1.0)),
    ("clusters", (24, 48), (0.001, 0.003, 0.01, 0.03)),
    ("random, concentration 1", (48, 96, 144), (0.001, 0.003, 0.01, 0.03)),
    ("random, concentration 0.03", (48, 96, 144), (0.01, 0.03, 0.1, 0.3)),
)
"""Starts of the mapping (see `mapping_start`), the numbers M of HR filters of each, and its ridge
weights: the more codes a row mixes, the smaller."""

MAPPING_ROUNDS = 100
"""At most so many rounds of a fit; with the ridge weight that turns out best, at most:"""

MAPPING_LONG_ROUNDS = 400

MAPPING_LEAST = 10
"""At least so many."""

MAPPING_GAIN = 1e-5
"""From then on a fit ends when a round lowers the objective by less than this share."""

FIRST_STEPS = 300
"""Conjugate-gradient steps on the HR filters before the first round."""

MAPPING_COLUMNS = (
    "start",
    "hr_filters",
    "ridge",
    "rounds",
    "psnr_db",
    "start_psnr_db",
    "objective",
    "last_gain",
    "mean_moved",
    "largest_moved",
)


def mapping_start(
    start: str, hr_atoms: int, kernels: torch.Tensor, generator: np.random.Generator
) -> Mapping:
    """A mapping (M,N) on the simplex to begin with, and its HR filters.

    kernels: the ridge kernels (N,k,k). "identity and pairs" is `start_from`, "clusters" the
    means of M clusters of kernels (Ward), "random, concentration α" draws each row from the
    Dirichlet distribution. But for the first the HR filters are zero.
    """
    import torch
    from scipy.cluster.hierarchy import fcluster, linkage

    from cscsr.csc_sr.hr_filters import Mapping, start_from

    if start == "identity and pairs":
        return start_from(kernels.float(), hr_atoms)
    if start == "clusters":
        tree = linkage(kernels.flatten(1).numpy(), "ward")
        labels = fcluster(tree, hr_atoms, "maxclust")
        members = labels == np.arange(1, hr_atoms + 1)[:, None]
        rows = members / members.sum(1, keepdims=True)
    else:
        concentration = float(start.rsplit(" ", 1)[1])
        rows = generator.dirichlet(np.full(len(kernels), concentration), hr_atoms)
    filters = torch.zeros(hr_atoms, *kernels.shape[1:])
    return Mapping(torch.from_numpy(rows).float(), filters)


def mapping(
    data: str | Path,
    out: str | Path,
    report: Report = lambda *_: None,
    *,
    sizes: dict[str, Any] = BASE,
    starts: Sequence[tuple[str, Sequence[int], Sequence[float]]] = MAPPING_STARTS,
    seed: int = 0,
) -> list[Path]:
    """Fit mapping and HR filters from several starts, numbers of HR filters and ridge weights at
    ×2, and write their table beside the ridge form's, and that of the shipped weights.

    sizes: of the training, changes to the usual `Options`. starts: as `MAPPING_STARTS`. Raises
    InputError for a folder without the data.
    """
    from cscsr.csc_sr.hr_filters import Fit, start_from
    from cscsr.csc_sr.train import CODINGS, RIDGES, Options, fit_parts

    out = make_folder(out)
    options = replace(Options(), **sizes, codings={"admm": CODINGS["admm"]})
    report("sums over the training images", 0, 1)
    equations, heldout, kept = fit_parts(
        data, out / "runs" / "mapping", "admm", SCALE, options, seed=seed, progress=False
    )

    def ridge_row(ridge: float) -> dict[str, Any]:
        kernels = equations.solve(ridge)
        psnr_db = heldout.psnr(kernels)
        fit = Fit(equations, start_from(kernels.float(), len(kernels)), ridge)
        return {"psnr_db": psnr_db, "objective": fit.objective()}

    def fitted_row(start: str, hr_atoms: int, ridge: float, rounds: int) -> dict[str, Any]:
        generator = np.random.default_rng([seed, hr_atoms])
        begin = mapping_start(start, hr_atoms, equations.solve(ridge), generator)
        fit = Fit(equations, begin, ridge)
        fit.improve_filters(FIRST_STEPS)
        first_db, objectives = heldout.psnr(fit.result.kernels()), [fit.objective()]
        while len(objectives) <= rounds:
            objectives.append(fit.round())
            gain = (objectives[-2] - objectives[-1]) / abs(objectives[-1])
            if gain < MAPPING_GAIN and len(objectives) > MAPPING_LEAST:
                break
        moved = (fit.result.mapping - begin.mapping).abs()
        return {
            "rounds": len(objectives) - 1,
            "psnr_db": heldout.psnr(fit.result.kernels()),
            "start_psnr_db": first_db,
            "objective": objectives[-1],
            "last_gain": gain,
            "mean_moved": float(moved.sum(1).mean()) / 2,
            "largest_moved": float(moved.max()),
        }

    def named(start: str, hr_atoms: int, ridge: float, rounds: int = 0) -> dict[str, Any]:
        if start == "ridge":
            make = partial(ridge_row, ridge)
        else:
            make = partial(fitted_row, start, hr_atoms, ridge, rounds)
        row = kept.made(f"{start}-{hr_atoms}-{ridge:g}-{rounds}-{MAPPING_GAIN:g}", make)
        return {"start": start, "hr_filters": hr_atoms, "ridge": ridge, **row}

    groups = [("ridge", options.atoms, RIDGES)]
    groups += [(start, hr_atoms, ridges) for start, many, ridges in starts for hr_atoms in many]
    rows, shown = [], []
    for index, (start, hr_atoms, ridges) in enumerate(groups):
        tried = []
        for ridge in ridges:
            report(f"{start}, {hr_atoms} HR filters, ridge weight {ridge:g}", index, len(groups))
            tried.append(named(start, hr_atoms, ridge, 0 if start == "ridge" else MAPPING_ROUNDS))
        best = max(tried, key=lambda row: row["psnr_db"])
        if best.get("last_gain", 0) >= MAPPING_GAIN:
            best = named(start, hr_atoms, best["ridge"], MAPPING_LONG_ROUNDS)
            tried.append(best)
        rows += tried
        shown.append(best)
    table = out / "mapping.csv"
    figures = [
        {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]
    write_curves(table, MAPPING_COLUMNS, figures)
    text = out / "mapping.md"
    text.write_text(_mapping_markdown(shown), encoding="utf-8")
    return [table, text, *shipped(out)]


SHIPPED_COLUMNS = (
    "weights",
    "scale",
    "filters",
    "hr_filters",
    "identity_moved",
    "pairs_moved",
    "kernels_differ",
    "ridge_psnr_db",
    "psnr_db",
)


def shipped(out: str | Path) -> list[Path]:
    """How far the shipped mappings are from the start of their fit, and what that is worth.

    identity_moved: max|wⱼ − eⱼ| over j ≤ N. pairs_moved: the same for the other rows and the
    halves of two codes that they start at. kernels_differ: ‖Wᵀh − G‖/‖G‖, G being the ridge
    kernels. PSNR on the held-out images, as the training measured it.
    """
    from cscsr import weights

    rows = []
    for name in weights.manifest():
        tensors, metadata = weights.load(name)
        for scale, about in metadata["scales"].items() if name.startswith("csc-sr") else ():
            ridge, mapping_, filters = (
                tensors[f"{what}_x{scale}"].astype(float)
                for what in ("kernels", "mapping", "hr_filters")
            )
            atoms = len(ridge)
            pairs = mapping_[atoms:]
            halves = np.zeros_like(pairs)
            np.put_along_axis(halves, np.argsort(pairs)[:, -2:], 0.5, axis=1)
            made = np.einsum("ji,jkl->ikl", mapping_, filters)
            before, *after = about["holdout_rounds_psnr_db"]
            rows.append(
                {
                    "weights": name,
                    "scale": scale,
                    "filters": atoms,
                    "hr_filters": len(filters),
                    "identity_moved": f"{np.abs(mapping_[:atoms] - np.eye(atoms)).max():.4f}",
                    "pairs_moved": f"{np.abs(pairs - halves).max():.4f}",
                    "kernels_differ": f"{np.linalg.norm(made - ridge) / np.linalg.norm(ridge):.3f}",
                    "ridge_psnr_db": before,
                    "psnr_db": max(after),
                }
            )
    table, text = Path(out) / "shipped.csv", Path(out) / "shipped.md"
    write_curves(table, SHIPPED_COLUMNS, rows)
    lines = [
        "| weights | N | M | max\\|wⱼ − eⱼ\\|, j ≤ N | other rows | kernels against ridge "
        "| PSNR − ridge, dB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        difference = f"{row['psnr_db'] - row['ridge_psnr_db']:+.4f}".replace("-", "−")
        lines.append(
            f"| {row['weights']} ×{row['scale']} | {row['filters']} | {row['hr_filters']} "
            f"| {row['identity_moved']} | {row['pairs_moved']} "
            f"| {100 * float(row['kernels_differ']):.0f} % | {difference} |"
        )
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [table, text]


def _mapping_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The ridge form's row and one for each start and number of HR filters."""
    lines = [
        "| ×2, start of the mapping | HR filters | ridge weight | rounds | at the start, dB "
        "| PSNR, dB | − ridge | weight moved |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [row["start"], row["hr_filters"], f"{row['ridge']:g}"]
        if row["start"] == "ridge":
            cells += ["", "", f"{row['psnr_db']:.3f}", "", ""]
        else:
            difference = f"{row['psnr_db'] - rows[0]['psnr_db']:+.3f}".replace("-", "−")
            cells += [row["rounds"], f"{row['start_psnr_db']:.3f}", f"{row['psnr_db']:.3f}"]
            cells += [difference, f"{100 * row['mean_moved']:.0f} %"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def draw_sparsity(table: Path, picture: Path) -> None:
    """PSNR against the share of codes that are not zero, as λ moves, a curve a coder."""
    from matplotlib.figure import Figure

    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for coder, marker in (("admm", "o"), ("ista", "s"), ("fista", "^")):
        first = next(row for row in rows if row["coder"] == coder)
        same = ("iterations", "atoms", "lr_pixels")
        moved = [
            row
            for row in rows
            if row["coder"] == coder
            and all(row[key] == first[key] for key in same)
            and (row is first or ("λ" in row["choice"] and "ρ" not in row["choice"]))
        ]
        moved.sort(key=lambda row: float(row["lam_255"]))
        x = [100 * float(row["density"]) for row in moved]
        y = [float(row["psnr_db"]) for row in moved]
        axes.plot(x, y, marker=marker, label=f"{coder.upper()}, {first['iterations']} iterations")
        for row, left, up in zip(moved, x, y, strict=True):
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
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(picture, dpi=150)


def pictures(out: str | Path, report: Report = lambda *_: None) -> list[Path]:
    """Montages of the shipped LR and HR filters, and an image's smooth part and residual."""
    out = make_folder(out)
    made = []
    for index, (name, draw) in enumerate(
        (("filters.png", _draw_filters), ("hr-filters.png", _draw_hr), ("parts.png", _draw_parts))
    ):
        report(name, index, 3)
        draw(out / name)
        made.append(out / name)
    return made


def montage(filters: np.ndarray, columns: int) -> np.ndarray:
    """Filters (N,k,k), each stretched to [−1,1] by its largest element, in rows of `columns`
    with a line of NaN between them."""
    largest = np.abs(filters).max((1, 2), keepdims=True)
    scaled = filters / np.where(largest > 0, largest, 1)
    count, side, _ = scaled.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (side + 1) + 1, columns * (side + 1) + 1), np.nan)
    for index, one in enumerate(scaled):
        top, left = (n * (side + 1) + 1 for n in divmod(index, columns))
        sheet[top : top + side, left : left + side] = one
    return sheet


def _shipped() -> Any:
    from cscsr.csc_sr.solver import read_weights, weights_name

    return read_weights(weights_name("admm"))


def _show(axes: Any, sheet: np.ndarray, title: str) -> None:
    import matplotlib

    colours = matplotlib.colormaps["gray"].with_extremes(bad="#4477aa")
    axes.imshow(sheet, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def _draw_filters(picture: Path) -> None:
    from matplotlib.figure import Figure

    kept = _shipped()
    order = np.argsort([_roughness(f) for f in kept.filters])
    figure = Figure(figsize=(8, 6.2), layout="constrained")
    _show(
        figure.subplots(),
        montage(kept.filters[order], 24),
        f"The {len(order)} low-resolution filters, 5×5, smooth to rough",
    )
    figure.savefig(picture, dpi=150)


def _roughness(filter_: np.ndarray) -> float:
    """Share of a filter's energy in its differences."""
    energy = sum(float((np.diff(filter_, axis=axis) ** 2).sum()) for axis in (0, 1))
    return energy / float((filter_**2).sum())


def _draw_hr(picture: Path) -> None:
    from matplotlib.figure import Figure

    kept = _shipped()
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for axes, scale in zip(figure.subplots(1, len(kept.scales)), kept.scales, strict=True):
        filters = kept.mappings[scale].filters.numpy()
        strongest = np.argsort(-(filters**2).sum((1, 2)))[:144]
        side = filters.shape[-1]
        _show(axes, montage(filters[strongest], 12), f"×{scale}: {side}×{side}")
    figure.suptitle(f"The 144 strongest of {len(filters)} high-resolution filters", fontsize=12)
    figure.savefig(picture, dpi=150)


def _draw_parts(picture: Path) -> None:
    from matplotlib.figure import Figure

    from cscsr.csc_sr.decompose import MARGIN, continued, split
    from cscsr.csc_sr.solver import CSCSR, divide
    from cscsr.data.datasets import demo
    from cscsr.imaging import degrade, rgb_to_y
    from cscsr.problem import SuperResolution

    truth = rgb_to_y(dict(demo())["chelsea"])[40:200, 120:330]
    small = degrade(truth, SCALE, "y")
    parts = split(continued(small.astype(np.float64)))
    inside = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    estimate = CSCSR().solve(SuperResolution(small, SCALE)).estimate
    smooth, _ = divide(small, SCALE, "float32")
    sheets = [
        (small, "low-resolution luma", False),
        (parts.smooth[inside], "its smooth part", False),
        (parts.residual[inside], "its residual (grey is 0, ±0.1)", True),
        (estimate, f"CSC-SR, ×{SCALE}", False),
        (smooth, "smooth part, bicubic", False),
        (estimate - smooth, "what the codes add (grey is 0, ±0.1)", True),
    ]
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (image, title, signed) in zip(figure.subplots(2, 3).flat, sheets, strict=True):
        low, high = (-0.1, 0.1) if signed else (0, 1)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    figure.savefig(picture, dpi=150)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.csc_sr", description=__doc__)
    parser.add_argument("what", choices=("choices", "mapping", "pictures"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder (CSCSR_DATA)")
    parser.add_argument("--out", type=Path, default=Path("reports/latest/csc-sr"), metavar="DIR")
    given = parser.parse_args(arguments)
    if given.what == "pictures":
        return run_command(pictures, {"out": given.out})
    from cscsr.data.datasets import FOLDER_VARIABLE, data_folder

    try:
        data = data_folder(given.data)
        if data is None:
            raise InputError(
                f"{given.what} needs training images: name their folder with --data or "
                f"{FOLDER_VARIABLE}."
            )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    study = {"choices": choices, "mapping": mapping}[given.what]
    return run_command(study, {"data": data, "out": given.out})


if __name__ == "__main__":
    sys.exit(main())
