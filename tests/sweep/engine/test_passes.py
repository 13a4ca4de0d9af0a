"""Extraction: each entry once, the same values whichever block or batch they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from binding.cells import BindingCell
from binding.probes import FAMILIES
from binding.search import ProbeSpace
from frozen.capture.capture import Capture, in_batches
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import Column, View
from frozen.capture.sites import Site
from frozen.capture.views import Mode, read, shape
from frozen.data.scenes import SPLITS, ColorShape, SplitName, SplitPolicy
from frozen.models import BackboneConfig, Batch, TokenLayout, describe, load
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from sweep.engine import extractor as extractor_module
from sweep.engine import passes as passes_module
from sweep.engine.block_values import BlockValues
from sweep.engine.extractor import Ahead, Extractor, batch_samples
from sweep.engine.grid import make_grid
from sweep.engine.needs import Graph, Source
from sweep.engine.passes import Output, Pass, capture_bytes, count_samples, make_batch, plan_passes
from sweep.store.disk import Rows
from sweep.study.load import load_study, locate_in

CPU = torch.device("cpu")
SCENE = ColorShape(
    n_colors=2,
    n_shapes=2,
    max_objects=3,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=25, validation=8, test=9),
)
SIZES: dict[SplitName, int] = {"train": 25, "validation": 8, "test": 9}
SHIPPED = BackboneConfig(source="shipped:shapes_vit_objects")
NOISE = BackboneConfig(source="control:noise")
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
        (backbone, split, SIZES[split]) for backbone in (SHIPPED.source, NOISE.source) for split in SPLITS
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
    lacking = everything[1].outputs[2]
    assert plan_passes(cells, graph, keys - {lacking.key}) == [replace(everything[1], outputs=(lacking,))]


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


OUTPUTS: tuple[Output, ...] = tuple(
    Output(View(Site.parse(layer), mode), f"{layer}-{mode}")
    for layer in ("embed", "3", "final")
    for mode in ("cls", "mean_spatial", "cls_mean", "all")
)


def whole(job: Pass, key: str, extractor: Extractor) -> Rows:
    tables: list[pa.Table] = [extractor.extract(job, block)[key] for block in range(job.n_blocks)]
    return Rows.of(tables, "activations")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_blocks_together_are_the_backbones_tokens(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(passes_module, "BLOCK_SAMPLES", 10)
    monkeypatch.setattr(extractor_module, "_MOST_SAMPLES", {"cpu": 4})
    job = Pass(SCENE, "train", SHIPPED, OUTPUTS, dtype, 25)
    backbone = load(SHIPPED, SCENE, CPU)
    tokens = backbone.forward(make_batch(SCENE.open("train"), np.arange(25), images=True))
    extractor = Extractor(CPU)
    blocks = [extractor.extract(job, block) for block in range(job.n_blocks)]
    assert [len(block[OUTPUTS[0].key]) for block in blocks] == [10, 10, 5]
    for output in OUTPUTS:
        layout = backbone.description.layout
        expected = read(tokens[str(output.reduction.site)], output.reduction.mode, layout).numpy()
        rows = Rows.of([block[output.key] for block in blocks], "activations")
        assert rows.shape == (25, *shape(output.reduction.mode, layout))
        assert rows[:].dtype == np.float32
        assert rows.itemsize == np.dtype(dtype).itemsize
        deviations = np.abs(expected - expected.reshape(-1, expected.shape[-1]).mean(0))
        allowed = deviations.max(tuple(range(expected.ndim - 1))) * 2**-11 if dtype == "float16" else 0.0
        assert np.all(np.abs(rows[:] - expected) <= allowed + 2e-5)


def test_calls_at_the_same_time_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draws while the other computes, also for another split and another backbone."""
    monkeypatch.setattr(passes_module, "BLOCK_SAMPLES", 10)
    monkeypatch.setattr(extractor_module, "_MOST_SAMPLES", {"cpu": 4})
    train = Pass(SCENE, "train", SHIPPED, OUTPUTS, "float16", 25)
    noise = Pass(SCENE, "test", NOISE, (Output(View(Site.parse("code"), "cls"), "key"),), "float32", 9)
    jobs = [(train, 0), (noise, 0), (train, 1), (replace(train, split="test", n_samples=9), 0), (train, 2)] * 2
    alone = [Extractor(CPU).extract(*job) for job in jobs[:5]]
    shared = Extractor(CPU)
    with ThreadPoolExecutor(2) as calls:
        together = list(calls.map(lambda job: shared.extract(*job), jobs))
    for found, expected in zip(together, alone * 2, strict=True):
        assert found.keys() == expected.keys()
        assert all(table.equals(expected[key]) for key, table in found.items())


def test_few_batches_are_made_ahead_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of batches."""
    batch = make_batch(SCENE.open("test"), np.arange(2), images=False)
    made: list[int] = []

    def maker(number: int) -> Callable[[], Batch]:
        return lambda: made.append(number) or batch._replace(stream=number)

    with ThreadPoolExecutor(1) as pool:
        ahead = Ahead(pool, [maker(number) for number in range(20)], 3)
        for taken, found in enumerate(ahead):
            assert found.stream == taken
            pool.submit(int).result()  # everything handed to the one thread is done
            assert made == list(range(min(taken + 4, 20)))


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_module, "BLOCK_SAMPLES", 64)
    job = Pass(replace(SCENE, split=replace(SCENE.split, train=1280)), "train", SHIPPED, OUTPUTS, "float32", 1280)
    extractor, process = Extractor(CPU), psutil.Process()
    block_bytes = sum(table.nbytes for table in extractor.extract(job, 0).values())
    used = [process.memory_info().rss for block in range(job.n_blocks) if extractor.extract(job, block)]
    assert block_bytes > 3e6
    assert max(used[10:]) - max(used[:10]) < 2 * block_bytes, "ten more blocks take more than the memory of two"


def test_an_error_in_drawing_is_that_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(_self: object, _indices: np.ndarray) -> np.ndarray:
        raise OSError("image 7 cannot be read")

    monkeypatch.setattr(type(SCENE.open("train")), "images", drawn)
    with pytest.raises(OSError, match="image 7 cannot be read"):
        Extractor(CPU).extract(Pass(SCENE, "train", SHIPPED, OUTPUTS, "float16", 25), 0)


@pytest.mark.parametrize(("n_spatial", "expected"), [(8, [64] * 8), (32, [31] * 2 + [30] * 15), (300, [1] * 512)])
def test_batches_are_of_nearly_one_size_and_smaller_for_larger_images(n_spatial: int, expected: list[int]) -> None:
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(n_spatial, n_spatial), width=8)
    batches = list(in_batches(512, batch_samples(layout.n_tokens, "cpu"), PLAIN, {}, layout))
    assert [len(batch) for batch in batches] == expected
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(512))


TOKENS = TokenLayout(has_cls=True, n_registers=0, grid=(2, 2), width=3)
POOLED, WHOLE = View(Site.parse("final"), "cls"), View(Site.parse("final"), "all")
BOTH = {
    Output(POOLED, "pooled"): (Column("activations", (3,)),),
    Output(WHOLE, "tokens"): (Column("activations", (5, 3)),),
}


def stored(tokens: torch.Tensor, dtype: str, batch: int = 64, backbone: BackboneConfig = SHIPPED) -> dict[str, Rows]:
    """Tokens of a backbone's last layer as the store gives them back, by key."""
    values = BlockValues(Pass(SCENE, "train", backbone, tuple(BOTH), dtype, len(tokens)), BOTH, len(tokens), CPU)
    for rows in np.array_split(np.arange(len(tokens)), -(-len(tokens) // batch)):
        part = tokens[rows]
        found = {view: {"activations": read(part, view.mode, TOKENS)} for view in (POOLED, WHOLE)}
        values.put(rows, found)
    return {key: Rows.of([table], "activations") for key, table in values.tables().items()}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("backbone", "remedy"),
    [
        (SHIPPED, "look at its weights"),
        (replace(SHIPPED, precision="float16"), "set `precision: float32` of the backbone, which is float16"),
        (BackboneConfig(source="activations:z_{split}.npz"), "look for them in the file of the split train"),
    ],
)
def test_values_that_are_not_finite_are_an_error_with_what_to_do(
    value: float, dtype: str, backbone: BackboneConfig, remedy: str
) -> None:
    tokens = torch.zeros(4, 5, 3)
    tokens[2, 0, 1] = value
    with pytest.raises(ValueError, match=f"layer final of .* are not finite .*{remedy}, or leave the layer out"):
        stored(tokens, dtype, backbone=backbone)


@pytest.mark.parametrize(
    ("offset", "size"), [(0.0, 1.0), (4096.0, 0.3), (-7e4, 5.0), (0.0, 1e-9), (3e-9, 1e-12), (0.0, 1e30), (1e5, 1e4)]
)
def test_halves_keep_every_channel_whatever_its_offset_and_size(offset: float, size: float) -> None:
    """Beside a channel of ordinary numbers, and whichever batches tokens came in."""
    signal = torch.randn(200, 5, 3, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([offset, 0.0, offset]) + torch.tensor([size, 1.0, size]) * signal
    rows = stored(tokens, "float16")
    order = np.array([150, 3, 199, 64, 3])
    for found, exact in ((rows["tokens"], tokens), (rows["pooled"], tokens[:, 0])):
        assert found.itemsize == 2
        error = (found[:] - exact.numpy()) / exact.reshape(-1, 3).std(0).numpy()
        assert np.abs(error).max() < 2e-3 + abs(offset) * 1e-7 / size
        np.testing.assert_array_equal(found[order], found[:][order])
        np.testing.assert_array_equal(found[7], found[:][7])


@pytest.mark.parametrize("value", [0.0, 0.1, -4096.3, 1e-30, 1e30])
def test_halves_of_a_constant_are_that_constant(value: float) -> None:
    """Rounding that differs between batches would be taken for information."""
    for found in stored(torch.full((200, 5, 3), value), "float16").values():
        np.testing.assert_array_equal(found[:], np.float32(value))


def test_an_outlier_costs_the_others_nothing() -> None:
    tokens = torch.randn(200, 5, 3, generator=torch.Generator().manual_seed(0))
    tokens[0, 0] = 5e4
    error = stored(tokens, "float16", batch=200)["tokens"][1:] - tokens[1:].numpy()
    assert np.abs(error).max() < 0.05


def test_a_block_can_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_module, "BLOCK_SAMPLES", 10)
    job = Pass(SCENE, "train", SHIPPED, OUTPUTS, "float16", 25)
    first, second = Extractor(CPU), Extractor(CPU)
    second.extract(replace(job, split="test", n_samples=9), 0)
    for key, table in first.extract(job, 1).items():
        assert second.extract(job, 1)[key].equals(table), key


@pytest.mark.parametrize("source", ["control:noise", "control:erased", "control:pixels", "control:oracle_objects"])
def test_controls_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    job = Pass(
        SCENE,
        "train",
        BackboneConfig(source=source),
        (Output(View(Site.parse("code"), "cls"), "key"),),
        "float32",
        25,
    )
    together = whole(job, "key", Extractor(CPU))[:]
    monkeypatch.setattr(passes_module, "BLOCK_SAMPLES", 7)
    monkeypatch.setattr(extractor_module, "_MOST_SAMPLES", {"cpu": 3})
    np.testing.assert_array_equal(whole(job, "key", Extractor(CPU))[:], together)


def test_an_extractor_turns_to_what_it_is_asked_for() -> None:
    """The last split and backbone are held, and never mistaken for others."""
    extractor = Extractor(CPU)
    output = (Output(View(Site.parse("code"), "cls"), "key"),)
    jobs = [
        Pass(scene, split, BackboneConfig(source=f"control:{name}"), output, "float32", SIZES[split])
        for scene in (SCENE, replace(SCENE, seed=5))
        for split in SPLITS
        for name in ("oracle_objects", "oracle_features")
    ]
    for job in (*jobs, *reversed(jobs)):
        codes = job.scene.open(job.split).object_codes
        expected = codes if job.backbone.name == "oracle_objects" else job.scene.space.feature_codes(codes)
        np.testing.assert_array_equal(whole(job, "key", extractor)[:], expected)


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
