"""Which layers of a backbone a study reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, ValidationError, WrapValidator

from frozen.capture.sites import PARTS, Site
from frozen.models import BLOCK_PARTS, Description
from frozen.plain import Plain, plain
from frozen.problems import Problem, at_least, did_you_mean, refuse, show
from frozen.readout.forms import Border, TypeForm, complaint, list_of, model_of


@dataclass(frozen=True)
class LayerStride:
    """All layers, thinned out."""

    every: int
    """embed, every such block counted back from the last, and final; 1 for all layers."""

    def __post_init__(self) -> None:
        refuse("layers", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("every", self.every, 1)


Layers = tuple[int | str, ...] | LayerStride
"""embed, final and numbers of blocks, a part of one as 11.attention, `all` for a number as all.heads.all;
("all",) for every layer; or a stride."""


def resolved_layers(layers: Layers) -> Plain:
    """Layers in the form of a study file."""
    return "all" if layers == ("all",) else plain(layers)


def resolve_layers(layers: Layers, description: Description) -> list[str]:
    """Names of the layers a study asks for, in order of depth.

    Raises:
        ValueError: a layer the backbone does not have.
    """
    if layers == ("all",):
        return list(description.layers)
    blocks = [name for name in description.layers if name.isdigit()]
    if isinstance(layers, LayerStride):
        kept = set(blocks[:: -layers.every])
        return [name for name in description.layers if not name.isdigit() or name in kept]
    layers = tuple(one for layer in layers for one in _every(layer, description, blocks))
    if missing := [str(layer) for layer in layers if not _is_there(layer, description, blocks)]:
        raise ValueError(f"there is no layer {', '.join(missing)}; it has {_layers_text(description, blocks)}")
    named = [_site(layer, description) for layer in layers]
    depth = {name: position for position, name in enumerate(description.layers)}
    ordered = sorted(
        dict.fromkeys(named), key=lambda site: (depth[site.layer], PARTS.index(site.part), site.head or 0)
    )
    return [str(site) for site in ordered]


def _every(layer: int | str, description: Description, blocks: list[str]) -> list[int | str]:
    """What `all` stands for in a name: all.attention is of every block, 3.heads.all every head by itself."""
    first, *rest = str(layer).split(".")
    if not rest or "all" not in (first, *rest):
        return [layer]
    places = blocks if first == "all" else [first]
    if rest[1:] != ["all"]:
        return [".".join((place, *rest)) for place in places]
    part = Site("0", Site.parse(f"0.{rest[0]}.0").part)
    if reason := part.refusal(description):
        raise ValueError(f"there is no {layer}: {reason}")
    n_heads = part.shape(description)[1]
    return [f"{place}.{rest[0]}.{head}" for place in places for head in range(n_heads)]


def _is_there(layer: int | str, description: Description, blocks: list[str]) -> bool:
    name = Site.parse(layer).layer
    return name in description.layers or (name.removeprefix("-").isdigit() and -len(blocks) <= int(name) < 0)


def _site(layer: int | str, description: Description) -> Site:
    """The place that a study means, blocks counted from the first."""
    site = Site.parse(layer).resolved(description)
    if reason := site.refusal(description):
        raise ValueError(f"there is no {layer}: {reason}")
    if not site.has_tokens:
        raise ValueError(f"{layer} is of the whole image and has no tokens, of which a mode could choose")
    return site


def _layers_text(description: Description, blocks: list[str]) -> str:
    if description.layers == ("embed", *map(str, range(len(blocks))), "final"):
        return f"embed, blocks 0 to {len(blocks) - 1}, final"
    return ", ".join(description.layers)


def _layer(value: object, inner: Any) -> Any:
    if isinstance(value, str) and value.partition(".")[0] in BLOCK_PARTS and _is_site(f"0.{value}"):
        raise complaint(f"a part stands after its block, got {show(value)}; write all.{value}, or 3.{value}")
    try:
        found = inner(value)
        Site.parse(_one_of(found))
    except ValidationError:
        raise complaint(f"expected embed, final or the number of a block, got {show(value)}") from None
    except ValueError as error:
        raise complaint(str(error)) from None
    if isinstance(found, str) and not _is_place(found):
        hint = did_you_mean(found, ["embed", "final"])
        raise complaint(f"expected embed, final or the number of a block, got {show(value)}; {hint}")
    return found


def _one_of(layer: int | str) -> int | str:
    """One of the places that a name with `all` stands for."""
    if not isinstance(layer, str) or "." not in layer:
        return layer
    return ".".join("0" if step == "all" else step for step in layer.split("."))


def _is_site(text: str) -> bool:
    try:
        Site.parse(_one_of(text))
    except ValueError:
        return False
    return True


def _is_place(text: str) -> bool:
    layer = Site.parse(_one_of(text)).layer
    return layer in ("embed", "final") or layer.removeprefix("-").isdigit()


def _tag(value: object) -> str:
    if value == "all":
        return "<all>"
    return "<stride>" if isinstance(value, dict | Border) else "<list>"


_Layer = Annotated[int | str, WrapValidator(_layer)]
LayersForm: TypeForm = Annotated[
    Annotated[Literal["all"], Tag("<all>")]
    | Annotated[list_of(_Layer), Tag("<list>")]
    | Annotated[model_of(LayerStride, "LayerStride"), Tag("<stride>")],
    Discriminator(_tag),
]
"""The form of `layers` in a study file."""


def read_layers(reader: Any, path: tuple[str | int, ...], given: Any) -> Any:
    """Layers of a study, as it holds them; None where nothing is given.

    Args:
        reader: a `StudyReader`, told of mistakes.
        path: where they are given.
        given: what the form has made of them.
    """
    if isinstance(given, Border):
        return reader.make(path, lambda: LayerStride(**given.given()))
    return ("all",) if given == "all" else given
