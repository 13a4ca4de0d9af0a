"""Object classes and colour words that Visual Genome can be filtered by, and aliases of names."""

from __future__ import annotations

from pathlib import Path

from frozen.data.scenes._base import DataError

COCO_CLASSES = tuple(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
    teddy bear, hair drier, toothbrush""".replace("\n", " ").split(", ")
)
COCO_CLASSES = tuple(" ".join(name.split()) for name in COCO_CLASSES)
COLOR_WORDS = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
BUILT_IN_ALIASES = {"grey": "gray"}


def plain_name(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())


def read_aliases(path: Path | None) -> dict[str, str]:
    """Name by alias. Each line of the file lists names of one thing, separated by commas, the chosen one first.

    Raises:
        DataError: no such file, or text that cannot be decoded.
    """
    aliases = dict(BUILT_IN_ALIASES)
    if path is None:
        return aliases
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as aliases ({error}); give the release's file, or none") from error
    for line in text.splitlines():
        names = [plain_name(name) for name in line.split(",") if name.strip()]
        aliases.update((other, names[0]) for other in names[1:])
    return aliases
