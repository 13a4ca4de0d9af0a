"""The ladder: an image, and what each layer says of it, wrong words marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frozen.data.spec import AnyDataset, has_object_codes, open_split
from frozen.readout.exhibit import Exhibit
from readouts.captions.exhibits._base import Row, captioned, samples_of
from readouts.captions.object_words import ObjectWords
from readouts.captions.parsing import Pair, Parser, words_of

N_IMAGES = 4
MOST_DRAWN = 6
"""Ladders of a report: pairs of data set and backbone, with and without translator."""
_WIDTH, _ROW, _IMAGE = 9.6, 0.215, 1.35
_LIST = _WIDTH - _IMAGE - 0.25
_INDENT = 0.72
"""Inches: of the figure, a line, an image's side, the list beside it, and where its captions begin."""
_BITS = 0.9
"""Inches at the right of a line, for the entropy."""
_RIGHT, _WRONG, _SWAPPED, _GREY, _TEXT = "#0b6e4f", "#b3261e", "#c06a00", "#6b7480", "#1f2933"
_COLORS = {"right": _RIGHT, "wrong": _WRONG, "swapped": _SWAPPED, "": _GREY}
_LEGENDS = {
    True: "Attribute words that are true of the image are green, false ones red and struck through; words that are "
    "but bound to each other wrongly are orange. A tick marks a caption that equals the true one, which stands in "
    "bold.",
    False: "Object words that the image's instance labels bear out are green, others red and struck through; without "
    "such labels all words are grey. The first of the captions that people wrote stands in bold.",
}
"""What colours say, of scenes and of photos."""


def ladders(results: Path, rows: Sequence[Row], scenes: Mapping[str, AnyDataset]) -> Iterator[Exhibit]:
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
            f"last layer below. {_LEGENDS[has_object_codes(scenes[dataset])]} Bits are the mean entropy of the next "
            "word.",
            f"Images of {dataset}, beside each a list of captions by layer.",
            partial(draw_ladder, results, of, scenes[dataset]),
        )


def draw_ladder(results: Path, rows: Sequence[Row], scene: AnyDataset, n_images: int = N_IMAGES) -> Figure:
    """Draw it.

    Raises:
        DataError: images that cannot be read.
    """
    tables = [(row, samples_of(results, row)) for row in rows]
    known = [(row, table.slice(0, n_images).to_pydict()) for row, table in tables if table is not None]
    split = open_split(scene, rows[0].get("split") or "test")
    n_images = min(n_images, len(split), *(len(table["caption"]) for _, table in known))
    images, told = split.images(np.arange(n_images)), _told(scene, split, n_images)
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
        _list(axes, known, i, told[i])
    return figure


class _Objects(NamedTuple):
    """What is true of a scene."""

    parser: Parser
    code: np.ndarray

    def kinds(self, words: Sequence[str]) -> list[str]:
        """right, wrong, swapped, or empty for words that are no attributes.

        Two words are swapped that stand together, are both true and are no object's.
        """
        groups = self.parser.space.groups
        values = self.parser.space.value_of_object[np.flatnonzero(self.code)]
        present = {groups[g].values[value].lower() for row in values.tolist() for g, value in enumerate(row)}
        attributes = {word.lower() for group in groups for word in group.values}
        found = [("right" if word in present else "wrong") if word in attributes else "" for word in words]
        bound = self.parser.bound
        true = frozenset[Pair]() if bound is None else frozenset(map(tuple, values[:, bound].tolist()))
        for place, both in enumerate(pairwise(words)):
            pairs = self.parser.read(" ".join(both)).pairs
            if pairs and not pairs & true and present.issuperset(both):
                found[place] = found[place + 1] = "swapped"
        return found


class _Instances(NamedTuple):
    """What is true of a photo; without instance labels nothing is known of any word."""

    words: ObjectWords | None
    present: np.ndarray

    def kinds(self, words: Sequence[str]) -> list[str]:
        """right, wrong, or empty for words that name no category."""
        found = [""] * len(words)
        for number, start, end in self.words.places(" ".join(words)) if self.words else ():
            found[start:end] = ["right" if self.present[number] else "wrong"] * (end - start)
        return found


_Told = _Objects | _Instances


def _told(scene: AnyDataset, split: Any, n_images: int) -> list[_Told]:
    """What is true of the first images."""
    if has_object_codes(scene):
        parser = Parser(split.space)
        return [_Objects(parser, code) for code in split.object_codes[:n_images]]
    if "instances" not in split.label_names:
        return [_Instances(None, np.zeros(0))] * n_images
    words = ObjectWords(split.value_names("instances"))
    return [_Instances(words, row > 0) for row in split.labels("instances", np.arange(n_images))]


def _list(axes: Axes, known: Sequence[tuple[Row, dict]], i: int, told: _Told) -> None:
    true = known[0][1].get("true_caption")
    y = 0.17
    if true is not None:
        axes.text(_INDENT, y, true[i], fontsize=8, color=_TEXT, weight="bold", va="center")
        axes.text(_INDENT - 0.12, y, "true", fontsize=7, color=_GREY, ha="right", va="center")
    for position, (row, table) in enumerate(known, start=1):
        y = 0.17 + _ROW * position
        axes.text(_INDENT - 0.12, y, str(row["layer"]), fontsize=7.5, color=_GREY, ha="right", va="center")
        _words(axes, table["caption"][i], told, y)
        is_exact = true is not None and table["caption"][i] == true[i]
        text = f"{'✓  ' if is_exact else ''}{table['entropy_bits'][i]:.2f} bits"
        axes.text(_LIST - 0.1, y, text, fontsize=7, color=_RIGHT if is_exact else _GREY, ha="right", va="center")


def _words(axes: Axes, caption: str, told: _Told, y: float) -> None:
    """Words one after the other, each in its colour; what does not fit is cut."""
    words = words_of(caption)
    x, figure = _INDENT, axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    for word, kind in zip(words or ["(nothing written)"], told.kinds(words) or [""], strict=True):
        drawn = axes.text(x, y, word, fontsize=8, color=_COLORS[kind], va="center", parse_math=False)
        inches = drawn.get_window_extent(renderer).width / figure.dpi
        if x + inches > _LIST - _BITS:
            drawn.set_text("…")
            break
        if kind == "wrong":
            axes.plot([x, x + inches], [y, y], color=_WRONG, linewidth=0.7)
        x += inches + 0.055
