"""The text transformers against torch's own attention, and with caches against without."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from binding.backbones.text_tower import (
    AttentionalPooler,
    Block,
    CaptionDecoder,
    TextConfig,
    TextTower,
    blocks_of,
)

CONFIG = TextConfig(vocabulary=21, context=9, width=32, depth=3, heads=4)
IDS = torch.tensor([[19, 1, 5, 6, 20, 0, 0], [19, 3, 20, 0, 0, 0, 0], [19, 4, 1, 9, 2, 8, 20]])


def jittered(module: nn.Module) -> nn.Module:
    """Weights large enough, and biases and gains other than 0 and 1, that no term is left out unseen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.double().eval()


def reference_attention(block: Block, x: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
    """By torch.nn.MultiheadAttention; `mask` is True where attention is forbidden."""
    own = nn.MultiheadAttention(x.shape[-1], block.attn.heads, batch_first=True).double()
    own.in_proj_weight, own.in_proj_bias = block.attn.in_proj.weight, block.attn.in_proj.bias
    own.out_proj.load_state_dict(block.attn.out_proj.state_dict())
    return own(x, seen, seen, attn_mask=mask, need_weights=False)[0]


def reference_block(block: Block, x: Tensor, memory: Tensor | None, mask: Tensor | None) -> Tensor:
    query = block.ln_1(x)
    seen = query if memory is None or block.ln_1_kv is None else block.ln_1_kv(memory)
    x = x + reference_attention(block, query, seen, mask)
    return x + block.c_proj(gelu(block.c_fc(block.ln_2(x))))


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


@pytest.mark.parametrize("summary", [False, True])
@torch.no_grad()
def test_the_tower_is_that_of_torchs_modules(*, summary: bool) -> None:
    tower = TextTower(CONFIG, 16, summary=summary)
    jittered(tower)
    tokens, vectors = tower(IDS)
    for row, ids in enumerate(IDS):
        length = int((ids != 0).sum())
        x = tower.token_embedding(ids[None, :length]) + tower.positional_embedding[:length]
        if tower.cls_emb is not None:
            x = torch.cat([x, (tower.cls_emb + tower.positional_embedding[-1])[None, None]], dim=1)
        for block in blocks_of(tower.blocks):
            x = reference_block(block, x, None, causal(x.shape[1]))
        torch.testing.assert_close(tokens[row, :length], x[0, :length])
        expected = nn.functional.layer_norm(x[0, -1], (32,), tower.ln_final.weight, tower.ln_final.bias)
        torch.testing.assert_close(vectors[row], expected @ tower.text_projection)


@torch.no_grad()
def test_padding_does_not_change_a_text() -> None:
    tower = TextTower(CONFIG, 16, summary=True)
    jittered(tower)
    longer = torch.nn.functional.pad(IDS, (0, 2))
    torch.testing.assert_close(tower(IDS)[1], tower(longer)[1])


@torch.no_grad()
def test_the_decoder_is_that_of_torchs_modules() -> None:
    decoder = CaptionDecoder(CONFIG, 2)
    jittered(decoder)
    tokens, memory = torch.randn(3, 6, 32).double(), torch.randn(3, 5, 32).double()
    logits, _ = decoder(tokens, decoder.see(memory))
    x = tokens
    for block, cross in zip(blocks_of(decoder.blocks), blocks_of(decoder.cross_blocks), strict=True):
        x = reference_block(block, x, None, causal(6))
        x = reference_block(cross, x, memory, None)
    torch.testing.assert_close(logits, decoder.ln_final(x) @ decoder.text_projection)


@torch.no_grad()
def test_the_pooler_is_that_of_torchs_attention() -> None:
    pooler = AttentionalPooler(32, 6, 4)
    jittered(pooler)
    tokens = torch.randn(3, 10, 32).double()
    holder = Block(32, 4, 2.0)
    holder.attn = pooler.attn
    queries = pooler.ln_q(pooler.query).expand(3, -1, -1)
    expected = pooler.ln_post(reference_attention(holder, queries, pooler.ln_k(tokens), None))
    torch.testing.assert_close(pooler(tokens), expected)


@torch.no_grad()
def test_step_by_step_gives_what_one_pass_gives() -> None:
    tower, decoder = TextTower(CONFIG, 16, summary=True), CaptionDecoder(CONFIG, 2)
    jittered(tower)
    jittered(decoder)
    memory = decoder.see(torch.randn(3, 5, 32).double())
    tokens = tower(IDS)[0]
    logits, _ = decoder(tokens, memory)
    text = seen = None
    for t in range(IDS.shape[1]):
        new, text = tower.step(IDS[:, t : t + 1], text, t)
        torch.testing.assert_close(new[:, 0], tokens[:, t])
        step, seen = decoder(new, memory, seen)
        torch.testing.assert_close(step[:, 0], logits[:, t])
