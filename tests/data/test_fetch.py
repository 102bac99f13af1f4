"""Downloads from a real server on this machine: whole, broken off, resumed, altered."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cscsr import InputError
from cscsr.cli import main
from cscsr.data import fetch as fetching
from cscsr.data.datasets import holdout_images, load_dataset, training_images
from cscsr.data.fetch import RemoteFile, fetch, remote_files
from cscsr.data.sources import FETCHABLE
from cscsr.imaging import read_image, write_image


class Server(ThreadingHTTPServer):
    """Serves `files` (URL path to bytes), with byte ranges, and notes what it was asked for.

    cut: path to the number of bytes after which the connection is dropped, once.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        first = 0
        if wanted and self.server.ranges:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut.pop(self.path, len(body))])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    """A server of three images, which the table of pinned files lists as the set T91."""
    files = []
    served = Server()
    rng = np.random.default_rng(0)
    for name in ("t1.png", "t16.png", "tt6.png"):
        write_image(tmp_path / name, rng.integers(0, 256, (90, 80, 3)).astype(np.uint8))
        body = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        served.files[f"/pinned/{name}"] = body
        digest = hashlib.sha256(body).hexdigest()
        files.append(RemoteFile(f"pinned/{name}", digest, name, len(body)))
    known = remote_files
    monkeypatch.setattr(
        fetching, "remote_files", lambda name: files if name == "T91" else known(name)
    )
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_pinned_files_are_the_known_sets():
    names = {name: [file.name for file in remote_files(name)] for name in FETCHABLE}
    assert {name: len(files) for name, files in names.items()} == {
        "Set5": 5,
        "Set14": 14,
        "B100": 100,
        "Urban100": 100,
        "T91": 91,
        "BSD200": 200,
        "BSD200test": 200,
        "SunHays80": 80,
        "CID22": 209,
        "CID22val": 20,
    }
    assert names["Set5"][0] == "baby.bmp" and names["Urban100"][0] == "img_001.png"
    assert all(len(set(files)) == len(files) for files in names.values())
    first = remote_files("Urban100")[0]
    assert first.url_path.startswith("jbhuang0604/SelfExSR/8f6dd8c1")
    with pytest.raises(InputError, match="did you mean Set14 or Set5"):
        remote_files("set1")
    with pytest.raises(InputError, match="unknown data set to fetch 'DIV2K'"):
        remote_files("DIV2K")


def test_pinned_hashes_are_those_of_the_research_images(shared_data):
    """Those that are served as they are stored here: JPEG and PNG files."""
    for name in ("B100", "SunHays80", "CID22", "CID22val"):
        for file in remote_files(name)[:3]:
            body = (shared_data / name / file.name).read_bytes()
            assert hashlib.sha256(body).hexdigest() == file.sha256
    for name in FETCHABLE.keys() - {"Urban100"}:  # of which some are stored in another format
        here = {path.stem for path in (shared_data / name).iterdir()}
        assert {Path(file.name).stem for file in remote_files(name)} == here


def test_fetched_set_is_whole_and_is_not_fetched_again(server, tmp_path, capsys):
    command = ["data", "fetch", "T91", "--data", str(tmp_path), "--mirror", server.url]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"--data {tmp_path}" in printed and "T91 is by Yang et al. 2010; terms" in printed
    for path in (tmp_path / "T91").iterdir():
        assert path.read_bytes() == server.files[f"/pinned/{path.name}"]
    assert len(load_dataset("T91", tmp_path)) == 3
    assert [path.name for path in holdout_images(tmp_path)] == ["t16.png", "tt6.png"]
    assert [path.name for path in training_images(tmp_path, ["T91"])] == ["t1.png"]
    count = len(server.requests)
    assert main(command) == 0
    assert len(server.requests) == count
    (tmp_path / "T91" / "t1.png").write_bytes(b"damaged")
    assert main(command) == 0
    assert read_image(tmp_path / "T91" / "t1.png").shape == (90, 80, 3)
    assert server.requests[count:] == [("/pinned/t1.png", None)]


def test_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cut["/pinned/t16.png"] = 5000
    with pytest.raises(InputError, match=r"t16\.png cannot be fetched .* run the command again"):
        fetch("T91", tmp_path, host=server.url)
    assert files(tmp_path / "T91").keys() == {"t1.png", ".t16.png.part"}
    assert files(tmp_path / "T91")[".t16.png.part"] == 5000
    fetch("T91", tmp_path, host=server.url)
    assert server.requests[2:] == [("/pinned/t16.png", "bytes=5000-"), ("/pinned/tt6.png", None)]
    assert files(tmp_path / "T91") == {
        name.removeprefix("/pinned/"): len(body) for name, body in server.files.items()
    }


def test_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    server.cut["/pinned/t1.png"] = 100
    with pytest.raises(InputError, match="run the command again"):
        fetch("T91", tmp_path, host=server.url)
    fetch("T91", tmp_path, host=server.url)
    assert read_image(tmp_path / "T91" / "t1.png").shape == (90, 80, 3)


@pytest.mark.parametrize("left", [b"of another file", b"x" * 10**6])
def test_what_was_left_of_another_file_is_thrown_away(server, tmp_path, left):
    (tmp_path / "T91").mkdir()
    (tmp_path / "T91" / ".t1.png.part").write_bytes(left)
    fetch("T91", tmp_path, host=server.url)
    assert read_image(tmp_path / "T91" / "t1.png").shape == (90, 80, 3)


def test_part_that_was_whole_is_taken(server, tmp_path):
    (tmp_path / "T91").mkdir()
    (tmp_path / "T91" / ".t1.png.part").write_bytes(server.files["/pinned/t1.png"])
    fetch("T91", tmp_path, host=server.url)
    assert server.requests.count(("/pinned/t1.png", None)) == 0


def test_altered_file_is_refused_and_not_kept(server, tmp_path, capsys):
    server.files["/pinned/t16.png"] = server.files["/pinned/t1.png"]
    command = ["data", "fetch", "T91", "--data", str(tmp_path), "--mirror", server.url]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("cscsr: ") and "SHA-256" in said and "t16.png" in said
    assert list(files(tmp_path / "T91")) == ["t1.png"]


def test_server_that_lacks_the_file_or_is_not_there(server, tmp_path):
    del server.files["/pinned/t1.png"]
    with pytest.raises(InputError, match="answered 404"):
        fetch("T91", tmp_path, host=server.url)
    with pytest.raises(InputError, match=r"cannot be fetched .*; check the network"):
        fetch("T91", tmp_path, host="http://127.0.0.1:9")
    assert not (tmp_path / "T91").exists(), "nothing came"


def test_folder_as_a_mirror(server, tmp_path):
    for path, body in server.files.items():
        copy = tmp_path / path.lstrip("/")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(body)
    target = fetch("T91", tmp_path / "images", host=tmp_path.as_uri())
    assert files(target) == {Path(path).name: len(body) for path, body in server.files.items()}
    (target / "t1.png").rename(target / ".t1.png.part")
    fetch("T91", tmp_path / "images", host=tmp_path.as_uri())
    assert len(files(target)) == 3


@pytest.mark.parametrize("mirror", ["example", "http://[::1", "ssh://example.org"])
def test_mirror_that_is_no_address(mirror, tmp_path, capsys):
    command = ["data", "fetch", "T91", "--data", str(tmp_path / "new"), "--mirror", mirror]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("cscsr: a mirror must be a URL") and said.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_folder_that_cannot_be_made_and_names_that_are_wrong(server, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into the folder"):
        fetch("T91", tmp_path / "file", host=server.url)
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    assert main(["data", "fetch", "Set5"]) == 2
    assert "CSCSR_DATA" in capsys.readouterr().err
    assert main(["data", "fetch", "T91", "Sett5", "--data", str(tmp_path)]) == 2
    assert "did you mean Set5" in capsys.readouterr().err
    assert not (tmp_path / "T91").exists()
    assert not server.requests


def test_a_list_in_the_folder_that_is_no_text_is_named(tmp_path):
    (tmp_path / "holdout.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"holdout\.txt should be a list of images"):
        fetching._write_lists(tmp_path)


def test_list_names_what_can_be_fetched(capsys, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    assert main(["data", "list"]) == 0
    assert "cscsr data fetch Urban100" in capsys.readouterr().out


# Servers that are not to be trusted -----------------------------------------------------


def test_file_that_is_larger_than_the_list_says_is_cut_off(server, tmp_path):
    server.files["/pinned/t1.png"] += bytes(10**7)
    with pytest.raises(InputError, match=r"t1\.png has more than the \d+ bytes"):
        fetch("T91", tmp_path, host=server.url)
    assert not (tmp_path / "T91").exists()


def test_limit_of_the_pinned_list_is_the_size_of_the_research_images(shared_data):
    for name in ("B100", "SunHays80", "CID22val"):
        for file in remote_files(name):
            assert file.most_bytes == (shared_data / name / file.name).stat().st_size
    for name in FETCHABLE:
        assert all(100 < file.most_bytes <= 2**23 for file in remote_files(name))


def test_answer_without_an_end_is_cut_off(server, tmp_path, monkeypatch):
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while sent < 10**8:
            try:
                sent += handler.wfile.write(bytes(2**16))
            except OSError:
                return

    monkeypatch.setattr(Handler, "do_GET", endless)
    with pytest.raises(InputError, match=r"t1\.png has more than the \d+ bytes"):
        fetch("T91", tmp_path, host=server.url)
    assert sent < 10**8, "it was not asked for the rest"


@pytest.mark.parametrize(
    "address", ["http://[::1/x", "http://a..b/x", "http://a:b/x", "ftp://::/x"]
)
def test_redirect_to_what_is_no_address_is_refused(server, tmp_path, monkeypatch, address):
    def redirect(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    monkeypatch.setattr(Handler, "do_GET", redirect)
    with pytest.raises(
        InputError, match=r"t1\.png cannot be fetched .*; check the network"
    ) as raised:
        fetch("T91", tmp_path, host=server.url)
    assert str(raised.value).isprintable()
    assert not (tmp_path / "T91").exists()


@pytest.mark.parametrize("slow", ["header", "body"])
def test_server_that_sends_a_byte_now_and_then_is_given_up(server, tmp_path, monkeypatch, slow):
    """Each byte comes well within the time limit of a connection."""
    monkeypatch.setattr(fetching, "LONGEST_SECONDS", 0.5)
    stop = threading.Event()

    def trickle(handler: Handler) -> None:
        if slow == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "20000")
            handler.end_headers()
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    monkeypatch.setattr(Handler, "do_GET", trickle)
    since = time.monotonic()
    try:
        with pytest.raises(InputError, match=r"t1\.png cannot be fetched"):
            fetch("T91", tmp_path, host=server.url)
        assert time.monotonic() - since < 5
    finally:
        stop.set()


def test_download_is_not_written_through_a_link(server, tmp_path):
    (tmp_path / "T91").mkdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    part = tmp_path / "T91" / ".t1.png.part"
    for target in (precious, tmp_path / "absent"):
        part.symlink_to(target)
        (tmp_path / "T91" / "t1.png").unlink(missing_ok=True)
        fetch("T91", tmp_path, host=server.url)
        assert (tmp_path / "T91" / "t1.png").read_bytes() == server.files["/pinned/t1.png"]
        assert not (tmp_path / "T91" / "t1.png").is_symlink()
    assert precious.read_bytes() == b"mine" and not (tmp_path / "absent").exists()
    part.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        fetching._append_to(part, afresh=True)


@pytest.mark.parametrize(
    "mirror",
    ["https://anna:s3cret@example.org", "ssh://anna:s3cret@example.org", "http://a/?token=s3cret"],
)
def test_passwords_of_a_mirror_are_not_repeated(mirror, tmp_path, capsys):
    command = ["data", "fetch", "T91", "--data", str(tmp_path), "--mirror", mirror]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "s3cret" not in said.err + said.out and "a mirror must be a URL" in said.err


def test_answer_of_a_server_cannot_command_the_terminal(server, tmp_path, monkeypatch, capsys):
    def hostile(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 500 \x1b[2J\x1b]0;mine\x07" + b"x" * 999 + b"\r\n\r\n")

    monkeypatch.setattr(Handler, "do_GET", hostile)
    command = ["data", "fetch", "T91", "--data", str(tmp_path), "--mirror", server.url]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "answered 500" in said and r"\x1b[2J" in said
    assert said.isprintable() and len(said) < 400


def test_disk_that_is_full_keeps_what_came(server, tmp_path):
    resource = pytest.importorskip("resource")
    limit = len(server.files["/pinned/t1.png"]) // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large"):
            fetch("T91", tmp_path, host=server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(files(tmp_path / "T91")) == [".t1.png.part"], "from which the next run goes on"
    fetch("T91", tmp_path, host=server.url)
    assert len(files(tmp_path / "T91")) == 3
