"""Tiny data sets in the published layouts, of photos that say by their colour which they are."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.frozen.data.readers.photos import photo, save_photo


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(number)).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_shards(root: Path, n_shards: int = 3, n: int = 4) -> None:
    """Shards 00000.tar .. as img2dataset writes them: image, text and JSON of each key."""
    for shard in range(n_shards):
        members = dict[str, bytes]()
        for i in range(n):
            number = shard * n + i
            key = f"{shard:05}{i:04}"
            members[f"{key}.png"] = png(number)
            members[f"{key}.txt"] = f"photo {number}\n".encode()
            members[f"{key}.cls"] = str(number % 3).encode()
            members[f"{key}.json"] = json.dumps(
                {"width": 30, "score": number / 2, "more": {"url": f"u{number}"}}
            ).encode()
        write_tar(root / f"{shard:05}.tar", members)


def write_coco(root: Path, *, form: str = "karpathy") -> None:
    """One shard of four images with two captions each; captions and instances in JSON beside it."""
    members, images, annotations = dict[str, bytes](), list[Any](), list[Any]()
    for i in range(4):
        number = 100 + 11 * i
        texts = [f"photo {i}", f"a picture of {i}"]
        sentences = [
            {"raw": text, "tokens": text.split(), "imgid": i, "sentid": 2 * i + j} for j, text in enumerate(texts)
        ]
        images.append(
            {"cocoid": number, "filename": f"COCO_val2014_{number:012}.jpg", "sentences": sentences, "split": "test"}
        )
        annotations += [
            {"image_id": number, "id": j, "category_id": category} for j, category in enumerate([1] * i + [18])
        ]
        members[f"{i:06}.png"] = png(i)
        if form == "karpathy":
            members[f"{i:06}.json"] = json.dumps(images[-1]).encode()
        elif form == "annotations":
            notes = [{"image_id": number, "id": 7 + j, "caption": text} for j, text in enumerate(texts)]
            members[f"{i:06}.json"] = json.dumps(notes).encode()
        elif form == "text":
            members[f"{i:06}.txt"] = "\n".join(texts).encode()
        else:
            members[f"{i:06}.json"] = json.dumps({"file_name": f"COCO_val2014_{number:012}.jpg"}).encode()
    write_tar(root / "000000.tar", members)
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    (root / "instances.json").write_text(json.dumps({"annotations": annotations, "categories": categories}))


def _batch(numbers: Sequence[int]) -> np.ndarray:
    return np.stack([photo(number, 32, 32).transpose(2, 0, 1).reshape(-1) for number in numbers])


def write_cifar10(root: Path, protocol: int = 2) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for part, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        numbers = [10 * part + i for i in range(4)]
        content = {b"data": _batch(numbers), b"labels": [n % 3 for n in numbers], b"batch_label": b"x"}
        (root / name).write_bytes(pickle.dumps(content, protocol=protocol))
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog", b"owl"]}, protocol=protocol))


def write_cifar100(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for part, name in enumerate(("train", "test")):
        numbers = [10 * part + i for i in range(6)]
        labels = {b"fine_labels": [n % 3 for n in numbers], b"coarse_labels": [n % 2 for n in numbers]}
        (root / name).write_bytes(pickle.dumps({b"data": _batch(numbers), **labels}, protocol=2))
    names = {b"fine_label_names": [b"cat", b"dog", b"owl"], b"coarse_label_names": [b"pet", b"wild"]}
    (root / "meta").write_bytes(pickle.dumps(names, protocol=2))


def write_places(root: Path) -> None:
    categories = {"/a/airfield": 0, "/a/apartment_building/outdoor": 1}
    root.mkdir(parents=True, exist_ok=True)
    (root / "categories_places365.txt").write_text("".join(f"{name} {i}\n" for name, i in categories.items()))
    train, val = list[str](), list[str]()
    for i in range(6):
        place, number = list(categories.items())[i % 2]
        save_photo(root / "data_256_standard" / place[1:] / f"{i:08}.png", i)
        train.append(f"{place}/{i:08}.png {number}")
        save_photo(root / "val_256" / f"Places365_val_{i:08}.png", 10 + i)
        val.append(f"Places365_val_{i:08}.png {number}")
    (root / "places365_train_standard.txt").write_text("\n".join(train) + "\n")
    (root / "places365_val.txt").write_text("\n".join(val) + "\n")


def write_cub(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    species = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    rows = [(i + 1, f"{species[i % 2]}/{i}.png", i % 2 + 1, int(i < 4)) for i in range(7)]
    for number, file, _, _ in rows:
        save_photo(root / "images" / file, number)
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(species, start=1)))
    (root / "images.txt").write_text("".join(f"{n} {file}\n" for n, file, _, _ in rows))
    (root / "image_class_labels.txt").write_text("".join(f"{n} {label}\n" for n, _, label, _ in rows))
    (root / "train_test_split.txt").write_text("".join(f"{n} {part}\n" for n, _, _, part in rows))


def write_waterbirds(root: Path) -> None:
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for i in range(12):
        file = f"00{i % 3}.bird/{i}.png"
        save_photo(root / file, i)
        lines.append(f"{i},{file},{i % 2},{i % 3},{i // 6},/f/forest.jpg")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")


WNIDS = ("n00000001", "n00000002", "n02808440", "n00000004")
"""The third is one of a merged pair."""


def write_imagenet_s(root: Path, n: int = 3) -> None:
    """Four of six classes; masks have the left half of the class, one column of another, one ignored."""
    base = root / "ImageNetS919"
    base.mkdir(parents=True)
    (root / "data" / "categories").mkdir(parents=True)
    (root / "data" / "categories" / "ImageNetS_categories_im919.txt").write_text("\n".join(WNIDS) + "\n")
    others = ("n00000000", "n00000003")
    every = sorted({*WNIDS, *others})
    (base / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} thing {wnid[-1]}, other\n" for wnid in every))
    for c, wnid in enumerate(WNIDS):
        for i in range(n if c else n - 1):
            save_photo(base / "validation" / wnid / f"ILSVRC2012_val_{10 * c + i:08}.png", 10 * c + i)
            save_photo(base / "test" / wnid / f"ILSVRC2012_train_{10 * c + i:08}.png", 50 + 10 * c + i)
            ids = np.zeros((20, 30), np.int64)
            ids[:, :15] = sorted(WNIDS).index(wnid) + 1
            ids[:, 20], ids[:, 25] = 300, 1000
            mask = np.stack([ids % 256, ids // 256, 0 * ids], axis=2).astype(np.uint8)
            path = base / "validation-segmentation" / wnid / f"ILSVRC2012_val_{10 * c + i:08}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)


def write_mat(path: Path, n: int = 4) -> None:
    """References to arrays [3 width height], and to references to arrays [width height], as MATLAB writes cells."""
    import h5py

    with h5py.File(path, "w") as file:
        value, refs = file.create_group("value"), file.create_group("#refs#")
        images, masks = np.empty((n, 1), dtype=h5py.ref_dtype), np.empty((n, 1), dtype=h5py.ref_dtype)
        for i in range(n):
            refs[f"img{i}"] = photo(i).transpose(2, 1, 0)
            mask = np.zeros((20, 30), np.uint8)
            mask[:, : 15 + i] = 1
            refs[f"mask{i}"] = mask.T
            inner = refs.create_dataset(f"cell{i}", (1, 1), dtype=h5py.ref_dtype)
            inner[0, 0] = refs[f"mask{i}"].ref
            images[i, 0], masks[i, 0] = refs[f"img{i}"].ref, refs[f"cell{i}"].ref
        value.create_dataset("img", data=images, dtype=h5py.ref_dtype)
        value.create_dataset("gt", data=masks, dtype=h5py.ref_dtype)
