"""Products of partly shared factors, whole and in parts, against the formula."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from binding.probes._shared_products import sum_of_shared_products

PACK, BATCH, RANK, VISIBLE = 3, 5, 2, 4


@pytest.mark.parametrize("sizes", [(2, 3), (2, 3, 2)])
@pytest.mark.parametrize("ranks", [1, RANK, 2 * RANK])
def test_parts_of_any_size_give_the_formula_and_its_gradient(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], ranks: int
) -> None:
    values = list(product(*map(range, sizes)))
    columns = len(sizes) * RANK * len(values)
    monkeypatch.setattr("binding.probes._shared_products._CHUNK_BYTES", ranks * len(sizes) * len(values) * BATCH * 8)
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, VISIBLE), (PACK, VISIBLE, columns), (PACK, BATCH, RANK * sum(sizes))]
    codes, weight, per_value = leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes
    ]

    own = (codes @ weight).unflatten(2, (len(sizes), RANK, len(values)))
    factors = []
    for group, part in enumerate(per_value.split([RANK * size for size in sizes], dim=2)):
        shared = part.unflatten(2, (RANK, sizes[group]))[..., [value[group] for value in values]]
        factors.append(own[:, :, group] + shared)
    expected = torch.stack(factors).prod(0).sum(2)
    found = sum_of_shared_products(codes, weight, per_value, sizes)

    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(logits.square().sum(), leaves) for logits in (found, expected))
    torch.testing.assert_close(*gradients)
