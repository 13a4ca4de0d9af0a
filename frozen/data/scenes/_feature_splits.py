"""Which feature codes each split admits: the paper's hashing rules, code by code (section 3.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from frozen.data.scenes._base import SPLITS, SplitName
from frozen.problems import Problem, at_least

Policy = Literal["independent", "f_disjoint_hash", "f_ranked_three_way"]


@dataclass(frozen=True, kw_only=True)
class SplitPolicy:
    """How many samples each split has, and which feature codes it admits."""

    policy: Policy = "independent"
    """independent: all codes everywhere. f_disjoint_hash: test codes by hash bucket.
    f_ranked_three_way: codes sorted by hash and cut in three. Where a study gives none, colorshape takes
    f_disjoint_hash, balancedcolorshape f_ranked_three_way with the paper's code_counts, and others independent."""
    train: int = 39_200
    """Training samples."""
    validation: int = 9_800
    """Validation samples; they pick the epoch and the hyper-parameters."""
    test: int = 9_800
    """Test samples; every reported number is theirs."""
    salt: str | None = None
    """Prefix of the hash; the default is the paper's for the data set."""
    modulus: int = 10
    """Number of hash buckets (f_disjoint_hash)."""
    test_buckets: tuple[int, ...] = (0, 1)
    """Buckets of the test split (f_disjoint_hash)."""
    validation_buckets: tuple[int, ...] = ()
    """Buckets of the validation split (f_disjoint_hash); none: validation shares the training codes."""
    code_counts: tuple[int, int, int] | None = None
    """Feature codes of train, validation and test (f_ranked_three_way); they must sum to the support."""
    exclude_all_ones: bool = False
    """Leave out the code in which every feature is present."""

    def size(self, split: SplitName) -> int:
        """Number of samples of a split."""
        return getattr(self, split)

    def problems(self) -> Iterator[Problem]:
        """Every broken rule that can be seen without the feature space."""
        for name in SPLITS:
            yield from at_least(f"split.{name}", self.size(name), 1)
        yield from at_least("split.modulus", self.modulus, 2)
        for field in ("test_buckets", "validation_buckets"):
            outside = [b for b in getattr(self, field) if not 0 <= b < self.modulus]
            if outside:
                yield Problem(f"split.{field}", f"must lie in 0..{self.modulus - 1}, got {outside}")
        if self.policy == "f_disjoint_hash" and not self.test_buckets:
            yield Problem("split.test_buckets", "needs at least one bucket, got none")
        shared = sorted(set(self.test_buckets) & set(self.validation_buckets))
        if shared:
            yield Problem("split.validation_buckets", f"must differ from test_buckets, both got {shared}")
        if min(self.code_counts or (1,)) < 1:
            yield Problem("split.code_counts", f"must all be ≥ 1, got {self.code_counts}")


def code_digest(code: UInt8[np.ndarray, " features"], salt: str) -> str:
    """Hex sha1 of `salt|bits`, the quantity both hashing rules are built on."""
    return hashlib.sha1(f"{salt}|{_bits(code)}".encode()).hexdigest()


def _bits(code: np.ndarray) -> str:
    return "".join(map(str, code.tolist()))


def admitted_codes(
    support: UInt8[np.ndarray, "codes features"], policy: SplitPolicy, split: SplitName, salt: str
) -> UInt8[np.ndarray, "admitted features"]:
    """The feature codes of `support` that a split admits.

    Args:
        support: all feature codes the data set can produce, uint8.
        policy: the rule; its own salt, when given, wins over `salt`.
        split: the split asked for.
        salt: the data set's default salt.

    Raises:
        ValueError: counts that do not sum to the support, or a split that admits no code.
    """
    salt = salt if policy.salt is None else policy.salt
    if policy.exclude_all_ones:
        support = support[~support.all(axis=1)]
    rules = {"f_disjoint_hash": _by_bucket, "f_ranked_three_way": _by_rank}
    rule = rules.get(policy.policy)
    admitted = support if rule is None else rule(support, policy, split, salt)
    if not len(admitted):
        raise ValueError(
            f"the {split} split admits none of the {len(support)} feature codes under {policy.policy}; "
            "use the policy 'independent', other buckets, or more feature values"
        )
    return admitted


def _by_bucket(support: np.ndarray, policy: SplitPolicy, split: SplitName, salt: str) -> np.ndarray:
    buckets = np.array([int(code_digest(code, salt), 16) % policy.modulus for code in support])
    test = np.isin(buckets, policy.test_buckets)
    validation = np.isin(buckets, policy.validation_buckets)
    if split == "test":
        return support[test]
    if split == "validation" and policy.validation_buckets:
        return support[validation]
    return support[~test & ~validation]


def _by_rank(support: np.ndarray, policy: SplitPolicy, split: SplitName, salt: str) -> np.ndarray:
    sixth = len(support) // 6
    counts = policy.code_counts or (len(support) - 2 * sixth, sixth, sixth)
    if sum(counts) != len(support):
        raise ValueError(f"code_counts must sum to the support of {len(support)} feature codes, got {counts}")
    order = sorted(range(len(support)), key=lambda i: (code_digest(support[i], salt), _bits(support[i])))
    start = sum(counts[: SPLITS.index(split)])
    return support[order[start : start + counts[SPLITS.index(split)]]]
