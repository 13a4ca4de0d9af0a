"""Which sites the names of layers stand for."""

from __future__ import annotations

import pytest

from frozen.data.scenes import TwinShapes
from frozen.models import BackboneConfig, Description, describe
from frozen.readout.layers import resolve_layers


@pytest.fixture(scope="module")
def description() -> Description:
    """Of a model of six blocks with four heads each."""
    return describe(BackboneConfig(source="shipped:shapes_vit_objects"), TwinShapes())


def test_a_cell_a_head(description: Description) -> None:
    assert resolve_layers(("3.heads.all",), description) == [f"3.heads.{head}" for head in range(4)]
    assert len(resolve_layers(("all.heads.all",), description)) == 24
    assert resolve_layers(("3.heads",), description) == ["3.heads"]


def test_a_part_of_every_block(description: Description) -> None:
    assert resolve_layers(("all.attention",), description) == [f"{block}.attention" for block in range(6)]
    assert resolve_layers(("embed", "all.mlp", "2.mlp"), description)[:2] == ["embed", "0.mlp"]
    assert len(resolve_layers(("all.mlp", "2.mlp"), description)) == 6


def test_blocks_from_the_end_have_heads_too(description: Description) -> None:
    assert resolve_layers(("-1.heads.all",), description) == [f"5.heads.{head}" for head in range(4)]


def test_all_alone_is_every_layer(description: Description) -> None:
    assert resolve_layers(("all",), description) == list(description.layers)


@pytest.mark.parametrize("name", ["9.heads.all", "3.mlp.all", "all.all"])
def test_what_is_not_there_is_refused(name: str, description: Description) -> None:
    with pytest.raises(ValueError, match=r"no layer 9|only heads and values have numbers|no part 'all'"):
        resolve_layers((name,), description)
