"""Captions of layers, written where the forward pass runs: a reduction that keeps words and never tokens.

The memories of all layers that a pass reads are stacked on the batch axis and decoded once, in chunks, so that memory
does not grow with the number of layers. Each layer is an entry of the store of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from frozen.capture.conditions import Condition
from frozen.capture.reductions import TEXT, Column, ForwardPass, Values
from frozen.capture.sites import Site
from frozen.data.scenes import Grammar
from frozen.models import Description
from frozen.models.decoding import LayerDecoder, Sampling, scored, write_captions
from frozen.plain import mapping_of
from frozen.problems import Problem, at_least, refuse

MOST_ROWS = {"cpu": 512, "cuda": 4096}
"""Images times layers that are decoded at once; what the caches of the decoder hold at most."""
MOST_NUMBERS = {"cpu": 2**22, "cuda": 2**30}
"""Numbers of the memories that are decoded at once. On a processor, 128 memories of 255 x 128 stay near the caches: a
batch three times as large takes a quarter longer a caption."""
NEXT_SCENE = 2
"""Distance of the scenes whose captions are candidates: no scene's twin is among them. Photos have no twins: 1."""

Memory = Literal["own", "blank"]


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How captions are written."""

    prefix: str = ""
    """Words that every caption begins with."""
    min_words: int = 0
    """The end is ruled out before so many words."""
    max_words: int | None = None
    """The end is forced after so many words; by default as many as the model reads."""
    sampling_seed: int | None = None
    """Seed of sampled captions; by default captions are greedy."""
    temperature: float = 1.0
    """Logits are divided by it before sampling."""
    top_p: float = 1.0
    """Only the likeliest words whose probabilities reach this sum are drawn from."""
    repetition_penalty: float = 1.0
    """Positive logits of words that a caption has already are divided by it, negative ones multiplied."""

    def __post_init__(self) -> None:
        refuse("decode", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("min_words", self.min_words, 0)
        if self.max_words is not None and self.max_words < max(self.min_words, len(self.prefix.split()), 1):
            yield Problem("max_words", f"must be ≥ 1, min_words and the words of the prefix, got {self.max_words}")
        if not self.temperature > 0:
            yield Problem("temperature", f"must be > 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            yield Problem("top_p", f"must lie in 0..1, above 0, got {self.top_p}")
        if not self.repetition_penalty > 0:
            yield Problem("repetition_penalty", f"must be > 0, got {self.repetition_penalty}")
        if self.sampling_seed is None and (self.temperature, self.top_p) != (1.0, 1.0):
            yield Problem("sampling_seed", "is needed for temperature and top_p, which greedy captions do not have")


class ScoredChoices(NamedTuple):
    """Log-likelihoods in nats of captions given to memories.

    Attributes:
        own: of the true caption [samples].
        swapped: of the one with colours exchanged [samples], NaN where a scene has none; None of photos.
        others: of captions of other images [samples others].
    """

    own: Float64[np.ndarray, " samples"]
    swapped: Float64[np.ndarray, " samples"] | None
    others: Float64[np.ndarray, "samples others"]


@dataclass(frozen=True)
class CaptionChoices:
    """Given captions whose likelihood every layer is asked for.

    Attributes:
        grammar: of the captions of scenes; None for photos, whose captions people wrote.
        n_others: captions of other images beside the true one; of scenes, the first one's swapped caption is scored
            too.
    """

    grammar: Grammar | None
    n_others: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The captions as labels of a split: true, swapped, those of others, swapped of the first other one."""
        if self.grammar is None:
            return ("caption", *(f"caption@{k}" for k in range(1, self.n_others + 1)))
        others = [f"caption:{self.grammar}@{NEXT_SCENE * k}" for k in range(1, self.n_others + 1)]
        swapped = f"swapped_caption:{self.grammar}"
        return (f"caption:{self.grammar}", swapped, *others, f"{swapped}@{NEXT_SCENE}")

    def read(self, nats: Float64[np.ndarray, "samples choices"], *, is_shuffled: bool) -> ScoredChoices:
        """Name the columns.

        Args:
            nats: in the order of `labels`.
            is_shuffled: whether memories are those of other images: then the captions of the first other image take
                the place of the true ones, which belong to the memory.
        """
        first = 1 if self.grammar is None else 2
        others = nats[:, first : first + self.n_others]
        own, rest = (others[:, 0], others[:, 1:]) if is_shuffled else (nats[:, 0], others[:, :-1])
        swapped = None if self.grammar is None else nats[:, -1 if is_shuffled else 1]
        return ScoredChoices(own, swapped, rest)


@dataclass(frozen=True)
class Verbalise:
    """Captions that the model's decoder writes from the tokens of a layer, and likelihoods of given ones.

    Attributes:
        site: the layer.
        config: how captions are written.
        choices: captions whose likelihood is asked for; None for none.
        memory: the layer's own, or blank: zeros, of which captions tell what the decoder says unseen.
    """

    site: Site
    config: DecodeConfig = DecodeConfig()
    choices: CaptionChoices | None = None
    memory: Memory = "own"
    needs_decoder: bool = field(default=True, init=False)
    needs_head: bool = field(default=False, init=False)
    needs_gradient: bool = field(default=False, init=False)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one."""
        return (self.site,)

    @property
    def labels(self) -> tuple[str, ...]:
        """The captions to score, each once."""
        return tuple(dict.fromkeys(self.choices.labels)) if self.choices else ()

    def key(self) -> dict[str, Any]:
        """Layer, settings and what is scored."""
        choices = mapping_of(self.choices) if self.choices else None
        own = {"reduction": "captions", "version": 1, "site": str(self.site), "memory": self.memory}
        return {**own, "decode": mapping_of(self.config), "choices": choices}

    def columns(self, description: Description, condition: Condition) -> tuple[Column, ...]:
        """Caption, ids, log-probability and entropy of each step, whether it ended; and log-likelihoods.

        Raises:
            ValueError: a model without a decoder, a site that its decoder cannot read.
        """
        del condition
        if not description.caption_context:
            raise ValueError("the model has no caption decoder")
        if self.site.part != "residual":
            raise ValueError(f"captions are read from the residual stream, not from {self.site}")
        return written_columns(self.choices)

    def begin(self, forward: ForwardPass) -> _Reducer:
        """A reducer; those of one pass share the decoding."""
        key = ("captions", self.config, self.choices, self.memory)
        return _Reducer(self, forward, forward.shared(key, lambda: _Stack(self, forward)))


def written_columns(choices: CaptionChoices | None) -> tuple[Column, ...]:
    """The columns of captions."""
    scores = (Column("choice_nats", (len(choices.labels),), "float32", may_be_missing=True),) if choices else ()
    return (
        Column("caption", (), TEXT),
        Column("ids", None, "int32"),
        Column("step_nats", None, "float32"),
        Column("step_bits", None, "float32"),
        Column("ended", (), "bool"),
        *scores,
    )


class _Stack:
    """Memories of the layers of a pass, decoded together when the first of them is asked for."""

    def __init__(self, reduction: Verbalise, forward: ForwardPass) -> None:
        self._reduction, self._batch = reduction, forward.batch
        self.memories: dict[Site, Tensor] = {}
        self._written: dict[Site, dict[str, Values]] = {}

    def written(self, site: Site, decoder: LayerDecoder) -> dict[str, Values]:
        """The columns of a layer."""
        if not self._written:
            own = self._reduction
            names = own.choices.labels if own.choices else ()
            texts = [self._batch.labels[name].tolist() for name in names]
            layers = list(self.memories)
            keys = [draw_keys(self._batch.indices, layer) for layer in layers]
            found = decoded(
                decoder,
                torch.cat([self.memories.pop(layer) for layer in layers]),
                own.config,
                [text * len(layers) for text in texts],
                np.concatenate(keys),
            )
            n = len(self._batch.indices)
            for position, layer in enumerate(layers):
                rows = slice(position * n, (position + 1) * n)
                self._written[layer] = {name: _column(values[rows]) for name, values in found.items()}
        return self._written[site]


def _column(values: Any) -> Values:
    return torch.from_numpy(values) if isinstance(values, np.ndarray) else values


class _Reducer:
    def __init__(self, reduction: Verbalise, forward: ForwardPass, stack: _Stack) -> None:
        decoder = forward.model.decoder
        assert decoder is not None
        self._reduction, self._decoder, self._stack = reduction, decoder, stack

    def take(self, site: Site, value: Tensor) -> None:
        memory = self._decoder.memory(value)
        self._stack.memories[site] = torch.zeros_like(memory) if self._reduction.memory == "blank" else memory

    def finish(self) -> Mapping[str, Values]:
        return self._stack.written(self._reduction.site, self._decoder)


def draw_keys(indices: Int64[np.ndarray, " n"], site: Site) -> Int64[np.ndarray, " n"]:
    """A number for each image and layer, by which a sampled caption's draws are made."""
    return (np.asarray(indices, dtype=np.int64) << 16) | (zlib.crc32(str(site).encode()) & 0xFFFF)


def decoded(
    decoder: LayerDecoder,
    memory: Float[Tensor, "n slots width"],
    config: DecodeConfig,
    texts: Sequence[Sequence[str]],
    keys: Int64[np.ndarray, " n"],
) -> dict[str, Any]:
    """Captions of memories and the log-likelihoods of given ones, in chunks.

    Args:
        decoder: the model's decoder.
        memory: of images and layers in any order.
        config: how captions are written.
        texts: for each choice a caption a memory; an empty one has no likelihood.
        keys: of each caption's draws.

    Returns:
        The columns that `written_columns` declares.

    Raises:
        ValueError: a caption with words that the model does not know, or bounds that it cannot keep.
    """
    chunk = rows_at_once(memory)
    parts = [
        _decoded(decoder, memory[i : i + chunk], config, [text[i : i + chunk] for text in texts], keys[i : i + chunk])
        for i in range(0, max(len(memory), 1), chunk)
    ]
    found: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        is_array = isinstance(values[0], np.ndarray)
        found[name] = np.concatenate(values) if is_array else [one for value in values for one in value]
    return found


def rows_at_once(memory: Float[Tensor, "n slots width"]) -> int:
    """How many memories are decoded in one batch: fewer of large ones, so that caches do not grow with them."""
    device = memory.device.type if memory.device.type in MOST_ROWS else "cpu"
    return max(min(MOST_ROWS[device], MOST_NUMBERS[device] // max(memory.shape[1] * memory.shape[2], 1)), 1)


def _decoded(
    decoder: LayerDecoder,
    memory: Tensor,
    config: DecodeConfig,
    texts: Sequence[Sequence[str]],
    keys: np.ndarray,
) -> dict[str, Any]:
    captions = write_captions(
        decoder,
        memory,
        prefix=config.prefix,
        min_words=config.min_words,
        max_words=config.max_words,
        sampling=Sampling(config.sampling_seed, config.temperature, config.top_p),
        repetition_penalty=config.repetition_penalty,
        keys=keys,
    )
    first = captions.ids.shape[1] - captions.step_bits.shape[1]
    n_steps = (~np.isnan(captions.step_bits)).sum(axis=1)
    found: dict[str, Any] = {
        "caption": captions.texts,
        "ids": [row[: first + n] for row, n in zip(captions.ids, n_steps, strict=True)],
        "step_nats": [row[:n] for row, n in zip(captions.step_nats, n_steps, strict=True)],
        "step_bits": [row[:n] for row, n in zip(captions.step_bits, n_steps, strict=True)],
        "ended": captions.ended,
    }
    if texts:
        found["choice_nats"] = _scores(decoder, memory, texts).astype(np.float32)
    return found


def _scores(decoder: LayerDecoder, memory: Tensor, texts: Sequence[Sequence[str]]) -> Float[np.ndarray, "n choices"]:
    """Log-likelihoods in nats; the memory is read once, and texts of one kind in one pass."""
    begun = decoder.begin(memory)
    columns = []
    for column in texts:
        nats = scored(decoder, begun, column, memory.device)
        columns.append(np.where(np.array([bool(text) for text in column]), nats, np.nan))
    return np.stack(columns, axis=1)
