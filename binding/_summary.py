"""A measurement in words: what was measured, every number with its interval, and what each flag means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple, Protocol, runtime_checkable

from binding.information import FLAGS, Estimate, TestLosses
from frozen.terminal import on_one_line

_NAMES = {
    "direct_binding_ratio": ("β*_direct", "binding ratio, a lower bound"),
    "binding_ratio": ("β*", "binding ratio, by difference"),
    "direct_binding_information_bits": ("B*_direct", "binding information, a lower bound, bits"),
    "binding_information_bits": ("B*", "binding information, by difference, bits"),
    "cautious_binding_ratio": ("β*_cautious", "binding ratio, where the prior may be wrong"),
    "cautious_binding_information_bits": ("B*_cautious", "binding information, where the prior may be wrong, bits"),
    "v_information_bits": ("V", "V-information of the family, bits"),
    "object_information_ratio": ("β_O", "share of H(O) that is known"),
    "object_information_bits": ("B_O", "information about objects, bits"),
    "feature_information_bits": ("B_F", "information about features, bits"),
    "object_loss_bits": ("CE_O", "loss of the objects probe, bits"),
    "feature_loss_bits": ("CE_F", "loss of the features probe, bits"),
    "direct_loss_bits": ("CE(O|Z,F)", "loss of the direct probe, bits"),
    "given_loss_bits": ("CE(O|F)", "loss of the probe without activations, bits"),
}
_NOTHING = "not defined: the entropy it needs is 0 or unknown"


@runtime_checkable
class Summarised(Protocol):
    """What is said of a measurement."""

    @property
    def targets(self) -> Mapping[Any, Any]: ...
    @property
    def losses(self) -> TestLosses: ...
    @property
    def estimates(self) -> Mapping[str, Estimate | None]: ...
    @property
    def conditional_entropy_bits(self) -> float: ...
    @property
    def level(self) -> float: ...
    @property
    def flags(self) -> Iterable[str]: ...


class _Line(NamedTuple):
    symbol: str
    meaning: str
    value: str
    between: str


def summary_of(measurement: Summarised) -> str:
    """Lines for a terminal."""
    lines = _lines(measurement)
    symbol, meaning, value = (max(len(line[i]) for line in lines) for i in range(3))
    table = [f"  {a:<{symbol}}  {b:<{meaning}}  {c:>{value}}  {d}".rstrip() for a, b, c, d in lines]
    flags = [f"  {name}: {text}" for name, text in _flags(measurement)] or ["  none"]
    return "\n".join([_title(measurement), *table, "Flags", *flags])


def html_of(measurement: Summarised) -> str:
    """The same for a notebook."""
    rows = "".join(
        f"<tr><td>{escape(line.symbol)}</td><td style='text-align:left'>{escape(line.meaning)}</td>"
        f"<td>{escape(line.value)}</td><td style='text-align:left'>{escape(line.between)}</td></tr>"
        for line in _lines(measurement)
    )
    flags = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in _flags(measurement))
    return (
        f"<p>{escape(_title(measurement))}</p><table><tbody>{rows}</tbody></table>"
        f"<p>Flags{':' if flags else ': none'}</p>" + (f"<ul>{flags}</ul>" if flags else "")
    )


def _title(measurement: Summarised) -> str:
    objects = measurement.targets["objects"]
    n_seeds, n_samples = measurement.losses.objects.shape
    family = on_one_line(objects.probe.family)
    entropy = measurement.conditional_entropy_bits
    known = "H(O|F) unknown" if math.isnan(entropy) else f"H(O|F) = {entropy:.4g} bits"
    return (
        f"Binding information: probe {family}, {n_samples:,} test samples, seeds: {n_seeds}, {known}; "
        f"in brackets {100 * measurement.level:g}% intervals"
    )


def _lines(measurement: Summarised) -> list[_Line]:
    others = [name for name in measurement.estimates if name not in _NAMES]
    names = [name for name in _NAMES if name in measurement.estimates] + others
    return [
        _Line(*_NAMES.get(name, (on_one_line(name), "")), *_number(measurement.estimates[name])) for name in names
    ]


def _number(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "", _NOTHING
    value, low, high = (f"{round(number, 3) + 0.0:.3f}" for number in estimate)  # never -0.000
    return value, f"[{low}, {high}]"


def _flags(measurement: Summarised) -> list[tuple[str, str]]:
    return [(on_one_line(name), FLAGS[name]) for name in measurement.flags]
