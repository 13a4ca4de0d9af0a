"""Lists what a study can name: `python -m sweep.list backbones|scenes|probes [PATTERN]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch

from binding.probes import ALIASES, FAMILIES
from frozen.data.scenes import SCENES, ColorShape, Scene
from frozen.models import CONTROLS, LIBRARIES, PAPER, SHIPPED, BackboneConfig, BackboneError, describe
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._transformers import FAMILIES as TOWERS
from frozen.registry import Registry
from frozen.terminal import complain, say

_SCENE: Scene = ColorShape()  # pyright: ignore[reportAssignmentType], its properties are cached
_DEFAULT_TIMM = "vit_*dinov2*"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sweep.list",
        description="One line for each backbone, data set or probe family that a study can name. No weights are "
        "loaded and nothing is downloaded.",
    )
    parser.add_argument("what", choices=tuple(_LISTS), help="what to list")
    parser.add_argument(
        "pattern",
        nargs="?",
        help="of names, such as 'vit_*clip*' (quote it); with one, backbones of timm are listed: all that match",
    )
    arguments = parser.parse_args(argv)
    found = False
    for line in _LISTS[arguments.what](arguments.pattern):
        say(line)
        found = True
    if not found:
        complain(f"there are no {arguments.what} whose name matches {arguments.pattern!r}")
    return 0 if found else 2


def _backbones(pattern: str | None) -> Iterator[str]:
    names = {f"shipped:{name}": BackboneConfig(source=f"shipped:{name}") for name in SHIPPED}
    names |= {f"control:{name}": BackboneConfig(source=f"control:{name}") for name in CONTROLS}
    others = [f"{kind}:{name}" for kind, library in LIBRARIES.items() for name in library.names]
    names |= {source: BackboneConfig(source=source) for source in others}
    for name, config in names.items():
        if pattern is None or fnmatch(name, f"*{pattern}*"):
            yield _described(name, config)
    for name, choice in PAPER.items():
        if pattern is None or fnmatch(f"paper:{name}", f"*{pattern}*"):
            layers = ", ".join(map(str, choice.layers))
            yield f"paper:{name}: {choice.config.source} at {choice.config.image_size} px, layers [{layers}]"
    yield from _faults(LIBRARIES, pattern)
    if pattern is not None:
        yield from _timm(pattern)
        return
    yield f"timm:NAME: name them with a pattern, such as `python -m sweep.list backbones '{_DEFAULT_TIMM}'`"
    yield f"hf:REPO: any repository of the hub whose vision tower is one of {', '.join(TOWERS)}"


def _timm(pattern: str) -> Iterator[str]:
    declare_missing_operators()
    import timm

    for name in timm.list_models(pattern.removeprefix("timm:"), pretrained=True):
        yield _described(f"timm:{name}", BackboneConfig(source=f"timm:{name}"))


def _described(name: str, config: BackboneConfig) -> str:
    """A backbone's line, or why it cannot be used."""
    try:
        found = describe(config, _SCENE)
    except BackboneError as error:
        return f"{name}: cannot be used: {str(error).partition(';')[0]}"
    layout = found.layout
    if found.is_control:
        return f"{name}: one vector (its width is the data set's; {layout.width} for colorshape 7x7)"
    blocks = sum(layer.isdigit() for layer in found.layers)
    prefix = [*(["CLS"] if layout.has_cls else []), *([f"{layout.n_registers} registers"] * bool(layout.n_registers))]
    tokens = " + ".join([*prefix, f"{layout.grid[0]}x{layout.grid[1]}"])
    return (
        f"{name}: {blocks} blocks, width {layout.width}, {layout.n_tokens} tokens ({tokens}) at "
        f"{found.image_size} px, {found.parameters / 1e6:,.1f}M parameters, "
        f"{found.forward_flops / 1e9:,.1f} GFLOP an image"
    )


def _scenes(pattern: str | None) -> Iterator[str]:
    for name, cls in SCENES.items():
        if pattern is None or fnmatch(name, pattern):
            yield f"{name}: {_summary(cls)}"
    yield from _faults(SCENES, pattern)


def _probes(pattern: str | None) -> Iterator[str]:
    for name, cls in FAMILIES.items():
        if pattern is None or fnmatch(name, pattern):
            also = [alias for alias, family in ALIASES.items() if family == name]
            names = f"{name} (also {', '.join(also)})" if also else name
            reads = "all tokens" if cls.reads_tokens else "one vector"
            low, high = cls.learning_rates
            only = ", objects only" * cls.objects_only
            yield f"{names}: reads {reads}{only}, learning rate {low:g} to {high:g}: {_summary(cls)}"
    yield from _faults(FAMILIES, pattern)


def _faults(registry: Registry, pattern: str | None) -> Iterator[str]:
    """Parts of other packages that cannot be used."""
    for name, reason in registry.faults().items():
        if pattern is None or fnmatch(name, pattern):
            yield f"{name}: cannot be used: {reason}"


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


_LISTS: dict[str, Callable[[str | None], Iterator[str]]] = {
    "backbones": _backbones,
    "scenes": _scenes,
    "probes": _probes,
}

if __name__ == "__main__":
    sys.exit(main())
