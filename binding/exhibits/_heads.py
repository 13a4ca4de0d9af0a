"""Attention heads, block by block: what each holds by itself, and what its block lacks without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from binding.exhibits._panels import panels
from frozen.readout.exhibit import Exhibit

_PLACE = ("dataset", "backbone", "mode", "probe")
_ALONE, _MISSED = "direct_binding_information_bits", "leave_one_out_bits"
_TITLES = {_ALONE: "a head alone", _MISSED: "left out of its block: bits lost"}  # panels stand by name
_SQUARE_WIDTH, _SQUARE_HEIGHT = 44, 26


def head_maps(rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """Heat maps of heads by block, where a block has several that were measured; controls are left out."""
    values = list(head_values(rows))
    if len({value["head"] for value in values}) < 2:
        return
    text = "B*_direct in bits that each head of a block holds by itself"
    if any(value["measure"] == _MISSED for value in values):
        text += (
            ", and what all heads of the block together lose without it (leave-one-out): both heads that hold the "
            "same binding show on the left and neither on the right. Probes are trained anew without the head; a "
            "value below 0 says that the probe does better without it"
        )
    yield Exhibit(
        "Binding by attention head",
        f"{text}. Tooltips have the intervals.",
        "Heat maps of bits by block and head.",
        partial(draw_heads, values),
    )


def head_values(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A value a head and measure, with where it is from."""
    for row in rows:
        block, part, number, *_ = *str(row.get("layer")).split("."), "", ""
        is_mapped = isinstance(row.get("through"), str)
        if part not in ("heads", "values") or not number or row.get("is_control") or is_mapped:
            continue
        place = {name: str(row.get(name)) for name in _PLACE}
        for measure in (_ALONE, _MISSED):
            if (bits := row.get(measure)) is not None:
                low, high = (row[f"{measure}{end}"] for end in ("_low", "_high"))
                yield {
                    **place,
                    "of": f"{_TITLES[measure]}\n{place['mode']} · {place['probe']} · {place['backbone']}",
                    "measure": measure,
                    "block": int(block),
                    "head": int(number),
                    "bits": round(bits, 4),
                    "interval": f"[{low:.3f}, {high:.3f}]",
                }


def draw_heads(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of the heat maps: heads across, blocks down."""
    most = max(0.05, *(value["bits"] for value in values))
    scale = {"scheme": "cividis", "domain": [0, round(most, 3)], "clamp": True}
    place = {
        "x": {"field": "head", "type": "ordinal", "title": "head", "axis": {"labelAngle": 0}},
        "y": {"field": "block", "type": "ordinal", "title": "block", "sort": "descending"},
        "tooltip": [{"field": name} for name in ("block", "head", "bits", "interval")],
    }
    colour = {"field": "bits", "type": "quantitative", "title": "bits", "scale": scale}
    ink = {"condition": {"test": f"datum.bits < {most / 2}", "value": "#ffffff"}, "value": "#111111"}
    number = {"field": "bits", "type": "quantitative", "format": ".2f"}
    panel = {
        "width": _SQUARE_WIDTH * len({value["head"] for value in values}),
        "height": _SQUARE_HEIGHT * len({value["block"] for value in values}),
        "layer": [
            {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {**place, "color": colour}},
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {**place, "color": ink, "text": number}},
        ],
    }
    return panels(sorted(values, key=lambda value: [value[name] for name in _PLACE]), panel)
