"""Where binding information lies: by conjunction of features and by number of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from binding.exhibits._base import Exhibit

_PLACE = ("dataset", "backbone", "mode", "probe")
_MOST_CELLS = 60
_HEADER = {"labelLimit": 600, "labelAnchor": "start"}


def breakdowns(results: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """For the best layer of each data set, backbone, mode and probe: a heat map and a curve, where parts are kept."""
    chosen = best_direct_layers(results, rows)[:_MOST_CELLS]
    if not chosen:
        return
    where = "At the layer with the largest B*_direct of each data set, backbone, mode and probe"
    yield Exhibit(
        "Binding information by conjunction",
        f"{where}: share of H(o_k | o_<k, F) that the direct probe reads of each conjunction o_k, given the features "
        "and the conjunctions before it. The bits behind these shares sum to B*_direct.",
        "Heat maps of the share of each conjunction's bits that is read.",
        partial(draw_conjunctions, results, chosen),
    )
    yield Exhibit(
        "Binding information by number of objects",
        f"{where}: B*_direct / H(O|F) of the test samples with so many objects, with intervals. Numbers of objects "
        "at which features leave nothing open are left out.",
        "Curves of the direct binding ratio over the number of objects.",
        partial(draw_counts, results, chosen),
    )


def best_direct_layers(results: Path, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The row with the largest B*_direct at each place, among those whose parts are kept."""
    best: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        value = row.get("direct_binding_information_bits")
        if not isinstance(value, int | float) or not _path(results, row).is_file():
            continue
        place = tuple(row.get(name) for name in (*_PLACE, "dataset_parameters"))
        if place not in best or value > best[place]["direct_binding_information_bits"]:
            best[place] = row
    return sorted(best.values(), key=lambda row: (bool(row.get("is_control")), *(str(row[name]) for name in _PLACE)))


def _path(results: Path, row: Mapping[str, Any]) -> Path:
    return results / "details" / f"{row['cell_id']}.parquet"


def parts(results: Path, rows: Sequence[Mapping[str, Any]], part: str) -> Iterator[dict[str, Any]]:
    """The parts of one kind of some cells that have entropy, as shares of it, with where they come from."""
    for row in rows:
        place = {name: str(row.get(name)) for name in (*_PLACE, "layer")}
        for found in pq.read_table(_path(results, row)).to_pylist():
            entropy = found["entropy_bits"]
            if found["part"] == part and entropy is not None and entropy > 1e-9:
                shares = ("direct_bits", "direct_bits_low", "direct_bits_high")
                share, low, high = (round(found[name] / entropy, 4) for name in shares)
                yield {
                    **place,
                    "of": f"{place['dataset']} · {place['backbone']} · {place['mode']} · {place['probe']}",
                    "name": found["name"],
                    "samples": found["n_samples"],
                    "share": share,
                    "low": low,
                    "high": high,
                    "bits": f"{found['direct_bits']:.3f} of {entropy:.3f}",
                }


def draw_conjunctions(results: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the heat maps: the last feature across, the others down."""
    values = list(parts(results, rows, "conjunction"))
    for value in values:
        value["down"], _, value["across"] = value["name"].rpartition(" ")
    scale = {"scheme": "viridis", "domain": [0, 1], "clamp": True}
    return {
        "data": {"values": values},
        "facet": {"field": "of", "type": "nominal", "title": None, "sort": None, "header": _HEADER},
        "columns": 2,
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
        "spec": {
            "width": 220,
            "height": 150,
            "mark": "rect",
            "encoding": {
                "x": {"field": "across", "type": "nominal", "title": None, "sort": None},
                "y": {"field": "down", "type": "nominal", "title": None, "sort": None},
                "color": {"field": "share", "type": "quantitative", "title": "share read", "scale": scale},
                "tooltip": [{"field": name} for name in ("name", "bits", "share", "low", "high", "samples", "layer")],
            },
        },
    }


def draw_counts(results: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the curves with their intervals."""
    values = [{**value, "objects": int(value["name"])} for value in parts(results, rows, "object_count")]
    for value in values:
        value["series"] = f"{value['mode']} · {value['probe']}"
        value["of"] = f"{value['dataset']} · {value['backbone']}"
    x = {
        "field": "objects",
        "type": "quantitative",
        "title": "number of objects",
        "axis": {"tickMinStep": 1, "format": "d"},
    }
    color = {"field": "series", "type": "nominal", "title": None}
    tips = ("series", "layer", "objects", "share", "low", "high", "samples")
    y = {"field": "share", "type": "quantitative", "title": "B*_direct / H(O|F)"}
    return {
        "data": {"values": values},
        "facet": {"field": "of", "type": "nominal", "title": None, "sort": None, "header": _HEADER},
        "columns": 2,
        "spec": {
            "width": 260,
            "height": 160,
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.2},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
                },
                {
                    "mark": {"type": "line", "point": True},
                    "encoding": {"x": x, "y": y, "color": color, "tooltip": [{"field": name} for name in tips]},
                },
            ],
        },
    }
