"""Makes the folder that `scene: clevr` reads: `python -m frozen.data.scenes.make_clevr6`.

Either the scenes of exactly six objects are taken from CLEVR v1.0, or new ones are rendered by CLEVR's rules.
Both go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from frozen.data.scenes._base import DataError
from frozen.data.scenes._placement import CAMERA_PLACE, PlacementRule
from frozen.data.scenes._rendered import RenderedFolder
from frozen.data.scenes._specification import COLORS, MATERIALS, RADII, SHAPES, Look, Studio, Thing, specification
from frozen.data.scenes.blender import Blender, BlenderError, find_blender
from frozen.terminal import complain, say
from frozen.whole_files import appearing, write_whole

N_OBJECTS = 6
DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
_SPLITS = ("train", "val")
_ATTEMPTS = 100
_MIN_VISIBLE_SHARE = 200 / (480 * 320)  # CLEVR wants 200 of these pixels of every object
_STUDIO = Studio(
    camera=CAMERA_PLACE,
    camera_jitter=(0.5, 0.5, 0.5),
    camera_pitch_degrees=None,
    light_jitter=1.0,
    rule=PlacementRule(),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options)
    except DataError as error:
        complain(error)
        return USER_ERROR
    except KeyboardInterrupt:
        complain("\ninterrupted; the same command goes on where this one stopped")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m frozen.data.scenes.make_clevr6", description=__doc__)
    ways = parser.add_subparsers(required=True)
    select = ways.add_parser("select", help="take the scenes of six objects from CLEVR v1.0")
    select.add_argument("source", type=Path, help="folder of CLEVR_v1.0, with images/ and scenes/")
    select.add_argument("--copy", action="store_true", help="copy images instead of linking them")
    select.set_defaults(run=_select)
    render = ways.add_parser("render", help="render new scenes with Blender")
    render.add_argument("--count", type=int, required=True, metavar="N", help="number of images")
    render.add_argument("--seed", type=int, default=0)
    render.add_argument("--width", type=int, default=480, metavar="PIXELS")
    render.add_argument("--height", type=int, default=320, metavar="PIXELS")
    render.add_argument("--samples", type=int, default=64, metavar="N", help="light paths a pixel, denoised")
    render.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="Blender processes")
    render.add_argument("--gpu", action="store_true", help="render on the GPU")
    render.set_defaults(run=_render)
    for way in (select, render):
        way.add_argument(
            "--folder", type=Path, required=True, metavar="DIR", help="where images_6obj and scenes_6obj go"
        )
    return parser


class Clevr6Files:
    """Files of the folder; an image is there when its scene is there too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("images_6obj", "scenes_6obj"):
            (root / part).mkdir(parents=True, exist_ok=True)

    def image(self, number: int) -> Path:
        """A sample's image."""
        return self.root / "images_6obj" / f"CLEVR_6obj_{number:06d}.png"

    def scene(self, number: int) -> Path:
        """A sample's scene."""
        return self.root / "scenes_6obj" / f"CLEVR_6obj_{number:06d}.json"

    def has(self, number: int) -> bool:
        """Whether a sample is complete."""
        return self.image(number).exists() and self.scene(number).exists()


def _select(options: argparse.Namespace) -> int:
    layout = Clevr6Files(options.folder)
    number = -1
    for number, (image, scene) in enumerate(six_object_scenes(options.source)):
        if not layout.has(number):
            _place(image, layout.image(number), copy=options.copy)
            _write(layout.scene(number), scene)
    say(f"{number + 1:,} scenes of {N_OBJECTS} objects in {options.folder}")
    return DONE


def six_object_scenes(source: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Images and scenes of CLEVR that have six objects, in the order train, val and by number.

    Raises:
        DataError: a scene file or an image is missing, or a scene file is none.
    """
    for split in _SPLITS:
        path = source / "scenes" / f"CLEVR_{split}_scenes.json"
        try:
            scenes = json.loads(path.read_bytes())["scenes"]
            chosen = [(scene["image_filename"], scene) for scene in scenes if len(scene["objects"]) == N_OBJECTS]
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}); give the folder of the unpacked CLEVR_v1.0") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no scene file of CLEVR ({type(error).__name__}: {error})") from error
        for name, scene in chosen:
            image = source / "images" / split / name
            if not image.exists():
                raise DataError(f"{image} is not there; unpack CLEVR_v1.0 anew")
            yield image, scene


def _place(source: Path, target: Path, *, copy: bool) -> None:
    """A hard link where the file system has them, else a copy."""
    with appearing(target) as half:
        try:
            if copy:
                raise OSError
            os.link(source, half)
        except OSError:
            shutil.copyfile(source, half)


def _write(path: Path, scene: dict[str, Any]) -> None:
    write_whole(path, json.dumps(scene))


def new_scene(number: int, attempt: int, seed: int, look: Look) -> dict[str, Any]:
    """Specification of a new scene: six independent objects, CLEVR's camera, lights and distances."""
    rng = np.random.default_rng([seed, number, attempt, 6])
    values = (COLORS, SHAPES, MATERIALS, tuple(RADII))
    things = [Thing(*(str(rng.choice(names)) for names in values)) for _ in range(N_OBJECTS)]
    made = specification(f"CLEVR_6obj_{number:06d}.png", "new", number, look, _STUDIO.arrange(things, rng))
    return {**made, "min_visible_pixels": _MIN_VISIBLE_SHARE * look.width * look.height}


def _render(options: argparse.Namespace) -> int:
    layout = Clevr6Files(options.folder)
    missing = [number for number in range(options.count) if not layout.has(number)]
    say(f"{len(missing):,} of {options.count:,} images to render in {options.folder}")
    if not missing:
        return DONE
    renderer = _Renderer(options, layout, find_blender())
    try:
        with ThreadPoolExecutor(renderer.n_workers) as pool:
            failures = [failure for failure in pool.map(renderer.make, missing) if failure]
    finally:
        renderer.close()
    for failure in failures:
        complain(f"failed: {failure}")
    say(f"{len(missing) - len(failures):,} images rendered, {len(failures):,} failed; the same command tries again")
    return FAILED if failures else DONE


class _Renderer:
    """Some Blenders that render side by side, each waited for by a thread."""

    def __init__(self, options: argparse.Namespace, layout: Clevr6Files, command: tuple[str, ...]) -> None:
        clevr = os.environ.get("CLEVR_GEN_DIR")
        assets = "clevr" if clevr else "primitives"
        self._look = Look(options.width, options.height, options.samples, denoise=True, assets=assets)
        self._seed, self._layout = options.seed, layout
        self._rendered = RenderedFolder(layout.root / ".rendering")
        self.n_workers = min(options.workers, options.count)
        self._blenders: list[Blender] = []
        self._free: SimpleQueue[Blender] = SimpleQueue()
        threads = max(1, (os.cpu_count() or 1) // self.n_workers)
        device = "gpu" if options.gpu else "cpu"
        for _ in range(self.n_workers):
            blender = Blender(command, self._rendered.root, clevr_folder=clevr, device=device, threads=threads)
            self._blenders.append(blender)
            self._free.put(blender)

    def make(self, number: int) -> str | None:
        """Render one sample; returns why it could not be, or None."""
        blender = self._free.get()
        try:
            for attempt in range(_ATTEMPTS):
                scene = new_scene(number, attempt, self._seed, self._look)
                if blender.render(scene) is None:
                    name = scene["image_filename"]
                    self._rendered.scene(name).replace(self._layout.scene(number))
                    self._rendered.image(name).replace(self._layout.image(number))
                    return None
        except BlenderError as error:
            return f"image {number}: {error}"
        finally:
            self._free.put(blender)
        return f"image {number}: in {_ATTEMPTS} scenes some object was hidden too much"

    def close(self) -> None:
        """End all processes."""
        for blender in self._blenders:
            blender.close()
        shutil.rmtree(self._rendered.root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
