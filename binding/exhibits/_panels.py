"""Panels of a figure, one for each place in the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def panels(values: Sequence[Mapping[str, Any]], panel: Mapping[str, Any]) -> dict[str, Any]:
    """A Vega-Lite specification with a panel for each value of the field `of`, which names it, a line a line.

    Args:
        values: the data; panels stand in their order.
        panel: the specification of one.
    """
    header = {"labelLimit": 520, "labelAnchor": "start", "labelExpr": "split(datum.label, '\\n')"}
    facet = {"field": "of", "type": "nominal", "title": None, "sort": None, "header": header}
    return {"data": {"values": values}, "facet": facet, "columns": 2, "spec": panel}
