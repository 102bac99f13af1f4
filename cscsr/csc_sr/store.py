"""The partial results of a training run, one file each, so that a stopped run can resume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cscsr import checkpoints
from cscsr.errors import InputError
from cscsr.output import write_text


class RunStore:
    """A folder of named results that belong to one run.

    Parameters
    ----------
    folder
        The folder; made if missing.
    identity
        What distinguishes this run from others (its options, seed, images), as JSON values.

    Raises
    ------
    InputError
        If the folder holds results of another run, or cannot be written to.
    """

    def __init__(self, folder: Path, identity: Any) -> None:
        self.folder = folder
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        mark = folder / "options.sha256"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            begun = any(folder.glob("*.pt"))
            if begun and mark.exists() and mark.read_bytes() != digest.encode():
                raise InputError(
                    f"{folder} holds a run with other options: give another --out or remove it."
                )
            write_text(mark, digest)
        except OSError as error:
            raise InputError(f"cannot write into {folder}: {error.strerror}.") from error

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the result saved under `name`, or None."""
        path = self._path(name)
        return self._read(path) if path.exists() else None

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Save a result under a temporary name and rename it, so that no partial file is left."""
        checkpoints.write(self._path(name), content)

    def drop(self, name: str) -> None:
        """Delete a result, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def made(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result saved under `name`; make and save it first if there is none."""
        if not self._path(name).exists():
            self.save(name, make())
        return self._read(self._path(name))

    def _read(self, path: Path) -> dict[str, Any]:
        """A result. Raises InputError for a file that is cut short, of another kind, or holds a
        number that is not finite."""
        content = checkpoints.read(path)
        checkpoints.check_finite(content, str(path))
        return content

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pt"
