from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from frozen.models import _torchvision_ops
from frozen.models._torchvision_ops import declare_missing_operators

# not the one that was called when the tests of backbones were collected
fresh_declaration = _torchvision_ops._declare.__wrapped__
FAKE = ["torchvision::nms", "torchvision::qnms"]


def in_a_fresh_process(code: str, *arguments: str) -> str:
    script = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.strip()


@cache
def compiled_library_loads() -> bool:
    """What torch itself says of the installed torchvision, in a process of its own."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    compiled = [str(path) for path in Path(spec.origin).parent.glob("_C*")]
    code = "import sys, torch; [torch.ops.load_library(path) for path in sys.argv[1:]]; torch.ops.torchvision.nms"
    return (
        bool(compiled) and not subprocess.run([sys.executable, "-c", code, *compiled], capture_output=True).returncode
    )


def test_threads_that_ask_at_once_are_all_answered_what_is_missing_is_declared_once_and_timm_can_be_imported() -> (
    None
):
    code = (
        "import torch\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "from frozen.models import _torchvision_ops as ops\n"
        "together, loads = Barrier(8), ops._compiled_library_loads\n"
        "ops._compiled_library_loads = lambda folder: __import__('time').sleep(0.2) or loads(folder)\n"
        "ask = lambda _: together.wait() is None or ops.declare_missing_operators()\n"
        "print(*ThreadPoolExecutor(8).map(ask, range(8)))\n"
        "import timm\n"
        "print(ops.declare_missing_operators())\n"
        "print(len(ops._declared), hasattr(torch.ops.torchvision, 'nms'), hasattr(torch.ops.torchvision, 'qnms'))"
    )
    missing = not compiled_library_loads()
    *answers, declared, nms, qnms = in_a_fresh_process(code).split()
    assert answers == [str(missing)] * 9
    assert int(declared) == int(missing)
    assert nms == "True"
    assert qnms == "True" or not missing


def test_nothing_is_declared_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = list(_torchvision_ops._declared)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fresh_declaration() is False
    assert _torchvision_ops._declared == declared


def test_nothing_is_declared_where_the_library_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    declared = list(_torchvision_ops._declared)
    asked: list[Path] = []
    spec = ModuleSpec("torchvision", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(_torchvision_ops, "_compiled_library_loads", lambda folder: not asked.append(folder))
    assert fresh_declaration() is False
    assert asked == [tmp_path]
    assert _torchvision_ops._declared == declared


@pytest.mark.parametrize("library", [None, b"", b"not a library"])
def test_operators_are_declared_beside_a_torchvision_whose_library_is_absent_or_broken(
    library: bytes | None, tmp_path: Path
) -> None:
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").touch()
    if library is not None:
        (folder / "_C.so").write_bytes(library)
    assert _torchvision_ops._compiled_library_loads(folder) is False


def test_a_torchvision_without_library_gets_operators_that_fake_kernels_can_be_registered_for(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda dets, scores, iou_threshold: dets)\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from frozen.models._torchvision_ops import declare_missing_operators as declare\n"
        "print(declare(), declare())\n"
        "import torchvision, torch\n"
        "print(torchvision.__file__, torch.ops.torchvision.nms, torch.ops.torchvision.qnms)"
    )
    answers = in_a_fresh_process(code, str(tmp_path)).splitlines()
    assert answers == ["True True", f"{tmp_path / 'torchvision' / '__init__.py'} {' '.join(FAKE)}".replace("::", ".")]


def test_asking_twice_declares_once() -> None:
    first = declare_missing_operators()
    declared = list(_torchvision_ops._declared)
    assert declare_missing_operators() is first
    assert _torchvision_ops._declared == declared
    assert len(declared) == int(first)
    assert hasattr(torch.ops.torchvision, "nms")
