"""Where binding information lies: by conjunction of features and by number of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from binding.exhibits._panels import panels
from frozen.readout.exhibit import Exhibit

_PLACE = ("dataset", "backbone", "mode", "probe")
_MOST_CELLS = 60
_SQUARE_WIDTH = 38
_SHARES = (-0.25, 1.1)
"""What of the share of read bits is drawn; wide intervals are cut."""


def breakdowns(results: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """For the best layer of each data set, backbone, mode and probe: a heat map and a curve, where parts are kept.

    Controls are left out: theirs are nearly all of one colour.
    """
    chosen = best_direct_layers(results, rows)[:_MOST_CELLS]
    if not chosen:
        return
    where = "At the layer with the largest B*_direct of each data set, backbone, mode and probe"
    yield Exhibit(
        "Binding information by conjunction",
        f"{where}: share of H(o_k | o_<k, F) that the direct probe reads of each conjunction o_k, given the features "
        "and the conjunctions before it. The bits behind these shares sum to B*_direct. A blank conjunction leaves "
        "nothing open.",
        "Heat maps of the share of each conjunction's bits that is read.",
        partial(draw_conjunctions, results, chosen),
    )
    yield Exhibit(
        "Binding information by number of objects",
        f"{where}: B*_direct / H(O|F) of the test samples with so many objects, with intervals, "
        "cut where they are wide. Numbers of objects at which features leave nothing open are left out.",
        "Curves of the direct binding ratio over the number of objects.",
        partial(draw_counts, results, chosen),
    )


def best_direct_layers(results: Path, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The row with the largest B*_direct at each place, among those whose parts are kept."""
    best: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        value = row.get("direct_binding_information_bits")
        if row.get("is_control") or not isinstance(value, int | float) or not _path(results, row).is_file():
            continue
        place = tuple(row.get(name) for name in (*_PLACE, "dataset_parameters"))
        if place not in best or value > best[place]["direct_binding_information_bits"]:
            best[place] = row
    return sorted(best.values(), key=lambda row: tuple(str(row[name]) for name in _PLACE))


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
                    "of": f"{place['mode']} · {place['probe']}\n{place['backbone']} · {place['dataset']}",
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
    scale = {"scheme": "cividis", "domain": [0, 1], "clamp": True}
    name = {"type": "nominal", "title": None, "sort": None}
    across = max(3, *(len(names) for names in _distinct(values, "across")))
    tooltip = [{"field": name} for name in ("name", "bits", "share", "low", "high", "samples", "layer")]
    place = {
        "x": {**name, "field": "across", "axis": {"labelAngle": -35}},
        "y": {**name, "field": "down"},
        "tooltip": tooltip,
    }
    colour = {"field": "share", "type": "quantitative", "title": "share read", "scale": scale}
    ink = {"condition": {"test": "datum.share < 0.5", "value": "#ffffff"}, "value": "#111111"}
    number = {"field": "share", "type": "quantitative", "format": ".2f"}
    panel = {
        # steps would do, but Vega-Lite cannot size panels by steps of scales of their own
        "width": _SQUARE_WIDTH * across,
        "height": 24 * max(2, *(len(names) for names in _distinct(values, "down"))),
        "layer": [
            {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {**place, "color": colour}},
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {**place, "color": ink, "text": number}},
        ],
    }
    return {**panels(values, panel), "resolve": {"scale": {"x": "independent", "y": "independent"}}}


def _distinct(values: Sequence[Mapping[str, Any]], name: str) -> list[set[str]]:
    """The distinct values of a field, for each panel."""
    panels: dict[str, set[str]] = {}
    for value in values:
        panels.setdefault(value["of"], set()).add(value[name])
    return list(panels.values())


def draw_counts(results: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the curves with their intervals."""
    values = [{**value, "objects": int(value["name"])} for value in parts(results, rows, "object_count")]
    for value in values:
        value["of"] = f"{value['backbone']}\n{value['dataset']}"
    x = {
        "field": "objects",
        "type": "quantitative",
        "title": "number of objects",
        "axis": {"tickMinStep": 1, "format": "d"},
    }
    # the report gives each probe the colour that it has in all figures
    looks = {
        "color": {"field": "probe", "type": "nominal", "title": "probe", "legend": {"symbolType": "stroke"}},
        "strokeDash": {"field": "mode", "type": "nominal", "title": "mode", "legend": {"symbolType": "stroke"}},
    }
    tips = ("mode", "probe", "layer", "objects", "share", "low", "high", "samples")
    scale = {"domain": _SHARES, "nice": False}
    y = {"field": "share", "type": "quantitative", "title": "B*_direct / H(O|F)", "scale": scale}
    band = {
        "mark": {"type": "area", "opacity": 0.12, "clip": True},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, **_without_dashes(looks)},
    }
    line = {"mark": {"type": "line", "clip": True}, "encoding": {"x": x, "y": y, **looks}}
    points = {
        "mark": {"type": "point", "filled": True, "clip": True, "size": 40},
        "encoding": {"x": x, "y": y, "color": looks["color"], "tooltip": [{"field": name} for name in tips]},
    }
    return panels(values, {"width": 400, "height": 190, "layer": [band, line, points]})


def _without_dashes(looks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """For a band: a colour a probe and an area a mode."""
    return {"color": looks["color"], "detail": {"field": "mode", "type": "nominal"}}
