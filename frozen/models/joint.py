"""The joint space of images and texts, and the linear maps that lead to it from the heads of a trunk.

space = open_joint(BackboneConfig(source="shipped:shapes_clip_objects"))
vectors = space.encode(["a red square", "a blue circle"])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn
from torch.nn.functional import linear, normalize

from frozen.models._base import BackboneError
from frozen.models._config import BackboneConfig
from frozen.models._trunk import Trunk

CLIPS = ("shapes_clip_objects", "shapes_clip_features")
"""Shipped models with a joint space into which the CLS token is projected."""
_SCALES = {"ls1": "gamma", "layer_scale1": "lambda1"}
"""Layer scale of the attention sublayer, by the name of its module."""


@dataclass(frozen=True)
class JointSpace:
    """Where vectors of images and of texts meet.

    Attributes:
        project: float32 [joint width], from the image's embedding.
        bias: float32 [joint], added to it.
        encode: texts to float32 [texts joint], not normalised; equal texts have equal vectors to the last bit.
        scale: factor of the cosine in a score.
        grammar: of the captions that the text tower was trained on; empty where it reads English.
        offset: what a score has beside the scaled cosine.
        reads: whether a text can be read; False for words outside a closed vocabulary.
    """

    project: Float32[np.ndarray, "joint width"]
    bias: Float32[np.ndarray, " joint"]
    encode: Callable[[Sequence[str]], Float32[np.ndarray, "texts joint"]]
    scale: float
    grammar: str = ""
    offset: float = 0.0
    reads: Callable[[str], bool] = field(default=lambda _text: True, repr=False)

    def image_vectors(self, embeddings: Float32[np.ndarray, "images width"]) -> Float32[np.ndarray, "images joint"]:
        """Vectors of images in the joint space, not normalised."""
        bias = torch.from_numpy(self.bias) if self.bias.any() else None
        return linear(torch.from_numpy(embeddings), torch.from_numpy(self.project), bias).numpy()

    def scores(
        self, images: Float32[np.ndarray, "images joint"], texts: Float32[np.ndarray, "texts joint"]
    ) -> Float32[np.ndarray, "images texts"]:
        """Scaled cosine of every pair, plus the offset: logits, as the model was trained with them."""
        one, other = (normalize(torch.from_numpy(np.ascontiguousarray(side)), dim=1) for side in (images, texts))
        return (self.scale * one @ other.T + self.offset).numpy()


def joint_refusal(config: BackboneConfig) -> str | None:
    """Why a backbone has no joint space that `open_joint` could open, or None; nothing is loaded."""
    if config.library == "shipped" and config.architecture in CLIPS:
        return None
    if config.library == "timm":
        from frozen.models._open_clip import refusal

        return refusal(config)
    if config.library == "open_clip":
        from frozen.models._open_clip_models import text_refusal

        return text_refusal(config)
    if config.library == "hf":
        from frozen.models._transformers_text import transformers_text_refusal

        return transformers_text_refusal(config)
    return f"{config.source} has no text tower here; shipped:{CLIPS[0]}, for one, has"


def open_joint(config: BackboneConfig) -> JointSpace:
    """The joint space of a backbone, with its text tower on the CPU; of an untrained backbone, untrained too.

    Raises:
        BackboneError: a backbone without one.
    """
    if reason := joint_refusal(config):
        raise BackboneError(reason)
    if config.library == "timm":
        from frozen.models._open_clip import open_clip_model

        return joint_of(*open_clip_model(config))
    if config.library == "open_clip":
        from frozen.models._open_clip_models import open_texts

        return joint_of(*open_texts(config))
    if config.library == "hf":
        from frozen.models._transformers_text import open_transformers_text

        side = open_transformers_text(config)
        no_bias = np.zeros(len(side.project), np.float32)
        return JointSpace(side.project, no_bias, side.encode, side.scale, offset=side.offset)
    from frozen.models.opening import open_shipped

    model = open_shipped(config.architecture, untrained=config.seed if config.kind == "random" else None)
    text = model.text
    assert text is not None
    project = text.project.detach().numpy()
    return JointSpace(
        project,
        np.zeros(len(project), np.float32),
        text.encode,
        text.scale,
        str(model.header["grammar"]),
        text.bias,
        text.reads,
    )


def imagenet_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts for ImageNet and names of its classes, see `_open_clip.imagenet_texts`."""
    from frozen.models import _open_clip

    return _open_clip.imagenet_texts()


def joint_of(model: Any, tokenizer: Callable[[Sequence[str]], torch.Tensor]) -> JointSpace:
    """The joint space of an open_clip model.

    Args:
        model: with `visual.proj`, `encode_text` and `logit_scale`.
        tokenizer: texts to ids [texts context].

    Raises:
        BackboneError: an image tower that does not end in one projection.
    """
    from frozen.models._open_clip import encoder, projection

    offset, scale = getattr(model, "logit_bias", None), float(model.logit_scale.detach().exp())
    return JointSpace(*projection(model), encoder(model, tokenizer), scale, offset=float(offset or 0.0))


class OutputMap(NamedTuple):
    """What an attention sublayer adds to the residual stream, as a linear map of its heads' outputs.

    Attributes:
        weight: float32 [width, heads * dim], layer scale included.
        bias: float32 [width].
    """

    weight: torch.Tensor
    bias: torch.Tensor


def output_map(trunk: Trunk, block: int) -> OutputMap:
    """The output projection of a block's heads.

    Raises:
        BackboneError: a block whose heads are not read by a linear layer.
    """
    point = trunk.parts[block].points.get("heads")
    if point is None or not isinstance(point.module, nn.Linear):
        reason = trunk.parts[block].refused.get("heads", "its heads are not read by a linear layer")
        raise BackboneError(f"block {block}: {reason}")
    output = point.module
    bias = torch.zeros(output.out_features, device=output.weight.device) if output.bias is None else output.bias
    scale = _layer_scale(trunk.blocks[block])
    return OutputMap((output.weight.float().T * scale).T, bias.float() * scale)


class QueriesKeys(NamedTuple):
    """What an attention sublayer compares tokens by, before a softmax over their scaled products.

    Attributes:
        queries: float32 [n heads queries dim], of the tokens that are asked for.
        keys: float32 [n heads token dim], of all tokens.
        scale: of the products.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    scale: float


def queries_keys(block: Any, tokens: torch.Tensor, rows: slice) -> QueriesKeys:
    """Queries and keys of a block of timm, whose projection is joint, or of transformers' CLIP, which has two.

    Args:
        block: of a trunk.
        tokens: [n token width], as they enter it.
        rows: the tokens whose queries are wanted.

    Raises:
        BackboneError: an attention whose queries and keys cannot be made from its input.
    """
    attention: Any = getattr(block, "attn", None) or getattr(block, "self_attn", None)
    norm = getattr(block, "norm1", None) or getattr(block, "layer_norm1", None)
    names = {name for name in ("qkv", "q_norm", "k_norm", "q_proj", "k_proj") if hasattr(attention, name)}
    if norm is None or not ({"qkv", "q_norm", "k_norm"} <= names or names == {"q_proj", "k_proj"}):
        raise BackboneError(f"{type(block).__name__} does not show the queries and keys of its attention")
    given = norm(tokens)
    if "qkv" not in names:
        pair = attention.q_proj(given[:, rows]), attention.k_proj(given)
        queries, keys = (one.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for one in pair)
        return QueriesKeys(queries, keys, float(attention.scale))
    width = attention.qkv.out_features // 3
    weight = attention.qkv.weight.float()
    bias = torch.zeros(3 * width, device=given.device) if attention.qkv.bias is None else attention.qkv.bias.float()
    queries = linear(given[:, rows], weight[:width], bias[:width]).unflatten(-1, (attention.num_heads, -1))
    keys = linear(given, weight[width : 2 * width], bias[width : 2 * width]).unflatten(-1, (attention.num_heads, -1))
    queries, keys = attention.q_norm(queries.transpose(1, 2)), attention.k_norm(keys.transpose(1, 2))
    return QueriesKeys(queries, keys, float(attention.scale))


def _layer_scale(block: Any) -> torch.Tensor | float:
    for name, parameter in _SCALES.items():
        found = getattr(getattr(block, name, None), parameter, None)
        if found is not None:
            return found.float()
    return 1.0
