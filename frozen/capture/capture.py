"""Captures: reductions of a split under a condition, their keys, and how they are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int

from frozen.capture.conditions import PLAIN, Condition
from frozen.capture.forward import check, run_batch
from frozen.capture.reductions import Column, ReadsCaptions, Reduction
from frozen.capture.tables import TableBuilder
from frozen.data.spec import DatasetSpec
from frozen.models import Backbone, BackboneConfig, Batch, Description, TokenLayout, describe

KEY_VERSION = 2
"""Raised when equal keys would no longer mean equal values."""
_OWN_NAMES = {"store", "kind", "backbone", "weights", "data", "dtype", "condition", "head", "decoder", "inputs"}


class Origin(NamedTuple):
    """Content that a capture is made of, by its digests.

    Attributes:
        data: fingerprint of the split.
        backbone: the model's identity.
        weights: digest of its trunk; empty where there are none.
        head: digest of its classifier, where that is read.
        inputs: digests of labels that come from elsewhere than the split, by name.
        decoder: digest of its caption decoder, where that is read.
    """

    data: str
    backbone: str
    weights: str
    head: str = ""
    inputs: Mapping[str, str] = {}
    decoder: str = ""


@dataclass(frozen=True)
class Capture:
    """What is wanted: a reduction of a split of a data set through a model under a condition.

    Attributes:
        dataset: the data set, as the study names it.
        split: name of the split.
        backbone: the model's configuration.
        reduction: what is kept.
        condition: how the forward pass is changed.
        dtype: of columns that have none of their own.
    """

    dataset: DatasetSpec
    split: str
    backbone: BackboneConfig
    reduction: Reduction
    condition: Condition = PLAIN
    dtype: str = "float16"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what reduction and condition have to know of every sample."""
        return tuple(sorted({*self.condition.labels, *self.reduction.labels}))

    def describe(self) -> Description:
        """Of the model on the data set, with the parts that are needed.

        Raises:
            BackboneError: no such model, or one without such parts.
        """
        return describe(self.backbone, self.dataset.config, head=self.needs_head)

    def columns(self) -> tuple[Column, ...]:
        """The columns of its table."""
        return self.reduction.columns(self.describe(), self.condition)

    @property
    def is_pooled(self) -> bool:
        """Whether it keeps a vector a sample at most, so that a split's are worth holding in memory."""
        return all(column.shape is not None and len(column.shape) < 2 for column in self.columns())

    @property
    def needs_head(self) -> bool:
        """Whether the model is needed with its classifier."""
        return self.reduction.needs_head or any(site.part == "logits" for site in self.reduction.sites)

    @property
    def needs_decoder(self) -> bool:
        """Whether the model is needed with its caption decoder."""
        return isinstance(self.reduction, ReadsCaptions) and self.reduction.needs_decoder

    def content(self, origin: Origin) -> dict[str, Any]:
        """Everything that its values depend on, as plain values; of a view of the plain pass what it always was.

        Raises:
            ValueError: a reduction whose key uses a name that means something else here.
        """
        key = self.reduction.key()
        if taken := _OWN_NAMES & set(key):
            raise ValueError(f"the key of {type(self.reduction).__name__} must not use {', '.join(sorted(taken))}")
        content: dict[str, Any] = {"kind": "activations", "backbone": origin.backbone, "weights": origin.weights}
        content |= {"data": origin.data, "dtype": self.dtype, **key}
        if condition := self.condition.key():
            content["condition"] = condition
        if self.needs_head:
            content["head"] = origin.head
        if self.needs_decoder:
            content["decoder"] = origin.decoder
        labels = {*self.reduction.labels, *self.condition.labels}
        if inputs := {name: digest for name, digest in sorted(origin.inputs.items()) if name in labels}:
            content["inputs"] = inputs
        return content

    def key(self, origin: Origin) -> str:
        """sha256 of its content."""
        text = json.dumps({"store": KEY_VERSION, **self.content(origin)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@runtime_checkable
class Images(Protocol):
    """Samples that can be captured; what has `labels(name, indices)` too gives reductions what they ask for."""

    def images(self, indices: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Images of some samples, uint8 [batch height width 3]."""
        ...

    def __len__(self) -> int: ...


def capture(
    model: Backbone,
    split: Images,
    reductions: Sequence[Reduction],
    *,
    condition: Condition = PLAIN,
    indices: Int[np.ndarray, " samples"] | None = None,
    batch_size: int = 64,
    labels: Mapping[str, np.ndarray] | None = None,
    dtype: str = "float32",
) -> dict[Reduction, pa.Table]:
    """Tables of reductions of some samples, in one forward pass an image.

    Args:
        model: a loaded backbone.
        split: of a data set.
        reductions: what is kept; equal ones once.
        condition: how the forward pass is changed.
        indices: samples, in the order of the rows; None for all.
        batch_size: most samples a pass.
        labels: arrays over the whole split, which come before the split's own of the same name.
        dtype: of columns that have none of their own.

    Returns:
        A table for each reduction, a row a sample.

    Raises:
        BackboneError: a site, condition or classifier that the model does not have.
        ValueError: a reduction that makes no sense of the model, a label that is not there, values that are not
            finite or that their column's type cannot hold.
    """
    wanted = tuple(dict.fromkeys(reductions))
    check(model, wanted, condition)
    rows = np.arange(len(split)) if indices is None else np.asarray(indices)
    names = sorted({name for part in (condition, *wanted) for name in part.labels})
    known = {name: _label(split, name, rows, labels or {}) for name in names}
    columns = {reduction: reduction.columns(model.description, condition) for reduction in wanted}
    device = model.trunk.device if model.trunk else torch.device("cpu")
    builders = {reduction: TableBuilder(columns[reduction], len(rows), dtype, device) for reduction in wanted}
    for places in in_batches(len(rows), batch_size, condition, known, model.description.layout):
        batch = _batch(split, rows[places], {name: values[places] for name, values in known.items()})
        for reduction, values in run_batch(model, batch, wanted, condition).items():
            builders[reduction].put(places, values)
    return {reduction: builder.table() for reduction, builder in builders.items()}


def in_batches(
    n_samples: int, batch_size: int, condition: Condition, labels: Mapping[str, np.ndarray], layout: TokenLayout
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Places of samples in batches of nearly one size, each of samples that keep equally many tokens."""
    counts = condition.counts(labels, layout)
    groups = [np.arange(n_samples)]
    if counts is not None:
        groups = [np.flatnonzero(counts == count) for count in np.unique(counts)]
    for group in groups:
        yield from np.array_split(group, max(1, -(-len(group) // batch_size)))


def _label(split: Any, name: str, rows: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
    if name in given:
        return np.asarray(given[name])[rows]
    if not hasattr(split, "labels"):
        raise ValueError(f"the split has no labels, {name!r} is needed; give it as labels={{{name!r}: ...}}")
    return np.asarray(split.labels(name, rows))


def _batch(split: Any, indices: np.ndarray, labels: Mapping[str, np.ndarray]) -> Batch:
    """Samples of a split; codes where it has them, for models that read those."""
    codes = split.object_codes[indices] if hasattr(split, "object_codes") else np.zeros((len(indices), 0), np.uint8)
    features = split.space.feature_codes(codes) if hasattr(split, "space") else codes
    return Batch(indices, split.images(indices), codes, features, stream=0, labels=labels)
