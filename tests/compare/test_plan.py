"""What is to be compared: checked before anything is computed, each image read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cscsr import InputError
from cscsr.compare import plan as planning
from cscsr.compare.plan import Contender, fingerprint, make_plan
from cscsr.compare.summary import remarks, summarise
from cscsr.data.datasets import demo, load_dataset
from cscsr.imaging import degrade, psnr, read_image, write_image
from cscsr.imaging.metrics import crop_border


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the image files that are decoded, in order."""
    names: list[str] = []

    def read_and_note(path):
        names.append(path.stem)
        return read_image(path)

    monkeypatch.setattr("cscsr.data.datasets.read_image", read_and_note)
    return names


def test_each_image_is_read_once_in_a_whole_comparison(compare, repeat, reads):
    plan = compare.plan(repeat(), degradations=["noise:5"], shown=3)
    assert compare.run(plan) == (10, 0, 0)
    assert sorted(reads) == sorted(name for name, _ in demo())


def overwrite(folder, name: str = "camera") -> tuple[np.ndarray, np.ndarray]:
    """Put other pixels of the same size into a file; returns the old and the new."""
    path = folder / "mine" / f"{name}.png"
    before = read_image(path)
    after = before // 2
    write_image(path, after)
    return before, after


def psnr_of_repeat(truth: np.ndarray) -> float:
    """What `Repeat` scores on a grey image at ×2."""
    large = degrade(truth, 2, "rgb").repeat(2, 0).repeat(2, 1)
    estimate = np.floor(large.astype(np.float64) * 255 + 0.5)
    return psnr(crop_border(estimate, 2), crop_border(truth, 2))


def test_a_row_is_of_the_pixels_under_whose_hash_it_is_stored(compare, repeat):
    plan = compare.plan(repeat())
    before, after = overwrite(compare.folder)
    assert compare.run(plan) == (5, 0, 0)
    row = compare.results.frame().set_index("image").loc["camera"]
    assert row.input_sha256 == fingerprint(before)
    assert row.psnr_db == pytest.approx(psnr_of_repeat(before))
    assert psnr_of_repeat(after) != pytest.approx(psnr_of_repeat(before), abs=1e-3)
    assert compare(repeat()) == (1, 4, 0)
    rows = compare.results.frame().set_index("input_sha256")
    assert rows.psnr_db[fingerprint(after)] == pytest.approx(psnr_of_repeat(after))


def test_an_image_that_is_not_kept_in_memory_is_refused_once_it_has_changed(
    compare, repeat, reads, monkeypatch
):
    monkeypatch.setattr(planning, "KEPT_BYTES", 48 * 60 * 3)  # the first image, which is in colour
    plan = compare.plan(repeat())
    in_memory = [image.source.name for image in plan.images["mine"] if image.pixels is not None]
    assert in_memory == ["astronaut"]
    _, after = overwrite(compare.folder)
    assert compare.run(plan) == (5, 0, 1)
    assert sorted(reads) == sorted(2 * [name for name, _ in demo()])[1:]
    rows = compare.results.frame().set_index("image")
    assert rows.message["camera"].startswith("mine/camera changed during the comparison")
    assert np.isnan(rows.psnr_db["camera"])
    assert compare(repeat()) == (1, 4, 0)
    rows = compare.results.frame().set_index("input_sha256")
    assert rows.psnr_db[fingerprint(after)] == pytest.approx(psnr_of_repeat(after))


def test_the_hash_is_of_pixels_and_shape():
    image = np.arange(24, dtype=np.uint8)
    hashes = {fingerprint(image.reshape(shape)) for shape in [(4, 6), (6, 4), (2, 4, 3)]}
    hashes.add(fingerprint(image.reshape(4, 6)[::-1]))
    assert len(hashes) == 4
    strided = np.repeat(image.reshape(4, 6), 2, axis=1)[:, ::2]
    assert fingerprint(strided) == fingerprint(image.reshape(4, 6))


def test_an_image_has_to_be_large_enough_to_be_scored(folder):
    write_image(folder / "mine" / "small.png", np.zeros((14, 40), np.uint8))
    with pytest.raises(InputError, match=r"at least 16x16 pixels .* mine/small has 14x40"):
        make_plan([load_dataset("mine", folder)], ["bicubic"], [2])
    write_image(folder / "mine" / "small.png", np.zeros((16, 40), np.uint8))
    make_plan([load_dataset("mine", folder)], ["bicubic"], [2])


def spoil(folder: Path) -> dict[str, str]:
    """Add broken images to `mine`: name to what is said of each."""
    mine = folder / "mine"
    (mine / "empty.png").write_bytes(b"")
    (mine / "notes.png").write_text("this is no image")
    whole = (mine / "coffee.png").read_bytes()
    (mine / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_image(mine / "small.png", np.zeros((14, 40), np.uint8))
    return {
        "cut": "cut.png",
        "empty": "empty.png",
        "notes": "notes.png",
        "small": "at least 16x16 pixels",
    }


def test_all_broken_images_are_refused_in_one_sentence(folder):
    broken = spoil(folder)
    with pytest.raises(InputError) as refusal:
        make_plan([load_dataset("mine", folder)], ["bicubic"], [2])
    sentence = str(refusal.value)
    assert sentence.startswith("4 images cannot be compared (")
    assert all(f"mine/{name}" in sentence for name in broken)
    assert "--skip-broken" in sentence
    assert "\n" not in sentence


def test_broken_images_are_left_out_where_that_is_asked_for(compare, repeat):
    broken = spoil(compare.folder)
    plan = compare.plan(repeat(), skip_broken=True)
    assert {image.image for image in plan.left_out} == set(broken)
    for image in plan.left_out:
        assert broken[image.image] in image.reason
    compare.results.start_run("the command", {}, plan.as_dict())
    assert compare.run(plan) == (5, 0, 0)
    summary = summarise(compare.results)
    assert summary.at(summary.places[0])[0].expected == 5
    assert any(
        "mine/cut, mine/empty, mine/notes, mine/small" in sentence for sentence in remarks(summary)
    )


def test_a_data_set_of_broken_images_only_is_refused(folder):
    for path in (folder / "mine").iterdir():
        path.write_text("this is no image")
    with pytest.raises(InputError, match="no image of the data set mine can be compared"):
        make_plan([load_dataset("mine", folder)], ["bicubic"], [2], skip_broken=True)


@pytest.mark.parametrize(
    "error",
    [AssertionError(), TypeError("of\nsome kind"), OverflowError("x"), MemoryError(), KeyError(0)],
)
def test_whatever_a_decoder_raises_is_a_sentence_that_names_the_file(folder, monkeypatch, error):
    def read(path):
        if path.stem == "coffee":
            raise error
        return read_image(path)

    monkeypatch.setattr("cscsr.data.datasets.read_image", read)
    sentence = r"coffee\.png cannot be read \(\w+.*skip-broken"
    with pytest.raises(InputError, match=sentence) as refusal:
        make_plan([load_dataset("mine", folder)], ["bicubic"], [2])
    assert "\n" not in str(refusal.value)
    plan = make_plan([load_dataset("mine", folder)], ["bicubic"], [2], skip_broken=True)
    assert [image.image for image in plan.left_out] == ["coffee"]


def test_every_solver_has_the_line_of_the_protocol():
    for protocol, lines in (("paper", ["y", "rgb"]), ("common", ["rgb", "rgb"])):
        plan = make_plan([], ["bicubic", "crnet-b-small"], [2], protocol)
        assert [contender.line for contender in plan.contenders] == lines
    assert plan.contenders[1].identity["weights_sha256"]


def test_harder_input_is_on_line_rgb_whatever_the_solvers(compare, repeat):
    plan = compare.plan(repeat(), line="y", degradations=["jpeg:40"])
    image = plan.images["mine"][0]
    lines = {cell.key(image).degradation: cell.key(image).line for cell in plan.cells()}
    assert lines == {"": "y", "jpeg:40": "rgb"}


def test_psnr_is_always_a_metric():
    assert make_plan([], ["bicubic"], [2], metrics=["gmsd", "psnr"]).metrics == ["psnr", "gmsd"]
    with pytest.raises(InputError, match="unknown metric 'gmds': did you mean gmsd"):
        make_plan([], ["bicubic"], [2], metrics=["gmds"])


def test_showcases_are_at_the_middle_scale_and_inside_what_is_scored(folder):
    plan = make_plan([load_dataset("mine", folder)], ["bicubic"], [4, 2, 3], shown=2)
    assert [shown.scale for shown in plan.showcases] == [3, 3]
    assert [shown.box for shown in plan.showcases] == [(3, 3, 42, 54)] * 2
    cells = [cell for cell in plan.cells() if cell.scale == 3]
    for image in plan.images["mine"]:
        boxes = [shown.box for shown in plan.showcases if shown.image is image]
        assert [plan.box(cells[0], image)] == (boxes or [None])
    harder = replace(cells[0], degradation="noise:5")
    assert plan.box(harder, plan.showcases[0].image) is None


def test_a_solver_that_is_named_twice_is_compared_once():
    assert len(make_plan([], ["bicubic", "bicubic"], [2]).contenders) == 1


def test_a_contender_is_known_by_all_that_determines_its_figures(repeat):
    identity = Contender(repeat(gain=0.5), "y").identity
    assert identity["params"] == '{"gain": 0.5, "weights": null, "wrong": ""}'
    assert (identity["line"], identity["weights_sha256"]) == ("y", "")
