"""Binding information in activations: codes, entropies, probes and measures. No Ray; works in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from binding.fit import FitConfig
    from binding.information import Estimate, IntervalConfig
    from binding.measurement import Measurement, measure
    from binding.samples import MeasureConfig
    from binding.search import Choices, ProbeSpace, Range, SearchConfig
    from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
    from frozen.data.scenes.priors import UniformPrior

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
    "codes": ("FeatureGroup", "FeatureSpace"),
    "fit": ("FitConfig",),
    "information": ("Estimate", "IntervalConfig"),
    "measurement": ("Measurement", "measure"),
    "priors": ("UniformPrior",),
    "samples": ("MeasureConfig",),
    "search": ("Choices", "ProbeSpace", "Range", "SearchConfig"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: scenes and codes need no torch."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"binding.{module}"), name)
    raise AttributeError(f"module 'binding' has no attribute {name!r}")
