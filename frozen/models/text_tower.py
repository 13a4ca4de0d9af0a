"""Transformers over text in plain torch: the text tower of CLIP and CoCa, and CoCa's pooler and caption decoder.

The mathematics is that of open_clip's modules of the same purpose, so that weights can be carried over by name.
Shapes: n texts or images, t ids, d width, m memory slots.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class TextConfig(NamedTuple):
    """Sizes of a text transformer."""

    vocabulary: int
    context: int
    width: int = 128
    depth: int = 3
    heads: int = 4
    mlp_ratio: float = 2.0


class KeysValues(NamedTuple):
    """What an attention layer has seen: keys and values [n heads t head_width]."""

    keys: Tensor
    values: Tensor

    def then(self, other: KeysValues) -> KeysValues:
        """Both, this one first."""
        return KeysValues(*(torch.cat(pair, dim=2) for pair in zip(self, other, strict=True)))

    def rows(self, which: Tensor) -> KeysValues:
        """The given rows only."""
        return KeysValues(self.keys[which], self.values[which])


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept.

    Args:
        width: of queries and of the output.
        heads: their number.
        source: width of what is attended to, where it is another one.
    """

    def __init__(self, width: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        is_other = source not in (None, width)
        self.in_proj = nn.Linear(width, width if is_other else 3 * width)
        self.source_proj = nn.Linear(source or width, 2 * width) if is_other else None
        self.out_proj = nn.Linear(width, width)

    def see(self, x: Float[Tensor, "n t s"]) -> KeysValues:
        """Keys and values of what is attended to."""
        if self.source_proj is not None:
            found = self.source_proj(x)
        else:
            width = x.shape[-1]
            found = nn.functional.linear(x, self.in_proj.weight[width:], self.in_proj.bias[width:])
        return KeysValues(*(self._split(part) for part in found.chunk(2, dim=-1)))

    def forward(
        self, x: Float[Tensor, "n t d"], seen: KeysValues, *, mask: Tensor | None = None, causal: bool = False
    ) -> Float[Tensor, "n t d"]:
        width = x.shape[-1]
        queries = self._split(nn.functional.linear(x, self.in_proj.weight[:width], self.in_proj.bias[:width]))
        if queries.shape[2] == 1 and mask is None and queries.device.type == "cpu":
            # torch's kernel is made for many queries: captions of long memories take a quarter longer with it
            scores = queries @ seen.keys.transpose(2, 3) * queries.shape[-1] ** -0.5
            mixed = scores.softmax(dim=-1) @ seen.values
        else:
            mixed = scaled_dot_product_attention(queries, *seen, attn_mask=mask, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm residual block; a cross block attends to a memory instead of to itself."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, *, cross: bool = False) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1 = nn.LayerNorm(width)
        self.ln_1_kv = nn.LayerNorm(width) if cross else None
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def see(self, x: Float[Tensor, "n t d"]) -> KeysValues:
        """Keys and values of the block's input, of a cross block those of its memory."""
        return self.attn.see((self.ln_1_kv or self.ln_1)(x))

    def forward(
        self, x: Float[Tensor, "n t d"], seen: KeysValues, *, mask: Tensor | None = None, causal: bool = False
    ) -> Float[Tensor, "n t d"]:
        x = x + self.attn(self.ln_1(x), seen, mask=mask, causal=causal)
        return x + self.c_proj(gelu(self.c_fc(self.ln_2(x))))


def blocks_of(modules: nn.ModuleList) -> list[Block]:
    """The modules as what they are."""
    return cast("list[Block]", list(modules))


def initialise(blocks: nn.ModuleList, width: int) -> None:
    """Normal weights scaled by width and depth, biases zero (CLIP)."""
    deviation = width**-0.5
    for block in blocks_of(blocks):
        nn.init.normal_(block.attn.in_proj.weight, std=deviation)
        nn.init.normal_(block.attn.out_proj.weight, std=deviation * (2 * len(blocks)) ** -0.5)
        nn.init.normal_(block.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.c_proj.weight, std=deviation * (2 * len(blocks)) ** -0.5)
        for linear in (block.attn.in_proj, block.attn.out_proj, block.c_fc, block.c_proj):
            nn.init.zeros_(linear.bias)


class TextTower(nn.Module):
    """A causal transformer over ids, and one vector a text.

    Args:
        config: sizes.
        joint: width of the vector.
        summary: whether the vector is read from a token of its own after the text (CoCa), or at its end (CLIP).
    """

    def __init__(self, config: TextConfig, joint: int, *, summary: bool) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(config.context + summary, width))
        self.cls_emb = nn.Parameter(0.01 * torch.randn(width)) if summary else None
        self.blocks = nn.ModuleList(Block(width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, joint))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        initialise(self.blocks, width)

    def embed(self, ids: Int64[Tensor, "n t"], first: int = 0) -> Float[Tensor, "n t d"]:
        """Ids at the places from `first` on."""
        return self.token_embedding(ids) + self.positional_embedding[first : first + ids.shape[1]]

    def forward(self, ids: Int64[Tensor, "n t"]) -> tuple[Float[Tensor, "n t d"], Float[Tensor, "n joint"]]:
        """Tokens that leave the last block, and one vector a text, not normalised."""
        x = self.embed(ids)
        mask = None
        if self.cls_emb is not None:
            own = self.cls_emb + self.positional_embedding[-1]
            x = torch.cat([x, own.expand(len(x), 1, -1)], dim=1)
            mask = _summary_mask(ids)
        for block in blocks_of(self.blocks):
            x = block(x, block.see(x), mask=mask, causal=mask is None)
        if self.cls_emb is not None:
            tokens, last = x[:, :-1], x[:, -1]
        else:
            tokens, last = x, x[torch.arange(len(x)), ids.argmax(dim=1)]  # the end has the highest id
        return tokens, self.ln_final(last) @ self.text_projection

    def step(
        self, ids: Int64[Tensor, "n t"], past: list[KeysValues] | None, first: int
    ) -> tuple[Float[Tensor, "n t d"], list[KeysValues]]:
        """Tokens of the next ids, given what the blocks saw before; with a past, one id at a time."""
        x, seen = self.embed(ids, first), []
        for i, block in enumerate(blocks_of(self.blocks)):
            now = block.see(x)
            seen.append(past[i].then(now) if past else now)
            x = block(x, seen[-1], causal=past is None)
        return x, seen


def _summary_mask(ids: Int64[Tensor, "n t"]) -> Bool[Tensor, "n 1 s s"]:
    """Every id sees itself and those before it; the summary behind them sees itself and all that is not padding."""
    n, length = ids.shape
    mask = torch.ones(n, 1, length + 1, length + 1, dtype=torch.bool, device=ids.device).tril()
    mask[:, 0, -1, :-1] = ids != 0
    return mask


class AttentionalPooler(nn.Module):
    """Learned queries that read a layer's tokens; the first is the image's own vector, the rest are the memory.

    Args:
        width: of the queries and the memory.
        queries: their number.
        heads: of the attention.
        source: width of the tokens, where it is another one.
    """

    def __init__(self, width: int, queries: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, width))
        self.ln_q, self.ln_k = nn.LayerNorm(width), nn.LayerNorm(source or width)
        self.attn = Attention(width, heads, source)
        self.ln_post = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.attn.in_proj.weight)
        for linear in (self.attn.in_proj, self.attn.out_proj):
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Float[Tensor, "n t s"]) -> Float[Tensor, "n m d"]:
        queries = self.ln_q(self.query).expand(len(tokens), -1, -1)
        return self.ln_post(self.attn(queries, self.attn.see(self.ln_k(tokens))))


class CaptionDecoder(nn.Module):
    """Predicts the next id from the text tower's tokens and the image's memory: self and cross blocks in turn."""

    def __init__(self, config: TextConfig, depth: int) -> None:
        super().__init__()
        sizes = config.width, config.heads, config.mlp_ratio
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(depth))
        self.cross_blocks = nn.ModuleList(Block(*sizes, cross=True) for _ in range(depth))
        self.ln_final = nn.LayerNorm(config.width)
        self.text_projection = nn.Parameter(config.width**-0.5 * torch.randn(config.width, config.vocabulary))
        for blocks in (self.blocks, self.cross_blocks):
            initialise(blocks, config.width)

    def see(self, memory: Float[Tensor, "n m d"]) -> list[KeysValues]:
        """Keys and values of the memory for each cross block; they serve every step.

        They lie as attention reads them: a step with one query is nearly twice as fast as on views of a projection.
        """
        seen = (block.see(memory) for block in blocks_of(self.cross_blocks))
        return [KeysValues(one.keys.contiguous(), one.values.contiguous()) for one in seen]

    def forward(
        self, tokens: Float[Tensor, "n t d"], memory: list[KeysValues], past: list[KeysValues] | None = None
    ) -> tuple[Float[Tensor, "n t vocabulary"], list[KeysValues]]:
        """Logits of the id after each token, and what the blocks saw; with a past, one token at a time."""
        x, seen = tokens, []
        for i, (block, cross) in enumerate(zip(blocks_of(self.blocks), blocks_of(self.cross_blocks), strict=True)):
            now = block.see(x)
            seen.append(past[i].then(now) if past else now)
            x = block(x, seen[-1], causal=past is None)
            x = cross(x, memory[i])
        return self.ln_final(x) @ self.text_projection, seen
