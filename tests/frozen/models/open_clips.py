"""Small random models of open_clip in folders of its own layout: settings, and weights as safetensors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors.torch import save_file

from frozen.models._torchvision_ops import declare_missing_operators

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
CONTEXT, QUERIES, JOINT = 20, 9, 48
_VISION = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 64, "head_width": 16}
_TEXT = {"context_length": CONTEXT, "vocab_size": 49408, "width": JOINT, "heads": 4, "layers": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": JOINT, "vision_cfg": _VISION, "text_cfg": _TEXT, "quick_gelu": True},
    "scaled": {"embed_dim": JOINT, "vision_cfg": {**_VISION, "ls_init_value": 0.5}, "text_cfg": _TEXT},
    "mean": {"embed_dim": JOINT, "vision_cfg": {**_VISION, "pool_type": "avg"}, "text_cfg": _TEXT},
    "coca": {
        "embed_dim": JOINT,
        "custom_text": True,
        "vision_cfg": {
            **_VISION,
            "attentional_pool": True,
            "attn_pooler_heads": 4,
            "attn_pooler_queries": QUERIES,
            "output_tokens": True,
        },
        "text_cfg": {**_TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": JOINT, "heads": 3, "layers": 2},
    },
}


@cache
def written(kind: str) -> tuple[Path, Any]:
    """A folder, and the model in it."""
    declare_missing_operators()
    import open_clip  # pyright: ignore[reportMissingImports], an extra

    settings = SETTINGS[kind]
    folder = Path(mkdtemp()) / kind
    folder.mkdir()
    pixels = {"mean": MEAN, "std": STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings, "preprocess_cfg": pixels}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        for name, parameter in model.named_parameters():
            is_unset = name == "text_decoder.text_projection"  # the library leaves it as the memory was
            drawn = torch.randn_like(parameter)
            parameter.data = 0.5 * drawn if is_unset else parameter.data + 0.1 * drawn
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder, model.eval().requires_grad_(requires_grad=False)
