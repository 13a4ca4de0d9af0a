"""The first command of the README, and what its numbers must show."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.starts_ray
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Rows of the quickstart study; `make quickstart` has made them, or they are made here."""
    command = [sys.executable, "-m", "sweep.run", "search_spaces/quickstart.yaml", "--no-dashboard"]
    with Path(tempfile.gettempdir(), f"quickstart-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes that run tests, the first makes them for all
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return pd.read_parquet(ROOT / "results" / "quickstart" / "results.parquet")


def test_the_whole_grid_is_measured(rows: pd.DataFrame) -> None:
    assert len(rows) == 2 * 3 * 2 * 2 + 3 * 2
    assert (rows.status == "done").all()


def test_object_codes_bind_wholly(rows: pd.DataFrame) -> None:
    oracle = rows[rows.backbone == "oracle_objects"]
    assert (oracle.binding_ratio >= 0.98).all()
    assert (oracle.direct_binding_ratio >= 0.98).all()


@pytest.mark.parametrize("control", ["oracle_features", "noise"])
def test_controls_without_binding_measure_none_directly_and_flag_the_difference_form(
    rows: pd.DataFrame, control: str
) -> None:
    for _, row in rows[rows.backbone == control].iterrows():
        assert abs(row.direct_binding_information_bits) <= 0.1
        assert abs(row.binding_information_bits) <= 0.1 or {
            "objects_probe_excess",
            "features_probe_excess",
            "direct_probe_excess",
            "excess_unexplained",
        } & set(row["flags"])


def test_noise_has_no_information_about_objects(rows: pd.DataFrame) -> None:
    assert (rows[rows.backbone == "noise"].object_information_ratio <= 0.02).all()


@pytest.mark.parametrize("measure", ["binding_ratio", "direct_binding_ratio"])
@pytest.mark.parametrize("probe", ["linear", "quadratic_concat"])
def test_the_last_layer_tells_the_two_shipped_models_apart(rows: pd.DataFrame, measure: str, probe: str) -> None:
    last = rows[(rows.layer == "final") & (rows["mode"] == "cls") & (rows.probe == probe)].set_index("backbone")
    objects, features = (last.loc[f"shipped:shapes_vit_{name}"] for name in ("objects", "features"))
    assert objects[f"{measure}_low"] > 0.9
    assert features[f"{measure}_high"] < 0.6


def test_every_estimate_lies_in_its_interval(rows: pd.DataFrame) -> None:
    for column in [name.removesuffix("_low") for name in rows.columns if name.endswith("_low")]:
        known = rows[rows[column].notna()]  # extras that the study does not ask for are empty
        assert (known[f"{column}_low"] <= known[column]).all(), column
        assert (known[column] <= known[f"{column}_high"]).all(), column
        assert len(known) == len(rows) or known.empty, column
