"""Passes: what is extracted, each entry once, under keys that follow what it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from binding.cells import BindingCell
from binding.probes import FAMILIES
from binding.search import ProbeSpace
from frozen.capture.capture import Capture
from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.capture.views import Mode
from frozen.data.scenes import SPLITS
from frozen.models import BackboneConfig, describe
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from sweep.engine.block_values import BlockValues
from sweep.engine.extractor import Extractor
from sweep.engine.grid import make_grid
from sweep.engine.needs import Graph, Source
from sweep.engine.passes import Output, Pass, capture_bytes, count_samples, make_batch, plan_passes
from sweep.store.disk import Rows
from sweep.study.load import load_study, locate_in
from tests.sweep.engine.small_scene import CPU, NOISE, SCENE, SHIPPED, SIZES

STUDY = """\
name: small
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 25, validation: 8, test: 9}}
backbones: [shipped:shapes_vit_objects]
layers: [embed, final]
modes: [cls, mean_spatial]
controls: [noise]
probes: [{family: linear}, {family: quadratic}]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cell, ...]:
    path: Path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return make_grid(load_study(path), find_readout("binding"), locate_in(path)).cells


def source(identity: str = "vit 64px", digest: str = "d1", **fingerprints: str) -> Source:
    prints = {name: SCENE.open(name).fingerprint for name in SPLITS} | fingerprints
    return Source(prints, SIZES, identity, digest)  # type: ignore[arg-type]


def sources_of(cells: Iterable[Cell]) -> Mapping[Cell, Source]:
    return {cell: source(cell.backbone.source) for cell in cells}


def graph_of(cells: Iterable[Cell], sources: Mapping[Cell, Source] | None = None) -> Graph:
    known = tuple(cells)
    return Graph(known, sources_of(known) if sources is None else sources, {"binding": find_readout("binding")})


def key(cell: Cell, made_of: Source, split: str) -> str:
    """Key of what the cell reads of a split."""
    return graph_of([cell], {cell: made_of}).keys(cell)[split]


def reading(cell: Cell, **changes: object) -> Cell:
    """The cell with other captures."""
    return replace(
        cell,
        needs=tuple(
            (name, replace(need, **changes) if isinstance(need, Capture) else need)  # type: ignore[arg-type]
            for name, need in cell.needs
        ),
    )


def test_keys_follow_the_content(cells: tuple[Cell, ...]) -> None:
    cell = cells[0]
    keys = [
        key(cell, source(), "train"),
        key(cell, source(), "validation"),
        key(cell, source(identity="vit 96px"), "train"),
        key(cell, source(digest="d2"), "train"),
        key(cell, source(train="f00d"), "train"),
        key(reading(cell, reduction=View(Site.parse("3"), "cls")), source(), "train"),
        key(reading(cell, reduction=View(Site.parse("embed"), "cls_mean")), source(), "train"),
        key(reading(cell, dtype="float32"), source(), "train"),
    ]
    assert len(set(keys)) == len(keys)


def test_captures_of_another_backbone_follow_its_weights_and_those_of_another_data_set_are_refused(
    cells: tuple[Cell, ...],
) -> None:
    cell, other = cells[0], BackboneConfig(source="shipped:shapes_clip_objects")
    two = reading(cell, backbone=other)
    made_of = source()._replace(others=((other, source("clip 64px", "d3")),))
    assert key(two, made_of, "train") == key(cell, source("clip 64px", "d3"), "train") != key(cell, made_of, "train")
    with pytest.raises(ValueError, match="needs a capture of another data set, elsewhere"):
        key(reading(cell, dataset=replace(cell.dataset, name="elsewhere")), source(), "train")


def test_two_entries_of_one_reduction_are_both_filled() -> None:
    view = View(Site.parse("final"), "cls")
    outputs = (Output(view, "one"), Output(view, "two"))
    job = Pass(SCENE, "test", SHIPPED, outputs, "float16", SIZES["test"])
    tables = Extractor(torch.device("cpu")).extract(job, 0)
    assert tables["one"].equals(tables["two"])
    columns = {
        output: output.reduction.columns(describe(job.backbone, job.scene), job.condition) for output in outputs
    }
    with pytest.raises(RuntimeError, match="not every sample came"):
        BlockValues(job, columns, SIZES["test"], torch.device("cpu")).tables()


def test_keys_do_not_follow_what_activations_do_not_depend_on(cells: tuple[Cell, ...]) -> None:
    cell = cells[0]
    own: BindingCell = cell.settings
    other_probe = replace(own.probe, space=ProbeSpace.of("dnn"))
    another = replace(cell.dataset, name="another")
    for same in (
        replace(cell, settings=replace(own, probe=other_probe)),
        reading(replace(cell, dataset=another), dataset=another),
        replace(cell, settings=replace(own, shared=replace(own.shared, seed=7, n_seeds=1)), seed=7),
    ):
        assert key(same, source(), "test") == key(cell, source(), "test")
    assert key(cell, source(train="f00d"), "test") == key(cell, source(), "test")


def test_labels_follow_the_data_and_the_readout_alone(cells: tuple[Cell, ...]) -> None:
    shipped, control = cells[0], cells[-1]
    assert shipped.backbone != control.backbone
    labels = key(shipped, source(), "test_labels")
    assert key(control, source("another", "d2"), "test_labels") == labels
    others = [key(shipped, source(), "train_labels"), key(shipped, source(test="f00d"), "test_labels")]
    newer = find_readout("binding")
    newer.version += 1  # type: ignore[misc]
    others.append(Graph([shipped], {shipped: source()}, {"binding": newer}).keys(shipped)["test_labels"])
    assert len({labels, *others}) == 4


def test_a_pass_makes_all_layers_and_modes_of_a_split(cells: tuple[Cell, ...]) -> None:
    graph = graph_of(cells)
    passes = plan_passes(cells, graph, set())
    assert [(job.backbone.source, job.split, job.n_samples) for job in passes] == [
        (backbone, split, SIZES[split]) for backbone in (NOISE.source, SHIPPED.source) for split in SPLITS
    ]
    entries = {(layer, mode) for layer in ("embed", "final") for mode in ("cls", "mean_spatial")}
    for job in passes:
        found = [(str(output.reduction.site), output.reduction.mode) for output in job.outputs]
        assert sorted(found) == (sorted(entries) if job.backbone == SHIPPED else [("code", "cls")])
        assert job.dtype == "float16"
    keys = [output.key for job in passes for output in job.outputs]
    assert len(set(keys)) == len(keys) == 3 * 4 + 3
    needed = {graph.keys(cell)[split] for cell in cells for split in SPLITS}
    assert set(keys) == needed


def test_what_the_store_has_is_not_made_again(cells: tuple[Cell, ...]) -> None:
    graph = graph_of(cells)
    everything = plan_passes(cells, graph, set())
    keys = {output.key for job in everything for output in job.outputs}
    assert plan_passes(cells, graph, keys) == []
    [train, *_] = [job for job in everything if job.reads_images]
    lacking = train.outputs[2]
    assert plan_passes(cells, graph, keys - {lacking.key}) == [replace(train, outputs=(lacking,))]


def test_an_entry_that_two_backbones_share_is_made_once(cells: tuple[Cell, ...]) -> None:
    """The same model under two names, such as with its own image size left out and written out."""
    named = (replace(SHIPPED, image_size=size) for size in (None, 64))
    twins = tuple(reading(replace(cells[0], backbone=backbone), backbone=backbone) for backbone in named)
    passes = plan_passes(twins, graph_of(twins, dict.fromkeys(twins, source())), set())
    assert [(job.backbone.image_size, job.split) for job in passes] == [(None, split) for split in SPLITS]


@pytest.mark.parametrize(("n_samples", "n_blocks"), [(1, 1), (512, 1), (513, 2), (1024, 2), (6400, 13)])
def test_blocks_cover_the_samples(n_samples: int, n_blocks: int) -> None:
    job = Pass(SCENE, "train", SHIPPED, (), "float16", n_samples)
    assert job.n_blocks == n_blocks


def test_a_batch_has_codes_and_images() -> None:
    split = SCENE.open("validation")
    indices = np.array([5, 0, 5])
    batch = make_batch(split, indices, images=True)
    np.testing.assert_array_equal(batch.object_codes, split.object_codes[indices])
    np.testing.assert_array_equal(batch.feature_codes, SCENE.space.feature_codes(split.object_codes[indices]))
    np.testing.assert_array_equal(batch.images, split.images(indices))
    np.testing.assert_array_equal(batch.indices, indices)
    assert [make_batch(SCENE.open(name), indices, images=False).stream for name in SPLITS] == [0, 1, 2]


def test_images_are_drawn_for_those_that_look_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(indices: np.ndarray) -> np.ndarray:
        raise AssertionError

    split = SCENE.open("train")
    monkeypatch.setattr(split, "images", drawn)
    with pytest.raises(AssertionError):
        make_batch(split, np.arange(4), images=True)
    assert make_batch(split, np.arange(4), images=False).images.size == 0


@pytest.mark.parametrize(
    ("mode", "values"), [("cls", 128), ("mean_spatial", 128), ("cls_mean", 256), ("all", (1 + 64) * 128)]
)
def test_bytes_are_counted_as_they_are_stored(cells: tuple[Cell, ...], mode: Mode, values: int) -> None:
    cell = reading(cells[0], reduction=View(Site.parse("embed"), mode))
    assert count_samples([cell]) == 42
    assert capture_bytes([cell]) == 42 * values * 2
    assert capture_bytes([cell], pooled=True) == (0 if mode == "all" else 42 * values * 2)
    wide = reading(cell, dtype="float32")
    assert capture_bytes([wide]) == 42 * values * 4
    deeper = reading(cell, reduction=View(Site.parse("final"), mode))
    assert capture_bytes([cell, wide, deeper]) == 42 * values * (2 + 4 + 2)


def test_only_the_splits_that_are_needed_count(cells: tuple[Cell, ...]) -> None:
    cell = replace(cells[0], needs=tuple(need for need in cells[0].needs if need[0] in ("train", "test_labels")))
    assert count_samples([cell]) == SIZES["train"] + SIZES["test"]
    assert capture_bytes([cell]) == SIZES["train"] * 128 * 2


def test_bytes_are_counted_once_whatever_the_probes(cells: tuple[Cell, ...]) -> None:
    own: BindingCell = cells[0].settings
    probes = [replace(own.probe, space=ProbeSpace.of(family)) for family in FAMILIES]
    same = [replace(cells[0], settings=replace(own, probe=probe)) for probe in probes]
    assert capture_bytes(same) == capture_bytes(same[:1]) > 0
    assert capture_bytes([]) == 0


def test_counted_bytes_are_those_of_the_tables(cells: tuple[Cell, ...]) -> None:
    passes = plan_passes(cells, graph_of(cells), set())
    extractor = Extractor(CPU)
    made = [Rows.of([table], "activations") for job in passes for table in extractor.extract(job, 0).values()]
    assert capture_bytes(cells) == sum(rows[:].size * rows.itemsize for rows in made)
    assert describe(SHIPPED, SCENE).layout.width == 128
