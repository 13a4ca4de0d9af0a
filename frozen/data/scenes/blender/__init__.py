"""Blender in a process of its own: how it is found, and how it is given work."""

from frozen.data.scenes.blender._find import BlenderNotFoundError, find_blender
from frozen.data.scenes.blender._process import Blender, BlenderError

__all__ = ["Blender", "BlenderError", "BlenderNotFoundError", "find_blender"]
