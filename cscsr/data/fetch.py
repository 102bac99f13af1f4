"""Downloading the public data sets: pinned, checked, and resumed where it stopped.

Every file comes from a commit of the repository that publishes it (`cscsr.data.sources`) and
must have the SHA-256 that ``upstream.csv`` beside this module lists. A file appears under its name
only when it is complete and correct; an interruption leaves a hidden ``.part`` file, which the next
run resumes (HTTP Range). Needs the standard library, and tqdm for the progress bar.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from cscsr.data.sources import FETCHABLE
from cscsr.errors import InputError, unknown_name

HOST = "https://raw.githubusercontent.com"
"""Where files are fetched from: HOST/REPOSITORY/COMMIT/PATH."""

LISTS = ("holdout.txt", "leaks.txt")
"""The lists of images excluded from training, beside this module; see
`cscsr.data.datasets.training_images`."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

_BLOCK = 2**16


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes
    ----------
    url_path
        Its path on a mirror, REPOSITORY/COMMIT/PATH.
    sha256
        Its SHA-256 as a hex digest.
    name
        Its name on disk.
    """

    url_path: str
    sha256: str
    name: str


def remote_files(dataset: str) -> list[RemoteFile]:
    """Return the files of a data set.

    Raises
    ------
    InputError
        For an unknown or unfetchable data set, with the nearest fetchable ones.
    """
    if dataset not in FETCHABLE:
        raise unknown_name("data set to fetch", dataset, FETCHABLE)
    source = FETCHABLE[dataset]
    with (Path(__file__).parent / "upstream.csv").open(newline="", encoding="utf-8") as file:
        hashes = {
            PurePosixPath(row["path"]): row["sha256"]
            for row in csv.DictReader(file)
            if row["repository"] == source.repository
        }
    return [
        RemoteFile(
            f"{source.repository}/{source.commit}/{path}",
            sha256,
            path.stem.removesuffix(source.suffix) + path.suffix,
        )
        for path, sha256 in hashes.items()
        if str(path.parent) == source.folder
    ]


def fetch(dataset: str, folder: str | Path, *, host: str = HOST, progress: bool = True) -> Path:
    """Download a data set, except for files that exist already and are correct.

    The call also updates the lists of images excluded from training (`LISTS`) in `folder`, for the
    data sets that it holds.

    Parameters
    ----------
    dataset
        Its name in `cscsr.data.sources.FETCHABLE`.
    folder
        The folder of data sets; the files go into ``folder/dataset``.
    host
        The URL of a mirror, which has the files at HOST/REPOSITORY/COMMIT/PATH.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    Path
        The folder of the data set.

    Raises
    ------
    InputError
        For an unknown name, an invalid `host`, a server that cannot be reached or breaks off (the
        same call then resumes), a file with a wrong SHA-256, and a failure of the disk.
    """
    files = remote_files(dataset)
    _check_host(host)
    target = Path(folder) / dataset
    try:
        target.mkdir(parents=True, exist_ok=True)
        bar = tqdm(files, f"fetching {dataset}", unit="file", disable=None if progress else True)
        for file in bar:
            path = target / file.name
            if not (path.is_file() and _sha256(path) == file.sha256):
                _fetch_file(f"{host.rstrip('/')}/{quote(file.url_path)}", path, file.sha256)
        _write_lists(Path(folder))
    except OSError as error:
        place = error.filename or target
        raise InputError(f"{place} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            target.rmdir()  # only if it is empty
    return target


def _check_host(host: str) -> None:
    try:
        scheme = urlsplit(host).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https", "file"):
        raise InputError(f"a mirror must be a URL such as https://example.org, got {host!r}.")


def _fetch_file(url: str, path: Path, sha256: str) -> None:
    """Download `url` to `path`, resuming an interrupted download."""
    part = path.with_name(f".{path.name}.part")
    resumed = part.exists()
    _download(url, part)
    if resumed and _sha256(part) != sha256:  # the .part file may belong to another file
        part.unlink()
        _download(url, part)
    if _sha256(part) != sha256:
        part.unlink()
        raise InputError(
            f"{url} does not have the expected SHA-256 ({sha256[:12]}…), so it was altered on the "
            "way and has been deleted; try another network or mirror."
        )
    part.replace(path)


def _download(url: str, part: Path) -> None:
    """Append the missing bytes of `url` to `part`; start over if the server has no ranges."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "cscsr"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            goes_on = have and answer.status == 206
            with part.open("ab" if goes_on else "wb") as file:
                for block in _blocks(answer):
                    file.write(block)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing is missing; the hash decides
            return
        raise InputError(
            f"the server answered {error.code} ({error.reason}) for {url}; "
            "name another mirror with --mirror."
        ) from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        remedy = "run the command again to resume"
        if isinstance(error, urllib.error.URLError):  # it never began
            remedy = "check the network, or name another server with --mirror"
        raise InputError(f"{url} cannot be fetched ({reason}); {remedy}.") from error


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in blocks. Raises IncompleteRead if the connection ends early."""
    expected = getattr(answer, "length", None)  # file:// has no length
    count = 0
    while True:
        try:
            block = answer.read1(_BLOCK)
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from error
        if not block:
            break
        count += len(block)
        yield block
    if expected is not None and count < expected:
        raise http.client.IncompleteRead(b"", expected - count)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lists(folder: Path) -> None:
    """Add the lines for the images in `folder` to its lists; other lines stay."""
    for name in LISTS:
        ours = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
        path = folder / name
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in ours:
            image, tab, remark = line.partition("\t")
            files = sorted(folder.glob(f"{image.rpartition('.')[0]}.*"))
            if files:
                entry = f"{files[0].relative_to(folder).as_posix()}{tab}{remark}"
                if entry not in lines:
                    lines.append(entry)
        if lines:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
