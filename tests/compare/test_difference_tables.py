"""The table of differences to the best solver."""

import csv
import io

from cscsr.compare.difference_tables import csv_file, difference_words, latex, markdown
from cscsr.compare.differences import Difference
from cscsr.compare.summary import summarise


def test_differences_are_to_the_best_and_a_tie_is_named(made_up):
    images = [f"image{n}" for n in range(12)]
    made_up.start(images, dataset="mine")
    for number, image in enumerate(images):
        wobble = 0.2 * (-1) ** number
        for solver, psnr_db in (
            ("bicubic", 30.0),
            ("csc-sr[ista]", 32.9 + wobble),
            ("crnet-b-small", 32.91),
        ):
            made_up.results.add(made_up.scored(solver, image, psnr_db, dataset="mine"))
    summary = summarise(made_up.results)
    heads, _, row = (line.split("|")[1:-1] for line in markdown(summary).splitlines()[2:5])
    cells = dict(zip(map(str.strip, heads), map(str.strip, row), strict=True))
    assert cells["crnet-b-small"] == "best"
    assert cells["crnet-a-small"] == "–"
    assert cells["bicubic"] == "−2.91 [−2.91, −2.91], 0 of 12"
    assert cells["csc-sr[ista]"].startswith("−0.010 [−0.1")
    assert cells["csc-sr[ista]"].endswith("6 of 12, tie")
    paper = latex(summary)
    assert r"csc-sr{[}ista{]} & $-$0.010 {[}$-$0.1" in paper
    assert paper.count(r" \\") == 1 + len(summary.solvers)
    rows = {(r["solver"], r["against"]): r for r in csv.DictReader(io.StringIO(csv_file(summary)))}
    assert len(rows) == 6
    first = rows["bicubic", "csc-sr[ista]"]
    assert (first["images"], first["won"], first["verdict"]) == ("12", "0", "worse")
    assert float(first["mean_db"]) == -2.9
    assert rows["bicubic", "crnet-a-small"]["mean_db"] == ""


def test_a_difference_in_words():
    nan = float("nan")
    assert difference_words(Difference(0, nan, nan, 0, 0)) == "no image in common"
    assert difference_words(Difference(5, 0.5, 0.1, 4, 1)) == "+0.50, 4 of 5"
