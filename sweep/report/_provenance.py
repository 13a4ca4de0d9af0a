"""Where the numbers come from: software, machines, settings."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.report._format import counted
from sweep.report._rows import Row, distinct


@dataclass(frozen=True)
class Fact:
    """A name and what is known of it; several values where the rows differ."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What was chosen for one cell: the position of its row, and a text a heading."""

    row: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    """The chosen settings of all cells, as a table."""

    headings: tuple[str, ...]
    lines: tuple[Choice, ...]


def provenance(rows: Sequence[Row]) -> tuple[Fact, ...]:
    """Samples left out, versions, commit, devices, hosts and the time spent; what no row knows is not said."""
    left_out = distinct(f"{row.dataset}: {row.n_skipped:.0f}" for row in rows if row.n_skipped > 0)
    facts = [
        Fact("samples left out", tuple(left_out)),
        Fact("git commit", _tallied(row.git_commit for row in rows)),
        Fact("device", _tallied(row.device for row in rows)),
        Fact("host", _tallied(row.host for row in rows)),
        Fact("time in cells", _total_time([row.wall_s for row in rows if math.isfinite(row.wall_s)])),
        *_versions(row.versions for row in rows),
    ]
    return tuple(fact for fact in facts if fact.values)


def dataset_settings(rows: Sequence[Row]) -> tuple[Fact, ...]:
    """The parameters of each data set, as its rows hold them."""
    settings: dict[str, list[str]] = {}
    for row in rows:
        settings.setdefault(row.dataset, []).append(row.dataset_parameters)
    facts = (Fact(name, tuple(_readable(text) for text in distinct(settings[name]))) for name in distinct(settings))
    return tuple(fact for fact in facts if fact.values)


def chosen_settings(rows: Sequence[Row], headings: Mapping[str, str]) -> Choices:
    """What was chosen, for the cells for which something was.

    Args:
        rows: prepared rows.
        headings: of the columns that say it.
    """
    columns = [name for name in headings if any(name in row.choices for row in rows)]
    varying = {(name, line): _varying(rows, name, line) for name in columns for line in {r.line for r in rows}}
    lines = (
        Choice(
            position,
            tuple(_settings(row.choices.get(name, ""), varying[name, row.line]) for name in columns),
        )
        for position, row in enumerate(rows)
    )
    return Choices(tuple(headings[name] for name in columns), tuple(line for line in lines if any(line.texts)))


def _varying(rows: Sequence[Row], column: str, line: str) -> set[str]:
    """Settings in which the rows of a line differ."""
    found = [_object(row.choices.get(column, "")) for row in rows if row.line == line]
    known = [settings for settings in found if settings is not None]
    names = {name for settings in known for name in settings}
    return {name for name in names if len({json.dumps(settings.get(name)) for settings in known}) > 1}


def _settings(text: str, varying: set[str]) -> str:
    """A JSON object as `name value, name value` of what varies, or of all if nothing does; other text as it is."""
    settings = _object(text)
    if settings is None:
        return text
    chosen = {name: value for name, value in settings.items() if name in varying}
    return ", ".join(f"{name} {_setting(value)}" for name, value in (chosen or settings).items())


def _object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False).strip('"')


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


def _total_time(seconds: list[float]) -> tuple[str, ...]:
    if not seconds:
        return ()
    total = sum(seconds)
    if total < 90:
        return (f"{total:.1f} s",)
    return (f"{total / 60:.1f} min",) if total < 5400 else (f"{total / 3600:.1f} h",)


def _readable(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
