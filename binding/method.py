"""What a paper says of a binding study: sentences for its methods section, and what to cite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from binding.keys import BindingStudy
from binding.search import ProbeSpace, ProbeSpec
from frozen.data.scenes import Scene
from frozen.data.spec import DatasetSpec
from frozen.intervals import IntervalConfig
from frozen.ranges import Choices, Range, Setting, Value
from frozen.readout.readout import Method
from frozen.readout.study import Study

PAPER = """@inproceedings{huang2026binding,
  title         = {Formalizing the Binding Problem},
  author        = {Huang, Lianghuan and Li, Yihao and Salehi, Saeed and Chang, Yingshan and Soni, Ansh and Kording, Konrad P.},
  booktitle     = {International Conference on Machine Learning},
  year          = {2026},
  eprint        = {2606.03976},
  archivePrefix = {arXiv},
  primaryClass  = {cs.CV}
}"""  # noqa: E501 - BibTeX as it is pasted
_SPLITS = {
    "independent": "all splits admit all feature codes",
    "f_disjoint_hash": "test feature codes do not occur in training, chosen by a hash",
    "f_ranked_three_way": "training, validation and test share no feature code, ranked by a hash",
}
_PRUNERS = {"median": "median pruning", "successive_halving": "successive halving"}


def method(study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
    """Sentences on data sets, probes, their tuning and training, measures and intervals.

    Args:
        study: the study.
        rows: its result rows; sample counts are theirs.
    """
    keys: BindingStudy = study.keys
    sentences = (
        "We measured binding information as defined by Huang et al. (2026; arXiv 2606.03976).",
        *(_data_set(one, rows) for one in study.datasets),
        "Probes give one logit for each bit of the object code O or feature code F, from the activations Z and the "
        "true bits before it (teacher forcing).",
        *_families(keys.probes),
        *_training(keys, rows),
        "We report the binding ratio β* = B* / H(O|F) with B* = H(O|F) − (CE_O − CE_F), and, since B* bounds the "
        "conditional information I(O;Z|F) on neither side, its lower bound (up to sampling error) B*_direct = H(O|F) "
        "− CE(O|Z,F) from a third probe that is given F, and the share β_O = (H(O) − CE_O) / H(O) of the object code "
        "that is read; CE are test cross-entropies in bits, and H(O|F) is the mean over the test samples.",
        *_intervals(study.intervals, keys.seeds),
    )
    return Method(" ".join(sentences), (PAPER,))


def _data_set(dataset: DatasetSpec, rows: Sequence[Mapping[str, Any]]) -> str:
    scene: Scene = dataset.config
    groups = " × ".join(f"{len(group.values)} {group.name}" for group in scene.space.groups)
    text = f"Data set {dataset.name} has {scene.space.n_objects} possible objects ({groups})"
    row = next((row for row in rows if row["dataset"] == dataset.name and row.get("n_train")), None)
    if row is not None:
        n_train, n_validation, n_test = (f"{row[f'n_{name}']:,}" for name in ("train", "validation", "test"))
        text += f", and {n_train} training, {n_validation} validation and {n_test} test samples"
        if (policy := row.get("split_policy")) in _SPLITS:
            text += f" ({_SPLITS[policy]})"
    return text + "."


def _families(probes: Sequence[ProbeSpec]) -> Iterator[str]:
    yield f"The probe {_plural('family', 'families', len(probes))} " + "; ".join(_family(one) for one in probes) + "."


def _family(choice: ProbeSpec) -> str:
    text = _space(choice.space)
    if choice.feature_probe is not None:
        text += f", with features read by {_space(choice.feature_probe)}"
    return text


def _space(space: ProbeSpace) -> str:
    return f"{space.family} ({', '.join(_setting(name, value) for name, value in space.settings)})"


def _setting(name: str, setting: Setting) -> str:
    words = name.replace("_", " ")
    if isinstance(setting, Range):
        scale = " on a log scale" if setting.log else ""
        return f"{words} tuned{scale} in {_value(setting.low)}–{_value(setting.high)}"
    if isinstance(setting, Choices):
        return f"{words} chosen from {', '.join(_value(value) for value in setting.choices)}"
    return f"{words} {_value(setting)}"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _training(keys: BindingStudy, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    fit, search = keys.fit, keys.search
    schedules = [fit.schedule(n) for n in sorted({row["n_train"] for row in rows if row.get("n_train")})]
    adam = ["L2 penalty in the gradient"]
    if schedules:
        size, epochs = (_range(getattr(one, name) for one in schedules) for name in ("batch_size", "epochs"))
        batches = f" × {fit.accumulate} batches a step" if fit.accumulate > 1 else ""
        every = _range(one.step for one in schedules)
        cut = f", learning rate × {fit.schedule_factor:g} every {every} epochs" if fit.schedule_factor < 1 else ""
        adam += [f"batches of {size}{batches}{cut}", f"at most {epochs} epochs"]
    stop = f", stopped after {fit.patience} epochs without improvement" if fit.patience is not None else ""
    scale = "standardised by channel with training statistics" if fit.standardize else "not standardised"
    if fit.products != "float32":
        adam.append(f"matrix products of a step in {fit.products}")
    yield (
        f"Probes were trained with Adam ({'; '.join(adam)}{stop}) on activations {scale}, keeping the epoch of least "
        "validation loss."
    )
    pruned = f" with {_PRUNERS[search.pruner]}" if search.pruner in _PRUNERS else ""
    if any(choice.space.ranges for choice in keys.probes):
        yield (
            "For each cell and each target (objects, features, objects given features) hyper-parameters were chosen "
            f"by validation loss among {search.suggestions} suggestions of a tree-structured Parzen estimator "
            f"(Optuna){pruned}."
        )
    yield f"The chosen probe was trained with {keys.seeds} {_noun('seed', keys.seeds)}."


def _range(numbers: Iterable[int]) -> str:
    """The number, or the least and the greatest: what follows the number of samples differs between data sets."""
    found = list(numbers)
    low, high = min(found), max(found)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _intervals(config: IntervalConfig, seeds: int) -> Iterator[str]:
    level, resamples = config.level, config.resamples
    if seeds == 1:
        yield (
            f"{_percent(level)} intervals are from a bootstrap over test samples ({resamples:,} resamples); with one "
            "seed they leave out the variation between trainings."
        )
        return
    yield (
        f"{_percent(level)} intervals are from a hierarchical bootstrap over seeds and test samples ({resamples:,} "
        "resamples), the same draw for all terms of a measure, with deviations widened as in Student's t with Welch–"
        "Satterthwaite degrees of freedom."
    )


def _percent(level: float) -> str:
    return f"{100 * level:g}%"


def _noun(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


def _plural(one: str, many: str, count: int) -> str:
    return f"{one} was" if count == 1 else f"{many} were"
