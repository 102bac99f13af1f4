"""Files appear whole or not at all, on a disk that is full too; and text that nothing refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError, output
from cscsr.output import printable, replacing, write_bytes, write_text

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a quota by RLIMIT_FSIZE is POSIX's")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def python(code: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """A process of its own that runs `code`, whose words are in sys.argv."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_old_content_until_the_new_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert names(tmp_path) == sorted(["a.txt", partial.name])
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_folder_that_is_missing_and_path_that_is_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt cannot be written: No such file"):
        write_bytes(tmp_path / "absent" / "a.txt", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder cannot be written: Is a directory"):
        write_bytes(tmp_path / "folder", b"")
    assert names(tmp_path) == ["folder"]


@POSIX
def test_folder_that_is_read_only(tmp_path):
    """As a user who is not root, to whom no folder is read-only."""
    code = """
    import os, sys
    from pathlib import Path
    from cscsr import InputError
    from cscsr.output import check_folder, write_bytes
    if os.getuid() == 0:
        os.setuid(65534)
    path = Path(sys.argv[1])
    newer, closed = path.parent / "new" / "newer", path.parent.parent / "closed" / "new"
    for function, *arguments in (
        (write_bytes, path, b"new"),
        (check_folder, newer),
        (check_folder, closed),
    ):
        try:
            function(*arguments)
        except InputError as error:
            print(error)
    """
    for folder in (tmp_path, *tmp_path.parents[:3]) if os.getuid() == 0 else ():
        folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("old")
    (tmp_path / "a").chmod(0o555)
    (tmp_path / "closed").mkdir(mode=0o000)
    outcome = python(code, tmp_path / "a" / "x.txt")
    folder = tmp_path / "a"
    assert outcome.stdout.splitlines() == [
        f"{folder / 'x.txt'} cannot be written: Permission denied.",
        f"cannot write into the folder {folder / 'new' / 'newer'}: {folder} is read-only.",
        f"cannot write into the folder {tmp_path / 'closed' / 'new'}: Permission denied.",
    ]
    (tmp_path / "closed").chmod(0o700)
    assert (tmp_path / "a" / "x.txt").read_text() == "old"
    assert names(tmp_path / "a") == ["x.txt"]


@POSIX
def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path):
    code = """
    import sys, time
    from cscsr.output import replacing
    with replacing(sys.argv[1]) as partial:
        partial.write_text("half")
        print("begun", flush=True)
        sys.stdin.read()
        partial.write_text("whole")
    """
    writers = []
    for name in ("killed", "alive"):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / name)]
        pipe = subprocess.PIPE
        writers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert writers[-1].stdout.readline() == "begun\n"
    writers[0].kill()
    writers[0].wait()
    mine = tmp_path / ".report.partial"  # not a name that we give
    mine.write_text("of somebody else")
    assert len(names(tmp_path)) == 3
    write_text(tmp_path / "other", "")
    (partial,) = set(names(tmp_path)) - {"other", mine.name}
    assert partial.startswith(".alive.")
    writers[1].communicate("")
    assert (tmp_path / "alive").read_text() == "whole"
    assert names(tmp_path) == [mine.name, "alive", "other"]


@POSIX
def test_orphans_are_looked_for_once_in_a_folder(tmp_path):
    write_bytes(tmp_path / "a", b"")
    orphan = tmp_path / ".b.01234567.partial"
    orphan.write_bytes(b"")
    write_bytes(tmp_path / "a", b"")
    assert orphan.exists()
    output._swept.discard(tmp_path.resolve())
    write_bytes(tmp_path / "a", b"")
    assert not orphan.exists()


@given(st.text(st.characters(codec=None), max_size=20))
def test_printable_is_one_line_that_utf_8_holds(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)
    shown.encode()
    if text.isprintable() and not any("\ud800" <= sign <= "\udfff" for sign in text):
        assert shown == text


def test_text_that_utf_8_lacks_is_written(tmp_path):
    name = os.fsdecode(b"caf\xe9") if os.name == "posix" else "caf\udce9"
    assert write_text(tmp_path / "a.csv", f"{name},é\n").read_bytes() == "caf\\udce9,é\n".encode()
    assert printable(f"{name}\x1b[2J\n") == "caf\\udce9\\x1b[2J\\n"


WRITERS = {
    "weights": """
        from cscsr import weights
        weights.write(path, {"a": np.ones(40_000, np.float32)}, {"line": "y"})
    """,
    "curve of a training": """
        from cscsr.training.curve import write_rows
        write_rows(path, [["step"], *([number] for number in range(20_000))])
    """,
    "checkpoint of CSC-SR": """
        import torch
        from cscsr.csc_sr.store import RunStore
        RunStore(path.parent, {}).save(path.stem, {"a": torch.ones(40_000)})
    """,
    "checkpoint of a training": """
        import torch
        from cscsr import checkpoints
        checkpoints.write(path, {"a": torch.ones(40_000)})
    """,
    "table of curves": """
        from benchmarks._study.curves import write_curves
        write_curves(path, [{"a": number} for number in range(20_000)])
    """,
    "figure": """
        from matplotlib.figure import Figure
        from cscsr.plot import save
        figure = Figure()
        figure.subplots().imshow(np.random.default_rng(0).random((300, 300)))
        save(figure, path)
    """,
    "text": """
        from cscsr.output import write_text
        write_text(path, "x" * 40_000)
    """,
}


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_on_a_full_disk(tmp_path, writer):
    """A quota of 16 KB a file: one sentence, the old file, and nothing beside it."""
    path = tmp_path / "file.pt"
    path.write_bytes(b"old")
    (tmp_path / "options.sha256").write_bytes(b"")
    code = f"""
    import resource, sys
    from pathlib import Path
    import numpy as np
    from cscsr import InputError
    path = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))
    try:
        {textwrap.indent(textwrap.dedent(WRITERS[writer]), " " * 8).strip()}
    except InputError as error:
        print(error)
    """
    if writer == "checkpoint of CSC-SR":
        path.unlink()
        (tmp_path / "options.sha256").unlink()
    outcome = python(code, path, cwd=Path(__file__).parents[1])
    assert outcome.stdout == f"{path} cannot be written: File too large.\n", outcome.stderr
    if path.exists():
        assert path.read_bytes() == b"old"
    assert set(names(tmp_path)) <= {"file.pt", "options.sha256"}


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_a_file_is_written_leaves_nothing(tmp_path, number):
    code = """
    import sys, time
    from cscsr import interrupts
    from cscsr.output import replacing
    with interrupts.raised():
        try:
            with replacing(sys.argv[1]):
                print("begun", flush=True)
                time.sleep(60)
        except KeyboardInterrupt as error:
            sys.exit(interrupts.exit_code(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    child.send_signal(number)
    assert child.wait(30) == 128 + number
    assert names(tmp_path) == []


@POSIX
def test_interrupt_that_falls_where_nothing_can_be_raised_comes_again():
    """In a callback of a weak reference, as those of the import system."""
    code = """
    import signal, sys, time, weakref
    from cscsr import interrupts
    class Thing: pass
    with interrupts.raised():
        try:
            thing = Thing()
            reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
            del thing
            time.sleep(30)
        except KeyboardInterrupt as error:
            sys.exit(interrupts.exit_code(error))
    """
    before = time.monotonic()
    outcome = python(code)
    assert outcome.returncode == 143 and outcome.stderr == ""
    assert time.monotonic() - before < 20


IMPORTED = """
import signal
signal.raise_signal(signal.SIGTERM)
print("imported", flush=True)
"""


@POSIX
def test_interrupt_of_an_import_comes_when_the_import_is_over(tmp_path):
    (tmp_path / "imported.py").write_text(IMPORTED)
    code = """
    import sys, time
    from cscsr import interrupts
    sys.path.insert(0, sys.argv[1])
    with interrupts.raised():
        try:
            import imported
            time.sleep(30)
        except KeyboardInterrupt as error:
            sys.exit(interrupts.exit_code(error))
    """
    outcome = python(code, tmp_path)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (143, "imported\n", "")


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize(("seconds", "reached"), [(30, True), (0.3, False)])
def test_interrupt_waits_for_what_must_not_be_left_half_done(seconds, reached):
    """But no longer than it may; one that comes later waits as long again."""
    code = """
    import signal, sys, time
    from cscsr import interrupts
    def block():
        with interrupts.postponed(float(sys.argv[1])):
            signal.raise_signal(signal.SIGTERM)
            for _ in range(20):
                time.sleep(0.05)
            print("whole", flush=True)
        time.sleep(30)
    with interrupts.raised():
        for _ in range(2):
            try:
                block()
            except KeyboardInterrupt as error:
                code = interrupts.exit_code(error)
    sys.exit(code)
    """
    outcome = python(code, seconds)
    assert (outcome.returncode, outcome.stderr) == (143, "")
    assert outcome.stdout == "whole\nwhole\n" * reached


@POSIX
def test_interrupt_does_not_wait_for_an_import_without_end(tmp_path):
    (tmp_path / "imported.py").write_text(IMPORTED + "import time\ntime.sleep(60)\n")
    code = """
    import sys
    from cscsr import interrupts
    interrupts.IMPORT_SECONDS = 0.5
    sys.path.insert(0, sys.argv[1])
    with interrupts.raised():
        try:
            import imported
        except KeyboardInterrupt as error:
            sys.exit(interrupts.exit_code(error))
    """
    before = time.monotonic()
    outcome = python(code, tmp_path)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (143, "imported\n", "")
    assert time.monotonic() - before < 30
