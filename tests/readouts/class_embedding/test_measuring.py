"""Rows from captures whose answers are known."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from frozen.capture.capture import capture
from frozen.models import load
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from readouts.class_embedding.cells import cells
from readouts.class_embedding.deletion import Deletion
from readouts.class_embedding.measured import array_bytes, array_of
from readouts.class_embedding.measuring import measure_cells
from readouts.class_embedding.patches import class_shares
from sweep.study.load import load_study
from tests.readouts.class_embedding.nets import columns_of

STUDY = str(Path(__file__).parents[3] / "search_spaces" / "class_embedding.yaml")
CPU = torch.device("cpu")
N, C, TOKENS = 60, 16, 65


def cells_of(*overrides: str, limit: int | None = None) -> dict[tuple[str, ...], Cell]:
    study = load_study(STUDY, ["controls=[]", "intervals.resamples=100", "permutations=20", *overrides], limit=limit)
    return {cell.names: cell for cell in cells(study) if isinstance(cell, Cell)}


def inputs(products: dict[str, bytes] | None = None, **columns: dict[str, np.ndarray]) -> Inputs:
    return Inputs({}, columns, products or {})  # pyright: ignore[reportArgumentType]


def row_of(cell: Cell, given: Inputs) -> dict[str, Any]:
    ((_, outcome),) = measure_cells({cell: given}, CPU)
    return dict(outcome.row)


def ranks(seed: int = 0, n_tokens: int = TOKENS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "ranks": rng.integers(0, 2 * C - 1, (N, n_tokens)).astype(np.uint16),
        "logits": rng.normal(size=(N, n_tokens)).astype(np.float32),
        "best": rng.integers(0, C, (N, n_tokens, 5)).astype(np.uint16),
    }


def test_every_position_has_a_probe_of_its_own() -> None:
    """The class is written at one position of 64: that one's probe finds it, the others are at chance."""
    cell = cells_of("probe_positions=all", "deletion=[probe]")["probe", "5", "image"]
    rng = np.random.default_rng(0)
    classes = np.arange(320) % C
    x = rng.normal(size=(320, TOKENS, 24)).astype(np.float32)
    x[:, 1 + 3, :C] += 20 * np.eye(C)[classes]
    labels = {"class": classes.astype(np.int64)}
    given = inputs(
        train={"activations": x[:240]},
        test={"activations": x[240:]},
        train_labels={"class": labels["class"][:240]},
        test_labels={"class": labels["class"][240:]},
    )
    ((_, outcome),) = measure_cells({cell: given}, CPU)
    found = array_of(outcome.products["ranks"])
    assert found.shape == (80, 64)
    assert (found[:, 3] == 0).all()
    others = np.delete(found, 3, axis=1) == 0
    assert abs(others.mean() - 1 / C) < 4 * np.sqrt(1 / C * (1 - 1 / C) / others.size) + 0.02
    assert outcome.row["rate_percent"] == pytest.approx(100 * (found == 0).mean())
    mean = cells_of("probe_positions=mean")["probe", "5", "image"]
    assert mean.gives == ()
    assert mean.cell_id != cell.cell_id


def test_the_order_of_probes_needs_all_of_them() -> None:
    by_probe = cells_of("probe_positions=all", "deletion=[probe]")["keep_most_relevant", "logits", "probe"]
    givers = {cells_of("probe_positions=all", "deletion=[probe]")["probe", str(n), "image"].cell_id for n in range(6)}
    assert {need.giver for name, need in by_probe.needs if name.startswith("probe_")} == givers  # pyright: ignore
    assert ("keep_most_relevant", "logits", "probe") not in cells_of("deletion=[probe]")


def test_tokens_go_in_the_order_of_their_probes() -> None:
    """Ranks that are best where the target is: that much of a real model's accuracy is left as under the oracle."""
    overrides = ("probe_positions=all", "deletion=[probe, mask]", "deletion_steps=2")
    cell = cells_of(*overrides, limit=24)["keep_most_relevant", "logits", "probe"]
    split = cell.dataset.config.open("test")  # pyright: ignore
    n = len(split)
    shares = class_shares(split.class_masks(np.arange(n)), (8, 8))
    products = {f"probe_{block}": array_bytes((10 - 10 * shares).astype(np.float32)) for block in range(6)}
    labels = {"class": np.asarray(split.classes, dtype=np.int64)}
    patches = {"share": shares, "corner": np.zeros((n, 64), np.uint8)}
    ((_, outcome),) = measure_cells({cell: inputs(products, labels=labels, patches=patches)}, CPU)
    assert outcome.row["pointing_percent"] == 100
    curve = pq.read_table(BytesIO(outcome.files["deletion.parquet"])).to_pydict()
    assert curve["kept"] == [0, 32, 64]
    assert curve["accuracy"][2] > 90
    oracle = Deletion(6, (0, 32, 64), ("mask",))
    model = load(cell.backbone, cell.dataset.config, CPU, head=True)
    true = columns_of(capture(model, split, [oracle])[oracle])["correct"][:, 0, 0].mean(0)
    assert curve["accuracy"] == pytest.approx(100 * true)


@pytest.mark.parametrize("skip", [True, False])
def test_the_first_token_of_a_model_without_cls_is_left_out_of_rates_alone(skip: bool) -> None:
    overrides = ["backbones=[random:vit_base_patch16_rpn_224]", "memories=false", "probe=false", "deletion=[]"]
    overrides += ["attribution=false", "parts=[residual]", "conditions=[]"]
    known = cells_of(*overrides, f"skip_first={str(skip).lower()}")
    cell = known["projection", "5", "image"]
    assert (cell.cell_id == cells_of(*overrides)["projection", "5", "image"].cell_id) == (not skip)
    here = ranks(n_tokens=196)
    here["ranks"][:, 0], here["ranks"][:, 1:] = 0, 4
    before = ranks(n_tokens=196)
    before["logits"] = here["logits"] - 1.0
    before["logits"][:, 0] += 2.0
    patches = {"share": np.zeros((N, 196), np.float32), "corner": np.zeros((N, 196), np.uint8)}
    patches["share"][:, 7:30] = 1.0
    row = row_of(cell, inputs(here=here, before=before, patches=patches))
    assert row["rate_percent"] == pytest.approx(0 if skip else 100 / 196)
    assert row["images_percent"] == (0 if skip else 100)
    assert row["rise_percent"] == pytest.approx(100 if skip else 100 * 195 / 196)
    assert row["identifiability"] == pytest.approx(((1 - 0) + 195 * (1 - 4 / 2000)) / 196)


def test_a_run_that_is_stopped_between_cells_gives_the_same_rows() -> None:
    known = cells_of()
    wanted = [
        known["projection", layer, token]
        for layer in ("embed", "logits")
        for token in ("cls", "all", "image")
        if ("projection", layer, token) in known
    ]
    patches = {"share": np.zeros((N, 64), np.float32), "corner": np.zeros((N, 64), np.uint8)}
    patches["share"][:, 5:20] = 1.0
    given = {
        cell: inputs(here=ranks(n_tokens=1 if cell.names[1] == "logits" else TOKENS), patches=patches)
        for cell in wanted
    }
    at_once = {cell.names: json.dumps(dict(one.row)) for cell, one in measure_cells(given, CPU)}
    apart = {cell.names: json.dumps(row_of(cell, one)) for cell, one in reversed(given.items())}
    assert at_once == apart
    assert len(set(at_once.values())) == len(wanted)


def test_the_order_of_images_changes_no_estimate() -> None:
    cell = cells_of()["projection", "embed", "cls"]
    here, order = ranks(), np.random.default_rng(3).permutation(N)
    one = row_of(cell, inputs(here=here))
    other = row_of(cell, inputs(here={name: values[order] for name, values in here.items()}))
    for column in ("identifiability", "rate_percent", "images_percent"):
        assert one[column] == pytest.approx(other[column], abs=1e-12)


def test_a_memory_lists_the_classes_it_favours_and_fires_in_their_images() -> None:
    cell = cells_of("inspect=[5.mlp.3, 5.mlp.7]")["memory", "5.mlp", "memory 7"]
    classes = np.arange(N) % C
    favour = np.random.default_rng(0).normal(size=(C, 2)).astype(np.float32)
    favour[11, 1], favour[2, 1] = 9, 8
    peak = np.random.default_rng(1).random((N, 2)).astype(np.float32)
    peak[[27, 43], 1] = 7, 6
    fires = np.zeros((N, 2), np.uint8)
    fires[classes == 11, 1] = 1
    fires[:, 0] = 1
    place = np.full((N, 2), 9, np.uint16)
    here = {"peak": peak, "place": place, "fires": fires, "favour": favour[classes]}
    row = row_of(cell, inputs(here=here, labels={"class": classes.astype(np.int64)}))
    assert row["favoured"].split(", ")[:2] == ["11", "2"]
    assert row["images"].split(", ")[:2] == ["27", "43"]
    assert (row["fires_percent"], row["fires_else_percent"]) == (100, 0)
