"""Search spaces: what they draw, and the mistakes they refuse."""

from __future__ import annotations

import math

import optuna
import pytest

from binding.probes import ALIASES, FAMILIES, DnnConcat, QuadraticConcat
from binding.search import ProbeSpace, SearchConfig
from frozen.problems import ConfigurationError
from frozen.ranges import Choices, Range, Setting, Value


def drawn(setting: Range | Choices, n: int = 60) -> list[Value]:
    """Values that random search draws."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [setting.suggest(study.ask(), "x") for _ in range(n)]


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_whole_numbers_come_with_both_ends() -> None:
    values = drawn(Range(low=2, high=5))
    assert set(values) == {2, 3, 4, 5}
    assert all(isinstance(value, int) for value in values)


def test_a_fraction_at_one_end_makes_fractions() -> None:
    values = drawn(Range(low=0, high=1.5))
    assert all(isinstance(value, float) and 0 <= value <= 1.5 for value in values)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1.0), (1, 10_000)])
def test_logarithmic_ranges_give_every_decade_its_share(low: float, high: float) -> None:
    values = [math.log10(float(value)) for value in drawn(Range(low=low, high=high, log=True), 400)]  # type: ignore[arg-type]
    middle = (math.log10(low) + math.log10(high)) / 2
    below = sum(value < middle for value in values) / len(values)
    assert 0.4 < below < 0.6
    assert min(values) >= math.log10(low)
    assert max(values) <= math.log10(high)


def test_choices_draw_each_value_as_it_is() -> None:
    choices = (None, 64, 0.5, True, "wide")
    assert set(drawn(Choices(choices=choices))) == set(choices)


@pytest.mark.parametrize(
    ("low", "high", "log", "message"),
    [
        (2, 2, False, "range: high: must be above low, got 2 to 2"),
        (1.0, 0.5, False, "high: must be above low, got 1.0 to 0.5"),
        (0, 5, True, "low: must be > 0 for a logarithmic range, got 0"),
        (math.nan, 1.0, False, "high: must be above low, got nan to 1.0"),
    ],
)
def test_ranges_without_a_meaning_are_refused(low: float, high: float, log: bool, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Range(low=low, high=high, log=log)
    assert message in str(caught.value)


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="choices: needs at least one value, got none"):
        Choices(choices=())


def test_what_lies_in_a_range() -> None:
    scale = Range(low=1, high=4)
    assert [value in scale for value in (0, 1, 4, 5, None, "2")] == [False, True, True, False, False, False]
    assert None in Choices(choices=(None, 3))
    assert 4 not in Choices(choices=(None, 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_are_completed_with_the_familys_defaults(family: str) -> None:
    space = ProbeSpace.of(family)
    low, high = FAMILIES[family].learning_rates
    assert space.ranges == {"learning_rate": Range(low=low, high=high, log=True)}
    default = FAMILIES[family]()
    assert space.probe({"learning_rate": default.learning_rate}) == default
    assert space.first() == {"learning_rate": default.learning_rate}


@pytest.mark.parametrize(("alias", "family"), ALIASES.items())
def test_aliases_mean_the_family(alias: str, family: str) -> None:
    assert ProbeSpace.of(alias) == ProbeSpace.of(family)
    assert ProbeSpace.of(alias).family == family


def test_the_order_of_settings_does_not_matter() -> None:
    one = ProbeSpace.of("quadratic_concat", rank=4, weight_decay=0.1)
    assert one == ProbeSpace.of("quadratic_concat", weight_decay=0.1, rank=4)
    assert len({one, ProbeSpace.of("quadratic_concat", rank=5, weight_decay=0.1)}) == 2


def test_a_probe_has_fixed_and_drawn_values() -> None:
    space = ProbeSpace.of("quadratic_concat", rank=Choices(choices=(4, 8)), weight_decay=0.1, learning_rate=0.02)
    assert space.ranges == {"rank": Choices(choices=(4, 8))}
    assert space.probe({"rank": 8}) == QuadraticConcat(rank=8, weight_decay=0.1, learning_rate=0.02)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {space.suggest(study.ask()).rank for _ in range(20)} == {4, 8}  # type: ignore[attr-defined]


def test_the_defaults_come_first_where_they_are_in_the_ranges() -> None:
    space = ProbeSpace.of(
        "dnn_concat",
        learning_rate=Range(low=0.1, high=1.0),
        num_layers=Range(low=1, high=4),
        hidden_dim=Choices(choices=(None, 64)),
        dropout=Choices(choices=(0.1, 0.3)),
    )
    assert space.first() == {"num_layers": 3, "hidden_dim": None}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(space.first())
    probe = space.suggest(study.ask())
    assert isinstance(probe, DnnConcat)
    assert (probe.num_layers, probe.hidden_dim) == (3, None)
    assert 0.1 <= probe.learning_rate <= 1.0


def test_an_unknown_family_is_told_the_others() -> None:
    with pytest.raises(ConfigurationError, match="there is no 'cubic'; linear, dnn_concat, quadratic_concat"):
        ProbeSpace.of("cubic")


def test_unknown_settings_are_told_the_others() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ProbeSpace.of("linear", rank=4, width=2)
    known = "linear has learning_rate, weight_decay, use_conditioned_query"
    assert str(caught.value) == f"linear: rank: unknown; {known}; width: unknown; {known}"


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("rank", 0, "rank: must be ≥ 1, got 0"),
        ("rank", Range(low=0, high=8), "rank: must be ≥ 1, got 0"),
        ("rank", Choices(choices=(4, 0, 8)), "rank: must be ≥ 1, got 0"),
        ("learning_rate", Range(low=0.0, high=0.1), "learning_rate: must be > 0, got 0.0"),
        ("weight_decay", Range(low=-1.0, high=1.0), "weight_decay: must be ≥ 0, got -1.0"),
    ],
)
def test_values_that_the_family_refuses_are_refused_at_both_ends(name: str, setting: Setting, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ProbeSpace.of("quadratic_concat", **{name: setting})
    assert str(caught.value) == f"quadratic_concat: {message}"


def test_the_upper_end_is_tried_too_and_all_mistakes_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ProbeSpace.of("dnn_concat", dropout=Range(low=0.0, high=1.0), num_layers=Choices(choices=(0, -1)))
    assert [problem.message for problem in caught.value.problems] == [
        "must lie in [0, 1), got 1.0",
        "must be ≥ 1, got -1",
        "must be ≥ 1, got 0",
    ]


@pytest.mark.parametrize(
    ("rate", "rank", "edges"),
    [
        (0.01, 6, []),
        (1e-4, 6, ["learning_rate"]),
        (1.3e-4, 6, ["learning_rate"]),
        (1.7e-4, 6, []),
        (0.95, 6, ["learning_rate"]),
        (0.01, 2, ["rank"]),
        (0.01, 10, ["rank"]),
        (0.01, 3, []),
        (1.0, 2, ["learning_rate", "rank"]),
    ],
)
def test_winners_at_the_edge_of_a_range_are_seen(rate: float, rank: int, edges: list[str]) -> None:
    """A twentieth of 4 decades is a factor of 1.58; of 2 to 10 less than a step."""
    space = ProbeSpace.of(
        "quadratic_concat", learning_rate=Range(low=1e-4, high=1.0, log=True), rank=Range(low=2, high=10)
    )
    assert space.on_edge(QuadraticConcat(learning_rate=rate, rank=rank)) == edges


def test_choices_and_fixed_values_have_no_edge() -> None:
    space = ProbeSpace.of("quadratic_concat", learning_rate=0.01, rank=Choices(choices=(4, 16)))
    assert space.on_edge(QuadraticConcat(learning_rate=0.01, rank=4)) == []


@pytest.mark.parametrize("field", ["suggestions", "ask"])
def test_budgets_below_one_are_refused(field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"search: {field}: must be ≥ 1, got 0"):
        SearchConfig(**{field: 0})
