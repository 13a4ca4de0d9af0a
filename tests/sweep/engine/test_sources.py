"""What entries of the store are made of: other weights are other entries, and are extracted again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from frozen import models as models_module
from frozen.data.scenes import DataError
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from sweep.engine import sources as sources_module
from sweep.engine.extractor import Extractor
from sweep.engine.grid import make_grid
from sweep.engine.needs import Graph
from sweep.engine.passes import plan_passes
from sweep.engine.sources import known_columns, open_sources
from sweep.store.disk import DiskStore, Rows
from sweep.study.load import StudyError, load_study, locate_in
from tests.frozen.data.scenes.folders import write_clevr
from tests.frozen.models.checkpoints import CONVERSIONS, converted, settings_of, small
from tests.frozen.models.reference import lively, save

STUDY = """\
name: small
datasets:
  - {name: shapes, scene: colorshape, n_colors: {grid: [2, 3]}, n_shapes: 2, max_objects: 3, image_size: 64,
     object_size: 12, split: {policy: independent, train: 6, validation: 3, test: 4}}
backbones: [BACKBONE]
layers: [embed, final]
modes: [mean_spatial]
controls: [noise]
probes: [{family: linear}]
"""


class Study:
    """A study in a folder, with a store of its own."""

    def __init__(self, folder: Path, backbone: str) -> None:
        self._path = folder / "study.yaml"
        self._path.write_text(STUDY.replace("BACKBONE", backbone))
        self._store = DiskStore(folder / "store")

    def extract(self) -> tuple[int, list[np.ndarray]]:
        """Make what the store lacks: how many passes that took, and what it then has for the model's cells."""
        study, readout = load_study(self._path), find_readout("binding")
        cells = make_grid(study, readout, locate_in(self._path)).cells
        graph = Graph(cells, open_sources(cells, (), study, locate_in(self._path)), {"binding": readout})
        keys = [graph.keys(cell)["test"] for cell in cells if not cell.is_control]
        every = {key for cell in cells for key in graph.keys(cell).values()}
        passes = plan_passes(cells, graph, {key for key in every if self._store.has(key)})
        extractor = Extractor(torch.device("cpu"))
        for job in passes:
            for key, table in extractor.extract(job, 0).items():
                self._store.write_block(key, 0, table)
                self._store.publish(key, {})
        return len(passes), [Rows.of(self._store.open(key), "activations")[:] for key in keys]


def timm_weights(folder: Path) -> tuple[str, Callable[[float], None]]:
    """A backbone that reads a file, and what writes other weights into it."""

    def write(shift: float) -> None:
        save(_shifted(lively("test_vit"), shift), folder / "weights.safetensors")

    return "{source: timm:test_vit, weights: weights.safetensors, image_size: 32}", write


def hf_folder(folder: Path) -> tuple[str, Callable[[float], None]]:
    """The same with a clone of a repository, whose newer revision is checked out later."""
    pytest.importorskip("transformers")
    from safetensors.torch import save_file

    conversion = CONVERSIONS["dinov2"]

    def write(shift: float) -> None:
        (folder / "clone").mkdir(exist_ok=True)
        (folder / "clone" / "config.json").write_text(json.dumps(settings_of(conversion)))
        (folder / "clone" / "preprocessor_config.json").write_text(
            '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
        )
        state = {name: value + shift for name, value in converted(conversion, small(conversion)).items()}
        save_file(state, folder / "clone" / "model.safetensors", metadata={"format": "pt"})

    return "hf:./clone", write


def _shifted(model: nn.Module, shift: float) -> nn.Module:
    for parameter in model.parameters():
        parameter.add_(shift)
    return model


@pytest.mark.parametrize("weights", [timm_weights, hf_folder])
def test_other_weights_are_extracted_again_and_the_old_ones_stay(
    weights: Callable[[Path], tuple[str, Callable[[float], None]]], tmp_path: Path
) -> None:
    backbone, write = weights(tmp_path)
    study = Study(tmp_path, backbone)
    write(0.0)
    n_passes, first = study.extract()
    assert n_passes == 2 * 2 * 3  # data sets, backbone and control, splits
    assert study.extract()[0] == 0
    write(0.01)
    n_passes, second = study.extract()
    assert n_passes == 2 * 3  # the control is as it was
    for one, other in zip(first, second, strict=True):
        assert not np.array_equal(one, other)
    write(0.0)
    n_passes, third = study.extract()
    assert n_passes == 0
    for one, other in zip(first, third, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_is_identified_once_whatever_the_number_of_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    really = sources_module.identify

    def identify(config, scene):
        asked.append(config.source)
        return really(config, scene)

    monkeypatch.setattr(sources_module, "identify", identify)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("BACKBONE", "shipped:shapes_vit_objects, shipped:shapes_vit_features"))
    space = load_study(path)
    cells = make_grid(space, find_readout("binding"), locate_in(path)).cells
    sources = open_sources(cells, (), space, locate_in(path))
    assert set(sources) == set(cells)
    models = ["shipped:shapes_vit_features", "shipped:shapes_vit_objects"]
    assert sorted(asked) == ["control:noise", "control:noise", *models]  # controls follow the data set


def test_a_large_model_is_loaded_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is the same there, and so is what is wrong with it."""
    backbone, write = timm_weights(tmp_path)
    write(0.0)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("BACKBONE", backbone))
    space = load_study(path)
    cells = make_grid(space, find_readout("binding"), locate_in(path)).cells
    here = open_sources(cells, (), space, locate_in(path))

    really = models_module.load

    def only_controls(config: models_module.BackboneConfig, *arguments: Any, **parts: bool) -> models_module.Backbone:
        assert config.kind == "control", "loaded by this process"
        return really(config, *arguments, **parts)

    monkeypatch.setattr(sources_module, "_LARGE_PARAMETERS", 0)
    monkeypatch.setattr(models_module, "load", only_controls)
    assert open_sources(cells, (), space, locate_in(path)) == here
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(StudyError, match="weights"):
        open_sources(cells, (), space, locate_in(path))


CLEVR = """\
name: photographs
datasets:
  - {name: clevr, scene: clevr, root: clevr, image_size: 16, on_bad_image: POLICY,
     split: {train: 20, validation: 6, test: 6}}
backbones: [{source: timm:test_vit, weights: weights.safetensors, image_size: 32}]
layers: [final]
modes: [cls]
probes: [{family: linear}]
"""


def opened(path: Path) -> tuple[Cell, Graph]:
    """The only cell of a study, and its needs."""
    study, readout = load_study(path), find_readout("binding")
    [cell] = make_grid(study, readout, locate_in(path)).cells
    return cell, Graph([cell], open_sources([cell], (), study, locate_in(path)), {study.readout: readout})


def test_a_study_leaves_out_a_corrupt_image_and_its_rows_count_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_clevr(tmp_path / "clevr", range(32))
    timm_weights(tmp_path)[1](0.0)
    image = tmp_path / "clevr" / "images_6obj" / "CLEVR_6obj_000004.png"
    image.write_bytes(image.read_bytes()[:-60])
    path = tmp_path / "study.yaml"
    path.write_text(CLEVR.replace("POLICY", "skip"))
    cell, graph = opened(path)
    assert known_columns(cell, graph.sources[cell])["n_skipped"] == 1
    jobs = plan_passes([cell], graph, set())
    assert [job.n_samples for job in jobs] == [19, 6, 6]
    [table] = Extractor(torch.device("cpu")).extract(jobs[0], 0).values()
    assert len(table) == 19


def test_without_leave_a_corrupt_image_stops_extraction_with_its_name(tmp_path: Path) -> None:
    write_clevr(tmp_path / "clevr", range(32))
    timm_weights(tmp_path)[1](0.0)
    (tmp_path / "clevr" / "images_6obj" / "CLEVR_6obj_000004.png").write_bytes(b"no image")
    path = tmp_path / "study.yaml"
    path.write_text(CLEVR.replace("POLICY", "raise"))
    cell, graph = opened(path)
    with pytest.raises(DataError, match=r"CLEVR_6obj_000004.png: cannot be read .* `on_bad_image: skip`"):
        Extractor(torch.device("cpu")).extract(plan_passes([cell], graph, set())[0], 0)
