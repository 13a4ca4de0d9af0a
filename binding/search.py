"""Which probes a cell tries: a family with a fixed value or a range for every hyper-parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from binding.probes import ALIASES, FAMILIES, Probe
from frozen.problems import ConfigurationError, Problem, at_least, refuse
from frozen.ranges import Choices, Range, Setting, Trial, Value


@dataclass(frozen=True)
class ProbeSpace:
    """A probe family with a setting, fixed or a range, for every hyper-parameter.

    Raises:
        ConfigurationError: an unknown family or hyper-parameter, or a setting that the family refuses.
    """

    family: str
    settings: tuple[tuple[str, Setting], ...] = ()

    @classmethod
    def of(cls, family: str, **settings: Setting) -> ProbeSpace:
        """Complete the settings: the family's defaults, and a tuned learning rate unless one is given."""
        family = ALIASES.get(family, family)
        if family not in FAMILIES:
            reason = FAMILIES.fault(family) or f"there is no {family!r}; {', '.join(FAMILIES)}"
            raise ConfigurationError("probe", [Problem("family", reason)])
        known = _defaults(family)
        unknown = [name for name in settings if name not in known]
        refuse(family, [Problem(name, f"unknown; {family} has {', '.join(known)}") for name in unknown])
        low, high = FAMILIES[family].learning_rates
        complete: dict[str, Setting] = {**known} | {"learning_rate": Range(low=low, high=high, log=True)} | settings
        space = cls(family, tuple(sorted(complete.items())))
        refuse(family, space.problems())
        return space

    def problems(self) -> Iterator[Problem]:
        """Settings whose values the family refuses; every value and end of a range is tried."""
        seen = set()
        for name, setting in self.settings:
            for value in setting.ends() if isinstance(setting, Range | Choices) else (setting,):
                try:
                    FAMILIES[self.family](**{**_defaults(self.family), name: value})  # pyright: ignore
                except ConfigurationError as error:
                    seen.update(error.problems)
        yield from sorted(seen)

    @property
    def ranges(self) -> dict[str, Range | Choices]:
        """The settings that are tuned."""
        return {name: value for name, value in self.settings if isinstance(value, Range | Choices)}

    def probe(self, values: Mapping[str, Value]) -> Probe:
        """The probe with the tuned settings at `values`."""
        fixed = {name: value for name, value in self.settings if not isinstance(value, Range | Choices)}
        return FAMILIES[self.family](**{**fixed, **values})  # pyright: ignore

    def suggest(self, trial: Trial) -> Probe:
        """A probe with drawn values."""
        return self.probe({name: setting.suggest(trial, name) for name, setting in self.ranges.items()})

    def first(self) -> dict[str, Value]:
        """The family's own defaults, where they lie in the ranges; they are always the first suggestion."""
        return {
            name: v for name, v in _defaults(self.family).items() if name in self.ranges and v in self.ranges[name]
        }

    def on_edge(self, probe: Probe) -> list[str]:
        """Tuned numbers that ended within a twentieth of their range's end: the range may be too narrow."""
        ranges = {name: setting for name, setting in self.ranges.items() if isinstance(setting, Range)}
        return [name for name, setting in ranges.items() if _near_end(setting, getattr(probe, name))]


@dataclass(frozen=True)
class ProbeSpec:
    """A probe family, with what is fixed and what is tuned."""

    family: str
    """Name of the family, never an alias."""
    space: ProbeSpace
    """Settings and ranges of the family."""
    feature_probe: ProbeSpace | None = None
    """Another family for the features; None for the same family and settings."""


def _defaults(family: str) -> dict[str, Value]:
    """Default of every hyper-parameter; all families have one for each."""
    probe = FAMILIES[family]()
    return {item.name: getattr(probe, item.name) for item in fields(probe)}


def _near_end(setting: Range, value: float) -> bool:
    scale = math.log if setting.log else float
    low, high, at = scale(setting.low), scale(setting.high), scale(value)
    return min(at - low, high - at) < 0.05 * (high - low)


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How much a cell is tuned: the same budget for each of its targets."""

    suggestions: int = 8
    """Probes tried for each target."""
    ask: int = 4
    """Suggestions drawn at once and trained together; the next ones know their outcome."""
    pruner: Literal["none", "median", "successive_halving"] = "none"
    """Optuna pruner that may stop a suggestion between epochs."""

    def __post_init__(self) -> None:
        refuse("search", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("suggestions", self.suggestions, 1)
        yield from at_least("ask", self.ask, 1)
