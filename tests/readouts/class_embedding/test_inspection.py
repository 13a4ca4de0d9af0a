from __future__ import annotations

import numpy as np
import pytest

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from readouts.class_embedding.inspection import MemoryPeaks
from readouts.class_embedding.sublayers import Sublayer, value_vectors
from tests.readouts.class_embedding.nets import Pictures, columns_of, net

NUMBERS = (47, *range(0, 47, 2))


@pytest.mark.parametrize("sublayer", ["attention", "mlp"])
def test_peaks_of_memories_are_what_a_loop_finds(sublayer: Sublayer) -> None:
    model, split = net("registers"), Pictures(20)
    peaks = MemoryPeaks(1, sublayer, NUMBERS, vectors="raw")
    raw = WholeSite(peaks.sites[0])
    tables = capture(model, split, [peaks, raw])
    keys, found = columns_of(tables[raw])["activations"].reshape(20, 21, -1), columns_of(tables[peaks])
    assert model.head is not None
    favour = model.head.linear.weight.detach().numpy() @ value_vectors(model, 1, sublayer).numpy()
    for i in range(20):
        active = {j for token in keys[i] for j in np.argsort(-token)[:5].tolist()}
        for place, number in enumerate(NUMBERS):
            assert found["place"][i, place] == keys[i, :, number].argmax()
            assert found["peak"][i, place] == keys[i, :, number].max()
            assert found["fires"][i, place] == (number in active)
            assert found["favour"][i, place] == pytest.approx(favour[split.classes[i], number], abs=1e-5)
    assert 0 < found["fires"].mean() < 1
