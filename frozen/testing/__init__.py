"""Suites that the tests of a new data set, model or reduction inherit; they need pytest."""

from frozen.testing._datasets import DatasetConformance
from frozen.testing._models import BackboneConformance, batch_of
from frozen.testing._readouts import ReadoutConformance
from frozen.testing._reductions import ReductionConformance
from frozen.testing._scenes import SceneConformance
from frozen.testing._sites import SiteConformance

__all__ = [
    "BackboneConformance",
    "DatasetConformance",
    "ReadoutConformance",
    "ReductionConformance",
    "SceneConformance",
    "SiteConformance",
    "batch_of",
]
