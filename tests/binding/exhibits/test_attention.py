"""Attention over patches: the right cell, the right head at the right patch, a note where weights are missing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from binding.exhibits._attention import attention_maps, best_cells, draw_attention, shown, spatial_attention
from binding.fit import Fitted
from binding.probe_file import ProbeFile, ProbeFileError
from binding.probes import AttentionQuadratic, HeadShape
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models import BackboneConfig, load

SIZES = SplitPolicy(train=4, validation=4, test=40)
SCENE = ColorShape(n_colors=2, n_shapes=2, max_objects=3, image_size=64, object_size=12, split=SIZES)
CONFIG = BackboneConfig(source="shipped:shapes_vit_objects")
DIM = 128
ROW = {
    "status": "done",
    "is_control": False,
    "dataset": "shapes",
    "backbone": "small",
    "probe": "attention_quadratic",
    "layer": "2",
    "cell_id": "a",
    "object_information_ratio": 0.5,
}


def probe_file(dim: int, *, digest: str = "") -> ProbeFile:
    probe, shape = AttentionQuadratic(rank=2), HeadShape(dim, SCENE.space.n_objects, group_sizes=SCENE.space.sizes)
    parameters = probe.initial(shape, torch.Generator().manual_seed(0))
    return ProbeFile(
        space=SCENE.space,
        backbone=CONFIG,
        layer="2",
        mode="all",
        dtype="float16",
        standardizer=None,
        targets={"objects": [Fitted(probe, shape, parameters)]},
        about={"weights_digest": digest},
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    digest = load(CONFIG, SCENE, torch.device("cpu")).weights_digest
    content = probe_file(DIM, digest=digest).to_bytes(10**7)
    assert content is not None
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "a.safetensors").write_bytes(content)
    return tmp_path


def test_only_the_best_cell_with_kept_probes_is_drawn(results: Path) -> None:
    (results / "probes" / "b.safetensors").write_bytes(b"")
    rows = [
        ROW,
        {**ROW, "cell_id": "b", "object_information_ratio": 0.7},
        {**ROW, "cell_id": "not kept", "object_information_ratio": 0.9},
        {**ROW, "cell_id": "b", "probe": "linear", "object_information_ratio": 1.0},
        {**ROW, "cell_id": "b", "status": "failed"},
        {**ROW, "cell_id": "a", "backbone": "other"},
    ]
    assert [row["cell_id"] for row in best_cells(results, rows, {"shapes": SCENE})] == ["b", "a"]
    assert best_cells(results, rows, {}) == []


def test_a_map_beside_each_image_for_each_of_its_objects(results: Path) -> None:
    (exhibit,) = attention_maps(results, [ROW], {"shapes": SCENE})
    figure = exhibit.draw()
    assert isinstance(figure, Figure)
    codes = SCENE.open("test").object_codes
    expected = []
    for code in codes[shown(codes)]:
        expected += ["test image", *(SCENE.space.object_names[head] for head in np.flatnonzero(code))]
    assert [axes.texts[0].get_text().splitlines()[0] for axes in figure.axes] == expected
    figure.savefig(io.BytesIO(), format="png")


def test_each_head_peaks_at_the_patch_its_query_matches() -> None:
    file = probe_file(8)
    fitted = file.targets["objects"][0]
    assert fitted.parameters is not None
    heads = torch.arange(4)
    query = torch.nn.functional.one_hot(heads, 8).float() * 50
    zeroed = {"query_base": query, "query_code": fitted.parameters["query_code"] * 0, "query_weight": torch.eye(8)}
    file = replace(file, targets={"objects": [replace(fitted, parameters={**fitted.parameters, **zeroed})]})
    z = torch.zeros(1, 1 + 6, 8)
    z[0, 1 + torch.tensor([5, 0, 2, 4]), heads] = 1
    found = spatial_attention(file, z, np.array([[1, 0, 1, 1]], dtype=np.uint8), (2, 3))
    peaks = [np.unravel_index(found[0, head].argmax(), (2, 3)) for head in range(4)]
    assert peaks == [(1, 2), (0, 0), (0, 2), (1, 1)]
    assert np.allclose(found.sum(axis=(2, 3)), 1, atol=1e-5)


def test_untrained_probes_and_other_weights_are_said(results: Path) -> None:
    file = probe_file(8)
    untrained = replace(file, targets={"objects": [replace(file.targets["objects"][0], parameters=None)]})
    with pytest.raises(ProbeFileError, match="no trained attention"):
        spatial_attention(untrained, torch.zeros(1, 7, 8), np.ones((1, 4), dtype=np.uint8), (2, 3))
    other = probe_file(DIM, digest="other").to_bytes(10**7)
    assert other is not None
    path = results / "probes" / "other.safetensors"
    path.write_bytes(other)
    with pytest.raises(ProbeFileError, match="not those that the probes were tuned on"):
        draw_attention(path, SCENE)
