"""One batch through a model: hooks where sites are asked for, and an end as soon as the last one was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from frozen.capture.conditions import PLAIN, Condition
from frozen.capture.reductions import ForwardPass, ReadsCaptions, Reducer, Reduction, Values
from frozen.capture.sites import Site
from frozen.models import BLOCK_PARTS, Backbone, BackboneError, Batch, Point, Trunk

Take = Callable[[Site, Tensor], None]


class _Enough(Exception):  # noqa: N818
    """Every site was seen: what would come later is not computed."""


def run_batch(
    model: Backbone, batch: Batch, reductions: Iterable[Reduction], condition: Condition = PLAIN
) -> dict[Reduction, Mapping[str, Values]]:
    """One forward pass for all reductions of a condition: each one's columns, on the device.

    Args:
        model: with the parts that the reductions need.
        batch: with the labels that reductions and condition need; under a condition that keeps some tokens, samples
            that keep equally many.
        reductions: what is kept.
        condition: how the pass is changed.

    Raises:
        BackboneError: a site or condition that the model does not have.
    """
    wanted = tuple(dict.fromkeys(reductions))
    has_gradient = any(reduction.needs_gradient for reduction in wanted)
    check(model, wanted, condition)
    _check_layout(model, batch, [site for reduction in wanted for site in reduction.sites])
    mode = torch.enable_grad() if has_gradient else torch.inference_mode()
    with mode, _applied(condition, model, batch) as positions:
        forward = ForwardPass(model, batch, condition, positions)
        reducers = {reduction: reduction.begin(forward) for reduction in wanted}
        by_site: dict[Site, list[tuple[Reduction, Reducer]]] = {}
        for reduction, reducer in reducers.items():
            for site in reduction.sites:
                by_site.setdefault(site, []).append((reduction, reducer))

        def take(site: Site, value: Tensor) -> None:
            for reduction, reducer in by_site[site]:
                reducer.take(site, value if reduction.needs_gradient else value.detach())

        n_tokens = None if positions is None else forward.layout.n_tokens
        read_sites(model, batch, by_site, take, n_tokens=n_tokens, gradient=has_gradient)
        return {reduction: reducer.finish() for reduction, reducer in reducers.items()}


def check(model: Backbone, reductions: Iterable[Reduction], condition: Condition) -> None:
    """Refuse what a model does not have.

    Raises:
        BackboneError: the first such thing.
    """
    if reason := condition.refusal(model.description):
        raise BackboneError(f"{model.identity} cannot run under {condition}: {reason}")
    for reduction in reductions:
        for site in reduction.sites:
            if reason := site.refusal(model.description):
                raise BackboneError(f"{model.identity} has no site {site}: {reason}")
        if reduction.needs_head and model.head is None:
            raise BackboneError(f"{model.identity} has no classifier, or was loaded without it")
        if isinstance(reduction, ReadsCaptions) and reduction.needs_decoder and model.decoder is None:
            raise BackboneError(f"{model.identity} has no caption decoder, or was loaded without it")
        if reduction.needs_gradient and model.trunk is None:
            raise BackboneError(f"{model.identity} gives tokens only, of which nothing can be differentiated")


@torch.inference_mode()
def _check_layout(model: Backbone, batch: Batch, sites: Iterable[Site]) -> None:
    """Look at the first image alone where a batch has as many images as tokens.

    Of such a batch, [token batch dim] in place of [batch token dim] has the right shape, and images would be tokens.

    Raises:
        BackboneError: tokens of another layout than the model's description says.
    """
    n = len(batch.images)
    alike = dict.fromkeys(site for site in sites if site.has_tokens and site.shape(model.description)[0] == n > 1)
    if alike:
        first = {name: getattr(batch, name)[:1] for name in ("indices", "images", "object_codes", "feature_codes")}
        read_sites(model, batch._replace(**first, labels={}), alike, lambda *_: None, n_tokens=None)


@contextmanager
def _applied(condition: Condition, model: Backbone, batch: Batch) -> Iterator[Tensor | None]:
    if model.trunk is None:
        yield None
    else:
        with condition.applied(model.trunk, batch, model.description.layout) as positions:
            yield positions


def read_sites(
    model: Backbone, batch: Batch, sites: Iterable[Site], take: Take, *, n_tokens: int | None, gradient: bool = False
) -> None:
    """Hand on every site as soon as it is there, float32 (float64 where the model computes in it).

    With `n_tokens`, every layer has so many tokens, and not as many as the model's description says.

    Raises:
        BackboneError: a site that never came, or tokens of another shape than the model's description says.
    """
    if model.trunk is None:
        by_layer = {site.layer: site for site in sites}
        model.forward(batch, lambda layer, tokens: take(by_layer[layer], tokens) if layer in by_layer else None)
        return
    _Recorder(model, model.trunk, sites, take, len(batch.images), n_tokens, gradient).run(batch)


class _Recorder:
    """Puts the hooks on a trunk, and hands on what they see."""

    def __init__(
        self,
        model: Backbone,
        trunk: Trunk,
        sites: Iterable[Site],
        take: Take,
        n_samples: int,
        n_tokens: int | None,
        gradient: bool,
    ) -> None:
        self._model, self._trunk, self._take, self._gradient = model, trunk, take, gradient
        self._n_samples, self._n_tokens = n_samples, n_tokens
        self._left = dict.fromkeys(sites)
        self._handles = ExitStack()

    def run(self, batch: Batch) -> None:
        """One forward pass."""
        at_end = [site for site in self._left if site.layer == "final"]
        first = self._first_block() if self._gradient else None
        with self._handles, suppress(_Enough):
            if first is not None:
                self._before(first, _begin_graph)
            self._hook_all()
            tokens = self._trunk.run(batch.images)
            if self._gradient and first is None:
                tokens = _begin_graph(tokens)
            for site in at_end:
                self._give(site, self._of_final(site, tokens))
        if self._left:
            missing = ", ".join(map(str, self._left))
            raise BackboneError(f"{self._model.identity} never came to {missing}: its forward pass skips that module")

    def _hook_all(self) -> None:
        tokens_at: dict[str, list[Site]] = {}
        for site in self._left:
            if site.part in BLOCK_PARTS:
                self._hook_part(site)
            elif site.layer != "final":
                tokens_at.setdefault(site.layer, []).append(site)
        for layer, here in tokens_at.items():
            if layer == "embed":
                self._before(self._trunk.blocks[0], self._reader(here))
            else:
                self._after(self._trunk.blocks[int(layer)], self._reader(here))

    def _first_block(self) -> nn.Module | None:
        """Where the graph begins: no earlier than the first site."""
        numbers = [0 if site.layer == "embed" else int(site.layer) for site in self._left if site.layer != "final"]
        return self._trunk.blocks[min(numbers)] if numbers else None

    def _reader(self, here: Sequence[Site]) -> Callable[[Tensor], None]:
        def read(tokens: Tensor) -> None:
            for site in here:
                self._give(site, self._projected(tokens) if site.part == "logits" else tokens)

        return read

    def _projected(self, tokens: Tensor) -> Tensor:
        assert self._model.head is not None
        return self._model.head.project(_wide(tokens))

    def _of_final(self, site: Site, tokens: Tensor) -> Tensor:
        if site.part == "residual":
            return tokens
        part = self._trunk.pool if site.part == "embedding" else self._model.head and self._model.head.pooled
        assert part is not None
        with torch.autocast(self._trunk.device.type, enabled=False):
            return part(_wide(tokens))

    def _hook_part(self, site: Site) -> None:
        if self._trunk.is_compiled:
            raise BackboneError(f"site {site} lies within a compiled block; set `compile: false`")
        point = self._trunk.parts[int(site.layer)].points[site.part]

        def read(hooked: Tensor) -> Tensor | None:
            part = _wide(point.read(hooked))
            one = part if site.head is None else part[:, :, site.head]
            if self._gradient and site.head is not None:
                number = torch.tensor([site.head], device=part.device)
                part = part.index_copy(2, number, one[:, :, None])
            self._give(site, one)
            return self._restored(point, hooked, part)

        (self._before if point.side == "input" else self._after)(point.module, read)

    def _restored(self, point: Point, hooked: Tensor, part: Tensor) -> Tensor | None:
        """With a gradient, what runs on is made of the very tensor that was handed on."""
        if not self._gradient or point.restore is None:
            return None
        return point.restore(hooked, part.to(hooked.dtype))

    def _before(self, module: nn.Module, read: Callable[[Tensor], Tensor | None]) -> None:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            changed = read(inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        self._handles.callback(module.register_forward_pre_hook(hook).remove)

    def _after(self, module: nn.Module, read: Callable[[Tensor], Tensor | None]) -> None:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            changed = read(first)
            if changed is None or not isinstance(output, tuple):
                return changed
            return (changed, *output[1:])

        self._handles.callback(module.register_forward_hook(hook).remove)

    def _give(self, site: Site, value: Tensor) -> None:
        value = _wide(value)
        expected = (self._n_samples, *site.shape(self._model.description, self._n_tokens))
        if tuple(value.shape) != expected:
            found = tuple(value.shape)
            layout = "; images must come before tokens" if found == (expected[1], expected[0], *expected[2:]) else ""
            raise BackboneError(
                f"{self._model.identity}: site {site} is {found}, not {expected} as its description says{layout}"
            )
        del self._left[site]
        device = self._trunk.device.type
        plain = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        with plain:  # a reducer's own products are in full precision
            self._take(site, value)
        if not self._left:
            raise _Enough


def _begin_graph(tokens: Tensor) -> Tensor:
    return tokens.detach().requires_grad_()


def _wide(value: Tensor) -> Tensor:
    """At least single precision."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
