"""Captions from a memory: greedy, sampled, or scored word by word, with caches of what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from binding.backbones.words import WordTokenizer

AnyState = TypeVar("AnyState")


@runtime_checkable
class DecodesCaptions(Protocol[AnyState]):
    """A caption decoder, one step at a time."""

    @property
    def tokenizer(self) -> WordTokenizer: ...

    def begin(self, memory: Float[Tensor, "n slots width"]) -> AnyState: ...

    def step(
        self, state: AnyState, ids: Int64[Tensor, "n new"]
    ) -> tuple[Float[Tensor, "n new vocabulary"], AnyState]:
        """Logits of the id after each of the new ids."""
        ...


class Sampling(NamedTuple):
    """How the next id is chosen: without a seed the likeliest one, with a seed by chance.

    Attributes:
        seed: of the draws; None is greedy.
        temperature: logits are divided by it before sampling.
        top_p: only the likeliest ids whose probabilities reach this sum are drawn from.
    """

    seed: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0


class Captions(NamedTuple):
    """Captions as they were written.

    Attributes:
        texts: words without start and end.
        ids: int64 [n length], the start first; after its end a caption is padded.
        entropy_bits: float64 [n]: entropy of the logits before any constraint, mean over a caption's steps, the one
            that gave the end among them.
        ended: whether a caption ended by itself; the others were cut.
    """

    texts: list[str]
    ids: Int64[np.ndarray, "n length"]
    entropy_bits: Float[np.ndarray, " n"]
    ended: Bool[np.ndarray, " n"]


@torch.inference_mode()
def write_captions(
    decoder: DecodesCaptions[AnyState],
    memory: Float[Tensor, "n slots width"],
    *,
    prefix: str = "",
    min_words: int = 0,
    max_words: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008, a value that cannot be changed
) -> Captions:
    """Write one caption for each memory.

    Args:
        decoder: the model's decoder.
        memory: float32 [n slots width], of one layer or of several stacked.
        prefix: words that every caption begins with.
        min_words: the end is ruled out before so many words.
        max_words: the end is forced after so many words; None: as many as the model reads.
        sampling: greedy by default.

    Raises:
        ValueError: bounds that contradict each other, or a temperature or top_p out of range.
    """
    words, n = decoder.tokenizer, len(memory)
    most = words.context - 2 if max_words is None else max_words
    if not 0 <= min_words <= most <= words.context - 2 or len(prefix.split()) > most:
        raise ValueError(
            f"needs 0 ≤ min_words ≤ max_words ≤ {words.context - 2} and a prefix of at most max_words words, "
            f"got {min_words}, {most} and {prefix!r}"
        )
    if not (sampling.temperature > 0 and 0 < sampling.top_p <= 1):
        raise ValueError(f"needs temperature > 0 and 0 < top_p ≤ 1, got {sampling.temperature} and {sampling.top_p}")
    generator = None if sampling.seed is None else torch.Generator().manual_seed(sampling.seed)
    given = torch.from_numpy(words.encode([prefix])[:, : len(prefix.split()) + 1]).expand(n, -1)
    written, state, new = given, decoder.begin(memory), given
    finished = torch.zeros(n, dtype=torch.bool)
    by_itself, bits, steps = finished.clone(), torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.long)
    while not finished.all():
        logits, state = decoder.step(state, new)
        logits = logits[:, -1].double()
        live, n_words = ~finished, written.shape[1] - 1
        bits[live] += entropy_bits(logits)[live]
        steps += live
        if n_words < min_words:
            logits[:, words.end] = -math.inf
        chosen = _choose(logits, sampling, generator)
        if n_words >= most:
            chosen = torch.full_like(chosen, words.end)
        else:
            by_itself |= live & (chosen == words.end)
        chosen = torch.where(finished, words.pad, chosen)
        finished = finished | (chosen == words.end)  # a flag of its own: a model may write padding and go on
        written = torch.cat([written, chosen[:, None]], dim=1)
        new = chosen[:, None]
    ids = written.numpy()
    return Captions(words.decode(ids), ids, (bits / steps.clamp(min=1)).numpy(), by_itself.numpy())


def entropy_bits(logits: Float[Tensor, "... vocabulary"]) -> Float[Tensor, "..."]:
    """Entropy in bits of softmax(logits)."""
    logs = logits.log_softmax(dim=-1)
    return -(logs.exp() * logs).nan_to_num().sum(dim=-1) / math.log(2)


def _choose(logits: Float[Tensor, "n vocabulary"], sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return logits.argmax(dim=1)
    probabilities = (logits / sampling.temperature).softmax(dim=1)
    ordered, which = probabilities.sort(dim=1, descending=True)
    before = ordered.cumsum(dim=1) - ordered
    ordered = torch.where(before < sampling.top_p, ordered, 0.0)  # the likeliest id always stays
    drawn = torch.multinomial(ordered, 1, generator=generator)
    return which.gather(1, drawn)[:, 0]


@torch.inference_mode()
def log_likelihoods(
    decoder: DecodesCaptions[AnyState], memory: Float[Tensor, "n slots width"], texts: Sequence[str]
) -> Float[np.ndarray, " n"]:
    """Natural log of the probability of a given caption for each memory, its end included, by teacher forcing."""
    words = decoder.tokenizer
    ids = torch.from_numpy(words.encode(texts))
    logits, _ = decoder.step(decoder.begin(memory), ids[:, :-1])
    logs = logits.double().log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    return torch.where(ids[:, 1:] == words.pad, 0.0, logs).sum(dim=1).numpy()
