"""Renders scene specifications; runs inside Blender, or in a Python that has the package bpy.

Reads a specification a line from standard input (JSON, see frozen/data/scenes/_specification.py), writes the image
and CLEVR's scene JSON below --folder, and answers each line with one line of JSON on standard output:
{"done": name}, {"refused": reason} for a scene with an object that is hidden too much, or {"error": text}.
The first line says which Blender this is and what it renders on. All that Blender itself prints goes to
standard error. Only Blender and the standard library are imported, so that any Blender can run this folder:

    blender --background --python render.py -- --folder DIR < train.jsonl
    python render.py --folder DIR < train.jsonl
"""

# pyright: reportMissingImports=false, reportOptionalMemberAccess=false
import argparse
import json
import os
import socket
import sys
import traceback

import bpy
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # Blender knows nothing of this project

from stage import open_scene, show
from visibility import Visibility


def configure(scene, render, device, threads):
    """Size, samples and denoising of the images that follow."""
    settings, cycles = scene.scene.render, scene.scene.cycles
    settings.engine = "CYCLES"
    settings.resolution_x, settings.resolution_y = render["width"], render["height"]
    settings.resolution_percentage = 100
    settings.image_settings.file_format, settings.image_settings.color_mode = "PNG", "RGB"
    settings.use_persistent_data = True
    if threads:
        settings.threads_mode, settings.threads = "FIXED", threads
    cycles.samples, cycles.seed = render["samples"], 0
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = render["denoise"]
    if render["denoise"]:
        try:
            cycles.denoiser = "OPENIMAGEDENOISE"
        except TypeError:
            text = "this Blender has no Open Image Denoise; use one from blender.org, bpy, or denoise: false"
            raise RuntimeError(text) from None
    cycles.device = "CPU" if device == "CPU" else "GPU"
    scene.scene.view_settings.view_transform = "Standard"


def choose_device(wanted):
    """OptiX or CUDA where `gpu` is asked for, else the CPU.

    Raises:
        RuntimeError: a GPU is asked for and Blender finds none.
    """
    if wanted == "cpu":
        return "CPU"
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA"):
        try:
            preferences.compute_device_type = kind
        except TypeError:  # this Blender was built without it
            continue
        preferences.get_devices()
        found = [device for device in preferences.devices if device.type == kind]
        for device in preferences.devices:
            device.use = device in found[:1]  # several would wait for each other at every image
        if found:
            return kind
    raise RuntimeError("Blender finds no GPU that it can render on with OptiX or CUDA")


def described(scene, specification, cells, cell_pixels):
    """The scene JSON of CLEVR, with how much of each object can be seen."""
    render = specification["render"]
    objects = []
    for item, (alone, seen) in zip(specification["objects"], cells, strict=True):
        x, y, depth = world_to_camera_view(scene.scene, scene.camera, Vector(item["3d_coords"]))
        visibility = {
            "pixel_coords": [round(x * render["width"]), round((1.0 - y) * render["height"]), depth],
            "pixels": round(alone * cell_pixels, 1),
            "visible_pixels": round(seen * cell_pixels, 1),
            "visible_fraction": seen / alone if alone else 0.0,
        }
        objects.append({**item, **visibility})
    return {**specification, "objects": objects}


class Renderer:
    """Renders one specification after another into a folder."""

    def __init__(self, folder, assets, device, threads):
        self._folder, self._device, self._threads = folder, choose_device(device), threads
        self._assets = assets
        self._scene = None
        for part in ("images", "scenes"):
            os.makedirs(os.path.join(folder, part), exist_ok=True)

    @property
    def about(self):
        """What renders."""
        return {"blender": bpy.app.version_string, "device": self._device}

    def render(self, specification):
        """Write an image and its scene; returns the answer."""
        if self._scene is None:
            self._scene = open_scene(specification["render"]["assets"], self._assets)
        scene, render = self._scene, specification["render"]
        configure(scene, render, self._device, self._threads)
        things = show(scene, specification)
        try:
            visibility = Visibility(scene, render)
            cells = visibility.cells(things)
            for (_, seen), item in zip(cells, specification["objects"], strict=True):
                if seen * visibility.cell_pixels < specification.get("min_visible_pixels", 0):
                    name = f"{item['size']} {item['color']} {item['material']} {item['shape']}"
                    return {"refused": f"only {seen * visibility.cell_pixels:.0f} pixels of the {name} can be seen"}
            made = described(scene, specification, cells, visibility.cell_pixels)
            return self._write({**made, "renderer": self.about})
        finally:
            for thing in things:
                bpy.data.objects.remove(thing)

    def _write(self, made):
        """The scene first: an image that is there has its scene. Half-written files never get the final name."""
        name = made["image_filename"]
        image = os.path.join(self._folder, "images", name)
        description = os.path.join(self._folder, "scenes", os.path.splitext(name)[0] + ".json")
        mine = f".half-{socket.gethostname()}-{os.getpid()}"  # several machines may share the folder
        half = os.path.join(self._folder, "images", mine + ".png")
        self._scene.scene.render.filepath = half
        bpy.ops.render.render(write_still=True)
        with open(description + mine, "w") as file:
            json.dump(made, file)
        os.replace(file.name, description)
        os.replace(half, image)
        return {"done": name}


def main():
    """Answer lines until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True, help="where images/ and scenes/ go")
    parser.add_argument("--clevr-gen-dir", default="", help="clone of facebookresearch/clevr-dataset-gen")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for all")
    options = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Blender prints on standard output, from C too
    renderer = Renderer(options.folder, options.clevr_gen_dir, options.device, options.threads)
    print(json.dumps(renderer.about), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = renderer.render(json.loads(line))
        except Exception as error:  # the next scene may do better; Blender's errors have no common class
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
