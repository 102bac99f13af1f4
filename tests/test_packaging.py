"""The files around the code agree with each other and with what was promised."""

import importlib.util
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cscsr

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}


def requirements(*extras: str) -> list[Requirement]:
    """The dependencies, and those of the extras."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def constraints() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    return {canonicalize_name(pin.name): Version(str(pin.specifier)[2:]) for pin in here}


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the list of tracked files needs git and a checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_conda_environment_lists_the_dependencies_of_pyproject():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pip = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    lines = [entry for entry in entries if isinstance(entry, str)] + from_pip
    conda = {(r.name, str(r.specifier)) for r in map(Requirement, lines)}
    conda = {(CONDA_NAMES.get(name, name), version) for name, version in conda}
    wanted = {(r.name, str(r.specifier)) for r in requirements("test", "cluster")}
    assert conda == wanted | {("python", PROJECT["requires-python"]), ("pip", "")}


def test_constraints_pin_every_dependency_within_its_range():
    pins = constraints()
    for requirement in requirements("test", "cluster", "onnx", "docs"):
        version = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{requirement} excludes {version}"
    assert pins["torch"] == Version("2.13.0")


def test_constraints_pin_what_the_dependencies_need_in_turn():
    direct = requirements("test", "cluster", "onnx", "docs")
    absent = [r.name for r in direct if importlib.util.find_spec(module_of(r.name)) is None]
    if absent:
        pytest.skip(
            f"of the extras test, cluster, onnx and docs, {', '.join(absent)} is not installed"
        )
    pins = constraints()
    todo, visited = list(direct), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        needed = {(name, extra) for extra in ("", *requirement.extras)} - visited
        visited |= needed
        assert name in pins, f"{name} is needed but not in constraints.txt"
        for line in (metadata.distribution(name).requires or []) if needed else []:
            inner = Requirement(line)
            applies = inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for _, extra in needed
            )
            # Torch itself pins its libraries for GPUs exactly.
            if applies and not inner.name.startswith(("nvidia", "cuda", "triton")):
                todo.append(inner)
    assert {name for name, _ in visited} == set(pins), "constraints.txt pins more than is needed"


def module_of(name: str) -> str:
    """The module by which a distribution of pyproject.toml is imported."""
    modules = {
        "scikit-image": "skimage",
        "pillow": "PIL",
        "pyyaml": "yaml",
        "pytest-xdist": "xdist",
    }
    modules |= {"mkdocs-material": "material", "mkdocstrings-python": "mkdocstrings_handlers"}
    return modules.get(name, name.replace("-", "_"))


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert metadata.version("cscsr") == cscsr.__version__ == citation["version"]


def test_citation_names_toolkit_and_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"] == "MIT"
    for work in [citation, *citation["references"]]:
        assert work["title"]
        for author in work["authors"]:
            assert author.get("name") or (author["family-names"] and author["given-names"])
    assert all(1990 < work["year"] < 2030 for work in citation["references"])


def test_licence_is_mit():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) 2026 cscsr contributors")


def test_tracked_files_are_small():
    """A clone is quick: weights take at most 20 MB, all else 8."""
    sizes = {path: path.stat().st_size for path in tracked_files()}
    large = [str(path) for path, size in sizes.items() if size > 12e6]
    assert not large
    weights = sum(size for path, size in sizes.items() if path.suffix == ".safetensors")
    assert weights < 20e6
    assert sum(sizes.values()) - weights < 8e6


def test_no_file_names_a_folder_of_one_machine():
    folders = re.compile(r"(?<![\w.$}/-])/(?:home|root|Users|work|workspace|mnt|opt)/\w")
    binary = {".png", ".safetensors", ".sqlite", ".gz"}
    matches = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if path.suffix not in binary and path != Path(__file__)
        for match in [folders.search(path.read_text())]
        if match
    ]
    assert not matches


def test_links_of_the_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken
