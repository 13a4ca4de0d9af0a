"""Object words of captions held against instance labels: recall, and what is named and not there (CHAIR).

Rohrbach et al., Object Hallucination in Image Captioning (EMNLP 2018), equations 1 and 2. There, objects that
reference captions name are present too; here the instance labels alone say what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int

from readouts.captions.parsing import words_of

_SINGULAR = {
    "person": (
        "people, man, men, woman, women, boy, girl, child, children, kid, guy, lady, gentleman, baby, toddler, "
        "teenager, adult, player, batter, catcher, pitcher, skier, snowboarder, skateboarder, surfer, rider, "
        "cyclist, pedestrian, chef, officer, policeman, policemen, worker, student, tourist, fisherman, skater, "
        "swimmer"
    ),
    "bicycle": "bike",
    "car": "automobile, sedan, suv, minivan, taxi",
    "motorcycle": "motorbike, moped, scooter, motor bike",
    "airplane": "plane, aeroplane, aircraft, jet, airliner",
    "train": "locomotive, tram, trolley, subway",
    "truck": "pickup, lorry, fire engine",
    "boat": "ship, sailboat, canoe, kayak, ferry, yacht, raft, rowboat",
    "traffic light": "stoplight, traffic signal, stop light",
    "fire hydrant": "hydrant",
    "bird": "pigeon, seagull, duck, goose, geese, parrot, owl, swan, eagle, peacock, ostrich, chicken",
    "cat": "kitten, kitty",
    "dog": "puppy, puppies",
    "horse": "pony, ponies, foal, colt",
    "sheep": "lamb, ram, ewe",
    "cow": "cattle, bull, calf, calves, ox, oxen",
    "bear": "cub, panda",
    "backpack": "rucksack, knapsack",
    "handbag": "purse, hand bag",
    "tie": "necktie, bow tie, bowtie",
    "suitcase": "luggage, suit case",
    "frisbee": "disc",
    "skis": "ski",
    "sports ball": "ball, volleyball, football, basketball",
    "baseball glove": "mitt, catcher's mitt",
    "skateboard": "skate board",
    "surfboard": "surf board, boogie board",
    "tennis racket": "racket, racquet, tennis racquet",
    "wine glass": "wineglass, wine glasses",
    "cup": "mug",
    "knife": "knives",
    "sandwich": "burger, hamburger, cheeseburger, sub",
    "orange": "tangerine, clementine",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "couch": "sofa, loveseat",
    "potted plant": "houseplant, house plant, potted flower",
    "bed": "mattress",
    "dining table": "table, kitchen table, coffee table",
    "tv": "television, tv screen, television screen",
    "laptop": "notebook computer, laptop computer",
    "mouse": "computer mouse, mice",
    "remote": "remote control, controller, wii remote, wiimote",
    "cell phone": "cellphone, phone, smartphone, mobile phone, iphone",
    "microwave": "microwave oven",
    "oven": "stove",
    "refrigerator": "fridge",
    "teddy bear": "stuffed animal, stuffed bear, teddy, teddies",
    "hair drier": "hair dryer, hairdryer, blow dryer",
    "toothbrush": "tooth brush",
}
"""Other words for COCO's categories, singular unless the plural is irregular. Categories of other lists have their
name alone."""
_OTHER_THINGS = (
    "baby elephant, baby bear, baby sheep, baby horse, baby cow, baby giraffe, baby zebra, carrot cake, train "
    "track, train station, bus stop, bus station, car seat, truck bed, dog house, bird house, pizza box, pizza "
    "cutter, oven mitt, phone booth, table cloth, toilet paper, apple juice, banana bread, chair lift, ski lift, "
    "ski slope, ski resort, ski lodge, ski pole, book shelf, book case"
)
"""Phrases in which a word of the list above is not that thing; `baby elephant` is no person."""
_KEPT = {
    "baby elephant": "elephant",
    "baby bear": "bear",
    "baby sheep": "sheep",
    "baby horse": "horse",
    "baby cow": "cow",
    "baby giraffe": "giraffe",
    "baby zebra": "zebra",
    "carrot cake": "cake",
}
"""What such a phrase is instead, where that is a category."""
_NOT_ALONE = frozenset({"orange"})
"""Singular words that mostly mean something else: orange is a colour; oranges are counted."""


@dataclass(frozen=True)
class ObjectWords:
    """Finds the categories that captions name.

    Attributes:
        categories: names of the instance labels' categories, such as COCO's 80.
    """

    categories: tuple[str, ...]

    @cached_property
    def _phrases(self) -> Mapping[tuple[str, ...], int | None]:
        """What each phrase names: a place among the categories, or None for no thing of the list."""
        found: dict[tuple[str, ...], int | None] = {}
        place = {name: number for number, name in enumerate(self.categories)}
        for text in _OTHER_THINGS.split(", "):
            of = _KEPT.get(text)
            for words in (text, _plural(text)):
                found[tuple(words.split())] = None if of is None else place.get(of)
        for name, number in place.items():
            others = [text for text in _SINGULAR.get(name, "").split(", ") if text]
            for text in (name, *others):
                for words in {text, _plural(text)} - _NOT_ALONE:
                    found[tuple(words_of(words))] = number
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._phrases))

    def places(self, caption: str) -> list[tuple[int, int, int]]:
        """What a caption names, from left to right, the longest phrase first.

        Returns:
            Category, and the first word of its phrase and the one behind the last, counted in `words_of`.
        """
        words, found, start = words_of(caption), [], 0
        while start < len(words):
            for end in range(min(start + self._longest, len(words)), start, -1):
                phrase = tuple(words[start:end])
                if phrase in self._phrases:
                    if (number := self._phrases[phrase]) is not None:
                        found.append((number, start, end))
                    break
            else:
                end = start + 1
            start = end
        return found

    def named(self, captions: Sequence[str]) -> Bool[np.ndarray, "captions categories"]:
        """Which categories each caption names; equal captions are read once."""
        known = {text: [number for number, *_ in self.places(text)] for text in dict.fromkeys(captions)}
        found = np.zeros((len(captions), len(self.categories)), dtype=bool)
        for row, text in zip(found, captions, strict=True):
            row[known[text]] = True
        return found


def _plural(text: str) -> str:
    """Of the last word, by rule."""
    if text.endswith(("s", "x", "ch", "sh")):
        return f"{text}es"
    if text.endswith("y") and text[-2:-1] not in "aeiou":
        return f"{text[:-1]}ies"
    return f"{text}s"


def object_word_columns(
    captions: Sequence[str], instances: Int[np.ndarray, "samples categories"], words: ObjectWords
) -> dict[str, Float64[np.ndarray, " samples"]]:
    """Counts of every sample, a column each; a category counts once an image, however many instances there are.

    Args:
        captions: one an image.
        instances: how many of each category the image shows.
        words: of the same categories.

    Returns:
        things: categories that are there; thing_hits: those that are named too; things_named; things_invented: named
        and not there; invents: 1 if there are such. chance_hits and chance_invented: expectations of thing_hits and
        things_invented if each caption were held against an image drawn from the others, exactly.
    """
    named, there = words.named(captions), np.asarray(instances) > 0
    n = len(named)
    # how often a category is in another image than the caption's own
    elsewhere = (there.sum(axis=0) - there) / max(n - 1, 1)
    n_named = named.sum(axis=1)
    hits = (named & there).sum(axis=1)
    by_chance = (named * elsewhere).sum(axis=1)
    columns = {
        "things": there.sum(axis=1),
        "thing_hits": hits,
        "things_named": n_named,
        "things_invented": n_named - hits,
        "invents": n_named > hits,
        "thing_chance_hits": by_chance,
        "things_chance_invented": n_named - by_chance,
    }
    return {name: np.asarray(of, dtype=np.float64) for name, of in columns.items()}
