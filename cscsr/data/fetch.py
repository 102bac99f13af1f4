"""Downloading the public data sets: pinned, checked, and resumed where it stopped.

Every file comes from a commit of the repository that publishes it (`cscsr.data.sources`) and
must have the SHA-256 that ``upstream.csv`` beside this module lists. A file appears under its name
only when it is complete and correct; an interruption leaves a hidden ``.part`` file, which the next
run resumes (HTTP Range). A server is not trusted: a file is no larger than the list
says, comes within `LONGEST_SECONDS`, and is never written through a link. Needs the standard
library, and tqdm for the bar.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from cscsr.data.sources import FETCHABLE
from cscsr.errors import InputError, unknown_name
from cscsr.output import make_folder, printable, unwritable, write_text

HOST = "https://raw.githubusercontent.com"
"""Where files are fetched from: HOST/REPOSITORY/COMMIT/PATH."""

LISTS = ("holdout.txt", "leaks.txt")
"""The lists of images excluded from training, beside this module; see
`cscsr.data.datasets.training_images`."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

LONGEST_SECONDS = 1800.0
"""Seconds that the download of one file may take in all."""

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
    most_bytes
        The most bytes that it can have: its size where a copy was at hand when the list was made,
        else what its pixels take uncompressed (of Urban100, 8 MiB).
    """

    url_path: str
    sha256: str
    name: str
    most_bytes: int


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
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    return [
        RemoteFile(
            f"{source.repository}/{source.commit}/{source.folder}/{path}",
            row["sha256"],
            path.stem.removesuffix(source.suffix) + path.suffix,
            int(row["most_bytes"]),
        )
        for row in rows
        for path in [PurePosixPath(row["file"])]
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
        The URL of a mirror, which has the files at HOST/REPOSITORY/COMMIT/PATH, without a user
        name or password.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    Path
        The folder of the data set.

    Raises
    ------
    InputError
        For an unknown name, an invalid `host`, a server that cannot be reached, breaks off or is
        too slow (the same call then resumes), a file that is too large or has a wrong SHA-256, and
        a failure of the disk.
    """
    files = remote_files(dataset)
    _check_host(host)
    target = Path(folder) / dataset
    make_folder(target)
    try:
        with tqdm(
            files, f"fetching {dataset}", unit="file", disable=None if progress else True
        ) as bar:
            for file in bar:
                path = target / file.name
                if not (path.is_file() and _sha256(path) == file.sha256):
                    _fetch_file(f"{host.rstrip('/')}/{quote(file.url_path)}", path, file)
        _write_lists(Path(folder))
    except OSError as error:
        raise unwritable(error.filename or target, error) from error
    finally:
        with contextlib.suppress(OSError):
            target.rmdir()  # only if it is empty
    return target


def _check_host(host: str) -> None:
    """Refuse what is no plain address; a password in it is not repeated."""
    try:
        parts = urlsplit(host)
    except ValueError:
        parts = urlsplit("")
    if "@" in host or parts.query or parts.fragment:
        raise InputError(
            "a mirror must be a URL such as https://example.org, without a user name, a password, "
            "a query or a fragment."
        )
    if parts.scheme not in ("http", "https", "file"):
        raise InputError(f"a mirror must be a URL such as https://example.org, got {host!r}.")


def _fetch_file(url: str, path: Path, file: RemoteFile) -> None:
    """Download `url` to `path`, resuming an interrupted download."""
    part = path.with_name(f".{path.name}.part")
    if part.is_symlink() or (part.exists() and not part.is_file()):  # not what a run leaves
        part.unlink()
    resumed = part.exists()
    _download(url, part, file.most_bytes)
    if resumed and _sha256(part) != file.sha256:  # the .part file may belong to another file
        part.unlink()
        _download(url, part, file.most_bytes)
    if _sha256(part) != file.sha256:
        part.unlink()
        raise InputError(
            f"{url} does not have the expected SHA-256 ({file.sha256[:12]}…), so it was altered on "
            "the way and has been deleted; try another network or mirror."
        )
    part.replace(path)


def _append_to(part: Path, afresh: bool) -> BinaryIO:
    """`part` opened for appending, emptied if `afresh`, and never what a link leads to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if afresh else 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(part, flags, 0o666), "ab")


def _download(url: str, part: Path, most_bytes: int) -> None:
    """Append the missing bytes of `url` to `part`; start over if the server has no ranges."""
    have = part.stat().st_size if part.exists() else 0
    if have > most_bytes:
        part.unlink()
        have = 0
    deadline = time.monotonic() + LONGEST_SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": "cscsr"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with (
            _limited_opener(LONGEST_SECONDS) as opener,
            opener.open(request, timeout=min(TIMEOUT, LONGEST_SECONDS)) as answer,
        ):
            goes_on = bool(have) and answer.status == 206
            count = have if goes_on else 0
            with _append_to(part, afresh=not goes_on) as file:
                for block in _blocks(answer, deadline):
                    count += len(block)
                    if count > most_bytes:
                        break
                    file.write(block)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing is missing; the hash decides
            return
        raise InputError(
            f"the server answered {error.code} ({printable(str(error.reason))[:100]}) for {url}; "
            "name another mirror with --mirror."
        ) from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,  # an address to which a server redirects that is none
    ) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        remedy = "run the command again to resume"
        if isinstance(error, (urllib.error.URLError, http.client.InvalidURL, ValueError)):
            remedy = "check the network, or name another server with --mirror"
        about = printable(str(reason))[:200]
        raise InputError(f"{url} cannot be fetched ({about}); {remedy}.") from error
    if count > most_bytes:
        part.unlink()
        raise InputError(
            f"{url} has more than the {most_bytes} bytes that were expected at most, so it was "
            "altered on the way and has been deleted; try another network or mirror."
        )


@contextlib.contextmanager
def _limited_opener(seconds: float) -> Iterator[urllib.request.OpenerDirector]:
    """An opener whose connections are shut down unless the answer has begun within `seconds`; the
    time limit of a socket starts anew with each byte."""
    timers: list[threading.Timer] = []

    def limited(kind: type[http.client.HTTPConnection]) -> Callable[..., Any]:
        def connect(*arguments: Any, **options: Any) -> http.client.HTTPConnection:
            connection = kind(*arguments, **options)
            timers.append(threading.Timer(seconds, _shut_down, [connection]))
            timers[-1].daemon = True
            timers[-1].start()
            return connection

        return connect

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(limited(http.client.HTTPConnection), req)

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(limited(http.client.HTTPSConnection), req)

    try:
        yield urllib.request.build_opener(Plain, Secure)
    finally:
        for timer in timers:
            timer.cancel()


def _shut_down(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _blocks(answer: http.client.HTTPResponse, deadline: float) -> Iterator[bytes]:
    """The body in blocks. Raises IncompleteRead if the connection ends early, and TimeoutError
    after `deadline`."""
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
        if time.monotonic() > deadline:
            raise TimeoutError(f"it takes more than {LONGEST_SECONDS:g} seconds")
    if expected is not None and count < expected:
        raise http.client.IncompleteRead(b"", expected - count)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lists(folder: Path) -> None:
    """Add the lines for the images in `folder` to its lists; other lines stay."""
    from cscsr.data.datasets import list_lines

    for name in LISTS:
        ours = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
        path = folder / name
        lines = list_lines(path)
        for line in ours:
            image, tab, remark = line.partition("\t")
            files = sorted(folder.glob(f"{image.rpartition('.')[0]}.*"))
            if files:
                entry = f"{files[0].relative_to(folder).as_posix()}{tab}{remark}"
                if entry not in lines:
                    lines.append(entry)
        if lines:
            write_text(path, "".join(f"{line}\n" for line in lines))
