"""Lists what a study can name: `python -m sweep.list backbones|scenes|data|readouts|probes [PATTERN]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch

from frozen.data.readers import READERS
from frozen.data.scenes import SCENES, ColorShape, Scene
from frozen.models import LIBRARIES, PAPER, SHIPPED, BackboneConfig, BackboneError, describe, part_names
from frozen.models._open_clip_source import library
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._transformers import FAMILIES as TOWERS
from frozen.readout.readout import find_readout, readout_names
from frozen.registry import fault_lines, summary
from frozen.terminal import Arguments, complain, run_command, say

_SCENE: Scene = ColorShape()  # pyright: ignore[reportAssignmentType], its properties are cached
_DEFAULT_TIMM = "vit_*dinov2*"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Arguments(
        prog="python -m sweep.list",
        description="One line for each backbone, data set, read-out or part of a read-out that a study can name. "
        "No weights are loaded and nothing is downloaded.",
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
    others = [f"{kind}:{name}" for kind, library in LIBRARIES.items() for name in library.names]
    names |= {source: BackboneConfig(source=source) for source in others}
    for name, config in names.items():
        if pattern is None or fnmatch(name, f"*{pattern}*"):
            yield _described(name, config)
    for name, choice in PAPER.items():
        if pattern is None or fnmatch(f"paper:{name}", f"*{pattern}*"):
            layers = ", ".join(map(str, choice.layers))
            yield f"paper:{name}: {choice.config.source} at {choice.config.image_size} px, layers [{layers}]"
    yield from fault_lines(LIBRARIES, pattern)
    if pattern is not None:
        yield from _timm(pattern)
        return
    yield f"timm:NAME: name them with a pattern, such as `python -m sweep.list backbones '{_DEFAULT_TIMM}'`"
    yield f"hf:REPO: any repository of the hub whose vision tower is one of {', '.join(TOWERS)}"
    yield from _open_clip()


def _open_clip() -> Iterator[str]:
    """Captioning models of open_clip, whose settings come with the library; what to do where it is missing."""
    try:
        open_clip = library("open_clip:NAME/TAG")
    except BackboneError as error:
        yield str(error)
        return
    yield "open_clip:NAME/TAG: CLIPs whose image tower is a ViT of its own, such as ViT-B-32/laion2b_s34b_b79k"
    for name in ("coca_ViT-B-32", "coca_ViT-L-14"):
        for tag in open_clip.list_pretrained_tags_by_model(name):
            source = f"open_clip:{name}/{tag}"
            yield _described(source, BackboneConfig(source=source))


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
    first = found.layout_of(found.layers[0])
    changes = "" if first == layout else f"from {first.grid[0]}x{first.grid[1]} tokens of width {first.width} to "
    return (
        f"{name}: {blocks} blocks, {changes}width {layout.width}, {layout.n_tokens} tokens ({tokens}) at "
        f"{found.image_size} px, {found.parameters / 1e6:,.1f}M parameters, "
        f"{found.forward_flops / 1e9:,.1f} GFLOP an image{_parts(config)}"
    )


def _parts(config: BackboneConfig) -> str:
    """What it has beside its trunk: head, text, decoder."""
    names = part_names(config)
    return f"; parts: {', '.join(names)}" if names else ""


def _scenes(pattern: str | None) -> Iterator[str]:
    for name, cls in SCENES.items():
        if pattern is None or fnmatch(name, pattern):
            yield f"{name}: {summary(cls)} Labels: {', '.join(_scene_labels(cls))}"
    yield from fault_lines(SCENES, pattern)


def _scene_labels(cls: type) -> tuple[str, ...]:
    """Labels of a scene's splits: what one of its defaults says, as far as it can be opened here."""
    try:
        scene = cls()
        split = scene.open("test") if scene.missing() is None else None
    except (TypeError, ValueError):  # it has no defaults, or data that is damaged
        split = None
    return getattr(split, "label_names", ("object_codes",))


def _data(pattern: str | None) -> Iterator[str]:
    for name, cls in READERS.items():
        if pattern is None or fnmatch(name, pattern):
            labels = ", ".join(getattr(cls, "label_meanings", {}))
            yield f"{name}: {summary(cls)}{f' Labels: {labels}' if labels else ''}"
    yield from fault_lines(READERS, pattern)


def _readouts(pattern: str | None) -> Iterator[str]:
    for name in readout_names():
        if pattern is None or fnmatch(name, pattern):
            readout = find_readout(name)
            dimensions = ", ".join(one.label for one in readout.dimensions)
            measures = ", ".join(one.label for one in readout.measures)
            cell = f"a cell is a data set, backbone, {dimensions}"
            yield f"{name}: {summary(type(readout))} {cell}; it measures {measures}"


_LISTS: dict[str, Callable[[str | None], Iterator[str]]] = {
    "backbones": _backbones,
    "scenes": _scenes,
    "data": _data,
    "readouts": _readouts,
    **{kind: lines for name in readout_names() for kind, lines in find_readout(name).parts.items()},
}

if __name__ == "__main__":
    run_command(main)
