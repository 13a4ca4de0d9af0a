"""Small random CLIPs and SigLIPs in folders that transformers itself has written, tokenizers among the files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from tests.frozen.models.checkpoints import MEAN, STD

TEXTS = ("a red square", "a blue circle", "a red square", "red")
SIZE = 32
_TOWER = {"intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
_VISION = {**_TOWER, "hidden_size": 24, "patch_size": 8, "image_size": SIZE}
_TEXT = {**_TOWER, "hidden_size": 24, "max_position_embeddings": 12, "projection_size": 24}
_NAFLEX = {name: value for name, value in _VISION.items() if name != "image_size"} | {"num_patches": 16}
TYPES = ("clip", "siglip", "siglip2")


@cache
def written(kind: str) -> tuple[Path, Any]:
    """A folder, and the model in it."""
    import transformers

    tokenizer = _clip_tokenizer() if kind == "clip" else _word_tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text: dict[str, Any] = {**_TEXT, **ids, "vocab_size": len(tokenizer)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "clip":
            text |= {"hidden_size": 20}
            config: Any = transformers.CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=16)
            model: Any = transformers.CLIPModel(config)
        elif kind == "siglip":
            model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=_VISION))
        else:
            model = transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=_NAFLEX))
        for parameter in model.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    folder = Path(mkdtemp()) / kind
    model.eval().requires_grad_(requires_grad=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder, model


def _clip_tokenizer() -> Any:
    """Byte pairs with one merge: else every letter is a token."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["re", *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({token: number for number, token in enumerate(tokens)}, [("r", "e")])


def _word_tokenizer() -> Any:
    """A word a token, padded as SigLIP's texts are; the library's own of SigLIP needs sentencepiece."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", *["a", "red", "blue", "square", "circle"]]
    tokenizer: Any = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids"],
    )


def given(kind: str, pixels: torch.Tensor, patch: int = 8) -> dict[str, Any]:
    """Images as the library's own model of a type takes them."""
    if kind != "siglip2":
        return {"pixel_values": pixels}
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    patches = torch.stack([torch.from_numpy(convert_image_to_patches(one.numpy(), patch)) for one in pixels])
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long),
        "spatial_shapes": torch.tensor([[pixels.shape[2] // patch] * 2] * len(pixels)),
    }
