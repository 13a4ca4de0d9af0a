"""What `measure` takes of a user's arrays, what it refuses, and which prior it declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from binding import FeatureSpace, FitConfig, MeasureConfig, SearchConfig, measure
from binding._inputs import split_samples
from frozen.data.scenes.priors import UniformPrior

SPACE = FeatureSpace.of(color=2, shape=2)
CODES = np.random.default_rng(0).integers(2, size=(60, 4), dtype=np.uint8)
Z = np.random.default_rng(1).standard_normal((60, 3))


def changed(array: np.ndarray, row: int, value: float) -> np.ndarray:
    other = array.copy()
    other[row, 1] = value
    return other


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_not_finite_are_refused_with_their_row(value: float) -> None:
    with pytest.raises(ValueError, match=f"activations must be finite, got {value} in row 41"):
        measure(changed(Z, 41, value), CODES, SPACE)


def test_a_code_that_is_no_bit_is_refused_with_its_row_and_object() -> None:
    with pytest.raises(ValueError, match="object_codes must be 0 or 1, got 2 in row 7 for 'color0 shape1'"):
        measure(Z, changed(CODES, 7, 2), SPACE)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([range(40), range(30, 50), range(50, 60)], "got sample 30 in train and validation"),
        ([range(40), range(40, 50), range(40, 60)], "got sample 40 in validation and test"),
        ([range(40), range(40, 50), range(50, 61)], "the test split has the index 60; there are samples 0 to 59"),
        ([range(40), range(40, 50), [-1]], "the test split has the index -1"),
        ([range(40), [41, 41], range(50, 60)], "the validation split has sample 41 twice"),
        ([range(40), [], range(50, 60)], "the validation split must be a list of at least one index"),
        ([range(40), range(40, 60)], "splits must be three arrays"),
    ],
)
def test_splits_that_share_samples_or_lead_nowhere_are_refused(splits: Sequence[Sequence[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(Z, CODES, SPACE, splits=[np.array(part, dtype=np.int64) for part in splits])


def test_the_default_prior_takes_the_most_objects_that_occur() -> None:
    few = CODES * np.array([1, 0, 0, 1], dtype=np.uint8)
    samples = split_samples(Z, few, SPACE, "uniform", None)
    expected = UniformPrior(SPACE, 0, 2).conditional_entropy_bits(SPACE.feature_codes(samples.test.object_codes))
    np.testing.assert_array_equal(samples.test.conditional_entropy_bits, expected)
    assert samples.prior == "declared"


def test_a_code_that_the_prior_excludes_is_refused_with_its_row() -> None:
    full = CODES * 0
    full[9] = 1
    with pytest.raises(ValueError, match="object_codes has 4 objects in row 9, which the prior excludes"):
        measure(Z, full, SPACE, prior=UniformPrior(SPACE, 0, 3))


@pytest.mark.parametrize("prior", ["estimated", "none"])
def test_a_prior_may_be_counted_or_left_open(prior: str) -> None:
    quick = MeasureConfig(fit=FitConfig(epochs=2), search=SearchConfig(suggestions=1), n_seeds=1)
    rng = np.random.default_rng(2)
    z, codes = rng.standard_normal((300, 3)), rng.integers(2, size=(300, 4), dtype=np.uint8)
    found = measure(z, codes, SPACE, prior=prior, probe="linear", config=quick)  # type: ignore[arg-type]
    assert found.prior == prior
    assert found.v_information_bits is not None
    assert (found.direct_binding_ratio is None) == (prior == "none")
    assert (found.cautious_binding_ratio is None) == (prior == "none")


def test_the_fit_says_the_learning_rate_and_weight_decay_here_as_in_a_study() -> None:
    config = MeasureConfig(fit=FitConfig.paper(), n_seeds=1)
    found = measure(Z, CODES, SPACE, probe="linear", config=config)
    for target in ("objects", "features", "direct"):
        result = found.targets[target]  # type: ignore[index]
        assert (result.tuned.learning_rate, result.tuned.weight_decay) == (1e-3, 1e-4)
        assert len(result.suggestions) == 1
