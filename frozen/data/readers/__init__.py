"""Data sets of labelled images, in the layouts in which they are published."""

from frozen.data.dataset import dataset_problem
from frozen.data.rasters import FileRasters, Rasters
from frozen.data.readers._base import Listing, PhotoDataset, PhotoSplit
from frozen.data.readers._folder import ImageFolder
from frozen.data.readers._table import Table
from frozen.registry import Registry

READERS: Registry[type] = Registry("frozen.readers", {"imagefolder": ImageFolder, "table": Table}, dataset_problem)
"""Kinds of data sets that a study names with the key `data`."""

__all__ = ["READERS", "FileRasters", "ImageFolder", "Listing", "PhotoDataset", "PhotoSplit", "Rasters", "Table"]
