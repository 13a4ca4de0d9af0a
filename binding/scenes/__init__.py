"""Data sets whose images have known object codes."""

from binding._registry import Registry
from binding.scenes._balanced_colorshape import BalancedColorShape
from binding.scenes._base import (
    SPLITS,
    DataError,
    Entropies,
    Missing,
    Scene,
    Split,
    SplitName,
    fingerprint,
    scene_problem,
)
from binding.scenes._captions import GRAMMAR_VERSION, GRAMMARS, Grammar, caption, entails, phrase, vocabulary
from binding.scenes._clevr import Clevr
from binding.scenes._colorshape import ColorShape
from binding.scenes._feature_splits import SplitPolicy
from binding.scenes._few_shapes import FewShapes
from binding.scenes._files import Files
from binding.scenes._making import Device, MadeScene, MakeError, Maker, Worker
from binding.scenes._occlusionclevr import OcclusionClevr
from binding.scenes._pixels import UnreadableImageError, read_rgb
from binding.scenes._sampled_scene import SampledScene, SampledSplit, UniformScene
from binding.scenes._target_shapes import TargetShapes
from binding.scenes._twin_shapes import TwinShapes
from binding.scenes._visual_genome import VgColor, VgTopAttr

SCENES: Registry[type] = Registry(
    "binding.scenes",
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
    "read_rgb",
    "scene_problem",
    "vocabulary",
]
