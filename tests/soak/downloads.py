"""Downloads from a server on this machine that cannot be trusted."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cscsr.data import fetch as fetching
from cscsr.data.fetch import RemoteFile, fetch
from cscsr.errors import InputError
from tests.soak.counts import Fault

SECONDS = 0.3
"""How long a hostile server may be silent, and three times as long for a file in all."""

_ENOUGH = 2**22
"""Bytes after which an endless answer ends: many times what any file may have."""


class _Server(ThreadingHTTPServer):
    """Serves `files` by name at /WAY/FRACTION/..., in a way of `WAYS`; FRACTION in [0, 1) says
    where in the file it goes wrong."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Clients that have had enough close the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        _, way, fraction, *_, name = self.path.split("/")
        body = self.server.files[name]
        WAYS[way](self, body, int(float(fraction) * len(body)))

    def answer(self, body: bytes, status: int = 200, **headers: object) -> None:
        """Answer with a length that is right unless `headers` has another (None: without)."""
        self.send_response(status)
        for header, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                self.send_header(header.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _sound(handler: _Handler, body: bytes, _: int) -> None:
    first = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    if not first:
        handler.answer(body)
    elif first >= len(body):
        handler.answer(b"", 416)
    else:
        about = f"bytes {first}-{len(body) - 1}/{len(body)}"
        handler.answer(body[first:], 206, Content_Range=about)


def _endless(handler: _Handler, body: bytes, _: int) -> None:
    handler.answer(body, Content_Length=None)
    for _ in range(_ENOUGH // len(body)):
        handler.wfile.write(body)


def _stalls(handler: _Handler, body: bytes, at: int) -> None:
    handler.answer(body[:at], Content_Length=len(body))
    threading.Event().wait(4 * SECONDS)


def _trickles(handler: _Handler, body: bytes, at: int) -> None:
    handler.answer(body[:at], Content_Length=len(body))
    for _ in range(40):
        threading.Event().wait(SECONDS / 3)
        handler.wfile.write(body[at : at + 1])


def _altered(handler: _Handler, body: bytes, at: int) -> None:
    _sound(handler, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], at)


def _redirect(to: str) -> Callable[[_Handler, bytes, int], None]:
    def redirect(handler: _Handler, _: bytes, at: int) -> None:
        name = handler.path.rpartition("/")[2]
        handler.answer(b"", (301, 302, 303, 307, 308)[at % 5], Location=to.format(name=name))

    return redirect


def _wrong_range(handler: _Handler, body: bytes, at: int) -> None:
    """The end of the file, whatever was asked for."""
    about = f"bytes {at}-{len(body) - 1}/{len(body)}"
    handler.answer(body[at:], 206, Content_Range=about)


def _chunks(end: bytes) -> Callable[[_Handler, bytes, int], None]:
    def chunks(handler: _Handler, body: bytes, at: int) -> None:
        handler.answer(b"", Content_Length=None, Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%b\r\n" % (at, body[:at]) + end)

    return chunks


WAYS: dict[str, Callable[[_Handler, bytes, int], None]] = {
    "sound": _sound,
    "too-long": lambda handler, body, at: handler.answer(body + body[: at + 1]),
    "endless": _endless,
    "short": lambda handler, body, at: handler.answer(body[:at], Content_Length=len(body)),
    "shorter": lambda handler, body, at: handler.answer(body[:at]),
    "stalls": _stalls,
    "trickles": _trickles,
    "altered": _altered,
    "wrong-range": _wrong_range,
    "redirect-sound": _redirect("/sound/0/{name}"),
    "redirect-altered": _redirect("/altered/0.5/{name}"),
    "redirect-itself": _redirect("/redirect-itself/0/{name}"),
    "redirect-file": _redirect("file:///etc/hosts"),
    "redirect-nowhere": _redirect("http://127.0.0.1:9/{name}"),
    "redirect-nothing": _redirect(""),
    "redirect-ftp": _redirect("ftp://127.0.0.1:9/{name}"),
    "redirect-broken": _redirect("http://[::1/\x1b[2J"),
    "redirect-dots": _redirect("http://a..b/{name}"),
    "redirect-port": _redirect("http://127.0.0.1:x/{name}"),
    "error": lambda handler, body, at: handler.answer(body, 400 + at % 150),
    "no-content": lambda handler, body, at: handler.answer(b"", 204 + at % 3),
    "length-text": lambda handler, body, at: handler.answer(body, Content_Length="many"),
    "length-negative": lambda handler, body, at: handler.answer(body, Content_Length=-1),
    "length-huge": lambda handler, body, at: handler.answer(body, Content_Length=10**30),
    "chunks-end": _chunks(b""),
    "chunks-text": _chunks(b"many\r\n"),
    "chunks-huge": _chunks(b"f" * 40 + b"\r\nx"),
    "chunks-long": _chunks(b"f" * 70_000 + b"\r\n"),
    "no-http": lambda handler, body, at: handler.wfile.write(body[at:]) and None,
    "escapes": lambda handler, body, at: (
        handler.wfile.write(b"HTTP/1.1 500 \x1b[2J\x07" + b"x" * at + b"\r\n\r\n") and None
    ),
    "headers": lambda handler, body, at: (
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n" + body) and None
    ),
    "silence": lambda handler, body, at: None,
}
"""What a server does, by the name of its address."""


class Downloads:
    """The trials with a server that cannot be trusted.

    Parameters
    ----------
    inputs
        From `tests.soak.inputs.write_inputs`; its set `mine` is what is served.
    """

    def __init__(self, inputs: Path) -> None:
        self._inputs = inputs

    @cached_property
    def _server(self) -> _Server:
        return _Server(
            {path.name: path.read_bytes() for path in sorted((self._inputs / "mine").iterdir())}
        )

    def write(self, source: random.Random, folder: Path) -> Callable[[], Any]:
        """Prepare a download in a folder; the function that is returned runs it, checks the folder,
        and downloads the same again from a sound server."""
        server = self._server
        bodies = dict(source.sample(sorted(server.files.items()), 2))
        way, fraction = source.choice(list(WAYS)), source.random()
        target, precious = folder / "T91", folder / "precious"
        target.mkdir()
        precious.write_bytes(b"mine")
        _prepare(source, target, next(iter(bodies.items())), precious)
        files = [
            RemoteFile(f"pinned/{name}", hashlib.sha256(body).hexdigest(), name, len(body))
            for name, body in bodies.items()
        ]
        host = f"http://127.0.0.1:{server.server_address[1]}"

        def download() -> None:
            refused = None
            try:
                _fetch(files, folder, f"{host}/{way}/{fraction}", SECONDS)
            except InputError as error:
                refused = error
            _check(target, bodies, precious, whole=refused is None)
            _fetch(files, folder, f"{host}/sound/0", 60)
            _check(target, bodies, precious, whole=True)
            if refused is not None:
                raise refused

        return download


def _prepare(source: random.Random, target: Path, file: tuple[str, bytes], precious: Path) -> None:
    """Leave something where a download is to go on."""
    name, body = file
    part = target / f".{name}.part"
    left = source.choice(["nothing", "nothing", "part", "other", "long", "link", "loop", "pipe"])
    if left == "part":
        part.write_bytes(body[: source.randrange(len(body) + 1)])
    elif left == "other":
        part.write_bytes(source.randbytes(source.randrange(len(body))))
    elif left == "long":
        part.write_bytes(body * 3)
    elif left == "link":
        part.symlink_to(source.choice([precious, precious.with_name("absent")]))
    elif left == "loop":
        part.symlink_to(part.name)
    elif left == "pipe":
        os.mkfifo(part)


def _fetch(files: list[RemoteFile], folder: Path, host: str, seconds: float) -> None:
    """Download `files` as the set T91, with limits of time that suit the soak."""
    names = ("remote_files", "TIMEOUT", "LONGEST_SECONDS")
    before = {name: getattr(fetching, name) for name in names}
    after = (lambda dataset: files), seconds, 3 * seconds
    for name, value in zip(names, after, strict=True):
        setattr(fetching, name, value)
    try:
        fetch("T91", folder, host=host, progress=False)
    finally:
        for name, value in before.items():
            setattr(fetching, name, value)


def _check(target: Path, bodies: dict[str, bytes], precious: Path, whole: bool) -> None:
    """What is there under its name is right, and a .part is no larger than its file; all files are
    there and nothing else, where `whole`."""
    most = max(len(body) for body in bodies.values())
    paths = list(target.iterdir()) if target.exists() else []
    for path in paths:
        if path.name in bodies:
            if path.is_symlink() or path.read_bytes() != bodies[path.name]:
                raise Fault("lost or doubled", f"{path.name} is there and not right")
        elif path.is_file() and path.stat().st_size > most:
            raise Fault("left behind", f"{path.name} has {path.stat().st_size} bytes")
    if whole and {path.name for path in paths} != bodies.keys():
        raise Fault("lost or doubled", f"{sorted(path.name for path in paths)}")
    if precious.read_bytes() != b"mine" or precious.with_name("absent").exists():
        raise Fault("lost or doubled", "a file that a link leads to was written")
