"""What tests of the store share."""

from pathlib import Path

import pytest

from sweep.store.disk import DiskStore
from sweep.store.parts import PART_BYTES


@pytest.fixture
def part_bytes() -> int:
    """Of the store's parts; tests that are about several parts say another size."""
    return PART_BYTES


@pytest.fixture
def store(tmp_path: Path, part_bytes: int) -> DiskStore:
    return DiskStore(tmp_path / "store", part_bytes)
