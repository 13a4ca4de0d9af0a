"""What every data set must satisfy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from jaxtyping import Float64

from binding.priors import UniformPrior
from binding.scenes import SPLITS, Scene, Split

_FEW = 12
_SIGMAS = 6


class SceneConformance:
    """Tests that the tests of a data set inherit; a subclass gives the fixture `scene`, a small data set.

    ```
    class TestMyScene(SceneConformance):
        @pytest.fixture
        def scene(self) -> MyScene:
            return MyScene(split=SplitPolicy(train=300, validation=200, test=200))
    ```
    """

    @pytest.fixture(params=SPLITS)
    def split(self, scene: Scene, request: pytest.FixtureRequest) -> Split:
        return scene.open(request.param)

    def test_satisfies_the_protocols(self, scene: Scene, split: Split) -> None:
        assert isinstance(scene, Scene)
        assert isinstance(split, Split)
        assert scene.space == split.space

    def test_opens_the_split_that_was_asked_for(self, scene: Scene) -> None:
        assert tuple(scene.open(name).name for name in SPLITS) == SPLITS

    def test_object_codes_are_zeros_and_ones(self, split: Split) -> None:
        assert len(split) > 0
        assert split.object_codes.shape == (len(split), split.space.n_objects)
        assert split.object_codes.dtype == np.uint8
        assert split.object_codes.max() <= 1

    def test_images_are_rgb_bytes_of_the_size_of_the_scene(self, scene: Scene, split: Split) -> None:
        images = split.images(np.arange(2))
        assert images.shape == (2, scene.image_size, scene.image_size, 3)
        assert images.dtype == np.uint8

    def test_what_a_plan_asks_is_known(self, scene: Scene, split: Split) -> None:
        assert scene.missing() is None
        assert split.n_skipped >= 0
        assert split.n_skipped or scene.size(split.name) in (None, len(split))

    def test_an_empty_batch_has_no_images(self, split: Split) -> None:
        assert len(split.images(np.arange(0))) == 0

    def test_an_image_does_not_depend_on_the_others_of_its_batch(self, split: Split) -> None:
        indices = np.random.default_rng(0).permutation(len(split))[:_FEW]
        batch = split.images(indices)
        alone = [split.images(indices[i : i + 1])[0] for i in range(len(indices))]
        np.testing.assert_array_equal(batch, np.stack(alone))

    def test_opening_twice_gives_the_same_data(self, scene: Scene, split: Split) -> None:
        _assert_same(split, scene.open(split.name))

    def test_limited_keeps_the_first_samples(self, scene: Scene, split: Split) -> None:
        part = scene.limited(_FEW).open(split.name)
        assert len(part) == min(_FEW, len(split))
        np.testing.assert_array_equal(part.object_codes, split.object_codes[:_FEW])
        np.testing.assert_array_equal(_first_images(part), _first_images(split))

    def test_survives_the_journey_to_another_process(self, scene: Scene, split: Split) -> None:
        _assert_same(split, pickle.loads(pickle.dumps(scene)).open(split.name))  # noqa: S301

    def test_splits_have_fingerprints_of_their_own(self, scene: Scene) -> None:
        assert len({scene.open(name).fingerprint for name in SPLITS}) == len(SPLITS)

    def test_splits_have_images_of_their_own(self, scene: Scene) -> None:
        seen = {tuple(image.tobytes() for image in _first_images(scene.open(name))) for name in SPLITS}
        assert len(seen) == len(SPLITS)

    def test_entropies_of_samples_are_finite_and_not_negative(self, split: Split) -> None:
        entropies = split.conditional_entropy_bits()
        assert entropies.shape == (len(split),)
        assert np.isfinite(entropies).all()
        assert entropies.min() >= 0

    def test_exact_entropies_have_their_bounds(self, split: Split) -> None:
        exact = split.entropies
        if exact is None:
            pytest.skip("the prior has no exact entropies")
        assert 0 <= exact.feature_bits <= split.space.n_features
        assert exact.conditional_bits >= 0
        assert exact.object_bits <= split.space.n_objects + 1e-9

    def test_samples_have_the_exact_entropy_on_average(self, split: Split) -> None:
        exact = split.entropies
        if exact is None:
            pytest.skip("the prior has no exact entropies")
        sampled = split.conditional_entropy_bits()
        tolerance = _SIGMAS * sampled.std() / np.sqrt(len(sampled)) + 1e-9
        assert abs(sampled.mean() - exact.conditional_bits) <= tolerance

    def test_prior_odds_allow_every_code_that_occurs(self, scene: Scene, split: Split) -> None:
        """The cross-entropy of the true code under the odds is H(O | F = f), on average or (uniform prior) always."""
        odds = split.prior_log_odds()
        if odds is None:
            pytest.skip("the prior has no exact odds")
        assert odds.shape == split.object_codes.shape
        bits = _cross_entropy_bits(odds, split.object_codes)
        assert np.isfinite(bits).all()
        if split.entropies is None:
            return
        surplus = bits - split.conditional_entropy_bits()
        assert abs(surplus.mean()) <= _SIGMAS * surplus.std() / np.sqrt(len(surplus)) + 1e-9
        if isinstance(getattr(scene, "prior", None), UniformPrior):
            np.testing.assert_allclose(surplus, 0, atol=1e-9)

    def test_prior_odds_rule_out_objects_whose_features_are_absent(self, split: Split) -> None:
        odds = split.prior_log_odds()
        if odds is None:
            pytest.skip("the prior has no exact odds")
        absent = split.space.feature_codes(split.object_codes) == 0
        impossible = absent.astype(np.int64) @ split.space.membership.T.astype(np.int64) > 0
        assert np.isneginf(odds[impossible]).all()


def _first_images(split: Split) -> np.ndarray:
    return split.images(np.arange(min(_FEW, len(split))))


def _assert_same(one: Split, other: Split) -> None:
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.object_codes, other.object_codes)
    np.testing.assert_array_equal(_first_images(one), _first_images(other))


def _cross_entropy_bits(odds: np.ndarray, codes: np.ndarray) -> Float64[np.ndarray, " samples"]:
    signs = 2.0 * codes - 1.0
    return np.logaddexp(0.0, -signs * odds).sum(axis=1) / np.log(2)
