"""A training step of each probe family against the plain formulation and against the machine's matrix products.

    python benchmarks/probe_step.py [--batch 512] [--dim 1024] [--tokens 257] [--rounds 3]
        [--device cuda] [--threads 1 --clock cpu] [--families dnn_concat ..] [--save NAME]

Plain: activations and codes are expanded to one input a head, [batch width heads], and contracted with einsum,
as the formulas are written. Both sides take forward, backward and a step of Adam on equal inputs, in turns.
Rate: FLOPs that the step cannot do without (see `necessary_flops`) over its time, optimiser included, as a share of
the best of some plain matrix products of like shapes into memory that is there already, measured in the same turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

import torch
from measuring import CLOCKS, in_turns, machine, matrix_works, save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from binding._pack import Member, Pack
from binding.probes import (
    FAMILIES,
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
from frozen.allocator import keep_freed_memory

SIDE = 8
HEADS = SIDE * SIDE


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
    """A closure that takes one step in the plain formulation and returns the logits before it."""
    drawn = probe.initial(shape, torch.Generator().manual_seed(0))
    parameters = {name: value.to(z.device).requires_grad_() for name, value in drawn.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=probe.learning_rate)
    mask = shape.mask.to(z.device)

    def step() -> Tensor:
        optimizer.zero_grad()
        if isinstance(probe, AttentionQuadratic):
            logits = plain_attention(parameters, z, codes, mask)
        else:
            logits = PLAIN[type(probe)](parameters, expanded(z, codes, mask), probe)
        binary_cross_entropy_with_logits(logits, codes + 0.5).backward()
        optimizer.step()
        return logits.detach()

    return step


def fast_step(pack: Pack, z: Tensor, codes: Tensor) -> Callable[[], None]:
    """The same step as the library takes it, in a pack."""

    def step() -> None:
        pack.backward(z, codes, None, share=1.0)
        pack.step(1.0)

    return step


def necessary_flops(probe: Probe, shape: HeadShape, batch: int, tokens: int) -> float:
    """Multiplications and additions of the matrix products of one step that no rearrangement removes.

    A product of known inputs with weights is done twice (forward, gradient of the weights), one of computed
    inputs three times (the gradient of the inputs too), attention's two products with the tokens twice each.
    Of the codes only those that a head may see count. Elementwise work and the optimiser count nothing.
    """
    dim, heads, seen = shape.z_dim, shape.n_heads, float(shape.mask.sum()) / shape.n_heads
    inputs = dim + seen
    if isinstance(probe, Linear):
        return 4 * batch * heads * inputs
    if isinstance(probe, QuadraticConcat):
        return 4 * batch * heads * 2 * probe.rank * inputs
    if isinstance(probe, MultilinearConcatReuse):
        return 4 * batch * probe.rank * (sum(shape.group_sizes) * dim + len(shape.group_sizes) * heads * seen)
    if isinstance(probe, DnnConcat):
        width = probe.hidden_dim or dim
        return heads * batch * (4 * inputs * width + 6 * width**2 * (probe.num_layers - 2) + 6 * width)
    assert isinstance(probe, AttentionQuadratic)
    turned = 6 * (heads + shape.n_codes) * dim**2
    queries = 4 * batch * heads * seen * dim
    attention = 8 * batch * heads * (tokens - 1) * dim
    form = 2 * probe.rank * batch * heads * (6 * dim + 4 * inputs)
    return turned + queries + attention + form


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=257, help="of attention, CLS among them")
    parser.add_argument("--hidden", type=int, default=256, help="hidden width of the DNN of four layers")
    parser.add_argument("--pack", type=int, default=1, help="probes in the pack; the plain form trains one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--no-plain", action="store_true", help="leave the plain formulation out")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    return parser.parse_args()


def measure(probe: Probe, arguments: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """One row of the table."""
    generator = torch.Generator().manual_seed(1)
    shape = HeadShape(arguments.dim, HEADS, group_sizes=(SIDE, SIDE))
    batch, tokens = arguments.batch, arguments.tokens
    size = (batch, tokens, arguments.dim) if probe.reads_tokens else (batch, arguments.dim)
    z = torch.randn(size, generator=generator).to(device)
    codes = torch.randint(2, (batch, HEADS), generator=generator).to(device) - 0.5
    pack = Pack([Member(i, probe) for i in range(arguments.pack)], shape, seed=0, device=device)
    with torch.no_grad():
        logits = probe.logits(pack.parameters, shape, z, codes)[0]
    works: list[Callable[[], object]] = [fast_step(pack, z, codes)]
    if not arguments.no_plain:
        plain = plain_step(probe, shape, z, codes)
        torch.testing.assert_close(plain(), logits, rtol=1e-3, atol=1e-4)
        works.append(plain)
    products = matrix_works(device)
    quick, *others = in_turns([*works, *(work for work, _ in products)], arguments.rounds, arguments.clock)
    rates = [flops / time for (_, flops), time in zip(products, others[-len(products) :], strict=True)]
    flops = arguments.pack * necessary_flops(probe, shape, batch, tokens)
    return {
        "family": probe.family,
        "plain_s": None if arguments.no_plain else others[0],
        "here_s": quick,
        "times_as_fast": None if arguments.no_plain else others[0] / quick * arguments.pack,
        "necessary_gflop": flops / 1e9,
        "matrix_gflop_per_s": max(rates) / 1e9,
        "share_of_matrix_rate": flops / quick / max(rates),
    }


def main() -> None:
    arguments = arguments_of()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    keep_freed_memory()
    torch.set_flush_denormal(True)  # as workers do
    probes: list[Probe] = [
        Linear(),
        QuadraticConcat(rank=16),
        QuadraticConcatReuse(rank=16),
        MultilinearConcatReuse(rank=16),
        DnnConcat(num_layers=4, hidden_dim=arguments.hidden),
        AttentionQuadratic(rank=16),
    ]
    sizes = {name: getattr(arguments, name) for name in ("batch", "dim", "tokens", "hidden", "pack", "clock")}
    where = machine(device) | sizes
    print(where)
    rows = []
    for probe in probes:
        if probe.family not in arguments.families:
            continue
        row = measure(probe, arguments, device)
        rows.append(row)
        print(
            "   ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()
            )
        )
    if arguments.save:
        save(arguments.save, where, rows)


if __name__ == "__main__":
    main()
