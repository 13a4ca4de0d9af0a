"""Decoding of stacked layers: equal to plain decoding layer by layer, whatever else is in the stack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.sites import Site
from frozen.models import BackboneError
from frozen.models.decoding import entropy_bits, log_likelihoods
from frozen.problems import ConfigurationError
from readouts.captions import decode
from readouts.captions.decode import CaptionChoices, DecodeConfig, Verbalise
from readouts.captions.scoring import choice_columns
from tests.readouts.captions.conftest import LAYERS, Known, N


def reductions(*layers: str, **options: Any) -> list[Verbalise]:
    return [Verbalise(Site(layer), **options) for layer in layers]


def columns(known: Known, *layers: str, batch_size: int = 64, indices: Any = None, **options: Any) -> dict[str, dict]:
    """Columns by layer."""
    asked = reductions(*layers, **options)
    tables = capture(known.model, known.split, asked, batch_size=batch_size, indices=indices)  # pyright: ignore
    return {str(one.site): table.to_pydict() for one, table in tables.items()}


@torch.no_grad()
def naive(known: Known, memory: torch.Tensor, begun: Sequence[int] = ()) -> tuple[list[int], list[float]]:
    """A greedy caption and its entropies, the whole text read anew for every word.

    Args:
        known: the model.
        memory: of one image.
        begun: ids after the start that are given.
    """
    decoder: Any = known.decoder
    words = decoder.tokenizer
    ids, bits = [words.start, *begun], []
    while ids[-1] != words.end:
        tokens, _ = decoder.tower(torch.tensor([ids]))
        logits, _ = decoder.decoder(tokens, decoder.decoder.see(memory[None]))
        bits.append(float(entropy_bits(logits[0, -1].double())))
        ids.append(words.end if len(ids) > words.context - 2 else int(logits[0, -1].argmax()))
    return ids, bits


@pytest.fixture(scope="module")
def together(known: Known) -> dict[str, dict]:
    return columns(known, *LAYERS, choices=CaptionChoices("counted", 3))


@pytest.mark.parametrize(
    ("layers", "images"), [(("0", "5"), (1, 4)), pytest.param(LAYERS, range(N), marks=pytest.mark.slow)]
)
def test_stacked_captions_are_those_of_naive_decoding_word_for_word(
    known: Known, together: dict[str, dict], layers: tuple[str, ...], images: Iterable[int]
) -> None:
    for layer in layers:
        memory = known.decoder.memory(known.tokens[layer])
        for i in images:
            ids, bits = naive(known, memory[i])
            assert together[layer]["ids"][i] == ids
            np.testing.assert_allclose(together[layer]["step_bits"][i], bits, atol=1e-4)
    assert len({tuple(map(tuple, together[layer]["ids"])) for layer in LAYERS}) == len(LAYERS)


def test_the_last_layer_says_what_is_there_and_the_first_does_not(known: Known, together: dict[str, dict]) -> None:
    split: Any = known.split
    true = split.captions(np.arange(N), "counted")
    right = {
        layer: np.mean([a == b for a, b in zip(together[layer]["caption"], true, strict=True)]) for layer in LAYERS
    }
    assert right["5"] > 0.9
    assert right["embed"] == 0


def test_a_caption_depends_neither_on_the_other_images_nor_on_the_other_layers(
    known: Known, together: dict[str, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decode.MOST_ROWS, "cpu", 7)
    order = np.array([9, 3, 15, 11])
    alone = columns(known, "2", batch_size=2, indices=order, choices=CaptionChoices("counted", 3))["2"]
    assert alone["ids"] == [together["2"]["ids"][i] for i in order]
    np.testing.assert_allclose(alone["choice_nats"], np.array(together["2"]["choice_nats"])[order], atol=1e-3)


def test_layers_are_not_mixed_up(known: Known, together: dict[str, dict]) -> None:
    backwards = columns(known, *LAYERS[::-1])
    for layer in LAYERS:
        assert backwards[layer]["caption"] == together[layer]["caption"]


def test_log_probabilities_of_steps_are_those_of_teacher_forcing(known: Known, together: dict[str, dict]) -> None:
    for layer in LAYERS:
        memory = known.decoder.memory(known.tokens[layer])
        forced = log_likelihoods(known.decoder, memory, together[layer]["caption"])
        np.testing.assert_allclose([sum(one) for one in together[layer]["step_nats"]], forced, atol=1e-4)


def test_choices_are_the_likelihoods_of_true_swapped_and_other_captions(
    known: Known, together: dict[str, dict]
) -> None:
    split: Any = known.split
    memory, rows = known.decoder.memory(known.tokens["5"]), np.arange(N)
    nats = np.array(together["5"]["choice_nats"])
    assert nats.shape == (N, 2 + 3 + 1)
    own = split.captions(rows, "counted")
    expected = [own, [own[i ^ 1] for i in rows], *([own[(i + 2 * k) % N] for i in rows] for k in (1, 2, 3))]
    expected.append([own[((i + 2) % N) ^ 1] for i in rows])
    for column, texts in zip(nats.T, expected, strict=True):
        np.testing.assert_allclose(column, log_likelihoods(known.decoder, memory, texts), atol=1e-3)


def test_the_binding_of_twins_is_one_bit_to_the_last_layer_and_none_to_a_blank_memory(
    known: Known, together: dict[str, dict]
) -> None:
    """Twins exchange their captions, so that without an image every preference of the decoder is wrong once."""
    choices, units = CaptionChoices("counted", 3), np.arange(N) // 2
    blank = columns(known, "5", memory="blank", choices=choices)["5"]
    seen, unseen = (
        choice_columns(choices.read(np.array(of["choice_nats"], dtype=np.float64), is_shuffled=False), units)
        for of in (together["5"], blank)
    )
    assert seen["preferred"].mean() == 1
    assert seen["choice_bits"].mean() > 0.95
    assert unseen["preferred"].mean() == 0.5
    assert unseen["choice_bits"].mean() <= 0
    assert np.abs(unseen["delta_nats"]).min() > 1e-3  # it does prefer one


def test_entropy_is_that_of_a_plain_loop() -> None:
    logits = 6 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, found in zip(logits.softmax(1).tolist(), entropy_bits(logits).tolist(), strict=True):
        clipped = [min(max(p, 1e-15), 1 - 1e-15) for p in row]
        assert found == pytest.approx(-sum(p * math.log2(p) for p in clipped), abs=1e-3)


def test_bounds_prefix_and_blank_memory(known: Known) -> None:
    bounded = columns(known, "5", config=DecodeConfig(min_words=9, max_words=10))["5"]
    assert {len(text.split()) for text in bounded["caption"]} <= {9, 10}
    blank = columns(known, "2", "5", memory="blank")
    assert len({*blank["2"]["caption"], *blank["5"]["caption"]}) == 1


def test_a_prefix_is_given_and_the_rest_is_greedy(known: Known, together: dict[str, dict]) -> None:
    begun = columns(known, "2", config=DecodeConfig(prefix="two a red"))["2"]
    assert all(text.startswith("two a red ") for text in begun["caption"])
    words: Any = known.decoder.tokenizer
    given = words.encode(["two a red"])[0, 1:4].tolist()
    memory = known.decoder.memory(known.tokens["2"])
    for i in (0, 3):
        ids, bits = naive(known, memory[i], given)
        assert begun["ids"][i] == ids
        np.testing.assert_allclose(begun["step_bits"][i], bits, atol=1e-4)
    assert columns(known, "2", config=DecodeConfig(prefix=""))["2"]["ids"] == together["2"]["ids"]


def test_a_repetition_penalty_changes_what_is_written_and_not_its_entropies(
    known: Known, together: dict[str, dict]
) -> None:
    mild = columns(known, "5", config=DecodeConfig(repetition_penalty=1e6, max_words=5))["5"]
    assert all(len(set(text.split())) == len(text.split()) for text in mild["caption"])
    for own, other in zip(mild["step_bits"], together["5"]["step_bits"], strict=True):
        assert own[0] == pytest.approx(other[0], abs=1e-4)


def test_sampling_repeats_with_its_seed_and_cold_sampling_is_greedy(known: Known, together: dict[str, dict]) -> None:
    few = np.arange(4)

    def sampled(seed: int, **options: float) -> list[str]:
        config = DecodeConfig(sampling_seed=seed, **options)
        return columns(known, "2", config=config, indices=few)["2"]["caption"]

    assert sampled(1) == sampled(1) != sampled(2)
    for cold in ({"temperature": 1e-4}, {"top_p": 1e-6}):
        assert sampled(1, **cold) == together["2"]["caption"][:4]


def test_equal_settings_have_equal_keys_and_other_ones_other_keys() -> None:
    variants = [
        Verbalise(Site("2")),
        Verbalise(Site("3")),
        Verbalise(Site("2"), DecodeConfig(max_words=5)),
        Verbalise(Site("2"), choices=CaptionChoices("counted", 8)),
        Verbalise(Site("2"), choices=CaptionChoices("plain", 8)),
        Verbalise(Site("2"), memory="blank"),
    ]
    assert len({str(one.key()) for one in variants}) == len(variants)
    assert Verbalise(Site("2")).key() == Verbalise(Site("2")).key()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_p": 0.0}, "top_p: must lie in 0..1"),
        ({"temperature": 0.5}, "sampling_seed: is needed"),
        ({"min_words": 5, "max_words": 3}, "max_words: must be"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: must be > 0"),
    ],
)
def test_contradictory_settings_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DecodeConfig(**options)


@pytest.mark.parametrize("as_many_as_tokens", [False, True])
@pytest.mark.parametrize("layer", ["2", "final"])
def test_a_swapped_layout_of_tokens_is_refused(known: Known, layer: str, as_many_as_tokens: bool) -> None:
    """[tokens images width] in place of [images tokens width]: of as many images as tokens, no shape tells it."""
    model: Any = known.model
    n_tokens = model.description.layout.n_tokens
    n = n_tokens if as_many_as_tokens else 3
    indices = np.arange(n) % N
    original = model.trunk
    flipped = original._replace(run=lambda images: original.run(images).transpose(0, 1))
    handle = original.blocks[2].register_forward_hook(lambda _module, _inputs, out: out.transpose(0, 1))
    try:
        if layer == "final":
            handle.remove()
            model.trunk = flipped
        with pytest.raises(BackboneError, match="as its description says; images must come before tokens"):
            columns(known, layer, batch_size=n_tokens, indices=indices)
    finally:
        handle.remove()
        model.trunk = original
