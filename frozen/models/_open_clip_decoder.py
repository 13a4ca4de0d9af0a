"""The caption decoder of open_clip's CoCa in our own modules, which keep what they have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from frozen.models._base import BackboneError
from frozen.models.parts import Decoder
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, TextConfig, TextTower

if TYPE_CHECKING:
    from frozen.models._open_clip_source import Source

_PLAIN = {"hf_model_name": None, "ls_init_value": None, "no_causal_mask": False, "proj_bias": False}
"""Settings of a text tower whose mathematics ours is."""
_BLOCK = {"attn.in_proj_": "attn.in_proj.", "mlp.": ""}


class BytePairs:
    """open_clip's byte pairs as a tokenizer of captions; fulfils `Tokenizer`.

    The id of padding is a word too (an exclamation mark), so only the end says where a text ends.

    Args:
        tokenizer: the library's.
        context: ids a text has at most, start and end among them.
    """

    pad = 0

    def __init__(self, tokenizer: Any, context: int) -> None:
        self._tokenizer, self.context = tokenizer, context
        self.start, self.end = int(tokenizer.sot_token_id), int(tokenizer.eot_token_id)
        self.vocabulary: tuple[str, ...] = tuple(tokenizer.decoder[i] for i in range(len(tokenizer.decoder)))

    def encode(self, texts: Sequence[str]) -> Int64[np.ndarray, "texts context"]:
        """Start, byte pairs and end of each text, padded to the context.

        Raises:
            ValueError: a text that is too long.
        """
        ids = np.full((len(texts), self.context), self.pad, dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            pairs = self._tokenizer.encode(text)
            if len(pairs) + 2 > self.context:
                raise ValueError(f"{text!r}: has {len(pairs)} byte pairs, the model reads {self.context - 2} at most")
            row[: len(pairs) + 2] = self.start, *pairs, self.end
        return ids

    def decode(self, ids: Int64[np.ndarray, "texts length"]) -> list[str]:
        """The text of each row up to its end, without the start."""
        return [self._text(row) for row in ids.tolist()]

    def _text(self, row: list[int]) -> str:
        kept = row[: row.index(self.end)] if self.end in row else row
        return self._tokenizer.decode([i for i in kept if i != self.start]).strip()


def decoder_of(model: Any, source: Source, what: str) -> Decoder:
    """Pooler, text tower and decoder of a CoCa, carried over by name.

    Raises:
        BackboneError: a text tower or a decoder that is built otherwise.
    """
    text, multimodal, vision = (source.settings[f"{part}_cfg"] for part in ("text", "multimodal", "vision"))
    odd = [name for name, plain in _PLAIN.items() if text.get(name, plain) != plain]
    if odd or not text.get("embed_cls") or source.settings.get("quick_gelu"):
        reason = ", ".join(odd) or ("quick_gelu" if text.get("embed_cls") else "no embed_cls")
        raise BackboneError(f"the caption decoder of {what} is built in a way that is not known here ({reason})")
    config = _sizes(text)
    joint = int(source.settings["embed_dim"])
    pooler = AttentionalPooler(
        joint, int(vision.get("attn_pooler_queries", 256)), int(vision.get("attn_pooler_heads", 8)), vision["width"]
    )
    tower = TextTower(config, joint, summary=True)
    own = _sizes({**text, **multimodal})._replace(vocabulary=config.vocabulary)
    decoder = CaptionDecoder(own, int(multimodal.get("layers", 12)))
    tower.load_state_dict(dict(_of_text(model.text.state_dict())))
    pooler.load_state_dict(dict(_of_pooler(model.visual)))
    decoder.load_state_dict(dict(_of_text(model.text_decoder.state_dict())))
    for module in (pooler, tower, decoder):
        module.float().eval().requires_grad_(requires_grad=False)
    return Decoder(BytePairs(_byte_pairs(source), config.context), pooler, tower, decoder)


def _sizes(settings: dict[str, Any]) -> TextConfig:
    return TextConfig(
        vocabulary=int(settings.get("vocab_size", 49408)),
        context=int(settings.get("context_length", 77)),
        width=int(settings.get("width", 512)),
        depth=int(settings.get("layers", 12)),
        heads=int(settings.get("heads", 8)),
        mlp_ratio=float(settings.get("mlp_ratio", 4.0)),
    )


def _byte_pairs(source: Source) -> Any:
    import open_clip  # pyright: ignore[reportMissingImports], an extra

    tokenizer: Any = open_clip.get_tokenizer(source.name)
    if not hasattr(tokenizer, "sot_token_id"):
        raise BackboneError(f"the tokenizer of {source.name} is not open_clip's own byte pairs")
    return tokenizer


def _of_text(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights of a text tower or a decoder under our names."""
    for name, value in state.items():
        new = name.replace("transformer.resblocks.", "blocks.").replace("cross_attn.", "cross_blocks.")
        new = new.replace("resblocks.", "blocks.") if new.startswith("resblocks.") else new
        if "blocks." in new:
            for theirs, ours in _BLOCK.items():
                new = new.replace(theirs, ours)
        yield new, value


def _of_pooler(visual: Any) -> Iterator[tuple[str, Tensor]]:
    """Weights of the attentional pooler and of the norm after it; keys and values may have a width of their own."""
    for name, value in visual.attn_pool.state_dict().items():
        if not name.startswith("attn.") or "out_proj" in name:
            yield name, value
    attention = visual.attn_pool.attn
    bias, width = attention.in_proj_bias, attention.embed_dim
    if attention.in_proj_weight is not None:
        yield "attn.in_proj.weight", attention.in_proj_weight
        yield "attn.in_proj.bias", bias
    else:
        yield "attn.in_proj.weight", attention.q_proj_weight
        yield "attn.in_proj.bias", bias[:width]
        yield "attn.source_proj.weight", torch.cat([attention.k_proj_weight, attention.v_proj_weight])
        yield "attn.source_proj.bias", bias[width:]
    yield from ((f"ln_post.{name}", value) for name, value in visual.ln_post.state_dict().items())


def initialise(decoder: Any) -> None:
    """Random weights of a decoder: open_clip leaves the output projection as the memory was."""
    deviation = decoder.width**-0.5
    nn.init.normal_(decoder.text_projection, std=deviation)
    for block in (*decoder.resblocks, *decoder.cross_attn):
        nn.init.normal_(block.attn.in_proj_weight, std=deviation)
        nn.init.normal_(block.attn.out_proj.weight, std=deviation * (2 * decoder.layers) ** -0.5)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * decoder.width) ** -0.5)
        nn.init.normal_(block.mlp.c_proj.weight, std=deviation * (2 * decoder.layers) ** -0.5)
