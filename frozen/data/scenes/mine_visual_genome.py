"""Makes the metadata that the scenes `vgcolor` and `vgtopattr` read from the public Visual Genome release.

Download image_data.json, attributes.json (or objects.json, which knows no attributes) and, if you like,
object_alias.txt from https://homes.cs.washington.edu/~ranjay/visualgenome/api.html, and the two archives of images.
Unpack the images so that VG_DATA_DIR has the folders VG_100K and VG_100K_2. Then

    python -m frozen.data.scenes.mine_visual_genome --image-data image_data.json --objects attributes.json \\
        --object-aliases object_alias.txt --output $VG_DATA_DIR --kind color --vocabulary coco

writes VG_DATA_DIR/deprecated/meta_filtered_color_coco. Images are given to training, validation and test by a hash
of their number; vocabulary and statistics are counted on the training images alone. Equal input gives equal files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from frozen.data.scenes._base import DataError
from frozen.data.scenes._genome_release import Object, read_release
from frozen.data.scenes._genome_vocabulary import COCO_CLASSES, COLOR_WORDS
from frozen.problems import ConfigurationError, Problem, refuse
from frozen.terminal import complain, say
from frozen.whole_files import appearing

_KEYS = {
    "color": ("attributes_color", "selected_color_attributes", "object_to_color_attribute_occurrences", "no_color"),
    "topattr": (
        "attributes_topattr",
        "selected_topattr_attributes",
        "object_to_topk_attribute_occurrences",
        "no_attribute",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Mining:
    """What to make of the release.

    Raises:
        ConfigurationError: settings out of range.
    """

    kind: Literal["color", "topattr"] = "color"
    vocabulary: Literal["coco", "top50"] = "coco"
    top_classes: int = 50
    """Classes of the vocabulary top50."""
    top_attributes: int = 50
    """Attributes of the kind topattr."""
    least_class_count: int = 1
    """Training objects that a class needs."""
    least_attribute_count: int = 1
    """Training objects that an attribute needs."""
    least_objects: int = 1
    """Objects of the vocabulary that an image needs."""
    validation_percent: int = 10
    test_percent: int = 10
    seed: int = 0
    """Part of the hash that gives images to splits."""

    def __post_init__(self) -> None:
        shares = (self.validation_percent, self.test_percent)
        if min(shares) < 1 or sum(shares) > 99:
            message = (
                f"validation and test need 1 percent each and leave 1 for training, got {shares[0]} and {shares[1]}"
            )
            refuse("mining", [Problem("test_percent", message)])


def split_of(image_id: int, mining: Mining) -> Literal["train", "val", "test"]:
    """The split of an image: it depends on nothing but its number and the seed."""
    bucket = int(hashlib.sha256(f"{mining.seed}|{image_id}".encode()).hexdigest(), 16) % 100
    if bucket < mining.test_percent:
        return "test"
    return "val" if bucket < mining.test_percent + mining.validation_percent else "train"


def mine(images: Mapping[int, str], objects: Mapping[int, Sequence[Object]], mining: Mining) -> dict[str, Any]:
    """Content of the metadata files by name.

    Args:
        images: address of every image.
        objects: objects of every image, with aliases resolved.
        mining: vocabulary, thresholds and splits.

    Raises:
        DataError: no class or no attribute reaches its threshold, or a split has no image.
    """
    train = [image for image in sorted(objects) if split_of(image, mining) == "train"]
    classes = _classes(objects, train, mining)
    attributes = _attributes(objects, train, set(classes), mining)
    metadata = list(_metadata(images, objects, set(classes), set(attributes), mining))
    splits = {name: [m["image_id"] for m in metadata if split_of(m["image_id"], mining) == name] for name in _SPLITS}
    for name, ids in splits.items():
        if not ids:
            raise DataError(
                f"the {name} split has no image with {mining.least_objects} objects of the vocabulary; "
                "lower the thresholds, or choose other percents"
            )
    counted = set(splits["train"])
    training = [entry for entry in metadata if entry["image_id"] in counted]
    return {
        f"attributes_filtered_{mining.kind}.json": metadata,
        f"vg_stats_filtered_{mining.kind}.json": _statistics(training, classes, attributes, mining),
        "split_dataset.json": splits,
    }


def _metadata(
    images: Mapping[int, str],
    objects: Mapping[int, Sequence[Object]],
    classes: set[str],
    attributes: set[str],
    mining: Mining,
) -> Iterator[dict[str, Any]]:
    """Images with enough objects of the vocabulary, and these objects."""
    key = _KEYS[mining.kind][0]
    for image in sorted(objects):
        kept = [
            {"object_class": name, key: [value for value in values if value in attributes]}
            for name, values in objects[image]
            if name in classes
        ]
        if len(kept) >= mining.least_objects:
            yield {"image_id": image, "image_url": images[image], "attributes": kept}


def _statistics(
    training: Iterable[dict[str, Any]], classes: list[str], attributes: list[str], mining: Mining
) -> dict[str, Any]:
    """How often classes and attributes come together, each object with its first attribute as the reader takes it."""
    key, selected_key, pairs_key, no_value = _KEYS[mining.kind]
    pairs = {name: Counter() for name in classes}
    for entry in training:
        for item in entry["attributes"]:
            pairs[item["object_class"]][(item[key] or [no_value])[0]] += 1
    totals = sum(pairs.values(), Counter())
    return {
        "selected_object_classes": classes,
        selected_key: [*attributes, no_value],
        "selected_object_occurrences": {name: pairs[name].total() for name in classes},
        "selected_attribute_occurrences": {name: totals[name] for name in (*attributes, no_value)},
        pairs_key: {name: dict(sorted(pairs[name].items())) for name in classes},
    }


_SPLITS = ("train", "val", "test")


def _classes(objects: Mapping[int, Sequence[Object]], train: Iterable[int], mining: Mining) -> list[str]:
    counts = Counter(name for image in train for name, _ in objects[image])
    found = _frequent(counts, mining.least_class_count)
    if mining.vocabulary == "coco":
        found = [name for name in found if name in COCO_CLASSES]
    chosen = found if mining.vocabulary == "coco" else found[: mining.top_classes]
    if not chosen:
        raise DataError(f"no object class occurs {mining.least_class_count} times in training; lower the threshold")
    return chosen


def _attributes(
    objects: Mapping[int, Sequence[Object]], train: Iterable[int], classes: set[str], mining: Mining
) -> list[str]:
    counts = Counter(
        value for image in train for name, values in objects[image] if name in classes for value in values
    )
    counts.pop(_KEYS[mining.kind][-1], None)  # an object that lists it beside another value has the other
    found = _frequent(counts, mining.least_attribute_count)
    if mining.kind == "color":
        found = [name for name in found if name in COLOR_WORDS]
    chosen = found if mining.kind == "color" else found[: mining.top_attributes]
    if not chosen:
        raise DataError(
            f"no attribute occurs {mining.least_attribute_count} times with these classes in training; "
            "lower the threshold, or give attributes.json instead of objects.json"
        )
    return chosen


def _frequent(counts: Counter[str], least: int) -> list[str]:
    """Names that occur often enough, the most frequent first, ties by name."""
    return sorted((name for name, count in counts.items() if count >= least), key=lambda name: (-counts[name], name))


def write(folder: Path, files: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write the files into a folder that appears at once, complete.

    Raises:
        DataError: the folder is there already and must not be replaced.
    """
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} is there already; give --overwrite to replace it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        with appearing(folder) as made:
            made.mkdir()
            for name, content in files.items():
                (made / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
            if folder.exists():
                folder.rename(old)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m frozen.data.scenes.mine_visual_genome",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--image-data", type=Path, required=True, metavar="FILE", help="image_data.json")
    made.add_argument("--objects", type=Path, required=True, metavar="FILE", help="attributes.json or objects.json")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder VG_DATA_DIR")
    made.add_argument("--object-aliases", type=Path, metavar="FILE", help="lines of names, the chosen one first")
    made.add_argument("--attribute-aliases", type=Path, metavar="FILE", help="the same for attributes")
    made.add_argument("--kind", choices=tuple(_KEYS), default="color")
    made.add_argument("--vocabulary", choices=("coco", "top50"), default="coco")
    for name in (
        "top_classes",
        "top_attributes",
        "least_class_count",
        "least_attribute_count",
        "least_objects",
        "validation_percent",
        "test_percent",
        "seed",
    ):
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Mining, name), help="%(default)s")
    made.add_argument("--overwrite", action="store_true", help="replace metadata that are there already")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 for a mistake in the input."""
    options = vars(parser().parse_args(arguments))
    inputs = {name: options.pop(name) for name in ("image_data", "objects", "object_aliases", "attribute_aliases")}
    output, overwrite = options.pop("output"), options.pop("overwrite")
    try:
        mining = Mining(**options)
        files = mine(*read_release(**inputs), mining)
        digests = {name: _digest(path) for name, path in inputs.items() if path is not None}
        files["mining.json"] = {"settings": options, "sha256_of_input": digests}
        folder = output / "deprecated" / f"meta_filtered_{mining.kind}_{mining.vocabulary}"
        write(folder, files, overwrite=overwrite)
    except (DataError, ConfigurationError, OSError) as error:
        complain(error)
        return 2
    say(f"{folder}: {_summary(files, mining)}")
    return 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summary(files: Mapping[str, Any], mining: Mining) -> str:
    statistics = files[f"vg_stats_filtered_{mining.kind}.json"]
    sizes = ", ".join(f"{len(ids)} {name}" for name, ids in files["split_dataset.json"].items())
    n_classes, n_attributes = len(statistics["selected_object_classes"]), len(statistics[_KEYS[mining.kind][1]])
    return f"{n_classes} classes, {n_attributes} attributes, images: {sizes}"


if __name__ == "__main__":
    sys.exit(main())
