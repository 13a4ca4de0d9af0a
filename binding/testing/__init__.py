"""Suites that the tests of a new probe inherit, and codes whose information is known; they need pytest."""

from binding.testing._known_codes import GaussianCode, KnownCode, Truth, known_codes
from binding.testing._measurement import MeasurementConformance
from binding.testing._probes import ProbeConformance

__all__ = ["GaussianCode", "KnownCode", "MeasurementConformance", "ProbeConformance", "Truth", "known_codes"]
