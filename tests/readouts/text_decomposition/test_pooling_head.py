"""Models whose tokens an attention pools: its heads, tokens, bias and MLP sum to the model's own embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture.capture import capture
from frozen.capture.conditions import PLAIN, SelfOnly
from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.models import BackboneConfig, BackboneError, PoolingHead, load
from frozen.models._pooling import timm_pooling_head, transformers_pooling_head
from frozen.readout.cells import Cell, Mistake
from frozen.testing._readouts import measured
from readouts.text_decomposition.lens import SPLITS, Lens, Stored, pack, unpack
from readouts.text_decomposition.pooling_head import PooledTerms
from readouts.text_decomposition.readout import TextDecomposition
from readouts.text_decomposition.removal import members
from sweep.study.load import load_study
from tests.readouts.text_decomposition.towers import HEADS, POOLED, decomposed, joint, scenes, tower


def error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def own(kind: str) -> Tensor:
    """The model's own embeddings of the scenes in the joint space, of length 1."""
    model, space = tower(kind), joint()
    tokens = model.trunk.run(scenes().images(np.arange(12)))
    found = model.trunk.pool(tokens) @ torch.from_numpy(space.project).T + torch.from_numpy(space.bias)  # pyright: ignore
    return found / found.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("kind", POOLED)
@pytest.mark.parametrize("split", SPLITS)
def test_terms_sum_to_the_models_own_embedding(kind: str, split: Any) -> None:
    lens, stored, _ = decomposed(kind)
    assert [str(term) for term in lens.terms] == [*(f"head {head}" for head in range(HEADS)), "init", "mlp"]
    assert error(lens.all_terms(stored, split).sum(1), own(kind)) < 1e-5
    assert error(lens.embeddings(stored), own(kind)) < 1e-5
    half, rounded, _ = decomposed(kind, "float16")
    assert error(half.all_terms(rounded, split).sum(1), own(kind)) < 1e-5, "they are kept in single precision"


@pytest.mark.parametrize("dropped", [0, 1])
def test_without_its_bias_or_its_mlp_it_is_another(dropped: int) -> None:
    lens, stored, _ = decomposed("siglip")
    stored.mlps[:, dropped] = 0
    assert error(lens.all_terms(stored).sum(1), own("siglip")) > 1e-2


def test_the_bias_is_one_constant() -> None:
    lens, stored, _ = decomposed("siglip")
    pool = tower("siglip").trunk.ending
    assert isinstance(pool, PoolingHead)
    assert torch.equal(stored.mlps[:, 0], pool.output.bias.expand(12, -1))
    of_bias = lens.of_mlps(stored)[:, 0] * stored.norm(lens)[:, None]
    assert error(of_bias, of_bias[:1].expand(12, -1)) < 1e-5


@pytest.mark.parametrize("kind", POOLED)
def test_tokens_sum_to_the_heads(kind: str) -> None:
    lens, stored, columns = decomposed(kind)
    by_token = lens.of_tokens(stored, torch.tensor(columns["token_map"]))
    heads = lens.of_heads(stored)[:, 0]
    assert error(by_token.sum(1), heads.sum(1)) < 1e-5
    for position, head in enumerate((1, 3)):
        outputs = torch.tensor(columns["token_heads"][:, position])
        one = lens.of_head_tokens(stored, outputs, 0, head)
        assert error(one.sum(1), heads[:, head]) < 1e-5
        assert error(one.sum(1), heads[:, 0]) > 0.1, "another head"
    if kind == "skips_registers":
        assert not columns["token_map"][:, :2].any(), "they are not read"
        assert not stored.from_first.any()
    elif kind.startswith("reads"):
        assert error(lens.from_first(stored)[:, 0], by_token[:, 0]) < 1e-5


def test_one_head_by_hand() -> None:
    """Head 2 with the module's own weights: softmax over tokens of query · keys, values, projection."""
    lens, stored, _ = decomposed("siglip")
    model: Any = tower("siglip")
    pool, tokens = model._tower.model.attn_pool, model.trunk.run(scenes().images(np.arange(12)))
    dim = pool.head_dim
    rows = slice(2 * dim, 3 * dim)
    keys, values = (part[..., rows] for part in pool.kv(tokens).chunk(2, dim=-1))
    weights = (keys @ pool.q(pool.latent)[0, 0, rows] / dim**0.5).softmax(-1)
    wrote = torch.einsum("bn,bnd->bd", weights, values) @ pool.proj.weight[:, rows].T
    space = joint()
    shared = torch.from_numpy(space.bias) / (3 * HEADS)
    by_hand = (wrote @ torch.from_numpy(space.project).T + shared) / stored.norm(lens)[:, None]
    assert error(lens.of_heads(stored)[:, 0, 2], by_hand) < 1e-5


def test_weights_come_back_from_a_file_and_terms_have_names() -> None:
    lens, stored, _ = decomposed("siglip")
    arrays = pack(lens.arrays())
    again = Lens.from_arrays(unpack(arrays))
    for split in SPLITS:
        assert torch.equal(again.all_terms(stored, split), lens.all_terms(stored, split))
    assert members("final", lens) == [0, 1, 2, 3]
    assert (members("final.2", lens), members("init", lens), members("mlp.final", lens)) == ([2], [4], [5])
    with pytest.raises(ValueError, match=r"no term 0\.1"):
        members("0.1", lens)
    plain = {name: value for name, value in decomposed("clip")[0].arrays().items() if name != "is_pooling"}
    assert not Lens.from_arrays(plain).is_pooling, "as older files have it"


def test_other_pooling_is_refused() -> None:
    assert timm_pooling_head(torch.nn.Identity(), 0) is None
    assert transformers_pooling_head(torch.nn.Identity()) is None
    model = tower("clip")
    with pytest.raises(ValueError, match="no attention pools its tokens"):
        PooledTerms().columns(model.description, PLAIN)
    with pytest.raises(ValueError, match="unchanged pass"):
        PooledTerms().columns(tower("siglip").description, SelfOnly())


def test_steps_that_are_not_known_are_seen() -> None:
    model: Any = tower("siglip")
    pool = model.trunk.ending
    model.trunk = model.trunk._replace(ending=pool._replace(added=lambda x: torch.zeros_like(x)))
    with pytest.raises(BackboneError, match="does not sum to the embedding"):
        capture(model, scenes(), [PooledTerms()])


STUDY = """\
name: pooled
readout: text_decomposition
datasets:
  - {{name: twins, scene: twinshapes, split: {{train: 2, validation: 60, test: 40}}}}
backbones: [{{source: "timm:test_vit3.r160_in1k", weights: {weights}}}]
joint: {{clip: "shipped:shapes_clip_objects"}}
sets: {{"two heads": ["final.0", "final.2"], "its mlp": ["mlp.final"]}}
textspan: {{texts: 2, rotations: 2}}
heatmap: {{heads: ["final.1"]}}
intervals: {{resamples: 100}}
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of timm's smallest ViT that an attention pools, with registers and layer scale, untrained."""
    scene = FewShapes(split=SplitPolicy(train=2, validation=2, test=2))
    model: Any = load(BackboneConfig(source="random:test_vit3"), scene, torch.device("cpu"))
    path = tmp_path_factory.mktemp("weights") / "pooled.pt"
    torch.save(model._tower.model.state_dict(), path)
    return path


def made(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return list(TextDecomposition().cells(load_study(path)))


def test_a_study_asks_everything_of_the_heads_that_pool(tmp_path: Path, weights: Path) -> None:
    cells = [one for one in made(tmp_path, STUDY.format(weights=weights)) if isinstance(one, Cell)]
    asked = {(cell.column("analysis"), cell.column("layer"), cell.column("term")) for cell in cells}
    assert {layer for _, layer, _ in asked} == {"final"}
    for analysis in ("heads", "textspan", "forced_choice", "neighbours"):
        assert {(analysis, "final", f"head {head}") for head in range(3)} <= asked
    assert ("forced_choice", "final", "bias") in asked
    assert ("heads", "final", "bias") not in asked, "it is the same for all images"
    assert ("ablation", "final", "cls attention") not in asked
    assert len({cell.cell_id for cell in cells}) == len(cells)


def test_a_study_measures_it(tmp_path: Path, weights: Path) -> None:
    cells = [one for one in made(tmp_path, STUDY.format(weights=weights)) if isinstance(one, Cell)]
    found = measured(TextDecomposition(), cells)
    rows = {(cell.column("analysis"), cell.column("term")): outcome.row for cell, outcome in found}
    assert len(rows) == len(cells)
    whole: Any = rows["decomposition", "mapped embedding"]
    assert whole["sum_error"] < 1e-3
    assert whole["sum_error_own_mean"] < 1e-3
    assert whole["n_terms"] == 3 + 2
    margins = [
        rows["forced_choice", term]["margin_share_ratio"] for term in ("head 0", "head 1", "head 2", "bias", "mlp")
    ]
    assert sum(margins) == pytest.approx(1, abs=1e-3)  # pyright: ignore
    assert rows["ablation", "two heads"]["n_terms"] == 2
    assert rows["heatmap", "head 1: text - mean"]["pointing_percent"] is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("final.1", "8.1", "8.1: an attention pools its tokens, whose heads are final.0 to final.2"),
        ("final.0", "final.3", "final.3: its heads are numbered 0 to 2"),
        ("mlp.final", "mlp.2", "mlp.2: an attention pools its tokens"),
    ],
)
def test_heads_that_it_does_not_have_are_told(
    tmp_path: Path, weights: Path, old: str, new: str, message: str
) -> None:
    found = made(tmp_path, STUDY.format(weights=weights).replace(old, new))
    [mistake] = [one for one in found if isinstance(one, Mistake)]
    assert message in mistake.message


def test_of_other_models_final_has_no_heads(tmp_path: Path) -> None:
    text = STUDY.format(weights="x").replace(
        '{source: "timm:test_vit3.r160_in1k", weights: x}', '"shipped:shapes_clip_objects"'
    )
    [mistake] = [one for one in made(tmp_path, text) if isinstance(one, Mistake)]
    assert "no attention pools its tokens; write the number of a block" in mistake.message


def test_stored_of_a_capture_has_one_layer() -> None:
    _, stored, _ = decomposed("siglip")
    assert isinstance(stored, Stored)
    assert stored.heads.shape == (12, 1, HEADS, 8)
