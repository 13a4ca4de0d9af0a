"""A data set of six images that Blender rendered; `python tests/rendered.py` renders those that are missing."""

from __future__ import annotations

import sys
from pathlib import Path

from frozen.data.scenes import OcclusionClevr, SplitPolicy

FOLDER = Path(__file__).parent / "data" / "occlusionclevr"

RENDERED = OcclusionClevr(
    n_colors=4,
    n_shapes=3,
    max_objects=6,
    image_size=64,
    samples=16,
    assets="primitives",
    folder=str(FOLDER),
    seed=3,
    split=SplitPolicy(train=2, validation=2, test=2),
)


def main() -> int:
    """Render the missing images in this process."""
    maker = RENDERED.maker()
    maker.prepare()
    worker = maker.worker("cpu", 0)
    for job in maker.jobs(thorough=True):
        worker.make(job)
    worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
