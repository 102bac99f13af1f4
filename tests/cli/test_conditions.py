"""``cscsr upscale`` under the conditions of real machines: full disks, terminals and file names
of other encodings, signals; folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cscsr.cli import main
from cscsr.compare.results import read_results
from cscsr.imaging.encoders import SUFFIXES
from cscsr.imaging.files import read_picture

PIXELS = (np.mgrid[:24, :30].sum(0)[..., None] * (4, 3, 2) + (0, 40, 90)).astype(np.uint8)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and quotas are POSIX's")
BICUBIC = ["--scale", "2", "--solver", "bicubic"]


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def cscsr(*words: object, **options) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "cscsr", *map(os.fsencode, map(str, words))]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


# Full disks ---------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path) -> Path:
    """A folder of a small image, one whose result takes more than 64 KB in any format, and a
    small one."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    (tmp_path / "album").mkdir()
    for name, pixels in (("a", PIXELS[:9, :9]), ("b", noise), ("c", PIXELS[:9, :9])):
        Image.fromarray(pixels).save(tmp_path / "album" / f"{name}.png")
    return tmp_path / "album"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a disk of 64 KB needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp", ".avif"])
def test_full_disk_loses_nothing_but_the_image_that_does_not_fit(small_disk, album, suffix):
    if suffix not in SUFFIXES:
        pytest.skip(f"this pillow has no {suffix}")
    outcome = cscsr("upscale", album, *BICUBIC, "-o", small_disk / f"{{name}}{suffix}")
    assert outcome.returncode == 1
    assert outcome.stderr.decode().splitlines() == [
        f"cscsr: {album / 'b.png'}: {small_disk / 'b'}{suffix} cannot be written: "
        "No space left on device.",
        "cscsr: 1 of 3 images could not be enlarged; see above.",
    ]
    assert names(small_disk) == [f"a{suffix}", f"c{suffix}"]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp", ".avif"])
def test_quota_loses_nothing_but_the_image_that_does_not_fit(tmp_path, album, suffix):
    import resource

    if suffix not in SUFFIXES:
        pytest.skip(f"this pillow has no {suffix}")
    (tmp_path / "out").mkdir()
    outcome = cscsr(
        *("upscale", album, *BICUBIC, "-o", tmp_path / "out" / f"{{name}}{suffix}"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
    )
    assert outcome.returncode == 1
    assert f"b{suffix} cannot be written: File too large." in outcome.stderr.decode()
    assert names(tmp_path / "out") == [f"a{suffix}", f"c{suffix}"]


@POSIX
def test_output_that_nobody_can_write_to_is_a_sentence():
    with open("/dev/full", "wb") if os.path.exists("/dev/full") else pytest.skip("Linux's") as full:
        command = [sys.executable, "-m", "cscsr", "solvers"]
        outcome = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert outcome.returncode == 2
    assert outcome.stderr == b"cscsr: the output cannot be used: No space left on device.\n"


@POSIX
def test_output_that_is_closed_is_not_missed(photo, tmp_path):
    out = tmp_path / "large.png"
    for words in (
        ["solvers"],
        ["data", "list"],
        ["weights", "list"],
        ["upscale", photo, *BICUBIC, "-o", out],
        ["score", photo, photo, "--scale", "2"],
    ):
        command = [sys.executable, "-m", "cscsr", *map(str, words)]
        outcome = subprocess.run(
            command, stderr=subprocess.PIPE, timeout=60, preexec_fn=lambda: os.close(1)
        )
        assert (outcome.returncode, outcome.stderr) == (0, b""), words
    assert Image.open(out).size == (60, 48)


DEMO_TABLE = ("compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic")


@pytest.fixture(scope="module")
def full_sizes(tmp_path_factory):
    """Bytes of the database and of the page where the disk has room."""
    out = tmp_path_factory.mktemp("room") / "out"
    assert cscsr(*DEMO_TABLE, "--out", out).returncode == 0
    return [(out / name).stat().st_size for name in ("results.sqlite", "index.html")]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("room", ["for nothing", "for the scores", "for all but the page"])
def test_comparison_on_a_full_disk(tmp_path, full_sizes, room):
    import resource

    database, page = full_sizes
    assert 300 * 1024 < database < page, "the limits below cut off what they say"
    between = (database + page) // 2  # a page varies by the seconds in it
    limit = {"for nothing": 10 * 1024, "for the scores": 300 * 1024}.get(room, between)
    outcome = cscsr(
        *(*DEMO_TABLE, "--out", tmp_path / "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert outcome.returncode == 2
    said = outcome.stderr.decode()
    assert said.count("\n") == 1 and str(tmp_path / "out") in said
    left = names(tmp_path / "out")
    if room == "for nothing":
        assert left == [], "no database without its tables"
    elif room == "for the scores":
        assert left == ["results.sqlite"], "what was computed"
    else:
        assert "table1.csv" in left and "index.html" not in left
    assert not any("part" in name or "journal" in name for name in left)


# Names and terminals ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_terminal_that_lacks_a_character_stops_nothing(tmp_path, encoding):
    for name in ("a", "b日本", "c"):
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    outcome = cscsr("upscale", tmp_path, *BICUBIC, "-o", tmp_path / "out/", env=environment)
    assert outcome.returncode == 0, outcome.stderr
    assert names(tmp_path / "out") == ["a-x2.png", "b日本-x2.png", "c-x2.png"]
    shown = "b日本" if encoding == "utf-8" else r"b\u65e5\u672c"
    assert f"{shown}-x2.png: 60x48 RGB" in outcome.stdout.decode(encoding)
    refused = cscsr("upscale", tmp_path / "ü日.png", *BICUBIC, env=environment)
    assert refused.returncode == 2 and refused.stderr.count(b"\n") == 1


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_names_that_are_not_utf_8_go_through_the_whole_command(tmp_path, encoding):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    for name in (b"na\xefve.png", b"broken\xff.png", b"line\n\x1b[2J.png"):
        Image.fromarray(np.tile(PIXELS, (3, 2, 1))).save(os.fsdecode(folder + b"/" + name))
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    data = os.fsdecode(folder)
    outcome = cscsr(
        *("compare", "--data", tmp_path, "--datasets", os.path.basename(data), "--scales", "2"),
        *("--solvers", "bicubic", "--out", tmp_path / "report"),
        env=environment,
    )
    assert outcome.returncode == 0, outcome.stderr
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    table = (tmp_path / "report" / "table1.csv").read_text(encoding="utf-8")
    assert r"caf\udce9" in table and r"caf\udce9" in page
    rows = read_results(tmp_path / "report" / "results.sqlite")
    assert set(rows.image) == {r"na\udcefve", r"broken\udcff", r"line\n\x1b[2J"}
    Path(data, os.fsdecode(b"broken\xff.png")).write_bytes(b"no image")
    outcome = cscsr("upscale", data, *BICUBIC, env=environment)
    assert outcome.returncode == 1
    said = (outcome.stdout + outcome.stderr).decode(encoding)
    assert said.count("\n") == 4, "a line for each"
    assert r"na\udcefve-x2.png" in said and r"line\n\x1b[2J-x2.png" in said
    assert os.path.exists(folder + b"/na\xefve-x2.png")
    assert cscsr("score", f"{data}/no.png", f"{data}/no.png", "--scale", 2).returncode == 2


# Signals ------------------------------------------------------------------------------


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_middle_of_a_file(tmp_path, number):
    Image.fromarray(np.tile(PIXELS, (80, 80, 1))).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "cscsr", "upscale", str(tmp_path / "a.png"), "-o"]
    command += [str(tmp_path / "out.jpg"), "--scale", "8", "--solver", "bicubic"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not any(path.name.endswith(".partial") for path in tmp_path.iterdir()):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(number)
    assert child.communicate(timeout=60)[1] == b"cscsr: interrupted.\n"
    assert child.returncode == 128 + number
    assert names(tmp_path) == ["a.png"]


@pytest.mark.slow
@POSIX
def test_next_run_removes_what_a_killed_one_left(tmp_path):
    Image.fromarray(np.tile(PIXELS, (80, 80, 1))).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "cscsr", "upscale", str(tmp_path / "a.png"), "-o"]
    command += [str(tmp_path / "out.png"), "--scale", "8", "--solver", "bicubic"]
    child = subprocess.Popen(command)
    while not any(path.name.endswith(".partial") for path in tmp_path.iterdir()):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert len(names(tmp_path)) == 2
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    assert cscsr("upscale", tmp_path / "b.png", *BICUBIC).returncode == 0
    assert names(tmp_path) == ["a.png", "b-x2.png", "b.png"]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["cscsr.cli", "torch", "numpy", "PIL.Image"])
def test_signal_while_modules_are_imported(tmp_path, module, number):
    """The signal comes when the import of `module` begins."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    code = f"""
import signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal({int(number)})
sys.meta_path.insert(0, Finder())
sys.argv = ["cscsr", "upscale", {str(tmp_path / "a.png")!r}, "--scale", "2"]
from cscsr.__main__ import main
sys.exit(main())
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert outcome.stderr == b"cscsr: interrupted.\n"
    assert outcome.returncode == 128 + number
    assert names(tmp_path) == ["a.png"]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_that_an_import_turns_into_another_error(tmp_path, number):
    """As extension modules do: pandas is first imported where a plan is read."""
    code = f"""
import signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            sys.meta_path.remove(self)
            try:
                signal.raise_signal({int(number)})
            except KeyboardInterrupt:
                raise ValueError("numpy failed to import")
sys.meta_path.insert(0, Finder())
sys.argv = ["cscsr", "compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
sys.argv += ["--showcase", "0", "--out", {str(tmp_path / "out")!r}]
from cscsr.__main__ import main
sys.exit(main())
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=100)
    assert outcome.returncode == 128 + number, outcome.stderr
    assert b"Traceback" not in outcome.stderr and b"nterrupted" in outcome.stderr


# Formats and folders ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webp", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_and_avif_in_and_out(tmp_path, kind, mode):
    if kind not in features.get_supported():
        pytest.skip(f"this pillow has no {kind}")
    image = Image.fromarray(PIXELS).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(PIXELS[..., 0]))
    options = {"lossless": True} if kind == "webp" else {"quality": 100, "subsampling": "4:4:4"}
    image.save(tmp_path / f"a.{kind}", icc_profile=b"profile" * 30, **options)
    pattern = str(tmp_path / f"{{name}}-x2.{kind}")
    assert main(["upscale", str(tmp_path), *BICUBIC, "-o", pattern]) == 0
    assert main(["upscale", str(tmp_path / f"a.{kind}"), *BICUBIC]) == 0
    lossless = read_picture(tmp_path / "a-x2.png")
    result = read_picture(tmp_path / f"a-x2.{kind}")
    with Image.open(tmp_path / f"a-x2.{kind}") as stored:
        assert stored.format == kind.upper() and stored.size == (60, 48)
    assert result.icc_profile == lossless.icc_profile == b"profile" * 30
    assert (result.alpha is not None) == (mode == "RGBA")
    error = np.abs(result.pixels.astype(int) - lossless.pixels)
    assert error.max() <= (0 if kind == "webp" else 12)


def test_avif_of_10_bits_is_not_cut_in_silence(tmp_path, capsys):
    if "avif" not in features.get_supported():
        pytest.skip("this pillow has no AVIF")
    path = tmp_path / "a.avif"
    Image.fromarray(PIXELS).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"av1C") + 6] |= 0x40  # high_bitdepth
    path.write_bytes(content)
    assert main(["upscale", str(path), *BICUBIC]) == 2
    assert "10 bits per channel, of which 8 would be left" in capsys.readouterr().err


def test_folders_under_a_folder(tmp_path, capsys):
    album = tmp_path / "album"
    for name in ("a.png", "trip/a.png", "trip/day/b.png", ".thumbs/c.png"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(album / name)
    for name in ("notes.txt", "b.gif", "c.gif", "Makefile"):
        (album / name).write_text("")
    large = tmp_path / "large"
    assert main(["upscale", str(album), *BICUBIC, "-o", f"{large}/"]) == 0
    assert names(large) == ["a-x2.png"]
    assert capsys.readouterr().err == (
        f"cscsr: {album}: left out 4 files (.gif, .txt, no suffix) and 1 folder "
        "(--recursive takes what is in it)\n"
    )
    for _ in range(2):
        assert main(["upscale", str(album), "--recursive", *BICUBIC, "-o", f"{large}/"]) == 0
        assert names(large) == ["a-x2.png", "trip/a-x2.png", "trip/day/b-x2.png"]
        assert "1 folder" not in capsys.readouterr().err
    for _ in range(2):
        assert main(["upscale", str(album), "-r", *BICUBIC]) == 0
        assert {"trip/a-x2.png", "trip/day/b-x2.png"} < set(names(album))
        assert not [name for name in names(album) if "x2-x2" in name]
    missing = tmp_path / "no" / "such"
    capsys.readouterr()
    assert main(["upscale", str(album), "-r", *BICUBIC, "-o", f"{missing}/"]) == 2
    assert "no folder" in capsys.readouterr().err


def test_folders_under_the_folder_of_the_shell(tmp_path, monkeypatch):
    for name in ("album/a.png", "album/trip/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / name)
    monkeypatch.chdir(tmp_path / "album")
    assert main(["upscale", ".", "--recursive", *BICUBIC, "-o", "../large/"]) == 0
    assert names(tmp_path / "large") == ["a-x2.png", "trip/a-x2.png"]


@pytest.mark.parametrize("command", ["solvers", "upscale", "compare", "train", "data", "weights"])
def test_a_complaint_about_words_commands_no_terminal(command, capsys):
    try:
        code = main([command, "--no\n\x1b[2Jsuch", "na\udcefve"])
    except SystemExit as stopped:  # how argparse ends
        code = stopped.code
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1 and "\x1b" not in said
