"""Where the numbers come from: software, machines, settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from sweep.report._format import counted
from sweep.report._rows import distinct


@dataclass(frozen=True)
class Fact:
    """A name and what is known of it; several values where the rows differ."""

    name: str
    values: tuple[str, ...]


def provenance(rows: pd.DataFrame) -> tuple[Fact, ...]:
    """Software versions, commit, devices, hosts and the time spent; what no row knows is left out.

    Args:
        rows: prepared rows.
    """
    facts = [
        Fact("git commit", _tallied(rows["git_commit"])),
        Fact("device", _tallied(rows["device"])),
        Fact("host", _tallied(rows["host"])),
        Fact("time in cells", _total_time(rows["wall_s"].dropna())),
        *_versions(rows["versions"]),
    ]
    return tuple(fact for fact in facts if fact.values)


def dataset_settings(rows: pd.DataFrame) -> tuple[Fact, ...]:
    """The parameters of each data set, as its rows hold them."""
    facts = [
        Fact(dataset, tuple(_readable(text) for text in distinct(block["dataset_parameters"])))
        for dataset, block in ((name, rows[rows["dataset"] == name]) for name in distinct(rows["dataset"]))
    ]
    return tuple(fact for fact in facts if fact.values)


def hyperparameters(rows: pd.DataFrame) -> pd.DataFrame:
    """What the search chose for each cell: the columns that place the cell, and one a target."""
    chosen = [str(column) for column in rows.columns if str(column).startswith("hyperparameters")]
    table = rows.loc[~rows["failed"], ["dataset", "backbone", "mode", "probe", "layer", *chosen]]
    table = table[(table[chosen] != "").any(axis=1)]
    return table.rename(columns={name: name.removeprefix("hyperparameters").strip("_") or "all" for name in chosen})


def _tallied(values: Iterable[str]) -> tuple[str, ...]:
    """The distinct values, each with its number of cells where they differ."""
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        return tuple(counts)
    return tuple(f"{value} ({counted(counts[value], 'cell')})" for value in distinct(counts))


def _versions(texts: Iterable[str]) -> list[Fact]:
    found: dict[str, list[str]] = {}
    for text in texts:
        for name, version in _parsed(text).items():
            found.setdefault(name, []).append(version)
    return [Fact(name, _tallied(found[name])) for name in distinct(found)]


def _parsed(text: str) -> dict[str, str]:
    """A JSON object of versions; other text is kept as it is."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {"versions": text}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {"versions": text}


def _total_time(seconds: pd.Series) -> tuple[str, ...]:
    if seconds.empty:
        return ()
    total = float(seconds.sum())
    if total < 90:
        return (f"{total:.1f} s",)
    return (f"{total / 60:.1f} min",) if total < 5400 else (f"{total / 3600:.1f} h",)


def _readable(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
