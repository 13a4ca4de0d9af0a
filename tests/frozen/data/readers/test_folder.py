"""Folders of images, one a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frozen.data.dataset import DataError
from frozen.data.readers import ImageFolder
from frozen.data.transform import Transform
from frozen.problems import ConfigurationError
from frozen.testing import DatasetConformance
from tests.frozen.data.readers.photos import photo, save_photo, write_folders

SMALL = Transform(size=16)


class TestImageFolder(DatasetConformance):
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> ImageFolder:
        write_folders(tmp_path)
        return ImageFolder(root=str(tmp_path), transform=SMALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFolder:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folders(tmp_path / "photos")
    return ImageFolder(root=str(tmp_path / "photos"), folders=("train", "test=val"), transform=SMALL)


def test_images_and_classes_come_in_the_order_of_their_names(folder: ImageFolder) -> None:
    split = folder.open("test")
    assert folder.splits == ("train", "test")
    assert split.labels("class", np.arange(8)).tolist() == [0] * 4 + [1] * 4
    assert split.class_names == ("n01", "n02")
    for i in range(8):
        np.testing.assert_array_equal(split.pixels(i), photo(100 + 10 * (i // 4) + i % 4))


def test_a_class_that_a_split_lacks_keeps_its_number(folder: ImageFolder) -> None:
    for path in (Path(folder.root) / "train" / "n01").iterdir():
        path.unlink()
    (Path(folder.root) / "train" / "n01").rmdir()
    assert set(folder.open("train").labels("class", np.arange(4)).tolist()) == {1}


def test_a_file_names_and_orders_the_classes(folder: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("n02 tench, Tinca tinca\nn01 white shark\n")
    split = replace(folder, class_names=str(tmp_path / "names.txt")).open("test")
    assert split.class_names == ("tench", "white shark")
    assert split.labels("class", np.arange(8)).tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(split.pixels(0), photo(110))
    (tmp_path / "names.txt").write_text("n02 tench\n")
    with pytest.raises(DataError, match=r"n01: no class of .*names.txt"):
        _ = replace(folder, class_names=str(tmp_path / "names.txt")).open("test").fingerprint


def test_the_first_of_each_class_can_be_taken(folder: ImageFolder) -> None:
    few = replace(folder, per_class=2)
    assert few.open("train").labels("class", np.arange(4)).tolist() == [0, 0, 1, 1]
    assert few.size("train") == 4
    assert few.limited(3).size("train") == 3
    np.testing.assert_array_equal(few.open("train").pixels(3), photo(11))


def test_what_cannot_be_read_is_named_or_left_out_and_counted(folder: ImageFolder) -> None:
    bad = Path(folder.root) / "train" / "n01" / "1.png"
    bad.write_bytes(bad.read_bytes()[:300])
    gone = Path(folder.root) / "train" / "n02" / "3.png"
    with pytest.raises(DataError, match=r"n01/1.png: cannot be read as an image .*on_bad_image: skip"):
        folder.open("train").images(np.arange(8))
    split = replace(folder, on_bad_image="skip").open("train")
    assert (len(split), split.n_skipped) == (7, 1)
    assert split.labels("class", np.arange(7)).tolist() == [0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(split.pixels(1), photo(2))
    opened = folder.open("train")
    assert len(opened) == 8
    gone.unlink()
    with pytest.raises(DataError, match=r"n02/3.png: no such file \(so it is with 1 of 8\)"):
        _ = opened.fingerprint


def test_the_fingerprint_changes_with_images_labels_and_transform(folder: ImageFolder) -> None:
    before = folder.open("train").fingerprint
    assert folder.open("train").fingerprint == before
    assert replace(folder, transform=replace(SMALL, filter="bicubic")).open("train").fingerprint != before
    assert replace(folder, per_class=3).open("train").fingerprint != before
    save_photo(Path(folder.root) / "train" / "n02" / "9.png", 3)
    assert folder.open("train").fingerprint != before


def test_a_folder_that_is_not_there_has_a_remedy(tmp_path: Path) -> None:
    dataset = ImageFolder(root=str(tmp_path / "none"))
    assert str(dataset.missing()).startswith(f"{tmp_path / 'none'} is not there; put a folder of images")
    assert dataset.size("train") is None
    with pytest.raises(DataError, match="is not there"):
        dataset.open("train")


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"transform.crop: .*; per_class: must be ≥ 1, got 0; folders: "):
        ImageFolder(root="x", folders=("a", "a=b"), per_class=0, transform=Transform(crop=0.5))
