"""The read-out of docs/extending.md through the real engine: two stages with a product, no probes, other splits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweep.results.columns import VOLATILE_COLUMNS
from tests.sweep.conftest import finish, kill, wait_until
from tests.test_extending import install

pytestmark = pytest.mark.starts_ray


class Lab:
    """A folder with the page's package and study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**install(folder), "COLUMNS": "120"}

    def edit(self, old: str, new: str) -> None:
        """Change the read-out."""
        module = self.folder / "mylab" / "readouts.py"
        text = module.read_text()
        assert old in text
        module.write_text(text.replace(old, new))

    @property
    def results(self) -> Path:
        return self.folder / "results" / "prototypes"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        return finish(self.start("sweep.run", "prototypes.yaml", "--no-dashboard", *arguments))

    def command(self, *arguments: str) -> str:
        code, output = finish(self.start(*arguments))
        assert code == 0, output
        return output

    def rows(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        found = [json.loads(path.read_text()) for path in sorted((self.results / "rows").glob("*.json"))]
        return {(row["backbone"], row["layer"], row["stage"]): row for row in found}

    def table(self) -> pd.DataFrame:
        table = pd.read_parquet(self.results / "results.parquet").drop(columns=list(VOLATILE_COLUMNS))
        return table.sort_values("cell_id").reset_index(drop=True)


SHIPPED = "shipped:shapes_vit_objects"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Run to its end; not to be changed by a test."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    code, output = made.run()
    assert code == 0, output
    return made


def copy(lab: Lab, folder: Path) -> Lab:
    other = Lab(folder)
    shutil.copytree(lab.folder / "results", folder / "results")
    shutil.copytree(lab.folder / "store", folder / "store")
    return other


def test_both_stages_have_rows_that_name_what_was_given_and_used(lab: Lab) -> None:
    rows = lab.rows()
    layers = ("embed", "2", "final")
    backbones = (SHIPPED, f"shuffled:{SHIPPED}")
    assert set(rows) == {(b, layer, stage) for b in backbones for layer in layers for stage in ("means", "classify")}
    for backbone in backbones:
        for layer in layers:
            means, classify = rows[backbone, layer, "means"], rows[backbone, layer, "classify"]
            assert json.loads(classify["used"])["means"] == json.loads(means["gives"])["means"]
            assert classify["hardest"].endswith(" objects")
            low, value, high = (classify[f"accuracy_percent{end}"] for end in ("_low", "", "_high"))
            assert 0 <= low <= value <= high <= 100
    final = {b: rows[b, "final", "classify"]["accuracy_percent"] for b in backbones}
    assert final[SHIPPED] > final[f"shuffled:{SHIPPED}"] + 10


def test_the_other_commands_know_the_read_out_by_its_dimensions(lab: Lab, tmp_path: Path) -> None:
    code, output = lab.run()
    assert code == 0
    assert "12 cells: 12 done, 0 to do" in output
    assert "stages: means classify" in output
    results = str(lab.results)
    assert "equal" in lab.command("sweep.verify", results, "--cells", "2")
    cells = [row["cell_id"] for key, row in lab.rows().items() if key[0] == SHIPPED and key[2] == "classify"]
    compared = lab.command("sweep.compare", results, *cells[:2])
    assert "accuracy_percent" in compared
    shown = lab.command("sweep.show", results, "--cell", cells[0][:12])
    assert "classify" in shown
    assert "accuracy_percent" in shown
    assert "nearest mean (euclidean)" in lab.command("sweep.show", results, "--method")
    assert "prototypes: Share of images" in lab.command("sweep.list", "readouts")
    lab.command("sweep.report", results, "--output", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "Accuracy" in page
    other = copy(lab, tmp_path / "other")
    assert "12 equal" in lab.command("sweep.merge", results, str(other.results))


def test_a_product_that_left_the_store_is_made_again_for_who_needs_it(lab: Lab, tmp_path: Path) -> None:
    other = copy(lab, tmp_path)
    shutil.rmtree(other.folder / "store")
    lost = other.rows()[SHIPPED, "2", "classify"]
    (other.results / "rows" / f"{lost['cell_id']}.json").unlink()
    code, output = other.run()
    assert code == 0, output
    assert output.count("measured again, because means is needed and no longer in the store") == 1
    pd.testing.assert_frame_equal(other.table(), lab.table())


def test_a_product_that_is_another_one_makes_its_dependants_stale(lab: Lab, tmp_path: Path) -> None:
    other = copy(lab, tmp_path)
    other.edit("z[classes == k].mean(0).tolist()", "z[classes == k].mean(0).round(2).tolist()")
    means = other.rows()[SHIPPED, "final", "means"]
    (other.results / "rows" / f"{means['cell_id']}.json").unlink()
    code, output = other.run()
    assert code == 0, output
    assert output.count("measured again, because means of cell") == 1
    rows = other.rows()
    given, used = rows[SHIPPED, "final", "means"]["gives"], rows[SHIPPED, "final", "classify"]["used"]
    assert given == used != lab.rows()[SHIPPED, "final", "means"]["gives"]
    assert "0 to do" in other.run()[1]


def test_a_killed_run_goes_on_and_ends_with_equal_rows(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path)
    running = other.start("sweep.run", "prototypes.yaml", "--no-dashboard")
    wait_until(lambda: list((other.results / "rows").glob("*.json")))
    kill(running)
    code, output = other.run()
    assert code == 0, output
    pd.testing.assert_frame_equal(other.table(), lab.table())


def test_a_limit_on_cells_takes_givers_with_those_they_give_to(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    code, output = lab.run("--max-cells", "3", "--limit", "100")
    assert code == 0, output
    stages = [key[2] for key in lab.rows()]
    assert len(stages) <= 3
    assert stages.count("means") >= stages.count("classify")


def test_a_failure_travels_to_who_needs_the_product_and_names_the_culprit(tmp_path: Path) -> None:
    """One that is raised, and a row that cannot be written."""
    broken = """        if cell.column("layer") == "2":
            row = {**dict.fromkeys(self.columns), "accuracy": float("nan")}
            return Outcome(row=row, products={"means": b""})
        if cell.column("layer") == "final":
            raise ValueError("no means today")
        means = {int(k)"""
    lab = Lab(tmp_path)
    lab.edit("        means = {int(k)", broken)
    code, output = lab.run("--limit", "100")
    assert code == 1, output
    rows: Mapping[Any, Any] = lab.rows()
    failed = {key for key, row in rows.items() if row["status"] == "failed"}
    assert failed == {key for key in rows if key[1] != "embed"}
    for layer, message in (
        ("2", "the read-out gave no finite number for accuracy"),
        ("final", "no means today"),
    ):
        assert message in rows[SHIPPED, layer, "means"]["error"]
        error = rows[SHIPPED, layer, "classify"]["error"]
        assert error.startswith(f"it needs means of cell gratings · {SHIPPED} · {layer} · means")
        assert "which failed" in error
