"""`make audit`: advisories are counted, and an unreachable index is one sentence."""

import json

import pytest

from benchmarks import audit


def test_advisories_are_named_and_set_the_exit_code():
    advisory = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": []}
    packages = [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "faulty", "version": "1.5", "vulns": [advisory]},
        {"name": "unknown", "skip_reason": "not on PyPI"},
    ]
    text, code = audit.report(json.dumps({"dependencies": packages}))
    assert code == 1
    assert text.splitlines() == [
        "faulty 1.5: PYSEC-1, fixed in 2.0",
        "Not checked: unknown.",
        "Pinned dependencies checked: 2; known advisories: 1.",
    ]
    text, code = audit.report(json.dumps({"dependencies": packages[:1]}))
    assert (text, code) == ("Pinned dependencies checked: 1; known advisories: 0.", 0)


def test_an_index_that_knows_no_package_has_checked_nothing():
    packages = [{"name": "unknown", "skip_reason": "not on PyPI"}]
    text, code = audit.report(json.dumps({"dependencies": packages}))
    assert code == 0
    assert text == (
        "The pinned dependencies were not checked, as the advisories cannot be read: not on PyPI"
    )


def test_pins_are_asked_for_without_local_versions():
    pins = "# comment\ntorch==2.13.0+cpu\nsix==1.0; python_version < '3.12'\n"
    assert audit.public_pins(pins) == "\ntorch==2.13.0\nsix==1.0; python_version < '3.12'\n"


def test_a_file_of_pins_that_cannot_be_read_is_a_sentence(tmp_path, capsys):
    assert audit.main(["--pins", str(tmp_path / "none.txt")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none.txt'} cannot be read: " + (
        "No such file or directory.\n"
    )


@pytest.mark.slow
def test_an_unreachable_index_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    assert audit.main([]) == 0
    answer = capsys.readouterr()
    assert answer.out.startswith("The pinned dependencies were not checked")
    assert answer.out.count("\n") == 1
    assert answer.err == ""
