"""Captions of 24 layers: all layers stacked and cached, against a loop over layers that reads every text anew.

python benchmarks/captions_decoding.py [--images 16] [--rounds 3]

Both write the same captions and the same entropies, which is checked. Rounds are run in turns; times are of the
processor, so that other work on the machine counts little. Two decoders: the shipped one (15 slots, 14 ids), and one
with random weights and the lengths of CoCa L/14 (255 slots, 30 ids).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from frozen.data.scenes import SplitPolicy, TwinShapes
from frozen.models.decoding import entropy_bits
from frozen.models.opening import open_shipped
from frozen.models.parts import Decoder
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, TextConfig, TextTower
from frozen.models.words import WordTokenizer
from readouts.captions.decode import DecodeConfig, decoded, rows_at_once

N_LAYERS = 24


class Written(NamedTuple):
    """Captions, and the entropy of each of their steps in bits."""

    texts: list[str]
    bits: list[np.ndarray]


@torch.inference_mode()
def plain(decoder: Any, memories: list[torch.Tensor]) -> Written:
    """Layer by layer, without caches: text tower and decoder read the whole text for every word."""
    words, written = decoder.tokenizer, Written([], [])
    for memory in memories:
        ids = torch.full((len(memory), 1), words.start)
        finished = torch.zeros(len(memory), dtype=torch.bool)
        bits: list[torch.Tensor] = []
        while not finished.all():
            tokens, _ = decoder.tower.step(ids, None, 0)
            logits, _ = decoder.decoder(tokens, decoder.decoder.see(memory))
            bits.append(torch.where(finished, torch.nan, entropy_bits(logits[:, -1].double())))
            chosen = logits[:, -1].argmax(dim=1)
            if ids.shape[1] > words.context - 2:
                chosen[:] = words.end
            chosen = torch.where(finished, words.pad, chosen)
            finished |= chosen == words.end
            ids = torch.cat([ids, chosen[:, None]], dim=1)
        written.texts.extend(words.decode(ids.numpy()))
        written.bits.extend(row[~np.isnan(row)] for row in torch.stack(bits, dim=1).numpy())
    return written


def stacked(decoder: Any, memories: list[torch.Tensor]) -> Written:
    """As the read-out does it."""
    memory = torch.cat(memories)
    found = decoded(decoder, memory, DecodeConfig(), [], np.arange(len(memory)))
    return Written(found["caption"], found["step_bits"])


def seconds(run: Callable[[], object]) -> float:
    """Processor time of a run."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (decoder, memory) in {"shipped": shipped(options.images), "long": long(options.images)}.items():
        compare(name, decoder, memory, options.rounds)


def shipped(n_images: int) -> tuple[Any, torch.Tensor]:
    """The shipped decoder, and memories of scenes."""
    model = open_shipped("shapes_coca")
    split = TwinShapes(split=SplitPolicy(train=2, validation=2, test=n_images)).open("test")
    decoder: Any = model.decoder
    return decoder, decoder.memory(model.read(split.images(np.arange(n_images))))


def long(n_images: int) -> tuple[Any, torch.Tensor]:
    """A decoder with random weights that reads long memories and writes long captions."""
    torch.manual_seed(0)
    words = WordTokenizer([f"w{i}" for i in range(397)], 30)
    config = TextConfig(len(words.vocabulary), words.context, width=128)
    tower, decoder = TextTower(config, 128, summary=True).eval(), CaptionDecoder(config, 2).eval()
    made: Any = Decoder(words, AttentionalPooler(128, 256, 4), tower, decoder)
    return made, torch.randn(n_images, 255, 128)


def compare(name: str, decoder: Any, memory: torch.Tensor, rounds: int) -> None:
    """Time both ways in turns."""
    layers = [memory * (0.2 + 0.8 * layer / (N_LAYERS - 1)) for layer in range(N_LAYERS)]  # layers that differ
    one, other = plain(decoder, layers), stacked(decoder, layers)
    assert one.texts == other.texts
    assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(one.bits, other.bits, strict=True))
    times: dict[str, list[float]] = {"plain": [], "stacked": []}
    for _ in range(rounds):
        times["plain"].append(seconds(lambda: plain(decoder, layers)))
        times["stacked"].append(seconds(lambda: stacked(decoder, layers)))
    slow, fast = (statistics.median(of) for of in times.values())
    print(f"{name}: {len(memory)} images x {N_LAYERS} layers, {rows_at_once(memory)} rows at once")
    print(f"  plain {slow:.2f} s, stacked {fast:.2f} s of processor, ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main()
