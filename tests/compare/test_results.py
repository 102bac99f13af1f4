"""The results database: what is stored is found again, and no file is ever spoilt."""

import re
import sqlite3
import threading
from dataclasses import replace

import pytest

from cscsr import InputError
from cscsr.compare import page, tables
from cscsr.compare.database import KEY_FIELDS, LATER_COLUMNS, SCHEMA, VALUES, insert
from cscsr.compare.records import (
    FAILED,
    SCORED,
    UNSUPPORTED,
    Figure,
    Key,
    Row,
    canonical,
    truth_key,
)
from cscsr.compare.results import Results, read_results

KEY = Key("bicubic", canonical({"boundary": "clamp"}), "1", "", "ab" * 32, 2, "y")
SCORES = {"psnr": 33.0, "ssim": 0.93}
ROW = Row(KEY, "Set5", "baby", SCORED, SCORES, seconds=0.1, iterations=7)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "results.sqlite"


def test_a_row_is_found_again_after_reopening(path):
    with Results(path) as results:
        results.add(ROW)
    with Results(path) as results:
        assert results.find(KEY, "Set5", "baby") == ROW


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "other"},
        {"params": canonical({"boundary": "mirror"})},
        {"solver_version": "2"},
        {"weights_sha256": "cd"},
        {"input_sha256": "ef"},
        {"scale": 3},
        {"line": "rgb"},
        {"degradation": "noise:5"},
    ],
)
def test_every_part_of_the_key_counts(path, change):
    with Results(path) as results:
        results.add(ROW)
        assert results.find(replace(KEY, **change), "Set5", "baby") is None


def test_a_failure_is_stored_but_does_not_count_as_done(path):
    with Results(path) as results:
        results.add(Row(KEY, "Set5", "baby", FAILED, message="it broke"))
        assert results.find(KEY, "Set5", "baby") is None
        results.add(ROW)
        assert results.find(KEY, "Set5", "baby") == ROW
        assert list(results.frame().outcome) == [SCORED]


def test_finding_returns_the_same_pixels_under_another_name_and_writes_nothing(path):
    with Results(path) as results:
        results.add(ROW)
        before = path.read_bytes()
        assert results.find(KEY, "Set14", "infant") == ROW
        assert path.read_bytes() == before
        own = replace(ROW, dataset="Set14", image="infant", seconds=0.2)
        results.add(own)
        assert results.find(KEY, "Set14", "infant") == own
        assert results.find(KEY, "Set5", "baby") == ROW


def test_what_is_opened_to_be_read_cannot_be_written(path):
    with Results(path) as results:
        results.add(ROW)
    before = path.read_bytes()
    with Results(path, create=False) as results:
        with pytest.raises(InputError, match="readonly"):
            results.add(replace(ROW, image="other"))
        with pytest.raises(InputError, match="readonly"):
            results.start_run("a command", {}, {})
        assert results.find(KEY, "Set5", "baby") == ROW
    assert path.read_bytes() == before


def test_an_empty_file_is_not_made_a_database_by_a_reader(path):
    path.parent.mkdir()
    path.touch()
    with pytest.raises(InputError, match="no run yet"):
        Results(path, create=False)
    assert path.read_bytes() == b""


def test_scores_by_other_metrics_stay(path):
    with Results(path) as results:
        results.add(ROW)
        results.add(replace(ROW, scores={"gmsd": 0.1, "psnr": 33.5}, seconds=9.0))
        again = results.find(KEY, "Set5", "baby")
        assert again.scores == {"psnr": 33.5, "ssim": 0.93, "gmsd": 0.1}
        assert again.seconds == 9.0
        results.add(Row(KEY, "B100", "baby", FAILED, message="out of memory"))
        assert results.frame().psnr_db.isna().tolist() == [False, True]
        results.add(replace(ROW, dataset="Set14", scores={}))
        assert results.find(KEY, "Set14", "baby").scores == again.scores, "they are of the pixels"
        frame = results.frame()
    scored = frame[frame.outcome == SCORED]
    assert scored[["dataset", "psnr_db", "ssim", "gmsd"]].values.tolist() == [
        ["Set5", 33.5, 0.93, 0.1],
        ["Set14", 33.5, 0.93, 0.1],
    ]


@pytest.mark.parametrize("outcome", [FAILED, UNSUPPORTED])
def test_what_was_scored_is_not_lost_to_a_later_failure(path, outcome):
    with Results(path) as results:
        results.add(ROW)
        results.add(Row(KEY, "Set5", "baby", outcome, message="out of memory"))
        assert results.find(KEY, "Set5", "baby") == ROW
        assert results.frame().outcome.tolist() == [SCORED]


def test_reading_gives_a_frame_of_numbers(path):
    with Results(path) as results:
        results.add(ROW)
    frame = read_results(path)
    assert frame.loc[0, ["psnr_db", "ssim", "scale"]].tolist() == [33.0, 0.93, 2]
    assert {"dataset", "image", "status", "device", "threads", "precision", "time"} <= set(frame)
    with pytest.raises(InputError, match="no such file"):
        read_results(path.with_name("absent.sqlite"))


def test_the_latest_run_is_given_back(path):
    with Results(path) as results:
        with pytest.raises(InputError, match="no run"):
            results.latest_run()
        results.start_run("first", {}, {})
        second = results.start_run("second", {"machine": "m"}, {"scales": [2]})
        assert results.latest_run()["finished"] is None
        results.finish_run(second)
        run = results.latest_run()
    assert (run["command"], run["plan"], run["machine"]) == (
        "second",
        {"scales": [2]},
        {"machine": "m"},
    )
    assert run["finished"] is not None


def _foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE results (x)")
    connection.close()


def _of_version(number):
    def spoil(path):
        Results(path).close()
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.commit()
        connection.close()

    return spoil


def _cut_short(path):
    with Results(path) as results:
        for number in range(60):
            results.add(replace(ROW, image=str(number)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _out_of_order(path):
    """Spoil a page inside a database so that SQLite has two lines to say about it."""
    with Results(path) as results:
        for number in range(60):
            results.add(replace(ROW, image=str(number)))
    content = bytearray(path.read_bytes())
    content[-4096:-4088] = b"\xff" * 8
    path.write_bytes(content)


def _name_that_is_no_text(path):
    """Spoil the name of a table and its definition, and SQLite's message holds that name."""
    Results(path).close()
    content = path.read_bytes().replace(b"tablescoresscores", b"tablesco\xffesscores")
    path.write_bytes(content.replace(b"CREATE TABLE scores", b"CREATE TABLX scores"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"not a database, " * 100), "cannot be read"),
        (_foreign, "another program's"),
        (_of_version(2), "of version 3 at .*, got version 2; it was not changed"),
        (_of_version(99), "version 99"),
        (_cut_short, "not changed"),
        (_out_of_order, "is damaged"),
        (_name_that_is_no_text, "cannot be read"),
    ],
    ids=["text", "foreign", "earlier", "later", "cut short", "page", "no text"],
)
def test_a_file_that_is_not_ours_is_refused_and_kept(tmp_path, spoil, message):
    path = tmp_path / "results.sqlite"
    spoil(path)
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(InputError, match=message) as raised:
            Results(path, create)
        assert "\n" not in str(raised.value)
        assert path.read_bytes() == before


def test_two_runs_that_both_find_the_file_new_use_it_together(path):
    """One is still making the tables when the other one looks."""
    path.parent.mkdir()
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    first.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
    timer = threading.Timer(0.5, first.execute, ["COMMIT"])
    timer.start()
    with Results(path) as second:
        second.add(ROW)
        assert second.find(KEY, "Set5", "baby") == ROW
    timer.join()
    first.close()


def _with(statement):
    """A database in which a run has a row, changed by a statement of SQL."""

    def spoil(path):
        with Results(path) as results:
            results.start_run("a command", {}, {})
            results.add(ROW)
            results.add_figure(Figure("figure5", b"a picture", "", ""))
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return spoil


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE results SET seconds = 'soon'", "numbers as seconds .*, got 'soon'"),
        ("UPDATE results SET run = 'first'", "numbers as run .*, got 'first'"),
        ("UPDATE results SET memory_mb = x'00ff'", "numbers as memory_mb"),
        ("UPDATE scores SET value = 'good'", "numbers as value .*, got 'good'"),
        ("UPDATE results SET machine = x'00ff'", "text as machine .*, got b'.x00.xff'"),
        ("UPDATE results SET precision = x'00ff'", "text as precision"),
        ("UPDATE runs SET command = x'00ff'", "text as command"),
        ("UPDATE figures SET png = 'a picture'", "bytes as png .*, got 'a picture'"),
        ("UPDATE runs SET plan = '{'", "record of run 1 .* cannot be read"),
        ("UPDATE runs SET plan = '[]'", "record of run 1 .* cannot be read"),
        ("UPDATE runs SET machine = 'unknown'", "record of run 1 .* cannot be read"),
        ("UPDATE runs SET plan = '{}'", "plan of run 1 .* cannot be read"),
        ("UPDATE runs SET plan = '{\"datasets\": 5}'", "plan of run 1 .* cannot be read"),
    ],
)
@pytest.mark.parametrize("program", [tables.main, page.main])
def test_text_where_numbers_belong_is_a_sentence(path, capsys, program, statement, message):
    _with(statement)(path)
    before = path.read_bytes()
    assert program([str(path.parent)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert path.read_bytes() == before


def test_text_that_is_not_utf_8_is_a_sentence(path):
    _with("UPDATE results SET status = CAST(x'ff' AS TEXT)")(path)
    with pytest.raises(InputError, match=r"cannot be read \(Could not decode to UTF-8 column"):
        read_results(path)


def test_a_folder_that_cannot_be_written_is_a_sentence(made_up, capsys):
    """Also for root, who may write into any folder: a folder has the name of the file."""
    made_up.fill()
    folder = made_up.results.path.parent
    for name, program in (("index.html", page.main), ("table1.md", tables.main)):
        (folder / name).mkdir()
        assert program([str(folder)]) == 2
        error = capsys.readouterr().err
        assert f"{folder / name} cannot be written: " in error
        assert error.count("\n") == 1
    assert not list(folder.glob("*.part"))


def test_a_message_that_is_not_utf_8_is_stored(path):
    with Results(path) as results:
        results.add(Row(KEY, "Set5", "baby", FAILED, message="out of \udcff"))
        assert results.frame().message.tolist() == ["out of \\udcff"]


def test_pictures_and_figures_are_kept(path):
    box = (2, 3, 40, 50)
    with Results(path) as results:
        results.add_picture(KEY, box, b"one")
        results.add_picture(truth_key(KEY.input_sha256, 2), box, b"truth")
        results.add_picture(KEY, box, b"another")
        results.add_figure(Figure("fig5", b"old", "a,b"))
        results.add_figure(Figure("fig5", b"png", "c", "the reference run"))
    with Results(path) as results:
        assert results.picture(KEY, box) == b"another"
        assert results.picture(KEY, list(box)) == b"another", "as JSON gives a box back"
        assert results.picture(KEY, (2, 3, 40, 51)) is None
        assert results.picture(replace(KEY, scale=3), box) is None
        assert results.picture(truth_key(KEY.input_sha256, 2), box) == b"truth"
        assert results.figures() == {"fig5": Figure("fig5", b"png", "c", "the reference run")}


def test_the_command_of_a_row_is_found(path):
    with Results(path) as results:
        first, second = (results.start_run(command, {}, {}) for command in ("one", "two"))
        results.add(replace(ROW, run=first))
        assert results.commands() == {first: "one", second: "two"}
        assert results.frame().run.tolist() == [first]


def test_canonical_text_does_not_depend_on_order():
    assert canonical({"a": 1, "b": None}) == canonical({"b": None, "a": 1})
    assert canonical({"a": 1}) != canonical({"a": 1.5})


def _of_the_first_release(path):
    """A file that lacks the columns of later releases, with a row."""
    lines = [
        line
        for line in SCHEMA.splitlines()
        if line.split(" REAL")[0].split(" INTEGER")[0].strip() not in LATER_COLUMNS
    ]
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript("\n".join(lines))
    columns = [*KEY_FIELDS, *(name for name in VALUES if name not in LATER_COLUMNS)]
    values = [getattr(KEY if name in KEY_FIELDS else ROW, name) for name in columns]
    connection.execute(insert("results", columns), values)
    connection.executemany(
        insert("scores", [*KEY_FIELDS, "metric", "value"]),
        [(*(getattr(KEY, name) for name in KEY_FIELDS), *score) for score in SCORES.items()],
    )
    connection.commit()
    connection.close()


def test_a_file_of_an_earlier_release_is_read_and_gets_the_columns_that_it_lacks(path):
    _of_the_first_release(path)
    content = path.read_bytes()
    frame = read_results(path)
    assert frame[list(LATER_COLUMNS)].isna().all(axis=None)
    assert frame.psnr_db.tolist() == [33.0]
    assert path.read_bytes() == content, "a reader changes nothing"
    later = replace(ROW, image="bird", processor_seconds=0.2, load=0.5, busy=True)
    with Results(path) as results:
        assert results.find(KEY, "Set5", "baby") == ROW
        results.add(later)
    with Results(path) as results:
        assert results.find(KEY, "Set5", "bird") == later
