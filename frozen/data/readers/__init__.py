"""Data sets of labelled images, in the layouts in which they are published."""

from frozen.data.dataset import dataset_problem
from frozen.data.readers._base import Listing, PhotoDataset, PhotoSplit
from frozen.data.readers._cifar import Cifar10, Cifar100
from frozen.data.readers._coco import CocoCaptions
from frozen.data.readers._folder import ImageFolder
from frozen.data.readers._imagenet import ImageNet, ImageNetS
from frozen.data.readers._lists import Cub, Places365, Waterbirds
from frozen.data.readers._segmentation import ImageNetSegmentation
from frozen.data.readers._table import Table
from frozen.data.readers._webdataset import WebDataset
from frozen.registry import Registry

READERS: Registry[type] = Registry(
    "frozen.readers",
    {
        "imagefolder": ImageFolder,
        "table": Table,
        "webdataset": WebDataset,
        "cifar10": Cifar10,
        "cifar100": Cifar100,
        "places365": Places365,
        "imagenet": ImageNet,
        "imagenet_s": ImageNetS,
        "imagenet_segmentation": ImageNetSegmentation,
        "coco_captions": CocoCaptions,
        "waterbirds": Waterbirds,
        "cub": Cub,
    },
    dataset_problem,
)
"""Kinds of data sets that a study names with the key `data`."""

__all__ = [
    "READERS",
    "Cifar10",
    "Cifar100",
    "CocoCaptions",
    "Cub",
    "ImageFolder",
    "ImageNet",
    "ImageNetS",
    "ImageNetSegmentation",
    "Listing",
    "PhotoDataset",
    "PhotoSplit",
    "Places365",
    "Table",
    "Waterbirds",
    "WebDataset",
]
