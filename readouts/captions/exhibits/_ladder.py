"""The ladder: an image, and what each layer says of it, wrong words marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, samples_of
from readouts.captions.parsing import Pair, Parser, words_of

N_IMAGES = 4
MOST_DRAWN = 6
"""Ladders of a report: pairs of data set and backbone, with and without translator."""
_WIDTH, _ROW, _IMAGE = 9.6, 0.215, 1.35
_LIST = _WIDTH - _IMAGE - 0.25
_INDENT = 0.72
"""Inches: of the figure, a line, an image's side, the list beside it, and where its captions begin."""
_RIGHT, _WRONG, _SWAPPED, _GREY, _TEXT = "#0b6e4f", "#b3261e", "#c06a00", "#6b7480", "#1f2933"


def ladders(results: Path, rows: Sequence[Row], scenes: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """One figure for each data set, backbone and translator, without the controls."""
    found = {key: of for key, of in captioned(rows).items() if not of[0].get("is_control")}
    for (dataset, backbone, translator), of in list(found.items())[:MOST_DRAWN]:
        known = samples_of(results, of[0])
        split = "" if translator == "none" else f", translator {translator}"
        if known is None or dataset not in scenes:
            continue
        yield Exhibit(
            f"What each layer says: {dataset}, {backbone}{split}",
            f"The first {N_IMAGES} images, and the caption that the decoder writes from each layer's tokens, the "
            "last layer below. Attribute words that are true of the image are green, false ones red and "
            "struck through; words that are true but bound to each other wrongly are orange. A tick marks a caption "
            "that equals the true one, which stands in bold. Bits are the mean entropy of the next word.",
            f"Images of {dataset}, beside each a list of captions by layer.",
            partial(draw_ladder, results, of, scenes[dataset]),
        )


def draw_ladder(results: Path, rows: Sequence[Row], scene: Scene, n_images: int = N_IMAGES) -> Figure:
    """Draw it.

    Raises:
        DataError: images that cannot be read.
    """
    tables = [(row, samples_of(results, row)) for row in rows]
    known = [(row, table.slice(0, n_images).to_pydict()) for row, table in tables if table is not None]
    split = scene.open("test")
    n_images = min(n_images, len(split), *(len(table["caption"]) for _, table in known))
    images, parser = split.images(np.arange(n_images)), Parser(scene.space)
    each = max(_IMAGE + 0.1, _ROW * (len(known) + 1) + 0.25)
    figure = Figure(figsize=(_WIDTH, each * n_images), dpi=200)
    for i, image in enumerate(images):
        bottom = 1 - (i + 1) / n_images
        side = _IMAGE / (each * n_images)
        picture = figure.add_axes((0.008, bottom + 1 / n_images - side - 0.01, _IMAGE / _WIDTH, side))
        picture.imshow(image, interpolation="nearest")
        picture.set_xticks([])
        picture.set_yticks([])
        for spine in picture.spines.values():
            spine.set(color="#c8ced6", linewidth=0.8)
        axes = figure.add_axes((1 - _LIST / _WIDTH, bottom, _LIST / _WIDTH, 1 / n_images))
        axes.set(xlim=(0, _LIST), ylim=(each, 0))
        axes.axis("off")
        _list(axes, known, i, parser, split.object_codes[i])
    return figure


def _list(axes: Axes, known: Sequence[tuple[Row, dict]], i: int, parser: Parser, code: np.ndarray) -> None:
    present, pairs = _true_words(parser, code), _true_pairs(parser, code)
    true = known[0][1].get("true_caption")
    y = 0.17
    if true is not None:
        axes.text(_INDENT, y, true[i], fontsize=8, color=_TEXT, weight="bold", va="center")
        axes.text(_INDENT - 0.12, y, "true", fontsize=7, color=_GREY, ha="right", va="center")
    for position, (row, table) in enumerate(known, start=1):
        y = 0.17 + _ROW * position
        axes.text(_INDENT - 0.12, y, str(row["layer"]), fontsize=7.5, color=_GREY, ha="right", va="center")
        _words(axes, table["caption"][i], present, parser, pairs, y)
        is_exact = true is not None and table["caption"][i] == true[i]
        text = f"{'✓  ' if is_exact else ''}{table['entropy_bits'][i]:.2f} bits"
        axes.text(_LIST - 0.1, y, text, fontsize=7, color=_RIGHT if is_exact else _GREY, ha="right", va="center")


def _swapped(words: Sequence[str], present: set[str], parser: Parser, true: frozenset[Pair]) -> set[int]:
    """Places of two words that stand together, are both true and are no object's."""
    found: set[int] = set()
    for place, both in enumerate(pairwise(words)):
        pairs = parser.read(" ".join(both)).pairs
        if pairs and not pairs & true and present.issuperset(both):
            found |= {place, place + 1}
    return found


def _words(axes: Axes, caption: str, present: set[str], parser: Parser, true: frozenset[Pair], y: float) -> None:
    """Words one after the other, each in its colour."""
    attributes = {word.lower() for group in parser.space.groups for word in group.values}
    words = words_of(caption)
    swapped = _swapped(words, present, parser, true)
    x, figure = _INDENT, axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    for place, word in enumerate(words or ["(nothing written)"]):
        is_attribute = word in attributes
        color = (_RIGHT if word in present else _WRONG) if is_attribute else _GREY
        color = _SWAPPED if place in swapped else color
        drawn = axes.text(x, y, word, fontsize=8, color=color, va="center", parse_math=False)
        width = drawn.get_window_extent(renderer).width
        inches = width / figure.dpi
        if is_attribute and word not in present:
            axes.plot([x, x + inches], [y, y], color=_WRONG, linewidth=0.7)
        x += inches + 0.055


def _true_pairs(parser: Parser, code: np.ndarray) -> frozenset[Pair]:
    values = parser.space.value_of_object[np.flatnonzero(code)]
    return frozenset() if parser.bound is None else frozenset(map(tuple, values[:, parser.bound].tolist()))


def _true_words(parser: Parser, code: np.ndarray) -> set[str]:
    values = parser.space.value_of_object[np.flatnonzero(code)]
    groups = parser.space.groups
    return {groups[g].values[value].lower() for row in values.tolist() for g, value in enumerate(row)}
