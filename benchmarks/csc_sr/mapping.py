"""What mapping and HR filters of CSC-SR are worth beside ridge regression: a fit of both to the
same sums from each start, and how far the shipped mappings are from where their fit began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import write_curves
from benchmarks.csc_sr.choices import BASE, SCALE
from cscsr.output import make_folder, write_text

if TYPE_CHECKING:
    import torch

    from cscsr.csc_sr.hr_filters import Mapping

STARTS = (
    ("identity and pairs", (96, 144), (0.1, 0.3, 1.0)),
    ("clusters", (24, 48), (0.001, 0.003, 0.01, 0.03)),
    ("random, concentration 1", (48, 96, 144), (0.001, 0.003, 0.01, 0.03)),
    ("random, concentration 0.03", (48, 96, 144), (0.01, 0.03, 0.1, 0.3)),
)
"""Starts of the mapping (see `mapping_start`), the numbers M of HR filters of each, and its ridge
weights: the more codes a row mixes, the smaller."""

ROUNDS = 100
"""At most so many rounds of a fit; with the ridge weight that turns out best, at most:"""

LONG_ROUNDS = 400

LEAST = 10
"""At least so many."""

GAIN = 1e-5
"""From then on a fit ends when a round lowers the objective by less than this share."""

FIRST_STEPS = 300
"""Conjugate-gradient steps on the HR filters before the first round."""


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
    report: Report = silent,
    *,
    sizes: dict[str, Any] = BASE,
    starts: Sequence[tuple[str, Sequence[int], Sequence[float]]] = STARTS,
    seed: int = 0,
) -> list[Path]:
    """Fit mapping and HR filters from several starts, numbers of HR filters and ridge weights at
    ×2, and write their table beside the ridge form's, and that of the shipped weights.

    sizes: of the training, changes to the usual `Options`. starts: as `STARTS`. Raises
    InputError for a folder without the data.
    """
    from benchmarks.csc_sr.sporco_filters import sporco_filters, write_filters
    from cscsr.csc_sr.hr_filters import Fit, start_from
    from cscsr.csc_sr.map_training import RIDGES
    from cscsr.csc_sr.options import CODINGS, Options
    from cscsr.csc_sr.train import fit_parts

    out = make_folder(out)
    options = replace(Options(), **sizes, codings={"admm": CODINGS["admm"]})
    report("sums over the training images", 0, 1)
    filters = write_filters(
        out / "runs" / "mapping.safetensors", sporco_filters(data, options, seed)
    )
    equations, heldout, results = fit_parts(
        data,
        out / "runs" / "mapping",
        "admm",
        SCALE,
        options,
        filters=filters,
        seed=seed,
        progress=False,
    )

    def ridge_row(ridge: float) -> dict[str, Any]:
        kernels = equations.solve(ridge)
        psnr_db = heldout.psnr(kernels)
        fit = Fit(equations, start_from(kernels.float(), len(kernels)), ridge)
        return {"rounds": "", "psnr_db": psnr_db, "start_psnr_db": "", "objective": fit.objective()}

    def fitted_row(start: str, hr_atoms: int, ridge: float, rounds: int) -> dict[str, Any]:
        generator = np.random.default_rng([seed, hr_atoms])
        begin = mapping_start(start, hr_atoms, equations.solve(ridge), generator)
        fit = Fit(equations, begin, ridge)
        fit.improve_filters(FIRST_STEPS)
        first_db, objectives = heldout.psnr(fit.result.kernels()), [fit.objective()]
        while len(objectives) <= rounds:
            objectives.append(fit.round())
            gain = (objectives[-2] - objectives[-1]) / abs(objectives[-1])
            if gain < GAIN and len(objectives) > LEAST:
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
        row = results.made(f"{start}-{hr_atoms}-{ridge:g}-{rounds}-{GAIN:g}", make)
        return {"start": start, "hr_filters": hr_atoms, "ridge": ridge, **row}

    groups = [("ridge", options.atoms, RIDGES)]
    groups += [(start, hr_atoms, ridges) for start, many, ridges in starts for hr_atoms in many]
    rows, best_rows = [], []
    for index, (start, hr_atoms, ridges) in enumerate(groups):
        tried = []
        for ridge in ridges:
            report(f"{start}, {hr_atoms} HR filters, ridge weight {ridge:g}", index, len(groups))
            tried.append(named(start, hr_atoms, ridge, 0 if start == "ridge" else ROUNDS))
        best = max(tried, key=lambda row: row["psnr_db"])
        if best.get("last_gain", 0) >= GAIN:
            best = named(start, hr_atoms, best["ridge"], LONG_ROUNDS)
            tried.append(best)
        rows += tried
        best_rows.append(best)
    table = out / "mapping.csv"
    figures = [
        {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]
    write_curves(table, figures)
    text = out / "mapping.md"
    write_text(text, _markdown(best_rows))
    return [table, text, *shipped(out)]


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
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
                tensors[f"{part}_x{scale}"].astype(float)
                for part in ("kernels", "mapping", "hr_filters")
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
    write_curves(table, rows)
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
    write_text(text, "\n".join(lines) + "\n")
    return [table, text]
