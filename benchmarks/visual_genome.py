"""Images a second of the Visual Genome reader, without decoding: codes, entropies, prior odds.

    python benchmarks/visual_genome.py --images 10000

A release is made up whose images have as many objects as those of Visual Genome with the classes of COCO: 80
classes, 12 colour words, Zipf's frequencies, a geometric number of objects with mean 6, each of which repeats the
class of an earlier one with probability 0.3, and a colour that half of the objects have.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from frozen.data.scenes import VgColor

CLASSES = [f"class{i:02d}" for i in range(80)]
COLORS = [f"color{i:02d}" for i in range(11)]
MEAN_OBJECTS, REPEATS, COLORED = 6, 0.3, 0.5


def make_release(root: Path, n_images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    class_p, color_p = (1 / np.arange(1, n + 1) for n in (len(CLASSES), len(COLORS)))
    metadata, pairs = [], {name: Counter() for name in CLASSES}
    for number in range(n_images):
        objects: list[dict[str, object]] = []
        for _ in range(rng.geometric(1 / MEAN_OBJECTS)):
            name = str(rng.choice(CLASSES, p=class_p / class_p.sum()))
            if objects and rng.random() < REPEATS:
                name = str(objects[rng.integers(len(objects))]["object_class"])
            color = str(rng.choice(COLORS, p=color_p / color_p.sum())) if rng.random() < COLORED else None
            objects.append({"object_class": name, "attributes_color": [color] if color else []})
            pairs[name][color or "no_color"] += 1
        url = f"https://example.org/VG_100K/{number}.jpg"
        metadata.append({"image_id": number, "image_url": url, "attributes": objects})
    statistics = {
        "selected_object_classes": CLASSES,
        "selected_color_attributes": [*COLORS, "no_color"],
        "object_to_color_attribute_occurrences": pairs,
    }
    n_train, n_other = n_images * 8 // 10, n_images // 10
    ids = {"train": (0, n_train), "val": (n_train, n_train + n_other), "test": (n_train + n_other, n_images)}
    folder = root / "deprecated" / "meta_filtered_color_coco"
    folder.mkdir(parents=True)
    (root / "VG_100K").mkdir()
    (folder / "attributes_filtered_color.json").write_text(json.dumps(metadata))
    (folder / "vg_stats_filtered_color.json").write_text(json.dumps(statistics))
    (folder / "split_dataset.json").write_text(json.dumps({name: list(range(*ends)) for name, ends in ids.items()}))


def timed(label: str, n_images: int, action) -> None:
    started = time.process_time()
    action()
    seconds = time.process_time() - started
    print(f"{label:<34} {n_images / seconds:>10,.0f} images/s  {seconds:6.2f} s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=10_000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_release(Path(folder), options.images, seed=0)
        codes, deals = VgColor(root=folder).open("train"), VgColor(root=folder, entropy="assignments").open("train")
        n = options.images * 8 // 10
        timed("read metadata, object codes", n, lambda: codes.object_codes)
        timed("entropy of codes", n, codes.conditional_entropy_bits)
        timed("prior log-odds", n, codes.prior_log_odds)
        timed("entropy of assignments", n, deals.conditional_entropy_bits)
        print(f"left out: {codes.n_skipped} of {n} for codes, {deals.n_skipped} for assignments")
        bits = codes.conditional_entropy_bits().mean(), deals.conditional_entropy_bits().mean()
        print(f"mean H(O|F): codes {bits[0]:.2f} bits, assignments {bits[1]:.2f} bits")


if __name__ == "__main__":
    main()
