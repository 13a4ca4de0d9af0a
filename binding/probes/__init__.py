"""The probe families of the paper (section 3.2), by name."""

from binding.probes._attention import AttentionQuadratic
from binding.probes._base import Dropout, HeadShape, Parameters, Probe, Target
from binding.probes._dnn import DnnConcat
from binding.probes._linear import Linear
from binding.probes._quadratic import QuadraticConcat
from binding.probes._reuse import MultilinearConcatReuse, QuadraticConcatReuse

FAMILIES: dict[str, type[Probe]] = {
    family.family: family
    for family in (
        Linear,
        DnnConcat,
        QuadraticConcat,
        QuadraticConcatReuse,
        MultilinearConcatReuse,
        AttentionQuadratic,
    )
}
ALIASES = {"dnn": "dnn_concat", "quadratic": "quadratic_concat", "attention": "attention_quadratic"}

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
]
