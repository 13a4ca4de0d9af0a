"""Writes the reference pages of the docs from the code: `python -m sweep.reference docs`."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

from frozen.readout.readout import find_readout, readout_names
from sweep.results.columns import IDENTITY_COLUMNS, PRODUCT_COLUMNS, VOLATILE_COLUMNS
from sweep.study.schema import DEFAULT_READOUT, EngineKeys, study_form

_STUDIES = """\
# Study files

A study is one YAML file. Every key, with its default; keys without one must be given. The first line
`# yaml-language-server: $schema=search_spaces/schema.json` (or wherever the schema lies) gives completion and checks
in editors that know the YAML language server.

Any field of a data set may be `{grid: [a, b]}`; fields that move together go into
`vary: [{n_colors: 2, n_shapes: 2}, ...]`. Numbers are those of YAML 1.2 (`1e-3` is a number, `no` is text); duplicate
keys, anchors and tags are refused. Cells that cannot be measured are left out of the grid, and said.

Beside the keys that every study has, each read-out has its own, [below](#keys-of-each-read-out).

## Several read-outs

One file may name several read-outs: `search_spaces/tour.yaml` names all, see [joint.md](joint.md). Instead of
`readout` it has `readouts`, with each one's own keys under its name. What stands at the top holds for every read-out
that knows the key; what stands under a read-out takes its place. `name`, `folder`, `seed` and `store` are of the
whole study. `controls` and `intervals` may stand in either place, `published` under a read-out. Each read-out gets
the cells of the study that it would be alone, with the same ids; the whole is one plan, one run and one store, so
that what two of them read is extracted once.
"""
_RESULTS = """\
# Results

`results/NAME/` is the state of a study:

```
study.yaml            the study with nothing left to defaults
rows/CELL.json        one row a cell, written atomically: the truth
samples/CELL.parquet  what each sample gave: the cell's numbers can be made again from it, and compared
curves/CELL.parquet   learning curves, of cells that train something; suggestions in its metadata
results.parquet .csv  the rows of the study as a table: one row a cell
cells.json            which rows are the study's
report.html           what people look at (see report.md)
figures/ tables/      for papers, by `python -m sweep.report`
tensorboard/          event files, one a cell (see monitoring.md)
optuna.journal        what was tried, for optuna-dashboard
comparison.csv        all differences, by `python -m sweep.compare` where they are too many for the terminal
damaged/              what stood in rows/ and was no row; its cells were measured again
lock                  held by the run that writes
.views                what table and report were made from
```

Read-outs keep more files of a cell beside these, [see below](#columns-of-each-read-out).

A study of several read-outs has such a folder for each of them in `results/NAME/`, named as the read-out, and beside
them `study.yaml`, `report.html` (the joint report), `joint.csv` and `joint_bounds.csv` (its numbers), the logs and
the lock. Commands that look at rows take the folder of one read-out, `results/NAME/READOUT`; `python -m sweep.show`
and `python -m sweep.report` take `results/NAME` too. The `study.yaml` of a read-out is a study of its own, and gives
the same cells.

Names, paths and errors may hold signs that act on what shows them. Terminal, report, tables and every CSV file write
control, direction and invisible characters as escapes (`\\x1b`, `\\u202e`), and CSV text that a spreadsheet would
calculate (`=1+1`) begins with an apostrophe. `results.parquet` and `rows/` keep the text as it is.

The table and the report can be deleted; any run of the study makes them again. A run leaves them where no file of the
results, nothing of the study and none of the code of engine and read-outs has changed since, and everything could be
drawn; at a URL every run draws them. Rows of cells that a
changed study file no longer names, and those of a rehearsal with `--limit`, are kept in `rows/`; table, report and
every command leave them out and say how many there are. Columns that may differ between equal runs stand last; all
others repeat on the same machine with the same study.

A row is a regular file in `rows/` that is named after its cell. One that is empty, cut, a link, or has a column of
the wrong kind is named by every command, counts as missing, and is moved to `damaged/` by the next run, which
measures its cell again. Other files in `rows/` are left alone. The results directory may be a link, its parts not.
"""
_PARTIAL = ("Grid", "Choices", "Range")
"""How names of forms begin that are only another way to write a value."""


def studies_page() -> str:
    """docs/studies.md: every key of a study file, those of all studies first, then those of each read-out."""
    parts = [_STUDIES, "## Every study\n"]
    parts += _tables(study_form(DEFAULT_READOUT).model_json_schema(), EngineKeys.model_fields, "##")
    parts.append("\n## Keys of each read-out")
    for name in readout_names():
        keys = find_readout(name).keys
        about = "\n\n".join(cleandoc(keys.__doc__ or "").split("\n\n")[1:])
        own = [key for key in keys.model_fields if key not in EngineKeys.model_fields]
        parts += [f"\n### `readout: {name}`\n", *([f"{about}\n"] if about else [])]
        parts += _tables(study_form(name).model_json_schema(), own, "####")
    return "\n".join(parts) + "\n"


def _tables(schema: Mapping[str, Any], keys: Collection[str], heading: str) -> Iterator[str]:
    """A table of some keys of a schema, and under a heading each those of the mappings that they may hold."""
    yield from _keys(schema, keys)
    kinds: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    waiting = deque((key, schema["properties"][key]) for key in keys)
    while waiting:
        key, entry = waiting.popleft()
        for name in dict.fromkeys(_forms(entry)):
            definition = schema["$defs"][name]
            table = (key, tuple(_keys(definition)))
            if table not in kinds:
                waiting += _properties(definition)
            kinds.setdefault(table, {}).update(dict.fromkeys(_kinds(definition)))
    for (key, rows), of in kinds.items():
        yield f"\n{heading} `{key}`{' with ' * bool(of)}{', '.join(f'`{kind}`' for kind in of)}\n"
        yield from rows


def _kinds(definition: Mapping[str, Any]) -> Iterator[str]:
    """What says in a mapping which of several it is, such as `scene: clevr`."""
    for key, entry in _properties(definition)[:2]:
        if "const" in entry or (key in definition.get("required", ()) and "enum" in entry):
            yield from (f"{key}: {value}" for value in entry.get("enum", [entry.get("const")]))


def _properties(definition: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(definition.get("properties", {}).items())


def _forms(entry: Any) -> Iterator[str]:
    """Names of the mappings that a value may be."""
    if isinstance(entry, Mapping):
        name = str(entry.get("$ref", "")).rpartition("/")[2]
        if name and not name.startswith(_PARTIAL) and not name.endswith(("Value", "Vary")) and "__" not in name:
            yield name
        entry = list(entry.values())
    if isinstance(entry, list):
        for one in entry:
            yield from _forms(one)


def _keys(definition: Mapping[str, Any], keys: Collection[str] | None = None) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for name, entry in _properties(definition):
        if keys is None or name in keys:
            required = name in definition.get("required", ())
            default = "" if required or "default" not in entry else f"`{json.dumps(entry['default'])}`"
            yield f"| `{name}` | {_cell(default)} | {_cell(entry.get('description', ''))} |"


def results_page() -> str:
    """docs/results.md: the results directory, and the columns of the table, those of each read-out by themselves."""
    lines = [
        _RESULTS,
        "## Columns of every read-out\n",
        *_columns({**IDENTITY_COLUMNS, **PRODUCT_COLUMNS, **VOLATILE_COLUMNS}),
    ]
    lines += [
        "\nOnly rows of cells that make or read products have `gives` and `used`.",
        "\n## Columns of each read-out",
    ]
    for name in readout_names():
        readout = find_readout(name)
        lines.append(f"\n### `readout: {name}`\n")
        if readout.files:
            lines += ["| file | content |", "|---|---|"]
            lines += [f"| `{file}` | {_cell(content)} |" for file, content in readout.files.items()]
            lines.append("")
        lines += _columns({**readout.grid_columns, **readout.columns})
    return "\n".join(lines) + "\n"


def _columns(columns: Mapping[str, str]) -> Iterator[str]:
    yield "| column | meaning |"
    yield "|---|---|"
    for name, meaning in columns.items():
        if not name.endswith(("_low", "_high")):
            interval = " (with `_low`, `_high`)" if f"{name}_low" in columns else ""
            yield f"| `{name}`{interval} | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {"studies.md": studies_page, "results.md": results_page}


def main() -> None:
    """Write the pages into the folder given."""
    for name, page in PAGES.items():
        (Path(sys.argv[1]) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
