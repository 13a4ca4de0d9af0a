"""Shipped study files, the schema that editors check them with, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from binding.probes import FAMILIES
from frozen.data.scenes import SCENES, ColorShape
from frozen.readout.readout import find_readout
from sweep.engine.grid import make_grid
from sweep.space import main
from sweep.study.load import dump_yaml, load_file, load_study, locates_in
from sweep.study.yaml import parse
from tests.extras import skipped_without_extras

FOLDER = Path(__file__).parents[3] / "search_spaces"
STUDIES = sorted(path.name for path in FOLDER.glob("*.yaml"))

SMALL = """\
name: small
datasets:
  - {name: shapes, scene: colorshape}
backbones: [timm:vit_tiny_patch16_224]
layers: [final]
modes: [cls]
probes:
  - family: linear
"""

GRID = SMALL.replace(
    "{name: shapes, scene: colorshape}",
    """name: shapes
    scene: colorshape
    vary: [{n_colors: 2, n_shapes: 2}, {n_colors: 3, n_shapes: 4}]
    max_objects: {grid: [1, 2]}
    split: {test: 10, train: {grid: [20, 30]}}
    margin: 1""",
)


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_studies(name, tmp_path):
    path = FOLDER / name
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n")
    with skipped_without_extras():
        file = load_file(path)
    assert file.name == path.stem
    (tmp_path / "resolved.yaml").write_text(dump_yaml(file.resolved()), encoding="utf-8")
    again = load_file(tmp_path / "resolved.yaml")
    assert again.resolved() == file.resolved()
    datasets = [dataset for study in file.studies.values() for dataset in study.datasets]
    if not any(dataset.key == "data" for dataset in datasets):  # their folders lie beside the study
        assert again == file


def test_the_editors_schema_is_up_to_date(capsys):
    assert main(["--schema"]) == 0
    committed = (FOLDER / "schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == committed, "python -m sweep.space --schema > search_spaces/schema.json"


@pytest.mark.parametrize("text", [SMALL, GRID, *((FOLDER / name).read_text("utf-8") for name in STUDIES)])
def test_the_editors_schema_accepts_studies(text):
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    value = parse(text).value
    assert list(validator.iter_errors(value)) == []
    assert isinstance(value, dict)
    assert list(validator.iter_errors({**value, "sede": 1})) != []
    assert list(validator.iter_errors({**value, "probes": [{"family": "linear", "rank": 1}]})) != []


def test_the_editors_schema_explains_every_setting():
    definitions = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))["$defs"]
    models = [definitions[f"{cls.__name__}Dataset"] for cls in SCENES.values()]
    models += [definitions[f"{cls.__name__}Probe"] for cls in FAMILIES.values()]
    models += [definitions[name] for name in ("Backbone", "Fit", "Search", "Intervals", "Store", "RangeInt")]
    for model in models:
        for name, field in model["properties"].items():
            assert field.get("description"), (model["title"], name)
    assert definitions["ColorShapeDataset"]["properties"]["margin"]["default"] == ColorShape().margin


def test_checking_a_study_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(SMALL)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == dump_yaml(load_study(path).resolved())
    path.write_text(SMALL.replace("linear", "lineer"))
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"{path}:8: probes[0].family: unknown family 'lineer'; did you mean 'linear'?\n"


def test_reading_a_study_of_all_readouts_is_light():
    heavy = ["ray", "timm", "pandas", "matplotlib", "torchvision", "scipy.stats", "scipy.optimize", "sklearn"]
    code = (
        "import sys; from sweep.study.load import load_file; "
        f"load_file({str(FOLDER / 'tour.yaml')!r}); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_studies_are_planned_without_data_or_the_hub(name, monkeypatch):
    for variable in ("CLEVR_DATA_DIR", "VG_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = FOLDER / name
    with skipped_without_extras():
        for readout, study in load_file(path).studies.items():
            assert make_grid(study, find_readout(readout), locates_in(path)[readout]).cells
