"""Suites that the tests of a new data set, backbone or probe inherit; the only part that needs pytest."""

from binding.testing._known_codes import GaussianCode, KnownCode, Truth, known_codes
from binding.testing._measurement import MeasurementConformance
from binding.testing._probes import ProbeConformance
from frozen.testing._models import BackboneConformance, batch_of
from frozen.testing._scenes import SceneConformance

__all__ = [
    "BackboneConformance",
    "GaussianCode",
    "KnownCode",
    "MeasurementConformance",
    "ProbeConformance",
    "SceneConformance",
    "Truth",
    "batch_of",
    "known_codes",
]
