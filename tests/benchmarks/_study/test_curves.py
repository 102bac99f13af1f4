"""Tables of curves: their columns, and whether they are of the same settings."""

from __future__ import annotations

from benchmarks._study.curves import made_with, read_curves, write_curves


def test_columns_stand_in_the_order_in_which_rows_name_them(tmp_path):
    path = tmp_path / "curves.csv"
    write_curves(path, [{"a": 1, "b": "x,y"}, {"a": 2, "c": 3.5}])
    assert path.read_text(encoding="utf-8") == 'a,b,c\n1,"x,y",\n2,,3.5\n'
    assert read_curves(path) == [{"a": "1", "b": "x,y", "c": ""}, {"a": "2", "b": "", "c": "3.5"}]
    assert [file.name for file in tmp_path.iterdir()] == ["curves.csv"]


def test_settings_are_those_of_the_table(tmp_path):
    path = tmp_path / "curves.csv"
    assert read_curves(path) == []
    assert not made_with(path, {})
    write_curves(path, [{"steps": 3, "device": "cpu", "psnr_db": 30.0}])
    assert made_with(path, {"steps": 3, "device": "cpu"})
    assert not made_with(path, {"steps": 4, "device": "cpu"})
    assert not made_with(path, {"seed": 0})
