"""A release is refused where files disagree, and is built from the checkout where they agree."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

import cscsr
from benchmarks import release
from cscsr.errors import InputError

ROOT = Path(__file__).parents[2]
CITATION = "cff-version: 1.2.0\nversion: 1.3.0\nlicense: MIT\n"
CHANGELOG = "# Changelog\n\n## [1.3.0] - 2026-12-01\n\n## [1.2.0] - 2026-11-01\n"


def test_files_that_agree_are_accepted():
    release.check_versions("1.3.0", CITATION, CHANGELOG, "v1.3.0")
    assert release.heading(CHANGELOG, "1.3.0") == "2026-12-01"


@pytest.mark.parametrize(
    ("version", "citation", "changelog", "tag", "sentence"),
    [
        ("1.3.0", CITATION.replace("1.3", "1.2"), CHANGELOG, None, "CITATION.cff"),
        ("1.3.0", CITATION, CHANGELOG.replace("1.3", "1.4"), None, "CHANGELOG.md"),
        ("1.3.0", CITATION, CHANGELOG.replace("1.3.0", "1.300"), None, "CHANGELOG.md"),
        ("1.3.0", CITATION, CHANGELOG, "v1.2.0", "tag v1.2.0 is not v1.3.0"),
        ("1.3.0", CITATION, CHANGELOG, "1.3.0", "tag 1.3.0 is not v1.3.0"),
    ],
)
def test_files_that_differ_are_named(version, citation, changelog, tag, sentence):
    with pytest.raises(InputError, match=sentence):
        release.check_versions(version, citation, changelog, tag)


def test_what_is_done_is_not_left_to_a_person():
    steps = " ".join(release.left_to_a_person("1.3.0", "2026-12-01", urls=True, changed=False))
    assert "[project.urls]" not in steps and "Date the section" not in steps
    assert "Commit" not in steps and "git tag -a v1.3.0" in steps
    steps = " ".join(release.left_to_a_person("1.3.0", "unreleased", urls=False, changed=True))
    assert "[project.urls]" in steps and "Date the section" in steps and "Commit" in steps


@pytest.mark.slow
def test_builds_and_checks_this_version(tmp_path, capsys):
    for tool in release.TOOLS:
        pytest.importorskip(tool, reason=f"no {tool}: the extra cscsr[release] is not installed")
    assert release.main(["--out", str(tmp_path / "dist")]) == 0
    printed = capsys.readouterr().out
    stem = f"cscsr-{cscsr.__version__}"
    assert f"{stem}.tar.gz" in printed and "Left to a person:\n1." in printed
    with tarfile.open(tmp_path / "dist" / f"{stem}.tar.gz") as sdist:
        assert f"{stem}/LICENSE" in sdist.getnames()
    with zipfile.ZipFile(tmp_path / "dist" / f"{stem}-py3-none-any.whl") as wheel:
        assert "cscsr/weights/manifest.json" in wheel.namelist()
        assert not [name for name in wheel.namelist() if name.startswith(("tests", "benchmarks"))]


@pytest.mark.slow
def test_refuses_the_tag_of_another_version(tmp_path, capsys):
    assert release.main(["--tag", "v0.0.1", "--out", str(tmp_path / "dist")]) == 1
    assert "v0.0.1" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
