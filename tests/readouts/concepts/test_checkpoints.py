"""Dictionaries of others give the codes that they gave there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from readouts.concepts.checkpoints import from_published, read_dictionary, to_sae_lens
from readouts.concepts.dictionary import KINDS, Dictionary, DictionaryError
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from tests.readouts.concepts.planted import planted, trained

M, D = 24, 8


def published() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    bias = torch.randn(1, D, generator=generator)
    return {
        "tied_bias": bias,
        "pre_encoder_bias._bias_reference": bias,
        "encoder._weight": torch.randn(1, M, D, generator=generator),
        "encoder._bias": torch.randn(1, M, generator=generator),
        "decoder._weight": torch.randn(1, D, M, generator=generator),
        "post_decoder_bias._bias_reference": bias,
    }


def test_a_published_checkpoint_computes_the_papers_formula(tmp_path: Path) -> None:
    state = published()
    torch.save(state, tmp_path / "sae.pt")
    one = read_dictionary(tmp_path / "sae.pt")
    x = torch.randn(16, D, generator=torch.Generator().manual_seed(1))
    f = torch.relu((x - state["tied_bias"]) @ state["encoder._weight"][0].T + state["encoder._bias"])
    torch.testing.assert_close(one.encode(x), f, rtol=1e-6, atol=1e-6)
    found = f @ state["decoder._weight"][0].T + state["tied_bias"]
    torch.testing.assert_close(one.decode(f), found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", list(published()))
def test_missing_and_transposed_tensors_are_refused(name: str) -> None:
    state = published()
    with pytest.raises(DictionaryError, match="lacks"):
        from_published({key: value for key, value in state.items() if key != name})
    if state[name].ndim == 3:
        with pytest.raises(DictionaryError, match="must be"):
            from_published({**state, name: state[name].transpose(1, 2)})


@pytest.mark.parametrize("kind", KINDS)
def test_sae_lens_folders_hold_the_same_codes(kind: str, tmp_path: Path) -> None:
    _, rows = planted(0, n=1000, offset=2.0)
    config = DictionaryConfig(kind=kind, k=3, expansion=2)  # pyright: ignore[reportArgumentType]
    one = trained(rows, config, TrainingConfig(steps=40, batch_size=64))
    to_sae_lens(one, tmp_path / "sae")
    again = read_dictionary(tmp_path / "sae")
    x = torch.from_numpy(rows[:200])
    torch.testing.assert_close(again.encode(x), one.encode(x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(again.decode(again.encode(x)), one.decode(one.encode(x)), rtol=1e-3, atol=1e-3)
    if kind == "relu_l1":  # what sae-lens computes, written out
        tensors = load_file(tmp_path / "sae" / "sae_weights.safetensors")
        f = torch.relu((x - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"])
        torch.testing.assert_close(f, one.encode(x), rtol=1e-3, atol=1e-3)
        config = tmp_path / "sae" / "cfg.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "architecture": "transcoder"}))
        with pytest.raises(DictionaryError, match="architecture 'transcoder'"):
            read_dictionary(tmp_path / "sae")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sae.pt").write_bytes(b"nothing of that kind")
    for path in (tmp_path / "sae.pt", tmp_path / "none.pt", tmp_path):
        with pytest.raises(DictionaryError):
            read_dictionary(path)
    own = from_published(published())
    (tmp_path / "own.safetensors").write_bytes(own.to_bytes())
    again = read_dictionary(tmp_path / "own.safetensors")
    assert isinstance(again, Dictionary)
    assert torch.equal(replace(again, scale=2.0).encoder, own.encoder)
