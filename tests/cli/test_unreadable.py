"""Files and folders that a user may not read or write: a sentence that names them, and code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cscsr import weights
from cscsr.imaging import write_image

RECIPE = """
architecture = "srcnn"
sets = ["T91"]
scales = [2]
[network]
n1 = 4
n2 = 4
[optimiser]
batch = 2
patch = 12
learning_rate = 1e-3
"""

RUN = """
import contextlib, io, json, sys
from cscsr.cli import main

results = []
for words in json.loads(sys.argv[1]):
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as stopped:
            code = stopped.code
    results.append([code, error.getvalue()])
print(json.dumps(results))
"""


def without_privileges() -> list[str]:
    """The words before a command that make the system's permissions count for root too."""
    if os.name != "posix":
        pytest.skip("permissions are those of Unix")
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv")
    dropped = "-dac_override,-dac_read_search"
    return ["setpriv", f"--inh-caps={dropped}", f"--bounding-set={dropped}"]


@pytest.mark.slow
def test_what_a_user_may_not_read_or_write_is_named(tmp_path):
    prefix = without_privileges()
    image = np.random.default_rng(0).integers(0, 256, (40, 44, 3)).astype(np.uint8)
    sets = [f"{folder}/T91/{name}.png" for folder in ("data", "list") for name in "ab"]
    for name in ("photo.png", "shut/T91/a.png", *sets):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, image)
    for name in ("data", "list"):
        (tmp_path / name / "holdout.txt").write_text("T91/a.png\n")
    shutil.copy(weights.weights_path("srcnn"), tmp_path / "w.safetensors")
    shutil.copy(tmp_path / "photo.png", tmp_path / "secret.png")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "hidden.toml").write_text(RECIPE)
    for name in ("still", "run", "curve", "database"):
        (tmp_path / name).mkdir()
    for name in ("run/checkpoint.pt", "curve/curve.csv", "database/results.sqlite"):
        (tmp_path / name).write_text("")
    here, data = str(tmp_path) + "/", f"--data={tmp_path}/data"
    photo, train = here + "photo.png", ["train", here + "recipe.toml", "--steps", "1"]
    compare = ["compare", "--solvers", "bicubic", "--scales", "2", "--showcase", "0"]
    cases = {  # what cannot be read or written, and a command that needs it
        "secret.png": ["upscale", here + "secret.png", "--scale", "2", "--solver", "bicubic"],
        "w.safetensors": ["upscale", photo, "--scale=2", "--weights", here + "w.safetensors"],
        "still": ["upscale", photo, "--scale=2", "--solver=bicubic", "--out", here + "still/x.png"],
        "hidden.toml": ["train", here + "hidden.toml", "--steps", "1", data],
        "shut/T91": [*train, f"--data={here}shut", "--out", here + "new"],
        "list/holdout.txt": [*train, f"--data={here}list", "--out", here + "new"],
        "run/checkpoint.pt": [*train, data, "--out", here + "run", "--resume"],
        "curve/curve.csv": [*train, data, "--out", here + "curve"],
        "database/results.sqlite": [*compare, "--datasets=demo", "--out", here + "database"],
    }
    more = {
        "secret.png ": ["score", here + "secret.png", photo, "--scale", "2"],
        "still ": [*train, data, "--out", here + "still"],
        "still  ": [*train, data, "--out", here + "still/new"],
        "still   ": [*compare, "--datasets=demo", "--out", here + "still"],
        "shut/T91 ": ["data", "list", f"--data={here}shut"],
        "shut/T91  ": [*compare, f"--data={here}shut", "--datasets=T91", "--out", here + "cmp"],
        "w.safetensors ": [*train, data, "--out", here + "new", "--init", here + "w.safetensors"],
        "w.safetensors  ": ["train", "csc-sr", data, "--filters", here + "w.safetensors"],
    }
    for name in cases:
        (tmp_path / name).chmod(0o555 if name == "still" else 0)
    cases |= more
    command = [*prefix, sys.executable, "-c", RUN, json.dumps(list(cases.values()))]
    try:
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    finally:
        for name in cases:
            (tmp_path / name.strip()).chmod(0o755)
    assert run.returncode == 0, run.stderr
    for name, (code, error) in zip(cases, json.loads(run.stdout), strict=True):
        assert code == 2, (name, error)
        sentence = error.splitlines()[-1].split("\r")[-1]  # after the progress bars
        assert name.strip() in sentence, (name, error)
        assert sentence.endswith((".", "?")), (name, error)
        assert "Traceback" not in error
    assert not (tmp_path / "new").exists(), "nothing is left behind"
