"""Cells: which points of a grid there are, what is left out, and what their rows are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from binding.cells import GRID_COLUMNS
from binding.probes import FAMILIES
from binding.search import ProbeSpace, ProbeSpec
from frozen.capture.views import MODES
from frozen.data.scenes import ColorShape, SplitName
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig, describe
from frozen.readout.cells import LeftOut
from frozen.readout.layers import LayerStride, resolve_layers
from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.grid import make_grid
from sweep.results.columns import IDENTITY_COLUMNS, SCHEMA_VERSION, identity_columns
from sweep.study.load import StudyError, load_study, locate_in
from tests.sweep.engine.grids import STUDY, GridOf, ids

SHIPPED_LAYERS = ["embed", "0", "1", "2", "3", "4", "5", "final"]


@pytest.fixture
def study_of(study: Path) -> Callable[..., Study]:
    return lambda *overrides: load_study(study, overrides)


def test_ids_and_names_are_unique_over_the_grid(grid_of: GridOf) -> None:
    tiny = "random:vit_tiny_patch16_224"
    backbones = f"backbones=[shipped:shapes_vit_objects, {tiny}, {{source: {tiny}, image_size: 96}}]"
    probes = "probes=[{family: linear}, {family: quadratic, rank: 4}, {family: quadratic, rank: 8}]"
    controls = "controls=[oracle_objects, oracle_features, noise]"
    grid = grid_of(backbones, probes, controls, "layers=[embed, final]", "modes=[cls, mean_spatial, cls_mean]")
    assert len(grid.cells) == 3 * 3 * (3 * 2 + 1)
    assert len({cell.cell_id for cell in grid.cells}) == len(grid.cells)
    assert len({cell.name for cell in grid.cells}) == len(grid.cells)


def test_a_name_says_where_a_cell_lies(grid_of: GridOf) -> None:
    [cell] = grid_of().cells
    place = "shapes · shipped:shapes_vit_objects · 5 · cls · quadratic_concat"
    assert cell.name == f"{place} ({cell.cell_id[:8]})"


def test_cells_come_backbone_by_backbone_in_order_of_depth(grid_of: GridOf) -> None:
    grid = grid_of("layers=[final, -1, embed, 0]", "modes=[mean_spatial, cls]", "controls=[noise]")
    found = [(cell.backbone.name, cell.column("mode"), cell.column("layer")) for cell in grid.cells]
    layers = ["embed", "0", "5", "final"]
    shipped = [("shapes_vit_objects", mode, layer) for mode in ("cls", "mean_spatial") for layer in layers]
    assert found == [*shipped, ("noise", "cls", "code")]


def test_a_layer_named_twice_is_measured_once(grid_of: GridOf) -> None:
    assert ids(grid_of("layers=[5, -1]")) == ids(grid_of())


def test_controls_have_one_layer_and_one_mode(grid_of: GridOf) -> None:
    grid = grid_of("layers=all", "modes=[cls, mean_spatial, cls_mean]", "controls=[oracle_objects, erased]", "seed=4")
    controls = [cell for cell in grid.cells if cell.is_control]
    assert [(c.backbone.name, c.column("layer"), c.column("mode")) for c in controls] == [
        ("oracle_objects", "code", "cls"),
        ("erased", "code", "cls"),
    ]
    assert all(cell.backbone.seed == 4 for cell in controls)
    assert grid.left_out == ()


def test_attention_needs_all_tokens_and_the_others_one_vector(grid_of: GridOf) -> None:
    grid = grid_of("probes=[{family: linear}, {family: attention}]", "modes=[cls, all]", "controls=[noise]")
    assert [(c.column("mode"), c.column("probe")) for c in grid.cells if not c.is_control] == [
        ("cls", "linear"),
        ("all", "attention_quadratic"),
    ]
    assert [cell.column("probe") for cell in grid.cells if cell.is_control] == ["linear"]
    assert grid.left_out == (
        LeftOut(
            "shapes · cls · attention_quadratic", "attention_quadratic reads all tokens, mode cls gives one vector"
        ),
        LeftOut("shapes · all · linear", "linear reads one vector, mode all gives all tokens"),
    )


@dataclass(frozen=True)
class Tagged:
    """A data set of one or three feature groups."""

    n_groups: int

    @property
    def space(self) -> FeatureSpace:
        return FeatureSpace.of(**{f"group{number}": 2 for number in range(self.n_groups)})

    image_size: int = 64

    def limited(self, n_samples: int) -> Tagged:
        raise NotImplementedError

    def missing(self) -> None:
        return None

    def size(self, name: SplitName) -> int:
        return 1

    def open(self, name: SplitName) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("n_groups", "possible"), [(1, ["linear"]), (3, ["linear", "multilinear_concat_reuse"])], ids=["1", "3"]
)
def test_reuse_families_need_their_number_of_groups(
    grid_of: GridOf, study_of: Callable[..., Study], n_groups: int, possible: list[str]
) -> None:
    families = ("linear", "quadratic_concat_reuse", "multilinear_concat_reuse")
    probes = tuple(ProbeSpec(family, ProbeSpace.of(family)) for family in families)
    tagged = (DatasetSpec("tagged", "tagged", Tagged(n_groups)),)
    study = study_of()
    grid = grid_of(other=replace(study, datasets=tagged, keys=replace(study.keys, probes=probes)))
    assert [cell.column("probe") for cell in grid.cells] == possible
    refused = [family for family in families if family not in possible]
    assert [place for place, _ in grid.left_out] == [f"tagged · cls · {family}" for family in refused]
    assert all(f"the data set has {n_groups}" in reason for _, reason in grid.left_out)


def test_a_backbone_without_cls_is_read_otherwise(grid_of: GridOf) -> None:
    source = "random:vit_base_patch16_siglip_224"
    grid = grid_of(f"backbones=[{source}]", "layers=[final]", f"modes=[{', '.join(MODES)}]")
    assert [cell.column("mode") for cell in grid.cells] == ["mean_spatial"]
    assert grid.left_out[:2] == (
        LeftOut(f"{source} · cls", "mode cls needs a CLS token"),
        LeftOut(f"{source} · cls_mean", "mode cls_mean needs a CLS token"),
    )
    assert grid.left_out[2].where == "shapes · all · quadratic_concat"


@pytest.mark.parametrize(
    ("layers", "missing"),
    [
        ("[6]", "6"),
        ("[-7]", "-7"),
        ("[-1, 99]", "99"),
        ("[embed, -8, 2, 12]", "-8, 12"),
    ],
)
def test_a_layer_that_is_not_there_is_a_mistake(grid_of: GridOf, layers: str, missing: str) -> None:
    with pytest.raises(StudyError) as caught:
        grid_of(f"layers={layers}")
    message = str(caught.value)
    assert "layers: shipped:shapes_vit_objects: " in message
    assert message.endswith(f"there is no layer {missing}; it has embed, blocks 0 to 5, final")


def test_all_mistakes_come_at_once_with_their_lines(study: Path, grid_of: GridOf) -> None:
    study.write_text(
        STUDY.replace("layers: [5]", "layers: [9]").replace("objects\n", "objects\n  - timm:no_such_vit\n"),
        encoding="utf-8",
    )
    with pytest.raises(StudyError) as caught:
        grid_of()
    lines = [(problem.line, problem.path) for problem in caught.value.problems]
    assert lines == [(7, "backbones[1]"), (8, "layers")]
    assert "timm has no model 'no_such_vit'" in caught.value.problems[0].message


@pytest.mark.parametrize(
    "overrides",
    [
        ("modes=[cls]", "probes=[{family: attention}]"),
        ("backbones=[]", "controls=[noise]", "probes=[{family: attention}]"),
    ],
    ids=["backbone", "control"],
)
def test_a_grid_without_a_possible_cell_is_a_mistake(grid_of: GridOf, overrides: tuple[str, ...]) -> None:
    with pytest.raises(StudyError) as caught:
        grid_of(*overrides)
    assert str(caught.value).endswith(
        "no cell of the grid is possible: shapes · cls · attention_quadratic: "
        "attention_quadratic reads all tokens, mode cls gives one vector"
    )


def test_identity_columns_are_all_there(grid_of: GridOf) -> None:
    [cell] = grid_of().cells
    columns = identity_columns(cell)
    known_later = {"status", "error", "study", "data_fingerprint", "n_skipped", "weights_digest"}
    assert set(columns) | known_later == {*IDENTITY_COLUMNS, *GRID_COLUMNS}
    assert not set(columns) & known_later
    assert columns | {"cell_id": "", "dataset_parameters": ""} == {
        "cell_id": "",
        "schema_version": SCHEMA_VERSION,
        "readout": "binding",
        "is_control": False,
        "control": None,
        "control_of": None,
        "dataset": "shapes",
        "dataset_entry": "shapes",
        "dataset_point": "{}",
        "dataset_parameters": "",
        "backbone": "shipped:shapes_vit_objects",
        "layer": "5",
        "layer_index": 5,
        "depth_fraction": 6 / 7,
        "mode": "cls",
        "probe": "quadratic_concat",
        "feature_probe": "quadratic_concat",
    }


def test_rows_say_at_which_point_of_a_grid_of_data_sets_they_are(grid_of: GridOf) -> None:
    grid = grid_of("datasets[0].object_size={grid: [8, 12]}", "datasets[0].split.train={grid: [60]}")
    rows = [identity_columns(cell) for cell in grid.cells]
    assert [row["dataset"] for row in rows] == [f"shapes[object_size={size},split.train=60]" for size in (8, 12)]
    assert {row["dataset_entry"] for row in rows} == {"shapes"}
    assert [row["dataset_point"] for row in rows] == [
        f'{{"object_size": {size}, "split.train": 60}}' for size in (8, 12)
    ]


def test_brackets_in_a_name_that_name_no_field_are_no_point(grid_of: GridOf) -> None:
    [cell] = grid_of("datasets[0].name=shapes[draft,seed=1,version=2]").cells
    assert identity_columns(cell)["dataset_entry"] == "shapes"
    assert identity_columns(cell)["dataset_point"] == '{"seed": 0}'


def test_identity_columns_of_depths_controls_and_reuse_families(grid_of: GridOf) -> None:
    grid = grid_of("layers=all", "controls=[noise]", "probes=[{family: quadratic_concat_reuse}]")
    rows = [identity_columns(cell) for cell in grid.cells]
    assert [row["layer"] for row in rows] == [*SHIPPED_LAYERS, "code"]
    assert [row["layer_index"] for row in rows] == [-1, 0, 1, 2, 3, 4, 5, 6, 0]
    assert [row["depth_fraction"] for row in rows] == [*(depth / 7 for depth in range(8)), 1]
    assert [row["backbone"] for row in rows[-2:]] == ["shipped:shapes_vit_objects", "noise"]
    assert {row["feature_probe"] for row in rows} == {"quadratic_concat"}
    assert [row["is_control"] for row in rows] == [False] * 8 + [True]


@pytest.mark.parametrize("source", ["shipped:shapes_vit_features", "random:vit_tiny_patch16_224", "control:noise"])
def test_every_layer_can_be_named(source: str, study_of: Callable[..., Study]) -> None:
    description = describe(BackboneConfig(source=source), study_of().datasets[0].config)
    everything = list(description.layers)
    assert resolve_layers(("all",), description) == everything
    assert resolve_layers(tuple(reversed(everything)), description) == everything
    n_blocks = sum(layer.isdigit() for layer in everything)
    for block in range(n_blocks):
        assert resolve_layers((block - n_blocks,), description) == [str(block)]


def test_every_family_can_be_in_a_grid(grid_of: GridOf) -> None:
    probes = ", ".join(f"{{family: {family}}}" for family in FAMILIES)
    grid = grid_of(f"probes=[{probes}]", "modes=[cls, all]")
    assert {cell.column("probe") for cell in grid.cells} == set(FAMILIES)
    assert len(grid.cells) == len(FAMILIES)


@pytest.mark.parametrize(("every", "blocks"), [(1, "012345"), (2, "135"), (3, "25"), (4, "15"), (6, "5"), (100, "5")])
def test_a_stride_keeps_both_ends_and_counts_from_the_last_block(every: int, blocks: str) -> None:
    description = describe(BackboneConfig(source="shipped:shapes_vit_objects"), ColorShape())
    assert resolve_layers(LayerStride(every=every), description) == ["embed", *blocks, "final"]


def test_layers_of_a_backbone_take_the_place_of_the_studys(grid_of: GridOf) -> None:
    entry = "{source: shipped:shapes_vit_features, layers: {every: 3}}"
    grid = grid_of(f"backbones=[shipped:shapes_vit_objects, {entry}]", "layers=[0]", "controls=[noise]")
    found = {(cell.backbone.name, cell.column("layer")) for cell in grid.cells}
    features = {("shapes_vit_features", layer) for layer in ("embed", "2", "5", "final")}
    assert found == features | {("shapes_vit_objects", "0"), ("noise", "code")}


def test_layers_that_a_backbone_names_and_has_not_are_found_where_they_stand(grid_of: GridOf) -> None:
    with pytest.raises(StudyError, match=r"backbones\[0\].layers: shipped:shapes_vit_objects: there is no layer 9"):
        grid_of("backbones=[{source: shipped:shapes_vit_objects, layers: [9]}]")


def test_what_is_amiss_with_a_backbone_and_its_untrained_twin_is_told_once() -> None:
    path = Path(__file__).parents[3] / "search_spaces" / "class_embedding.yaml"
    override = "backbones=[shipped:shapes_vit_objects]"
    study = load_study(path, (override,))
    assert "random_init" in study.controls
    with pytest.raises(StudyError) as refusal:
        make_grid(study, find_readout(study.readout), locate_in(path, (override,)))
    assert str(refusal.value).count("has no classifier") == 1
    assert "backbones[0]: shipped:shapes_vit_objects has no classifier" in str(refusal.value)


def test_a_name_that_is_not_among_those_of_a_list_is_told_in_the_singular() -> None:
    path = Path(__file__).parents[3] / "search_spaces" / "text_decomposition.yaml"
    with pytest.raises(StudyError, match=r"unknown analysis 'headz'; did you mean 'heads'\?"):
        load_study(path, ("analyses=[headz]",))
