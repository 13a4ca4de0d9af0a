"""Suites that the tests of a new data set or model inherit; they need pytest."""

from frozen.testing._models import BackboneConformance, batch_of
from frozen.testing._scenes import SceneConformance

__all__ = ["BackboneConformance", "SceneConformance", "batch_of"]
