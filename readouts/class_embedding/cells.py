"""The read-out's grid: data sets, backbones, sites, kinds of tokens, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN, Condition, NoCls, SelfOnly
from frozen.capture.sites import Site
from frozen.data.spec import label_kinds
from frozen.intervals import IntervalConfig
from frozen.models import BackboneError, Description, describe
from frozen.paths import written
from frozen.plain import Plain
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, backbone_path, readings
from frozen.readout.needs import Need
from frozen.readout.study import Study
from readouts.class_embedding.keys import ClassStudy, ConditionName
from readouts.class_embedding.patches import MASK, ClassPatches, KeepPatches
from readouts.class_embedding.ranks import LABEL, ClassRanks

VERSION = 1
"""Raised when equal inputs give other numbers; part of every cell's identity."""
PROJECTION = "projection"
OUTPUT = Site.parse("logits")
"""The model's own output."""


@dataclass(frozen=True)
class ClassCell:
    """How one cell is measured."""

    aspect: str
    """projection, or the name of the condition under which the model runs."""
    site: Site
    token: str
    rules: ClassStudy
    seed: int
    intervals: IntervalConfig


def conditions(rules: ClassStudy) -> dict[ConditionName, Condition]:
    """What each condition of a study does."""
    return {
        "self_only": SelfOnly(),
        "no_cls": NoCls(),
        "no_cls_renormalised": NoCls(renormalise=True),
        "context_removed": KeepPatches("class", rules.class_patches),
        "class_removed": KeepPatches("context", rules.class_patches),
    }


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every possible cell of a study, and what is left out of the grid."""
    for reading in readings(study, study.keys.layers):
        if isinstance(reading, Mistake):
            yield reading
            continue
        if mistake := _unlabelled(study, reading):
            yield mistake
            continue
        try:
            description = describe(reading.backbone, reading.dataset.config, head=True)
        except BackboneError as error:
            yield Mistake(backbone_path(study, reading.backbone), str(error))
            continue
        if reason := OUTPUT.refusal(description):
            path = backbone_path(study, reading.backbone)
            yield Mistake(path, f"{written(reading.backbone.source)} has no class projection: {reason}")
            continue
        yield from Grid(study, reading, description).cells()


def _unlabelled(study: Study, reading: Reading) -> Mistake | None:
    if LABEL in label_kinds(reading.dataset.config):
        return None
    entries = list(dict.fromkeys(dataset.entry for dataset in study.datasets))
    message = (
        f"{reading.dataset.name}: the data set says no class of its images; "
        "choose one that has classes, such as scene: targetshapes"
    )
    return Mistake(("datasets", entries.index(reading.dataset.entry)), message)


class Grid:
    """The cells of one backbone, or control, on one data set."""

    def __init__(self, study: Study, reading: Reading, description: Description) -> None:
        self._study, self._reading, self._description = study, reading, description
        self._rules: ClassStudy = study.keys
        self._has_masks = MASK in label_kinds(reading.dataset.config)
        self._content = plain_rules(self._rules)

    def cells(self) -> Iterator[Cell | LeftOut]:
        """All of them; what is left out is told once."""
        yield from self._left_out()
        sites = self._sites()
        for site in sites:
            for token in self._kinds():
                yield self._projection(site, token)
        yield self._cell(PROJECTION, OUTPUT, "all", [("here", self._ranks(OUTPUT))])
        for name in self._rules.conditions:
            yield from self._under(name)

    def _left_out(self) -> Iterator[LeftOut]:
        where = f"{self._reading.dataset.name} · {written(self._reading.backbone.source)}"
        if "cls" in self._rules.tokens and not self._description.layout.has_cls:
            yield LeftOut(f"{where} · cls", "it has no CLS token")
        if not self._has_masks and {"class", "context"} & {*self._rules.tokens}:
            yield LeftOut(f"{where} · class and context tokens", "the data set has no masks of its classes")
        for part in self._rules.parts:
            if reason := Site(self._blocks()[0], part).refusal(self._description):
                yield LeftOut(f"{where} · {part}", reason)

    def _blocks(self) -> list[str]:
        return [layer for layer in self._description.layers if layer.isdigit()]

    def _sites(self) -> list[Site]:
        found: list[Site] = []
        for name in self._reading.layers:
            site = Site.parse(name)
            if site.layer == "embed" or (site.layer.isdigit() and site.part != "residual"):
                found.append(site)
            elif site.layer.isdigit():
                found += [Site(site.layer, part) for part in self._rules.parts]
        return [site for site in dict.fromkeys(found) if self._has(site)]

    def _has(self, site: Site) -> bool:
        return site.refusal(self._description) is None

    def _kinds(self) -> list[str]:
        layout = self._description.layout
        there = {
            "cls": layout.has_cls,
            "image": layout.n_spatial > 0,
            "register": layout.n_registers > 0,
            "class": self._has_masks,
            "context": self._has_masks,
        }
        return [kind for kind in self._rules.tokens if there[kind]]

    def _ranks(self, site: Site, condition: Condition = PLAIN) -> Capture:
        reading = self._reading
        return Capture(reading.dataset, self._rules.split, reading.backbone, ClassRanks(site), condition)

    def _patches(self) -> list[tuple[str, Need]]:
        reading = self._reading
        return [("patches", Capture(reading.dataset, self._rules.split, reading.backbone, ClassPatches()))]

    def _projection(self, site: Site, token: str) -> Cell:
        needs: list[tuple[str, Need]] = [("here", self._ranks(site))]
        if (before := self._before(site)) is not None:
            needs.append(("before", self._ranks(before)))
            sublayers = [Site(site.layer, part) for part in ("attention", "mlp")]
            if site.part == "residual" and all(map(self._has, sublayers)):
                needs += [(sublayer.part, self._ranks(sublayer)) for sublayer in sublayers]
        if self._has_masks and token in ("image", "class", "context"):
            needs += self._patches()
        return self._cell(PROJECTION, site, token, needs)

    def _before(self, site: Site) -> Site | None:
        """What a site's class logit is compared with."""
        if not site.layer.isdigit():
            return None
        number = int(site.layer)
        mid = Site(site.layer, "mid")
        if site.part == "mlp" and self._rules.sublayer_input == "sublayer_input" and self._has(mid):
            return mid
        return Site(str(number - 1)) if number else Site("embed")

    def _under(self, name: ConditionName) -> Iterator[Cell | LeftOut]:
        """Cells of the last block and of the output under a condition."""
        condition = conditions(self._rules)[name]
        where = f"{self._reading.dataset.name} · {written(self._reading.backbone.source)} · {name}"
        if isinstance(condition, KeepPatches) and not self._has_masks:
            yield LeftOut(where, "the data set has no masks of its classes")
            return
        if reason := condition.refusal(self._description):
            yield LeftOut(where, reason)
            return
        last = Site(self._blocks()[-1])
        for token in [kind for kind in self._kinds() if kind in ("cls", "image", "register")]:
            yield self._cell(name, last, token, [("here", self._ranks(last, condition))])
        yield self._cell(name, OUTPUT, "all", [("here", self._ranks(OUTPUT, condition))])

    def _cell(self, aspect: str, site: Site, token: str, needs: list[tuple[str, Need]]) -> Cell:
        study, reading, layer = self._study, self._reading, str(site)
        is_output = site == OUTPUT
        return Cell(
            readout=study.readout,
            dataset=reading.dataset,
            backbone=reading.backbone,
            description=self._description,
            columns=(
                ("layer", layer),
                ("layer_index", self._description.layer_number(layer)),
                ("depth_fraction", 1.0 if is_output else self._description.depth_fraction(layer)),
                ("aspect", aspect),
                ("part", "all" if is_output else site.part),
                ("token", token),
            ),
            names=(aspect, layer, token),
            settings=ClassCell(aspect, site, token, self._rules, study.seed, study.intervals),
            identity=(
                ("readout", f"{study.readout} {VERSION}"),
                ("dataset", reading.dataset),
                ("backbone", reading.backbone),
                ("split", self._rules.split),
                ("layer", layer),
                ("aspect", aspect),
                ("token", token),
                ("rules", self._content),
                ("intervals", study.intervals),
                ("seed", study.seed),
            ),
            needs=tuple(needs),
            control=reading.control,
            control_of=reading.control_of,
            seed=study.seed,
        )


_RULES = {one.name for one in fields(ClassStudy)} - {"layers", "parts", "tokens", "split", "conditions"}
"""Settings that every cell depends on; the others say which cells there are."""


def plain_rules(rules: ClassStudy) -> dict[str, Plain]:
    """The settings that every cell depends on."""
    return {name: value for name, value in rules.resolved().items() if name in _RULES}
