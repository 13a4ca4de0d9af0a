"""Tiny random vision transformers of every kind of block, all of whose parameters matter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from frozen.capture.conditions import PLAIN, Condition
from frozen.capture.forward import run_batch
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.models import BackboneConfig, Batch, Pixels, VisionTransformer
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators

declare_missing_operators()
from timm.layers import Attention, GluMlp  # noqa: E402
from timm.models import beit, deit, eva, vision_transformer, vision_transformer_relpos  # noqa: E402

N_CLASSES, DEPTH, WIDTH, HEADS, SIDE = 17, 3, 48, 3, 4
IMAGE = 32
EXACT = {"rtol": 0, "atol": 1e-12}
"""In double precision, for numbers of order one to a hundred that went through the whole net."""
_VIT = {"img_size": IMAGE, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
_VIT = {**_VIT, "num_classes": N_CLASSES}
_V = vision_transformer


class GatedAttention(Attention):
    """Attention whose output passes a gate before the projection, as in GenLIP."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, gated=True, **kwargs)


class Net(NamedTuple):
    """A class of timm and its settings."""

    cls: Any
    settings: Mapping[str, Any] = MappingProxyType({})


NETS = {
    "token": Net(_V.VisionTransformer),
    "avg": Net(_V.VisionTransformer, {"global_pool": "avg", "fc_norm": False}),
    "avg_fc_norm": Net(_V.VisionTransformer, {"global_pool": "avg"}),
    "gap": Net(
        _V.VisionTransformer,
        {
            "class_token": False,
            "global_pool": "avg",
            "block_fn": _V.ResPostBlock,
            "qkv_bias": False,
            "init_values": 1e-5,
        },
    ),
    "deit3": Net(_V.VisionTransformer, {"no_embed_class": True, "init_values": 1e-6}),
    "registers": Net(_V.VisionTransformer, {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5}),
    "clip": Net(_V.VisionTransformer, {"pre_norm": True, "norm_layer": torch.nn.LayerNorm}),
    "miil": Net(_V.VisionTransformer, {"qkv_bias": False}),
    "norms": Net(
        _V.VisionTransformer, {"qk_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True, "init_values": 1e-5}
    ),
    "swiglu": Net(_V.VisionTransformer, {"mlp_layer": GluMlp, "init_values": 1e-5, "reg_tokens": 1}),
    "diff": Net(_V.VisionTransformer, {"attn_layer": "diff", "num_heads": 3}),
    "gated": Net(_V.VisionTransformer, {"attn_layer": GatedAttention}),
    "distilled": Net(deit.VisionTransformerDistilled),
    "eva": Net(eva.Eva, {"global_pool": "token", "init_values": 1e-5}),
    "eva02": Net(
        eva.Eva,
        {
            "use_rot_pos_emb": True,
            "swiglu_mlp": True,
            "scale_mlp": True,
            "qkv_fused": False,
            "ref_feat_shape": (SIDE, SIDE),
            "global_pool": "avg",
        },
    ),
    "dinov3": Net(
        eva.Eva,
        {
            "use_rot_pos_emb": True,
            "use_abs_pos_emb": False,
            "rope_type": "dinov3",
            "num_reg_tokens": 4,
            "init_values": 1e-5,
            "rope_rotate_half": True,
            "global_pool": "token",
            "attn_type": "rope",
        },
    ),
    "rope_mixed": Net(
        eva.Eva,
        {"use_rot_pos_emb": True, "rope_type": "mixed", "ref_feat_shape": (SIDE, SIDE), "global_pool": "token"},
    ),
    "eva_post_norm": Net(eva.Eva, {"use_post_norm": True, "global_pool": "token"}),
    "beit": Net(beit.Beit, {"use_rel_pos_bias": True, "init_values": 0.1, "global_pool": "avg"}),
    "beit_shared": Net(
        beit.Beit,
        {"use_shared_rel_pos_bias": True, "use_abs_pos_emb": True, "swiglu_mlp": True, "global_pool": "token"},
    ),
    "beit_absolute": Net(beit.Beit, {"use_abs_pos_emb": True, "init_values": 0.1, "global_pool": "token"}),
    "relpos": Net(
        vision_transformer_relpos.VisionTransformerRelPos,
        {"class_token": True, "global_pool": "token", "init_values": 1e-5, "rel_pos_type": "bias"},
    ),
    "relpos_post_norm": Net(
        vision_transformer_relpos.VisionTransformerRelPos,
        {"block_fn": vision_transformer_relpos.ResPostRelPosBlock, "rel_pos_type": "mlp"},
    ),
}
PARALLEL = {
    "ParallelScalingBlock": Net(_V.VisionTransformer, {"block_fn": _V.ParallelScalingBlock}),
    "ParallelThingsBlock": Net(_V.VisionTransformer, {"block_fn": _V.ParallelThingsBlock}),
}
ROTARY = ("eva02", "dinov3", "rope_mixed")
BIASED = ("beit", "beit_shared", "relpos", "relpos_post_norm")
UNBIASED = tuple(name for name in NETS if name not in BIASED)


def make(net: Net, dtype: torch.dtype = torch.float64) -> Any:
    """The model, every parameter jittered, so that biases, gains and layer scales all show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = net.cls(**{**_VIT, **net.settings}).eval().requires_grad_(requires_grad=False)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype)


def backbone_of(model: Any, *, compile_blocks: bool = False) -> VisionTransformer:
    """The model behind the project's interface, in the precision it has."""
    tower = tower_of(model, IMAGE)
    dtype = next(model.parameters()).dtype
    tower = tower._replace(run=lambda pixels: model.forward_features(pixels.to(dtype)))
    config = BackboneConfig(source="timm:tiny", compile=compile_blocks)
    return VisionTransformer(tower, config, Pixels((0.5,) * 3, (0.5,) * 3), IMAGE, torch.device("cpu"))


@cache
def backbone(name: str) -> VisionTransformer:
    """One of the nets, in double precision."""
    return backbone_of(make(NETS[name]))


def model_of(model: VisionTransformer) -> Any:
    """The library's model."""
    return model._tower.model


def images(n_samples: int = 3, seed: int = 0) -> np.ndarray:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 256, (n_samples, IMAGE, IMAGE, 3), dtype=np.uint8)


def batch(pictures: np.ndarray | None = None, **labels: np.ndarray) -> Batch:
    """A batch without codes."""
    pictures = images() if pictures is None else pictures
    none = np.zeros((len(pictures), 0), np.uint8)
    return Batch(np.arange(len(pictures)), pictures, none, none, 0, labels)


def pixels(pictures: np.ndarray) -> Tensor:
    """What the nets are given, in double precision; from single precision, as the interface computes it."""
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return ((values - 127.5) / 127.5).double()


class Noise:
    """A split of noise with labels."""

    def __init__(self, n_samples: int, **labels: np.ndarray) -> None:
        self._images, self._labels = images(n_samples), labels

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self._images[indices]

    def labels(self, name: str, indices: np.ndarray) -> np.ndarray:
        return self._labels[name][indices]

    def __len__(self) -> int:
        return len(self._images)


def read(
    model: VisionTransformer, given: Batch, *names: str | int, condition: Condition = PLAIN
) -> dict[str | int, Tensor]:
    """All of some sites, by the names they were asked by."""
    sites = {name: Site.parse(name).resolved(model.description) for name in names}
    found = run_batch(model, given, [WholeSite(site) for site in sites.values()], condition)
    return {name: found[WholeSite(site)]["activations"] for name, site in sites.items()}  # pyright: ignore
