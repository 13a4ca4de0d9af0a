"""What a plan warns of before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from frozen.data.scenes import SPLITS, SampledScene, Scene, SplitName
from frozen.readout.cells import Cell

_LITTLE_BITS = 0.1


def little_to_bind(cells: Iterable[Cell]) -> Iterator[str]:
    """Splits in which features nearly tell the objects, where a data set knows it without its data."""
    for name, scene in {cell.dataset.name: cell.dataset.config for cell in cells}.items():
        for split in SPLITS:
            bits = _conditional_entropy(scene, split)
            if bits is not None and bits < _LITTLE_BITS:
                yield (
                    f"{name}: H(O|F) of the split {split} is {bits:.3g} bits: features tell objects, and ratios are "
                    "empty or meaningless; use `split: {policy: independent}`, or more feature values"
                )


def _conditional_entropy(scene: Scene, split: SplitName) -> float | None:
    if not isinstance(scene, SampledScene):
        return None
    try:
        return scene.conditional_entropy_bits(split)
    except ValueError:  # nothing to draw: said when the split is opened
        return None
