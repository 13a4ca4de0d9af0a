"""Layers and heads: what each is about, how much its texts explain, and what it adds to the margin."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits._base import Row, depth, drawn, of, panel_of, panels, place

_MOST_TEXTS = 5
_OF_ONE = ("told", "explained")
"""Fields whose scale reaches to 1, whatever was measured."""


class _Matrix(NamedTuple):
    """A matrix of layers and heads.

    Attributes:
        field: what colours it.
        title: of the exhibit.
        caption: below it.
        shown_by: what colours it, in the alternative text.
        legend: of the colours.
        text: field of what stands in the squares; empty for nothing.
    """

    field: str
    title: str
    caption: str
    shown_by: str
    legend: str
    text: str = ""


_MATRICES = (
    _Matrix(
        "told",
        "What each head is about",
        "Share of the variance of a head's output that the values of one feature tell, on images that the means "
        "were not made of; the letter is that of the feature. The head's texts and what happens without it show "
        "when the pointer rests on it.",
        "the variance that a feature tells",
        "variance told",
        "initial",
    ),
    _Matrix(
        "explained",
        "What the texts of a head explain",
        "Share of the variance of a head's output along the directions of its TextSpan texts, on images that did "
        "not choose them; the number is how much of it the same texts explain under random rotations.",
        "the variance that their texts explain",
        "variance explained",
        "chance",
    ),
    _Matrix(
        "share",
        "Who tells a scene from its twin",
        "Share of each head in the margin between the caption of a scene and that of its twin; with the MLPs the "
        "shares sum to 1. A model that has no margin is left out.",
        "their share of the margin",
        "share of margin",
    ),
    _Matrix(
        "effect",
        "What goes without each head",
        "Change of zero-shot accuracy, in percentage points, when the head alone is replaced by its mean; only "
        "its direct effect goes.",
        "the change of accuracy",
        "points of accuracy",
    ),
    _Matrix(
        "entropy",
        "How many texts a head takes",
        "Entropy, in bits, of how the variance that a head's TextSpan texts explain is shared among them: 0 "
        "where one text says all, log2 of their number where all say as much.",
        "the entropy of their texts",
        "bits",
    ),
)


def heads(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """Matrices of layers and heads, and the texts of each head."""
    merged = list(matrix(rows))
    with_margin = {value["of"] for value in merged if value.get("share")}
    for one in _MATRICES:
        values = [value for value in merged if one.field != "share" or value["of"] in with_margin]
        if any(value.get(one.field) is not None for value in values):
            yield Exhibit(
                one.title,
                one.caption,
                f"Matrices of layers and heads, coloured by {one.shown_by}.",
                partial(draw_matrix, values, one.field, one.legend, one.text),
            )
    yield from drawn(
        listed(rows),
        "Texts of the heads",
        "The texts that TextSpan chose for each head, from left to right, and the share of the head's variance "
        "along each, in colour.",
        "Tables of texts, a row for each head.",
        draw_texts,
    )


def matrix(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """What is known of each head, from the rows of all analyses."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for analysis in ("heads", "textspan", "forced_choice"):
        for row in of(rows, analysis):
            if not str(row["term"]).startswith("head "):
                continue
            key = (*place(row).values(), str(row["layer"]), str(row["term"]))
            start = {**place(row), "of": panel_of(row), "layer": str(row["layer"]), "head": str(row["term"])[5:]}
            found.setdefault(key, start).update(_columns(row, analysis))
    yield from found.values()


def _columns(row: Row, analysis: str) -> dict[str, Any]:
    if analysis == "heads":
        factor = str(row.get("factor") or "")
        about = {"factor": factor, "initial": factor[:1], "told": _rounded(row.get("factor_ratio"))}
        change = row.get("change_percent")
        about["effect"] = _rounded(change)
        return {**about, "without it": f"{change:+.1f} points of accuracy" if change is not None else ""}
    if analysis == "forced_choice":
        return {"share": _rounded(row.get("margin_share_ratio"))}
    chance = row.get("explained_by_chance_ratio")
    texts = json.loads(row.get("texts") or "[]")
    return {
        "explained": _rounded(row.get("explained_ratio")),
        "words": "; ".join(text for text, *_ in texts),
        "entropy": _rounded(entropy([share for _, share, _ in texts])),
        "chance": "" if chance is None else f"{chance:.2f}",
    }


def entropy(shares: Sequence[float]) -> float | None:
    """Bits, of shares that need not sum to 1; None where there are none."""
    positive = [share for share in shares if share > 0]
    total = sum(positive)
    return sum(share / total * math.log2(total / share) for share in positive) if positive else None


def _rounded(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else round(float(value), 4)


def draw_matrix(values: Sequence[dict[str, Any]], field: str, title: str, label: str) -> dict[str, Any]:
    """A Vega-Lite specification: heads across, layers upwards."""
    shown = [value for value in values if value.get(field) is not None]
    layers = sorted({value["layer"] for value in shown}, key=depth, reverse=True)
    heads_ = sorted({value["head"] for value in shown}, key=int)
    low = min([0.0, *(value[field] for value in shown)])
    high = 1.0 if field in _OF_ONE else max([0.0, *(value[field] for value in shown)])
    high = high if high > low else low + 1
    scale: dict[str, Any] = {"scheme": "viridis", "domain": [low, high]}
    if field == "effect":  # what loses most stands out
        scale["reverse"] = True
    names = ("of", "layer", "head", field, "factor", "without it", "words")
    tips = [{"field": name} for name in names if any(value.get(name) for value in shown)]
    x = {"field": "head", "type": "nominal", "sort": heads_, "title": "head", "axis": {"labelAngle": 0}}
    y = {"field": "layer", "type": "nominal", "sort": layers, "title": "layer"}
    color = {"field": field, "type": "quantitative", "title": title, "scale": scale}
    rect = {"mark": "rect", "encoding": {"x": x, "y": y, "color": color, "tooltip": tips}}
    middle = (low + high) / 2
    letter = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {
            "x": x,
            "y": y,
            "text": {"field": label},
            "color": {"condition": {"test": f"datum['{field}'] > {middle}", "value": "#111"}, "value": "#eee"},
            "tooltip": tips,
        },
    }
    layer = [rect, letter] if label else [rect]
    width, height = 30 * max(4, len(heads_)), 24 * max(2, len(layers))
    return panels(shown, {"width": width, "height": height, "layer": layer}, columns=3)


def listed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Every text of every head, with its place in the head's list."""
    for row in of(rows, "textspan"):
        for number, (text, share, together) in enumerate(json.loads(row.get("texts") or "[]")[:_MOST_TEXTS]):
            yield {
                **place(row),
                "of": f"{panel_of(row)} · {row['setting']}",
                "head": f"{row['layer']}.{str(row['term'])[5:]}",
                "order": (depth(str(row["layer"])), int(str(row["term"])[5:])),
                "rank": number + 1,
                "text": text,
                "share": share,
                "together": together,
            }


def draw_texts(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification: a row for each head, its texts from left to right."""
    ordered = sorted(values, key=lambda value: value["order"], reverse=True)
    heads_ = list(dict.fromkeys(value["head"] for value in ordered))
    shown = [{name: item for name, item in value.items() if name != "order"} for value in values]
    scale = {"scheme": "blues", "domain": [0, 1]}
    tips = [{"field": name} for name in ("of", "head", "rank", "text", "share", "together")]
    x = {"field": "rank", "type": "ordinal", "title": "text", "axis": {"labelAngle": 0}}
    y = {"field": "head", "type": "nominal", "sort": heads_, "title": "layer.head"}
    rect = {
        "mark": "rect",
        "encoding": {
            "x": x,
            "y": y,
            "color": {"field": "share", "type": "quantitative", "title": "share", "scale": scale},
            "tooltip": tips,
        },
    }
    word = {
        "mark": {"type": "text", "fontSize": 9, "limit": 176},
        "encoding": {
            "x": x,
            "y": y,
            "text": {"field": "text"},
            "tooltip": tips,
            "color": {"condition": {"test": "datum.share > 0.55", "value": "white"}, "value": "#111"},
        },
    }
    width = 180 * max(value["rank"] for value in shown)
    return panels(shown, {"width": width, "height": 20 * len(heads_), "layer": [rect, word]}, columns=1)
