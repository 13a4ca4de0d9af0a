"""Binding information of what a map leaves of activations: class logits, the joint space, codes of a dictionary.

A cell reads P(z) in the place of z, with the same probes. As O - z - P(z) is a Markov chain, P(z) holds no more of
I(O;Z|F) than z does; what a family of probes can read may be more, where the map has done what the family cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool

from binding.through_keys import CLASS_LOGITS, JOINT, MapFile
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import Reduction, View, WholeSite
from frozen.capture.sites import Site
from frozen.capture.views import Mode, refuses
from frozen.models import Description, describe
from frozen.models.joint import joint_refusal
from frozen.paths import StudyPath, written
from frozen.plain import Plain
from frozen.problems import did_you_mean
from frozen.readout.cells import LeftOut, Mistake
from frozen.readout.grid import Reading
from frozen.readout.maps import MAPS, ActivationMap, JointMap, OfferedMap, SelectingMapKind, through
from frozen.readout.needs import Product
from frozen.readout.study import Study
from frozen.rows import ArrayRows

_LEAST_ACTIVE = 10
"""Training samples in which a coordinate of a map must be active to be read."""


@dataclass(frozen=True)
class Passage:
    """What activations pass before they come to the probe."""

    through: str
    """class_logits, joint or the kind of the map, with a sort of its coordinates behind a dot."""
    name: str
    """For people."""
    reads: Reduction
    """What is captured."""
    sample_shape: tuple[int, ...]
    """Of what the probe sees; an estimate where only the map's own file would tell."""
    identity: Plain
    """What the cell's identity has of it."""
    is_joint: bool = False
    """Whether what is captured is projected into the joint space first."""
    product: Product | None = None
    """The map, where a cell gives it."""
    file: StudyPath | None = None
    """Its file, where it lies in one."""
    chooser: Product | None = None
    """What tells the sorts of its coordinates apart, where one of them is read alone."""
    is_random: bool = False
    """Whether as many random coordinates stand in the place of those of the sort."""
    control: Passage | None = None
    """The same with random coordinates, with which one of a sort is compared."""

    @property
    def kind(self) -> str:
        """Of the map."""
        return self.through.partition(".")[0]

    @property
    def is_map(self) -> bool:
        """Whether it ends in a map of a registered kind."""
        return self.kind in MAPS

    @property
    def is_kept_from(self) -> str | None:
        """The passage with whose binding information this one's is compared; None for that of the activations."""
        return JOINT if self.is_joint and self.through != JOINT else None


def passages(study: Study, reading: Reading, layer: str, mode: Mode) -> Iterator[Passage | LeftOut | Mistake]:
    """What the activations of a layer in a mode pass, one after the other, and what is left out."""
    if reading.backbone.kind == "control":
        return
    where = written(reading.backbone.source)
    for number, entry in enumerate(study.keys.through):
        if entry == CLASS_LOGITS:
            yield from _class_logits(reading, layer, mode, f"{where} · {entry}")
        elif entry == JOINT:
            yield from _joint(reading, layer, mode, f"{where} · {entry}")
        elif isinstance(entry, str):
            yield from _offered(study, reading, (layer, mode), number, f"{where} · {entry}")
        else:
            yield from _of_file(study, entry, reading, layer, mode, ("through", number))


def _class_logits(reading: Reading, layer: str, mode: Mode, where: str) -> Iterator[Passage | LeftOut]:
    site = Site.parse(layer)
    try:
        description = describe(reading.backbone, reading.dataset.config, head=True)
    except ValueError as error:
        yield LeftOut(where, str(error))
        return
    if reason := Site(site.layer, "logits").refusal(description):
        yield LeftOut(where, reason)
    elif site.part != "residual":
        yield LeftOut(where, "the classifier reads whole layers, not parts of one")
    elif layer != "final":
        yield _passage(CLASS_LOGITS, CLASS_LOGITS, View(Site(layer, "logits"), mode), description, CLASS_LOGITS)
    elif mode == "cls":  # the model's own output
        yield _passage(CLASS_LOGITS, CLASS_LOGITS, WholeSite(Site("final", "logits")), description, CLASS_LOGITS)


def _joint(reading: Reading, layer: str, mode: Mode, where: str) -> Iterator[Passage | LeftOut]:
    description = reading.description
    own: Mode = "cls" if refuses("cls", description.layout) is None else "mean_spatial"
    if layer != "final" or mode != own:
        if "final" not in reading.layers:
            yield LeftOut(where, "the joint space is reached from the end of the model; add final to `layers`")
        return
    if reason := joint_refusal(reading.backbone) or Site("final", "embedding").refusal(description):
        yield LeftOut(where, reason)
        return
    reads = WholeSite(Site("final", "embedding"))
    yield _passage(JOINT, JOINT, reads, description, JOINT, is_joint=True)


def _passage(
    kind: str, name: str, reads: Reduction, description: Description, identity: Plain, **others: Any
) -> Passage:
    [column] = reads.columns(description, PLAIN)
    assert column.shape is not None
    return Passage(kind, name, reads, column.shape, identity, **others)


def _offered(
    study: Study, reading: Reading, place: tuple[str, Mode], number: int, where: str
) -> Iterator[Passage | LeftOut | Mistake]:
    """The maps that other read-outs of the file give: those made on this data set, or on others if there are none."""
    entry: str = study.keys.through[number]
    kind, _, selection = entry.partition(".")
    sorts = getattr(MAPS[kind], "SELECTIONS", ())
    if selection and selection not in sorts:
        told = did_you_mean(selection, sorts) if sorts else f"write {kind}"
        yield Mistake(("through", number), f"a {kind} has no coordinates of the sort {selection!r}; {told}")
        return
    of_kind = [one for one in study.maps if one.kind == kind]
    if not of_kind:
        yield LeftOut(
            where, f"no other read-out of the file gives a {kind}; name one that does, or a map's file and its layer"
        )
        return
    fitting = [one for one in of_kind if _fits(one, reading, *place)]
    here = [one for one in fitting if one.dataset == reading.dataset] or fitting
    for one in here:
        on = "" if len({other.dataset for other in here}) == 1 else f" of {one.dataset.name}"
        name = f"{JOINT} > {one.name}{on}" if one.is_joint else f"{one.name}{on}"
        identity: dict[str, Plain] = {"map": kind, "giver": one.product.giver, "joint": one.is_joint}
        found = Passage(kind, name, one.reads, (one.out_width,), identity, one.is_joint, one.product)
        if not selection:
            yield found
        elif selection in dict(one.selections):
            yield _alone(found, selection, dict(one.selections)[selection])
        else:
            yield LeftOut(f"{where} · {one.name}", "nothing tells its coordinates apart: no scene of several objects")


def _alone(whole: Passage, selection: str, chooser: Product) -> Passage:
    """Coordinates of one sort of a map, with as many random ones as control."""
    assert isinstance(whole.identity, dict)
    identity: dict[str, Plain] = {**whole.identity, "selection": selection, "told_apart_by": chooser.giver}
    through = f"{whole.through}.{selection}"
    one = replace(whole, through=through, name=f"{whole.name} > {selection}", identity=identity, chooser=chooser)
    control = replace(
        one,
        through=f"{through}.random",
        name=f"{whole.name} > random, as many as {selection}",
        identity={**identity, "random": True},
        is_random=True,
    )
    return replace(one, control=control)


def _fits(one: OfferedMap, reading: Reading, layer: str, mode: Mode) -> bool:
    """Whether a map reads what a cell of the grid reads; one of the joint space, beside the cell of that space."""
    if (one.backbone, one.control) != (reading.backbone, reading.control):
        return False
    if one.is_joint:
        return layer == "final" and mode == ("cls" if reading.description.layout.has_cls else "mean_spatial")
    return one.reads == View(Site.parse(layer), mode)


def _reads(entry: MapFile, reading: Reading, layer: str, mode: Mode) -> bool:
    """Whether a map reads what a cell of the grid reads."""
    if entry.backbone not in (None, written(reading.backbone.source), reading.control_of) or mode not in entry.modes:
        return False
    try:
        return Site.parse(entry.layer).resolved(reading.description) == Site.parse(layer)
    except ValueError:  # no layer of this backbone
        return False


def unread(study: Study, places: Sequence[tuple[Reading, str, Mode]]) -> Iterator[Mistake | LeftOut]:
    """Maps that no cell of the grid would use: what a study names is measured, or told."""
    for number, entry in enumerate(study.keys.through):
        if isinstance(entry, str):
            yield from _made_elsewhere(study, entry, places)
        elif not any(_reads(entry, *place) for place in places):
            where = f"layer {entry.layer} in mode {' or '.join(entry.modes)}"
            of = "" if entry.backbone is None else f" of {entry.backbone}"
            yield Mistake(
                ("through", number),
                f"no cell of the grid reads {where}{of}; name that layer in `layers` and one of the modes in `modes`",
            )


def _of_file(
    study: Study, entry: MapFile, reading: Reading, layer: str, mode: Mode, path: tuple[str | int, ...]
) -> Iterator[Passage | Mistake]:
    description = reading.description
    if not _reads(entry, reading, layer, mode):
        return
    place = study.folder / Path(entry.file).expanduser()
    if not place.exists():
        yield Mistake((*path, "file"), f"{entry.file}: there is no such file in {study.folder}")
        return
    try:
        width, out_width, digest = _header(entry.map, str(place))
    except ValueError as error:
        yield Mistake((*path, "file"), str(error))
        return
    reads = View(Site.parse(layer), mode)
    [column] = reads.columns(description, PLAIN)
    assert column.shape is not None
    if column.shape[-1] != width:
        yield Mistake(
            path, f"{entry.file} reads vectors of width {width}, {layer} in mode {mode} is {column.shape[-1]} wide"
        )
        return
    identity = {"map": entry.map, "file": written(entry.file), "sha256": digest}
    file = StudyPath(str(place), entry.file)
    shape = (*column.shape[:-1], out_width)
    yield Passage(entry.map, f"{entry.map} {written(entry.file)}", reads, shape, identity, file=file)


@lru_cache(maxsize=64)
def _header(kind: str, path: str) -> tuple[int, int, str]:
    """Widths in and out, and digest of a map's file."""
    found = MAPS[kind].opened(Path(path))
    return found.width, found.out_width, MAPS[kind].digest(Path(path))


def mapped(passage: Passage, array: ArrayRows, backbone: Any, content: bytes | None) -> ArrayRows:
    """What the probe sees.

    Args:
        passage: what the activations pass.
        array: the activations as they were captured.
        backbone: that they are of.
        content: the product with the map, where the passage has one.

    Raises:
        ValueError: a map that is none, or of another width.
    """
    maps: list[ActivationMap] = [JointMap(backbone)] if passage.is_joint else []
    if content is not None:
        maps.append(MAPS[passage.kind].from_bytes(content))
    elif passage.file is not None:
        maps.append(MAPS[passage.kind].opened(Path(passage.file)))
    return through(array, *maps) if maps else array


def coordinates_read(
    passage: Passage, codes: Mapping[str, np.ndarray], chooser: bytes | None, *, seed: int
) -> Bool[np.ndarray, " out"]:
    """Which coordinates of a map the probe sees: of its sort, and active in more than a few training samples.

    An atom of a dictionary may be active in one image of thousands. Standardised with the deviation that it has
    there, a test image with more of it is hundreds of deviations off, and its loss alone decides the mean.

    Args:
        passage: with a map.
        codes: by split, `train` among them, [samples out] or [samples token out].
        chooser: the product that tells its coordinates apart, where those of one sort are read.
        seed: of the random coordinates of a control.
    """
    train = codes["train"].reshape(len(codes["train"]), -1, codes["train"].shape[-1])
    living = (train != 0).any(axis=1).sum(axis=0) >= _LEAST_ACTIVE
    if chooser is None:
        return living
    selection = passage.through.split(".")[1]
    chosen = living & cast("SelectingMapKind", MAPS[passage.kind]).selected(chooser, selection)
    if not passage.is_random:
        return chosen
    order = np.random.default_rng([seed, len(living)]).permutation(np.flatnonzero(living))
    return np.isin(np.arange(len(living)), order[: chosen.sum()])


def _made_elsewhere(study: Study, entry: str, places: Sequence[tuple[Reading, str, Mode]]) -> Iterator[LeftOut]:
    """Maps of the file that all read other places than the cells of the grid."""
    kind = entry.partition(".")[0]
    given = [one for one in study.maps if one.kind == kind]
    if given and not any(_fits(one, *place) for one in given for place in places):
        at = ", ".join(dict.fromkeys(_place(one) for one in given))
        yield LeftOut(f"through {entry}", f"the file gives each {kind} at another place ({at}) than binding reads")


def _place(one: OfferedMap) -> str:
    if one.is_joint:
        return "the joint space"
    return f"{one.reads.site} {one.reads.mode}" if isinstance(one.reads, View) else str(one.reads)
