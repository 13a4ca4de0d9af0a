"""What the sites of every model must satisfy."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture.conditions import PLAIN, Condition, KeepMost, NoCls, SelfOnly
from frozen.capture.forward import run_batch
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site, sites
from frozen.models import BLOCK_PARTS, CHANGES, Backbone, BackboneError, Batch

_SUBLAYERS = ("attention", "mid", "mlp")


class SiteConformance:
    """Tests that the tests of a model with a trunk inherit; a subclass gives the fixtures `backbone` and `images`.

    `images` are a few, uint8 [samples height width 3]; they differ.
    """

    tolerance = 1e-4
    """Relative to the largest number of a site."""

    @pytest.fixture
    def batch(self, images: np.ndarray, backbone: Backbone) -> Batch:
        none = np.zeros((len(images), 0), np.uint8)
        every = np.tile(np.arange(backbone.description.layout.n_spatial), (len(images), 1))
        return Batch(np.arange(len(images)), images, none, none, 0, {"order": every})

    def test_has_a_trunk_of_as_many_blocks_as_layers(self, backbone: Backbone) -> None:
        assert backbone.trunk is not None
        assert len(backbone.trunk.blocks) == sum(layer.isdigit() for layer in backbone.description.layers)

    def test_says_of_every_part_what_it_is_like_or_why_it_is_not_there(self, backbone: Backbone) -> None:
        for name in (*BLOCK_PARTS, *CHANGES):
            assert backbone.description.part(name) is not None
        for layer in backbone.description.layers[1:-1]:
            for name in BLOCK_PARTS:
                site = Site(layer, name)
                assert (site.refusal(backbone.description) is None) == (site in sites(backbone.description))

    def test_every_site_is_finite_and_has_the_shape_it_announces(self, backbone: Backbone, batch: Batch) -> None:
        found = _read(backbone, batch, *sites(backbone.description))
        for site, value in found.items():
            assert tuple(value.shape) == (len(batch.images), *site.shape(backbone.description))
            assert torch.isfinite(value).all()
            assert value.flatten(1).unique(dim=0).shape[0] == len(batch.images) or site.layer == "embed"

    def test_a_site_alone_is_the_site_among_others(self, backbone: Backbone, batch: Batch) -> None:
        """Every site before, in and after the first block, one in the middle and the last."""
        together = _read(backbone, batch, *sites(backbone.description))
        layers = backbone.description.layers
        last = len(layers) - 1
        tried = {layers[place] for place in (0, min(1, last), last // 2, max(last - 1, 0), last)}
        for site in together:
            if site.layer in tried:
                assert torch.equal(_read(backbone, batch, site)[site], together[site])

    def test_residual_sites_are_the_tokens_of_the_layers(self, backbone: Backbone, batch: Batch) -> None:
        tokens = backbone.forward(batch)
        found = _read(backbone, batch, *map(Site, backbone.description.layers))
        for layer, value in tokens.items():
            self.assert_close(found[Site(layer)], value)

    def test_sublayers_add_up_to_the_residual_stream(self, backbone: Backbone, batch: Batch) -> None:
        layers = backbone.description.layers[:-1]
        parts = [Site(layer, part) for layer in layers[1:] for part in _SUBLAYERS]
        if any(site.refusal(backbone.description) for site in parts):
            pytest.skip("its sublayers cannot be read")
        found = _read(backbone, batch, *map(Site, layers), *parts)
        for before, layer in pairwise(layers):
            attention, mid, mlp = (found[Site(layer, part)] for part in _SUBLAYERS)
            self.assert_close(found[Site(before)] + attention, mid)
            self.assert_close(mid + mlp, found[Site(layer)])

    def test_heads_are_what_their_projection_reads(self, backbone: Backbone, batch: Batch) -> None:
        """And one head is the head of that number."""
        layer = backbone.description.layers[1]
        site = Site(layer, "heads")
        if site.refusal(backbone.description) is not None:
            pytest.skip("its heads cannot be read")
        heads = _read(backbone, batch, site)[site]
        for number in range(heads.shape[2]):
            one = Site(layer, "heads", number)
            assert torch.equal(_read(backbone, batch, one)[one], heads[:, :, number])

    def test_the_pass_ends_at_the_last_site(self, backbone: Backbone, batch: Batch) -> None:
        assert backbone.trunk is not None
        called: list[int] = []
        handles = [
            block.register_forward_pre_hook(partial(_note, called, i))
            for i, block in enumerate(backbone.trunk.blocks)
        ]
        try:
            _read(backbone, batch, Site(backbone.description.layers[1]))
        finally:
            for handle in handles:
                handle.remove()
        assert called == [0]

    @pytest.mark.parametrize("condition", [SelfOnly(), NoCls(), NoCls(renormalise=True)], ids=str)
    def test_attention_changes_or_says_why_not(self, backbone: Backbone, batch: Batch, condition: Condition) -> None:
        last = Site(backbone.description.layers[-1])
        if condition.refusal(backbone.description):
            with pytest.raises(BackboneError, match="cannot run under"):
                _read(backbone, batch, last, condition=condition)
            return
        plain = _read(backbone, batch, last)[last]
        assert not torch.equal(_read(backbone, batch, last, condition=condition)[last], plain)
        assert torch.equal(_read(backbone, batch, last)[last], plain)

    def test_tokens_can_be_chosen_or_it_says_why_not(self, backbone: Backbone, batch: Batch) -> None:
        layout = backbone.description.layout
        last = Site(backbone.description.layers[-2])
        every, half = (KeepMost(n, "order") for n in (layout.n_spatial, layout.n_spatial // 2))
        if every.refusal(backbone.description):
            with pytest.raises(BackboneError, match="cannot run under"):
                _read(backbone, batch, last, condition=every)
            return
        self.assert_close(_read(backbone, batch, last, condition=every)[last], _read(backbone, batch, last)[last])
        assert _read(backbone, batch, last, condition=half)[last].shape[1] == layout.n_prefix + layout.n_spatial // 2

    def assert_close(self, one: Tensor, other: Tensor) -> None:
        """Equal but for rounding, which grows with the numbers."""
        scale = max(float(other.abs().max()), 1.0)
        torch.testing.assert_close(one, other, rtol=0, atol=self.tolerance * scale)


def _note(called: list[int], number: int, *_call: object) -> None:
    called.append(number)


def _read(backbone: Backbone, batch: Batch, *wanted: Site, condition: Condition = PLAIN) -> dict[Site, Tensor]:
    found = run_batch(backbone, batch, [WholeSite(site) for site in wanted], condition)
    return {site: found[WholeSite(site)]["activations"] for site in wanted}  # pyright: ignore
