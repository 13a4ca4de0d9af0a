"""Result rows made ready for reading: every column present, plain types, one order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from sweep.readout import Measure
from sweep.report._format import NOTHING, natural_key

PLACE_COLUMNS = ("dataset", "backbone", "mode", "probe", "layer")
TEXT_COLUMNS = ("cell_id", "error", "study", "dataset_parameters", "versions", "git_commit", "device", "host")
NUMBER_COLUMNS = ("layer_index", "depth_fraction", "n_train", "n_test", "n_seeds", "interval_level", "wall_s")


def prepared(rows: pd.DataFrame, measures: tuple[Measure, ...]) -> pd.DataFrame:
    """Complete and order the rows; nothing is dropped and the argument is left as it is.

    Returns:
        A frame with text columns without gaps, float columns with NaN for what is missing, `failed` and
        `is_control` as booleans, `flags` as tuples, `dataset` and `probe` made distinct where rows share a name but
        not a meaning, sorted by control, data set, backbone, mode, probe and depth.
    """
    hyperparameters = sorted(str(column) for column in rows.columns if str(column).startswith("hyperparameters"))
    frame = pd.DataFrame(
        {
            **{column: [_text(value) or NOTHING for value in _column(rows, column)] for column in PLACE_COLUMNS},
            **{column: [_text(value) for value in _column(rows, column)] for column in TEXT_COLUMNS},
            **{column: [_text(value) for value in _column(rows, column)] for column in hyperparameters},
            **{column: numbers(rows, column) for column in NUMBER_COLUMNS},
            **{column: numbers(rows, column) for measure in measures for column in columns_of(measure)},
            "failed": np.array([_text(value) == "failed" for value in _column(rows, "status")], dtype=bool),
            "is_control": np.array([not _missing(v) and bool(v) for v in _column(rows, "is_control")], dtype=bool),
            "flags": pd.Series([_flags(value) for value in _column(rows, "flags")], dtype=object),
        }
    )
    frame["dataset"] = _dataset_labels(frame)
    frame["layer_index"] = _layer_indices(frame)
    frame = frame.iloc[sorted(range(len(frame)), key=_positions(frame).__getitem__)].reset_index(drop=True)
    frame["probe"] = _probe_labels(frame)
    return frame


def columns_of(measure: Measure) -> tuple[str, str, str]:
    """The columns of a measure's estimate and of the two ends of its interval."""
    return measure.column, f"{measure.column}_low", f"{measure.column}_high"


def numbers(rows: pd.DataFrame, column: str) -> Float[np.ndarray, " row"]:
    """A column as floats, NaN where it is missing or no number."""
    values = pd.Series(_column(rows, column), dtype=object)
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def distinct(values: Iterable[str]) -> list[str]:
    """The values that are not empty, once each, in natural order."""
    return sorted({value for value in values if value}, key=natural_key)


def _column(rows: pd.DataFrame, column: str) -> list[Any]:
    return list(rows[column]) if column in rows.columns else [None] * len(rows)


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _text(value: object) -> str:
    return "" if _missing(value) else str(value)


def _flags(value: Any) -> tuple[str, ...]:
    if _missing(value):
        return ()
    return (value,) if isinstance(value, str) else tuple(str(flag) for flag in value)


def _layer_indices(frame: pd.DataFrame) -> pd.Series:
    """Fill the index that a failed cell could not learn from the cells that share its layer."""
    known = frame.groupby(["backbone", "layer"], sort=False)["layer_index"].transform("max")
    return frame["layer_index"].fillna(known)


def _positions(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    depth = frame["layer_index"].fillna(math.inf)
    names = [[natural_key(text) for text in frame[column]] for column in ("dataset", "backbone", "mode", "probe")]
    last = [natural_key(text) for text in frame["layer"]], list(frame["cell_id"])
    return list(zip(frame["is_control"], *names, depth, *last, strict=True))


def _dataset_labels(frame: pd.DataFrame) -> list[str]:
    """Name the parameters in which data sets of one name differ."""
    labels: dict[tuple[str, str], str] = {}
    for name, block in frame.groupby("dataset", sort=False):
        texts = distinct(block["dataset_parameters"])
        parsed = [_parameters(text) for text in texts]
        varying = [key for key in _keys(parsed) if len({_value(one, key) for one in parsed}) > 1]
        for text, one in zip(texts, parsed, strict=True):
            settings = ", ".join(f"{key}={_value(one, key)}" for key in varying)
            labels[str(name), text] = f"{name} ({settings})" if settings else str(name)
    pairs = zip(frame["dataset"], frame["dataset_parameters"], strict=True)
    return [labels.get(pair, pair[0]) for pair in pairs]


def _parameters(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"parameters": value}


def _keys(parsed: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for one in parsed for key in one))


def _value(parameters: dict[str, Any], key: str) -> str:
    value = parameters.get(key)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _probe_labels(frame: pd.DataFrame) -> list[str]:
    """Number the probes that share a name within one data set, backbone, layer and mode."""
    keys = ["is_control", "dataset", "backbone", "layer", "mode", "probe"]
    repeats = frame.groupby(keys, sort=False).cumcount()
    return [name if n == 0 else f"{name} #{n + 1}" for name, n in zip(frame["probe"], repeats, strict=True)]
