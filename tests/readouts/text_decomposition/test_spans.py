"""Heads rebuilt from their texts: what is kept when they are those of the image, and of another one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from readouts.text_decomposition.settings import TextSpanConfig
from readouts.text_decomposition.spans import Described, described
from readouts.text_decomposition.texts import TextTable
from tests.readouts.text_decomposition.known import SPACE, WIDTH, given, lens, outputs

N = 240
WORDS = tuple(value for group in SPACE.groups for value in group.values)


@pytest.fixture(scope="module")
def found() -> Described:
    """Head 1.0 writes the direction of the image's colour, which is its class, and nothing else tells it."""
    codes = {
        name: np.eye(16, dtype=np.uint8)[np.random.default_rng(s).integers(16, size=N)]
        for s, name in enumerate(("validation", "test"))
    }
    weights = lens()
    output = 0.01 * weights.output
    for value in range(3):
        output[1, value, value] = 10
    zero = {"output_bias": 0 * weights.output_bias, "norm_bias": 0 * weights.norm_bias}
    own = replace(weights, output=output, gain=0 * weights.gain + 1, **zero)
    points = np.concatenate([np.eye(3), -np.ones((1, 3))]).astype(np.float32)
    columns = {}
    for number, name in enumerate(codes):
        one = outputs(N, number)
        one["heads"] *= 0.1
        one["mlps"] *= 0.1
        one["mean"] *= 0
        one["scale"][:] = 1
        one["embedding"][:] = 1
        one["heads"][:, 1, 0] += points[codes[name].argmax(1) // 4]
        columns[name] = one
    vectors = np.zeros((8, WIDTH), np.float32)
    vectors[:4, :3], vectors[4:, 4:7] = points, points
    config = TextSpanConfig(texts=2, last_layers=1, rotations=3)
    known = given(
        columns,
        codes["test"].argmax(1) // 4,
        vectors[:4],
        codes=codes,
        lens=own,
        table=TextTable(WORDS, vectors),
        config=config,
        analysis="textspan",
        fits=False,
    )
    object.__setattr__(known, "pools", {"auto": WORDS})
    return described(known, config)


def test_a_class_that_one_head_writes_is_kept(found: Described) -> None:
    assert found.baseline.mean() > 0.99
    assert found.right.mean() > 0.7
    assert {text for text, *_ in json.loads(found.texts[0])} <= set(WORDS[:4])


def test_rebuilt_heads_of_other_images_tell_nothing(found: Described) -> None:
    assert abs(found.right_permuted.mean() - 0.25) < 4 * (0.25 * 0.75 / N) ** 0.5 + 0.05
    assert found.right_permuted.mean() < found.right.mean() - 0.3


def test_two_texts_explain_more_than_rotated_ones(found: Described) -> None:
    share = found.explained.sum(axis=0) / found.total.sum(axis=0)
    assert share[0] > found.chance[:, 0].max()
    assert 0 < found.permuted[0] <= 1
