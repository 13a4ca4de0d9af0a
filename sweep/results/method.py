"""The methods paragraph of a study and what it cites, to be pasted into a paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from frozen.readout.measures import Dimension
from frozen.readout.readout import Readout
from frozen.readout.study import Study
from sweep.results.directory import Row

_MOST_VALUES = 6
_SOFTWARE = {"python": "Python", "torch": "PyTorch", "timm": "timm", "optuna": "Optuna", "ray": "Ray"}


def method(study: Study, readout: Readout, rows: Sequence[Row]) -> str:
    """A paragraph of plain text, then BibTeX entries.

    Args:
        study: the study, as it was resolved.
        readout: says how a cell is measured.
        rows: the study's rows; what was measured and with which versions is theirs.
    """
    of_cells = readout.method(study, rows)
    paragraph = " ".join((*_grid(study, readout, rows), of_cells.text, *_software(rows)))
    return "\n\n".join((paragraph, *of_cells.bibtex, _tool(rows))) + "\n"


def _grid(study: Study, readout: Readout, rows: Sequence[Row]) -> Iterator[str]:
    done = [row for row in rows if row["status"] == "done"]
    models = [row for row in done if not row["is_control"]]
    if models:
        backbones = _listed(list(dict.fromkeys(_backbone(row) for row in models)))
        values = "".join(f", {_values(one, models)}" for one in readout.dimensions if one.role in ("depth", "panel"))
        yield f"Activations of {backbones} were read, frozen{values}, and stored as {study.store.dtype}."
    if controls := sorted({str(row.get("control") or row["backbone"]) for row in done if row["is_control"]}):
        yield f"Controls with known answers were measured in the same way: {_listed(controls)}."
    failed = f" ({len(rows) - len(done):,} failed)" if len(done) < len(rows) else ""
    labels = _listed(["data set", "backbone", *(one.label for one in readout.dimensions)])
    yield f"{len(done):,} cells, each a {labels}, were measured{failed}; the study's seed is {study.seed}."


def _values(dimension: Dimension, rows: Sequence[Row]) -> str:
    """Values of a dimension that occur, in their order."""
    order = dimension.order or dimension.name
    ordered = sorted(rows, key=lambda row: row[order]) if dimension.order else rows  # pyright: ignore
    names = list(dict.fromkeys(str(row[dimension.name]) for row in ordered))
    if len(names) > _MOST_VALUES:
        return f"at {len(names)} {dimension.label}s from {names[0]} to {names[-1]}"
    return f"at {dimension.label if len(names) == 1 else dimension.label + 's'} {_listed(names)}"


def _backbone(row: Row) -> str:
    digest = row.get("weights_digest")
    return f"{row['backbone']} (weights {str(digest)[:12]})" if digest else str(row["backbone"])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _software(rows: Sequence[Row]) -> Iterator[str]:
    used: list[dict[str, Any]] = [json.loads(str(row.get("versions") or "{}")) for row in rows]
    named = [
        f"{title} {'/'.join(found)}"
        for name, title in _SOFTWARE.items()
        if (found := sorted({str(versions[name]) for versions in used if name in versions}))
    ]
    commits = _commits(rows)
    commit = f" (commit {_listed(commits)})" if commits else ""
    yield f"Cells were measured with binding-sweep {version('binding-sweep')}{commit}, {_listed(named)}."


def _commits(rows: Sequence[Row]) -> list[str]:
    """Short commits; a + stands for changes that are in none."""
    full = dict.fromkeys(str(row["git_commit"]) for row in rows if row.get("git_commit"))
    return [commit[:12] + "+" * commit.endswith("+") for commit in full]


def _tool(rows: Sequence[Row]) -> str:
    commits = _commits(rows)
    note = f",\n  note    = {{commit {', '.join(commits)}}}" if commits else ""
    return (
        "@software{binding_sweep,\n"
        "  title   = {binding-sweep: binding information in frozen vision backbones},\n"
        "  author  = {{The binding-sweep developers}},\n"
        f"  version = {{{version('binding-sweep')}}}{note}\n}}"
    )
