"""Data sets whose images have known object codes."""

from binding.scenes._balanced_colorshape import BalancedColorShape
from binding.scenes._base import SPLITS, DataError, Entropies, Missing, Scene, Split, SplitName, fingerprint
from binding.scenes._clevr import Clevr
from binding.scenes._colorshape import ColorShape
from binding.scenes._feature_splits import SplitPolicy
from binding.scenes._files import Files
from binding.scenes._making import Device, MadeScene, MakeError, Maker, Worker
from binding.scenes._occlusionclevr import OcclusionClevr
from binding.scenes._visual_genome import VgColor, VgTopAttr

SCENES: dict[str, type] = {
    "colorshape": ColorShape,
    "balancedcolorshape": BalancedColorShape,
    "clevr": Clevr,
    "vgcolor": VgColor,
    "vgtopattr": VgTopAttr,
    "occlusionclevr": OcclusionClevr,
    "files": Files,
}

__all__ = [
    "SCENES",
    "SPLITS",
    "BalancedColorShape",
    "Clevr",
    "ColorShape",
    "DataError",
    "Device",
    "Entropies",
    "Files",
    "MadeScene",
    "MakeError",
    "Maker",
    "Missing",
    "OcclusionClevr",
    "Scene",
    "Split",
    "SplitName",
    "SplitPolicy",
    "VgColor",
    "VgTopAttr",
    "Worker",
    "fingerprint",
]
