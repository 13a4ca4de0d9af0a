"""A training step of each probe family against the plain formulation, as a ratio measured in one run.

    python benchmarks/probe_step.py [--batch 512] [--dim 1024] [--rounds 3]

Plain: activations and codes are expanded to one input a head, [batch width heads], and contracted with einsum,
as the formulas are written. Both sides take forward, backward and a step of Adam on equal inputs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from binding._pack import Pack
from binding.probes import (
    AttentionQuadratic,
    DnnConcat,
    HeadShape,
    Linear,
    MultilinearConcatReuse,
    Parameters,
    Probe,
    QuadraticConcat,
    QuadraticConcatReuse,
)

SIDE = 8
HEADS = SIDE * SIDE
TOKENS = 65


def expanded(z: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
    """[batch width heads]: one input for each head."""
    return torch.cat([z.unsqueeze(-1).expand(-1, -1, HEADS), codes.unsqueeze(-1) * mask], dim=1)


def plain_linear(p: Parameters, x: Tensor, probe: Probe) -> Tensor:
    del probe
    return torch.einsum("bik,ik->bk", x, torch.cat([p["z_weight"], p["code_weight"]])) + p["bias"]


def plain_quadratic(p: Parameters, x: Tensor, probe: Probe) -> Tensor:
    del probe
    first, second = torch.cat([p["z_weight"], p["code_weight"]]).chunk(2, dim=1)
    return form(x, first, second) + p["bias"]


def plain_reuse(p: Parameters, x: Tensor, probe: Probe) -> Tensor:
    rank = probe.rank  # type: ignore[attr-defined]
    values = torch.tensor(list(product(range(SIDE), range(SIDE))))
    blocks = p["z_weight"].unflatten(1, (2, rank, SIDE))
    z_parts = [blocks[:, g][:, :, values[:, g]] for g in range(2)]
    first, second = (torch.cat(parts) for parts in zip(z_parts, p["code_weight"].chunk(2, dim=1), strict=True))
    return form(x, first, second) + p["bias"]


def form(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    one, two = (torch.einsum("bdk,drk->brk", x, weight) for weight in (first, second))
    return torch.einsum("brk,brk->bk", one, two) * x.shape[1] ** -0.5


def plain_dnn(p: Parameters, x: Tensor, probe: Probe) -> Tensor:
    weight = torch.cat([p["z_weight"], p["code_weight"]], dim=1)
    hidden = torch.einsum("bik,kih->bhk", x, weight) + p["bias0"][:, 0].T
    for layer in range(1, probe.num_layers):  # type: ignore[attr-defined]
        hidden = torch.einsum("bik,kih->bhk", gelu(hidden), p[f"weight{layer}"]) + p[f"bias{layer}"][:, 0].T
    return hidden.squeeze(1)


def plain_attention(p: Parameters, z: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
    y = codes.unsqueeze(-1) * mask
    queries = (p["query_base"] + torch.einsum("bik,id->bkd", y, p["query_code"])) @ p["query_weight"]
    weights = (torch.einsum("bkd,bnd->bkn", queries, z[:, 1:]) * z.shape[2] ** -0.5).softmax(-1)
    pooled = torch.einsum("bkn,bnd->bkd", weights, z[:, 1:])
    cls = z[:, :1].expand(-1, HEADS, -1)
    x = torch.cat([cls, pooled, y.transpose(1, 2)], dim=2).transpose(1, 2)
    blocks = torch.cat([p["cls_weight"], p["pooled_weight"].permute(1, 2, 0), p["code_weight"]])
    return form(x, *blocks.chunk(2, dim=1)) + p["bias"]


PLAIN = {
    Linear: plain_linear,
    QuadraticConcat: plain_quadratic,
    QuadraticConcatReuse: plain_reuse,
    MultilinearConcatReuse: plain_reuse,
    DnnConcat: plain_dnn,
}


def plain_step(probe: Probe, shape: HeadShape, z: Tensor, codes: Tensor) -> Callable[[], Tensor]:
    """A closure that takes one step in the plain formulation and returns the logits."""
    drawn = probe.initial(shape, torch.Generator().manual_seed(0))
    parameters = {name: value.requires_grad_() for name, value in drawn.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=probe.learning_rate)

    def step() -> Tensor:
        optimizer.zero_grad()
        if isinstance(probe, AttentionQuadratic):
            logits = plain_attention(parameters, z, codes, shape.mask)
        else:
            logits = PLAIN[type(probe)](parameters, expanded(z, codes, shape.mask), probe)
        binary_cross_entropy_with_logits(logits, codes + 0.5).backward()
        optimizer.step()
        return logits.detach()

    return step


def fast_step(probe: Probe, shape: HeadShape, z: Tensor, codes: Tensor) -> Callable[[], Tensor]:
    """The same step as the library takes it, in a pack of one."""
    pack = Pack([(0, probe)], shape, seed=0, device=z.device)

    def step() -> Tensor:
        with torch.no_grad():
            logits = probe.logits(pack.parameters, shape, z[:2], codes[:2])[0]
        pack.backward(z, codes, None, share=1.0)
        pack.step(1.0)
        return logits

    return step


def seconds(step: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(1)
    shape = HeadShape(arguments.dim, HEADS, group_sizes=(SIDE, SIDE))
    probes = [
        Linear(),
        QuadraticConcat(rank=16),
        QuadraticConcatReuse(rank=16),
        MultilinearConcatReuse(rank=16),
        DnnConcat(num_layers=4, hidden_dim=256),
        AttentionQuadratic(rank=16),
    ]
    print(f"batch {arguments.batch}, width {arguments.dim}, {HEADS} heads, {torch.get_num_threads()} threads")
    for probe in probes:
        size = (arguments.batch, TOKENS, arguments.dim) if probe.reads_tokens else (arguments.batch, arguments.dim)
        z = torch.randn(size, generator=generator)
        codes = torch.randint(2, (arguments.batch, HEADS), generator=generator) - 0.5
        plain, fast = plain_step(probe, shape, z, codes), fast_step(probe, shape, z, codes)
        torch.testing.assert_close(plain()[:2], fast(), rtol=1e-3, atol=1e-5)
        times = [(seconds(plain), seconds(fast)) for _ in range(arguments.rounds)]
        slow, quick = (min(column) for column in zip(*times, strict=True))
        print(f"{probe.family:26} plain {slow:8.4f} s, here {quick:8.4f} s, {slow / quick:5.1f} times as fast")


if __name__ == "__main__":
    main()
