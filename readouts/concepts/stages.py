"""The stages of the read-out: their dimensions, their products, and what one cell does."""

from __future__ import annotations

from dataclasses import dataclass

from frozen.data.spec import DatasetSpec
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig
from frozen.readout.measures import Dimension
from readouts.concepts.keys import ClassifierConfig, InterventionConfig, NamesConfig
from readouts.concepts.roles import ROLES
from readouts.concepts.settings import DictionaryConfig, TrainingConfig

NO_DICTIONARY = "no dictionary"
VERSION = 2
"""Raised when equal inputs give other numbers; part of every cell's identity."""

STAGES = {
    "dictionary": "trains it, and models held-out activations with it",
    "codes": "sparse codes of every split",
    "names": "a text for every atom",
    "monosemanticity": "how alike another model finds the images of an atom",
    "binding": "whether atoms stand for features or for conjunctions of them",
    "classifier": "a linear classifier on codes or activations",
    "fidelity": "what is lost when x̂ replaces x: by the texts of the classes, and by the linear probe on x",
    "intervention": "the classifier without some atoms, or with them alone",
    "stability": "whether two trainings find the same atoms",
}
PRODUCTS = {
    "dictionary": "encoder, decoder and normalisation, as safetensors",
    "names": "a row an atom: name, scores, z; parquet",
    **{f"codes_{role}": f"sparse codes of the {role} split, an Arrow stream" for role in ROLES},
    "selectivity": "a row an atom: what it detects, and its bound AUC; parquet",
    "classifier": "weights, as safetensors",
}
_STAGE_TEXT = "what is measured: " + "; ".join(f"{name}: {text}" for name, text in STAGES.items())
DIMENSIONS = (
    Dimension("site", "site", "where the activations are from", "depth", order="site_index"),
    Dimension("stage", "stage", _STAGE_TEXT, "panel"),
    Dimension("dictionary", "dictionary", "kind, sparsity and atoms a dimension", "line"),
    Dimension("training_number", "training", "which training of the dictionary, from 0", "detail"),
    Dimension("variant", "variant", "vocabulary, classifier or intervention", "detail"),
)
GRID_COLUMNS = {
    "site": "where the activations are from",
    "site_index": "position in depth: embed is -1",
    "stage": _STAGE_TEXT,
    "dictionary": "kind, sparsity and atoms a dimension",
    "training_number": "which training of the dictionary, from 0",
    "variant": "vocabulary, classifier or intervention; empty where there is none",
}
GRID_COLUMN_KINDS = {**dict.fromkeys(GRID_COLUMNS, "text"), "site_index": "number", "training_number": "whole"}


@dataclass(frozen=True)
class Stage:
    """What one cell does."""

    name: str
    site: str
    dictionary: DictionaryConfig | None
    """None where activations are read without one."""
    training: TrainingConfig | None
    number: int
    """Which training of the dictionary."""
    corpus: DatasetSpec
    """What the dictionary was trained on."""
    intervals: IntervalConfig
    seed: int
    names: NamesConfig | None = None
    texts: tuple[str, ...] = ()
    classifier: ClassifierConfig | None = None
    intervention: InterventionConfig | None = None
    templates: tuple[str, ...] = ()
    """Of zero-shot classes."""
    n_clusters: int = 0
    """Clusters of images, of the stage `codes`."""
    judge: BackboneConfig | None = None
    """Model that judges images, by its needs `judge_test`."""

    @property
    def label(self) -> str:
        """Of the dictionary, for people."""
        return NO_DICTIONARY if self.dictionary is None else self.dictionary.label

    @property
    def variant(self) -> str:
        """For people."""
        if self.intervention is not None:
            return self.intervention.name
        if self.classifier is not None:
            return self.classifier.label
        return self.names.label if self.names is not None else ""
