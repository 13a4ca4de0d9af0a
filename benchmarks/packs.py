"""A pack of n probes against n single runs of the same step, and how near each is to the matrix rate.

    python benchmarks/packs.py [--sizes 1 16] [--dim 1024] [--rounds 2] [--device cuda] [--save packs]

Members differ in learning rate, L2 and initial parameters. `ratio` is the time of the pack over that of its members
one after the other, in turns. Two settings for each family: the large one of probe_step, and a small one (64 wide,
16 heads, as in the quickstart), where a step is mostly the cost of starting operations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measuring import CLOCKS, in_turns, machine, matrix_works, save
from probe_step import necessary_flops

from binding._pack import Member, Pack, packs_of
from binding._pack_memory import training_bytes
from binding.probes import FAMILIES, HeadShape, Probe
from frozen.allocator import keep_freed_memory

SETTINGS = {
    "large": {"dim": 1024, "side": 8, "tokens": 65, "hidden_dim": 256},
    "small": {"dim": 64, "side": 4, "tokens": 65, "hidden_dim": 64},
}


def member(family: str, number: int, hidden_dim: int) -> Probe:
    extra = {"num_layers": 4, "hidden_dim": hidden_dim} if family == "dnn_concat" else {}
    return FAMILIES[family](learning_rate=1e-3 * (1 + number), weight_decay=1e-4 * number, **extra)  # type: ignore[arg-type]


def step_of(packs: list[Pack], z: torch.Tensor, codes: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        for pack in packs:
            pack.backward(z, codes, None, share=1.0)
            pack.step(1.0)

    return step


def measure(family: str, setting: str, size: int, arguments: argparse.Namespace) -> dict[str, object]:
    device, numbers = torch.device(arguments.device), SETTINGS[setting]
    shape = HeadShape(numbers["dim"], numbers["side"] ** 2, group_sizes=(numbers["side"],) * 2)
    probes = [member(family, number, numbers["hidden_dim"]) for number in range(size)]
    tokens = (numbers["tokens"],) if probes[0].reads_tokens else ()
    z = torch.randn(arguments.batch, *tokens, numbers["dim"]).to(device)
    codes = torch.randint(2, (arguments.batch, shape.n_heads)).to(device) - 0.5
    packs = packs_of([Member(i, probe) for i, probe in enumerate(probes)], shape, 0, device, "float32")
    singles = [Pack([Member(0, probe)], shape, seed=0, device=device) for probe in probes]
    products = matrix_works(device)
    works = [step_of(packs, z, codes), step_of(singles, z, codes), *(work for work, _ in products)]
    together, alone, *others = in_turns(works, arguments.rounds, arguments.clock)
    rate = max(flops / time for (_, flops), time in zip(products, others, strict=True))
    flops = size * necessary_flops(probes[0], shape, arguments.batch, numbers["tokens"])
    return {
        "family": family,
        "setting": setting,
        "probes": size,
        "pack_s": together,
        "singles_s": alone,
        "ratio": together / alone,
        "pack_share_of_matrix_rate": flops / together / rate,
        "estimated_bytes": size * training_bytes(probes[0], shape, arguments.batch, numbers["tokens"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[16])
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.set_flush_denormal(True)  # as workers do
    where = machine(torch.device(arguments.device)) | {"batch": arguments.batch, "clock": arguments.clock}
    print(where)
    rows = []
    for setting in arguments.settings:
        for family in arguments.families:
            for size in arguments.sizes:
                rows.append(row := measure(family, setting, size, arguments))
                print(
                    f"{setting:6} {family:26} x{size}: pack {row['pack_s']:.4g} s, alone {row['singles_s']:.4g} s, "
                    f"ratio {row['ratio']:.2f}, {row['pack_share_of_matrix_rate']:.0%} of the matrix rate",
                    flush=True,
                )
    if arguments.save:
        save(arguments.save, where, rows)


if __name__ == "__main__":
    main()
