"""The read-out's keys of a study file: their form, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic import Field as ModelField

from frozen.plain import Plain, mapping_of
from frozen.problems import Problem, at_least, refuse
from frozen.readout.forms import Border, Grid, gridded, list_of, model_of
from frozen.readout.readout import StudyReader
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.sites import site_problem

SCENE_WORDS = "scene"
PACKAGED_WORDS = "open_clip:imagenet_classes"


@dataclass(frozen=True, kw_only=True)
class NamesConfig:
    """Where names of atoms come from."""

    words: str | tuple[str, ...] = SCENE_WORDS
    """Texts to choose from: scene (phrases and words of the data set), a list, a file with one a line, or
    open_clip:imagenet_classes, CLIP's names of ImageNet's classes."""
    templates: tuple[str, ...] = ("{}",)
    """What is said of a text to the text tower; {} is the text, and the vectors of several are averaged."""
    centre: bool = True
    """Whether what all texts share is removed from their vectors."""
    threshold: float = 5.0
    """z against randomly rotated atoms below which an atom stays unnamed."""
    images: str | None = None
    """Backbone with a text tower, such as shipped:shapes_clip_objects, that names atoms by their strongest images;
    null names them by the text tower of their own backbone."""
    n_images: int = 20
    """Strongest images that name an atom."""

    def __post_init__(self) -> None:
        refuse("names", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not isinstance(self.words, str) and len(set(self.words)) != len(self.words):
            yield Problem("words", "has a text twice")
        for template in self.templates:
            if "{}" not in template:
                yield Problem("templates", f"must contain {{}}, where the text is put; got {template!r}")
        yield from at_least("n_images", self.n_images, 1)

    @property
    def label(self) -> str:
        """For people."""
        words = self.words if isinstance(self.words, str) else f"{len(self.words)} texts"
        return f"{words} by images of {self.images}" if self.images else words


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """A linear classifier without bias."""

    reads: Literal["codes", "features"] = "codes"
    """codes: a concept bottleneck; features: the linear probe on the activations beside it."""
    task: Literal["objects", "features", "classes"] = "objects"
    """What it tells of a scene: the object kinds that are present, or the features; of other images it is always
    their classes."""
    solver: Literal["fista", "adam"] = "fista"
    """fista: a path of penalties with exact zeros, chosen by validation; adam: the paper's."""
    penalties: tuple[float, ...] = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
    """λ of fista, of standardised columns."""
    adam_penalty: float = 1.0
    """λ of adam, of the mean of all absolute weights (paper)."""
    learning_rate: float = 1e-2
    """Of adam."""
    epochs: int = 60
    """Of adam."""

    def __post_init__(self) -> None:
        refuse("classifiers", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not self.penalties or min(self.penalties) < 0:
            yield Problem("penalties", "needs one or more numbers ≥ 0")
        yield from at_least("epochs", self.epochs, 1)
        yield from at_least("adam_penalty", self.adam_penalty, 0)

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.task} from {self.reads}, {self.solver}"


@dataclass(frozen=True, kw_only=True)
class InterventionConfig:
    """Atoms that the first classifier on codes is to do without, or to do with alone."""

    name: str
    """Of the intervention."""
    action: Literal["keep", "remove"] = "remove"
    """What is done with the atoms that are meant."""
    names: tuple[str, ...] = ()
    """Patterns of names, such as *red*."""
    atoms: tuple[int, ...] = ()
    """Numbers of atoms."""
    kinds: tuple[Literal["conjunction", "feature", "other"], ...] = ()
    """What atoms are selective for, as the stage binding finds it; of data sets with several objects an image."""
    denser_than: float | None = None
    """Share of the test images: atoms that fire on more are meant."""
    rarer_than: float | None = None
    """Share of the test images: atoms that fire on fewer are meant."""
    budget: int | None = None
    """Strongest atoms of each class that the classifier keeps before anything is silenced; the paper's is 5."""
    draws: int = 20
    """Random sets of equally many living atoms, as a control."""

    def __post_init__(self) -> None:
        refuse("interventions", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not (
            self.names or self.atoms or self.kinds or self.denser_than is not None or self.rarer_than is not None
        ):
            yield Problem("names", "give patterns of names, atoms, kinds, denser_than or rarer_than")
        if self.budget is not None:
            yield from at_least("budget", self.budget, 1)
        yield from at_least("draws", self.draws, 1)


_Dictionary = model_of(DictionaryConfig, "Dictionary", wrap=gridded)
_Training = model_of(TrainingConfig, "Training")
_Names = model_of(NamesConfig, "Names")
_Classifier = model_of(ClassifierConfig, "Classifier")
_Intervention = model_of(InterventionConfig, "Intervention")


class ConceptsKeys(Border):
    """Keys of a study with `readout: concepts`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sites: list_of(str)  # pyright: ignore[reportInvalidTypeForm]
    """What dictionaries are made of: joint (the image's vector in the space it shares with texts), embedding (the
    pooled one), or LAYER.MODE such as 11.cls, final.mean_spatial, 5.mlp.tokens: of cls, mean_spatial, cls_mean or
    tokens."""
    dictionaries: Annotated[tuple[_Dictionary, ...], ModelField(min_length=1)]  # pyright: ignore
    """Dictionaries; any setting may be {grid: [..]}. All of one site train together on one stream."""
    corpus: str | None = None
    """Data set that dictionaries are trained on, whose codes are then read on all; null trains them on each."""
    seeds: Annotated[int, ModelField(ge=1)] = 1
    """Trainings of each dictionary; with two or more, their stability is measured."""
    training: _Training = ModelField(default_factory=_Training)  # pyright: ignore[reportInvalidTypeForm]
    """How dictionaries are trained."""
    names: tuple[_Names, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Vocabularies; each gives every atom a name of its own."""
    classifiers: tuple[_Classifier, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Linear classifiers on the codes of the first training of each dictionary."""
    interventions: tuple[_Intervention, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """What the first classifier on codes can do without; names are those of the first vocabulary."""
    templates: tuple[str, ...] = ()
    """What is said of a class in zero-shot classification, {} is its name; none takes "{}" for scenes and
    "a photo of a {}." for other images."""
    clusters: Annotated[int, ModelField(ge=1)] = 16
    """Clusters of test images (paper: 1300 for ImageNet, 500 for Places365, 20 for CIFAR-10)."""
    judge: str | None = None
    """Another backbone, in whose embedding the images of an atom should be alike; for the monosemanticity score."""
    preset: Literal["paper"] | None = None
    """paper: what the published code does where that moves a number; it fills in what the study leaves out."""


@dataclass(frozen=True)
class ConceptsStudy:
    """The same, as frozen values."""

    sites: tuple[str, ...]
    dictionaries: tuple[DictionaryConfig, ...]
    corpus: str | None
    seeds: int
    training: TrainingConfig
    names: tuple[NamesConfig, ...]
    classifiers: tuple[ClassifierConfig, ...]
    interventions: tuple[InterventionConfig, ...]
    templates: tuple[str, ...]
    clusters: int
    judge: str | None

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file."""
        return {
            "sites": list(self.sites),
            "dictionaries": [mapping_of(one) for one in self.dictionaries],
            "corpus": self.corpus,
            "seeds": self.seeds,
            "training": mapping_of(self.training),
            "names": [mapping_of(one) for one in self.names],
            "classifiers": [mapping_of(one) for one in self.classifiers],
            "interventions": [mapping_of(one) for one in self.interventions],
            "templates": list(self.templates),
            "clusters": self.clusters,
            "judge": self.judge,
        }


PAPER_TRAINING: dict[str, Any] = {
    "batch_size": 4096,
    "warm_up": 0.0,
    "decay": 0.0,
    "centre": False,
    "scale": False,
    "initialisation": "paper",
    "centred_resampling": False,
    "resample_batches": 200,
    "clip": 0.0,
}
PAPER_DICTIONARY: dict[str, Any] = {"kind": "relu_l1", "expansion": 8.0, "penalty": 3e-5, "learning_rate": 5e-4}
PAPER_NAMES: dict[str, Any] = {"centre": False, "threshold": -1e9}
PAPER_CLASSIFIER: dict[str, Any] = {"solver": "adam", "adam_penalty": 1.0, "epochs": 200, "learning_rate": 1e-3}


def read_keys(reader: StudyReader) -> ConceptsStudy | None:
    """The read-out's keys, or None if they have mistakes, which are noted."""
    is_paper = reader.raw("preset", None) == "paper"
    dictionaries = tuple(_dictionaries(reader, PAPER_DICTIONARY if is_paper else {}))
    training = _training(reader, PAPER_TRAINING if is_paper else {})
    names = tuple(_entries(reader, "names", _Names, NamesConfig, PAPER_NAMES if is_paper else {}))
    by_paper = PAPER_CLASSIFIER if is_paper else {}
    classifiers = tuple(_entries(reader, "classifiers", _Classifier, ClassifierConfig, by_paper))
    interventions = tuple(_entries(reader, "interventions", _Intervention, InterventionConfig, {}))
    sites = reader.raw("sites", ())
    for place, site in enumerate(sites if isinstance(sites, tuple) else ()):
        if isinstance(site, str) and (problem := site_problem(site)):
            reader.note(("sites", place), problem)
    study = reader.study
    if study is None:
        return None
    _check(reader, study, dictionaries, classifiers, interventions)
    return ConceptsStudy(
        sites=study.sites,
        dictionaries=dictionaries,
        corpus=study.corpus,
        seeds=study.seeds,
        training=training,
        names=names,
        classifiers=classifiers,
        interventions=interventions,
        templates=study.templates,
        clusters=study.clusters,
        judge=study.judge,
    )


def _check(
    reader: StudyReader,
    study: Any,
    dictionaries: tuple[DictionaryConfig, ...],
    classifiers: tuple[ClassifierConfig, ...],
    interventions: tuple[InterventionConfig, ...],
) -> None:
    known = [one.get("name") if isinstance(one, Mapping) else one.name for one in reader.raw("datasets", ())]
    if study.corpus is not None and study.corpus not in known:
        reader.note(("corpus",), f"must be one of the data sets {', '.join(map(str, known))}, got {study.corpus!r}")
    for key, values in (("dictionaries", dictionaries), ("classifiers", classifiers)):
        if len(set(values)) != len(values):
            reader.note((key,), "has an entry twice")
    if len({one.name for one in interventions}) != len(interventions):
        reader.note(("interventions",), "has a name twice")
    if interventions and not any(one.reads == "codes" for one in classifiers):
        reader.note(("interventions",), "need one of `classifiers` that reads codes")
    for place, template in enumerate(study.templates):
        if "{}" not in template:
            reader.note(("templates", place), f"must contain {{}}, where the class is put; got {template!r}")
    if any(one.names for one in interventions) and not study.names:
        reader.note(("interventions",), "choose atoms by their names, so that `names` are needed")


def _dictionaries(reader: StudyReader, otherwise: Mapping[str, Any]) -> Iterator[DictionaryConfig]:
    for path, model in reader.entries("dictionaries", TypeAdapter(_Dictionary)):
        given = {**otherwise, **model.given()}
        lists = [value.values if isinstance(value, Grid) else (value,) for value in given.values()]
        for values in product(*lists):
            settings = dict(zip(given, values, strict=True))
            made = reader.make(path, lambda settings=settings: DictionaryConfig(**settings))
            if made is not None:
                yield made


def _training(reader: StudyReader, otherwise: Mapping[str, Any]) -> TrainingConfig:
    model = reader.section("training", TypeAdapter(_Training))
    given = {**otherwise, **(model.given() if model is not None else {})}
    return reader.make(("training",), lambda: TrainingConfig(**given)) or TrainingConfig()


def _entries(
    reader: StudyReader, key: str, model: type[Border], cls: type[Any], otherwise: Mapping[str, Any]
) -> Iterator[Any]:
    known = {item.name for item in fields(cls)}
    for path, entry in reader.entries(key, TypeAdapter(model)):
        given = {name: value for name, value in {**otherwise, **entry.given()}.items() if name in known}
        if (made := reader.make(path, lambda given=given: cls(**given))) is not None:
            yield made
