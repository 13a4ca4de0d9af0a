"""The heat maps of heads: their numbers are those of the rows."""

from __future__ import annotations

from typing import Any

import vl_convert

from binding.exhibits._heads import head_maps, head_values


def row(layer: str, alone: float, missed: float | None, **changes: Any) -> dict[str, Any]:
    found = {"dataset": "twins", "backbone": "shipped:vit", "layer": layer, "mode": "cls", "probe": "linear"}
    for name, bits in (("direct_binding_information_bits", alone), ("leave_one_out_bits", missed)):
        ends = (None, None, None) if bits is None else (bits, bits - 0.1, bits + 0.1)
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    return {**found, "through": None, "is_control": False, **changes}


def test_each_head_stands_where_it_is() -> None:
    rows = [
        row("0.heads.0", 0.9, 0.4),
        row("0.heads.1", 0.5, -0.2),
        row("3.heads.10", 0.1, None),
        row("3", 1.0, None),
    ]
    rows += [row("1.heads.0", 1.0, None, is_control=True), row("1.heads", 1.0, None)]
    found = [(one["of"].partition("\n")[0], one["block"], one["head"], one["bits"]) for one in head_values(rows)]
    alone, missed = "a head alone", "left out of its block: bits lost"
    assert found == [
        (alone, 0, 0, 0.9),
        (missed, 0, 0, 0.4),
        (alone, 0, 1, 0.5),
        (missed, 0, 1, -0.2),
        (alone, 3, 10, 0.1),
    ]
    [exhibit] = head_maps(rows)
    drawing: Any = exhibit.draw()
    assert vl_convert.vegalite_to_svg(drawing).startswith("<svg")
    assert "leave-one-out" in exhibit.caption
    [plain] = head_maps([row("0.heads.0", 0.9, None), row("0.heads.1", 0.9, None)])
    assert "leave-one-out" not in plain.caption


def test_one_head_is_no_map() -> None:
    assert list(head_maps([row("0.heads.0", 0.9, 0.4), row("1", 0.2, None)])) == []
