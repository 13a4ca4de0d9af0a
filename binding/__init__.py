"""Binding information in activations: codes, entropies, probes and measures. No Ray; works in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from binding.fit import FitConfig
    from binding.information import Estimate
    from binding.measurement import Measurement, measure
    from binding.samples import MeasureConfig
    from binding.search import ProbeSpace, SearchConfig
    from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
    from frozen.data.scenes.priors import UniformPrior
    from frozen.intervals import IntervalConfig
    from frozen.ranges import Choices, Range

__all__ = [
    "Choices",
    "Estimate",
    "FeatureGroup",
    "FeatureSpace",
    "FitConfig",
    "IntervalConfig",
    "MeasureConfig",
    "Measurement",
    "ProbeSpace",
    "Range",
    "SearchConfig",
    "UniformPrior",
    "measure",
]
_HOMES = {
    "binding.fit": ("FitConfig",),
    "binding.information": ("Estimate",),
    "binding.measurement": ("Measurement", "measure"),
    "binding.samples": ("MeasureConfig",),
    "binding.search": ("ProbeSpace", "SearchConfig"),
    "frozen.data.scenes.codes": ("FeatureGroup", "FeatureSpace"),
    "frozen.data.scenes.priors": ("UniformPrior",),
    "frozen.intervals": ("IntervalConfig",),
    "frozen.ranges": ("Choices", "Range"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: scenes and codes need no torch."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'binding' has no attribute {name!r}")
