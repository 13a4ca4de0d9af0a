"""Captions from a memory: greedy, sampled, or scored word by word, with caches of what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

AnyState = TypeVar("AnyState")


@runtime_checkable
class Tokenizer(Protocol):
    """Texts as ids.

    Attributes:
        context: ids a text has at most, start and end among them.
        pad: id behind the end.
        start: first id of every text.
        end: id that ends a text.
        vocabulary: what each id says.
    """

    context: int
    pad: int
    start: int
    end: int
    vocabulary: tuple[str, ...]

    def encode(self, texts: Sequence[str]) -> Int64[np.ndarray, "texts context"]:
        """Start, text and end, padded to the context."""
        ...

    def decode(self, ids: Int64[np.ndarray, "texts length"]) -> list[str]:
        """The text of each row up to its end."""
        ...


@runtime_checkable
class DecodesCaptions(Protocol[AnyState]):
    """A caption decoder, one step at a time."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def begin(self, memory: Float[Tensor, "n slots width"]) -> AnyState: ...

    def step(
        self, state: AnyState, ids: Int64[Tensor, "n new"]
    ) -> tuple[Float[Tensor, "n new vocabulary"], AnyState]:
        """Logits of the id after each of the new ids."""
        ...


@runtime_checkable
class LayerDecoder(DecodesCaptions[Any], Protocol):
    """A caption decoder that reads the tokens of any layer of its trunk, as the model's own reads those of the last.

    Norms and poolers that stand between the trunk's tokens and the decoder are part of `memory`.
    """

    @property
    def weights_digest(self) -> str:
        """sha256 of its weights; those of the trunk are not among them."""
        ...

    def memory(self, tokens: Float[Tensor, "images tokens width"]) -> Float[Tensor, "images slots memory_width"]:
        """What the decoder sees of a layer's tokens, prefix tokens included."""
        ...


@runtime_checkable
class DropsRows(Protocol[AnyState]):
    """A decoder whose captions may leave the batch when they have ended."""

    def keep(self, state: AnyState, rows: Int64[Tensor, " some"]) -> AnyState:
        """The state of some captions alone."""
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
        step_bits: float64 [n steps]: entropy of each step; NaN where the caption had ended before.
        step_nats: float64 [n steps]: log-probability of the id that each step wrote, before any constraint, likewise.
    """

    texts: list[str]
    ids: Int64[np.ndarray, "n length"]
    entropy_bits: Float[np.ndarray, " n"]
    ended: Bool[np.ndarray, " n"]
    step_bits: Float[np.ndarray, "n steps"]
    step_nats: Float[np.ndarray, "n steps"]


@torch.inference_mode()
def write_captions(
    decoder: DecodesCaptions[AnyState],
    memory: Float[Tensor, "n slots width"],
    *,
    prefix: str = "",
    min_words: int = 0,
    max_words: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008, a value that cannot be changed
    repetition_penalty: float = 1.0,
    keys: Int64[np.ndarray, " n"] | None = None,
) -> Captions:
    """Write one caption for each memory.

    Args:
        decoder: the model's decoder.
        memory: float32 [n slots width], of one layer or of several stacked.
        prefix: words that every caption begins with.
        min_words: the end is ruled out before so many words (ids, where the tokenizer's are parts of words).
        max_words: the end is forced after so many words; None: as many as the model reads.
        sampling: greedy by default.
        repetition_penalty: logits of ids that a caption has already are divided by it where they are positive, and
            multiplied where they are negative; 1 changes nothing.
        keys: a number for each caption by which its own draws are made, so that they do not depend on what else is in
            the batch; None draws for the batch as a whole.

    Raises:
        ValueError: bounds that contradict each other, or a temperature, top_p or penalty out of range.
    """
    words, n = decoder.tokenizer, len(memory)
    most = words.context - 2 if max_words is None else max_words
    begun = words.encode([prefix])
    begun = begun[:, : int((begun[0] == words.end).argmax())]
    if not 0 <= min_words <= most <= words.context - 2 or begun.shape[1] - 1 > most:
        raise ValueError(
            f"needs 0 ≤ min_words ≤ max_words ≤ {words.context - 2} and a prefix of at most max_words words, "
            f"got {min_words}, {most} and {prefix!r}"
        )
    if not (sampling.temperature > 0 and 0 < sampling.top_p <= 1):
        raise ValueError(f"needs temperature > 0 and 0 < top_p ≤ 1, got {sampling.temperature} and {sampling.top_p}")
    if not repetition_penalty > 0:
        raise ValueError(f"needs repetition_penalty > 0, got {repetition_penalty}")
    device = memory.device
    given = torch.from_numpy(begun).to(device).expand(n, -1)
    written, state, new = given, decoder.begin(memory), given
    draws = _draws(sampling.seed, keys, n, words.context)
    finished = torch.zeros(n, dtype=torch.bool, device=device)
    by_itself, bits, nats = finished.clone(), [], []
    rows = torch.arange(n, device=device)  # captions in the batch
    while not finished.all():
        logits, state = decoder.step(state, new)
        logits = logits[:, -1].double()
        live, n_words = ~finished[rows], written.shape[1] - 1
        logs = logits.log_softmax(dim=1)
        bits.append(_in_place(torch.where(live, entropy_bits(logits), math.nan), rows, n, math.nan))
        if repetition_penalty != 1:
            _penalise(logits, written[rows], repetition_penalty)
        if n_words < min_words:
            logits[:, words.end] = -math.inf
        chosen = _choose(logits, sampling, None if draws is None else draws[:, len(bits) - 1].to(device)[rows])
        if n_words >= most:
            chosen = torch.full_like(chosen, words.end)
        else:
            by_itself[rows] |= live & (chosen == words.end)
        step_nats = torch.where(live, logs.gather(1, chosen[:, None])[:, 0], math.nan)
        nats.append(_in_place(step_nats, rows, n, math.nan))
        chosen = torch.where(live, chosen, words.pad)
        finished[rows] |= chosen == words.end  # a flag of its own: a model may write padding and go on
        written = torch.cat([written, _in_place(chosen, rows, n, words.pad)[:, None]], dim=1)
        left = torch.nonzero(~finished[rows]).flatten()
        if 2 * len(left) <= len(rows) and isinstance(decoder, DropsRows):  # what stays is copied: not at every end
            state, rows, chosen = decoder.keep(state, left), rows[left], chosen[left]
        new = chosen[:, None]
    ids = written.cpu().numpy()
    step_bits, step_nats = (torch.stack(of, dim=1).cpu().numpy() if of else np.zeros((n, 0)) for of in (bits, nats))
    mean = np.nansum(step_bits, axis=1) / np.maximum((~np.isnan(step_bits)).sum(axis=1), 1)
    return Captions(words.decode(ids), ids, mean, by_itself.cpu().numpy(), step_bits, step_nats)


def _in_place(values: Tensor, rows: Int64[Tensor, " some"], n: int, otherwise: float) -> Tensor:
    """Values of some captions among those of all."""
    return values.new_full((n,), otherwise).index_copy_(0, rows, values)


def entropy_bits(logits: Float[Tensor, "... vocabulary"]) -> Float[Tensor, "..."]:
    """Entropy in bits of softmax(logits)."""
    logs = logits.log_softmax(dim=-1)
    return -(logs.exp() * logs).nan_to_num().sum(dim=-1) / math.log(2)


def _draws(
    seed: int | None, keys: Int64[np.ndarray, " n"] | None, n: int, steps: int
) -> Float[Tensor, "n steps"] | None:
    """Uniform numbers in 0..1, one a caption and step; None without a seed."""
    if seed is None:
        return None
    if keys is None:
        return torch.from_numpy(np.random.default_rng(seed).random((n, steps)))
    each = [np.random.default_rng([seed, int(key)]).random(steps) for key in keys]
    return torch.from_numpy(np.array(each).reshape(n, steps))


def _penalise(logits: Float[Tensor, "n vocabulary"], written: Int64[Tensor, "n length"], penalty: float) -> None:
    """Lower the logits of what is written already."""
    seen = logits.gather(1, written)
    logits.scatter_(1, written, torch.where(seen > 0, seen / penalty, seen * penalty))


def _choose(logits: Float[Tensor, "n vocabulary"], sampling: Sampling, draws: Tensor | None) -> Tensor:
    if draws is None:
        return logits.argmax(dim=1)
    probabilities = (logits / sampling.temperature).softmax(dim=1)
    ordered, which = probabilities.sort(dim=1, descending=True)
    before = ordered.cumsum(dim=1) - ordered
    ordered = torch.where(before < sampling.top_p, ordered, 0.0)  # the likeliest id always stays
    reached = ordered.cumsum(dim=1)
    drawn = (reached <= draws[:, None] * reached[:, -1:]).sum(dim=1, keepdim=True)
    return which.gather(1, drawn)[:, 0]


@torch.inference_mode()
def log_likelihoods(
    decoder: DecodesCaptions[AnyState], memory: Float[Tensor, "n slots width"], texts: Sequence[str]
) -> Float[np.ndarray, " n"]:
    """Natural log of the probability of a given caption for each memory, its end included, by teacher forcing."""
    return scored(decoder, decoder.begin(memory), texts, memory.device)


@torch.inference_mode()
def scored(
    decoder: DecodesCaptions[AnyState], begun: AnyState, texts: Sequence[str], device: torch.device
) -> Float[np.ndarray, " n"]:
    """The same for memories that the decoder has seen, which may be asked for several captions.

    Args:
        decoder: the model's decoder.
        begun: what its `begin` made of n memories.
        texts: n captions.
        device: where the memories are.
    """
    words = decoder.tokenizer
    ids = words.encode(texts)
    length = int((np.cumsum(ids[:, ::-1] != words.pad, axis=1) > 0).sum(axis=1).max(initial=2))
    given = torch.from_numpy(ids[:, :length]).to(device)
    is_text = torch.from_numpy(_until_end(ids[:, :length], words.end)).to(device)
    logits, _ = decoder.step(begun, given[:, :-1])
    logs = logits.double().log_softmax(dim=-1).gather(2, given[:, 1:, None])[..., 0]
    return torch.where(is_text[:, 1:], logs, 0.0).sum(dim=1).cpu().numpy()


def _until_end(ids: Int64[np.ndarray, "n length"], end: int) -> Bool[np.ndarray, "n length"]:
    """Places up to the end, which is one of them: the id of padding may be a word too."""
    return np.cumsum(ids == end, axis=1) - (ids == end) == 0
