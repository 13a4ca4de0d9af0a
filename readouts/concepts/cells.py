"""The read-out's grid: sites, dictionaries and what is made of each, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from frozen.capture.capture import Capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.dataset import Missing
from frozen.data.spec import DatasetSpec, has_object_codes
from frozen.models import BackboneConfig, describe
from frozen.models.joint import joint_refusal
from frozen.paths import StudyPath, written
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, dataset_path, readings
from frozen.readout.needs import Labels, Need, Product
from frozen.readout.study import Study
from readouts.concepts.checkpoints import content_digest
from readouts.concepts.keys import (
    SCENE_WORDS,
    ClassifierConfig,
    ConceptsStudy,
    InterventionConfig,
    NamesConfig,
)
from readouts.concepts.naming import NamingError
from readouts.concepts.roles import ROLES, SplitRoles, has_classes
from readouts.concepts.settings import DictionaryConfig
from readouts.concepts.sites import JOINT, reduction, site_number, site_refusal
from readouts.concepts.stages import VERSION, Stage
from readouts.concepts.texts import given_texts, scene_texts


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every possible cell of a study, and what is left out of the grid."""
    keys: ConceptsStudy = study.keys
    corpus = next((one for one in study.datasets if one.name == keys.corpus), None)
    files = _Files(study)
    wrong = [*_mistakes(study, corpus), *files.mistakes]
    yield from wrong
    for reading in () if wrong else readings(study, ("all",)):
        if isinstance(reading, Mistake):
            yield reading
            continue
        if reading.backbone.kind == "control":
            continue
        for site in keys.sites:
            if reason := site_refusal(site, reading.backbone, reading.description):
                yield LeftOut(f"{written(reading.backbone.source)} · {site}", reason)
                continue
            yield from _Maker(study, reading, site, corpus or reading.dataset, files).cells()


def _mistakes(study: Study, corpus: DatasetSpec | None) -> Iterator[Mistake]:
    """Data sets without the splits, and vocabularies without the scene, that are asked for."""
    for dataset in study.datasets:
        roles = SplitRoles.of(dataset.config)
        needed = (
            ["test"] if corpus is not None and dataset != corpus and not has_classes(dataset.config) else ROLES[::2]
        )
        if absent := [role for role in needed if role not in roles.named]:
            names = ", ".join(dataset.config.splits)  # of a scene none is absent
            yield Mistake(
                dataset_path(study, dataset), f"{dataset.name!r} needs a split {absent[0]!r}; its splits are {names}"
            )
    trained_on = (corpus,) if corpus is not None else study.datasets
    for place, names in enumerate(study.keys.names):
        if names.words == SCENE_WORDS and not all(has_object_codes(one.config) for one in trained_on):
            yield Mistake(
                ("names", place, "words"),
                f"{SCENE_WORDS!r} names the objects of a scene; for photographs give a list, or a file of words",
            )


class _Files:
    """What lies in the files that a study names: lists of texts, and dictionaries that are trained already.

    What depends on a file that is not there keeps its place in the grid, and waits for it.
    """

    def __init__(self, study: Study) -> None:
        keys: ConceptsStudy = study.keys
        self.dictionaries = tuple(_placed(one, study.folder) for one in keys.dictionaries)
        self.mistakes: list[Mistake] = []
        self._texts: dict[str, tuple[str, ...]] = {}
        self._missing: dict[str, Missing] = {}
        for place, names in enumerate(keys.names):
            if isinstance(names.words, str) and names.words != SCENE_WORDS:
                try:
                    self._read(names.words, study.folder)
                except NamingError as error:
                    self.mistakes.append(Mistake(("names", place, "words"), str(error)))
        for one in self.dictionaries:
            if one.weights is not None and not Path(one.weights).exists():
                what = f"the dictionary {written(one.weights)} is not there (looked for at {one.weights!s})"
                self._missing[one.weights] = Missing(what, "put it there, or train one without `weights`")

    def _read(self, words: str, folder: Path) -> None:
        found = given_texts(words, folder)
        if isinstance(found, Missing):
            self._missing[words] = found
        else:
            self._texts[words] = found

    def texts(self, words: str) -> tuple[str, ...]:
        """Of a list that the study names; none of one that is not there."""
        return self._texts.get(words, ())

    def missing(self, stage: Stage) -> tuple[Missing, ...]:
        """Files without which a stage cannot be measured."""
        named = (stage.dictionary.weights if stage.dictionary else None, stage.names.words if stage.names else None)
        return tuple(self._missing[one] for one in named if isinstance(one, str) and one in self._missing)


def _placed(dictionary: DictionaryConfig, folder: Path) -> DictionaryConfig:
    """The dictionary with the path of its weights as it is opened; identities say what the study writes."""
    if dictionary.weights is None:
        return dictionary
    path = folder / Path(dictionary.weights).expanduser()
    return replace(dictionary, weights=StudyPath(str(path), dictionary.weights))


class _Maker:
    """Makes the cells of one site of one backbone on one data set."""

    def __init__(self, study: Study, reading: Reading, site: str, corpus: DatasetSpec, files: _Files) -> None:
        self.study, self.reading, self.site, self.corpus, self.files = study, reading, site, corpus, files
        self.keys: ConceptsStudy = study.keys
        self.roles = SplitRoles.of(reading.dataset.config).named
        if not has_classes(reading.dataset.config):
            self.roles = {"test": self.roles["test"]}
        self.corpus_roles = SplitRoles.of(corpus.config).named
        self.judge = BackboneConfig(source=self.keys.judge) if self.keys.judge else None

    def cells(self) -> Iterator[Cell | LeftOut]:
        is_corpus = self.reading.dataset == self.corpus
        classifiers = self._classifiers()
        probes = [self._probe(one) for one in classifiers if one.reads == "features"]
        for dictionary in self.files.dictionaries:
            numbers = range(self.keys.seeds if dictionary.weights is None else 1)
            trainings = [self._dictionary(dictionary, number) for number in numbers]
            if is_corpus:
                yield from trainings
                if len(trainings) > 1:
                    yield self._stability(dictionary, trainings)
            for cell in trainings:
                codes = self._codes(cell)
                yield codes
                if self.judge is not None:
                    yield self._monosemanticity(cell, codes, self.judge)
                names = [one for one in self._names(cell) if isinstance(one, Cell)]
                if is_corpus:
                    yield from self._names(cell)
                binding = [self._binding(cell, codes)] if self._has_pairs else []
                yield from binding
                if cell is trainings[0]:
                    yield from self._fidelity(cell, probes)
                    on_codes = [self._classifier(cell, codes, one) for one in classifiers if one.reads == "codes"]
                    yield from on_codes
                    for one in self.keys.interventions if on_codes else ():
                        yield from self._intervention(codes, on_codes[0], names, binding, one)
        yield from probes

    def _classifiers(self) -> list[ClassifierConfig]:
        """Those of the study; of images with one class, it is what they tell."""
        config = self.reading.dataset.config
        if has_object_codes(config):
            return [one for one in self.keys.classifiers if one.task != "classes"]
        if not has_classes(config):
            return []
        return list(dict.fromkeys(replace(one, task="classes") for one in self.keys.classifiers))

    @property
    def _has_pairs(self) -> bool:
        """Whether the data set can show features of one object kind on different objects."""
        scene = self.reading.dataset.config
        if not has_object_codes(scene):
            return False
        return len(scene.space.groups) > 1 and getattr(scene, "max_objects", 2) > 1

    def _dictionary(self, dictionary: DictionaryConfig, number: int) -> Cell:
        stage = self._stage("dictionary", dictionary, number)
        roles = ("train", "test") if dictionary.weights is None else ("test",)
        needs: list[tuple[str, Need]] = [(role, self._capture(role, self.corpus)) for role in roles]
        if has_object_codes(self.corpus.config):
            needs.append(self._labels("test", self.corpus))
        content = () if dictionary.weights is None else (("weights", content_digest(Path(str(dictionary.weights)))),)
        return self._cell(stage, needs, ("dictionary",), replace(self.reading, dataset=self.corpus), content)

    def _codes(self, given: Cell) -> Cell:
        stage = self._again(given, "codes", n_clusters=self.keys.clusters)
        needs: list[tuple[str, Need]] = [("dictionary", Product(given.cell_id, "dictionary"))]
        needs += [(role, self._capture(role)) for role in self.roles]
        return self._cell(stage, needs, tuple(f"codes_{role}" for role in self.roles))

    def _monosemanticity(self, given: Cell, codes: Cell, judge: BackboneConfig) -> Cell:
        needs: list[tuple[str, Need]] = [
            ("codes_test", Product(codes.cell_id, "codes_test")),
            ("judge_test", self._embedding(judge, self.reading.dataset, self.roles["test"])),
        ]
        return self._cell(self._again(given, "monosemanticity", judge=judge), needs, ())

    def _embedding(self, judge: BackboneConfig, dataset: DatasetSpec, split: str) -> Capture:
        return Capture(dataset, split, judge, WholeSite(Site("final", "embedding")), dtype=self.study.store.dtype)

    def _names(self, given: Cell) -> Iterator[Cell | LeftOut]:
        for names in self.keys.names:
            own = self._again(given, "names", names=names, texts=self._texts(names), corpus=self.corpus)
            needs: list[tuple[str, Need]] = [
                ("dictionary", Product(given.cell_id, "dictionary")),
                ("test", self._capture("test", self.corpus)),
            ]
            if has_object_codes(self.corpus.config):
                needs.append(self._labels("test", self.corpus))
            if names.images:
                judge = BackboneConfig(source=names.images)
                if reason := joint_refusal(judge):
                    yield LeftOut(f"{names.label} · {self.site}", reason)
                    continue
                needs.append(("judge_test", self._embedding(judge, self.corpus, self.corpus_roles["test"])))
                own = replace(own, judge=judge)
            elif self.site != JOINT:
                where = f"{written(self.reading.backbone.source)} · {self.site} · names"
                yield LeftOut(
                    where, f"only {JOINT} is a space of texts; give `images: shipped:...` to name by images"
                )
                continue
            yield self._cell(own, needs, ("names",), replace(self.reading, dataset=self.corpus))

    def _texts(self, names: NamesConfig) -> tuple[str, ...]:
        if not isinstance(names.words, str):
            return names.words
        if names.words == SCENE_WORDS:
            return scene_texts(self.corpus.config)
        return self.files.texts(names.words)

    def _binding(self, given: Cell, codes: Cell) -> Cell:
        stage = self._again(given, "binding")
        needs: list[tuple[str, Need]] = [
            *((f"codes_{split}", Product(codes.cell_id, f"codes_{split}")) for split in ("validation", "test")),
            *(self._labels(role) for role in ("validation", "test")),
        ]
        return self._cell(stage, needs, ("selectivity",))

    def _fidelity(self, given: Cell, probes: list[Cell]) -> Iterator[Cell]:
        """What x̂ costs, where something can be told from x: with the text tower, or with the first linear probe."""
        if not has_classes(self.reading.dataset.config) or not (probes or self.site == JOINT):
            return
        needs: list[tuple[str, Need]] = [
            ("dictionary", Product(given.cell_id, "dictionary")),
            ("test", self._capture("test")),
            self._labels("test"),
        ]
        is_scene = has_object_codes(self.reading.dataset.config)
        templates = self.keys.templates or (("{}",) if is_scene else ("a photo of a {}.",))
        stage = self._again(given, "fidelity", templates=templates)
        if probes:
            needs.append(("probe", Product(probes[0].cell_id, "classifier")))
            stage = replace(stage, classifier=probes[0].settings.classifier)
        yield self._cell(stage, needs, ())

    def _classifier(self, given: Cell, codes: Cell, classifier: ClassifierConfig) -> Cell:
        stage = self._again(given, "classifier", classifier=classifier)
        needs: list[tuple[str, Need]] = [
            *(self._labels(role) for role in self.roles),
            *((f"codes_{role}", Product(codes.cell_id, f"codes_{role}")) for role in self.roles),
        ]
        return self._cell(stage, needs, ("classifier",))

    def _probe(self, classifier: ClassifierConfig) -> Cell:
        """The linear probe on the activations themselves, of which there is one for all dictionaries."""
        stage = replace(self._stage("classifier", self.keys.dictionaries[0], 0), classifier=classifier)
        stage = replace(stage, dictionary=None, training=None, corpus=self.reading.dataset)
        needs: list[tuple[str, Need]] = [
            *(self._labels(role) for role in self.roles),
            *((role, self._capture(role)) for role in self.roles),
        ]
        return self._cell(stage, needs, ("classifier",))

    def _intervention(
        self, codes: Cell, classifier: Cell, names: list[Cell], binding: list[Cell], intervention: InterventionConfig
    ) -> Iterator[Cell | LeftOut]:
        if intervention.kinds and not binding:
            where = f"{self.reading.dataset.name} · {intervention.name}"
            yield LeftOut(where, "what atoms are selective for is known of scenes with several objects an image")
            return
        stage = self._again(classifier, "intervention", intervention=intervention)
        needs: list[tuple[str, Need]] = [
            ("classifier", Product(classifier.cell_id, "classifier")),
            ("codes_test", Product(codes.cell_id, "codes_test")),
            self._labels("test"),
        ]
        if names:
            needs.append(("names", Product(names[0].cell_id, "names")))
            stage = replace(stage, names=names[0].settings.names, texts=names[0].settings.texts)
        if intervention.kinds:
            needs.append(("selectivity", Product(binding[0].cell_id, "selectivity")))
        yield self._cell(stage, needs, ())

    def _stability(self, dictionary: DictionaryConfig, trainings: list[Cell]) -> Cell:
        stage = self._stage("stability", dictionary, 0)
        needs: list[tuple[str, Need]] = [
            (f"dictionary_{number}", Product(cell.cell_id, "dictionary")) for number, cell in enumerate(trainings)
        ]
        needs.append(("test", self._capture("test", self.corpus)))
        return self._cell(stage, needs, (), extra=(("n_trainings", len(trainings)),))

    def _stage(self, name: str, dictionary: DictionaryConfig, number: int) -> Stage:
        return Stage(
            name,
            self.site,
            dictionary,
            self.keys.training,
            number,
            self.corpus,
            self.study.intervals,
            self.study.seed,
        )

    def _again(self, cell: Cell, name: str, **others: object) -> Stage:
        return replace(cell.settings, name=name, **others)  # pyright: ignore[reportArgumentType]

    def _labels(self, role: str, dataset: DatasetSpec | None = None) -> tuple[str, Labels]:
        """Labels of the split that plays a role."""
        roles = self.roles if dataset is None else self.corpus_roles
        return f"{role}_labels", Labels(dataset or self.reading.dataset, roles[role])

    def _capture(self, role: str, dataset: DatasetSpec | None = None) -> Capture:
        """Activations of the split that plays a role."""
        reading, roles = self.reading, self.roles if dataset is None else self.corpus_roles
        view = reduction(self.site, reading.description)
        return Capture(dataset or reading.dataset, roles[role], reading.backbone, view, dtype=self.study.store.dtype)

    def _cell(
        self,
        stage: Stage,
        needs: list[tuple[str, Need]],
        gives: tuple[str, ...],
        reading: Reading | None = None,
        extra: tuple[tuple[str, object], ...] = (),
    ) -> Cell:
        reading = reading or self.reading
        description = describe(reading.backbone, reading.dataset.config) if reading != self.reading else None
        description = description or reading.description
        return Cell(
            readout=self.study.readout,
            dataset=reading.dataset,
            backbone=reading.backbone,
            description=description,
            columns=(
                ("site", stage.site),
                ("site_index", site_number(stage.site, description)),
                ("stage", stage.name),
                ("dictionary", stage.label),
                ("training_number", stage.number),
                ("variant", stage.variant),
            ),
            names=(stage.site, stage.name, stage.label, f"#{stage.number}", stage.variant),
            settings=stage,
            identity=(
                ("readout", f"{self.study.readout} {VERSION}"),
                ("dataset", reading.dataset),
                ("backbone", reading.backbone),
                ("stage", stage),
                ("dtype", self.study.store.dtype),
                *extra,
            ),
            needs=tuple(needs),
            gives=gives,
            control=reading.control,
            control_of=reading.control_of,
            seed=stage.seed,
            absent=self.files.missing(stage),
        )
