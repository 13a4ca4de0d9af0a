"""A map to the joint space of a CLIP: known maps come back, and what is read through one sums exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig, load
from frozen.readout.cells import Cell, LeftOut
from frozen.readout.needs import Capture, Inputs, Product
from frozen.testing._readouts import measured
from readouts.text_decomposition.asked import CLIP_FIT, CLIP_TEST
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.estimates import estimate, table
from readouts.text_decomposition.mapping import LinearMap, fit_map, fitted, mapped_space, packed
from readouts.text_decomposition.readout import TextDecomposition
from readouts.text_decomposition.settings import JointConfig
from sweep.study.load import StudyError, load_study
from tests.readouts.text_decomposition.towers import columns

CLIP = "shipped:shapes_clip_objects"
STUDY = """\
name: mapped
readout: text_decomposition
datasets:
  - {name: single, scene: fewshapes, max_objects: 1, split: {train: 2, validation: 200, test: 60}}
backbones: ["shipped:shapes_vit_class"]
joint: {clip: "shipped:shapes_clip_objects"}
controls: [random_init, shuffled]
analyses: [heads]
intervals: {resamples: 100}
"""


def random_map(seed: int = 0) -> tuple[LinearMap, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = LinearMap(rng.standard_normal((5, 8)).astype(np.float32), rng.standard_normal(5).astype(np.float32))
    return found, (3 + rng.standard_normal((400, 8))).astype(np.float32)


def test_a_linear_map_comes_back() -> None:
    true, given = random_map()
    found = fit_map(given, true(given), 1e-9)
    assert np.allclose(found.project, true.project, atol=1e-4)
    assert np.allclose(found.bias, true.bias, atol=1e-3)


def test_a_penalty_makes_it_smaller_and_leaves_the_mean_alone() -> None:
    true, given = random_map()
    found = fit_map(given, true(given), 1000.0)
    assert np.linalg.norm(found.project) < 0.1 * np.linalg.norm(true.project) * 10
    assert np.linalg.norm(found.project) < np.linalg.norm(fit_map(given, true(given), 1e-9).project)
    assert np.allclose(found(given).mean(0), true(given).mean(0), atol=1e-3)


def ratio(missed: np.ndarray, total: np.ndarray) -> Any:
    samples = table(None, missed=missed, map_total=total)
    return estimate({0: samples}, IntervalConfig(resamples=200), seed=0)[0]["map_ratio"]


def test_half_of_the_variance_that_is_noise_is_not_explained() -> None:
    true, given = random_map()
    rng = np.random.default_rng(1)
    clean = true(given)
    noisy = clean + clean.std(0) * rng.standard_normal(clean.shape)
    found = fit_map(given[:300], noisy[:300], 1e-6)
    missed = ((found(given[300:]) - noisy[300:]) ** 2).sum(1)
    total = ((noisy[300:] - noisy[:300].mean(0)) ** 2).sum(1)
    assert ratio(missed, total).value == pytest.approx(0.5, abs=0.1)
    assert ratio(missed, total).low < 0.5 < ratio(missed, total).high + 0.1


@pytest.fixture(scope="module")
def images() -> dict[str, dict[str, np.ndarray]]:
    """What the CLIP keeps of some scenes."""
    scene = FewShapes(max_objects=1, split=SplitPolicy(train=2, validation=200, test=60))
    model = load(BackboneConfig(source=CLIP), scene, torch.device("cpu"))
    return {
        name: columns(next(iter(capture(model, scene.open(name), [ImageTerms(6)]).values())))
        for name in ("validation", "test")
    }


def of_itself(images: dict[str, dict[str, np.ndarray]], order: np.ndarray | None = None) -> Inputs:
    """The CLIP as the backbone that is mapped to it, its images in another order if one is given."""
    clip = {CLIP_FIT: images["validation"]["embedding"], CLIP_TEST: images["test"]["embedding"]}
    own: dict[str, Any] = {name: {"activations": values} for name, values in clip.items()}
    given = {name: dict(values) for name, values in images.items()}
    if order is not None:
        given["validation"]["embedding"] = given["validation"]["embedding"][order]
    return Inputs({}, {**given, **own}, {})


def test_a_clip_is_mapped_to_itself_and_images_of_others_to_nothing(images: Any) -> None:
    config = JointConfig(clip=CLIP, ridge=1e-4)
    own = fitted(of_itself(images), config)
    assert ratio(own.missed, own.total).value > 0.98
    order = np.random.default_rng(0).permutation(200)
    other = fitted(of_itself(images, order), config)
    assert ratio(other.missed, other.total).value < 0.05
    again = mapped_space(config, packed(own.linear))
    assert np.array_equal(again.project, own.linear.project)
    assert again.encode(["red"]).shape == (1, len(again.project))


def made(tmp_path: Path, text: str = STUDY) -> list[Any]:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return list(TextDecomposition().cells(load_study(path)))


def test_the_map_is_a_product_that_the_decomposition_needs(tmp_path: Path) -> None:
    found = made(tmp_path)
    cells = [one for one in found if isinstance(one, Cell)]
    maps = {cell.cell_id: cell for cell in cells if cell.column("analysis") == "map"}
    assert {cell.control for cell in maps.values()} == {None, "random_init"}
    for cell in cells:
        if cell.column("analysis") == "decomposition":
            [need] = [need for _, need in cell.needs_of(Product)]
            assert maps[need.giver].control == cell.control
    [one] = [cell for cell in maps.values() if cell.control is None]
    sources = {str(need.backbone.source) for _, need in one.needs_of(Capture)}
    assert sources == {"shipped:shapes_vit_class", CLIP}
    assert any(isinstance(one, LeftOut) and "maps nothing" in one.reason for one in found)


def test_what_is_read_through_a_map_sums_to_the_mapped_embedding(tmp_path: Path) -> None:
    cells = [one for one in made(tmp_path) if isinstance(one, Cell) and one.control is None]
    found = measured(TextDecomposition(), cells)
    by_term = {(cell.column("analysis"), cell.column("term")): outcome.row for cell, outcome in found}
    mapping, whole = by_term["map", "mapped embedding"], by_term["decomposition", "mapped embedding"]
    assert 0.3 < mapping["map_ratio_low"] < mapping["map_ratio"] < mapping["map_ratio_high"] <= 1  # pyright: ignore
    assert mapping["n_fitted"] == 200
    assert whole["sum_error"] < 1e-3  # pyright: ignore
    assert whole["accuracy_percent"] > 50, "of 16 kinds"  # pyright: ignore


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('"shipped:shapes_vit_class"}', "has no text tower here"),
        ('"nowhere"}', "must be"),
        ('"shipped:shapes_clip_objects", ridge: 0.0}', "must be above 0, got 0"),
    ],
)
def test_a_map_to_nothing_is_refused(tmp_path: Path, more: str, message: str) -> None:
    text = STUDY.replace('joint: {clip: "shipped:shapes_clip_objects"}', f"joint: {{clip: {more}")
    with pytest.raises(StudyError) as error:
        made(tmp_path, text)
    assert message in str(error.value)
