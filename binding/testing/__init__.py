"""Test suites that the tests of a new data set inherit; the only part of the package that needs pytest."""

from binding.testing._scenes import SceneConformance

__all__ = ["SceneConformance"]
