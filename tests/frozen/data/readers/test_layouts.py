"""Every reader on a tiny folder of its layout: what all data sets must satisfy, and what each one says."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frozen.data.dataset import DataError
from frozen.data.readers import (
    READERS,
    Cifar10,
    Cifar100,
    CocoCaptions,
    Cub,
    ImageNet,
    ImageNetS,
    ImageNetSegmentation,
    PhotoDataset,
    Places365,
    Waterbirds,
    WebDataset,
)
from frozen.data.transform import Transform
from frozen.testing import DatasetConformance
from tests.frozen.data.readers import layouts
from tests.frozen.data.readers.photos import photo, write_folders

SMALL = Transform(size=16)


def webdataset(root: Path) -> WebDataset:
    layouts.write_shards(root)
    members = ("caption=txt", "class=cls", "score=json.score", "url=json.more.url", "captions=txt")
    return WebDataset(
        root=str(root),
        shards=("train={00000..00001}.tar", "test=00002.tar"),
        members=members,
        transform=SMALL,
    )


def coco(root: Path, form: str = "karpathy") -> CocoCaptions:
    layouts.write_coco(root, form=form)
    return CocoCaptions(
        root=str(root), shards=("test=000000.tar",), instances=str(root / "instances.json"), transform=SMALL
    )


def cifar10(root: Path) -> Cifar10:
    layouts.write_cifar10(root)
    return Cifar10(root=str(root), transform=SMALL)


def cifar100(root: Path) -> Cifar100:
    layouts.write_cifar100(root)
    return Cifar100(root=str(root), transform=SMALL)


def places(root: Path) -> Places365:
    layouts.write_places(root)
    return Places365(root=str(root), transform=SMALL)


def cub(root: Path) -> Cub:
    layouts.write_cub(root)
    return Cub(root=str(root), transform=SMALL)


def waterbirds(root: Path) -> Waterbirds:
    layouts.write_waterbirds(root)
    return Waterbirds(root=str(root), transform=SMALL)


def imagenet(root: Path) -> ImageNet:
    write_folders(root)
    return ImageNet(root=str(root), transform=SMALL)


def imagenet_s(root: Path) -> ImageNetS:
    layouts.write_imagenet_s(root)
    return ImageNetS(root=str(root), transform=SMALL)


def segmentation(root: Path) -> ImageNetSegmentation:
    pytest.importorskip("h5py")
    layouts.write_mat(root / "gtsegs.mat")
    return ImageNetSegmentation(file=str(root / "gtsegs.mat"), transform=SMALL)


MAKERS: list[Callable[[Path], PhotoDataset]] = [
    webdataset, coco, cifar10, cifar100, places, cub, waterbirds, imagenet, imagenet_s, segmentation
]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
class TestLayouts(DatasetConformance):
    @pytest.fixture
    def dataset(self, root: Path, make: Callable[[Path], PhotoDataset]) -> PhotoDataset:
        return make(root)


def test_every_reader_of_a_layout_is_tested() -> None:
    tested = {make.__annotations__["return"] for make in MAKERS}
    assert {cls.__name__ for name, cls in READERS.items() if name not in ("imagefolder", "table")} == tested


@pytest.mark.parametrize(
    ("dataset", "sizes"),
    [
        (Cifar10(root="x"), {"train": 50_000, "test": 10_000}),
        (Places365(root="x"), {"train": 1_803_460, "val": 36_500}),
        (Cub(root="x"), {"train": 5_994, "test": 5_794}),
        (Waterbirds(root="x"), {"train": 4_795, "validation": 1_199, "test": 5_794}),
        (ImageNet(root="x", folders=("train", "test=val")), {"train": 1_281_167, "test": 50_000}),
        (ImageNetS(root="x"), {"validation": None}),
        (ImageNetS(root="x", masks=False, exclude_merged=False), {"validation": 12_419, "test": None}),
        (ImageNetSegmentation(file="x"), {"test": 4_276}),
        (CocoCaptions(root="x"), {"test": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sizes_and_remedies_are_known_before_the_data_is_there(dataset: PhotoDataset, sizes: dict[str, Any]) -> None:
    assert {name: dataset.size(name) for name in dataset.splits} == sizes
    assert {name: dataset.limited(100).size(name) for name in dataset.splits} == {
        name: size and 100 for name, size in sizes.items()
    }
    missing = dataset.missing()
    assert missing is not None
    assert " is not there" in missing.what
    assert missing.remedy.startswith(("get ", "unpack ", "make "))
    with pytest.raises(DataError, match="is not there"):
        dataset.open(dataset.splits[0])


def test_tars_are_read_member_by_member(root: Path) -> None:
    split, own = webdataset(root).open("train"), np.arange(8)
    assert split.labels("caption", own).tolist() == [f"photo {i}" for i in own]
    assert split.labels("class", own).tolist() == [i % 3 for i in own]
    assert split.labels("score", own).tolist() == [i / 2 for i in own]
    assert split.labels("url", own[:2]).tolist() == ["u0", "u1"]
    assert split.labels("captions", own[:2]).tolist() == [("photo 0",), ("photo 1",)]
    np.testing.assert_array_equal(split.pixels(5), photo(5))


def test_a_torn_archive_and_a_torn_image_are_named_or_left_out(root: Path) -> None:
    dataset = replace(webdataset(root), members=())
    tar = root / "00001.tar"
    content = bytearray(tar.read_bytes())
    start = content.index(b"\x89PNG")
    content[start : start + 40] = bytes(40)
    tar.write_bytes(content)
    with pytest.raises(DataError, match=r"00001.tar/000010000.png: cannot be read as an image"):
        dataset.open("train").images(np.arange(8))
    split = replace(dataset, on_bad_image="skip").open("train")
    assert (len(split), split.n_skipped) == (7, 1)
    np.testing.assert_array_equal(split.pixels(4), photo(5))
    os.truncate(tar, content.rindex(b"\x89PNG") + 100)
    with pytest.raises(DataError, match=r"000010003.png: cannot be read .*the archive ends in the middle"):
        dataset.open("train").images(np.arange(5, 8))
    split = replace(dataset, on_bad_image="skip").open("train")
    assert (len(split), split.n_skipped) == (6, 2)


def test_what_is_no_archive_is_named(root: Path) -> None:
    dataset = webdataset(root)
    (root / "00001.tar").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(DataError, match=r"00001.tar: cannot be read as a tar archive"):
        dataset.open("train").images(np.arange(1))
    (root / "00001.tar").unlink()
    assert str(dataset.missing()).startswith(f"{root}/00001.tar is not there; put the archives there")


@pytest.mark.parametrize("form", ["karpathy", "annotations", "text", "beside"])
def test_captions_of_coco_come_from_where_they_are(root: Path, form: str) -> None:
    dataset = coco(root, form)
    if form == "beside":
        with pytest.raises(DataError, match="has no caption"):
            _ = dataset.open("test").fingerprint
    if form in ("beside", "text"):
        dataset = replace(dataset, captions=str(root / "dataset_coco.json") if form == "beside" else None)
    split, own = dataset.open("test"), np.arange(4)
    assert split.labels("caption", own).tolist() == [f"photo {i}" for i in own]
    assert split.labels("captions", own)[3] == ("photo 3", "a picture of 3")
    if form != "text":  # nothing there says the number of the image
        assert split.labels("image_id", own).tolist() == [100, 111, 122, 133]
        assert split.value_names("instances") == ("person", "dog")
        assert split.labels("instances", own).tolist() == [[0, 1], [1, 1], [2, 1], [3, 1]]


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_comes_in_the_order_of_its_batches(root: Path, protocol: int) -> None:
    dataset = cifar10(root)
    layouts.write_cifar10(root, protocol)
    split = dataset.open("train")
    numbers = [10 * part + i for part in range(5) for i in range(4)]
    assert split.labels("class", np.arange(20)).tolist() == [n % 3 for n in numbers]
    assert split.class_names == ("cat", "dog", "owl")
    np.testing.assert_array_equal(split.pixels(6), photo(12, 32, 32))
    assert replace(dataset, per_class=1).open("train").labels("class", np.arange(3)).tolist() == [0, 1, 2]


def test_cifar100_has_superclasses(root: Path) -> None:
    split = cifar100(root).open("test")
    assert split.labels("superclass", np.arange(4)).tolist() == [0, 1, 0, 1]
    assert split.value_names("superclass") == ("pet", "wild")


class _Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_a_pickle_that_asks_for_more_than_arrays_is_not_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    dataset = cifar10(root)
    (root / "test_batch").write_bytes(pickle.dumps({b"data": _Bomb()}))
    with pytest.raises(DataError, match=r"test_batch: cannot be read .*posix.mkdir, which no table of images needs"):
        _ = dataset.open("test").fingerprint
    assert not (root / "exploded").exists()
    pickle.loads((root / "test_batch").read_bytes())  # what the usual way would have done
    assert (root / "exploded").exists()
    (root / "test_batch").write_bytes(b"\x80\x02torn")
    with pytest.raises(DataError, match="test_batch: cannot be read as a pickled table"):
        _ = dataset.open("test").fingerprint


def test_places_have_names_one_reads(root: Path) -> None:
    split = places(root).open("train")
    assert split.class_names == ("Airfield", "Apartment building outdoor")
    assert split.labels("class", np.arange(6)).tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(split.pixels(3), photo(3))


def test_birds_have_names_one_reads(root: Path) -> None:
    split = cub(root).open("test")
    assert split.class_names == ("Black footed Albatross", "Laysan Albatross")
    assert split.labels("class", np.arange(3)).tolist() == [0, 1, 0]
    np.testing.assert_array_equal(split.pixels(0), photo(5))


def test_waterbirds_have_groups(root: Path) -> None:
    split = waterbirds(root).open("test")
    assert split.labels("class", np.arange(4)).tolist() == [0, 1, 0, 1]
    assert split.labels("place", np.arange(4)).tolist() == [0, 0, 1, 1]
    assert split.labels("group", np.arange(4)).tolist() == [0, 2, 1, 3]
    assert split.value_names("group")[1] == "landbird on water"


def test_names_of_imagenet_are_the_release_s_or_a_list_s(root: Path, tmp_path: Path) -> None:
    dataset = imagenet(root)
    for path in root.iterdir():
        for wnid in ("n01", "n02"):
            (path / wnid).rename(path / f"{wnid}000000")
    (root / "LOC_synset_mapping.txt").write_text("n01000000 tench, Tinca tinca\nn02000000 goldfish\n")
    assert dataset.open("val").class_names == ("tench", "goldfish")
    (tmp_path / "clip.txt").write_text("a fish\nanother fish\n")
    assert replace(dataset, class_names=str(tmp_path / "clip.txt")).open("val").class_names[1] == "another fish"


def test_imagenet_s_numbers_classes_as_imagenet_and_masks_as_its_own(root: Path) -> None:
    dataset = imagenet_s(root)
    split = dataset.open("validation")
    assert split.labels("class", np.arange(8)).tolist() == [1, 1, 2, 2, 2, 4, 4, 4]
    assert split.class_names[4] == "thing 4"
    masks, own = (split.labels(name, np.arange(8)) for name in ("mask", "class_mask"))
    assert (
        masks[0, 0].tolist() == [1] * 8 + [0] * 2 + [300] + [0] * 2 + [1000] + [0] * 2
        or masks[0, 0, :8].tolist() == [1] * 8
    )
    assert masks[5, 0, 0] == 3
    assert set(np.unique(masks)) <= {0, 1, 2, 3, 300, 1000}
    np.testing.assert_array_equal(own[:, :, :8], 1)
    np.testing.assert_array_equal(own[:, :, 8:], 0)


def test_imagenet_s_leaves_out_merged_pairs_and_small_classes(root: Path) -> None:
    dataset = imagenet_s(root)
    everything = replace(dataset, exclude_merged=False)
    assert everything.size("validation") == 11
    few = replace(dataset, per_class=3, least_per_class=3)
    assert few.open("validation").labels("class", np.arange(6)).tolist() == [2, 2, 2, 4, 4, 4]
    assert few.list_hash("validation") != dataset.list_hash("validation")
    assert replace(dataset, masks=False).splits == ("validation", "test")


def test_imagenet_s_reads_the_originals_by_the_mapping_and_relabels(root: Path, tmp_path: Path) -> None:
    """An image of ImageNet's class 4 that ImageNet-S has in its class 1."""
    dataset = imagenet_s(root)
    originals, lines = tmp_path / "val", list[str]()
    folder = root / "ImageNetS919" / "validation"
    for path in sorted(folder.rglob("*.png")):
        wnid = path.parent.name
        source = f"{'n00000004' if path.stem.endswith('01') and wnid == 'n00000001' else wnid}/{path.name}"
        (originals / source).parent.mkdir(parents=True, exist_ok=True)
        (originals / source).write_bytes(path.read_bytes())
        lines.append(f"{source} {wnid}/{path.name}")
    assert any(line.split()[0] != line.split()[1] for line in lines)
    (tmp_path / "mapping.txt").write_text("\n".join(reversed(lines)))
    mapped = replace(dataset, originals=str(originals), mapping=str(tmp_path / "mapping.txt"))
    one, other = mapped.open("validation"), dataset.open("validation")
    np.testing.assert_array_equal(one.labels("class", np.arange(8)), other.labels("class", np.arange(8)))
    np.testing.assert_array_equal(one.images(np.arange(8)), other.images(np.arange(8)))
    assert mapped.list_hash("validation") == dataset.list_hash("validation")


def test_hdf5_is_read_the_right_way_round(root: Path) -> None:
    dataset = segmentation(root)
    split = dataset.open("test")
    np.testing.assert_array_equal(split.pixels(2), photo(2))
    mask = split.labels("class_mask", np.arange(3))
    assert mask[0, :, :8].min() == 1
    assert mask[0, :, 8:].max() == 0
    (root / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"old.mat: cannot be read as HDF5"):
        replace(dataset, file=str(root / "old.mat")).open("test").images(np.arange(1))
