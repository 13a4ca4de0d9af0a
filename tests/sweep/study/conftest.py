from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from frozen.readout.study import Study
from sweep.study.load import StudyError, load_study


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Study]:
    """Reads the text of a study."""

    def read_text(text: str, *overrides: str, limit: int | None = None) -> Study:
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        return load_study(tmp_path / "study.yaml", overrides, limit)

    return read_text


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lines of the error message, without the name of the file."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str, *overrides: str, limit: int | None = None) -> list[str]:
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(StudyError) as caught:
            load_study("study.yaml", overrides, limit)
        return [line.removeprefix("study.yaml:").strip() for line in str(caught.value).splitlines()]

    return read_text
