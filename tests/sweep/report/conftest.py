import math
from collections.abc import Callable

import pandas as pd
import pytest

from frozen.readout.measures import Dimension, Measure
from sweep.report._layout import Layout
from sweep.report._rows import Row, prepared

RATIO = Measure("grip_ratio", "Grip ratio", "γ*", "ratio", "Share of the grip that is held.")
DIRECT = Measure("direct_grip_ratio", "Direct grip ratio", "γ*_direct", "ratio", "The same, measured directly.")
BITS = Measure("grip_bits", "Grip", "G", "bits", "Grip held, in bits.")

DIMENSIONS = (
    Dimension("layer", "layer", "embed, number of a block, or final", "depth", order="layer_index"),
    Dimension("mode", "mode", "what of the tokens is seen", "panel"),
    Dimension("probe", "probe", "who reads", "line"),
)
CHOICES = {"hyperparameters_direct": "direct", "hyperparameters_objects": "objects"}

Build = Callable[..., dict[str, object]]


@pytest.fixture(scope="session")
def measures() -> tuple[Measure, ...]:
    return RATIO, DIRECT, BITS


@pytest.fixture(scope="session")
def dimensions() -> tuple[Dimension, ...]:
    return DIMENSIONS


@pytest.fixture(scope="session")
def layout() -> Layout:
    return Layout(DIMENSIONS)


@pytest.fixture(scope="session")
def read(layout, measures) -> Callable[..., tuple[Row, ...]]:
    """Prepares a table or records."""
    return lambda rows, layout=layout: prepared(pd.DataFrame(rows), layout, measures, CHOICES)


@pytest.fixture
def with_symbol() -> Callable[[str], Measure]:
    """Makes a ratio with a symbol."""
    return lambda symbol: Measure("grip_ratio", "Grip ratio", symbol, "ratio", "")


@pytest.fixture(scope="session")
def cell() -> Build:
    """Builds one result row; `value` is the first measure, the others follow from it."""

    def build(value: float = 0.5, **columns: object) -> dict[str, object]:
        layer = str(columns.get("layer", "0"))
        row: dict[str, object] = {
            "status": "done",
            "error": None,
            "study": "study",
            "dataset": "squares",
            "dataset_parameters": '{"n": 4}',
            "backbone": "small",
            "layer": layer,
            "layer_index": {"embed": -1, "final": 3}.get(layer, int(layer) if layer.isdecimal() else 0),
            "depth_fraction": 0.5,
            "mode": "cls",
            "probe": "linear",
            "is_control": False,
            "n_train": 6400,
            "n_test": 2000,
            "n_seeds": 2,
            "interval_level": 0.95,
            "flags": [],
            "versions": '{"torch": "2.9.1"}',
            "git_commit": "abc1234",
            "device": "cpu",
            "host": "node",
            "wall_s": 30.0,
        }
        for measure, estimate in ((RATIO, value), (DIRECT, value - 0.1), (BITS, 10 * value)):
            row[measure.column] = estimate
            row[f"{measure.column}_low"] = estimate - 0.02
            row[f"{measure.column}_high"] = estimate + 0.03
        row |= columns
        if row["status"] == "failed":
            row |= {name: math.nan for name in row if name.startswith(("grip_", "direct_grip_"))}
        return row | {"cell_id": f"{hash(tuple(map(str, row.values()))) & 0xFFFFFFFF:08x}"}

    return build


@pytest.fixture(scope="session")
def original_study(cell: Build) -> pd.DataFrame:
    """2 backbones x 3 layers x 2 modes x 2 probes with a flag, a failure and an undefined ratio; 2 controls."""
    rows = [
        cell(0.1 + 0.2 * depth + 0.05 * width + bonus, layer=layer, backbone=backbone, mode=mode, probe=probe)
        for width, backbone in enumerate(("small", "large"))
        for mode in ("cls", "mean")
        for probe, bonus in (("linear", 0.0), ("quadratic", 0.02))
        for depth, layer in enumerate(("embed", "0", "final"))
    ]
    rows[0] |= {"flags": ["exceeds_direct", "unsure"]}
    rows[1] |= dict.fromkeys(("grip_ratio", "grip_ratio_low", "grip_ratio_high"), math.nan)
    rows[5] = cell(
        layer="final",
        layer_index=math.nan,
        probe="quadratic",
        status="failed",
        error="ValueError: no room\nTraceback: deep",
    )
    rows += [
        cell(value, backbone=name, probe=probe, layer="code", is_control=True, layer_index=0)
        for value, name in ((0.97, "oracle"), (-0.05, "noise"))
        for probe in ("linear", "quadratic")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def study(original_study: pd.DataFrame) -> pd.DataFrame:
    """A copy of the study that a test may change."""
    return original_study.copy(deep=True)
