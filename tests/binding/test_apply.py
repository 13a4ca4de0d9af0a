"""Tuned probes from their file: the same losses on the same images, objects of new images, plain refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from binding.apply import activations, decode, main, open_backbone
from binding.examples import Examples
from binding.fit import FitConfig
from binding.measurement import Measurement, measure_samples
from binding.probe_file import ProbeFile, ProbeFileError
from binding.probes import Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.capture.views import read
from frozen.data.scenes import SPLITS, ColorShape, SplitName, SplitPolicy
from frozen.models import BackboneConfig, Batch, load
from frozen.rows import Rows

CPU = torch.device("cpu")
SCENE = ColorShape(
    n_colors=2,
    n_shapes=2,
    max_objects=3,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=600, validation=150, test=100),
)
BACKBONE = BackboneConfig(source="shipped:shapes_vit_objects")
CONFIG = MeasureConfig(fit=FitConfig(epochs=12, batch_size=64), search=SearchConfig(suggestions=1))


class Probed(NamedTuple):
    """A measurement, and its probes as they are written."""

    measurement: Measurement
    probes: ProbeFile


def probed(activations: Mapping[SplitName, np.ndarray], config: MeasureConfig, about: Mapping[str, object]) -> Probed:
    """Probes of given activations of the scene's splits."""
    splits = [
        Samples(values, split.object_codes, split.conditional_entropy_bits(), split.prior_log_odds())
        for values, split in ((values, SCENE.open(name)) for name, values in activations.items())
    ]
    train, validation, test = splits
    samples = SplitSamples(SCENE.space, train, validation, test)
    measurement = measure_samples(samples, ProbeSpace.of("linear", learning_rate=0.5), config)
    where = {"space": SCENE.space, "backbone": BACKBONE, "layer": "final", "mode": "cls", "dtype": "float16"}
    return Probed(measurement, ProbeFile.of(measurement, about=about, **where))


@pytest.fixture(scope="module")
def outcome() -> Probed:
    """A cell of the shipped model, measured on its real activations."""
    model, data = load(BACKBONE, SCENE, CPU), {}
    for number, name in enumerate(SPLITS):
        split = SCENE.open(name)
        everything = np.arange(len(split))
        codes = split.object_codes
        batch = Batch(everything, split.images(everything), codes, split.space.feature_codes(codes), number)
        data[name] = read(model.forward(batch)["final"], "cls", model.description.layout).numpy()
    return probed(data, CONFIG, {"cell_id": "cell", "weights_digest": model.weights_digest})


@pytest.fixture(scope="module")
def path(outcome: Probed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("probes") / "cell.safetensors"
    data = outcome.probes.to_bytes(10**7)
    assert data is not None
    made.write_bytes(data)
    return made


def test_losses_of_the_test_images_are_those_of_the_measurement(outcome: Probed, path: Path) -> None:
    file = ProbeFile.read(path)
    split = SCENE.open("test")
    images = split.images(np.arange(len(split)))
    z = activations(file, open_backbone(file, CPU), images)
    features = split.space.feature_codes(split.object_codes)
    view = outcome.measurement.targets["direct"].view
    bits: dict[Target, np.ndarray] = {
        "objects": split.object_codes,
        "features": features,
        "direct": split.object_codes,
    }
    if view == "features":
        bits["direct"] = np.concatenate([split.object_codes, features], axis=1)
    for target, codes in bits.items():
        odds = split.prior_log_odds() if target == "direct" else None
        if odds is not None and view == "objects_probe":
            odds = np.where(np.isfinite(odds), 0.0, odds)
        examples = Examples.of(Rows(z, None, CPU), codes, odds, CPU)
        found = np.stack([fitted.evaluate(examples)[0].sum(axis=1) for fitted in file.targets[target]])
        np.testing.assert_allclose(found, outcome.measurement.targets[target].test_bits, atol=1e-4)


def test_new_images_are_read(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = SCENE.open("test")
    names = ["red circle", "red square", "blue circle", "blue square"]
    for number in range(40):
        image = Image.fromarray(split.images(np.array([number]))[0])
        (image.resize((128, 128), Image.Resampling.NEAREST) if number == 0 else image).save(
            tmp_path / f"{number:02}.png"
        )
    assert main([str(path), str(tmp_path), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["image"]).name for one in found] == [f"{number:02}.png" for number in range(40)]
    right = [
        one["objects"] == [name for name, bit in zip(names, code, strict=True) if bit]
        for one, code in zip(found, split.object_codes, strict=False)
    ]
    assert np.mean(right) > 0.8
    assert set(found[0]["object_probabilities"]) == set(names)
    assert all(0 <= value <= 1 for value in found[0]["feature_probabilities"].values())
    assert main([str(path), str(tmp_path / "01.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / '01.png'}: {', '.join(found[1]['objects']) or 'nothing'}\n"


def test_codes_decode_to_themselves() -> None:
    """Z = O: what the probes read is the code."""
    data = {name: SCENE.open(name).object_codes.astype(np.float16) for name in SPLITS}
    probes = probed(data, CONFIG, {}).probes
    codes = SCENE.open("test").object_codes
    decoded = decode(probes.targets["objects"], probes.standardized(codes.astype(np.float16)))
    assert (decoded.bits == codes).mean() > 0.99
    assert ((decoded.probabilities > 0.5) == decoded.bits).all()


def test_decoding_shows_a_head_what_was_decoded_before() -> None:
    """A probe of one activation that copies bit 0 into bit 1 through the code weight alone."""
    from binding.fit import Fitted
    from binding.probes import FAMILIES, HeadShape

    parameters = {
        "z_weight": torch.tensor([[8.0, 0.0]]),
        "code_weight": torch.tensor([[0.0, 20.0], [0.0, 0.0]]),
        "bias": torch.zeros(2),
    }
    fitted = Fitted(FAMILIES["linear"](), HeadShape(1, 2), parameters)
    decoded = decode([fitted], np.array([[1.0], [-1.0]], dtype=np.float32))
    assert decoded.bits.tolist() == [[True, True], [False, False]]


def test_as_many_seeds_are_kept_as_fit(outcome: Probed) -> None:
    both = outcome.probes.to_bytes(10**7)
    assert both is not None
    one = outcome.probes.to_bytes(len(both) // 2)
    assert one is not None
    assert len(one) < len(both)
    assert outcome.probes.to_bytes(1000) is None


def test_refusals_say_what_to_do(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    Image.new("F", (64, 64), 300.0).save(tmp_path / "float.tif")
    cases: dict[tuple[Path, Path], str] = {
        (tmp_path / "none.safetensors", other): "none.safetensors: no such file",
        (other, other): "holds no tuned probes",
        (path, tmp_path / "nowhere.png"): "no such file",
        (path, tmp_path / "empty"): "no images in this folder",
        (path, tmp_path / "text.png"): "text.png: cannot be read as an image (it has no format of images",
        (path, tmp_path / "float.tif"): "float.tif: cannot be read as an image (its numbers lie in 300..300",
    }
    for (probes, image), message in cases.items():
        assert main([str(probes), str(image)]) == 2
        assert message in capsys.readouterr().err
    file = ProbeFile.read(path)
    changed: Any = replace(file, about={"weights_digest": "0" * 64})
    with pytest.raises(ProbeFileError, match="are not those that the probes were tuned on"):
        open_backbone(changed, CPU)
    with pytest.raises(ProbeFileError, match="reads codes, not images"):
        open_backbone(replace(file, backbone=BackboneConfig(source="control:noise")), CPU)
