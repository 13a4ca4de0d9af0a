"""Every read-out against its original's own way, written plainly: one table, one machine, in turns.

    python benchmarks/against_originals.py [--only captions] [--rounds 2] [--save against_originals]

Both sides do the same work on the same inputs, in turns, on one thread; the least processor time of each counts, so
that other work on the machine changes the ratios little. The plain ways are those of the benchmarks of each read-out,
which also check that both give the same; here they are small, so that all of them take some minutes. Weights are
random. Whole studies gain more than a row says: an original makes its forward passes for every cell anew.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import captions_decoding
import class_embedding
import numpy as np
import text_decomposition
import torch
from measuring import machine, save
from probe_step import form
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize
from torch.utils.data import DataLoader, TensorDataset

from binding.examples import Examples
from binding.fit import FitConfig, fit
from binding.probes import HeadShape, QuadraticConcat
from frozen.allocator import keep_freed_memory
from frozen.capture.capture import capture
from frozen.rows import Rows
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.training import DictionaryRun, train
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.textspan import Moments, naive_text_span, text_span

CPU = torch.device("cpu")


class Contest(NamedTuple):
    """The same work in two ways."""

    work: str
    original: Callable[[], object]
    ours: Callable[[], object]
    times: float = 1.0
    """How many times more the original does for the same result than what is run here."""


def binding() -> Iterator[Contest]:
    """A training of one probe: a DataLoader, one expanded input a head, einsum as the formula is written."""
    n, width, n_values, rank = 4096, 192, 8, 16
    heads = n_values**2
    epochs = 2
    config = replace(FitConfig.paper(), epochs=epochs)
    random = np.random.default_rng(0)
    shape, probe = HeadShape(width, heads, group_sizes=(n_values, n_values)), QuadraticConcat(rank=rank)
    z = {name: random.standard_normal((size, width), dtype=np.float32) for name, size in (("train", n), ("val", 512))}
    bits = {name: random.integers(2, size=(len(rows), heads), dtype=np.uint8) for name, rows in z.items()}

    def examples(name: str) -> Examples:
        return Examples.of(Rows(z[name], None, CPU), bits[name], None, CPU)

    def ours() -> None:
        fit([probe], shape, examples("train"), examples("val"), config, seed=0)

    def original() -> None:
        drawn = probe.initial(shape, torch.Generator().manual_seed(0))
        weights = {name: value.requires_grad_() for name, value in drawn.items()}
        optimizer = torch.optim.Adam(weights.values(), lr=1e-3, weight_decay=1e-4)

        def loss(z: Tensor, codes: Tensor) -> Tensor:
            x = torch.cat([z[..., None].expand(-1, -1, heads), (codes - 0.5)[..., None] * shape.mask], dim=1)
            first, second = torch.cat([weights["z_weight"], weights["code_weight"]]).chunk(2, dim=1)
            return binary_cross_entropy_with_logits(form(x, first, second) + weights["bias"], codes)

        sets = {name: TensorDataset(torch.from_numpy(z[name]), torch.from_numpy(bits[name]).float()) for name in z}
        for _ in range(epochs):
            for step, batch in enumerate(DataLoader(sets["train"], config.batch_size, shuffle=True)):
                loss(*batch).backward()
                if step % config.accumulate == config.accumulate - 1:
                    optimizer.step()
                    optimizer.zero_grad()
            with torch.no_grad():
                for batch in DataLoader(sets["val"], config.batch_size):
                    loss(*batch)

    yield Contest(
        f"quadratic probe of rank {rank}, {heads} heads, width {width}: {epochs} epochs of {n}", original, ours
    )


def of_class_embedding() -> Iterator[Contest]:
    """See benchmarks/class_embedding.py."""
    bench: Any = class_embedding.Bench("vit_base_patch32_224", 4)
    names = {
        "extraction": "ranks at 36 sites and memories of 24 sublayers, B/32",
        "relevancy": "relevancy of all blocks, B/32",
        "deletion": "deletion curves of 49 tokens from both ends, B/32",
        "probes": "forward passes of probes at 36 sites x 50 positions, B/32",
    }
    for name, times in class_embedding.SCALES.items():
        yield Contest(names[name], getattr(bench, f"{name}_plain"), getattr(bench, f"{name}_ours"), times)


def of_text_decomposition() -> Iterator[Contest]:
    """See benchmarks/text_decomposition.py."""
    model, photos = text_decomposition.backbone(), text_decomposition.Photos()
    images, depth = photos.images(np.arange(len(photos))), text_decomposition.DEPTH
    yield Contest(
        f"what heads and MLPs write, with token maps, {depth} blocks of B/16",
        lambda: text_decomposition.per_token(model, images),
        lambda: capture(model, photos, [ImageTerms(depth, tokens=True)]),
    )
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(512, 64, generator=random, dtype=torch.float64)).Q[None]
    coordinates = torch.randn(1500, 1, 64, generator=random, dtype=torch.float64)
    texts = normalize(torch.randn(1000, 512, generator=random, dtype=torch.float64), dim=1)
    yield Contest(
        "TextSpan of a head: 10 of 1,000 texts, 1,500 images",
        lambda: naive_text_span(coordinates[:, 0] @ basis[0].T, texts, 10, 64),
        lambda: text_span(Moments.of(coordinates), basis, texts, 10),
    )


def concepts() -> Iterator[Contest]:
    """Dictionaries of the paper's kind: a program a dictionary, DataLoader, decoder columns kept at length one."""
    width, n_steps, batch_size, expansion, penalties = 256, 60, 512, 4, (0.03, 0.06, 0.1, 0.2)
    rows = np.random.default_rng(0).standard_normal((n_steps * batch_size, width)).astype(np.float32)
    config = [DictionaryConfig(kind="relu_l1", expansion=expansion, penalty=penalty) for penalty in penalties]
    training = TrainingConfig(steps=n_steps, batch_size=batch_size)

    def original() -> None:
        for penalty in penalties:
            generator = torch.Generator().manual_seed(0)
            decoder = normalize(torch.randn(width, expansion * width, generator=generator), dim=0).requires_grad_()
            encoder = decoder.detach().T.clone().requires_grad_()
            bias, shift = torch.zeros(expansion * width, requires_grad=True), torch.zeros(width, requires_grad=True)
            optimizer = torch.optim.Adam([decoder, encoder, bias, shift], lr=5e-4)
            for (x,) in DataLoader(TensorDataset(torch.from_numpy(rows)), batch_size, shuffle=True):
                code = torch.relu((x - shift) @ encoder.T + bias)
                loss = (code @ decoder.T + shift - x).square().mean() + penalty * code.abs().sum(1).mean() / width
                optimizer.zero_grad()
                loss.backward()
                with torch.no_grad():
                    unit, slope = normalize(decoder, dim=0), decoder.grad
                    assert slope is not None
                    slope -= unit * (unit * slope).sum(0)
                optimizer.step()
                with torch.no_grad():
                    decoder.copy_(normalize(decoder, dim=0))

    yield Contest(
        f"{len(penalties)} dictionaries of {expansion * width} atoms, width {width}: {n_steps} steps of {batch_size}",
        original,
        lambda: train(rows, [DictionaryRun(one, 0) for one in config], training, seed=0, device=CPU),
    )


def captions() -> Iterator[Contest]:
    """See benchmarks/captions_decoding.py."""
    for name, (decoder, memory) in (("shipped", captions_decoding.shipped(8)), ("long", captions_decoding.long(2))):
        n = captions_decoding.N_LAYERS
        layers = [memory * (0.2 + 0.8 * layer / (n - 1)) for layer in range(n)]
        yield Contest(
            f"captions of {len(memory)} images x {n} layers, {name} decoder",
            lambda decoder=decoder, layers=layers: captions_decoding.plain(decoder, layers),
            lambda decoder=decoder, layers=layers: captions_decoding.stacked(decoder, layers),
        )


READOUTS: dict[str, Callable[[], Iterator[Contest]]] = {
    "binding": binding,
    "class_embedding": of_class_embedding,
    "text_decomposition": of_text_decomposition,
    "concepts": concepts,
    "captions": captions,
}


def held(contest: Contest, rounds: int) -> dict[str, object]:
    """Least processor seconds of both ways, in turns."""
    least = [float("inf")] * 2
    for _ in range(rounds):
        for place, way in enumerate((contest.original, contest.ours)):
            began = time.process_time()
            way()
            least[place] = min(least[place], time.process_time() - began)
    original, ours = contest.times * least[0], least[1]
    return {"work": contest.work, "original_s": original, "ours_s": ours, "times_as_fast": original / ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=READOUTS, default=list(READOUTS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.set_flush_denormal(True)  # as workers do
    rows = []
    for name in given.only:
        for contest in READOUTS[name]():
            rows.append({"readout": name, **held(contest, given.rounds)})
            print(
                "{readout}: {work}: {original_s:.3g} s, {ours_s:.3g} s, {times_as_fast:.1f} times".format(**rows[-1]),
                flush=True,
            )
    if given.save:
        save(given.save, machine(CPU) | {"clock": "cpu", "rounds": given.rounds}, rows)


if __name__ == "__main__":
    main()
