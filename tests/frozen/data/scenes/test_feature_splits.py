from __future__ import annotations

import hashlib
from itertools import combinations, product

import numpy as np
import pytest

from frozen.data.scenes import SPLITS, BalancedColorShape, ColorShape, SplitName, SplitPolicy
from frozen.data.scenes._feature_splits import admitted_codes
from frozen.problems import ConfigurationError

COLORSHAPE_SALT = "colorshape_fsplit_v1"
BALANCED_SALT = "balancedcolorshape_fsplit_v1"

# sha256 over the codes of each split, one code of zeros and ones a line, in the order of the split
GOLDEN = {
    ("colorshape", "train"): "f83849caed10ae3f3d299d61319b8ea4df45ecbfa2191d84b9620e4c6f27c67c",
    ("colorshape", "validation"): "f83849caed10ae3f3d299d61319b8ea4df45ecbfa2191d84b9620e4c6f27c67c",
    ("colorshape", "test"): "32b604db0a19db9916db7b73258b2d8554555813143667f037e8656a548a0828",
    ("balancedcolorshape", "train"): "878d760bfdca8ff143b8a074a8b8a94c60220ecdbb315d30a7285bf3086e1332",
    ("balancedcolorshape", "validation"): "07d8d50633e2999c8519575170db11b1c991d8728d05440a66407aa6fc45388b",
    ("balancedcolorshape", "test"): "2ce4d4b92124ae52451cb18738ac77c16bf20c8e9663071a7218fe464d9e332f",
}


def sha1(code: str, salt: str) -> str:
    return hashlib.sha1(f"{salt}|{code}".encode()).hexdigest()


def nonempty(size: int) -> list[str]:
    return ["".join(bits) for bits in product("01", repeat=size) if "1" in bits]


def uniform_support(n_colors: int, n_shapes: int) -> list[str]:
    """Both groups empty, or neither, as text."""
    colors_and_shapes = product(nonempty(n_colors), nonempty(n_shapes))
    return ["0" * (n_colors + n_shapes), *map("".join, colors_and_shapes)]


def balanced_support() -> list[str]:
    sixes = ["".join("1" if i in chosen else "0" for i in range(8)) for chosen in combinations(range(8), 6)]
    return ["".join(pair) for pair in product(sixes, sixes)]


def in_buckets(support: list[str], buckets: set[int], salt: str, modulus: int = 10) -> set[str]:
    return {code for code in support if int(sha1(code, salt), 16) % modulus in buckets}


def as_text(codes: np.ndarray | None) -> list[str]:
    assert codes is not None
    return ["".join(map(str, code)) for code in codes.tolist()]


def as_codes(texts: list[str]) -> np.ndarray:
    return np.array([list(map(int, text)) for text in texts], dtype=np.uint8)


def scene_named(name: str) -> ColorShape | BalancedColorShape:
    return ColorShape() if name == "colorshape" else BalancedColorShape()


@pytest.mark.parametrize(("name", "split"), GOLDEN)
def test_published_splits_never_change(name: str, split: SplitName) -> None:
    text = "\n".join(as_text(scene_named(name).admitted(split)))
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN[name, split]


@pytest.mark.parametrize("sides", [(7, 7), (2, 2), (3, 4), (1, 2)])
def test_hash_split_code_by_code(sides: tuple[int, int]) -> None:
    scene = ColorShape(n_colors=sides[0], n_shapes=sides[1])
    support = uniform_support(*sides)
    test = in_buckets(support, {0, 1}, COLORSHAPE_SALT)
    assert set(as_text(scene.admitted("test"))) == test
    for split in ("train", "validation"):
        admitted = as_text(scene.admitted(split))
        assert set(admitted) == set(support) - test
        assert len(admitted) == len(support) - len(test)


def test_validation_buckets_are_taken_from_training() -> None:
    policy = SplitPolicy(
        policy="f_disjoint_hash", modulus=7, test_buckets=(3,), validation_buckets=(0, 5), salt="own"
    )
    scene = ColorShape(n_colors=4, n_shapes=4, split=policy)
    support = uniform_support(4, 4)
    parts = {
        "test": in_buckets(support, {3}, "own", 7),
        "validation": in_buckets(support, {0, 5}, "own", 7),
        "train": in_buckets(support, {1, 2, 4, 6}, "own", 7),
    }
    assert {split: set(as_text(scene.admitted(split))) for split in SPLITS} == parts


def test_ranked_split_code_by_code() -> None:
    ranked = sorted((sha1(code, BALANCED_SALT), code) for code in balanced_support())
    assert len(ranked) == 784
    expected = [code for _, code in ranked]
    admitted = [as_text(BalancedColorShape().admitted(split)) for split in SPLITS]
    assert admitted == [expected[:522], expected[522:653], expected[653:]]


def test_ranked_split_of_a_sixth_each_by_default() -> None:
    scene = ColorShape(n_colors=3, n_shapes=3, split=SplitPolicy(policy="f_ranked_three_way"))
    ranked = sorted((sha1(code, COLORSHAPE_SALT), code) for code in uniform_support(3, 3))
    expected = [code for _, code in ranked]
    assert len(expected) == 50
    admitted = [as_text(scene.admitted(split)) for split in SPLITS]
    assert admitted == [expected[:34], expected[34:42], expected[42:]]


@pytest.mark.parametrize("name", ["colorshape", "balancedcolorshape"])
def test_test_codes_are_never_seen_in_training(name: str) -> None:
    scene = scene_named(name)
    train, validation, test = (set(as_text(scene.admitted(split))) for split in SPLITS)
    assert not test & (train | validation)
    assert (validation == train) if name == "colorshape" else not validation & train


def test_independent_splits_admit_everything() -> None:
    scene = ColorShape(n_colors=3, n_shapes=2, split=SplitPolicy())
    assert [scene.admitted(split) for split in SPLITS] == [None, None, None]


@pytest.mark.parametrize("policy", ["independent", "f_disjoint_hash", "f_ranked_three_way"])
def test_the_code_of_all_features_can_be_left_out(policy: str) -> None:
    support = as_codes(uniform_support(3, 2))
    rule = SplitPolicy(policy=policy, exclude_all_ones=True)  # pyright: ignore
    admitted = {code for split in SPLITS for code in as_text(admitted_codes(support, rule, split, COLORSHAPE_SALT))}
    assert admitted == set(uniform_support(3, 2)) - {"11111"}


def test_most_of_the_test_mass_lies_on_the_code_of_all_features() -> None:
    scene = ColorShape()
    assert "1" * 14 in as_text(scene.admitted("test"))
    assert scene.open("test").largest_code_probability == pytest.approx(0.70, abs=5e-3)


def test_one_pair_has_no_test_code() -> None:
    message = (
        "the test split admits none of the 2 feature codes under f_disjoint_hash; "
        "use the policy 'independent', other buckets, or more feature values"
    )
    scene = ColorShape(n_colors=1, n_shapes=1, max_objects=1)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        scene.open("test")
    assert str(error.value) == message
    assert len(scene.open("train")) == scene.split.train


def test_counts_that_do_not_sum_to_the_support_are_refused() -> None:
    policy = SplitPolicy(policy="f_ranked_three_way", code_counts=(500, 131, 131))
    with pytest.raises(ValueError, match=r"must sum to the support of 784 feature codes, got \(500, 131, 131\)"):
        BalancedColorShape(split=policy).open("train")


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"train": 0}, "split.train", "must be ≥ 1, got 0"),
        ({"validation": -1}, "split.validation", "must be ≥ 1, got -1"),
        ({"test": 0}, "split.test", "must be ≥ 1, got 0"),
        ({"modulus": 1, "test_buckets": (0,)}, "split.modulus", "must be ≥ 2, got 1"),
        ({"test_buckets": (0, 10)}, "split.test_buckets", "must lie in 0..9, got [10]"),
        ({"validation_buckets": (-1,)}, "split.validation_buckets", "must lie in 0..9, got [-1]"),
        ({"validation_buckets": (1, 2)}, "split.validation_buckets", "must differ from test_buckets, both got [1]"),
        (
            {"policy": "f_disjoint_hash", "test_buckets": ()},
            "split.test_buckets",
            "needs at least one bucket, got none",
        ),
        ({"code_counts": (800, -100, 84)}, "split.code_counts", "must all be ≥ 1, got (800, -100, 84)"),
    ],
)
def test_impossible_policies_are_refused(fields: dict, field: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ColorShape(split=SplitPolicy(**fields))
    assert error.value.problems == ((field, message),)
