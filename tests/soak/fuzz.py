"""Damaged files of every kind, given to the public readers in this process."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import random
import resource
import shutil
import signal
import sqlite3
import struct
import time
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image, features

from cscsr import InputError, SuperResolution, weights
from cscsr.compare.page import main as remake_page
from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results, read_results
from cscsr.csc_sr.solver import CSCSR
from cscsr.csc_sr.store import RunStore
from cscsr.data.datasets import holdout_images, load_dataset, training_images
from cscsr.imaging import read_image, read_picture
from cscsr.network import NetworkSolver
from cscsr.sparse.lista import LISTA
from cscsr.training import lista
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
from tests.soak.counts import ACCEPTED, REFUSED, Case, Fault
from tests.soak.downloads import Downloads
from tests.soak.processes import run

LIMIT_SECONDS = 60
"""An input that takes longer hangs a reader."""

LIMIT_MEGABYTES = 1500
"""An input for which the peak of memory grows by more is a fault: the inputs are small."""

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)

SIGNALS = list(np.random.default_rng(0).normal(0, 0.1, (2, 16, 16)).astype(np.float32))
FILTERS = np.random.default_rng(1).normal(0, 0.3, (3, 1, 3, 3)).astype(np.float32)
"""What LISTA is trained for: signals, and a dictionary."""

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 10**9, 10**30, -(10**30), 0.5, -1e300, 1e-320),
    *(math.nan, math.inf, "", "x", "0", "2", "é\n\x1b[2J", "../..", "a" * 5000, "\0"),
    *([], {}, [[]], [0], [2, 2], {"": 0}, {"2": {}}, list(range(300))),
)

MARKS = (b"\0" * 4, b"\xff" * 4, b"\0" * 40, b"{}", b'"', b"\n", b"\x1b[2J", b"\xed\xa0\x80", b"=")


class _Interrupting(np.ndarray):
    """An image that interrupts a training at its eleventh crop."""

    crops = 0

    def __getitem__(self, index: Any) -> Any:
        _Interrupting.crops += 1
        if _Interrupting.crops % 11 == 0:
            raise KeyboardInterrupt
        return np.asarray(self)[index]


class _Hang(BaseException):
    """An input has taken too long."""


def damaged(content: bytes, source: random.Random) -> bytes:
    """Bytes with values changed, taken out, put in, moved, or cut off."""
    data = bytearray(content)
    for _ in range(source.choice([1, 1, 2, 4, 8])):
        reach = min(len(data), source.choice([16, 64, 300, len(data) or 1]))
        at = source.randrange(reach) if reach else 0
        length = source.choice([1, 2, 4, 16, 100])
        way = source.randrange(8)
        if way < 4 and data:
            data[at] = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
        elif way == 4:
            del data[at : at + length]
        elif way == 5:
            data[at:at] = source.choice(MARKS)
        elif way == 6:
            data[at:at] = data[at : at + length]
        elif source.random() < 0.3:
            del data[at:]
        else:
            data[at : at + 4] = struct.pack("<I", source.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
    return bytes(data)


def changed(value: Any, source: random.Random) -> Any:
    """A nested value with one to three places replaced, removed, renamed or doubled."""
    value = copy.deepcopy(value)
    for _ in range(source.choice([1, 1, 1, 2, 3])):
        holder, key = _place(value, source)
        if holder is None:
            return source.choice(HOSTILE)
        way = source.randrange(10)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        elif way == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif way == 3 and type(holder[key]) in (int, float):
            holder[key] = source.choice([holder[key] + 1, -holder[key], holder[key] * 1.5, 1e9])
        elif way == 4 and isinstance(holder[key], torch.Tensor):
            holder[key] = source.choice([holder[key][None], holder[key].double() * math.nan])
        else:
            holder[key] = copy.deepcopy(source.choice(HOSTILE))
    return value


def _place(value: Any, source: random.Random) -> tuple[Any, Any]:
    """A random place inside a nested value: what holds it, and its key or index."""
    places: list[tuple[Any, Any]] = []

    def visit(holder: Any) -> None:
        keys = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                visit(holder[key])

    if isinstance(value, (dict, list)):
        visit(value)
    return source.choice(places) if places else (None, None)


def toml(table: dict[str, Any]) -> str:
    """A table as TOML, tables in it on one line; what TOML has no word for is left out."""
    return "".join(f"{_word(k)} = {_word(v)}\n" for k, v in table.items() if v is not None)


def _word(value: Any) -> str:
    if isinstance(value, dict):
        inner = (f"{_word(str(k))} = {_word(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_word(item) for item in value if item is not None) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=True)


def with_metadata(content: bytes, metadata: Any) -> bytes:
    """A safetensors file with other metadata."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["cscsr"] = json.dumps(metadata)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


class Fuzz:
    """The trials with damaged files.

    Parameters
    ----------
    inputs
        From `tests.soak.inputs.write_inputs`.
    scratch
        A folder for the sound files of which the damaged ones are made.
    """

    def __init__(self, inputs: Path, scratch: Path) -> None:
        self._inputs, self._scratch = inputs, scratch

    def cases(self) -> list[Case]:
        """The kinds of inputs, as often in the list as they are to be tried."""
        kinds = {
            "image": (12, self._image),
            "weight file": (6, self._weight_file),
            "recipe": (5, self._recipe),
            "checkpoint": (2, self._checkpoint),
            "checkpoint of CSC-SR": (1, self._stored),
            "curve": (1, self._curve),
            "results database": (3, self._database),
            "manifest": (2, self._manifest),
            "list of images": (3, self._list),
            "checkpoint of LISTA": (2, self._lista),
            "download": (1, Downloads(self._inputs).write),
        }
        return [
            Case(f"fuzz {name}", partial(self._tried, write))
            for name, (times, write) in kinds.items()
            for _ in range(times)
        ]

    def _tried(
        self,
        write: Callable[[random.Random, Path], Callable[[], Any]],
        source: random.Random,
        folder: Path,
    ) -> Iterator[str]:
        """Write an input and read it: a value, or one sentence."""
        read = write(source, folder)
        peak, since = _peak_megabytes(), time.monotonic()
        before = signal.signal(signal.SIGALRM, _raise_hang)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
        try:
            with (
                contextlib.redirect_stderr(io.StringIO()),
                contextlib.redirect_stdout(io.StringIO()),
                warnings.catch_warnings(action="ignore"),
            ):
                read()
            outcome = ACCEPTED
        except InputError as error:
            text = str(error)
            if "\n" in text or not text.strip() or not _printable(text):
                raise Fault("traceback", f"not one printable sentence: {text!r}") from error
            outcome = REFUSED
        except Fault:
            raise
        except _Hang:
            raise Fault("hang", traceback.format_exc()[-3000:]) from None
        except (Exception, SystemExit):
            raise Fault("traceback", traceback.format_exc()[-3000:]) from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        if time.monotonic() - since > LIMIT_SECONDS:
            raise Fault("hang", f"{time.monotonic() - since:.0f} s")
        if (more := _peak_megabytes() - peak) > LIMIT_MEGABYTES:
            raise Fault("memory", f"{more} MB for a small input")
        yield outcome

    # Images

    @cached_property
    def _images(self) -> list[tuple[str, bytes]]:
        """Sound images of every format, with their suffixes."""
        images = []
        modes = {"PNG": ["RGB", "L", "RGBA", "P", "1", "I;16", "LA"], "BMP": ["RGB", "L", "P"]}
        modes |= {"JPEG": ["RGB", "L", "CMYK"], "TIFF": ["RGB", "L", "CMYK", "I;16"]}
        modes |= {"GIF": ["P"], "PPM": ["RGB"]}
        for kind in ("webp", "avif"):
            if kind in features.get_supported():
                modes[kind.upper()] = ["RGB", "RGBA"]
        suffixes = {"JPEG": "jpg", "TIFF": "tif"}
        grey = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
        for kind, names in modes.items():
            for mode in names:
                image = grey if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
                image.save(content := io.BytesIO(), kind)
                images.append((suffixes.get(kind, kind.lower()), content.getvalue()))
        deep = PIXELS.astype(np.uint16) * 250
        for options in (
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True},
            {"tile": (16, 16), "compression": "zlib"},
            {"planarconfig": "separate", "photometric": "rgb"},
            {"bigtiff": True},
            {"byteorder": ">"},
        ):
            tifffile.imwrite(content := io.BytesIO(), deep, **options)
            images.append(("tif", content.getvalue()))
        tifffile.imwrite(content := io.BytesIO(), (PIXELS / 255).astype(np.float32))
        return [*images, ("tif", content.getvalue())]

    def _image(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        suffix, content = source.choice(self._images)
        path = folder / f"a.{source.choice([suffix, suffix, 'png', 'tif'])}"
        path.write_bytes(damaged(content, source))
        if source.random() < 0.3:
            return lambda: read_image(path)
        if source.random() < 0.1:
            return lambda: list(load_dataset(folder.name, folder.parent))
        return lambda: read_picture(path)

    # Weight files

    @cached_property
    def _weight_files(self) -> dict[str, tuple[bytes, Callable[[Path], Any]]]:
        """Sound weight files, each with what reads its kind."""
        small = np.linspace(0, 1, 196, dtype=np.float32).reshape(14, 14)

        def network(path: Path) -> None:
            solver = NetworkSolver(weights=str(path))
            solver.solve(SuperResolution(small, 2))

        def csc_sr(path: Path) -> None:
            CSCSR("ista", weights=str(path)).solve(SuperResolution(small, 2))

        def lista(path: Path) -> None:
            LISTA(form="step", weights=str(path)).dictionary()

        tiny = (self._trained / "weights.safetensors").read_bytes()
        files = {"tiny": (tiny, network)}
        for name, read in (("srcnn", network), ("csc-sr-ista", csc_sr), ("lista-step", lista)):
            files[name] = (weights.weights_path(name).read_bytes(), read)
        return files

    def _weight_file(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        content, read = self._weight_files[source.choice(list(self._weight_files))]
        path = folder / "a.safetensors"
        if source.random() < 0.4:
            path.write_bytes(damaged(content, source))
        else:
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["cscsr"])
            path.write_bytes(with_metadata(content, changed(metadata, source)))
        return lambda: read(path)

    # Training

    @cached_property
    def _trained(self) -> Path:
        """A training of two steps: its folder."""
        out = self._scratch / "fuzzed-training"
        self._train(out, resume=False)
        return out

    def _train(self, out: Path, resume: bool) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            recipe = load_recipe(self._inputs / "tiny.toml")
            train(recipe, self._inputs, out, steps=2, bf16=False, resume=resume)

    def _recipe(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        path = folder / "a.toml"
        names = [self._inputs / "tiny.toml"]
        names += sorted((Path(weights.__file__).parents[1] / "training" / "recipes").glob("*.toml"))
        content = source.choice(names).read_bytes()
        if source.random() < 0.4:
            path.write_bytes(damaged(content, source))
        else:
            path.write_text(toml(changed(tomllib.loads(content.decode()), source)))
        return lambda: load_recipe(path)

    def _checkpoint(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        out = folder / "out"
        shutil.copytree(self._trained, out)
        path = out / "checkpoint.pt"
        if source.random() < 0.5:
            path.write_bytes(damaged(path.read_bytes(), source))
        else:
            torch.save(changed(torch.load(path, weights_only=True), source), path)
        return lambda: self._train(out, resume=True)

    def _stored(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        store = RunStore(folder, {"atoms": 8})
        store.save("filters", {"a": torch.ones(3), "b": [1.0, 2.0], "c": {"d": "text"}})
        path = source.choice(sorted(path for path in folder.iterdir() if path.is_file()))
        path.write_bytes(damaged(path.read_bytes(), source))
        return lambda: RunStore(folder, {"atoms": 8}).load("filters")

    @cached_property
    def _steps(self) -> dict[str, bytes]:
        """Checkpoints of each form of LISTA, after ten of twelve updates."""
        contents = {}
        for form in lista.FORMS:
            path = self._scratch / f"lista-{form}"
            with contextlib.suppress(KeyboardInterrupt):
                self._train_lista(form, path, [image.view(_Interrupting) for image in SIGNALS])
            contents[form] = path.read_bytes()
        return contents

    def _train_lista(self, form: str, path: Path, images: Sequence[np.ndarray]) -> None:
        options = lista.Options(steps=2, updates=12, batch=1, crop=12)
        with contextlib.redirect_stderr(io.StringIO()):
            lista.train(form, images, FILTERS, options, checkpoint=path)

    def _lista(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        form, content = source.choice(list(self._steps.items()))
        path = folder / "checkpoint"
        if source.random() < 0.4:
            path.write_bytes(damaged(content, source))
        else:
            state = torch.load(io.BytesIO(content), weights_only=True)
            torch.save(changed(state, source), path)
        return lambda: self._train_lista(form, path, SIGNALS)

    def _curve(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        out = folder / "out"
        shutil.copytree(self._trained, out)
        path = out / "curve.csv"
        path.write_bytes(damaged(path.read_bytes(), source))
        return lambda: self._train(out, resume=True)

    # Results

    @cached_property
    def _compared(self) -> Path:
        """The database of a small comparison, and with it a page."""
        out = self._scratch / "fuzzed-comparison"
        words = ["compare", "--data", self._inputs, "--datasets", "mine", "--scales", "2", "3"]
        words += ["--solvers", "bicubic", "srcnn", "--showcase", "1", "--out", out]
        run(["-m", "cscsr", *words], self._scratch).check(0)
        with closing(sqlite3.connect(out / FILE_NAME)) as database:  # pictures of 2 MB are no input
            database.execute("DELETE FROM figures")
            database.commit()
            database.execute("VACUUM")
        return out / FILE_NAME

    def _database(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        path = folder / FILE_NAME
        shutil.copy(self._compared, path)
        if source.random() < 0.5:
            path.write_bytes(damaged(path.read_bytes(), source))
        else:
            with closing(sqlite3.connect(path)) as database, contextlib.suppress(sqlite3.Error):
                _change_database(database, source)
                database.commit()
        way = source.random()
        if way < 0.4:
            return lambda: read_results(path)
        if way < 0.6:

            def resume() -> None:
                with Results(path) as results:
                    results.start_run("again", {}, {})
                    results.frame()

            return resume
        return lambda: _page(folder)

    # Lists

    def _manifest(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        rows = {name: weights.manifest()[name] for name in ("srcnn", "lista-step")}
        text = json.dumps(rows, indent=2).encode()
        if source.random() < 0.5:
            (folder / "manifest.json").write_bytes(damaged(text, source))
        else:
            (folder / "manifest.json").write_text(json.dumps(changed(rows, source)))
        shutil.copy(weights.weights_path("srcnn"), folder)

        def read() -> None:
            before = weights.FOLDER
            weights.FOLDER = folder
            try:
                weights.load("srcnn")
            finally:
                weights.FOLDER = before

        return read

    def _list(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        shutil.copytree(self._inputs / "T91", folder / "T91")
        for name in ("holdout.txt", "leaks.txt"):
            shutil.copy(self._inputs / name, folder)
        path = folder / source.choice(["holdout.txt", "leaks.txt"])
        path.write_bytes(damaged(path.read_bytes() * source.choice([1, 1, 5]), source))

        def read() -> None:
            training_images(folder, ["T91"])
            for image in holdout_images(folder):
                read_image(image)

        return read


def _change_database(database: sqlite3.Connection, source: random.Random) -> None:
    """One to three statements that leave a sound file with a wrong content."""
    for _ in range(source.choice([1, 1, 2, 3])):
        tables = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
        ]
        table = source.choice(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column = source.choice(columns)
        way = source.randrange(10)
        if way == 0:
            database.execute(f"DROP TABLE {table}")
        elif way == 1:
            database.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
        elif way == 2:
            database.execute(f"DELETE FROM {table} WHERE random() % 2")
        elif way == 3:
            database.execute(f"PRAGMA {source.choice(['user_version', 'application_id'])} = 4")
        elif column in ("plan", "machine") and way < 8:
            (text,) = database.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
            with contextlib.suppress(ValueError, TypeError):  # an earlier change may have spoilt it
                text = json.dumps(changed(json.loads(text), source))
            database.execute(f"UPDATE {table} SET {column} = ?", (text,))
        else:
            value = source.choice([v for v in HOSTILE if not isinstance(v, (list, dict))])
            value = f"{value}" if isinstance(value, int) and abs(value) > 2**62 else value
            value = source.choice([value, b"\x00\xff", "[1, 2"])
            which = source.choice(["", " WHERE rowid = 1", " WHERE rowid % 2"])
            database.execute(f"UPDATE {table} SET {column} = ?{which}", (value,))


def _page(folder: Path) -> None:
    """Make the page again; what the command refuses raises InputError."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = remake_page([str(folder)])
    if code:
        raise InputError(said.getvalue().removesuffix("\n"))


def _printable(text: str) -> bool:
    return not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in text)


def _peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _raise_hang(*_: object) -> None:
    raise _Hang
