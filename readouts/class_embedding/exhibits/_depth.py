"""Curves over depth: identifiability and rate by kind of token, class over context, composition, memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frozen.intervals import holm
from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._base import COLOURS, Row, chosen, draw_line, dress, is_there, pairs

_PARTS = ("residual", "mid", "attention", "mlp")
_KINDS = ("cls", "image", "class", "context", "register")
_SHARES = {
    "kept_percent": ("the block before", "#0072B2"),
    "attention_percent": ("attention", "#E69F00"),
    "mlp_percent": ("MLP", "#009E73"),
    "composed_percent": ("none of these", "#777777"),
}


def depth_exhibits(rows: Sequence[Row]) -> Iterator[Exhibit]:
    """Of each data set and backbone."""
    for dataset, backbone, own in pairs(rows):
        where = f"{dataset}, {backbone}"
        yield Exhibit(
            f"When tokens become their class: {where}",
            "Mean identifiability (above; chance is about one half) and the share of tokens with the image's class "
            "first (below), by block, for what is in the residual stream and for what attention and MLP add to it. "
            "Dashed: the same backbone with random weights. Bands are bootstrap intervals over images.",
            "Curves by block for each kind of token; they rise from chance to their value in the last block.",
            partial(draw_rise, own),
        )
        if any(is_there(row, "class_gain") for row in own):
            yield Exhibit(
                f"Class tokens over context tokens: {where}",
                "Identifiability of image tokens that show the class minus that of the other image tokens of the "
                "same image, by block. Filled points have p < 0.05 after Holm's correction over its blocks "
                "(masks exchanged between images).",
                "Curves by block of the difference between class and context tokens.",
                partial(draw_gain, own),
            )
        if any(is_there(row, "composed_percent") for row in own):
            yield Exhibit(
                f"Whose class a token takes: {where}",
                "Share of tokens whose best class after the block is that of the block before, of attention, of the "
                "MLP, or of none of them; the first three may overlap, so that the bars of a block can exceed 100 %.",
                "Bars by block: where the best class of a token comes from.",
                partial(draw_composition, own),
            )
        if any(is_there(row, "memory_percent") for row in own):
            yield Exhibit(
                f"Sublayers as memories: {where}",
                "Left: tokens among whose five most active memories is one of the five that favour the image's class "
                "most; thin, the same for another class, a control; dotted, what is by chance. Middle: tokens one of "
                "whose active memories favours the class that "
                "comes out. Right: largest cosine of a class embedding with a value vector, mean over classes. "
                "Dashed: random weights.",
                "Three panels of curves by block for attention and MLP.",
                partial(draw_memories, own),
            )
        if any(is_there(row, "bound_percent") for row in own):
            yield Exhibit(
                f"Which object a token names: {where}",
                "Images of two objects that share no feature. Left: comparisons that the kind of an object that is "
                "there wins against the kinds that the swapped features would make; dotted, what logits that add up "
                "colours and shapes give. Middle: the margin of those logits. Right: tokens whose best class is such "
                "an illusory object. `object` tokens are asked for the object they show, `other` are the same ones "
                "asked for the other object; background tokens and CLS stand for both.",
                "Three panels of curves by block for tokens of objects, of the background, and CLS.",
                partial(draw_bound, own),
            )


def draw_rise(rows: Sequence[Row]) -> Figure:
    """Identifiability and rate by depth, a column a part."""
    own = [row for row in rows if row["aspect"] == "projection" and row["layer"] != "logits"]
    parts = [part for part in _PARTS if chosen(own, part=part)]
    figure = Figure(figsize=(2.9 * len(parts) + 0.6, 5.2), dpi=150, layout="constrained")
    grid = figure.subplots(2, len(parts), sharex=True, sharey="row", squeeze=False)
    for column, part in enumerate(parts):
        of_part = chosen(own, part=part)
        for place, measure in enumerate(("identifiability", "rate_percent")):
            axes = grid[place, column]
            for kind in _KINDS:
                for control in (None, "random_init"):
                    line = [r for r in of_part if r["token"] == kind and (r.get("control") or None) == control]
                    if control is None or kind in ("cls", "image"):
                        draw_line(axes, line, measure, label=kind, colour=COLOURS[kind], dashed=control is not None)
            label = ("identifiability", "class is first, %")[place] if column == 0 else ""
            dress(axes, own, title=part if place == 0 else "", label=label)
            if place == 0:
                axes.axhline(float(of_part[0]["chance"]), color="#999999", linestyle=":", linewidth=1.0)
                axes.set_xlabel("")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if any(row.get("control") for row in own):
        handles, labels = [*handles, Line2D([], [], color="#666666", linestyle="--")], [*labels, "random weights"]
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8.5, frameon=False)
    return figure


def draw_gain(rows: Sequence[Row]) -> Figure:
    """Class minus context by depth, a column a part."""
    own = [row for row in rows if is_there(row, "class_gain") and row["aspect"] == "projection"]
    own = [row for row in own if not row.get("control")]
    parts = [part for part in _PARTS if chosen(own, part=part)]
    figure = Figure(figsize=(2.9 * len(parts) + 0.6, 2.9), dpi=150, layout="constrained")
    for axes, part in zip(figure.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts, strict=True):
        line = chosen(own, part=part)
        draw_line(axes, line, "class_gain", label=part, colour=COLOURS["class"])
        axes.lines[-1].set_markerfacecolor("white")
        if all(is_there(row, "p_value") for row in line):
            corrected = holm([float(row["p_value"]) for row in line])
            clear = [row for row, p in zip(line, corrected, strict=True) if p < 0.05]
            axes.plot(
                [float(row["layer_index"]) for row in clear],
                [float(row["class_gain"]) for row in clear],
                "o",
                color=COLOURS["class"],
                markersize=4.5,
            )
        axes.axhline(0, color="#999999", linewidth=0.8)
        dress(axes, line, title=part, label="class minus context" if part == parts[0] else "")
    return figure


def draw_composition(rows: Sequence[Row]) -> Figure:
    """Bars by block, a panel for CLS and one for image tokens."""
    own = [row for row in rows if is_there(row, "composed_percent") and not row.get("control")]
    kinds = [kind for kind in ("cls", "image") if chosen(own, token=kind)]
    figure = Figure(figsize=(4.4 * len(kinds) + 0.6, 3.1), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        of_kind = chosen(own, token=kind, part="residual")
        for place, (column, (label, colour)) in enumerate(_SHARES.items()):
            x = [float(row["layer_index"]) + 0.2 * (place - 1.5) for row in of_kind]
            value, low, high = ([float(row[f"{column}{end}"]) for row in of_kind] for end in ("", "_low", "_high"))
            reach = [
                [v - a for v, a in zip(value, low, strict=True)],
                [b - v for v, b in zip(value, high, strict=True)],
            ]
            error = {"ecolor": "#333333", "elinewidth": 0.8}
            axes.bar(x, value, width=0.19, color=colour, label=label, yerr=reach, error_kw=error)
        dress(axes, of_kind, title=f"{kind} tokens", label="tokens, %" if kind == kinds[0] else "")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    return figure


def draw_other_class(axes: Axes, rows: Sequence[Row], colour: str) -> None:
    """Agreement with the memories of another class, over all tokens, as a thin line."""
    line = [row for row in rows if row["token"] == "all" and not row.get("control")]  # noqa: S105
    axes.plot(
        [float(row["layer_index"]) for row in line],
        [float(row["memory_percent"]) for row in line],
        color=colour,
        linewidth=0.8,
    )


def draw_bound(rows: Sequence[Row]) -> Figure:
    """Bound class, margin and illusory classes by depth."""
    own = [row for row in chosen(rows, aspect="bound_class", part="residual") if is_there(row, "bound_percent")]
    figure = Figure(figsize=(10.4, 3.2), dpi=150, layout="constrained")
    titles = ("bound class, %", "bound margin, nats", "illusory class, %")
    measures = ("bound_percent", "margin_nats", "illusory_percent")
    grid = figure.subplots(1, 3)
    for axes, title, measure in zip(grid, titles, measures, strict=True):
        for kind in ("object", "other", "background", "cls"):
            for control in (None, "random_init"):
                line = [r for r in own if r["token"] == kind and (r.get("control") or None) == control]
                if control is None or kind in ("object", "cls"):
                    draw_line(axes, line, measure, label=kind, colour=COLOURS[kind], dashed=control is not None)
        if measure != "illusory_percent":
            axes.axhline(50 if measure == "bound_percent" else 0, color="#999999", linestyle=":", linewidth=1.0)
        dress(axes, own, title=title)
    handles, labels = grid[0].get_legend_handles_labels()
    if any(row.get("control") for row in own):
        handles, labels = [*handles, Line2D([], [], color="#666666", linestyle="--")], [*labels, "random weights"]
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    return figure


def draw_memories(rows: Sequence[Row]) -> Figure:
    """Key-value agreement, memory match and class-value agreement by depth."""
    figure = Figure(figsize=(10.4, 3.2), dpi=150, layout="constrained")
    grid = figure.subplots(1, 3)
    titles = ("key-value agreement, % of tokens", "memory match, % of tokens", "class-value agreement, cosine")
    measures = ("memory_percent", "match_percent", "value_cosine")
    for axes, title, measure in zip(grid, titles, measures, strict=True):
        aspect = "memory_weights" if measure == "value_cosine" else "memories"
        of_measure = chosen(rows, aspect=aspect, token="all")  # noqa: S106
        for part, colour in (("attention", "#E69F00"), ("mlp", "#009E73")):
            for control in (None, "random_init"):
                line = [r for r in chosen(of_measure, part=part) if (r.get("control") or None) == control]
                draw_line(axes, line, measure, label=part, colour=colour, dashed=control is not None)
                if measure == "memory_percent" and line and control is None:
                    draw_other_class(axes, chosen(rows, aspect="memories_other_class", part=part), colour)
                    axes.axhline(float(line[0]["chance"]), color=colour, linestyle=":", linewidth=1.0)
        dress(axes, of_measure, title=title)
    handles, names = grid[0].get_legend_handles_labels()
    others: dict[str, dict[str, Any]] = {"another class": {"linewidth": 0.8}, "by chance": {"linestyle": ":"}}
    if any(row.get("control") for row in rows):
        others["random weights"] = {"linestyle": "--"}
    handles = [*handles, *(Line2D([], [], color="#666666", **style) for style in others.values())]
    figure.legend(handles, [*names, *others], loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    return figure
