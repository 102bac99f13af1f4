"""Build a release, check it, and say what is left to a person: `make release`.

    python -m benchmarks.release              # build and check what would be released
    python -m benchmarks.release --tag v0.2.0 # the same, and refuse another version than the tag's

The version is that of cscsr/__init__.py. CITATION.cff must have it too, and CHANGELOG.md a section.
The sdist and the wheel are built in dist/ and checked by twine (does the description render?) and
check-wheel-contents (are there stray or missing files?). Nothing is uploaded. The exit code is 1 if
a check fails or a tool is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import cscsr
from cscsr import interrupts
from cscsr.errors import InputError

ROOT = Path(__file__).parent.parent
TOOLS = ("build", "twine", "check_wheel_contents")

ADDRESS = """\
Once the repository has a public address, write it as [project.urls] in pyproject.toml
   (Repository, Documentation, Issues, Changelog), as repository-code in CITATION.cff and as
   site_url in mkdocs.yml. Make the links and the picture of README.md absolute: the package
   index resolves no others."""

ALWAYS = (
    """\
Once: at the package index, register the workflow release.yml with the environment pypi as a
   trusted publisher of cscsr. On GitHub, protect that environment, so that a person approves each
   upload, and choose GitHub Actions as the source of Pages.""",
    "See that the workflow CI is green on main, on all systems.",
    """\
git tag -a v{0} -m 'cscsr {0}' && git push origin v{0}
   The workflow Release builds, checks and uploads.""",
    """\
Write the release notes from CHANGELOG.md, archive v{0} where it gets a DOI, and add the DOI to
   CITATION.cff and README.md.""",
)
"""Steps of every release, with {0} for the version."""


def heading(changelog: str, version: str) -> str:
    """Return what follows the version in its heading of the changelog, such as a date.

    Raises
    ------
    InputError
        If the version has no section.
    """
    section = re.search(rf"^## \[{re.escape(version)}\](.*)$", changelog, re.MULTILINE)
    if section is None:
        raise InputError(f"CHANGELOG.md has no section [{version}].")
    return section[1].strip(" -")


def check_versions(version: str, citation: str, changelog: str, tag: str | None = None) -> None:
    """Refuse a release whose files name different versions.

    Raises
    ------
    InputError
        With the file that differs.
    """
    if f"\nversion: {version}\n" not in citation:
        raise InputError(f"CITATION.cff does not have the version {version}.")
    heading(changelog, version)
    if tag is not None and tag != f"v{version}":
        raise InputError(f"The tag {tag} is not v{version}, the version of cscsr/__init__.py.")


def left_to_a_person(version: str, dated: str, urls: bool, changed: bool) -> list[str]:
    """Return what a person has to do before and after the upload, in order.

    Parameters
    ----------
    version
        The version to be released.
    dated
        What follows it in the changelog's heading.
    urls
        Whether pyproject.toml has the addresses of the project.
    changed
        Whether the working tree has changes that are not committed.
    """
    steps = []
    if changed:
        steps.append("Commit or undo the changes of the working tree; what is built holds them.")
    if not urls:
        steps.append(ADDRESS)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", dated):
        steps.append(f"Date the section [{version}] of CHANGELOG.md: YYYY-MM-DD.")
    return [*steps, *(step.format(version) for step in ALWAYS)]


def build(folder: Path) -> list[Path]:
    """Build the sdist and, from it, the wheel; check both; return their paths.

    Raises
    ------
    InputError
        If a tool is missing or a check fails.
    """
    absent = [name for name in TOOLS if importlib.util.find_spec(name) is None]
    if absent:
        raise InputError(
            f"Needed but not installed: {', '.join(absent)}. "
            "pip install -e '.[release]' brings them (make release does so)."
        )
    shutil.rmtree(folder, ignore_errors=True)
    _run("build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    files = sorted(folder.iterdir())
    _run("twine", "check", "--strict", *map(str, files))
    _run("check_wheel_contents", *(str(path) for path in files if path.suffix == ".whl"))
    return files


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"{module} failed:\n{done.stdout}{done.stderr}".rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.release`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.release", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--tag", help="the tag of the release, which must name the version")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the files")
    options = parser.parse_args(arguments)
    version = cscsr.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        check_versions(version, (ROOT / "CITATION.cff").read_text("utf-8"), changelog, options.tag)
        files = build(options.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    for path in files:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, built and checked")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    git = ["git", "-C", str(ROOT), "status", "--porcelain"]
    changes = subprocess.run(git, capture_output=True, text=True).stdout
    steps = left_to_a_person(
        version, heading(changelog, version), bool(project.get("urls")), bool(changes)
    )
    print("\nLeft to a person:")
    for number, step in enumerate(steps, 1):
        print(f"{number}. {step}")
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
