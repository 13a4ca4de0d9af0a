"""What has a name in study files: the parts of this package, and those that other packages offer by entry point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatch
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")


_made: list[Registry[Any]] = []


def packages() -> dict[str, str]:
    """Packages that offer parts of any kind that this process knows, with their versions."""
    return {name: version for registry in _made for name, version in registry.packages().items()}


class OfferError(ValueError):
    """A part of another package that cannot be used; the message names the package and what to do."""


class Registry(Mapping[str, T], Generic[T]):
    """Parts by name: first our own, then those of other packages, loaded when they are asked for.

    Args:
        group: of entry points.
        own: our own parts.
        problem: given a name and what the entry point leads to, why that is no such part, or None.
        taken: further names that others cannot have.
    """

    def __init__(
        self,
        group: str,
        own: Mapping[str, T],
        problem: Callable[[str, object], str | None],
        taken: Collection[str] = (),
    ) -> None:
        self.group = group
        self.own, self._problem, self._taken = dict(own), problem, {*own, *taken}
        self._read: dict[str, T | OfferError] = {}
        _made.append(self)

    def __getitem__(self, name: str) -> T:
        """The part of a name.

        Raises:
            KeyError: nobody offers it.
            OfferError: another package does, but it cannot be used.
        """
        if name in self.own:
            return self.own[name]
        found = self._offer(name)
        if isinstance(found, OfferError):
            raise found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.own or (name in self._points and not isinstance(self._offer(str(name)), OfferError))

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (name for name in self._points if name not in self.own and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def fault(self, name: str) -> str | None:
        """Why what other packages offer under a name cannot be used; None where there is nothing to say."""
        found = self._offer(name) if name in self._points else None
        return str(found) if isinstance(found, OfferError) else None

    def faults(self) -> dict[str, str]:
        """Every name that other packages offer in vain, and why."""
        found = {name: self.fault(name) for name in self._points}
        return {name: reason for name, reason in found.items() if reason is not None}

    def packages(self) -> dict[str, str]:
        """Packages that offer parts, with their versions."""
        distributions: list[Any] = [point.dist for points in self._points.values() for point in points]
        return {distribution.name: distribution.version for distribution in distributions}

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            found.setdefault(point.name, []).append(point)
        return found

    def _offer(self, name: str) -> T | OfferError:
        if name not in self._read:
            self._read[name] = self._loaded(name)
        return self._read[name]

    def _loaded(self, name: str) -> Any:
        points = self._points[name]
        who = " and ".join(map(_owner, points))
        if name in self._taken:
            return self._refusal(name, f"{who} takes a name that is in use here; rename it there, or uninstall it")
        if len(points) > 1:
            return self._refusal(name, f"{who} both offer it; uninstall one of them")
        try:
            part = points[0].load()
        except Exception as error:  # noqa: BLE001, another package may fail in any way
            return self._refusal(name, f"{who} cannot be imported: {type(error).__name__}: {error}")
        if problem := self._problem(name, part):
            return self._refusal(name, f"{who}: {problem}; see docs/extending.md")
        return part

    def _refusal(self, name: str, reason: str) -> OfferError:
        return OfferError(f"{name!r} among the entry points of {self.group}: {reason}")


def _owner(point: EntryPoint) -> str:
    distribution: Any = point.dist
    return f"{point.value} of package {distribution.name} {distribution.version}"


def frozen_dataclass_problem(part: object) -> str | None:
    """Why a study file could not set the fields of a part, or None."""
    parameters = vars(part).get("__dataclass_params__") if isinstance(part, type) else None
    return None if parameters and parameters.frozen else "must be a class with @dataclass(frozen=True, kw_only=True)"


def fault_lines(registry: Registry[Any], pattern: str | None) -> Iterator[str]:
    """Parts of other packages that cannot be used."""
    for name, reason in registry.faults().items():
        if pattern is None or fnmatch(name, pattern):
            yield f"{name}: cannot be used: {reason}"


def summary(cls: type) -> str:
    """First paragraph of a class's docstring, as one line."""
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())
