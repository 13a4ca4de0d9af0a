"""Applies tuned probes to new images: `python -m binding.apply RESULTS/probes/CELL.safetensors IMAGE...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from binding.fit import Fitted
from binding.probe_file import ProbeFile, ProbeFileError
from frozen.capture.views import read, refuses, shape
from frozen.data.scenes import UnreadableImageError, read_rgb
from frozen.models import LIBRARIES, Backbone, BackboneConfig, BackboneError, Batch, Description, load
from frozen.problems import shorten
from frozen.terminal import Arguments, complain, say

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Decoded(NamedTuple):
    """What probes say of some images."""

    bits: Bool[np.ndarray, "images heads"]
    probabilities: Float32[np.ndarray, "images heads"]
    """Of each bit, given the decoded bits before it; the mean over seeds."""


@torch.no_grad()
def decode(fits: Sequence[Fitted], z: Float[np.ndarray, "images *tokens dim"]) -> Decoded:
    """Read codes out of activations, greedily from the first head to the last.

    In training head k sees the true bits before its own; new images have none, so it is shown the bits decoded so
    far: bit k is set where the mean probability of the seeds exceeds one half. The most likely code as a whole may
    be another one.

    Args:
        fits: one probe trained with several seeds, of the objects or of the features.
        z: standardised activations.
    """
    n_heads = fits[0].shape.n_heads
    rows = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))
    codes = torch.zeros(len(rows), n_heads)
    probabilities = torch.zeros(len(rows), n_heads)
    for k in range(n_heads):
        heads = torch.stack([fitted.logits(rows, codes)[0, :, k].sigmoid() for fitted in fits])
        probabilities[:, k] = heads.mean(0)
        codes[:, k] = (probabilities[:, k] > 0.5).float() - 0.5
    return Decoded((codes > 0).numpy(), probabilities.numpy())


def activations(
    file: ProbeFile, backbone: Backbone, images: UInt8[np.ndarray, "images height width 3"]
) -> np.ndarray:
    """Standardised activations of images of one size."""
    space, n = file.space, len(images)
    batch = Batch(
        np.arange(n),
        images,
        np.zeros((n, space.n_objects), dtype=np.uint8),
        np.zeros((n, space.n_features), dtype=np.uint8),
        0,
    )
    tokens = backbone.forward(batch)[file.layer]
    return file.standardized(read(tokens, file.mode, backbone.description.layout_of(file.layer)).cpu().numpy())


def named_by_user(config: BackboneConfig, weights: str | None, folder: str | None) -> BackboneConfig:
    """The backbone, reading the paths that the user names in place of those that the file of probes names.

    A file may come from anywhere, and what it names may be anything that this user can read.

    Args:
        config: the backbone, as the file says it.
        weights: the user's path of its weights.
        folder: the user's folder of its model.

    Raises:
        ProbeFileError: a path that the file names and the user does not, or the other way round.
    """
    for option, named, given in (("--weights", config.weights, weights), ("--folder", folder_in(config), folder)):
        if named is not None and given is None:
            raise ProbeFileError(
                f"backbone: it reads {shorten(named)!r}, a path that the file names; "
                f"if you want that, or have it elsewhere, name it too: {option} PATH"
            )
        if named is None and given is not None:
            raise ProbeFileError(f"backbone: {shorten(config.source)} reads no such path; leave out {option}")
    source = config.source if folder is None else config.source.removesuffix(config.architecture) + _as_path(folder)
    return replace(config, source=source, weights=weights)


def folder_in(config: BackboneConfig) -> str | None:
    """The path that a source names: hf:NAME as its reader says, names of other packages where they may be one."""
    name = config.architecture
    may_be = config.library in LIBRARIES and bool({"/", "\\"} & set(name))
    return name if may_be or name.startswith((".", "/", "~")) else None


def _as_path(folder: str) -> str:
    return folder if folder.startswith((".", "/", "~")) else f"./{folder}"


def open_backbone(
    file: ProbeFile, device: torch.device, *, weights: str | None = None, folder: str | None = None
) -> Backbone:
    """The backbone that a file's probes read, with the weights they were tuned on.

    Args:
        file: the probes.
        device: where it is to run.
        weights: path of its weights, if the file names one.
        folder: folder of its model, if the file names one.

    Raises:
        ProbeFileError: a control, or files of activations, which read no images; other weights than those of the
            file; a layer or mode that the backbone does not have.
        BackboneError: weights that cannot be had.
    """
    what = {"control": "codes", "activations": "files of activations"}.get(file.backbone.kind)
    if what:
        raise ProbeFileError(
            f"{shorten(file.backbone.source)} reads {what}, not images; choose the probes of a backbone"
        )
    scene: Any = None  # only controls look at the data set
    backbone = load(named_by_user(file.backbone, weights, folder), scene, device)
    if file.about.get("weights_digest") not in (None, backbone.weights_digest):
        raise ProbeFileError(
            f"the weights of {shorten(file.backbone.source)} are not those that the probes were tuned on"
        )
    _check_reading(file, backbone.description)
    return backbone


def _check_reading(file: ProbeFile, description: Description) -> None:
    """Whether the backbone has what the probes read."""
    source = shorten(file.backbone.source)
    if file.layer not in description.layers:
        layers = ", ".join(description.layers)
        raise ProbeFileError(f"layer: {source} hands out no {shorten(file.layer)!r}; it has {layers}")
    if reason := refuses(file.mode, description.layout_of(file.layer)):
        raise ProbeFileError(f"mode: {reason}, {source} has none")
    target, said = next((target, fits[0].shape) for target, fits in file.targets.items() if target != "given")
    width = shape(file.mode, description.layout_of(file.layer))[-1]
    if (said.z_dim, said.has_cls) != (width, description.layout.has_cls):
        raise ProbeFileError(
            f"targets.{target}.0.shape: probes of {said.z_dim} channels {'with' if said.has_cls else 'without'} "
            f"a CLS token; {source} has {width} and {'one' if description.layout.has_cls else 'none'}"
        )


def apply(file: ProbeFile, backbone: Backbone, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """For each image: its objects and features, with the probability of each possible one.

    Raises:
        ProbeFileError: probes that lack a target, or a file that cannot be read as an image.
    """
    for target in ("objects", "features"):
        if target not in file.targets:
            raise ProbeFileError(f"targets: there are no probes of the {target}")
    names = {
        "objects": file.space.object_names,
        "features": [f"{group.name} {value}" for group in file.space.groups for value in group.values],
    }
    for path in paths:
        try:
            pixels = read_rgb(path)
        except UnreadableImageError as error:
            raise ProbeFileError(f"{path}: cannot be read as an image ({error})") from error
        z = activations(file, backbone, pixels[None])
        found: dict[str, Any] = {"image": str(path)}
        for target in ("objects", "features"):
            decoded = decode(file.targets[target], z)
            found[target] = [name for name, bit in zip(names[target], decoded.bits[0], strict=True) if bit]
            numbers = (round(float(value), 4) for value in decoded.probabilities[0])
            found[f"{target[:-1]}_probabilities"] = dict(zip(names[target], numbers, strict=True))
        yield found


def images_in(arguments: Sequence[Path]) -> list[Path]:
    """Image files, those of folders in the order of their names.

    Raises:
        ProbeFileError: no such file, or a folder without images.
    """
    found: list[Path] = []
    for path in arguments:
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
        if not inside or not all(p.is_file() for p in inside):
            raise ProbeFileError(f"{path}: {'no images in this folder' if path.is_dir() else 'no such file'}")
        found += inside
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print what tuned probes say of images; returns the exit code."""
    parser = Arguments(
        prog="python -m binding.apply", description="Read the objects of new images with the tuned probes of a cell."
    )
    parser.add_argument("probes", type=Path, help="results/NAME/probes/CELL.safetensors")
    parser.add_argument("images", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with all probabilities")
    parser.add_argument(
        "--weights", metavar="PATH", help="the backbone's weights, where the probes' file names a path"
    )
    parser.add_argument(
        "--folder", metavar="PATH", help="the backbone's folder, where the probes' file names hf:./FOLDER"
    )
    parser.add_argument("--device", default="cpu", help="where the backbone runs: cpu or cuda")
    options = parser.parse_args(argv)
    try:
        file = ProbeFile.read(options.probes)
        paths = images_in(options.images)
        backbone = open_backbone(file, torch.device(options.device), weights=options.weights, folder=options.folder)
        for found in apply(file, backbone, paths):
            if options.json:
                print(json.dumps(found))
            else:
                say(f"{found['image']}: {', '.join(found['objects']) or 'nothing'}")
    except (ProbeFileError, BackboneError, OSError) as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
