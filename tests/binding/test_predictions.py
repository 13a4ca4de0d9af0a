"""What the direct probe reads of every test sample."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from binding.exhibits import shown_samples
from binding.predictions import predictions
from frozen.data.scenes import ColorShape, SplitPolicy

CODES = np.array([[1, 0, 1], [0, 1, 0]], dtype=np.uint8)
SURE, WRONG = 0.01, 3.0


def test_a_head_below_even_odds_answers_the_opposite() -> None:
    bits = np.full((1, 2, 3), SURE, dtype=np.float32)
    bits[0, 0, 0] = WRONG  # an object that is there and is not read
    bits[0, 1, 2] = WRONG  # one that is read and is not there
    table = predictions(bits, CODES)
    assert table["objects"].to_pylist() == [[2], [1, 2]]
    assert table["loss_bits"].to_pylist() == pytest.approx([3.02, 3.02])


def test_seeds_are_averaged_as_probabilities() -> None:
    bits = np.full((2, 2, 3), SURE, dtype=np.float32)
    bits[0, 0, 0], bits[1, 0, 0] = 2.0, 0.2  # 0.25 and 0.87 of the truth: more than even
    bits[0, 1, 1], bits[1, 1, 1] = 2.0, 0.9  # 0.25 and 0.54: less
    assert predictions(bits, CODES)["objects"].to_pylist() == [[0, 2], []]


def test_the_worst_samples_are_shown_first_with_what_is_wrong(tmp_path) -> None:
    sizes = SplitPolicy(train=4, validation=4, test=40)
    scene = ColorShape(n_colors=3, n_shapes=2, max_objects=3, image_size=48, object_size=10, split=sizes)
    codes = scene.open("test").object_codes
    bits = np.full((1, *codes.shape), SURE, dtype=np.float32)
    present, absent = int(np.flatnonzero(codes[7])[0]), int(np.flatnonzero(codes[7] == 0)[0])
    bits[0, 7, [present, absent]] = WRONG
    (tmp_path / "predictions").mkdir()
    pq.write_table(predictions(bits, codes), tmp_path / "predictions" / "a.parquet")
    first, *others = shown_samples(tmp_path, {"cell_id": "a", "dataset": "shapes"}, {"shapes": scene})
    names = scene.space.object_names
    assert (first.key, first.missed, first.invented) == ("shapes 7", (names[present],), (names[absent],))
    assert len(others) == 17
    assert not any(one.missed or one.invented for one in others)
    assert first.picture().startswith(b"\x89PNG")
    assert list(shown_samples(tmp_path, {"cell_id": "gone", "dataset": "shapes"}, {"shapes": scene})) == []
