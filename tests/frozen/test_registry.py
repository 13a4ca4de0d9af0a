"""Parts of other packages: found by entry point, and refused in one sentence where they cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from binding.probes import probe_problem
from frozen.data.scenes import scene_problem
from frozen.models import LIBRARIES
from frozen.registry import OfferError, Registry

GROUP = "binding.tests"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with entry points: its code, and metadata as pip writes it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(package: str, code: str, *points: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        metadata = tmp_path / f"{package}-2.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.1\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(points) + "\n")

    return write


def registry(problem: Callable[[str, object], str | None] = lambda _name, _part: None) -> Registry[object]:
    return Registry(GROUP, {"own": int}, problem, taken=["alias"])


def test_parts_of_others_come_after_our_own(install: Install) -> None:
    install("registry_good", "class Part: pass", "part = registry_good:Part")
    parts = registry()
    assert list(parts) == ["own", "part"]
    assert len(parts) == 2
    assert parts["own"] is int
    assert parts["part"].__name__ == "Part"  # type: ignore[attr-defined]
    assert parts.faults() == {}
    assert parts.packages() == {"registry_good": "2.1"}


def test_a_name_that_nobody_offers_is_no_key() -> None:
    parts = registry()
    assert "part" not in parts
    assert parts.fault("part") is None
    with pytest.raises(KeyError):
        parts["part"]


def test_others_are_not_imported_before_they_are_asked_for(install: Install) -> None:
    install("registry_lazy", "raise RuntimeError('imported')", "part = registry_lazy:Part")
    assert registry()["own"] is int
    assert "own" in registry()


@pytest.mark.parametrize(
    ("package", "code", "point", "reason"),
    [
        ("registry_a", "import nowhere_to_be_found", "part = registry_a:Part", "cannot be imported: ModuleNotFound"),
        ("registry_b", "", "part = registry_b:Part", "cannot be imported: AttributeError"),
        ("registry_c", "class Part: pass", "own = registry_c:Part", "takes a name that is in use here"),
        ("registry_d", "class Part: pass", "alias = registry_d:Part", "takes a name that is in use here"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_package(
    install: Install, package: str, code: str, point: str, reason: str
) -> None:
    install(package, code, point)
    parts, name = registry(), point.partition(" ")[0]
    assert list(parts) == ["own"]
    assert f"{package}:Part of package {package} 2.1" in parts.faults()[name]
    assert reason in parts.faults()[name]
    assert parts["own"] is int
    if name != "own":
        with pytest.raises(OfferError, match=reason):
            parts[name]


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("registry_one", "class Part: pass", "part = registry_one:Part")
    install("registry_two", "class Part: pass", "part = registry_two:Part")
    reason = registry().fault("part")
    assert reason is not None
    assert "registry_one" in reason
    assert "registry_two" in reason


SCENE = """\
from dataclasses import dataclass

@dataclass(frozen=True)
class Part:
    image_size: int = 8

    def open(self, name): ...
"""
PROBE = """\
from dataclasses import dataclass
from binding.probes import Probe

@dataclass(frozen=True, kw_only=True)
class Part(Probe):
    width: int
    family = "other"

    def structure(self): ...
    def n_parameters(self, shape): ...
    def initial(self, shape, generator): ...
"""
LOGITS = "    def logits(self, parameters, shape, z, codes, dropout=None): ...\n"


@pytest.mark.parametrize(
    ("problem", "code", "reason"),
    [
        (scene_problem, "class Part: pass", "@dataclass(frozen=True"),
        (scene_problem, SCENE.replace("frozen=True", ""), "@dataclass(frozen=True"),
        (scene_problem, SCENE, "a scene needs space, limited, missing, size; see docs/extending.md"),
        (probe_problem, SCENE, "must be a subclass of binding.probes.Probe"),
        (probe_problem, PROBE, "a probe needs logits"),
        (probe_problem, PROBE + LOGITS, "its `family` must be 'part'"),
        (probe_problem, PROBE.replace('"other"', '"part"') + LOGITS, "needs a default; width has none"),
        (LIBRARIES._problem, "class Part:\n    names = ()\n    def load(self): ...", "it has no describe, prefetch"),
        (LIBRARIES._problem, "class Part:\n    names = describe = load = prefetch = ()", "not a class"),
    ],
)
def test_parts_that_lack_something_are_refused_with_what_they_lack(
    install: Install,
    problem: Callable[[str, object], str | None],
    code: str,
    reason: str,
    request: pytest.FixtureRequest,
) -> None:
    package = f"registry_{abs(hash(request.node.name))}"
    install(package, code, f"part = {package}:Part")
    parts = registry(problem)
    assert "part" not in parts
    assert reason in parts.faults()["part"]
