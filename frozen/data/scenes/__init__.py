"""Data sets whose images have known object codes."""

from frozen.data.pixels import UnreadableImageError, read_rgb
from frozen.data.scenes._balanced_colorshape import BalancedColorShape
from frozen.data.scenes._base import (
    SPLITS,
    DataError,
    Entropies,
    Missing,
    Scene,
    Split,
    SplitName,
    fingerprint,
    prior_source,
    scene_problem,
)
from frozen.data.scenes._captions import GRAMMAR_VERSION, GRAMMARS, Grammar, caption, entails, phrase, vocabulary
from frozen.data.scenes._clevr import Clevr
from frozen.data.scenes._colorshape import ColorShape
from frozen.data.scenes._feature_splits import SplitPolicy
from frozen.data.scenes._few_shapes import FewShapes
from frozen.data.scenes._files import Files
from frozen.data.scenes._making import Device, MadeScene, MakeError, Maker, Worker
from frozen.data.scenes._occlusionclevr import OcclusionClevr
from frozen.data.scenes._sampled_scene import SampledScene, SampledSplit, UniformScene
from frozen.data.scenes._target_shapes import TargetShapes
from frozen.data.scenes._twin_shapes import TwinShapes
from frozen.data.scenes._visual_genome import VgColor, VgTopAttr
from frozen.registry import Registry

SCENES: Registry[type] = Registry(
    "frozen.datasets",
    {
        "colorshape": ColorShape,
        "balancedcolorshape": BalancedColorShape,
        "clevr": Clevr,
        "vgcolor": VgColor,
        "vgtopattr": VgTopAttr,
        "occlusionclevr": OcclusionClevr,
        "fewshapes": FewShapes,
        "targetshapes": TargetShapes,
        "twinshapes": TwinShapes,
        "files": Files,
    },
    scene_problem,
)

__all__ = [
    "GRAMMARS",
    "GRAMMAR_VERSION",
    "SCENES",
    "SPLITS",
    "BalancedColorShape",
    "Clevr",
    "ColorShape",
    "DataError",
    "Device",
    "Entropies",
    "FewShapes",
    "Files",
    "Grammar",
    "MadeScene",
    "MakeError",
    "Maker",
    "Missing",
    "OcclusionClevr",
    "SampledScene",
    "SampledSplit",
    "Scene",
    "Split",
    "SplitName",
    "SplitPolicy",
    "TargetShapes",
    "TwinShapes",
    "UniformScene",
    "UnreadableImageError",
    "VgColor",
    "VgTopAttr",
    "Worker",
    "caption",
    "entails",
    "fingerprint",
    "phrase",
    "prior_source",
    "read_rgb",
    "scene_problem",
    "vocabulary",
]
