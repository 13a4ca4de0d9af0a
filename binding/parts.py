"""What of the read-out's own a study can name, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch

from binding.probes import ALIASES, FAMILIES
from frozen.registry import fault_lines, summary


def probes(pattern: str | None) -> Iterator[str]:
    """Probe families."""
    for name, cls in FAMILIES.items():
        if pattern is None or fnmatch(name, pattern):
            also = [alias for alias, family in ALIASES.items() if family == name]
            names = f"{name} (also {', '.join(also)})" if also else name
            reads = "all tokens" if cls.reads_tokens else "one vector"
            low, high = cls.learning_rates
            only = ", objects only" * cls.objects_only
            yield f"{names}: reads {reads}{only}, learning rate {low:g} to {high:g}: {summary(cls)}"
    yield from fault_lines(FAMILIES, pattern)
