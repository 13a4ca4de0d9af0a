"""Array shapes and types of all packages are checked in every test; no test asserts how long something takes."""

import gc
import os

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

gc.set_threshold(100_000)  # modules and fixtures stay
os.environ.setdefault("RAY_OVERRIDE_RESOURCES", '{"CPU": 1}')  # of two processes of tests, each takes a core
install_import_hook(
    ["binding", "frozen", "readouts", "sweep"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray take longest: they go first, so that the other worker has the rest to do meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("starts_ray") is None)
