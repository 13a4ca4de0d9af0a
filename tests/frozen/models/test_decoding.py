"""Writing captions: constraints, sampling, caches, and what a caption's likelihood is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.data.scenes import FewShapes, vocabulary
from frozen.models.decoding import Captions, Sampling, entropy_bits, log_likelihoods, write_captions
from frozen.models.parts import Decoder, State
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, TextConfig, TextTower
from frozen.models.words import WordTokenizer

WORDS = WordTokenizer(vocabulary(FewShapes().space), 14)


def random_decoder(seed: int = 0) -> Decoder:
    """Untrained, with weights so large that captions differ between images."""
    torch.manual_seed(seed)
    config = TextConfig(len(WORDS.vocabulary), 14, width=32, depth=2)
    tower, decoder = TextTower(config, 32, summary=True), CaptionDecoder(config, 2)
    with torch.no_grad():
        decoder.text_projection *= 4
        for module in (tower, decoder):
            for parameter in module.parameters():
                parameter += 0.2 * torch.randn(parameter.shape)
    return Decoder(WORDS, AttentionalPooler(32, 6, 4).eval(), tower.eval(), decoder.eval())


DECODER = random_decoder()
MEMORY = torch.randn(24, 5, 32, generator=torch.Generator().manual_seed(1))


class Scripted(NamedTuple):
    """A decoder whose logits are the same at every step."""

    tokenizer: WordTokenizer
    logits: Tensor

    def begin(self, memory: Tensor) -> int:
        return len(memory)

    def step(self, state: int, ids: Tensor) -> tuple[Tensor, int]:
        return self.logits.expand(*ids.shape, -1), state


@torch.no_grad()
def written_without_caches(prefix: str, most: int) -> list[list[int]]:
    """Greedy captions, one image at a time, the whole text read anew for every word."""
    captions = []
    for memory in MEMORY:
        ids = WORDS.encode([prefix])[0, : len(prefix.split()) + 1].tolist()
        while ids[-1] != WORDS.end:
            tokens, _ = DECODER.tower(torch.tensor([ids]))
            logits, _ = DECODER.decoder(tokens, DECODER.decoder.see(memory[None]))
            ids.append(WORDS.end if len(ids) > most else int(logits[0, -1].argmax()))
        captions.append(ids)
    return captions


@pytest.mark.parametrize(("prefix", "most"), [("", 12), ("two a red", 12), ("", 5)])
def test_cached_captions_of_a_batch_are_those_of_single_images_without_caches(prefix: str, most: int) -> None:
    found = write_captions(DECODER, MEMORY, prefix=prefix, max_words=most)
    expected = written_without_caches(prefix, most)
    assert [row[: row.index(WORDS.end) + 1] for row in found.ids.tolist()] == expected
    assert len(set(found.texts)) > 3
    assert all(text.startswith(prefix) for text in found.texts)


class Whole(NamedTuple):
    """A decoder whose captions cannot leave the batch."""

    inner: Decoder

    @property
    def tokenizer(self) -> WordTokenizer:
        return WORDS

    def begin(self, memory: Tensor) -> State:
        return self.inner.begin(memory)

    def step(self, state: State, ids: Tensor) -> tuple[Tensor, State]:
        return self.inner.step(state, ids)


@pytest.mark.parametrize(
    ("sampling", "penalty"), [(Sampling(), 1.0), (Sampling(), 1.5), (Sampling(seed=3, temperature=0.7), 1.0)]
)
def test_captions_that_ended_may_leave_the_batch(
    sampling: Sampling, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    keep = Decoder.keep

    def counted(self: Decoder, state: State, rows: Tensor) -> State:
        sizes.append(len(rows))
        return keep(self, state, rows)

    monkeypatch.setattr(Decoder, "keep", counted)
    some, all_of_them = (
        write_captions(one, MEMORY, prefix="two", min_words=2, sampling=sampling, repetition_penalty=penalty)
        for one in (DECODER, Whole(DECODER))
    )
    assert sizes
    assert sizes[0] <= len(MEMORY) // 2
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_array_equal(some.ids, all_of_them.ids)
    np.testing.assert_array_equal(some.ended, all_of_them.ended)
    np.testing.assert_allclose(some.step_bits, all_of_them.step_bits, atol=1e-5)
    np.testing.assert_allclose(some.step_nats, all_of_them.step_nats, atol=1e-5)


def test_bounds_on_the_number_of_words_hold_and_what_was_cut_is_said() -> None:
    least, most = 3, 6
    found = write_captions(DECODER, MEMORY, min_words=least, max_words=most)
    lengths = (found.ids == WORDS.end).argmax(axis=1) - 1
    assert least <= lengths.min()
    assert lengths.max() <= most
    assert (found.ended | (lengths == most)).all()
    assert not write_captions(Scripted(WORDS, torch.eye(21)[5]), MEMORY).ended.any()


def test_padding_that_the_model_writes_is_not_an_end() -> None:
    """Id 0 may be the likeliest; only the end ends a caption."""
    found = write_captions(Scripted(WORDS, torch.eye(21)[0]), MEMORY[:2], max_words=4)
    assert found.ids.tolist() == [[WORDS.start, 0, 0, 0, 0, WORDS.end]] * 2


@pytest.mark.parametrize(("logits", "bits"), [(torch.zeros(21), math.log2(21)), (1e4 * torch.eye(21)[20], 0.0)])
def test_entropy_is_that_of_the_unconstrained_logits(logits: Tensor, bits: float) -> None:
    for options in ({}, {"min_words": 3}, {"sampling": Sampling(seed=0, temperature=0.5, top_p=0.2)}):
        found = write_captions(Scripted(WORDS, logits), MEMORY[:3], **options)  # pyright: ignore
        np.testing.assert_allclose(found.entropy_bits, bits, atol=1e-6)


def test_entropy_of_impossible_ids_counts_nothing() -> None:
    logits = torch.tensor([0.0, 0.0, -math.inf])
    assert float(entropy_bits(logits)) == pytest.approx(1.0)


def test_sampling_follows_the_probabilities_its_seed_and_top_p() -> None:
    shares = torch.tensor([0.0] * 17 + [0.5, 0.3, 0.0, 0.2])
    decoder, many = Scripted(WORDS, shares.log()), torch.zeros(4000, 1, 1)

    def first(sampling: Sampling) -> np.ndarray:
        return write_captions(decoder, many, max_words=1, sampling=sampling).ids[:, 1]

    counts = np.bincount(first(Sampling(seed=0)), minlength=21) / 4000
    np.testing.assert_allclose(counts, shares, atol=4.5 * math.sqrt(0.25 / 4000))
    np.testing.assert_array_equal(first(Sampling(seed=0)), first(Sampling(seed=0)))
    assert (first(Sampling(seed=0)) != first(Sampling(seed=1))).any()
    assert set(first(Sampling(seed=0, top_p=0.6)).tolist()) == {17, 18}
    assert set(first(Sampling(seed=0, top_p=0.4)).tolist()) == {17}
    assert set(first(Sampling(seed=0, temperature=0.01)).tolist()) == {17}


def test_a_captions_likelihood_is_the_product_of_its_steps() -> None:
    texts = ["one a red square", "nothing", "two a red square and a blue circle"] * 8
    found = log_likelihoods(DECODER, MEMORY, texts)
    for i in range(3):
        ids = torch.from_numpy(WORDS.encode([texts[i]]))
        length = int((ids != 0).sum())
        total, state = 0.0, DECODER.begin(MEMORY[i : i + 1])
        with torch.no_grad():
            for t in range(length - 1):
                logits, state = DECODER.step(state, ids[:, t : t + 1])
                total += float(logits[0, -1].double().log_softmax(0)[ids[0, t + 1]])
        assert found[i] == pytest.approx(total, abs=1e-4)


def test_no_images_have_no_captions() -> None:
    found = write_captions(DECODER, MEMORY[:0])
    assert isinstance(found, Captions)
    assert found.texts == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_words": 5, "max_words": 4}, "needs 0 ≤ min_words ≤ max_words ≤ 12"),
        ({"max_words": 13}, "needs 0 ≤ min_words ≤ max_words ≤ 12"),
        ({"prefix": "a red", "max_words": 1}, "a prefix of at most max_words words"),
        ({"sampling": Sampling(seed=0, temperature=0.0)}, "needs temperature > 0"),
        ({"sampling": Sampling(seed=0, top_p=0.0)}, "0 < top_p ≤ 1"),
    ],
)
def test_contradictory_settings_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_captions(DECODER, MEMORY, **options)


def test_the_steps_of_a_caption_add_up_to_its_likelihood_and_its_entropy() -> None:
    found = write_captions(DECODER, MEMORY, max_words=7)
    np.testing.assert_allclose(
        np.nansum(found.step_nats, axis=1), log_likelihoods(DECODER, MEMORY, found.texts), atol=1e-4
    )
    np.testing.assert_allclose(np.nanmean(found.step_bits, axis=1), found.entropy_bits, atol=1e-9)
    lengths = (found.ids == WORDS.end).argmax(axis=1)
    assert ((~np.isnan(found.step_bits)).sum(axis=1) == lengths).all()


def test_a_repeated_word_is_penalised_whatever_the_sign_of_its_logit() -> None:
    for sign in (1.0, -1.0):
        logits = torch.full((21,), sign * 2 - 4.0)
        logits[5], logits[6] = sign * 2.0, sign * 2.0 - 0.5
        found = write_captions(Scripted(WORDS, logits), MEMORY[:1], max_words=2, repetition_penalty=1.5)
        assert found.ids[0, 1:3].tolist() == [5, 6]
        assert write_captions(Scripted(WORDS, logits), MEMORY[:1], max_words=2).ids[0, 1:3].tolist() == [5, 5]
