"""Writes the reference pages of the docs from the code: `python -m sweep.reference docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frozen.readout.readout import find_readout
from sweep.results.columns import all_columns
from sweep.study.schema import DEFAULT_READOUT, study_form

_STUDIES = """\
# Study files

A study is one YAML file. Every key, with its default; keys without one must be given. The first line
`# yaml-language-server: $schema=search_spaces/schema.json` (or wherever the schema lies) gives completion and checks
in editors that know the YAML language server.

Any field of a data set may be `{grid: [a, b]}`; fields that move together go into
`vary: [{n_colors: 2, n_shapes: 2}, ...]`. Any setting of a probe may be a value, `{choices: [a, b]}` or
`{low: a, high: b, log: true}`; what is not fixed is tuned. Numbers are those of YAML 1.2 (`1e-3` is a number, `no` is
text); duplicate keys, anchors and tags are refused.

Cells that cannot be measured are left out of the grid, and said: a mode the backbone does not offer, attention
on pooled modes, all other families on the mode `all`. Controls have one layer and are read in the mode `cls`.

## Several read-outs

One file may name several read-outs (`search_spaces/tour.yaml` names all five; see [joint.md](joint.md)). Instead of
`readout` it has `readouts`, with each one's own keys under its name:

```yaml
name: both                       # -> results/both/binding and results/both/captions
datasets:
  - {name: few, scene: fewshapes}
  - {name: twins, scene: twinshapes}
backbones: [shipped:shapes_coca, shipped:shapes_vit_objects]
layers: [1, 3, final]            # shared by every read-out that has this key
readouts:
  binding:
    modes: [cls]
    probes: [{family: linear}]
  captions:
    datasets: [twins]            # some of those above, by name; without it, all of them
    backbones: ["shipped:shapes_coca"]   # by source
    layers: [5]                  # takes the place of what is shared
```

What stands at the top holds for every read-out that knows the key; what stands under a read-out takes its place.
`name`, `folder`, `seed` and `store` are of the whole study. `controls` and `intervals` may stand in either place,
`published` under a read-out. Each read-out gets the cells of the study that it would be alone, with the same ids; the
whole is one plan, one run and one store, so that what two of them read is extracted once.
"""
_RESULTS = """\
# Results

`results/NAME/` is the state of a study:

```
study.yaml            the study with nothing left to defaults
rows/CELL.json        one row a cell, written atomically: the truth
samples/CELL.parquet  test losses: sample, target, seed, bits; as `code_length` the code of each training sample
curves/CELL.parquet   learning curves: target, seed, epoch, train_bits, validation_bits; suggestions in its metadata
details/CELL.parquet  information per conjunction and per number of objects
predictions/CELL.parquet  of every test sample the loss of the direct probe in bits, and the objects that it reads
probes/CELL.safetensors  tuned probes, if they are small enough (`keep_probes`); python -m binding.apply uses them
results.parquet .csv  the rows of the study as a table: one row a cell
cells.json            which rows are the study's
report.html           what people look at (see report.md)
figures/ tables/      for papers, by `python -m sweep.report`
tensorboard/          event files, one a cell (see monitoring.md)
optuna.journal        what was tried, for optuna-dashboard
comparison.csv        all differences, by `python -m sweep.compare` where they are too many for the terminal
damaged/              what stood in rows/ and was no row; its cells were measured again
lock                  held by the run that writes
```

A study of several read-outs has such a folder for each of them in `results/NAME/`, named as the read-out, and beside
them `study.yaml`, `report.html` (the joint report), `joint.csv` (its numbers), the logs and the lock. Commands that
look at rows take the folder of one read-out, such as `results/tour/binding`; `python -m sweep.show` and
`python -m sweep.report` take `results/tour` too. The `study.yaml` of a read-out is a study of its own, and gives the
same cells.

Names, paths and errors may hold signs that act on what shows them. Terminal, report, tables and every CSV file write
control, direction and invisible characters as escapes (`\\x1b`, `\\u202e`), and CSV text that a spreadsheet would
calculate (`=1+1`) begins with an apostrophe. `results.parquet` and `rows/` keep the text as it is.

The table and the report can be deleted; any run of the study makes them again. Rows of cells that a
changed study file no longer names, and those of a rehearsal with `--limit`, are kept in `rows/`; table, report and
every command leave them out and say how many there are. The last five columns may differ between equal runs; all
others repeat on the same machine with the same study.

A row is a regular file in `rows/` that is named after its cell. One that is empty, cut, a link, or has a column of
the wrong kind is named by every command, counts as missing, and is moved to `damaged/` by the next run, which
measures its cell again. Other files in `rows/` are left alone. The results directory may be a link, its parts not.
"""
_SECTIONS = {
    "Data set `colorshape`": "ColorShapeDataset",
    "Data set `balancedcolorshape`": "BalancedColorShapeDataset",
    "Data set `fewshapes`": "FewShapesDataset",
    "Data set `targetshapes`": "TargetShapesDataset",
    "Data set `twinshapes`": "TwinShapesDataset",
    "`split` of a data set that is drawn": "ColorShapeDatasetSplitPolicy",
    "Data set `occlusionclevr`": "OcclusionClevrDataset",
    "Data set `clevr`": "ClevrDataset",
    "Data set `vgcolor`": "VgColorDataset",
    "Data set `vgtopattr`": "VgTopAttrDataset",
    "Data set `files`": "FilesDataset",
    "`split` of a data set that is read": "ClevrDatasetSplitSizes",
    "Data set `imagefolder`": "ImageFolderDataset",
    "Data set `table`": "TableDataset",
    "Data set `webdataset`": "WebDatasetDataset",
    "Data set `cifar10`": "Cifar10Dataset",
    "Data set `cifar100`": "Cifar100Dataset",
    "Data set `places365`": "Places365Dataset",
    "Data set `imagenet`": "ImageNetDataset",
    "Data set `imagenet_s`": "ImageNetSDataset",
    "Data set `imagenet_segmentation`": "ImageNetSegmentationDataset",
    "Data set `coco_captions`": "CocoCaptionsDataset",
    "Data set `waterbirds`": "WaterbirdsDataset",
    "Data set `cub`": "CubDataset",
    "`transform` of a data set named by `data`": "ImageFolderDatasetTransform",
    "Backbone": "Backbone",
    "Probe `linear`": "LinearProbe",
    "Probe `quadratic_concat`": "QuadraticConcatProbe",
    "Probe `dnn_concat`": "DnnConcatProbe",
    "Probe `quadratic_concat_reuse`": "QuadraticConcatReuseProbe",
    "Probe `multilinear_concat_reuse`": "MultilinearConcatReuseProbe",
    "Probe `attention_quadratic`": "AttentionQuadraticProbe",
    "`fit`": "Fit",
    "`search`": "Search",
    "`intervals`": "Intervals",
    "`store`": "Store",
}


def studies_page() -> str:
    """docs/studies.md: every key of a study file."""
    schema = study_form(DEFAULT_READOUT).model_json_schema()
    parts = [_STUDIES, "## The file\n", *_keys(schema)]
    for title, name in _SECTIONS.items():
        definition = schema["$defs"][name]  # pyright: ignore
        parts += [f"\n## {title}\n", *_keys(definition)]
    return "\n".join(parts) + "\n"


def _keys(definition: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for name, entry in definition["properties"].items():
        required = name in definition.get("required", ())
        default = "" if required or "default" not in entry else f"`{json.dumps(entry['default'])}`"
        yield f"| `{name}` | {_cell(default)} | {_cell(entry.get('description', ''))} |"


def results_page() -> str:
    """docs/results.md: the results directory and the columns of the table."""
    columns = all_columns(find_readout("binding"))
    lines = [_RESULTS, "| column | meaning |", "|---|---|"]
    for name, meaning in columns.items():
        if not name.endswith(("_low", "_high")):
            interval = " (with `_low`, `_high`)" if f"{name}_low" in columns else ""
            lines.append(f"| `{name}`{interval} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {"studies.md": studies_page, "results.md": results_page}


def main() -> None:
    """Write the pages into the folder given."""
    for name, page in PAGES.items():
        (Path(sys.argv[1]) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
