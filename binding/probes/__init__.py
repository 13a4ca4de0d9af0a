"""The probe families of the paper (section 3.2), by name."""

from binding.probes._attention import AttentionQuadratic
from binding.probes._base import Dropout, HeadShape, Parameters, Probe, Target, dense, normal, probe_problem
from binding.probes._dnn import DnnConcat
from binding.probes._linear import Linear
from binding.probes._quadratic import QuadraticConcat
from binding.probes._reuse import MultilinearConcatReuse, QuadraticConcatReuse
from frozen.registry import Registry

ALIASES = {"dnn": "dnn_concat", "quadratic": "quadratic_concat", "attention": "attention_quadratic"}
FAMILIES: Registry[type[Probe]] = Registry(
    "binding.probes",
    {
        family.family: family
        for family in (
            Linear,
            DnnConcat,
            QuadraticConcat,
            QuadraticConcatReuse,
            MultilinearConcatReuse,
            AttentionQuadratic,
        )
    },
    probe_problem,
    taken=ALIASES,
)

__all__ = [
    "ALIASES",
    "FAMILIES",
    "AttentionQuadratic",
    "DnnConcat",
    "Dropout",
    "HeadShape",
    "Linear",
    "MultilinearConcatReuse",
    "Parameters",
    "Probe",
    "QuadraticConcat",
    "QuadraticConcatReuse",
    "Target",
    "dense",
    "normal",
    "probe_problem",
]
