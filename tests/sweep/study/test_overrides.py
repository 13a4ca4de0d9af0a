"""Settings of the command line that replace those of a study file."""

from __future__ import annotations

import pytest

from binding.search import SearchConfig
from frozen.models import BackboneConfig
from frozen.ranges import Choices
from frozen.readout.study import StoreConfig
from tests.sweep.mistakes import STUDY


def test_overrides(read):
    space = read(
        STUDY,
        "fit.epochs=5",
        "datasets[0].n_colors=3",
        "probes[1].rank={choices: [2, 4]}",
        "datasets[0].split.train={grid: [10, 20]}",
        "layers=all",
        "backbones[0]=timm:other",
        "fit.learning_rate=1e-2",
        "store={}",
        "fit.epochs=6",
    )
    assert space.keys.fit.epochs == 6
    assert [dataset.config.n_colors for dataset in space.datasets] == [3, 3]
    assert [dataset.config.split.train for dataset in space.datasets] == [10, 20]
    assert dict(space.keys.probes[1].space.settings)["rank"] == Choices(choices=(2, 4))
    assert dict(space.keys.probes[0].space.settings)["learning_rate"] == 0.01
    assert space.keys.layers == ("all",)
    assert space.backbones[0] == BackboneConfig(source="timm:other")
    assert space.store == StoreConfig()
    assert space.source == STUDY


def test_overrides_add_what_the_file_leaves_out(read):
    space = read(STUDY, "search.suggestions=1", "fit.patience=", "datasets[0].split.policy=independent")
    assert space.keys.search == SearchConfig(suggestions=1)
    assert space.keys.fit.patience is None
    assert space.datasets[0].config.split.policy == "independent"


def test_a_limit_of_samples(read):
    (dataset,) = read(STUDY, "datasets[0].split.validation=1600", limit=1700).datasets
    split = dataset.config.split
    assert (split.train, split.validation, split.test) == (1700, 1600, 1700)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.epoch=5", "fit.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("sedes=5", "sedes: unknown key 'sedes'; did you mean 'seeds'?"),
        ("fit.epochs=0", "fit.epochs: must be ≥ 1, got 0"),
        ("fit.epochs='5'", "fit.epochs: expected a whole number, got '5'"),
        ("probes[1].rank={low: 4, high: 2}", "probes[1].rank.high: must be above low, got 4 to 2"),
        ("datasets[0].split.train=0", "datasets[0].split.train: must be ≥ 1, got 0"),
        ("datasets[1].n_colors=3", "datasets has 1 entries, there is no [1]"),
        ("layers[4]=3", "layers has 1 entries, there is no [4]"),
        ("seed.x=3", "seed is 0, not a mapping"),
        ("fit[0]=3", "fit is a mapping, not a list"),
        ("datasets.n_colors=3", "datasets is a list, not a mapping"),
        ("fit.epochs", "expected key=value with a key such as fit.epochs or datasets[0].n_colors"),
        ("fit..epochs=3", "expected key=value with a key such as fit.epochs or datasets[0].n_colors"),
        ("datasets[-1].n_colors=3", "expected key=value with a key such as fit.epochs or datasets[0].n_colors"),
        ("=3", "expected key=value with a key such as fit.epochs or datasets[0].n_colors"),
        ("fit.epochs=&a 3", "fit.epochs: anchors are not supported, got &a"),
        (
            "search={suggestions: 1, suggestions: 2}",
            "search.suggestions: duplicate key 'suggestions', first on line 1",
        ),
    ],
)
def test_overrides_that_are_refused(refused, override, message):
    assert refused(STUDY, override) == [f"override {override}: {message}"]


def test_mistakes_of_the_file_come_before_those_of_overrides(refused):
    assert refused(STUDY.replace("rank: 4", "rank: 0"), "seeds=0", "fit.epochs=0") == [
        "14: probes[1].rank: must be ≥ 1, got 0",
        "override seeds=0: seeds: must be ≥ 1, got 0",
        "override fit.epochs=0: fit.epochs: must be ≥ 1, got 0",
    ]


def test_a_limit_below_one(refused):
    assert refused(STUDY, limit=0) == ["the limit must be ≥ 1, got 0"]
