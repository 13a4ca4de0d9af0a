"""Measurements step by step, so that several of one data set can train their probes together.

A measurement is a generator: it yields every training that it waits for, and is sent it done. One alone is run to its
end by `finished`; several go in step, and what they ask for at one time becomes packs over all of them. Each probe's
training is the one it would have alone, up to the rounding of products that are computed in another grouping.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from binding.examples import Examples
from binding.fit import FitConfig, Fitted, OnEpoch, fit
from binding.probes import HeadShape, Probe
from frozen.rows import HeldRows, Rows, StackedRows

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
AnyRows = Rows | StackedRows | HeldRows
Stacks = dict[tuple[int, ...], StackedRows | HeldRows]


class FitRequest(NamedTuple):
    """A training that a measurement waits for: the arguments of `fit`."""

    probes: Sequence[Probe]
    shape: HeadShape
    train: Examples
    validation: Examples
    config: FitConfig
    seed: int
    untrained: bool
    on_epoch: OnEpoch | None = None

    @property
    def is_blind(self) -> bool:
        """Whether its probes see no activations, so that the training is the same for all cells of a data set."""
        return self.shape.z_dim == 0 and self.on_epoch is None

    def done(self) -> list[Fitted]:
        """The probes, trained."""
        if self.is_blind:
            return [_blind(self, probe) for probe in self.probes]
        return self.trained()

    def trained(self) -> list[Fitted]:
        """The probes, trained now, whatever is known of equal ones."""
        return fit(
            self.probes,
            self.shape,
            self.train,
            self.validation,
            self.config,
            seed=self.seed,
            untrained=self.untrained,
            on_epoch=self.on_epoch,
        )


Trainings = Generator[FitRequest, list[Fitted], T]
"""A computation that waits for trainings."""


def finished(steps: Trainings[T]) -> T:
    """Run one computation to its end."""
    try:
        request = next(steps)
        while True:
            request = steps.send(request.done())
    except StopIteration as end:
        return end.value


def together(computations: Mapping[K, Trainings[T]]) -> dict[K, T | Exception]:
    """Run several computations in step; what one raises takes the place of its result.

    Args:
        computations: by any name.
    """
    results: dict[K, T | Exception] = {}
    waiting: dict[K, FitRequest] = {}
    stacks: Stacks = {}

    def advance(name: K, fitted: list[Fitted] | None) -> None:
        steps = computations[name]
        try:
            waiting[name] = next(steps) if fitted is None else steps.send(fitted)
        except StopIteration as end:
            results[name] = end.value
        except Exception as error:  # noqa: BLE001 - the others go on
            results[name] = error

    for name in computations:
        advance(name, None)
    while waiting:
        asked, waiting = waiting, {}
        for names in _alike(asked):
            try:
                answers = _done([asked[name] for name in names], stacks)
            except Exception as error:  # noqa: BLE001 - as above
                results.update(dict.fromkeys(names, error))
                continue
            for name, fitted in zip(names, answers, strict=True):
                advance(name, fitted)
    return {name: results[name] for name in computations}


def _alike(asked: Mapping[K, FitRequest]) -> list[list[K]]:
    """Names of requests that can be one training; each of the others by itself."""
    groups: list[list[K]] = []
    for name, request in asked.items():
        for group in groups:
            if _fit_together(asked[group[0]], request):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _fit_together(one: FitRequest, other: FitRequest) -> bool:
    if one.is_blind or other.is_blind:
        return False
    if not all(probe.reads_several for request in (one, other) for probe in request.probes):
        return False
    settings = (
        (one.shape, one.config, one.seed, one.untrained),
        (other.shape, other.config, other.seed, other.untrained),
    )
    return settings[0] == settings[1] and all(
        _same_samples(*pair) for pair in ((one.train, other.train), (one.validation, other.validation))
    )


def _same_samples(one: Examples, other: Examples) -> bool:
    """Whether two lots of examples differ in their activations alone, and these can be read together."""
    if one.chosen is not None or other.chosen is not None or not _same_rows(one.z, other.z):
        return False
    if (one.offset is None) != (other.offset is None) or not torch.equal(one.codes, other.codes):
        return False
    return one.offset is None or other.offset is None or torch.equal(one.offset, other.offset)


def _same_rows(one: AnyRows, other: AnyRows) -> bool:
    """Whether rows are of one array, with other channels held, or of two arrays of one shape that lie in memory."""
    if isinstance(one, HeldRows) and isinstance(other, HeldRows):
        return one.rows is other.rows
    return _resident(one) is not None and _resident(other) is not None and one.shape == other.shape


def _resident(rows: AnyRows) -> Tensor | None:
    return rows.resident if isinstance(rows, Rows) else None


def _done(requests: Sequence[FitRequest], stacks: Stacks) -> list[list[Fitted]]:
    """Some requests that are alike, as one training; probes that are alike in several stand side by side."""
    first = requests[0]
    if len(requests) == 1:
        return [first.done()]
    most = max(len(request.probes) for request in requests)
    places = [(i, n) for n in range(most) for i, request in enumerate(requests) if n < len(request.probes)]

    def on_epoch(position: int, epoch: int, bits: float) -> bool:
        i, n = places[position]
        tell = requests[i].on_epoch
        return tell is not None and tell(n, epoch, bits)

    fitted = fit(
        [requests[i].probes[n] for i, n in places],
        first.shape,
        _stacked([request.train for request in requests], stacks),
        _stacked([request.validation for request in requests], stacks),
        first.config,
        seed=first.seed,
        untrained=first.untrained,
        on_epoch=on_epoch if any(request.on_epoch for request in requests) else None,
        sources=[i for i, _ in places],
    )
    answers: list[list[Fitted]] = [[] for _ in requests]
    for (i, _), one in zip(places, fitted, strict=True):
        answers[i].append(one)
    return answers


def _stacked(examples: Sequence[Examples], stacks: Stacks) -> Examples:
    """Examples that differ in their activations alone as one."""
    rows = [one.z for one in examples]
    key = tuple(map(id, rows))
    if key not in stacks:
        held = [one for one in rows if isinstance(one, HeldRows)]
        stacks[key] = (
            HeldRows(held[0].rows, torch.stack([one.kept for one in held]))
            if held
            else StackedRows([resident for one in rows if (resident := _resident(one)) is not None])
        )
    return examples[0]._replace(z=stacks[key])


_MOST_BLIND = 64
_known: OrderedDict[tuple[object, ...], Fitted] = OrderedDict()


def _blind(request: FitRequest, probe: Probe) -> Fitted:
    """The training of a probe that sees no activations, made once a process for all cells of a data set."""
    samples = [tensor for examples in (request.train, request.validation) for tensor in examples[1:3]]
    digest = hashlib.blake2b()
    for tensor in samples:
        digest.update(b"" if tensor is None else tensor.cpu().numpy().tobytes())
    device = request.train.codes.device
    own = (probe, request.shape, request.config, request.seed, request.untrained, str(device), digest.digest())
    if own not in _known:
        [_known[own]] = request._replace(probes=[probe]).trained()
        while len(_known) > _MOST_BLIND:
            _known.popitem(last=False)
    return _known[own]
