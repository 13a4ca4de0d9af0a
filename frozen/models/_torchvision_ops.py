"""Lets torchvision be imported beside a torch that its compiled operators were not built for.

timm imports torchvision. The wheel on the package index is built for CUDA; beside a CPU-only torch its
compiled library cannot be loaded, and the import stops at "operator torchvision::nms does not exist",
because torchvision registers fake kernels for `nms` and `qnms`. Nothing here uses either operator, so
their schemas are declared when, and only when, the real library cannot be loaded.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from threading import Lock

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[object] = []
_lock = Lock()


def declare_missing_operators() -> bool:
    """Declare `torchvision::nms` and `torchvision::qnms` if the real ones cannot be loaded.

    Call it before timm is imported, in every process.

    Returns:
        Whether they had to be declared; False with a matching torchvision, or with none.
    """
    with _lock:  # a name can be declared once only, and extractors open backbones in two threads
        return _declare()


@cache
def _declare() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _compiled_library_loads(Path(spec.origin).parent):
        return False
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _declared.append(library)  # the declarations live as long as this object
    return True


def _compiled_library_loads(folder: Path) -> bool:
    import torch

    compiled = sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd"))
    if not compiled:
        return False
    try:
        torch.ops.load_library(str(compiled[0]))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")
