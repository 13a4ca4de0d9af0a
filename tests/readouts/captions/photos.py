"""Photos in COCO's layout whose answer is known: drawn scenes, with their captions and shapes as instance labels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from frozen.data.readers import CocoCaptions
from frozen.data.scenes import SplitPolicy, TwinShapes
from frozen.data.transform import Transform
from tests.frozen.data.readers.layouts import write_tar


def write_photos(root: Path, n: int = 16) -> CocoCaptions:
    """Shards of the splits train and test, with instances.json beside them."""
    scene = TwinShapes(split=SplitPolicy(train=n, validation=2, test=n))
    shapes = scene.space.groups[1].values
    categories = [{"id": 7 * number + 1, "name": name} for number, name in enumerate(shapes)]
    annotations = []
    for number, name in enumerate(("train", "test")):
        split, rows = scene.open(name), np.arange(n)
        members: dict[str, bytes] = {}
        for i, (image, text) in enumerate(zip(split.images(rows), split.captions(rows, "counted"), strict=True)):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "png")
            image_id = 1000 * number + i
            note = {"cocoid": image_id, "sentences": [{"raw": text}, {"raw": "something else"}]}
            members |= {f"{image_id:06}.png": file.getvalue(), f"{image_id:06}.json": json.dumps(note).encode()}
            objects = np.flatnonzero(split.object_codes[i])
            for shape in scene.space.value_of_object[objects][:, 1].tolist():
                annotations.append({"image_id": image_id, "id": len(annotations), "category_id": 7 * shape + 1})
        write_tar(root / f"{name}.tar", members)
    (root / "instances.json").write_text(json.dumps({"annotations": annotations, "categories": categories}))
    return CocoCaptions(
        root=str(root),
        shards=("train=train.tar", "test=test.tar"),
        instances=str(root / "instances.json"),
        transform=Transform(size=scene.image_size),
    )
