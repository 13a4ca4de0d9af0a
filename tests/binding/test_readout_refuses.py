"""Which probes the binding read-out refuses, and why."""

from __future__ import annotations

from dataclasses import dataclass

from binding.readout import BindingReadout
from binding.search import ProbeSpace
from frozen.data.scenes import Split, SplitName
from frozen.data.scenes.codes import FeatureSpace


@dataclass(frozen=True)
class Choice:
    space: ProbeSpace
    feature_probe: ProbeSpace | None


@dataclass(frozen=True)
class Groups:
    """A data set of some feature groups."""

    n_groups: int
    image_size: int = 64

    @property
    def space(self) -> FeatureSpace:
        return FeatureSpace.of(**{f"group{number}": 2 for number in range(self.n_groups)})

    def limited(self, n_samples: int) -> Groups:
        raise NotImplementedError

    def missing(self) -> None:
        return None

    def size(self, name: SplitName) -> int:
        raise NotImplementedError

    def open(self, name: SplitName) -> Split:
        raise NotImplementedError


def test_what_is_refused() -> None:
    readout = BindingReadout()

    def reason(family: str, mode: str, n_groups: int = 2, feature_family: str | None = None) -> str | None:
        other = None if feature_family is None else ProbeSpace.of(feature_family)
        return readout.refuses(Choice(ProbeSpace.of(family), other), mode, Groups(n_groups))

    assert reason("linear", "cls") is None
    assert reason("attention", "all") is None
    assert reason("linear", "all") == "linear reads one vector, mode all gives all tokens"
    assert reason("attention", "cls_mean") == "attention_quadratic reads all tokens, mode cls_mean gives one vector"
    assert reason("quadratic_concat_reuse", "cls", 2, "quadratic") is None
    assert "needs 2 feature groups" in str(reason("quadratic_concat_reuse", "cls", 3, "quadratic"))
    assert reason("multilinear_concat_reuse", "cls", 3, "quadratic") is None
    assert "at least 2 feature groups" in str(reason("multilinear_concat_reuse", "cls", 1, "quadratic"))
    assert "no probe for features" in str(reason("linear", "cls", 2, "quadratic_concat_reuse"))
    assert "reads all tokens" in str(reason("linear", "cls", 2, "attention"))
