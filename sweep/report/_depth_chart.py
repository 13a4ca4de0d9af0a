"""The curves of a backbone by depth as an SVG, which needs no script and follows the page's colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from frozen.terminal import printable
from sweep.results.depth import Curve, Point

# Okabe and Ito's palette without black and yellow, which are poor lines on white; then a purple and a brown
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#9467bd", "#8c564b")
_DASHES = ("", "7 3", "2 3")
_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 14, 46
_LOWEST, _HIGHEST = -0.15, 1.1
"""What lies beyond is cut at the edge."""


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name."""
    return {name: _PALETTE[number % len(_PALETTE)] for number, name in enumerate(names)}


def depth_chart(drawn: Sequence[tuple[str, Curve]], palette: Mapping[str, str]) -> str:
    """An SVG of some curves of one backbone on the common scale.

    Args:
        drawn: curves and their names; controls are grey.
        palette: colours by name.
    """
    layers = _layers([curve for _, curve in drawn])
    names = [name for name, curve in drawn if not curve.control]
    alternative = f"How much of {', '.join(names)} each layer holds; the numbers are in the table below."
    parts = [*_frame(layers)]
    for name, curve in sorted(drawn, key=lambda one: not one[1].control):
        parts += _drawn(name, curve, palette, layers)
    head = f'<svg class="depth" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(alternative)}">'
    return "".join((head, *parts, "</svg>"))


def _layers(of: Sequence[Curve]) -> dict[float, str]:
    """Numbers of layers and what is written below them, in order; the shortest of several names."""
    found: dict[float, str] = {}
    for point in sorted((point for curve in of for point in curve.points), key=lambda point: point.number):
        name = _short(point.layer)
        known = found.get(point.number, name)
        found[point.number] = min(known, name, key=len)
    return found


def _short(layer: str) -> str:
    """A block's number without what is read of it."""
    first = layer.partition(".")[0]
    return first if first.isdigit() else layer


def _x(number: float, layers: Mapping[float, str]) -> float:
    """Layers stand at equal distances."""
    place = list(layers).index(number)
    return _LEFT + 16 + (place / max(1, len(layers) - 1)) * (_WIDTH - _LEFT - _RIGHT - 32)


def _y(share: float) -> float:
    cut = min(max(share, _LOWEST), _HIGHEST)
    return _TOP + (_HIGHEST - cut) / (_HIGHEST - _LOWEST) * (_HEIGHT - _TOP - _BOTTOM)


def _frame(layers: Mapping[float, str]) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        kind = "base" if share == 0 else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
    every = max(1, math.ceil(len(layers) / 14))
    for place, (number, name) in enumerate(layers.items()):
        if place % every == 0 or place == len(layers) - 1:
            yield f'<text x="{_x(number, layers):.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{_text(name)}</text>'
    yield f'<text class="soft" x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">layer</text>'


def _drawn(name: str, curve: Curve, palette: Mapping[str, str], layers: Mapping[float, str]) -> Iterator[str]:
    colour = "var(--control)" if curve.control else palette[name]
    dash = _DASHES[list(palette).index(name) // len(_PALETTE) % len(_DASHES)]
    points = [(_x(point.number, layers), point) for point in curve.points]
    band = [f"{x:.1f},{_y(curve.share(point.high)):.1f}" for x, point in points]
    band += [f"{x:.1f},{_y(curve.share(point.low)):.1f}" for x, point in reversed(points)]
    yield f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.16"/>'
    line = " ".join(f"{x:.1f},{_y(curve.share(point.value)):.1f}" for x, point in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'
    for x, point in points:
        y = _y(curve.share(point.value))
        title = _text(f"{curve.control or name} at {point.layer}: {_told(curve, point)}")
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"><title>{title}</title></circle>'


def _told(curve: Curve, point: Point) -> str:
    best = f", the best of {point.n_rows}" if point.n_rows > 1 else ""
    return f"{point.value:.3g} [{point.low:.3g}, {point.high:.3g}] {curve.measure.label}{best}"


def _text(text: str) -> str:
    return escape(printable(text))
