from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture.views import MODES, Mode, read, read_all, refuses, shape
from frozen.models import TokenLayout

WITH_REGISTERS = TokenLayout(has_cls=True, n_registers=2, grid=(2, 3), width=4)
PLAIN = TokenLayout(has_cls=True, n_registers=0, grid=(2, 3), width=4)
NO_CLS = TokenLayout(has_cls=False, n_registers=1, grid=(2, 3), width=4)
CODE = TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=4)
LAYOUTS = (WITH_REGISTERS, PLAIN, NO_CLS, CODE)
OFFERED = [(layout, mode) for layout in LAYOUTS for mode in MODES if refuses(mode, layout) is None]


def tokens_of(layout: TokenLayout, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, layout.n_tokens, layout.width, generator=generator).to(dtype)


def test_modes_are_those_of_the_study_file() -> None:
    assert MODES == ("cls", "mean_spatial", "cls_mean", "all")


def test_cls_is_the_first_token() -> None:
    tokens = tokens_of(WITH_REGISTERS)
    assert torch.equal(read(tokens, "cls", WITH_REGISTERS), tokens[:, 0])


@pytest.mark.parametrize(("layout", "first"), [(WITH_REGISTERS, 3), (PLAIN, 1), (NO_CLS, 1)])
def test_the_mean_is_over_the_spatial_tokens_alone(layout: TokenLayout, first: int) -> None:
    tokens = tokens_of(layout)
    expected = tokens.numpy()[:, first : first + 6].astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(read(tokens, "mean_spatial", layout), expected, atol=1e-6)


def test_cls_mean_is_both_with_cls_first() -> None:
    tokens = tokens_of(WITH_REGISTERS)
    both = read(tokens, "cls_mean", WITH_REGISTERS)
    assert torch.equal(both[:, :4], read(tokens, "cls", WITH_REGISTERS))
    assert torch.equal(both[:, 4:], read(tokens, "mean_spatial", WITH_REGISTERS))


def test_all_is_cls_then_the_spatial_tokens_in_order() -> None:
    tokens = tokens_of(WITH_REGISTERS)
    assert torch.equal(read(tokens, "all", WITH_REGISTERS), tokens[:, [0, 3, 4, 5, 6, 7, 8]])


def test_all_without_cls_is_the_spatial_tokens() -> None:
    tokens = tokens_of(NO_CLS)
    assert torch.equal(read(tokens, "all", NO_CLS), tokens[:, 1:])


@pytest.mark.parametrize(("layout", "mode"), [pair for pair in OFFERED if pair[0] in (WITH_REGISTERS, NO_CLS)])
def test_no_mode_ever_shows_a_register(layout: TokenLayout, mode: Mode) -> None:
    tokens = tokens_of(layout)
    changed = tokens.clone()
    changed[:, int(layout.has_cls) : layout.n_prefix] = torch.nan
    assert torch.equal(read(tokens, mode, layout), read(changed, mode, layout))


@pytest.mark.parametrize(("layout", "mode"), OFFERED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_read_has_the_announced_shape_and_the_type_of_the_tokens(
    layout: TokenLayout, mode: Mode, dtype: torch.dtype
) -> None:
    value = read(tokens_of(layout, dtype), mode, layout)
    assert tuple(value.shape) == (3, *shape(mode, layout))
    assert value.dtype == dtype


def test_shapes_by_hand() -> None:
    assert [shape(mode, WITH_REGISTERS) for mode in MODES] == [(4,), (4,), (8,), (7, 4)]
    assert shape("all", NO_CLS) == (6, 4)


def test_the_mean_of_half_precision_tokens_does_not_overflow() -> None:
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(16, 16), width=1)
    tokens = torch.full((1, layout.n_tokens, 1), 1024.0, dtype=torch.float16)  # their sum is 4 times the largest half
    assert read(tokens, "mean_spatial", layout).item() == 1024


@pytest.mark.parametrize(
    ("layout", "mode", "missing", "offered"),
    [
        (NO_CLS, "cls", "CLS token", "mean_spatial, all"),
        (NO_CLS, "cls_mean", "CLS token", "mean_spatial, all"),
        (CODE, "mean_spatial", "spatial tokens", "cls"),
        (CODE, "cls_mean", "spatial tokens", "cls"),
        (CODE, "all", "spatial tokens", "cls"),
    ],
)
def test_refusals_say_what_is_missing_and_which_modes_exist(
    layout: TokenLayout, mode: Mode, missing: str, offered: str
) -> None:
    reason = refuses(mode, layout)
    assert reason == f"mode {mode} needs {'a ' if 'CLS' in missing else ''}{missing}"
    with pytest.raises(ValueError, match=f"^{reason}; this backbone offers {offered}$"):
        read(tokens_of(layout), mode, layout)


def test_everything_else_is_offered() -> None:
    refused = {(layout, mode) for layout in LAYOUTS for mode in MODES} - set(OFFERED)
    assert refused == {(NO_CLS, "cls"), (NO_CLS, "cls_mean"), *((CODE, mode) for mode in MODES[1:])}


def test_several_modes_at_once_are_those_modes() -> None:
    layout = WITH_REGISTERS
    tokens = tokens_of(layout)
    for order in (MODES, tuple(reversed(MODES))):
        found = dict(read_all(tokens, order, layout))
        assert tuple(found) == order
        for mode, value in found.items():
            assert torch.equal(value, read(tokens, mode, layout))
    with pytest.raises(ValueError, match="mode cls_mean needs a CLS token"):
        dict(read_all(tokens_of(NO_CLS), ["mean_spatial", "cls_mean"], NO_CLS))
