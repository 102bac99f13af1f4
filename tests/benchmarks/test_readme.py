"""The tables of README and docs are those of the reference run."""

import pytest

from benchmarks import readme
from cscsr import InputError

HEADER = (
    "dataset,scale,method,psnr_db,ssim,seconds,images,protocol,published_psnr_db,published_ssim"
)


@pytest.mark.parametrize("page", [readme.README, readme.PAPER], ids=lambda path: path.name)
def test_page_shows_the_table_of_the_reference_run(page):
    text = page.read_text(encoding="utf-8")
    assert text == readme.with_table(text, readme.table()), "run python -m benchmarks.readme"


def test_csc_sr_page_shows_the_figures_of_the_reference_run():
    text = readme.CSC_SR.read_text(encoding="utf-8")
    assert text == readme.with_table(text, readme.csc_sr_table()), "run python -m benchmarks.readme"


def test_csc_sr_table_has_ours_theirs_and_the_difference(tmp_path):
    path = tmp_path / "table1.csv"
    path.write_text(
        f"{HEADER}\n"
        "Set5,2,bicubic,33.6634,0.92991,0.0021,5,y,33.66,0.9299\n"
        "Set5,2,csc-sr[admm],36.5077,0.9531,0.75,5,y,36.62,0.9549\n"
        "Set5,2,csc-sr[cista],35.1,0.94,0.75,4,y,,\n"
        "Set5,2,csc-ridge,36.6677,0.9561,0.75,5,y,,\n",
        encoding="utf-8",
    )
    assert readme.csc_sr_table(path).splitlines()[2:] == [
        "| Set5 ×2 | csc-sr[admm] | 36.51 / 0.9531 | 36.62 / 0.9549 | −0.11 / −0.0018 |",
        "| Set5 ×2 | csc-ridge | 36.67 / 0.9561 | 36.62 / 0.9549 | +0.05 / +0.0012 |",
    ]


def test_table_of_readme_has_methods_down_and_scales_across(tmp_path):
    path = tmp_path / "table1.csv"
    path.write_text(
        f"{HEADER}\n"
        "Set5,2,bicubic,33.6634,0.92991,0.0021,5,y,33.66,0.9299\n"
        "Set5,2,Bicubic (published),,,,,y,33.66,0.9299\n"
        "Set5,3,bicubic,30.3901,0.86821,0.0025,5,y,30.39,0.8682\n"
        "Set5,2,csc-sr-paper[admm],36.51,0.9526,1.31,5,y,36.62,0.9549\n"
        "Set14,2,bicubic,30.2301,0.8687,0.01,14,y,,\n",
        encoding="utf-8",
    )
    assert readme.table(path).splitlines() == [
        "| Set5 | ×2 | ×3 | seconds |",
        "|---|---|---|---|",
        "| bicubic | 33.66 / 0.9299 | 30.39 / 0.8682 | 0.0023 |",
        "| csc-sr-paper[admm] | 36.51 / 0.9526 |  | 1.3 (×2 alone) |",
        "| Bicubic (published) | 33.66 / 0.9299 |  |  |",
    ]
    other = tmp_path / "other.csv"
    other.write_text(
        f"{HEADER}\n"
        "Set5,2,bicubic,30.0,0.9,0.1,5,y,33.66,0.9299\n"
        "Set5,2,crnet-b,37.654,0.95912,1.0,5,rgb,38.13,0.961\n",
        encoding="utf-8",
    )
    lines = readme.table(path, other).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "bicubic",
        "csc-sr-paper[admm]",
        "crnet-b",
        "Bicubic (published)",
    ]
    assert lines[2] == "| bicubic | 33.66 / 0.9299 | 30.39 / 0.8682 | 0.0023 |"
    assert lines[4] == "| crnet-b | 37.65 / 0.9591 |  | 1.0 (×2 alone) |"


def test_table_of_readme_needs_its_file_and_its_rows(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        readme.table(tmp_path / "table1.csv")
    (tmp_path / "table1.csv").write_text(HEADER + "\n")
    with pytest.raises(InputError, match="rows of Set5"):
        readme.table(tmp_path / "table1.csv")
    with pytest.raises(InputError, match="markers"):
        readme.with_table("no markers", "")
