"""Patterns of shards."""

from __future__ import annotations

import pytest

from frozen.data.readers._tars import expand_braces


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{008..011}.tar", ["008.tar", "009.tar", "010.tar", "011.tar"]),
        ("{8..11}.tar", ["8.tar", "9.tar", "10.tar", "11.tar"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("{00..01}-{x,}", ["00-x", "00-", "01-x", "01-"]),
    ],
)
def test_braces_are_written_out_as_a_shell_does(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


def test_other_braces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\{abc\} is neither a range"):
        expand_braces("{abc}.tar")
