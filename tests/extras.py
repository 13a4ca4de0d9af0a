"""Studies that need a package which is an extra are skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sweep.study.errors import StudyError


@contextmanager
def skipped_without_extras() -> Iterator[None]:
    """Skips where a study is refused for the lack of an extra alone."""
    try:
        yield
    except StudyError as error:
        if not all("pip install 'binding-sweep[" in line for line in str(error).splitlines()):
            raise
        pytest.skip(str(error))
