"""What is captured of a frozen model over a split, and its key in a store."""

from __future__ import annotations

from dataclasses import dataclass

from frozen.capture.views import Mode
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig


@dataclass(frozen=True)
class View:
    """What a mode shows of a layer's tokens, as one column `activations`."""

    layer: str
    mode: Mode

    @property
    def is_pooled(self) -> bool:
        """Whether it keeps one vector a sample, so that a split's are worth holding in memory."""
        return self.mode != "all"

    def key(self) -> dict[str, str]:
        """What the key of a capture hashes of it."""
        return {"kind": "activations", "layer": self.layer, "mode": self.mode}


@dataclass(frozen=True)
class Capture:
    """What a reduction keeps of one split's forward passes through a model."""

    dataset: DatasetSpec
    split: str
    backbone: BackboneConfig
    reduction: View
    dtype: str
    """Type in which numbers are stored."""
