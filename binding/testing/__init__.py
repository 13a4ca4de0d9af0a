"""Suites that the tests of a new data set or backbone inherit; the only part of the package that needs pytest."""

from binding.testing._backbones import BackboneConformance, batch_of
from binding.testing._scenes import SceneConformance

__all__ = ["BackboneConformance", "SceneConformance", "batch_of"]
