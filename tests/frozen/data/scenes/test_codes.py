from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.problems import ConfigurationError

SIZES = [(1,), (3,), (2, 2), (2, 3), (3, 2), (2, 2, 2), (2, 1, 3)]


def space_of(sizes: tuple[int, ...]) -> FeatureSpace:
    return FeatureSpace.of(**{f"group{g}": size for g, size in enumerate(sizes)})


def all_object_codes(space: FeatureSpace) -> np.ndarray:
    return np.array(list(product((0, 1), repeat=space.n_objects)), dtype=np.uint8)


def test_objects_of_a_known_space() -> None:
    space = FeatureSpace.of(color=("red", "blue"), shape=("circle", "square", "star"))
    assert space.sizes == (2, 3)
    assert (space.n_features, space.n_objects) == (5, 6)
    assert space.offsets == (0, 2)
    assert space.object_names == (
        *("red circle", "red square", "red star"),
        *("blue circle", "blue square", "blue star"),
    )


def test_the_last_group_varies_fastest() -> None:
    space = FeatureSpace.of(color=2, shape=2, size=2)
    expected = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert space.value_of_object.tolist() == expected
    assert space.object_names[3] == "color0 shape1 size1"


def test_membership_of_a_known_space() -> None:
    space = FeatureSpace.of(color=2, shape=2)
    assert space.membership.tolist() == [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert space.membership.dtype == np.uint8


def test_feature_code_of_a_known_scene() -> None:
    space = FeatureSpace.of(color=("red", "blue"), shape=("circle", "square", "star"))
    red_star_and_blue_star = np.array([[0, 0, 1, 0, 0, 1]], dtype=np.uint8)
    feature_codes = space.feature_codes(red_star_and_blue_star)
    assert feature_codes.tolist() == [[1, 1, 0, 0, 1]]
    assert feature_codes.dtype == np.uint8
    assert space.present_counts(feature_codes).tolist() == [[2, 1]]


@pytest.mark.parametrize("sizes", SIZES)
def test_feature_codes_of_every_object_code(sizes: tuple[int, ...]) -> None:
    space = space_of(sizes)
    objects = list(product(*map(range, sizes)))
    codes = all_object_codes(space)
    for code, feature_code in zip(codes.tolist(), space.feature_codes(codes).tolist(), strict=True):
        present = [values for values, is_present in zip(objects, code, strict=True) if is_present]
        expected = [int(any(v[g] == i for v in present)) for g, size in enumerate(sizes) for i in range(size)]
        assert feature_code == expected


@pytest.mark.parametrize("sizes", SIZES)
def test_all_feature_codes_are_those_of_the_object_codes(sizes: tuple[int, ...]) -> None:
    space = space_of(sizes)
    reachable = set(map(tuple, space.feature_codes(all_object_codes(space)).tolist()))
    listed = list(map(tuple, space.all_feature_codes().tolist()))
    assert set(listed) == reachable
    assert len(listed) == len(reachable)


@pytest.mark.parametrize("sizes", SIZES)
def test_present_counts_of_every_feature_code(sizes: tuple[int, ...]) -> None:
    space = space_of(sizes)
    for code, counts in zip(
        space.all_feature_codes(), space.present_counts(space.all_feature_codes()).tolist(), strict=True
    ):
        bits = iter(code.tolist())
        assert counts == [sum(next(bits) for _ in range(size)) for size in sizes]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple))
def test_features_of_a_union_are_the_union_of_features(data: st.DataObject, sizes: tuple[int, ...]) -> None:
    space = space_of(sizes)
    bits = st.lists(st.integers(0, 1), min_size=space.n_objects, max_size=space.n_objects)
    one, other = (np.array([data.draw(bits)], dtype=np.uint8) for _ in range(2))
    union = space.feature_codes(one | other)
    np.testing.assert_array_equal(union, space.feature_codes(one) | space.feature_codes(other))


def test_no_samples_have_no_feature_codes() -> None:
    space = space_of((2, 3))
    feature_codes = space.feature_codes(np.zeros((0, 6), dtype=np.uint8))
    assert feature_codes.shape == (0, 5)
    assert space.present_counts(feature_codes).shape == (0, 2)


def test_many_duplicated_features_do_not_overflow() -> None:
    space = space_of((300, 2))
    everything = np.ones((1, 600), dtype=np.uint8)
    assert space.present_counts(space.feature_codes(everything)).tolist() == [[300, 2]]


@pytest.mark.parametrize(
    ("groups", "field", "message"),
    [
        ((), "groups", "at least one group is needed, got none"),
        ((FeatureGroup("color", ()),), "color", "needs at least one value, got none"),
        ((FeatureGroup("color", ("red", "red")),), "color", "values must differ, got ('red', 'red')"),
    ],
)
def test_impossible_spaces_are_refused(groups: tuple[FeatureGroup, ...], field: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        FeatureSpace(groups)
    assert error.value.problems == ((field, message),)
    assert str(error.value) == f"feature space: {field}: {message}"


def test_all_problems_of_a_space_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as error:
        FeatureSpace.of(color=(), shape=("star", "star"))
    assert [problem.field for problem in error.value.problems] == ["color", "shape"]


def test_too_many_features_to_enumerate() -> None:
    with pytest.raises(ValueError, match=r"at most 20 features, got 21; use the split policy 'independent'"):
        space_of((10, 11)).all_feature_codes()
