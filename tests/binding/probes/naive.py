"""The formulas of the probe families, written head by head and sample by sample, for comparison only."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from binding.probes import AttentionQuadratic, DnnConcat, HeadShape, Linear, Parameters, Probe


def seen_codes(codes: Tensor, head: int, shape: HeadShape) -> Tensor:
    """The conditioning vector of a head: true codes before its own, then the given bits, zero elsewhere."""
    out = torch.zeros_like(codes)
    for i in range(shape.n_codes):
        if i < head or i >= shape.n_heads:
            out[i] = codes[i]
    return out


def naive_logits(probe: Probe, parameters: Parameters, shape: HeadShape, z: Tensor, codes: Tensor) -> Tensor:
    """[batch head] logits of one probe, from parameters without a pack axis."""
    rows = []
    for b in range(len(z)):
        heads = [_logit(probe, parameters, shape, z[b], codes[b], k) for k in range(shape.n_heads)]
        rows.append(torch.stack(heads))
    return torch.stack(rows)


def _logit(probe: Probe, p: Parameters, shape: HeadShape, z: Tensor, codes: Tensor, k: int) -> Tensor:
    y = seen_codes(codes, k, shape)
    if isinstance(probe, AttentionQuadratic):
        return _attention(probe, p, shape, z, y, k)
    if not probe.use_conditioned_query:
        y = y[shape.n_heads :]
    if isinstance(probe, Linear):
        return z @ p["z_weight"][:, k] + y @ p["code_weight"][:, k] + p["bias"][k]
    if isinstance(probe, DnnConcat):
        return _mlp(probe, p, torch.cat([z, y]), k)
    x = torch.cat([z, y])
    weights = [
        torch.cat([zw, cw]) for zw, cw in zip(_z_factors(probe, p, shape, k), _code_factors(probe, p, k), strict=True)
    ]
    return _form(x, weights) + p["bias"][k]


def _form(x: Tensor, weights: list[Tensor]) -> Tensor:
    """Σ_r Π_g x·W_gr over sqrt(width); each weight is [width rank]."""
    total = torch.zeros((), dtype=x.dtype)
    for r in range(weights[0].shape[1]):
        term = torch.ones((), dtype=x.dtype)
        for weight in weights:
            term = term * (x @ weight[:, r])
        total = total + term
    return total / math.sqrt(len(x))


def _code_factors(probe: Any, p: Parameters, k: int) -> list[Tensor]:
    return list(p["code_weight"][:, :, k].split(probe.rank, dim=1))


def _z_factors(probe: Any, p: Parameters, shape: HeadShape, k: int) -> list[Tensor]:
    if not probe.objects_only:
        return list(p["z_weight"][:, :, k].split(probe.rank, dim=1))
    values = list(product(*(range(size) for size in shape.group_sizes)))[k]
    factors, start = [], 0
    for size, value in zip(shape.group_sizes, values, strict=True):
        block = p["z_weight"][:, start : start + probe.rank * size]
        factors.append(torch.stack([block[:, r * size + value] for r in range(probe.rank)], dim=1))
        start += probe.rank * size
    return factors


def _mlp(probe: DnnConcat, p: Parameters, x: Tensor, k: int) -> Tensor:
    hidden = x @ torch.cat([p["z_weight"][k], p["code_weight"][k]]) + p["bias0"][k, 0]
    for layer in range(1, probe.num_layers):
        hidden = gelu(hidden) @ p[f"weight{layer}"][k] + p[f"bias{layer}"][k, 0]
    return hidden[0]


def _attention(probe: AttentionQuadratic, p: Parameters, shape: HeadShape, z: Tensor, y: Tensor, k: int) -> Tensor:
    to_query = y.clone()
    if not probe.use_conditioned_query:
        to_query[: shape.n_heads] = 0
    vector = p["query_base"][k] + sum(to_query[i] * p["query_code"][i] for i in range(shape.n_codes))
    query = vector @ p["query_weight"]
    attended = z[1:] if shape.has_cls and not probe.attend_cls else z
    weights = torch.softmax(torch.stack([query @ token for token in attended]) / math.sqrt(shape.z_dim), dim=0)
    pooled = sum(w * token for w, token in zip(weights, attended, strict=True))
    parts, blocks = [pooled, y], [p["pooled_weight"][k], p["code_weight"][:, :, k]]
    if shape.has_cls:
        parts, blocks = [z[0], *parts], [p["cls_weight"][:, :, k], *blocks]
    return _form(torch.cat(parts), list(torch.cat(blocks).split(probe.rank, dim=1))) + p["bias"][k]
