from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from frozen.capture.capture import Capture, Images, Origin, capture, in_batches
from frozen.capture.conditions import PLAIN, Condition, Keep, KeepMost, NoCls, SelfOnly
from frozen.capture.forward import run_batch
from frozen.capture.reductions import TEXT, Column, Reduction, View, WholeSite
from frozen.capture.sites import Site
from frozen.capture.tables import TableBuilder
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig, BackboneError, Pixels, VisionTransformer, load
from frozen.models._timm import tower_of
from frozen.testing import SiteConformance, batch_of
from sweep.store.disk import Rows, store_key, to_table
from tests.frozen.capture.examples import ClassRanks, LogitGradient, Names
from tests.frozen.capture.nets import IMAGE, NETS, Noise, backbone_of, batch, images, make, model_of

N = 16
CPU = torch.device("cpu")
MASKS = np.random.default_rng(0).random((9, N)) < 0.5
CLASSES = np.arange(9) % 17
SPLIT = Noise(9, mask=MASKS, label=CLASSES)
SCENE = ColorShape(
    n_colors=2,
    n_shapes=2,
    max_objects=3,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=6, validation=6, test=6),
)
ORIGIN = Origin(data="d", backbone="timm:tiny 32px", weights="w", head="h", inputs={"order": "o", "other": "x"})


@pytest.fixture(scope="module")
def model() -> VisionTransformer:
    return backbone_of(make(NETS["token"], torch.float32))


@pytest.mark.parametrize("name", ["token", "gap", "norms", "dinov3", "beit", "relpos_post_norm"])
class TestSites(SiteConformance):
    @pytest.fixture
    def backbone(self, name: str) -> VisionTransformer:
        return backbone_of(make(NETS[name], torch.float32))

    @pytest.fixture
    def images(self) -> np.ndarray:
        return images(2)


def test_all_reductions_of_a_condition_share_one_pass(model: VisionTransformer) -> None:
    seen: list[int] = []
    handle = model_of(model).patch_embed.register_forward_hook(
        lambda _module, inputs, _output: seen.append(len(inputs[0]))
    )
    view, ranks = View(Site("1"), "cls"), ClassRanks((Site("0"), Site("2")), "label")
    tables = capture(model, SPLIT, [view, ranks, view], batch_size=4)
    handle.remove()
    assert seen == [3, 3, 3]
    assert list(tables) == [view, ranks]
    assert all(table.num_rows == 9 for table in tables.values())


def test_views_are_written_as_the_store_writes_them(model: VisionTransformer) -> None:
    for view in (View(Site("1"), "cls"), View(Site("1"), "all")):
        table = capture(model, SPLIT, [view], dtype="float16")[view]
        values: Any = run_batch(model, batch(SPLIT.images(np.arange(9))), [view])[view]["activations"]
        expected = to_table({"activations": values.numpy().astype(np.float16)})
        assert table.schema == expected.schema
        assert table.column("activations").num_chunks == 1
        np.testing.assert_array_equal(Rows.of([table], "activations")[:], Rows.of([expected], "activations")[:])


def test_columns_have_the_types_they_declare(model: VisionTransformer) -> None:
    ranks, names = ClassRanks((Site("2"),), "label"), Names(Site("2", "logits"), tuple(f"w{i}" for i in range(17)))
    tables = capture(model, SPLIT, [ranks, names])
    assert tables[ranks].schema.field("2.rank").type == pa.fixed_shape_tensor(pa.uint16(), (17,))
    assert tables[ranks].schema.field("2.best").type == pa.fixed_shape_tensor(pa.uint16(), (17, 5))
    assert tables[names].schema == pa.schema(
        {
            "word": pa.string(),
            "tokens": pa.list_(pa.int32()),
            "token_logits": pa.list_(pa.float32()),
            "token_words": pa.list_(pa.string()),
        }
    )
    row = tables[names].slice(4, 1).to_pylist()[0]
    assert len(row["tokens"]) == len(row["token_logits"])
    assert row["word"].startswith("w")


def test_samples_that_keep_different_numbers_of_tokens_come_in_batches_of_one_number(
    model: VisionTransformer,
) -> None:
    """And their rows stay in the order that was asked for."""
    condition, view = Keep("mask"), View(Site("2"), "cls")
    order = np.array([5, 0, 8, 3])
    table = capture(model, SPLIT, [view], condition=condition, indices=order, batch_size=3)[view]
    for row, index in enumerate(order):
        given = batch(SPLIT.images(order[row : row + 1]), mask=MASKS[index : index + 1])
        alone: Any = run_batch(model, given, [view], condition)[view]["activations"]
        np.testing.assert_allclose(Rows.of([table], "activations")[[row]], alone, atol=1e-5)
    layout = model.description.layout
    counts = MASKS.sum(1)
    batches = list(in_batches(9, 2, condition, {"mask": MASKS}, layout))
    assert sorted(np.concatenate(batches).tolist()) == list(range(9))
    assert all(len(set(counts[places])) == 1 and len(places) <= 2 for places in batches)
    assert [len(places) for places in in_batches(9, 4, PLAIN, {}, layout)] == [3, 3, 3]


def test_labels_come_from_the_split_or_are_given(model: VisionTransformer) -> None:
    ranks = ClassRanks((Site("2"),), "label")
    own = capture(model, SPLIT, [ranks])[ranks]
    given = capture(model, SPLIT, [ranks], labels={"label": CLASSES[::-1].copy()})[ranks]
    backwards = capture(model, Noise(9, label=CLASSES[::-1].copy()), [ranks])[ranks]
    assert given.equals(backwards)
    assert not given.equals(own)
    order = np.tile(np.arange(N), (9, 1))
    kept = capture(model, SPLIT, [WholeSite(Site("0"))], condition=KeepMost(3, "order"), labels={"order": order})
    assert next(iter(kept.values())).schema.field(0).type.shape == [4, 48]

    class Bare:
        def images(self, indices: np.ndarray) -> np.ndarray:
            return SPLIT.images(indices)

        def __len__(self) -> int:
            return 9

    assert isinstance(Bare(), Images)
    with pytest.raises(ValueError, match="has no labels, 'label' is needed"):
        capture(model, Bare(), [ranks])


def test_no_samples_give_an_empty_table_of_the_same_type(model: VisionTransformer) -> None:
    view, ranks = View(Site("1"), "cls"), ClassRanks((Site("2"),), "label")
    none = capture(model, SPLIT, [view, ranks], indices=np.arange(0))
    some = capture(model, SPLIT, [view, ranks], indices=np.arange(2))
    for reduction, table in none.items():
        assert table.num_rows == 0
        assert table.schema == some[reduction].schema


def test_models_that_have_only_tokens_give_views_of_their_layers() -> None:
    control = load(BackboneConfig(source="control:oracle_objects"), SCENE, CPU)
    split = SCENE.open("test")
    view = View(Site(control.description.layers[0]), "cls")
    table = capture(control, split, [view])[view]
    np.testing.assert_array_equal(Rows.of([table], "activations")[:], split.object_codes)
    for reduction in (View(Site("0", "mlp"), "cls"), LogitGradient(Site(view.site.layer), "label")):
        with pytest.raises(BackboneError, match="has no"):
            capture(control, split, [reduction], labels={"label": np.zeros(6, int)})
    with pytest.raises(BackboneError, match="only"):
        capture(control, split, [view], condition=SelfOnly())


def test_a_shipped_model_shows_its_parts_on_a_scene() -> None:
    shipped = load(BackboneConfig(source="shipped:shapes_vit_objects"), SCENE, CPU)
    view = View(Site("-1", "attention").resolved(shipped.description), "mean_spatial")
    table = capture(shipped, SCENE.open("test"), [view, View(Site("5"), "cls")], condition=NoCls())[view]
    assert Rows.of([table], "activations").shape == (6, 128)
    tokens: Any = shipped.forward(batch_of(SCENE, range(6)))["5"]
    plain = capture(shipped, SCENE.open("test"), [View(Site("5"), "cls")])
    np.testing.assert_allclose(Rows.of(list(plain.values()), "activations")[:], tokens[:, 0], atol=1e-5)


@dataclass(frozen=True)
class Fixed:
    """Gives what it was told to."""

    column: Column
    value: tuple[Any, ...]
    sites: ClassVar = (Site("0"),)
    labels: ClassVar = ()
    needs_head: ClassVar = False
    needs_gradient: ClassVar = False

    def key(self) -> dict[str, Any]:
        return {"reduction": "fixed"}

    def columns(self, description: Any, condition: Condition) -> tuple[Column, ...]:
        return (self.column,)

    def begin(self, forward: Any) -> Any:
        return self

    def take(self, site: Site, value: Tensor) -> None:
        assert not torch.is_autocast_enabled("cpu")
        assert value.dtype == torch.float32

    def finish(self) -> dict[str, Any]:
        return {"x": self.value if isinstance(self.value[0], str) else torch.tensor(self.value)}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (Column("x", (), "float32"), (1.0, float("nan")), "nan.*not finite in float32"),
        (Column("x", (), "float16"), (1.0, 70000.0), "not finite in float16"),
        (Column("x", (), "uint16"), (1, 70000), r"1 to 7e\+04.*uint16"),
        (Column("x", (), "uint16"), (-1, 1), "-1 to 1"),
        (Column("x", (2,), "float32"), (1.0, 2.0), r"column x: \(2, 2\) was declared, \(2,\) was given"),
        (Column("x", dtype=TEXT), ("a",), "2 samples, 1 values"),
        (Column("y", (), "float32"), (1.0, 2.0), "the columns y were declared, x were given"),
    ],
)
def test_values_that_were_not_declared_are_refused(
    model: VisionTransformer, column: Column, value: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        capture(model, SPLIT, [Fixed(column, value)], indices=np.arange(2))


def test_missing_numbers_can_be_answers(model: VisionTransformer) -> None:
    reduction = Fixed(Column("x", (), "float32", may_be_missing=True), (1.0, float("nan")))
    table = capture(model, SPLIT, [reduction], indices=np.arange(2))[reduction]
    np.testing.assert_array_equal(table.column("x").to_numpy(), [1, np.nan])


def test_reducers_compute_in_full_precision_whatever_the_model_computes_in() -> None:
    net = make(NETS["token"], torch.float32)
    config = BackboneConfig(source="timm:tiny", precision="bfloat16")
    half = VisionTransformer(tower_of(net, IMAGE), config, Pixels((0.5,) * 3, (0.5,) * 3), IMAGE, CPU)
    reduction = Fixed(Column("x", (), "float32"), (1.0, 2.0))
    heads = WholeSite(Site("0", "heads"))
    tables = capture(half, SPLIT, [reduction, heads], indices=np.arange(2))
    exact = capture(backbone_of(net), SPLIT, [heads], indices=np.arange(2))[heads]
    one, two = (Rows.of([table], "activations")[:] for table in (tables[heads], exact))
    assert 1e-4 < np.abs(one - two).max() / np.abs(two).max() < 0.05


@pytest.mark.parametrize("kind", ["float32", "float16", "uint8", "uint16", "int64"])
def test_rows_of_a_builder_may_come_in_any_order(kind: str) -> None:
    builder = TableBuilder([Column("x", (2,), kind), Column("t", dtype=TEXT)], 3, "float32", CPU)
    builder.put(np.array([2, 0]), {"x": torch.tensor([[4.0, 5.0], [0.0, 1.0]]), "t": ["c", "a"]})
    builder.put(np.array([1]), {"x": torch.tensor([[2.0, 3.0]]), "t": ["b"]})
    table = builder.table()
    assert table.column("t").to_pylist() == ["a", "b", "c"]
    np.testing.assert_array_equal(Rows.of([table], "x")[:], [[0, 1], [2, 3], [4, 5]])


def wanted(reduction: Reduction, **changes: Any) -> Capture:
    return replace(
        Capture(DatasetSpec("shapes", "colorshape", SCENE), "train", BackboneConfig(source="timm:tiny"), reduction),
        **changes,
    )


def test_the_key_of_a_view_is_what_it_always_was() -> None:
    key = wanted(View(Site("11"), "cls_mean")).key(ORIGIN)
    assert key == store_key(
        kind="activations",
        backbone="timm:tiny 32px",
        weights="w",
        data="d",
        layer="11",
        mode="cls_mean",
        dtype="float16",
    )


def test_whatever_changes_the_values_changes_the_key() -> None:
    view, ranks = View(Site("11"), "cls"), ClassRanks((Site("11"),), "label")
    order = KeepMost(3, "order")
    captures = [
        (wanted(view), ORIGIN),
        (wanted(view, dtype="float32"), ORIGIN),
        (wanted(View(Site("11", "heads"), "cls")), ORIGIN),
        (wanted(View(Site("11", "heads", 3), "cls")), ORIGIN),
        (wanted(View(Site("11"), "all")), ORIGIN),
        (wanted(WholeSite(Site("11"))), ORIGIN),
        (wanted(ranks), ORIGIN),
        (wanted(ranks), ORIGIN._replace(head="other")),
        (wanted(WholeSite(Site("11", "logits"))), ORIGIN),
        (wanted(WholeSite(Site("11", "logits"))), ORIGIN._replace(head="other")),
        (wanted(view, condition=NoCls()), ORIGIN),
        (wanted(view, condition=NoCls(renormalise=True)), ORIGIN),
        (wanted(view, condition=order), ORIGIN),
        (wanted(view, condition=order), ORIGIN._replace(inputs={"order": "another"})),
        (wanted(view), ORIGIN._replace(data="another")),
        (wanted(view), ORIGIN._replace(weights="another")),
        (wanted(view), ORIGIN._replace(backbone="another")),
    ]
    assert len({capture.key(origin) for capture, origin in captures}) == len(captures)
    assert len({capture for capture, _ in captures}) == len(captures) - 6  # frozen values: origins are not a part


def test_what_does_not_change_the_values_leaves_the_key() -> None:
    view = wanted(View(Site("11"), "cls"))
    assert view.key(ORIGIN._replace(head="other", inputs={})) == view.key(ORIGIN)
    assert json.dumps(view.content(ORIGIN))
    assert not view.needs_head
    assert wanted(ClassRanks((Site("1"),), "label")).needs_head


def test_a_reduction_cannot_take_names_of_the_key() -> None:
    class Thief(Fixed):
        def key(self) -> dict[str, Any]:
            return {"weights": "mine"}

    with pytest.raises(ValueError, match="the key of Thief must not use weights"):
        wanted(Thief(Column("x"), (1.0,))).key(ORIGIN)
