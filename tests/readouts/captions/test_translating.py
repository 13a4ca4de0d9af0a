"""Translators: planted maps come back, and what is translated is read as the last layer is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frozen.models.decoding import write_captions
from readouts.captions.translating import Translator, fit
from tests.readouts.captions.conftest import Known

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(60, 7, 5))


def test_equal_tokens_have_the_identity_map() -> None:
    found, explained = fit(TOKENS, TOKENS, ridge=0.0)
    np.testing.assert_allclose(found.weight, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(found.bias, 0, atol=1e-9)
    assert explained == pytest.approx(1)


def test_a_planted_map_is_recovered_and_survives_its_file() -> None:
    weight, bias = RNG.normal(size=(5, 3)), RNG.normal(size=3)
    targets = TOKENS @ weight + bias + 1e-4 * RNG.normal(size=(60, 7, 3))
    found, explained = fit(TOKENS, targets, ridge=1e-9)
    np.testing.assert_allclose(found.weight, weight, atol=1e-3)
    np.testing.assert_allclose(found.bias, bias, atol=1e-3)
    assert explained > 0.999
    again = Translator.from_bytes(found.to_bytes())
    np.testing.assert_allclose(again.weight, weight, atol=1e-3)


def test_noise_is_not_explained_on_images_that_were_held_out() -> None:
    """120 tokens and 40 channels: on its own images a fit would explain a third."""
    tokens, targets = RNG.normal(size=(2, 24, 5, 40))
    _, explained = fit(tokens, targets, ridge=1e-6)
    assert explained < 0


def test_the_last_images_do_not_move_the_map() -> None:
    changed = TOKENS.copy()
    changed[48:] = 100
    one, _ = fit(TOKENS, 2 * TOKENS, ridge=1e-6)
    other, explained = fit(TOKENS, 2 * changed, ridge=1e-6)
    np.testing.assert_array_equal(one.weight, other.weight)
    assert explained < 0.9


def test_a_channel_that_never_varies_is_no_trouble() -> None:
    tokens = TOKENS.copy()
    tokens[..., 2] = 3.0
    found, _ = fit(tokens, TOKENS[..., :1], ridge=0.0)
    assert np.isfinite(found.weight).all()


def test_tokens_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="of other images"):
        fit(TOKENS, TOKENS[:50], ridge=1e-3)
    with pytest.raises(ValueError, match="at least 10 training images"):
        fit(TOKENS[:4], TOKENS[:4], ridge=1e-3)


def test_a_layer_in_another_format_says_what_the_last_one_says(known: Known) -> None:
    """The last layer's tokens through a planted map, which the decoder cannot read, and back through a fitted one."""
    last = known.tokens["5"].numpy().astype(np.float64)
    width = last.shape[-1]
    hidden = last @ RNG.normal(size=(width, width)) + 3
    found, _ = fit(hidden, last, ridge=0.0)
    back = found.apply(torch.from_numpy(hidden)).float()
    own = write_captions(known.decoder, known.decoder.memory(known.tokens["5"])).texts
    assert write_captions(known.decoder, known.decoder.memory(back)).texts == own
    garbled = torch.from_numpy(hidden).float()
    assert write_captions(known.decoder, known.decoder.memory(garbled)).texts != own
