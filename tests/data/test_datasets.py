"""The embedded images, folders of images, and which of them may be trained on."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import (
    PAPER_SETS,
    demo,
    find_datasets,
    holdout_images,
    load_dataset,
    training_images,
    training_textures,
)
from cscsr.imaging import read_image, write_image

NOISE = np.random.default_rng(0).integers(0, 256, (12, 13, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two training sets with a held-out image and a leak, a test set, and clutter."""
    for name in ("T9/a.png", "T9/b.bmp", "T9/c.png", "T9/.c.png", "Set5/bird.png", "More/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / name, NOISE)
    (tmp_path / "T9" / "notes.txt").write_text("no image")
    (tmp_path / "lr" / "x2").mkdir(parents=True)
    write_image(tmp_path / "lr" / "x2" / "bird.png", NOISE)
    (tmp_path / "holdout.txt").write_text("T9/b.bmp\n\n")
    (tmp_path / "leaks.txt").write_text("T9/c.png\tis Set5/bird at 1.4 times the size\n")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"T9/b.bmp\n\xff\xfe.png\n", "no text in UTF-8"),
        (b"T9/b.bmp\nT9/\0.png\n", "line 2 of .* should be the path of an image"),
        (b"T9/" + b"x" * 5000 + b".png\n", "line 1 of .* should be the path of an image"),
        (b"T9/b.bmp\nT9/none.png\n", "none.png that it lists is missing"),
    ],
)
@pytest.mark.parametrize("name", ["holdout.txt", "leaks.txt"])
def test_a_broken_list_is_one_sentence(folder, name, content, reason):
    (folder / name).write_bytes(content)
    if "missing" not in reason:
        with pytest.raises(InputError, match=reason) as raised:
            training_images(folder, ["T9"])
        assert name in str(raised.value)
    if name == "holdout.txt":
        with pytest.raises(InputError, match=reason) as raised:
            holdout_images(folder)
        assert "\n" not in str(raised.value)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(InputError, match=f"the list .*{name} cannot be read: Is a directory"):
        training_images(folder, ["T9"])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_folders_without_permission_are_one_sentence(folder):
    (folder / "T9").chmod(0)
    try:
        with pytest.raises(InputError, match=r"T9.* cannot be read: Permission denied"):
            find_datasets(folder)
    finally:
        (folder / "T9").chmod(0o755)


def test_paths_that_cannot_be_folders_are_one_sentence(folder):
    for path, reason in {
        folder / "holdout.txt" / "x": "nothing there",
        folder / ("x" * 300): "name too long|nothing there",
    }.items():
        with pytest.raises(InputError, match=f"(?i){reason}"):
            find_datasets(path)


def test_demo_has_five_photographs_with_detail():
    images = dict(demo())
    assert list(images) == ["astronaut", "camera", "chelsea", "coffee", "rocket"]
    assert len(demo()) == 5
    for name, image in images.items():
        assert image.shape == ((256, 256) if name == "camera" else (256, 256, 3))
        assert image.dtype == np.uint8 and image.std() > 25


def test_demo_is_the_stated_part_of_skimages_image():
    data = pytest.importorskip("skimage.data")
    np.testing.assert_array_equal(dict(demo())["astronaut"], data.astronaut()[:256, 96:352])
    np.testing.assert_array_equal(dict(demo())["camera"], data.camera()[48:304, 144:400])


def test_training_textures_are_grey_and_not_in_demo():
    textures = training_textures()
    assert len(textures) >= 10 and not set(textures) & set(dict(demo()))
    assert {"brick", "grass", "gravel", "coins", "moon", "ihc", "retina"} <= set(textures)
    for image in textures.values():
        assert image.dtype == np.uint8 and image.ndim == 2 and min(image.shape) >= 96
        assert image.std() > 5


def test_embedded_images_need_no_download_package():
    script = (
        "import sys; sys.modules['pooch'] = None\n"
        "from cscsr.data.datasets import demo, training_textures\n"
        "dict(demo()), training_textures()\n"
        "assert not {'torch', 'pandas', 'matplotlib', 'sporco'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_folders_of_images_are_data_sets(folder):
    assert list(find_datasets(folder)) == ["Set5", "More", "T9"]
    assert find_datasets(folder / "T9") == {"T9": folder / "T9"}
    loaded = load_dataset("T9", folder)
    assert loaded.name == "T9" and [name for name, _ in loaded] == ["a", "b", "c"]
    np.testing.assert_array_equal(dict(loaded)["a"], NOISE)


def test_paper_sets_come_first_in_the_papers_order(tmp_path):
    for name in ("B100", "A", "Set14", "Set5"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "image.png", NOISE)
    assert list(find_datasets(tmp_path)) == [*PAPER_SETS, "A"]


def test_folder_is_that_of_the_environment_by_default(folder, monkeypatch):
    monkeypatch.setenv("CSCSR_DATA", str(folder))
    assert [name for name, _ in load_dataset("More")] == ["d"]
    monkeypatch.delenv("CSCSR_DATA")
    with pytest.raises(InputError, match=r"'More' is not embedded .* CSCSR_DATA"):
        load_dataset("More")


def test_held_out_and_leaked_images_are_not_trained_on(folder, monkeypatch):
    assert [path.name for path in training_images(folder, ["T9", "More"])] == ["a.png", "d.jpg"]
    assert [path.name for path in holdout_images(folder)] == ["b.bmp"]
    monkeypatch.chdir(folder / "T9")
    assert [path.name for path in training_images(".", ["T9"])] == ["a.png"]
    assert [path.name for path in training_images("..", ["T9"])] == ["a.png"]


def test_research_images_are_all_there(shared_data):
    sets = find_datasets(shared_data)
    if not {"Set14", "B100", "T91", "BSD200"} <= set(sets):
        pytest.skip(f"{shared_data} holds a part of the research images only")
    assert "lr_oracle" not in sets
    assert [len(load_dataset(name, shared_data)) for name in PAPER_SETS] == [5, 14, 100]
    training = training_images(shared_data, ["T91", "BSD200"])
    assert len(training) == 291 - 5 - 10 - 1
    assert "302003" not in {path.stem for path in training}
    holdout = holdout_images(shared_data)
    assert len(holdout) == 29 and not set(holdout) & set(training)
    assert all(read_image(path).shape[2] == 3 for path in holdout[:5])


def test_bad_input_is_told_in_one_sentence(folder):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="nothing there"):
        find_datasets(folder / "nowhere")
    with pytest.raises(InputError, match="a file"):
        find_datasets(folder / "holdout.txt")
    with pytest.raises(InputError, match="found none"):
        find_datasets(folder / "empty")
    with pytest.raises(InputError, match="unknown data set 'Set 5': did you mean Set5"):
        load_dataset("Set 5", folder)
    with pytest.raises(InputError, match=r"unknown data set 'T99': .*T9"):
        training_images(folder, ["T99"])
    with pytest.raises(InputError, match=r"fetch it with cscsr data fetch T91 --data "):
        training_images(folder, ["T91"])
    with pytest.raises(InputError, match="Set5 is a test set"):
        training_images(folder, ["T9", "Set5"])
    with pytest.raises(InputError, match="it is missing"):
        holdout_images(folder / "T9")
    (folder / "T9" / "b.bmp").unlink()
    with pytest.raises(InputError, match=r"b\.bmp that it lists is missing"):
        holdout_images(folder)
    write_image(folder / "More" / "d.png", NOISE)
    with pytest.raises(InputError, match=r"d\.jpg and d\.png|d\.png and d\.jpg"):
        load_dataset("More", folder)
    (folder / "T9" / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png is not a complete"):
        list(load_dataset("T9", folder))


def test_an_unknown_name_without_a_folder_is_answered_with_the_embedded_set(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    with pytest.raises(InputError, match="did you mean demo"):
        load_dataset("dmo")
