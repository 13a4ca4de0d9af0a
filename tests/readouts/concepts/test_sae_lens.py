"""sae-lens as an oracle: it reads what we write, we read what it writes, and it recovers no more of planted atoms.

It needs sae-lens, which brings many packages of language models: pip install sae-lens.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from frozen.models._torchvision_ops import declare_missing_operators
from readouts.concepts.checkpoints import read_dictionary, to_sae_lens
from readouts.concepts.dictionary import KINDS, Dictionary
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stream import Stream
from tests.readouts.concepts.planted import mmcs, planted, trained

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WIDTH, ATOMS, STEPS, BATCH = 32, 128, 3000, 512
OURS = {
    "relu_l1": DictionaryConfig(kind="relu_l1"),
    "topk": DictionaryConfig(kind="topk", k=3),
    "batchtopk": DictionaryConfig(kind="batchtopk", k=4),
    "jumprelu": DictionaryConfig(kind="jumprelu"),
    "gated": DictionaryConfig(kind="gated"),
    "matryoshka": DictionaryConfig(kind="matryoshka", k=4),
}


@pytest.fixture(scope="module")
def sae_lens() -> Any:
    declare_missing_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("sae_lens")


def theirs(sae_lens: Any, kind: str, rows: Any, steps: int, folder: Path) -> Dictionary:
    """A dictionary that sae-lens trained, read from the folder that it saved; settings are the best that we found."""
    common = {"d_in": WIDTH, "d_sae": ATOMS, "dtype": "float32", "device": "cpu"}
    made = {
        "relu_l1": ("Standard", {"l1_coefficient": 0.3}),
        "topk": ("TopK", {"k": 3}),
        "batchtopk": ("BatchTopK", {"k": 4}),
        "jumprelu": ("JumpReLU", {"l0_coefficient": 0.05}),
        "gated": ("Gated", {"l1_coefficient": 0.3}),
        "matryoshka": ("MatryoshkaBatchTopK", {"k": 4, "matryoshka_widths": [32, 64, 128]}),
    }
    name, own = made[kind]
    torch.manual_seed(0)
    config = getattr(sae_lens, f"{name}TrainingSAEConfig")(**common, **own)
    sae = getattr(sae_lens, f"{name}TrainingSAE")(config)
    from sae_lens.config import SAETrainerConfig  # pyright: ignore[reportMissingImports], no dependency
    from sae_lens.training.sae_trainer import SAETrainer  # pyright: ignore[reportMissingImports]

    plan = SAETrainerConfig(
        total_training_samples=steps * BATCH,
        train_batch_size_samples=BATCH,
        lr=3e-3,
        lr_end=3e-4,
        lr_decay_steps=steps // 5,
    )
    batches = iter(Stream(rows, BATCH, seed=0).batches())
    with contextlib.redirect_stderr(io.StringIO()):
        SAETrainer(plan, sae, batches).fit()
    sae.save_inference_model(folder)
    return read_dictionary(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_sae_lens_reads_what_we_write(kind: str, sae_lens: Any, tmp_path: Path) -> None:
    _, rows = planted(0, n=2000, offset=2.0)
    one = trained(rows, OURS[kind], TrainingConfig(steps=40, batch_size=64))
    to_sae_lens(one, tmp_path / "sae")
    their = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    x = torch.from_numpy(rows[:200])
    with torch.no_grad():
        codes = their.encode(x)
        torch.testing.assert_close(codes.to_dense(), one.encode(x), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(their.decode(codes), one.decode(one.encode(x)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_we_read_what_sae_lens_writes(kind: str, sae_lens: Any, tmp_path: Path) -> None:
    _, rows = planted(0, n=2000, offset=2.0)
    one = theirs(sae_lens, kind, rows, 30, tmp_path / "sae")
    their = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    x = torch.from_numpy(rows[:200])
    with torch.no_grad():
        codes = their.encode(x)
        torch.testing.assert_close(one.encode(x), codes.to_dense(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.decode(one.encode(x)), their.decode(codes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_ours_recovers_at_least_as_much(kind: str, sae_lens: Any, tmp_path: Path) -> None:
    atoms, rows = planted(0)
    other = mmcs(atoms, theirs(sae_lens, kind, rows, STEPS, tmp_path / "sae"), rows)
    own = mmcs(atoms, trained(rows, OURS[kind], TrainingConfig(steps=STEPS, batch_size=BATCH)), rows)
    print(f"{kind}: ours {own:.4f}, sae-lens {other:.4f}")
    assert own >= other
