"""The read-out's grid: data sets, backbones, sites, kinds of tokens, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN, Condition, NoCls, SelfOnly
from frozen.capture.reductions import Reduction, View
from frozen.capture.sites import Site
from frozen.capture.views import Mode
from frozen.models import BackboneError, Description, describe
from frozen.paths import written
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, backbone_path, dataset_path, readings
from frozen.readout.needs import Labels, Need, Product
from frozen.readout.study import Study
from readouts.class_embedding.aspects import (
    ATTRIBUTION,
    BOUND_CLASS,
    MEMORIES,
    MEMORIES_OTHER_CLASS,
    MEMORY,
    MEMORY_WEIGHTS,
    OUTPUT,
    PROBE,
    PROJECTION,
    RELEVANCY,
    VERSION,
    ClassCell,
    plain_rules,
)
from readouts.class_embedding.attribution import Attribution, added_sites
from readouts.class_embedding.bound import BOUND_TOKENS, CODES, PIXELS, BoundClass
from readouts.class_embedding.deletion import ENDS, Deletion, Order, kept_counts, refusal
from readouts.class_embedding.head_relevancy import HeadRelevancy, n_heads_of
from readouts.class_embedding.inspection import MemoryPeaks
from readouts.class_embedding.keys import ClassStudy, ConditionName
from readouts.class_embedding.memories import Memories
from readouts.class_embedding.patches import MASK, ClassPatches, KeepPatches, known_labels
from readouts.class_embedding.ranks import LABEL, ClassRanks


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
    if LABEL in known_labels(reading.dataset.config):
        return None
    message = (
        f"{reading.dataset.name}: the data set says no class of its images; "
        "choose one that has classes, such as scene: targetshapes"
    )
    return Mistake(dataset_path(study, reading.dataset), message)


class Grid:
    """The cells of one backbone, or control, on one data set."""

    def __init__(self, study: Study, reading: Reading, description: Description) -> None:
        self._study, self._reading, self._description = study, reading, description
        self._rules: ClassStudy = study.keys
        self._has_masks = MASK in known_labels(reading.dataset.config)

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
        if self._rules.memories:
            yield from self._memories(sites)
        if self._rules.inspect and self._reading.control is None:
            yield from self._inspected()
        if self._rules.attribution:
            yield from self._attribution(sites)
        if self._rules.probe:
            yield from self._probes(sites)
        if self._rules.deletion and self._reading.control is None:
            yield from self._deletion(sites)
        if self._rules.head_relevancy and self._reading.control is None:
            yield from self._head_relevancy()
        if self._rules.bound_class:
            yield from self._bound_class(sites)

    def _left_out(self) -> Iterator[LeftOut]:
        where = self._where
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
        where = f"{self._where} · {name}"
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

    def _memories(self, sites: list[Site]) -> Iterator[Cell]:
        layout = self._description.layout
        for site in sites:
            if site.part not in ("attention", "mlp"):
                continue
            reduction = Memories(
                int(site.layer), site.part, vectors=self._rules.value_vectors, other_seed=self._study.seed
            )
            if any(not self._has(one) for one in reduction.sites):
                continue
            needs: list[tuple[str, Need]] = [("here", self._capture(reduction)), ("output", self._ranks(OUTPUT))]
            for token in ("cls", "all") if layout.has_cls else ("all",):
                yield self._cell(MEMORIES, site, token, needs)
                yield self._cell(MEMORIES_OTHER_CLASS, site, token, needs[:1])
            needs = [("here", self._capture(reduction)), ("labels", self._labels(self._rules.split))]
            yield self._cell(MEMORY_WEIGHTS, site, "all", needs)

    def _inspected(self) -> Iterator[Cell | LeftOut]:
        """A cell a memory; the memories of one sublayer share a capture."""
        for site in dict.fromkeys(Site(str(one.block), one.sublayer) for one in self._rules.inspect):
            numbers = tuple(one.number for one in self._rules.inspect if Site(str(one.block), one.sublayer) == site)
            reduction = MemoryPeaks(int(site.layer), site.part, numbers, self._rules.value_vectors)  # pyright: ignore[reportArgumentType]
            reason = next((why for one in reduction.sites if (why := one.refusal(self._description))), None)
            n_memories = 0 if reason else prod(reduction.sites[0].shape(self._description)[1:])
            if reason is None and max(numbers) >= n_memories:
                reason = f"its memories are numbered 0 to {n_memories - 1}"
            if reason:
                yield LeftOut(f"{self._where} · memories of {site}", reason)
                continue
            needs: list[tuple[str, Need]] = [
                ("here", self._capture(reduction)),
                ("labels", self._labels(self._rules.split)),
            ]
            for number in numbers:
                yield self._cell(MEMORY, site, f"memory {number}", needs)

    def _attribution(self, sites: list[Site]) -> Iterator[Cell | LeftOut]:
        reduction = Attribution(len(self._blocks()))
        if reason := next((reason for site in reduction.sites if (reason := site.refusal(self._description))), None):
            yield LeftOut(f"{self._where} · attribution", reason)
            return
        for site in sites:
            if site in added_sites(len(self._blocks())):
                yield self._cell(ATTRIBUTION, site, "all", [("here", self._capture(reduction))])

    def _probes(self, sites: list[Site]) -> Iterator[Cell]:
        train, test = self._rules.probe_split, self._rules.split
        labels = [("train_labels", self._labels(train)), ("test_labels", self._labels(test))]
        modes: dict[str, Mode] = {"cls": "cls", "image": "mean_spatial"}
        if self._rules.probe_positions == "all":
            modes["image"] = "all"
        for site in sites:
            for token in [kind for kind in self._kinds() if kind in modes]:
                view = View(site, modes[token])
                needs: list[tuple[str, Need]] = [("train", self._capture(view, train)), ("test", self._capture(view))]
                gives = ("ranks",) if self._orders_by_probe() and (token, site.part) == ("image", "residual") else ()
                yield self._cell(PROBE, site, token, [*needs, *labels], gives)

    def _orders_by_probe(self) -> bool:
        return "probe" in self._rules.deletion and self._rules.probe_positions == "all"

    def _by_probe(self, sites: list[Site]) -> Iterator[Cell | LeftOut]:
        """Deletion in the order of the ranks that the probes of all blocks give the class."""
        blocks = [Site(block) for block in self._blocks()]
        if not (self._rules.probe and self._orders_by_probe() and {*blocks} <= {*sites}):
            reason = "it needs `probe: true`, `probe_positions: all` and the residual part of all blocks"
            yield LeftOut(f"{self._where} · deletion by probe", reason)
            return
        wanted = {cell.names: cell.cell_id for cell in self._probes(blocks)}
        needs: list[tuple[str, Need]] = [
            (f"probe_{block}", Product(wanted[PROBE, str(block), "image"], "ranks")) for block in blocks
        ]
        needs.append(("labels", self._labels(self._rules.split)))
        if self._has_masks:
            needs += self._patches()
        for end in ENDS:
            yield self._cell(f"keep_{end}_relevant", OUTPUT, "probe", needs)

    def _deletion(self, sites: list[Site]) -> Iterator[Cell | LeftOut]:
        if reason := refusal(self._description):
            yield LeftOut(f"{self._where} · deletion", reason)
            return
        if "probe" in self._rules.deletion:
            yield from self._by_probe(sites)
        known: tuple[Order, ...] = tuple(order for order in self._rules.deletion if order != "probe")
        orders: tuple[Order, ...] = tuple(order for order in known if order != "mask" or self._has_masks)
        if not orders:
            return
        reduction = Deletion(
            n_blocks=len(self._blocks()),
            counts=kept_counts(self._description.layout.n_spatial, self._rules.deletion_steps),
            orders=orders,
            softmax=self._rules.softmax,
            n_random=self._rules.random_orders,
            seed=self._study.seed,
        )
        needs: list[tuple[str, Need]] = [("here", self._capture(reduction))]
        if self._has_masks:
            needs += self._patches()
        for order in orders:
            for end in ENDS:
                yield self._cell(f"keep_{end}_relevant", OUTPUT, order, needs)

    def _head_relevancy(self) -> Iterator[Cell | LeftOut]:
        if reason := refusal(self._description):
            yield LeftOut(f"{self._where} · relevancy of heads", reason)
            return
        reduction = HeadRelevancy(len(self._blocks()), self._rules.softmax)
        needs: list[tuple[str, Need]] = [("here", self._capture(reduction))]
        if self._has_masks:
            needs += self._patches()
        heads = [f"head {number}" for number in range(n_heads_of(self._description))]
        for block in self._blocks():
            for token in ("all", *heads):
                yield self._cell(RELEVANCY, Site(block, "attention"), token, needs)

    def _bound_class(self, sites: list[Site]) -> Iterator[Cell | LeftOut]:
        config = self._reading.dataset.config
        space: Any = getattr(config, "space", None)
        sizes = [] if space is None else list[int](space.sizes)
        reason = None
        if len(sizes) != 2 or not {CODES, PIXELS} <= {*known_labels(config)}:
            reason = "the data set does not show objects of two features, with masks"
        elif prod(sizes) != self._description.n_classes:
            reason = f"it has {self._description.n_classes} classes, not the {prod(sizes)} kinds of the objects"
        if reason:
            yield LeftOut(f"{self._where} · bound class", reason)
            return
        for site in sites:
            capture = self._capture(BoundClass(site, sizes[-1]))
            for token in BOUND_TOKENS if self._description.layout.has_cls else BOUND_TOKENS[:-1]:
                yield self._cell(BOUND_CLASS, site, token, [("here", capture)])

    @property
    def _where(self) -> str:
        return f"{self._reading.dataset.name} · {written(self._reading.backbone.source)}"

    def _capture(self, reduction: Reduction, split: str | None = None) -> Capture:
        reading = self._reading
        dtype = self._study.store.dtype
        return Capture(reading.dataset, split or self._rules.split, reading.backbone, reduction, dtype=dtype)

    def _labels(self, split: str) -> Labels:
        return Labels(self._reading.dataset, split)

    def _cell(
        self, aspect: str, site: Site, token: str, needs: list[tuple[str, Need]], gives: tuple[str, ...] = ()
    ) -> Cell:
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
                ("rules", plain_rules(self._rules, aspect, self._description.layout.n_prefix)),
                ("intervals", study.intervals),
                ("seed", study.seed),
            ),
            needs=tuple(needs),
            gives=gives,
            control=reading.control,
            control_of=reading.control_of,
            seed=study.seed,
        )
