"""No figure of README, docs and paper is typed: each phrase with one is made here from a file.

`phrases` computes, from the committed files of reports/reference and the shipped weights, the
words in which a page states its figures. One test looks for these words in the page; another takes
them out, with code and with the tables that a command writes (other tests compare those), and
finds no other number with a unit. What is no measurement is listed in `NOT_MEASURED`, with the
reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, progress
from benchmarks._study.curves import read_curves
from benchmarks._study.short_runs import alike
from benchmarks.benchopt_csc import __main__ as benchopt_csc
from benchmarks.drawing import race as race_table
from benchmarks.drawing.learn_dictionary import curves, duels
from cscsr import make_solver, weights
from cscsr.compare.published import read_published
from cscsr.networks import blueprint
from cscsr.sparse.active_set import EARLY_SHARE
from cscsr.sparse.auto import SHARES
from cscsr.training.recipe import load_recipe

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "paper/paper.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)

NOT_MEASURED = {
    "docs/protocol.md": {
        "A difference of 0.1 dB is a result in this field": "says how small a figure counts",
        "33.66/0.9299, 30.39/0.8682 and 28.42/0.8104": "published",
        "a 95 % interval": "the level of the intervals",
    },
    "docs/patch-methods.md": {
        "(0.7 MB and 17 MB)": "sizes of files: tensors of 512 and 1024 rows",
        "with 99.9 % of the energy": "a setting",
        "each 0.98 times the one before": "a setting",
    },
    "docs/dictionary-learning.md": {
        "lies 0.1 % above the objective": "a setting",
        "After 32 seconds": "a setting",
        "at most 1 GiB of them": "a setting",
    },
    "docs/quick-start.md": {"takes under 5 s for a 256×256 photograph": "a limit"},
    "docs/decisions.md": {
        "the best of those under 5 s on two cores": "a limit",
        "would not stay under five seconds per image": "the same limit",
        "the true mean in 95 % of all cases": "the level of the intervals",
        "so ±1 %": "the standard error of a share of 2000 samples, twice",
        "may take 20 s of processor time": "a limit",
        "exceeds 1.25 times its processor time": "a setting",
    },
    "docs/weights.md": {"at 1.4 times the size": "rounded from the training log's 1.39"},
    "docs/solvers.md": {
        "λ from 0.005 to 0.1": "a setting",
        "ten times that of": "a setting",
        "is at most 1 % of the objective": "a setting",
        "instead of five minutes": "a setting of sporco",
        "it costs 156 times ISTA": "M²(2s−1)²/(2Ms²) at M = 96, s = 5",
        "156 times that at M = 96, s = 5": "the same",
    },
    "docs/training-log.md": {
        "fall over the last 40 % of a stretch": "a setting",
        "The goal on Set5 is 37.75 / 34.20 / 32.00 dB": "a goal",
        "has its goal on Set5, 37.50 / 33.65 / 31.25 dB": "a goal",
        "paused once for twelve minutes": "how the run was made",
        "stopped by hand at 44 %": "how the run ended, `done` in its curve",
        "after 55 minutes stopped": "how the run was made",
        "were also scored on Set5, four times": "a count",
        "took six minutes on one core": "a setting",
        "in four minutes of a shared core": "printed by the command beside it",
        "which shows 99 % of Set5's woman at 1.39 times the size (90 corners agree, correlation "
        "0.995)": "printed by the command beside it",
        "CRNet-A-small reached 80 % in bfloat16 until": "of the code before, whose file is gone",
        "always falls short of 85 %": "the goal",
        "bfloat16 80 to 82 % in three runs, the others 81 to 93 % in inference and 80 to "
        "93 % in training": "printed by the command beside it; no file is kept",
        "has 23 MB": "the size of a file",
        "gain 0.2 dB over bicubic": "a trial by hand",
        "0.03 dB above bicubic after 300 steps": "a trial by hand",
        "jump between 4 and 30 dB": "a trial by hand",
        "of 0.47 here": "a standard deviation, from a formula",
        "a standard deviation of 0.001": "a setting",
        "0.050 after 240 steps of 8 patches, against 0.023": "a trial by hand",
    },
    "docs/csc-sr.md": {
        "| middle 32×32 of T91 | 86 | 352,256 | 31.85 |": "printed by the command beside it",
        "| middle 32×32 of all that CRNet-B is trained on | 541 | 2,215,936 | 31.97 |": "the same",
        "other images add 0.01 dB": "the difference of two of these rows",
    },
}

NUMBER = r"[−+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?"
WORD = "two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty"
UNIT = r"%|dB\b|times\b|fold\b|[MG]i?B\b|m?s\b|seconds?\b|min(?:utes?)?\b|hours?\b|days?\b"
MORE = r"(?:faster|sooner|slower|smaller|larger|more|less)\b"
FIGURE = re.compile(
    rf"(?<![\w.−(])(?:{NUMBER}|{WORD})(?: (?:to|and|or) (?:{NUMBER}|{WORD}))*"
    rf"(?: (?:{UNIT})|%|× {MORE})"
    r"|(?<![\w.,])\d\d\.\d\d\b|(?<![\w.,])0\.\d{3,}\b"
)
"""A number, or a range of them, with its unit; or one in the form of a PSNR or an SSIM."""


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "reports" / "reference" / name)


def signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else f"{0:.{digits}f}"


def training(name: str) -> pd.Series:
    """The last row of a run's curve."""
    return read(f"training/{name}.csv").iloc[-1]


def psnr_of(row: pd.Series) -> list[float]:
    return [row[f"holdout_psnr_db_x{scale}"] for scale in (2, 3, 4)]


def mean_gain(name: str, other: str) -> float:
    gains = [a - b for a, b in zip(psnr_of(training(name)), psnr_of(training(other)), strict=True)]
    return sum(gains) / len(gains)


def hours_of_training(name: str) -> int:
    """Of the shipped network: the run from scratch, and those from its weights."""
    names = {
        "crnet-a": ["crnet-a-128-vdsr", "crnet-a-128-vdsr-second"],
        "crnet-b": progress.STRETCHES,
        "crnet-b-tied": [f"crnet-b-tied{run}" for run in ("-first", "-second", "")],
    }.get(name, [f"{name}-fourth", name])
    return round(sum(training(run)["seconds"] for run in names) / 3600)


def readme() -> Iterator[str]:
    fastest, searched = (
        speedups(theirs).max(axis=1) for theirs in ("sporco-admm", "sporco-admm, best ρ")
    )
    yield (
        f"the fastest solver here is {fastest.min():.1f} to {fastest.max():.1f} times faster than "
        "sporco's ADMM with its defaults, and "
        f"{searched.min():.1f} to {searched.max():.1f} times with the best ρ of a search, "
        "at reaching a relative gap of 1e-3"
    )
    names = ("crnet-a-small", "crnet-a", "crnet-b-small", "crnet-b-tied", "crnet-b")
    assert [hours_of_training(name) for name in names] == [2, 4, 2, 5, 10]
    yield "were trained with Muon for two to ten hours on one CPU core, not for days on a GPU"
    yield processor_phrases()[-1]


def speedups(theirs: str = "sporco-admm") -> pd.DataFrame:
    """How many times faster than sporco's ADMM, with its defaults or its best ρ, each of our
    solvers is at reaching a gap of 1e-3, by size and λ: ratios of medians."""
    race = read("speed/speed_solvers.csv").query("measurement == 'race'")
    seconds = race.groupby(["size", "lam", "solver"])["seconds_to_0.001"].median().unstack()
    ours = seconds[["admm", "active-set", "fista"]]
    return ours.rdiv(seconds[theirs], axis=0)


def solvers() -> Iterator[str]:
    ratio = speedups()
    small, dense = ratio.loc[256, 0.05], ratio.loc[256, 0.01]
    large = ratio.loc[512]
    assert (small.idxmax(), dense.idxmax()) == ("active-set", "admm")
    assert set(large.idxmax(axis=1)) == {"admm"}
    best = speedups("sporco-admm, best ρ").loc[512, "admm"]
    assert list(speedups("sporco-admm, best ρ").loc[256].max(axis=1)) == [
        pytest.approx(dense.max()),
        pytest.approx(small.max()),
    ]
    both, other = (f"{value[0.05]:.1f} and {value[0.01]:.1f}" for value in (large["admm"], best))
    yield from grid()
    yield (
        f"at 256×256 `active-set` is the fastest at λ = 0.05, {small.max():.1f} times faster than "
        f"sporco's ADMM with its defaults or its best ρ, and `admm` at λ = 0.01, {dense.max():.1f} "
        f"times; at 512×512 `admm` is {both} times faster, {other} with sporco's best ρ, in less "
        "than a third"
    )
    table = read("speed/speed_solvers.csv").query("measurement == 'memory' and size == 512")
    memory = table.set_index("solver")["peak_mb"]
    assert 1 / 4 < memory["admm"] / memory["sporco-admm"] < 1 / 3
    yield from by_benchopt()


def by_benchopt() -> Iterator[str]:
    table = ROOT / "reports" / "reference" / "benchopt.csv.gz"
    leads = benchopt_csc.leads(table, 1e-3)
    assert len(leads) == 6
    yield (
        f"reaches a gap of 1e-3 {min(leads):.1f} to {max(leads):.1f} times faster than the faster "
        "of sporco's two ADMM runs"
    )
    rows = benchopt_csc.times(table)
    for harness in ("benchopt", "race"):
        first: dict[tuple[str, float], pd.Series] = {}
        for row in rows:
            at, problem = row[harness, 1e-3], (row["dataset"], row["reg"])
            if at is not None and (problem not in first or at.seconds < first[problem].seconds):
                first[problem] = at
        for (dataset, _), at in first.items():
            expected = "active-set" if dataset.startswith("camera") else "admm"
            assert at.solver == expected
    both = [(row["benchopt", 1e-3], row["race", 1e-3]) for row in rows]
    ratios = [
        ours.seconds / own.seconds for ours, own in both if ours is not None and own is not None
    ]
    yield (
        f"benchopt's seconds to this gap are {min(ratios):.2f} to {max(ratios):.2f} times those of "
        "`race`"
    )
    unsettled = [row for row in rows if row["benchopt", 1e-2] is None]
    adapted = [row["dataset"] for row in unsettled if row["solver"].endswith("[auto_rho=True]")]
    assert [dataset.partition("[")[0] for dataset in adapted] == ["simulated"]


def grid() -> Iterator[str]:
    """What docs/solvers.md says of the race over a grid."""
    cases = race_cases("race_grid.csv")
    two = {case: own for case, own in cases.items() if case.threads == 2}
    cases = {case: own for case, own in cases.items() if case.threads == 1}
    assert {(case.size, case.boundary) for case in cases} == {(256, "circular"), (512, "circular")}
    words = {}
    for gap in ("0.01", "0.001", "1e-05"):
        leads = [lead for own in cases.values() if (lead := race_table.lead(own, gap))]
        values = sorted(ratio for ratio, _ in leads)
        words[gap] = f"{values[0]:.1f} to {values[-1]:.1f}"
        if gap == "0.001":
            assert len(leads) == len(cases)
            reached = sum(ratio >= 10 for ratio in values)
            yield f"ten times to 1e-3, which {reached} of the {len(cases)} points reach"
            narrowest = [race_table.lead(own, gap) for own in cases.values()]
            large = [case.dictionary.startswith("G:12") for case in cases]
            assert large[int(np.argmin([ratio for ratio, _ in narrowest]))]
        for own in cases.values():
            names = [name for name, at in own if at == gap]
            first = race_table.fastest(own, gap, names)
            assert first is not None if names else gap == "1e-05"
            assert first is None or first["solver"] in race_table.OURS
    discarded = read("solver_screening.csv")
    at = discarded[discarded.duality_gap == 1e-3].discarded
    assert at.max() < 0.05
    assert discarded[discarded.duality_gap == 1e-5].discarded.min() > 0.5
    yield f"({100 / 64:.1f} % is one atom of 64, whose norm is a tenth of the others')"
    threads = [race_table.lead(own, "0.001")[0] for own in two.values()]
    yield (
        f"On two threads, the lead to 1e-3 is {min(threads):.1f} to {max(threads):.1f} times at "
        f"the {len(two)} points measured"
    )
    wide, middle, narrow = words.values()
    yield (
        "our fastest solver is faster than sporco's fastest at every point measured: "
        f"{wide} times to a gap of 1e-2, {middle} times to 1e-3 and {narrow} times to 1e-5"
    )
    losses = []
    for own in cases.values():
        for (name, gap), row in own.items():
            if name == "auto":
                others = [other for other, _ in own if other != "auto"]
                first = race_table.fastest(own, gap, others)
                losses.append(float(row["seconds"]) / float(first["seconds"]))
    (coarse,) = (case for case, own in cases.items() if ("auto", "1e-05") not in own)
    assert len(losses) == 3 * len(cases) - 1 and coarse.dictionary.startswith("RGB")
    yield (
        f"Three channels at {coarse.share:g} λ_max and {coarse.size}×{coarse.size} were measured to"
        " 1e-2 and 1e-3 only"
    )
    yield f"`auto` takes at most {max(losses):.2f} times as long as the fastest other solver"
    yield f"at most {100 * EARLY_SHARE:.1f} % of the codes are active by then"
    coarse, usual, fine, finest = (SHARES[10.0**-k] for k in (2, 3, 4, 5))
    yield (
        f"it is at most {coarse} for an accuracy of 1e-2, {usual} for 1e-3, {fine} for 1e-4 and "
        f"{finest} for 1e-5"
    )
    zero = [
        float(own["active-set", gap]["seconds"]) / float(own["fista", gap]["seconds"])
        for case, own in race_cases("auto/race_grid.csv").items()
        if case.boundary == "zero"
        for gap in ("0.01", "0.001")
    ]
    yield f"`active-set` takes at most {max(zero):.2f} times as long as FISTA there"
    (own,) = race_cases("zero/race_grid.csv").values()
    one, two, three = (
        float(own["dicodile", gap]["seconds"]) / float(own["active-set", gap]["seconds"])
        for gap in ("0.01", "0.001", "1e-05")
    )
    yield f"{one:.1f}, {two:.1f} and {three:.1f} times faster than dicodile in one process"


def race_cases(name: str) -> race_table.Results:
    return race_table.results(read_curves(ROOT / "reports" / "reference" / name))


def by_processor() -> pd.DataFrame:
    """Seconds and units of sporco's ADMM, by (limits, system, precision), on the Zen 5 EPYC."""
    table = read("speed/processors.csv").fillna({"limits": ""})
    table = table[table.processor.str.startswith("AMD EPYC (family 26 model 2; ")]
    return table.set_index(["limits", "system", "precision"])[["seconds", "of_sporco_admm"]]


AVX2 = (
    "ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2, MKL_ENABLE_INSTRUCTIONS=AVX2, "
    "OPENBLAS_CORETYPE=Haswell"
)
WITHOUT_BF16 = "ONEDNN_MAX_CPU_ISA=AVX512_CORE"
NETWORKS = ("crnet-a-small", "crnet-b-small")


def processor_phrases() -> tuple[str, ...]:
    """What docs/reproduce.md says of the instruction sets; the last phrase is README's."""
    seconds, unit = (by_processor()[name] for name in ("seconds", "of_sporco_admm"))

    def slower(system: str) -> str:
        return f"{seconds[AVX2, system, 'fp32'] / seconds['', system, 'fp32']:.1f}"

    def bf16(limits: str) -> list[float]:
        return [seconds[limits, n, "bf16"] / seconds[limits, n, "fp32"] for n in NETWORKS]

    a, b = map(slower, NETWORKS)
    gain, core, avx2 = (bf16(limits) for limits in ("", WITHOUT_BF16, AVX2))
    lead = [1 / unit[limits, "active-set", "fp32"] for limits in ("", AVX2)]
    assert unit["", "active-set", "fp32"] < unit["", "admm", "fp32"]
    return (
        f"`crnet-a-small` takes {a} times, `crnet-b-small` {b} times, `csc-sr[ista]` "
        f"{slower('csc-sr[ista]')} times, `admm` {slower('admm')} times and `active-set` "
        f"{slower('active-set')} times as long",
        f"The lead of `active-set` over sporco's ADMM falls from {lead[0]:.1f} to {lead[1]:.1f} "
        "times",
        f"the networks are {1 / gain[0]:.1f} and {1 / gain[1]:.1f} times faster in bfloat16",
        f"they take {core[0]:.1f} and {core[1]:.1f} times as long in bfloat16 as in float32",
        f"limited to AVX2, {avx2[0]:.1f} and {avx2[1]:.1f} times",
        f"limited to AVX2 by environment variables, an AMD EPYC (Zen 5) takes {a} and {b} times as "
        "long for `crnet-a-small` and `crnet-b-small`",
    )


def reproduce() -> Iterator[str]:
    figure5 = read("fig5.csv").groupby(["network", "recursions"])["seconds"].max().sum()
    yield f"{figure5:.0f} s of training steps"
    curves = read("convergence.csv").groupby(["solver", "rho"], dropna=False)
    yield f"{curves['seconds'].max().sum():.0f} s of solving"
    yield f"{read('levers.csv')['seconds'].sum() / 60:.0f} min of training"
    yield from processor_phrases()[:-1]


def csc_sr() -> Iterator[str]:
    choices = read("csc-sr/choices.csv")
    (bicubic,) = {f"{value:.2f}" for value in choices["bicubic_psnr_db"]}
    yield f"| bicubic | | | | {bicubic} |"
    for row in choices.itertuples():
        share = f"{100 * row.density:.1f} %"
        yield (f"| {row.choice} | {row.atoms} | {row.lr_pixels:,} | {share} | {row.psnr_db:.2f} |")
    reached = {}
    for name in ("csc-sr-admm", "csc-sr-paper-admm", "csc-sr-ista", "csc-sr-fista"):
        _, metadata = weights.load(name)
        for scale, row in metadata["scales"].items():
            reached[name, scale] = max(row["holdout_rounds_psnr_db"])
    yield from learners()
    yield from mapping()
    yield from ensemble()
    yield (
        f"reach {reached['csc-sr-paper-admm', '2']:.2f} dB on the held-out images at ×2, where 384 "
        f"fitted to the same pixels reach {reached['csc-sr-admm', '2']:.2f}"
    )
    yield f"| whole images of T91 (shipped) | 86 | 3,238,424 | {reached['csc-sr-admm', '2']:.2f} |"
    for name, images in (("t91", "T91 | 86"), ("fourth", "all that CRNet-B is trained on | 541")):
        figures = " | ".join(f"{v:.2f}" for v in psnr_of(training(f"crnet-b-small-{name}")))
        yield f"| {images} | {figures} |"
    gain = mean_gain("crnet-b-small-fourth", "crnet-b-small-t91")
    yield f"the other 455 images bring the network {gain:.2f} dB, one seed each"


def learners() -> Iterator[str]:
    """What docs/csc-sr.md says of the learners of CSC-SR's filters."""
    table = (ROOT / "reports" / "reference" / "csc-sr" / "learners.md").read_text("utf-8")
    yield from table.splitlines()
    rows = read("csc-sr/learners.csv")
    seconds = rows.groupby(["learner", "steps"])["learning_seconds"].mean()
    faster = seconds["sporco, online", 60] / seconds["learn_dictionary", 15]
    psnr_db = rows.pivot_table("psnr_db", ["coder", "seed"], ["learner", "steps"])
    as_many, more = (
        psnr_db["learn_dictionary", steps] - psnr_db["sporco, online", 60] for steps in (15, 60)
    )
    seeds = (psnr_db.xs(0, level="seed") - psnr_db.xs(1, level="seed")).abs()
    yield (
        f"ours takes {faster:.1f} times less time, and the PSNR is {as_many.min():.2f} to "
        f"{as_many.max():.2f} dB higher. With 60 steps it is {more.min():.2f} to "
        f"{more.max():.2f} dB higher than with sporco's filters; two seeds of one learner differ "
        f"by {seeds.min().min():.2f} to {seeds.max().max():.2f} dB"
    )


def mapping() -> Iterator[str]:
    """What docs/csc-sr.md says of the fits of the mapping and of the shipped ones."""
    for name in ("mapping", "shipped"):
        table = (ROOT / "reports" / "reference" / "csc-sr" / f"{name}.md").read_text("utf-8")
        yield from filter(None, table.splitlines())
    fits = read("csc-sr/mapping.csv")
    ridge = fits[fits.start == "ridge"].psnr_db.max()
    fits = fits[fits.start != "ridge"]
    enough = fits[fits.hr_filters >= 96].psnr_db.max() - ridge
    assert 0 < enough <= 0.005
    yield "no start beats ridge regression by more than 0.005 dB"
    half, quarter = (
        fits.loc[fits[fits.hr_filters == number].psnr_db.idxmax()] for number in (48, 24)
    )
    yield (
        f"reaches {ridge - half.psnr_db:.2f} dB less than ridge regression, "
        f"{half.psnr_db - half.start_psnr_db:.2f} dB more than with the mapping it started from, "
        f"M = N/4 {ridge - quarter.psnr_db:.2f} dB less and "
        f"{quarter.psnr_db - quarter.start_psnr_db:.2f} dB more"
    )
    shipped = read("csc-sr/shipped.csv")
    differ = 100 * shipped.kernels_differ
    assert (shipped.psnr_db - shipped.ridge_psnr_db).abs().max() <= 0.005
    yield (
        f"wⱼ is within {shipped.identity_moved.max():.3f} of eⱼ for j ≤ N, and the other rows are "
        f"within {shipped.pairs_moved.max():.1f} of the halves they start at. The combined kernels "
        f"differ from the ridge kernels by {differ.min():.0f} to {differ.max():.0f} % of their "
        "norm, and the PSNR on the held-out images differs by at most 0.005 dB"
    )


def ensemble() -> Iterator[str]:
    """What docs/csc-sr.md says of the self-ensemble and back-projection."""
    table = (ROOT / "reports" / "reference" / "csc-sr" / "ensemble.md").read_text("utf-8")
    yield from table.splitlines()
    keys = ["set", "scale", "orientations", "back_projections"]
    means = read("csc-sr/ensemble.csv").groupby(keys)[["psnr_db", "ssim"]].mean()
    means = means.unstack(["orientations", "back_projections"])
    gain = means.psnr_db[8, 0] - means.psnr_db[1, 0]
    held_out, test = gain["held out"], gain["Set5"]
    yield (
        f"the self-ensemble adds {held_out.min():.2f} to {held_out.max():.2f} dB, on Set5 "
        f"{test.min():.2f} to {test.max():.2f} dB"
    )
    projected = means.psnr_db[8, 2] - means.psnr_db[8, 0]
    assert projected.min() > 0 and projected.max() < 0.02
    assert (means.psnr_db[8, 5] - means.psnr_db[8, 2]).abs().max() < 0.001
    yield "back-projection adds at most 0.02 dB to that, and two steps do as well as five"
    published = read_published().query("method == 'CSC-SR' and dataset == 'Set5'")
    published = published.set_index("scale").sort_index()
    psnr_db = means.psnr_db[8, 2]["Set5"].round(2) - published.psnr_db
    ssim = published.ssim - means.ssim[8, 2]["Set5"].round(4)
    yield (
        f"to {psnr_db[2]:.2f}, {psnr_db[3]:.2f} and {psnr_db[4]:.2f} dB above the published one at "
        f"×2, ×3 and ×4, and leave the SSIM {ssim[2]:.4f}, {ssim[3]:.4f} and {ssim[4]:.4f} below"
    )


def paper() -> Iterator[str]:
    table = read("table1.csv")
    by_method = table.set_index(["method", "dataset", "scale"]).sort_index()
    set5 = by_method.xs("Set5", level="dataset")["published_psnr_db"]
    gain = set5["CRNet-A (published)"] - set5["CSC-SR (published)"]
    yield f"Set5 is {gain.min():.2f} to {gain.max():.2f} dB above that of CSC-SR"
    protocol = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    (worth,) = re.findall(r"luma from 0 to 255 .*? -(\d\.\d\d) ", protocol)
    yield f"The range of luma alone changes it by {worth} dB in an example"
    difference = by_method["psnr_db"] - by_method["published_psnr_db"]
    assert difference["bicubic"].abs().max() < 0.01
    yield "B100 [@martin2001bsd] within 0.01 dB, and a command"
    classical = difference["csc-sr[admm]"]
    assert classical.max() < 0.005
    yield f"comes out up to {-classical.min():.2f} dB below its published PSNR"
    measured = table.set_index(["dataset", "scale", "method"])["psnr_db"]["Set5"].unstack()
    published = table.set_index(["dataset", "scale", "method"])["published_psnr_db"]["Set5"]
    published = published.unstack()
    wide = read("wide/table1.csv").set_index(["dataset", "scale", "method"])["psnr_db"]["Set5"]
    both = pd.concat([measured, wide.unstack()[["crnet-a", "crnet-b"]]], axis=1)
    less, of_small = (
        pd.concat(
            published[f"CRNet-{letter.upper()} (published)"] - both[f"crnet-{letter}{end}"]
            for letter in "ab"
        )
        for end in ("", "-small")
    )
    yield (
        f"`crnet-a` and `crnet-b` reach {less.min():.2f} to {less.max():.2f} dB less, and the "
        f"small ones {of_small.min():.2f} to {of_small.max():.2f} dB less"
    )

    fastest = speedups().max(axis=1)
    searched = speedups("sporco-admm, best ρ").max(axis=1)
    yield (
        f"{fastest.min():.1f} to {fastest.max():.1f} times faster than that ADMM with its "
        f"defaults, and {searched.min():.1f} to {searched.max():.1f} times faster than with the "
        "best ρ of a search"
    )
    rows = read_curves(ROOT / "reports" / "reference" / "learn_dictionary.csv")
    names = ("sporco online", "sporco batch")
    ratios = [duel.speedup for name in names for duel in duels(rows, name)]
    yield f"{min(ratios):.1f} to {max(ratios):.1f} times faster than SPORCO's two methods"

    theirs = read("published.csv").dropna(subset="published_psnr_db")
    scored = theirs["unrounded_psnr_db"].fillna(theirs["psnr_db"])
    apart = (scored - theirs["published_psnr_db"]).abs()
    yield (
        f"{(apart < 0.02).sum()} of {len(apart)} published PSNR figures come out within 0.02 dB; "
        f"the others differ by up to {apart.max():.2f} dB"
    )
    facts = read("is_crnet_sparse_coding_weights.csv").set_index("solver")
    explained, random = (
        " and ".join(f"{100 * facts[column][f'crnet-{x}-small']:.0f}" for x in "ab") + " %"
        for column in ("explained_3x3", "random_explained_3x3")
    )
    yield f"explains {explained} of it in CRNet-A-small and CRNet-B-small, and {random} where S"
    assert {hours_of_training(f"crnet-{x}") for x in ("a-small", "b-small", "b")} == {2, 10}
    yield "for two to ten hours on one CPU core"
    outcomes = read("mutants.csv")["outcome"].value_counts()
    assert set(outcomes.index) == {"caught", "equivalent"}
    yield f"{outcomes.sum()} small faults were put into the code one at a time"
    yield f"noticed {outcomes['caught']}, and the other {outcomes['equivalent']} do not change"


def is_crnet() -> Iterator[str]:
    facts = read("is_crnet_sparse_coding_weights.csv").set_index("solver")
    a, b = facts.loc["crnet-a-small"], facts.loc["crnet-b-small"]

    def percents(column: str, joint: str) -> str:
        return joint.join(f"{100 * row[column]:.0f}" for row in (a, b))

    yield (
        f"{100 * a.floor_asymmetric:.0f} % (CRNet-A-small) and {100 * b.floor_asymmetric:.0f} % "
        "(CRNet-B-small) are asymmetric, which no dictionary can make; of a random n − A∘B it is "
        f"half. The nearest n − flip(g)⊗g of 3×3, which this S holds whole, explains "
        f"{percents('explained_3x3', ' and ')} %, where it explains "
        f"{percents('random_explained_3x3', ' and ')} % of a random one; of 2×2, "
        f"{percents('explained_2x2', ' and ')} % against {100 * a.random_explained_2x2:.0f} %"
    )
    assert round(100 * a.random_explained_2x2) == round(100 * b.random_explained_2x2)
    assert round(2 * a.random_asymmetric, 1) == round(2 * b.random_asymmetric, 1) == 1
    floors = [
        100 * (1 - row.floor_asymmetric - row.floor_indefinite - row.floor_rank) for row in (a, b)
    ]
    yield f"no g could explain more than {floors[0]:.0f} and {floors[1]:.0f} %"
    yield f"{percents('explained_W', ' and ')} % are explained"
    assert hours_of_training(a.name) == hours_of_training(b.name) == 2
    yield "This is what about two hours of training made of it."
    yield f"of S is {a.diagonal:.2f} and {b.diagonal:.2f} on average"
    yield f"‖S‖ is {a.norm:.0f} to {b.norm:.0f}"
    yield (
        f"−b is positive for {100 * a.positive_thresholds:.0f} % of the channels of CRNet-A-small "
        f"and {100 * b.positive_thresholds:.0f} % of those of CRNet-B-small"
    )
    yield f"{percents('thresholds_near_median', ' and ')} % are within a factor of 2 of the median"
    walks = read("is_crnet_sparse_coding.csv").set_index(["solver", "recursion"])
    k, walk = int(a.recursions), walks.loc["crnet-a-small"]
    last = walk.index.max()
    yield (
        f"its norm grows by {100 * (walk.norm[last] / walk.norm[k] - 1):.0f} %, and what z_k "
        f"decodes to loses {walk.psnr_db[k] - walk.psnr_db[last]:.2f} dB"
    )
    change = 100 * walk.relative_change
    least = change.idxmin()
    yield (
        f"the codes move by {change[k]:.0f} % of their norm at K, {change[least]:.0f} % at "
        f"k = {least}, {change[last]:.0f} % at the end"
    )
    k, walk = int(b.recursions), walks.loc["crnet-b-small"]
    yield f"{walk.psnr_db[k] - walk.psnr_db[2 * k]:.0f} dB are lost at 2K"
    yield from tied_network(facts, walks)


def tied_network(facts: pd.DataFrame, walks: pd.DataFrame) -> Iterator[str]:
    """What docs/is-crnet-sparse-coding.md says of crnet-b-tied."""
    row, walk, free = facts.loc["crnet-b-tied"], walks.loc["crnet-b-tied"], "crnet-b-small"
    assert row.explained_3x3 > 0.999 and row.explained_W > 0.999 and row.positive_thresholds == 1
    assert row.norm < 1.0001 and row.least_eigenvalue > 0
    yield f"explains 100 % of n − S, and so do W's own; ‖S‖ is {row.norm:.0f}"
    yield (
        f"all thresholds are positive, {100 * row.thresholds_near_median:.0f} % of them within a "
        "factor of 2 of the median"
    )
    cost = {name: make_solver(name).network().multiply_adds(2) for name in (free, row.name)}
    yield f"It takes {100 * (1 - cost[row.name] / cost[free]):.0f} % fewer multiply-adds"
    tied, other = training("crnet-b-tied-first"), training("crnet-b-small-fourth")
    assert tied["step"] == other["step"]
    figures, others = psnr_of(tied), psnr_of(other)
    yield (
        f"After {tied['step']:.0f} steps from scratch, it reaches "
        f"{' / '.join(f'{v:.2f}' for v in figures)} dB on the held-out images, the free network "
        f"{' / '.join(f'{v:.2f}' for v in others)} dB"
    )
    cost_db = np.mean(np.subtract(others, figures))
    yield f"costs {cost_db:.2f} dB on average (one seed, the free network in bfloat16)"
    middle, longer = training("crnet-b-tied-second"), training("crnet-b-tied")
    yield (
        f"A further {middle['step'] + longer['step']:,.0f} steps bring it to "
        f"{' / '.join(f'{v:.2f}' for v in psnr_of(longer))} dB; the shipped CRNet-B-small, after "
        f"{other['step'] + training(free)['step']:,.0f} steps, has "
        f"{' / '.join(f'{v:.2f}' for v in psnr_of(training(free)))} dB"
    )
    k, last = int(row.recursions), walk.index.max()
    assert (np.diff(walk.energy) < 0).all()
    best = walk.psnr_db.idxmax()
    yield (
        f"Its PSNR is highest at k = {best}, {walk.psnr_db[best] - walk.psnr_db[k]:.2f} dB above "
        f"that at K = {k}"
    )
    yield (
        f"At 2K it loses {walk.psnr_db[k] - walk.psnr_db[2 * k]:.2f} dB and at nearly 3K "
        f"{walk.psnr_db[k] - walk.psnr_db[last]:.2f} dB; the share of codes that are not zero "
        f"falls from {100 * walk.nnz_share[k]:.1f} to {100 * walk.nnz_share[last]:.1f} %, and the "
        f"last recursion moves the codes by {100 * walk.relative_change[last]:.0f} % of their norm"
    )


def scale() -> Iterator[str]:
    """The tables of docs/scale.md, and what its text says of them."""
    table = (ROOT / "reports" / "reference" / "scale.md").read_text("utf-8")
    yield from filter(None, table.splitlines())
    steps = read("scale_steps.csv").set_index("step")
    database = steps.ms[["claim", "look-up", "write"]].sum()
    per_task = database + steps.ms["Dask"]
    simulated = read("scale_simulated.csv")
    whole = simulated[simulated.tasks < 1_000_000].set_index("workers")
    yield (
        f"take {whole.hours[2]:.0f} hours on two cores, {whole.hours[10]:.1f} hours on 10 workers "
        f"and {60 * whole.hours[1000]:.0f} minutes on 1000, which are busy for "
        f"{100 * whole.workers_busy[1000]:.0f} % of that time"
    )
    solvers = read("scale_solvers.csv")
    seconds = solvers.processor_us_per_pixel / 1e6 * 2040 * 1404 / solvers.scale**2
    assert solvers.solver[seconds.idxmax()] == "csc-sr[cista]"
    slowest = solvers.scale[seconds.idxmax()]
    yield f"(`csc-sr[cista]` at ×{slowest}) takes {seconds.max() / 60:.0f} minutes"
    million = simulated[simulated.tasks == 1_000_000].set_index(["images", "workers"])
    yield f"{1000 / per_task:.0f} tasks per second"
    yield f"busy for {100 * million.workers_busy['DIV2K', 1000]:.0f} % of the time"
    assert million.own_share["DIV2K", 1000] < 1
    mean = million.mean_task_s["256×256", 2]
    yield f"from {mean / (per_task / 1000):.0f} workers on"
    yield f"{100 * database / per_task:.0f} % of"


def dictionary_learning() -> Iterator[str]:
    rows = read_curves(ROOT / "reports" / "reference" / "learn_dictionary.csv")
    counts = []
    for name in ("sporco online", "sporco batch"):
        beside = duels(rows, name)
        assert len(beside) == 2
        counts.append(" and ".join(f"{duel.speedup:.1f}" for duel in beside))
    yield f"ours is {counts[0]} times faster than the online one and {counts[1]} times faster than"
    ends = {
        name: np.mean([run[1][-1] for run in curves(rows, name).values()])
        for name in ("cscsr", "sporco online", "sporco batch")
    }
    low, online, batch = (f"{value:.2f}" for value in ends.values())
    yield f"{low} on average, against {online} and {batch}"


RUNS = (
    "crnet-b-small-without-skip",
    *("crnet-a-small" + run for run in ("-first", "-second", "-third", "-fourth", "")),
    *("crnet-a-128-vdsr" + run for run in ("", "-mse", "-second")),
    *("crnet-b-small" + run for run in ("-first", "-second", "-third", "-free", "-t91-free")),
    *("crnet-b-small" + run for run in ("-48", "-fourth", "-t91", "")),
    *(
        "crnet-b-256" + run
        for run in (
            "-first",
            "-second",
            "-third",
            "-imdn",
            "-imdn-second",
            "-imdn-third",
            "-imdn-k12",
        )
    ),
    *("crnet-b-tied" + run for run in ("-first", "-second", "-k12", "", "-further")),
)


def cost(architecture: str, **network: Any) -> dict[int, float]:
    """Multiply-adds of a pass per low-resolution pixel, by scale; a training step takes three."""
    scales = (2, 3, 4)
    passes = blueprint(architecture, {**network, "scales": scales})
    return {scale: passes.multiply_adds(scale) for scale in scales}


MORE = ("charbonnier", "batch32", "all", "all-after")
LEVERS = {
    "as it stands": "none: Adam, mean absolute error, averaged weights",
    "S started near n − (1/L) flip(f)⊗f": "S started near n − (1/L) flip(f)⊗f of W",
    "S = n − A∘B with 16 filters": "S = n − A∘B with 16 filters, A started at Bᵀ/L",
}
"""What the page calls levers of levers.csv that it calls otherwise."""


def training_log() -> Iterator[str]:
    gain, steps = mean_gain("crnet-b-tied", "crnet-b-tied-second"), training("crnet-b-tied")["step"]
    yield f"`crnet-b-tied` gained {gain:.2f} dB from {steps:.0f} more steps"
    gain = mean_gain("crnet-b-tied-further", "crnet-b-tied")
    steps = training("crnet-b-tied-further")["step"]
    yield f"{gain:.2f} dB from {steps:.0f} after those"
    yield f"{gain:.2f} dB better: not shipped"
    runs = progress.stretches(ROOT / "reports" / "reference" / "training")
    fit, last = progress.fit_of(runs), training(runs[-1].name)
    step = load_recipe(progress.STRETCHES[runs[-1].name]).step_operations()
    speed = last["step"] * step / last["seconds"]
    yield f"the last stretch ran at {speed / 1e12:.2f} TFLOP/s"
    ends = [f"{run.flop[-1]:.1e}".replace("e+", "e") for run in runs if run.complete]
    error = f" ± {fit.error:.2f}" if fit.error < np.inf else ""
    yield (
        f"After {', '.join(ends[:-1])} and {ends[-1]} floating-point operations, at the ends of "
        f"{len(ends)} stretches, the held-out images had gained {fit.slope:.2f}{error} dB per "
        "doubling"
    )
    wide = read("wide/table1.csv").query("dataset == 'Set5'").set_index(["method", "scale"])
    for name in ("crnet-a", "crnet-b"):
        reached = list(wide.psnr_db[name].sort_index())
        yield f"`{name}` reaches {' / '.join(f'{value:.2f}' for value in reached)}"
    wanted = [37.75, 34.20, 32.00]
    small = read("table1.csv").query("dataset == 'Set5' and method == 'crnet-a-small'")
    small = small.set_index("scale").psnr_db.sort_index()
    yield f"`crnet-a-small` reaches {' / '.join(f'{value:.2f}' for value in small)}"
    missing = float(np.mean(np.subtract(wanted, reached)))
    doublings = missing / fit.slope
    hours = (2**doublings - 1) * runs[-1].flop[-1] / speed / 3600
    yield (
        f"the missing {missing:.2f} dB (on average) take {doublings:.1f} doublings, about "
        f"{hours:.0f} more hours of such a core"
    )
    two = [run for run in runs if run.complete][-3::2]
    slope = float(
        (two[1].psnr_db[-1] - two[0].psnr_db[-1]) / np.log2(two[1].flop[-1] / two[0].flop[-1])
    )
    hours = (2 ** (missing / slope) - 1) * runs[-1].flop[-1] / speed / 3600
    yield (
        f"Over the last two stretches it was {slope:.2f} dB per doubling, at which it takes about "
        f"{hours:.0f} hours"
    )
    for name in (
        *RUNS,
        *(f"lever-{end}" for end in ("k10", "k16", "muon", "patch40", "patch64", "mse", *MORE)),
    ):
        row = training(name)
        figures = [f"{value:.2f}" for value in psnr_of(row)]
        if not name.startswith("lever"):
            figures.insert(0, f"{row['seconds'] / 60:.0f}")
        cells = " | ".join([f"{row['step']:.0f}", *figures])
        yield f"| {cells} | [csv](../reports/reference/training/{name}.csv) |"
    yield "(" + " / ".join(f"{v:.2f}" for v in psnr_of(training("crnet-a-small-second"))) + ")"
    yield f"Muon brings {mean_gain('lever-muon', 'lever-k10'):.2f} dB at the same time per step"

    gain = mean_gain("crnet-a-128-vdsr-second", "crnet-a-128-vdsr")
    yield f"Its second stretch brought {gain:.2f} dB on the held-out images"
    fall = mean_gain("crnet-a-128-vdsr", "crnet-a-128-vdsr-mse")
    yield f"not shipped, as the mean over the scales fell by {fall:.3f} dB"
    yield f"The mean squared error brings {mean_gain('lever-mse', 'lever-patch40'):.2f} dB"
    gains = {name: mean_gain(f"lever-{name}", "lever-patch40") for name in MORE[:2]}
    assert max(map(abs, gains.values())) < 0.005
    yield "Charbonnier's loss and the larger batch less than 0.005 dB"
    gain = mean_gain("lever-all-after", "lever-all")
    yield f"{'gains' if gain > 0 else 'loses'} {abs(gain):.2f} dB by it (one seed)"

    levers = read("levers.csv")
    psnr_db = levers.pivot(index="seed", columns="variant", values="psnr_db")
    base = psnr_db["as it stands"]
    yield f"bicubic {levers['bicubic_psnr_db'].iloc[0]:.2f} dB"
    for lever in psnr_db.columns:
        gain = signed((psnr_db[lever] - base).mean(), 3) if lever != "as it stands" else ""
        cells = f"{LEVERS.get(lever, lever)} | {psnr_db[lever].mean():.2f} | {gain}"
        yield f"| {cells.strip()} |"
    spread = (psnr_db.max() - psnr_db.min()).max()
    yield f"The same run differs by up to {spread:.2f} dB between seeds"
    best = "Muon, and S = n − A∘B with 16 filters"
    gain = psnr_db[f"VDSR as a teacher, {best}"] - psnr_db[best]
    yield f"it brings {gain.mean():.3f} dB at the same steps"
    narrow, vdsr = cost("crnet-a", n0=16, m0=32, recursions=4), cost("vdsr")
    yield f"VDSR's pass takes {vdsr[3] / (3 * narrow[3]):.1f} times the operations of the rest"
    wide, imdn = cost("crnet-b", **load_recipe("crnet-b-256").network), cost("imdn")
    shares = [100 * imdn[scale] / (3 * wide[scale]) for scale in (2, 3, 4)]
    yield f"IMDN takes {min(shares):.0f} to {max(shares):.0f} % of those of a step"
    gain = mean_gain("crnet-a-small-fourth", "crnet-a-small-third")
    yield f"from scratch came out {gain:.2f} dB better than"
    gain = mean_gain("crnet-b-small-fourth", "crnet-b-small-free")
    yield f"{gain:.2f} dB more after the same 1800 steps from scratch"
    gain = mean_gain("crnet-b-small", "crnet-b-small-third")
    yield f"{gain:.2f} dB more than the earlier weights"

    speed = read("speed-networks.csv").set_index("measurement")
    rate = 100 * speed["rate_of_chain"].groupby("measurement").agg(["min", "max"])
    yield (
        f"inference reaches {rate['min']['inference']:.0f} to {rate['max']['inference']:.0f} % of "
        f"the rate and a whole training step {rate['min']['training']:.0f} to "
        f"{rate['max']['training']:.0f} %"
    )
    yield f"takes at most {100 * speed['data_share'].max():.1f} % of a step"
    times = (
        speed[speed["precision"] == "bf16"]["times_fp32"].groupby("measurement").agg(["min", "max"])
    )
    spans = {kind: f"{low:.1f} to {high:.1f}" for kind, low, high in times.itertuples()}
    spans = {kind: span.replace(".0", "") for kind, span in spans.items()}
    yield (
        f"bfloat16 makes inference {spans['inference']} times and training {spans['training']} "
        "times as fast"
    )
    costs = read("speed-precision.csv")["difference_db"].abs().max()
    assert costs < 0.003
    yield "What bfloat16 costs is under 0.003 dB at every scale for both networks"
    large, small, whole = read("network-memory.csv").itertuples()
    yield (
        f"at most {large.peak_mb} MB for 1000×1500 and {small.peak_mb} MB for 500×1000, of which "
        f"{large.arrays_mb} and {small.arrays_mb} MB are the image and its enlargement"
    )
    assert round(whole.seconds / 60) == 3
    yield (
        f"4000×6000 takes {whole.peak_mb} MB, of which {whole.arrays_mb} MB are these two, in "
        "three minutes on two threads"
    )

    leak = read("leak.csv").pivot(index="seed", columns="added")
    woman, others = (
        leak[f"psnr_db_{who}"][302003] - leak[f"psnr_db_{who}"][100075]
        for who in ("woman", "others")
    )
    spread = f"{signed(woman.min(), 2)} to {signed(woman.max(), 2)} dB"
    yield (
        f"the woman gains {woman.mean():.2f} dB and the other four images of Set5 "
        f"{others.mean():.2f} dB, both within the spread between seeds ({spread} on the woman)"
    )

    yield from studies()


def studies() -> Iterator[str]:
    runs = {name: read(f"{name}.csv") for name in ("ablation", "fig8", "fig9")}
    assert {seeds for rows in runs.values() for seeds in rows.groupby("variant").size()} == {3}
    exact = {name: rows.groupby("variant")["psnr_db"].mean() for name, rows in runs.items()}
    means = {name: values.map("{:.2f}".format) for name, values in exact.items()}
    others = {name: alike(rows) for name, rows in runs.items()}
    bicubic = runs["ablation"]["bicubic_psnr_db"].iloc[0]
    yield f"tested on Set5 at ×3 (bicubic {bicubic:.2f} dB)"
    m = means["ablation"]
    yield (
        f"LRL and CC {m['LRL, CC']} dB, all three parts {m['LRL, PA, CC']}, PA and CC "
        f"{m['PA, CC']}, LRL {m['LRL']}, LRL and PA {m['LRL, PA']}, PA {m['PA']}, "
        f"none {m['none']}, CC {m['CC']}."
    )
    gain, published = exact["ablation"], ablation.PUBLISHED
    assert "LRL" not in others["ablation"]["LRL, CC"]
    yield (
        f"beside LRL it brings {gain['LRL, CC'] - gain['LRL']:.2f} dB (published: "
        f"{published[True, False, True] - published[True, False, False]:.2f} dB)"
    )
    assert "none" not in others["ablation"]["LRL"]
    yield f"LRL alone brings {gain['LRL'] - gain['none']:.2f} dB"
    assert "LRL, CC" in others["ablation"]["LRL, PA, CC"]
    yield (
        "(published: "
        f"{published[True, True, True] - published[True, False, True]:.2f} dB for PA beside both)"
    )
    with_cc = runs["ablation"].query("variant in ('CC', 'PA, CC')")
    idle = (with_cc["psnr_db"] <= bicubic).sum()
    assert (idle, len(with_cc)) == (1, 6)
    m = means["fig8"]
    yield (
        f"CRNet-A 32/64 {m['CRNet-A 32/64']} dB, 16/64 {m['CRNet-A 16/64']}, 32/32 "
        f"{m['CRNet-A 32/32']}; CRNet-B with m₀ = 32, 64, 128: {m['CRNet-B 32/32']}, "
        f"{m['CRNet-B 32/64']}, {m['CRNet-B 32/128']} dB"
    )
    assert {len(names) for names in others["fig8"].values()} == {2}, "none is told apart"
    m, gain = means["fig9"], exact["fig9"]
    first, second = ([m[f"CRNet-{x} K={k}"] for k in (1, 2, 4, 8)] for x in "AB")
    assert others["fig9"]["CRNet-A K=8"] == []
    assert "CRNet-B K=1" in others["fig9"]["CRNet-B K=8"]
    yield (
        f"CRNet-A, K = 1, 2, 4, 8: {', '.join(first)} dB, so that eight recursions bring "
        f"{gain['CRNet-A K=8'] - gain['CRNet-A K=1']:.2f} dB over one"
    )
    yield f"CRNet-B: {', '.join(second)} dB"


PHRASES = {
    "README.md": readme,
    "docs/csc-sr.md": csc_sr,
    "docs/dictionary-learning.md": dictionary_learning,
    "docs/is-crnet-sparse-coding.md": is_crnet,
    "docs/reproduce.md": reproduce,
    "docs/scale.md": scale,
    "docs/solvers.md": solvers,
    "docs/training-log.md": training_log,
    "paper/paper.md": paper,
}


@cache
def phrases(page: str) -> list[str]:
    """The words that state a page's figures, with the figures as they were measured."""
    return [squeeze(phrase) for phrase in PHRASES.get(page, lambda: ())()]


def squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def text_of(page: str) -> str:
    """The page on one line, without code and without the tables that a command writes."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- ([\w ]+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return squeeze(text)


@pytest.mark.parametrize("page", PAGES)
def test_figures_are_those_of_the_files(page):
    text = text_of(page)
    assert not [phrase for phrase in phrases(page) if phrase not in text]
    assert not [phrase for phrase in NOT_MEASURED.get(page, {}) if phrase not in text]


def figures_left(page: str, text: str) -> list[str]:
    """The figures of a page's text that neither `phrases` makes nor `NOT_MEASURED` names."""
    for phrase in sorted([*phrases(page), *NOT_MEASURED.get(page, {})], key=len, reverse=True):
        text = text.replace(phrase, "¶")
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "¶", text)
    return [text[max(match.start() - 30, 0) : match.end() + 10] for match in FIGURE.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_no_other_figure_is_stated(page):
    assert figures_left(page, text_of(page)) == []


TYPED = (
    "5.8 to 9.4 times sooner; takes 12 s; in two hours; gains 0.3 dB; 40 % of; 3.1 GB; "
    "37.53 / 0.9582; is 0.954; one to three times; in 40 min; 3.2× faster; −0.2 dB; 1,027 MB"
)


@pytest.mark.parametrize("stated", TYPED.split("; "))
def test_a_figure_that_is_typed_is_noticed(stated):
    assert figures_left("README.md", f"This {stated} as it is.")
    assert not figures_left("README.md", "At 256×256, ×2 and λ = 0.05, 8 images of 5s×5s (2s−1).")
