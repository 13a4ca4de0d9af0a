"""What a cell asks (its aspect), and the settings it depends on."""

from __future__ import annotations

from dataclasses import dataclass

from frozen.capture.sites import Site
from frozen.intervals import IntervalConfig
from frozen.plain import Plain
from readouts.class_embedding.keys import ClassStudy

VERSION = 1
"""Raised when equal inputs give other numbers; part of every cell's identity."""
PROJECTION = "projection"
MEMORIES = "memories"
MEMORIES_OTHER_CLASS = "memories_other_class"
MEMORY_WEIGHTS = "memory_weights"
MEMORY = "memory"
RELEVANCY = "relevancy"
BOUND_CLASS = "bound_class"
ATTRIBUTION = "attribution"
PROBE = "probe"
OUTPUT = Site.parse("logits")
"""The model's own output."""


@dataclass(frozen=True)
class ClassCell:
    """How one cell is measured."""

    aspect: str
    """projection, the name of the condition under which the model runs, or another analysis."""
    site: Site
    kind: str
    rules: ClassStudy
    seed: int
    intervals: IntervalConfig


_WHICH = {
    *("layers", "parts", "tokens", "split", "conditions", "memories", "inspect", "attribution", "deletion", "probe"),
    *("head_relevancy", "bound_class"),
}
"""Settings that say which cells there are, and no more."""
_OF_DELETION = {"deletion_steps", "random_orders", "auc"}
_OF_PROBES = {"probe_split", "probe_alpha", "probe_positions"}
_OF_MEMORIES = (MEMORIES, MEMORIES_OTHER_CLASS, MEMORY_WEIGHTS, MEMORY)


def plain_rules(rules: ClassStudy, aspect: str, n_prefix: int) -> dict[str, Plain]:
    """The settings that a cell depends on; of later ones only those that change it, so that ids stay what they were.

    Args:
        rules: the study's.
        aspect: of the cell.
        n_prefix: tokens of the model before its image tokens.
    """
    left_out = set(_WHICH)
    if not aspect.startswith("keep_"):
        left_out |= _OF_DELETION
        left_out |= {"softmax"} if aspect != RELEVANCY else set()
    if aspect != PROBE:
        left_out |= _OF_PROBES
    if aspect not in _OF_MEMORIES or rules.value_vectors == "raw":
        left_out.add("value_vectors")
    if aspect != PROJECTION or n_prefix or not rules.skip_first:
        left_out.add("skip_first")
    return {name: value for name, value in rules.resolved().items() if name not in left_out}
