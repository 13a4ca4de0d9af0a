"""Deletion curves, and what changes of the forward pass do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._base import COLOURS, Row, chosen, is_there, pairs
from readouts.class_embedding.exhibits._images import file_of

_ENDS = {"keep_most_relevant": "most relevant tokens kept", "keep_least_relevant": "least relevant tokens kept"}
_ORDERS = ("relevancy", "logit", "chefer", "probe", "mask", "random", "other_class")
_CONDITIONS = ("projection", "self_only", "no_cls", "no_cls_renormalised", "context_removed", "class_removed")
_NAMES = {"projection": "plain pass"}


def removal_exhibits(results: Path, rows: Sequence[Row]) -> Iterator[Exhibit]:
    """Of each data set and backbone."""
    for dataset, backbone, own in pairs(rows):
        trained = [row for row in own if not row.get("control")]
        if any(row["aspect"] in _CONDITIONS[1:] for row in trained):
            yield Exhibit(
                f"What the class needs: {dataset}, {backbone}",
                "Top-1 accuracy of the model, and the share of the last block's image tokens that have the class "
                "first, in the plain forward pass and under each change of it. Lines are bootstrap intervals.",
                "Bars of accuracy and of the rate of image tokens for each condition.",
                partial(draw_conditions, trained),
            )
        if any(row["aspect"] in _ENDS for row in trained):
            yield Exhibit(
                f"Deletion: {dataset}, {backbone}",
                "Top-1 accuracy with some of the image tokens left, by what orders them. A good order keeps accuracy "
                "high on the left and low on the right. `mask` is the true share of the class in each patch, an "
                "oracle; `other class` is the relevancy for another class, a control. Bands are bootstrap intervals "
                "over images; the areas are in the table.",
                "Curves of accuracy over the share of tokens kept.",
                partial(draw_curves, results, trained),
            )


def draw_conditions(rows: Sequence[Row]) -> Figure:
    """Bars, a group a condition."""
    blocks = [int(float(row["layer_index"])) for row in rows if row["layer"] != "logits"]
    last = str(max(blocks, default=0))
    found = {}
    for name in _CONDITIONS:
        of_output = chosen(rows, aspect=name, layer="logits")
        of_tokens = chosen(rows, aspect=name, layer=last, token="image")  # noqa: S106
        if of_output and of_tokens:
            found[name] = (of_output[0], of_tokens[0])
    figure = Figure(figsize=(6.6, 0.55 * len(found) + 1.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    labels = ("accuracy", "image tokens with the class first")
    for place, (label, colour) in enumerate(zip(labels, ("#0072B2", "#D55E00"), strict=True)):
        group = [row[place] for row in found.values()]
        y = np.arange(len(group)) + 0.2 * (2 * place - 1)
        value, low, high = (
            np.array([float(r[f"rate_percent{end}"]) for r in group]) for end in ("", "_low", "_high")
        )
        error = {"ecolor": "#333333", "elinewidth": 0.9}
        axes.barh(y, value, height=0.38, color=colour, label=label, xerr=[value - low, high - value], error_kw=error)
        for at, number in zip(y, value, strict=True):
            axes.annotate(
                f"{number:.1f}", (101.5, at), fontsize=7.5, verticalalignment="center", annotation_clip=False
            )
    names = [str(_NAMES.get(name, name.replace("_", " "))) for name in found]
    axes.set_yticks(np.arange(len(found)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8.5, frameon=False)
    return figure


def draw_curves(results: Path, rows: Sequence[Row]) -> Figure:
    """A panel for each end of the order."""
    figure = Figure(figsize=(8.2, 3.5), dpi=150, layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (aspect, title) in zip(grid, _ENDS.items(), strict=True):
        for order in _ORDERS:
            for row in chosen(rows, aspect=aspect, token=order):
                table = pq.read_table(file_of(results, row, "deletion")).to_pydict()
                share = 100 * np.array(table["kept"]) / max(table["kept"])
                area = f" {float(row['auc']):.2f}" if is_there(row, "auc") else ""
                axes.plot(
                    share,
                    table["accuracy"],
                    "-o",
                    color=COLOURS[order],
                    markersize=3,
                    label=f"{order.replace('_', ' ')}{area}",
                )
                axes.fill_between(share, table["low"], table["high"], color=COLOURS[order], alpha=0.15, linewidth=0)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("image tokens kept, %", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(title="order, area", title_fontsize=8, fontsize=8, frameon=False)
    grid[0].set_ylabel("accuracy, %", fontsize=9)
    return figure
