"""Look up the pinned dependencies among known vulnerabilities: `make audit`.

    python -m benchmarks.audit

pip-audit, in a temporary environment, asks PyPI's advisories about each version of constraints.txt.
Where the network does not allow that, one sentence says so, and the exit code is 0: no answer is no
fault of the dependencies. It is 1 if there are advisories, and 2 if the file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from cscsr import InputError, interrupts

ROOT = Path(__file__).parent.parent
SECONDS = 300


def public_pins(text: str) -> str:
    """The lines of a constraints file without local versions such as +cpu, which no index has."""
    return "\n".join(line.split("#")[0].split("+")[0].strip() for line in text.splitlines()) + "\n"


def report(answer: str) -> tuple[str, int]:
    """The text to print for the JSON that pip-audit writes, and the exit code."""
    packages = json.loads(answer)["dependencies"]
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, fixed in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for package in packages
        for advisory in package.get("vulns", ())
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        reasons = [package["skip_reason"] for package in packages] or ["no package in the answer"]
        return _unanswered(" ".join(reasons[0].split())), 0
    if skipped:
        lines.append(f"Not checked: {', '.join(skipped)}.")
    advisories = len(lines) - bool(skipped)
    checked = len(packages) - len(skipped)
    lines.append(f"Pinned dependencies checked: {checked}; known advisories: {advisories}.")
    return "\n".join(lines), 1 if advisories else 0


def audit(pins: Path) -> tuple[str, int]:
    """Check a constraints file; returns the text to print and the exit code. Raises InputError if
    it cannot be read."""
    try:
        pinned = public_pins(pins.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{pins} cannot be read: {reason}.") from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        requirements = folder / "requirements.txt"
        requirements.write_text(pinned, encoding="utf-8")
        install = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        check = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
        check += ["--progress-spinner", "off", "--timeout", "30", "--requirement", requirements]
        answer = ""
        for words in ([*install, "--retries", "1", "pip-audit"], check):
            try:
                ended = subprocess.run(
                    [python, *words], capture_output=True, text=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                return _unanswered(f"no answer within {SECONDS} s"), 0
            answer = ended.stdout
            failed = ended.returncode and not (words is check and answer.startswith("{"))
            if failed:
                return _unanswered((ended.stderr.strip() or "no reason given").splitlines()[-1]), 0
    return report(answer)


def _unanswered(reason: str) -> str:
    reason = reason if len(reason) <= 200 else reason[:199] + "…"
    return f"The pinned dependencies were not checked, as the advisories cannot be read: {reason}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.audit`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.audit", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--pins", type=Path, default=ROOT / "constraints.txt", metavar="FILE")
    try:
        text, code = audit(parser.parse_args(arguments).pins)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(text, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
