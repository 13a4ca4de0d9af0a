"""Binding through a map: what an identity, a whole dictionary and one of features alone must keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml

from binding.paired import paired_estimates
from binding.readout import BindingReadout
from binding.through import Passage, coordinates_read
from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.data.scenes import SPLITS
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut
from frozen.readout.maps import OfferedMap
from frozen.readout.needs import Inputs, Product
from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.concepts import naming
from readouts.concepts.dictionary import Dictionary
from sweep.engine.grid import make_grids
from sweep.study.errors import StudyError
from sweep.study.load import load_file, load_study, locates_in

WIDTH = 128
STUDY = {
    "name": "through",
    "datasets": [
        {"name": "twins", "scene": "twinshapes", "split": {"train": 800, "validation": 200, "test": 300}},
    ],
    "backbones": ["shipped:shapes_clip_objects"],
    "layers": ["final"],
    "modes": ["cls"],
    "probes": [{"family": "linear", "learning_rate": 0.2}],
    "fit": {"epochs": 12, "batch_size": 128},
    "search": {"suggestions": 1, "ask": 1},
    "seeds": 1,
    "intervals": {"resamples": 200},
}


def dictionary(encoder: np.ndarray) -> Dictionary:
    """f(x) = relu(E x), of activations as they are."""
    m, d = encoder.shape
    zeros = {name: torch.zeros(m) for name in ("encoder_bias", "threshold", "gain", "magnitude_bias")}
    rows = torch.from_numpy(encoder.astype(np.float32))
    return Dictionary(
        "relu_l1", 0, 1.0, rows, decoder=rows.clone(), bias=torch.zeros(d), centre=torch.zeros(d), **zeros
    )


def load(folder: Path, encoder: np.ndarray, **keys: object) -> Study:
    (folder / "map.safetensors").write_bytes(dictionary(encoder).to_bytes())
    entry = {"map": "dictionary", "file": "map.safetensors", "layer": "final"}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "through": [entry], **keys}))
    return load_study(path)


def activations(cell: Cell, split: str) -> dict[str, np.ndarray]:
    """Object code, then feature code, then zeros, as if a layer held them."""
    labels = BindingReadout().labels(cell.dataset.config.open(split))
    codes = labels["object_codes"]
    both = np.concatenate([codes, cell.dataset.config.space.feature_codes(codes)], axis=1)
    return {"activations": np.pad(both, ((0, 0), (0, WIDTH - both.shape[1]))).astype(np.float16)}


def rows(study: Study) -> tuple[dict[str, object], dict[str, object]]:
    """The cell of the layer and the one through the map, measured on such activations."""
    readout = BindingReadout()
    whole, through = [cell for cell in readout.cells(study) if isinstance(cell, Cell)]
    columns = {split: activations(whole, split) for split in SPLITS}
    columns |= {f"{split}_labels": readout.labels(whole.dataset.config.open(split)) for split in SPLITS}
    device, known = torch.device("cpu"), {"cell_id": ""}
    [(_, one)] = readout.measure({whole: Inputs(known, columns, {})}, device)
    assert set(one.products) == {"losses"}
    [(_, other)] = readout.measure({through: Inputs(known, columns, dict(one.products))}, device)
    assert other.samples is not None
    found = readout.recompute(other.row, other.samples)
    assert {name: other.row[name] for name in ("lost_bits", "kept_share_low")} == {
        name: found[name] for name in ("lost_bits", "kept_share_low")
    }
    return dict(one.row), dict(other.row)


def test_an_identity_changes_nothing(tmp_path: Path) -> None:
    whole, through = rows(load(tmp_path, np.eye(WIDTH)))
    assert whole["direct_binding_ratio"] > 0.95  # pyright: ignore[reportOperatorIssue]
    assert (through["lost_bits"], through["lost_bits_low"], through["lost_bits_high"]) == (0, 0, 0)
    assert through["kept_share"] == 1
    own = {"through", "lost_bits", "kept_share", "lost_bits_low", "lost_bits_high", "kept_share_low"}
    own |= {"kept_share_high", "n_coordinates"}
    assert {name for name in whole if whole[name] != through[name]} <= own
    assert (whole["through"], through["through"]) == (None, "dictionary")


def test_a_dictionary_that_reconstructs_keeps_the_bits_and_one_of_features_none(tmp_path: Path) -> None:
    axes = np.eye(WIDTH)
    random = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
    _, exact = rows(load(tmp_path, np.concatenate([random, -random])))  # x = Rᵀ(f₊ - f₋)
    assert exact["lost_bits"] == pytest.approx(0, abs=0.05)
    assert exact["kept_share"] == pytest.approx(1, abs=0.05)
    _, features = rows(load(tmp_path, axes[16:24]))
    assert features["kept_share_low"] <= 0 <= features["kept_share_high"]  # pyright: ignore[reportOperatorIssue]
    assert features["lost_bits_low"] > 0.9  # pyright: ignore[reportOperatorIssue]


def test_a_share_of_nothing_is_empty() -> None:
    rng = np.random.default_rng(0)
    bits = {"entropy": np.ones((1, 400)), "whole": rng.normal(1, 0.5, (2, 400)), "direct": np.ones((2, 400))}
    found = paired_estimates(bits, IntervalConfig(resamples=200), seed=0)
    assert found["kept_share"] is None
    assert found["lost_bits"] is not None
    assert paired_estimates({"direct": np.ones((2, 4))}, IntervalConfig(), seed=0) == {}


def test_mistakes_are_told_where_they_stand(tmp_path: Path) -> None:
    wrong = dictionary(np.eye(5)).to_bytes()
    study = load(tmp_path, np.eye(WIDTH))
    (tmp_path / "map.safetensors").write_bytes(wrong[:-1])
    [mistake] = [one for one in BindingReadout().cells(study) if not isinstance(one, Cell | LeftOut)]
    assert mistake.path == ("through", 0, "file")
    for layer in (2, -99):
        elsewhere = load(
            tmp_path, np.eye(WIDTH), through=[{"map": "dictionary", "file": "map.safetensors", "layer": layer}]
        )
        [mistake] = [one for one in BindingReadout().cells(elsewhere) if not isinstance(one, Cell | LeftOut)]
        assert mistake.path == ("through", 0)
        assert f"no cell of the grid reads layer {layer} in mode" in mistake.message
    with pytest.raises(StudyError, match="unknown map 'class_logit'; did you mean 'class_logits'"):
        load(tmp_path, np.eye(WIDTH), through=["class_logit"])


def test_what_a_backbone_lacks_is_left_out(tmp_path: Path) -> None:
    study = load(tmp_path, np.eye(WIDTH), through=["class_logits", "dictionary"], layers=[5])
    reasons = {one.reason for one in BindingReadout().cells(study) if isinstance(one, LeftOut)}
    assert any("no classifier" in reason for reason in reasons)
    assert any("no other read-out of the file gives a dictionary" in reason for reason in reasons)
    misspelt = load(tmp_path, np.eye(WIDTH), through=["dictionary.conjunktion"])
    mistakes = {one.message for one in BindingReadout().cells(misspelt) if not isinstance(one, Cell | LeftOut)}
    assert mistakes == {"a dictionary has no coordinates of the sort 'conjunktion'; did you mean 'conjunction'?"}


class TestThrough(ReadoutConformance):
    """Class logits, the joint space and a dictionary of real models, every stage."""

    @pytest.fixture
    def readout(self) -> BindingReadout:
        return BindingReadout()

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        few = [{"name": "twins", "scene": "twinshapes", "split": {"train": 64, "validation": 32, "test": 32}}]
        return load(
            tmp_path,
            np.eye(WIDTH),
            datasets=few,
            backbones=["shipped:shapes_vit_class", "shipped:shapes_clip_objects"],
            layers=[4, "final"],
            fit={"epochs": 1, "batch_size": 32},
            through=[
                "class_logits",
                "joint",
                {"map": "dictionary", "file": "map.safetensors", "layer": 4, "backbone": "shipped:shapes_vit_class"},
            ],
        )

    def test_every_map_has_its_cells(self, cells: list[Cell]) -> None:
        of = [(cell.column("layer"), cell.column("mode")) for cell in cells if " > " in str(cell.column("mode"))]
        assert of == [
            ("4", "cls > class_logits"),
            ("4", "cls > dictionary map.safetensors"),
            ("final", "cls > class_logits"),
            ("final", "cls > joint"),
        ]


JOINT = """
name: joint
datasets:
  - {name: twins, scene: twinshapes, split: {train: 64, validation: 32, test: 32}}
backbones: [shipped:shapes_clip_objects]
readouts:
  binding:
    layers: [0, final]
    modes: [cls, mean_spatial]
    probes: [{family: linear}]
    through: [joint, dictionary, dictionary.conjunction]
  concepts:
    sites: [0.mean_spatial, joint]
    dictionaries: [{kind: topk, k: 4, expansion: 1}]
"""


def test_dictionaries_of_the_same_file_are_needed_from_their_cells(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(JOINT)
    file = load_file(path)
    readouts = {name: find_readout(name) for name in file.studies}
    grids = make_grids(file.studies, readouts, locates_in(path))
    assert list(grids) == ["binding", "concepts"]
    givers = {cell.cell_id: cell for grid in grids.values() for cell in grid.cells}
    through = {str(cell.column("mode")): cell for cell in grids["binding"].cells if " > " in str(cell.column("mode"))}
    maps = ("mean_spatial > topk k=4 ×1", "cls > joint > topk k=4 ×1")
    sorts = (" > conjunction", " > random, as many as conjunction")
    assert set(through) == {"cls > joint", *maps, *(f"{one}{sort}" for one in maps for sort in sorts)}
    for mode, cell in through.items():
        needs = dict(cell.needs_of(Product))
        before = givers[needs["losses"].giver]
        expected = "cls > joint" if mode.startswith("cls > joint > ") else mode.partition(" > ")[0]
        assert before.column("mode") == expected
        if "map" in needs:
            assert givers[needs["map"].giver].settings.name == "dictionary"
        if "chooser" in needs:
            teller = givers[needs["chooser"].giver]
            assert teller.settings.name == "binding"
            codes = givers[dict(teller.needs_of(Product))["codes_test"].giver]
            assert dict(codes.needs_of(Product))["dictionary"] == needs["map"]
        if mode.endswith(sorts[0]):
            assert givers[needs["random"].giver] == through[mode.replace(*sorts)]


def test_atoms_that_hardly_any_training_image_has_are_not_read() -> None:
    train = np.zeros((40, 3, 4), np.float32)
    train[:, :, 0], train[:9, 1, 1], train[:10, 2, 2] = 1.0, 1.0, -1.0
    passage = Passage("dictionary", "", View(Site("final"), "cls"), (4,), {})
    found = coordinates_read(passage, {"train": train, "test": np.ones((5, 3, 4), np.float32)}, None, seed=0)
    assert found.tolist() == [True, False, True, False]


N_OBJECTS, N_FEATURES = 16, 8


def told_apart(kinds: list[str]) -> bytes:
    return naming.to_bytes(pa.table({"atom": list(range(len(kinds))), "kind": kinds}))


def rows_of_sorts(folder: Path, kinds: list[str], *sorts: str) -> dict[str, dict[str, Any]]:
    """Rows by `through`, of a dictionary with an atom an object and an atom a feature, whose kinds are given."""
    study = load(folder, np.eye(WIDTH), through=[f"dictionary.{sort}" for sort in sorts])
    atoms = dictionary(np.eye(WIDTH)[: N_OBJECTS + N_FEATURES]).to_bytes()
    offered = OfferedMap(
        kind="dictionary",
        name="known",
        product=Product("giver", "dictionary"),
        dataset=study.datasets[0],
        backbone=study.backbones[0],
        control=None,
        reads=View(Site("final"), "cls"),
        is_joint=False,
        out_width=N_OBJECTS + N_FEATURES,
        selections=tuple((sort, Product("teller", "selectivity")) for sort in ("conjunction", "feature")),
    )
    readout = BindingReadout()
    cells = [one for one in readout.cells(replace(study, maps=(offered,))) if isinstance(one, Cell)]
    columns = {split: activations(cells[0], split) for split in SPLITS}
    columns |= {f"{split}_labels": readout.labels(cells[0].dataset.config.open(split)) for split in SPLITS}
    given = {("giver", "dictionary"): atoms, ("teller", "selectivity"): told_apart(kinds)}
    found = {}
    for cell in cells:
        products = {name: given[need.giver, need.name] for name, need in cell.needs_of(Product)}
        [(_, outcome)] = readout.measure({cell: Inputs({"cell_id": ""}, columns, products)}, torch.device("cpu"))
        given |= {(cell.cell_id, name): content for name, content in outcome.products.items()}
        found[str(outcome.row["through"])] = dict(outcome.row)
        assert outcome.samples is not None
        again = readout.recompute(outcome.row, outcome.samples)
        names = [name for name in again if name.startswith(("kept_share", "over_random"))]
        assert {name: again[name] for name in names} == {name: outcome.row[name] for name in names}
    return found


def test_only_the_atoms_of_conjunctions_hold_the_binding(tmp_path: Path) -> None:
    kinds = ["conjunction"] * N_OBJECTS + ["feature"] * N_FEATURES
    found = rows_of_sorts(tmp_path, kinds, "conjunction", "feature")
    assert list(found) == [
        "None",
        "dictionary.conjunction.random",
        "dictionary.conjunction",
        "dictionary.feature.random",
        "dictionary.feature",
    ]
    conjunctions, features = found["dictionary.conjunction"], found["dictionary.feature"]
    assert (conjunctions["n_coordinates"], features["n_coordinates"]) == (N_OBJECTS, N_FEATURES)
    assert found["dictionary.conjunction.random"]["n_coordinates"] == N_OBJECTS
    assert conjunctions["kept_share"] == pytest.approx(1, abs=0.05)
    assert conjunctions["over_random_bits_low"] > 0  # of 16 random ones of the 24, some are features
    assert features["kept_share_low"] <= 0 <= features["kept_share_high"]
    assert features["over_random_bits_high"] < -0.05  # of 8 random ones, some are objects
    for row in (conjunctions, features):
        other = found[f"{row['through']}.random"]
        beyond = row["direct_binding_information_bits"] - other["direct_binding_information_bits"]
        assert row["over_random_bits"] == pytest.approx(beyond)
        assert other["over_random_bits"] is None


def test_a_dictionary_without_atoms_of_the_sort_keeps_nothing(tmp_path: Path) -> None:
    found = rows_of_sorts(tmp_path, ["feature"] * (N_OBJECTS + N_FEATURES), "conjunction")
    row = found["dictionary.conjunction"]
    assert row["n_coordinates"] == found["dictionary.conjunction.random"]["n_coordinates"] == 0
    assert row["kept_share"] == pytest.approx(0, abs=0.02)
    assert [row[f"over_random_bits{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_a_sort_that_no_map_has_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(JOINT.replace("dictionary.conjunction]", "dictionary.conjuncton]"))
    file = load_file(path)
    readouts = {name: find_readout(name) for name in file.studies}
    with pytest.raises(StudyError, match="no coordinates of the sort 'conjuncton'; did you mean 'conjunction'"):
        make_grids(file.studies, readouts, locates_in(path))


def test_maps_of_places_that_no_cell_reads_are_told(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(JOINT.replace("sites: [0.mean_spatial, joint]", "sites: [3.cls]"))
    file = load_file(path)
    readouts = {name: find_readout(name) for name in file.studies}
    left = {one.where: one.reason for one in make_grids(file.studies, readouts, locates_in(path))["binding"].left_out}
    for entry in ("dictionary", "dictionary.conjunction"):
        assert (
            left[f"through {entry}"] == "the file gives each dictionary at another place (3 cls) than binding reads"
        )
