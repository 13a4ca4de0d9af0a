"""Who may import whom, and no circles: the arrows of the house."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "frozen": {"frozen"},
    "binding": {"binding", "frozen"},
    "readouts": {"readouts", "frozen"},
    "sweep": {"sweep", "frozen"},
}
"""Packages by what they may import of the project; a read-out of `readouts` may not import another one."""


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            if "inside" not in path.parts:  # runs in Blender, with nothing of the project
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def named(path: Path) -> Iterator[str]:
    """Modules that a file names in its imports, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in inner)


def imported(path: Path) -> Iterator[str]:
    """Those of the project."""
    return (name for name in named(path) if name in MODULES)


def part(name: str) -> str:
    """The package that a module belongs to; each read-out of `readouts` is one of its own."""
    package, _, rest = name.partition(".")
    return f"{package}.{rest.partition('.')[0]}" if package == "readouts" and rest else package


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    wrong = [
        f"{name} -> {other}"
        for name, path in MODULES.items()
        if name.partition(".")[0] == package
        for other in imported(path)
        if other.partition(".")[0] not in ALLOWED[package]
        or (package == "readouts" and part(other).startswith("readouts.") and part(other) != part(name))
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {name: {other for other in imported(path) if other != name} for name, path in MODULES.items()}
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    for name in edges:  # a package's own modules may be imported by its __init__, which re-exports them
        edges[name] -= {package for package in packages if name.startswith(f"{package}.")}
    circles = sorted(f"{name} -> {other}" for name in edges for other in edges[name] if name in reached(edges, other))
    assert circles == []


BROUGHT = {"markupsafe": "jinja2", "pydantic_core": "pydantic", "huggingface_hub": "timm"}
"""Packages that are parts of a dependency."""


def test_an_installation_without_extras_has_all_that_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=]", text)[0].lower() for text in project["dependencies"]}
    declared |= {"transformers", "h5py", "open_clip_torch"}  # asked for by name where they are missing
    owners = packages_distributions()
    missing = {
        (name, top)
        for name, path in MODULES.items()
        if "testing" not in name.split(".")  # suites for pytest
        for top in {one.partition(".")[0] for one in named(path)} - set(sys.stdlib_module_names) - set(ALLOWED)
        if declared.isdisjoint({BROUGHT.get(top, top).lower(), *map(str.lower, owners.get(top, []))})
    }
    assert missing == set()


def reached(edges: dict[str, set[str]], start: str) -> set[str]:
    """Every module that an import of `start` leads to."""
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges[name]
    return found
