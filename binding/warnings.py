"""What a plan warns of before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from binding.cells import BindingCell
from binding.fit import Schedule
from frozen.data.scenes import SPLITS, SampledScene, Scene, SplitName
from frozen.plain import Plain, mapping_of
from frozen.readout.cells import Cell

_LITTLE_BITS = 0.1
_FEW_STEPS = 500


def little_to_bind(cells: Iterable[Cell]) -> Iterator[str]:
    """Splits in which features nearly tell the objects, where a data set knows it without its data."""
    for name, scene in {cell.dataset.name: cell.dataset.config for cell in cells}.items():
        for split in SPLITS:
            bits = _conditional_entropy(scene, split)
            if bits is not None and bits < _LITTLE_BITS:
                yield (
                    f"{name}: H(O|F) of the split {split} is {bits:.3g} bits: features tell objects, and ratios are "
                    "empty or meaningless; use `split: {policy: independent}`, or more feature values"
                )


def training_lengths(cells: Iterable[Cell]) -> Iterator[str]:
    """Batches, epochs and steps of a training, once for data sets on which they are the same."""
    names: dict[str, list[str]] = {}
    for name, n_train, schedule in _schedules(cells):
        names.setdefault(_length(n_train, schedule), []).append(name)
    for text, of in names.items():
        yield f"{of[0] if len(of) == 1 else f'{len(of)} data sets'}: {text} a training"


def few_steps(cells: Iterable[Cell]) -> Iterator[str]:
    """Data sets on which a training has few steps of the optimiser, where the number of samples is known."""
    for name, n_train, schedule in _schedules(cells):
        if schedule.n_steps < _FEW_STEPS:
            yield (
                f"{name}: {_length(n_train, schedule)} a training, too few for most probes; leave out "
                "`fit.batch_size` and `fit.epochs`, which then follow the number of samples, or take smaller batches "
                "or more epochs"
            )


def _schedules(cells: Iterable[Cell]) -> Iterator[tuple[str, int, Schedule]]:
    """Of each data set whose size is known: its name, its training samples and how a probe is trained on them."""
    for name, cell in {cell.dataset.name: cell for cell in cells}.items():
        settings: BindingCell = cell.settings
        if n_train := cell.dataset.config.size("train"):
            yield name, n_train, settings.shared.fit.schedule(n_train)


def _length(n_train: int, schedule: Schedule) -> str:
    return (
        f"{n_train:,} training samples, {schedule.epochs} epochs, batches of {schedule.batch_size}: "
        f"{schedule.n_steps:,} steps"
    )


def shared_scenes(cells: Iterable[Cell]) -> Iterator[str]:
    """Pairs of data sets of which one tests on scenes that the other trains on."""
    scenes = {cell.dataset.name: cell.dataset.config for cell in cells}
    drawn = {name: scene for name, scene in scenes.items() if isinstance(scene, SampledScene)}
    for (one, first), (other, second) in combinations(drawn.items(), 2):
        apart = abs(first.seed - second.seed)
        if 0 < apart < len(SPLITS) and _but_seed(first) == _but_seed(second):
            yield (
                f"{one} and {other}: their seeds {first.seed} and {second.seed} share scenes, for the splits take "
                "seed, seed + 1 and seed + 2; to repeat a measurement on other scenes take seeds 3 apart"
            )


def _but_seed(scene: SampledScene) -> tuple[type, dict[str, Plain]]:
    return type(scene), {name: value for name, value in mapping_of(scene).items() if name != "seed"}


def _conditional_entropy(scene: Scene, split: SplitName) -> float | None:
    if not isinstance(scene, SampledScene):
        return None
    try:
        return scene.conditional_entropy_bits(split)
    except ValueError:  # nothing to draw: said when the split is opened
        return None
