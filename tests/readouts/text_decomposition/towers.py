"""Small random ViTs of every kind that is decomposed, with all biases and gains random, behind one interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from frozen.capture.capture import capture
from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.models import BackboneConfig, Pixels, VisionTransformer
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models.joint import JointSpace
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.lens import Lens, Stored
from readouts.text_decomposition.pooling_head import PooledTerms

KINDS: dict[str, dict[str, Any]] = {
    "clip": {"pre_norm": True, "global_pool": "token"},
    "registers_scale_qk_norm": {"reg_tokens": 2, "init_values": 0.3, "qk_norm": True, "global_pool": "token"},
    "avg_fc_norm": {"global_pool": "avg", "fc_norm": True},
    "avg_norm_first": {"global_pool": "avg", "fc_norm": False},
    "no_class_token": {"class_token": False, "global_pool": "avg"},
    "no_biases": {"qkv_bias": False, "proj_bias": False, "global_pool": "token"},
}
POOLED: dict[str, dict[str, Any]] = {
    "siglip": {"class_token": False},
    "reads_registers": {"class_token": False, "reg_tokens": 2, "pool_include_prefix": True},
    "skips_registers": {"class_token": False, "reg_tokens": 2},
    "reads_cls": {"pool_include_prefix": True, "init_values": 0.3},
    "qk_norm": {"class_token": False, "qk_norm": True},
}
"""Kinds whose tokens an attention pools; of the last one, that attention has norms of queries and keys too."""
DEPTH, HEADS, WIDTH, JOINT = 3, 4, 32, 20


def tower(kind: str, seed: int = 0) -> VisionTransformer:
    """One of the kinds."""
    declare_missing_operators()
    from timm.layers import AttentionPoolLatent
    from timm.models.vision_transformer import VisionTransformer as Model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
        options = KINDS[kind] if kind in KINDS else {"global_pool": "map", **POOLED[kind]}
        model: Any = Model(**shape, num_classes=0, **options)
        if kind == "qk_norm":
            model.attn_pool = AttentionPoolLatent(WIDTH, num_heads=HEADS, qk_norm=True, norm_layer=nn.LayerNorm)
        for parameter in model.parameters():
            parameter.data *= 6 if parameter.ndim == 2 else 1  # else attention would be all but even
            parameter.data += 0.3 * torch.randn(parameter.shape) * (parameter.ndim == 1)
    config = BackboneConfig(source="random:vit_tiny_patch16_224")
    return VisionTransformer(tower_of(model, 32), config, Pixels((0.5,) * 3, (0.5,) * 3), 32, torch.device("cpu"))


def joint(seed: int = 0) -> JointSpace:
    """A random projection with a bias, and no texts."""
    rng = np.random.default_rng(seed)
    project = rng.standard_normal((JOINT, WIDTH)).astype(np.float32)
    bias = 0.1 * rng.standard_normal(JOINT).astype(np.float32)
    return JointSpace(project, bias, lambda texts: np.zeros((len(texts), JOINT), np.float32), 1.0)


def scenes(n: int = 12) -> Any:
    """Some images."""
    return FewShapes(image_size=32, object_size=8, split=SplitPolicy(train=2, validation=2, test=n)).open("test")


def columns(table: pa.Table) -> dict[str, np.ndarray]:
    """A table's columns as arrays."""
    found = {}
    for name in table.column_names:
        chunk: Any = table.column(name).chunk(0)
        found[name] = chunk.to_numpy_ndarray() if hasattr(chunk, "to_numpy_ndarray") else chunk.to_numpy()
    return found


def captured(model: VisionTransformer, *, dtype: str = "float32", n: int = 12) -> dict[str, np.ndarray]:
    """What is kept of some images."""
    is_pooled = bool(model.description.pooling_heads)
    reduction = (
        PooledTerms(tokens=True, token_heads=(1, model.description.pooling_heads[0] - 1))
        if is_pooled
        else ImageTerms(DEPTH, tokens=True)
    )
    [table] = capture(model, scenes(n), [reduction], dtype=dtype).values()
    return columns(table)


def decomposed(kind: str, dtype: str = "float32") -> tuple[Lens, Stored, dict[str, np.ndarray]]:
    """Lens and stored terms of a random tower."""
    model = tower(kind)
    found = captured(model, dtype=dtype)
    return Lens.of(model, joint()), Stored.of(found), found
