"""The extractor: the same values whichever block or batch they come in, and none that is not a number."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from frozen.capture.capture import in_batches
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import Column, View
from frozen.capture.sites import Site
from frozen.capture.views import read, shape
from frozen.data.scenes import SPLITS
from frozen.models import BackboneConfig, Batch, TokenLayout, load
from sweep.engine import extractor as extractor_module
from sweep.engine import passes as passes_module
from sweep.engine.block_values import BlockValues
from sweep.engine.extractor import Ahead, Extractor, batch_samples
from sweep.engine.passes import Output, Pass, make_batch
from sweep.store.disk import Rows
from tests.sweep.engine.small_scene import CPU, NOISE, SCENE, SHIPPED, SIZES

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
