"""The files for contributors: workflows and forms fit GitHub's schemas; what they name is there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]

SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


def schema_errors(schema: str, files: list[Path]) -> str:
    """What check-jsonschema, with the schemas that it brings, says of files; "" if they fit."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run(
        [*command, "--default-filetype", "yaml", *map(str, files)], capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_fit_their_schema(schema):
    pytest.importorskip("check_jsonschema", reason="the extra cscsr[test] is incomplete")
    assert SCHEMAS[schema]
    assert schema_errors(schema, SCHEMAS[schema]) == ""


def test_the_schema_refuses_a_workflow_that_is_wrong(tmp_path):
    pytest.importorskip("check_jsonschema", reason="the extra cscsr[test] is incomplete")
    workflow = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))
    workflow["jobs"]["lint"]["step"] = workflow["jobs"]["lint"].pop("steps")
    (tmp_path / "ci.yml").write_text(yaml.safe_dump(workflow))
    assert "step" in schema_errors("vendor.github-workflows", [tmp_path / "ci.yml"])


def commands() -> list[str]:
    """Every shell command of the workflows."""
    steps = [
        step
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values()
        for step in job["steps"]
    ]
    return [step["run"] for step in steps if "run" in step]


def test_workflows_install_extras_and_run_files_that_exist():
    text = "\n".join(commands())
    extras = {name for group in re.findall(r"\.\[([\w,]+)\]", text) for name in group.split(",")}
    assert extras == PROJECT["optional-dependencies"].keys()
    paths = re.findall(r"\b(?:tests|docs|benchmarks)/[\w/.]+", text)
    assert paths and all((ROOT / path).exists() for path in paths)
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()


def test_ci_runs_every_python_that_is_promised():
    matrix = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]["test"]
    matrix = matrix["strategy"]["matrix"]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == lowest and len(matrix["python"]) >= 3
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    classified = [
        line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line
    ]
    assert classified == matrix["python"]


def test_pre_commit_has_the_pinned_ruff():
    (ruff, _) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert f"ruff=={ruff['rev'].removeprefix('v')}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SUPPORT.md", "CODE_OF_CONDUCT.md"])
def test_links_and_targets_of_the_files_for_contributors_exist(name):
    text = " ".join((ROOT / name).read_text("utf-8").split())
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert all((ROOT / link).exists() for link in links)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    forms = {yaml.safe_load(path.read_text("utf-8"))["name"] for path in FORMS}
    for form in re.findall(r'form "([^"…]+)', text):
        assert any(title.startswith(form.strip()) for title in forms), form
