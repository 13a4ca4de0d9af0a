from __future__ import annotations

from collections.abc import Callable

import pytest

from frozen.data.scenes import Clevr, ColorShape, Files, OcclusionClevr
from frozen.models import BackboneConfig
from frozen.problems import ConfigurationError, plural


@pytest.mark.parametrize(
    "make",
    [
        lambda size: ColorShape(image_size=size),
        lambda size: OcclusionClevr(image_size=size),
        lambda size: Clevr(image_size=size),
        lambda size: Files(table="a.csv", groups=("color",), image_size=size),
        lambda size: BackboneConfig(source="shipped:shapes_vit_objects", image_size=size),
    ],
)
def test_images_have_a_largest_size(make: Callable[[int], object]) -> None:
    make(8192)
    with pytest.raises(ConfigurationError, match="image_size: must be ≤ 8192, got 100000"):
        make(100_000)


def test_plurals_of_what_stands_in_headings() -> None:
    assert [plural(noun) for noun in ("layer", "class", "dictionary", "day")] == [
        "layers",
        "classes",
        "dictionaries",
        "days",
    ]
