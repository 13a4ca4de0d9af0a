"""A study of several read-outs through the real engine: one run, a folder of results for each, a joint report."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

from sweep.compare import main as compare
from sweep.merge import main as merge
from sweep.report.__main__ import main as report
from sweep.results.columns import VOLATILE_COLUMNS
from sweep.show import main as show
from sweep.verify import main as verify
from tests.sweep.conftest import Project, finish, kill, wait_until

pytestmark = pytest.mark.starts_ray
ROOT = Path(__file__).parents[2]
SMALL = """
name: small
datasets:
  - {name: twins, scene: twinshapes, split: {train: 64, validation: 32, test: 32}}
backbones: [shipped:shapes_clip_features]
intervals: {resamples: 100}
readouts:
  binding:
    layers: [5, final]
    modes: [cls]
    probes: [{family: linear}]
    fit: {epochs: 1, batch_size: 32}
    search: {suggestions: 1, ask: 1}
    seeds: 1
    through: [joint]
  text_decomposition:
    analyses: [forced_choice]
"""


def rows_in(results: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in results.glob("*/rows/*.json")}


def table(results: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(results / name / "results.parquet")


def test_one_run_measures_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project(tmp_path)
    project.write(SMALL)
    code, said = project.run()
    assert code == 0, said
    binding, words = (table(project.results, name) for name in ("binding", "text_decomposition"))
    assert (len(binding), set(binding.readout), set(binding.status)) == (3, {"binding"}, {"done"})
    [through] = binding.dropna(subset="through").to_dict("records")
    assert through["mode"] == "cls > joint"
    [before] = binding[(binding.layer == "final") & binding.through.isna()].to_dict("records")
    lost = before["direct_binding_information_bits"] - through["direct_binding_information_bits"]
    assert through["lost_bits"] == pytest.approx(lost)
    assert (set(words.readout), set(words.status)) == ({"text_decomposition"}, {"done"})
    assert set(words.alone_percent.dropna()) == {50.0}  # its captions name no binding
    lines = list(csv.DictReader((project.results / "joint.csv").open()))
    assert {line["curve"] for line in lines} == {"binding", "words"}
    bounds = list(csv.DictReader((project.results / "joint_bounds.csv").open()))
    assert {(line["layer"], line["other"], line["n_images"]) for line in bounds} == {
        ("final", "caption bits of the embedding", "32")
    }
    assert {line["one"] for line in bounds} == {"B*_direct", "B*_direct in the joint space"}
    for line in bounds:
        apart = float(line["one_bits"]) - float(line["other_bits"])
        assert float(line["difference"]) == pytest.approx(apart, abs=1e-6)
        assert float(line["low"]) <= apart <= float(line["high"])
    before = rows_in(project.results)
    assert len(before) == len(binding) + len(words)

    code, said = project.run()
    assert (code, rows_in(project.results)) == (0, before), said
    assert f"{len(before)} cells: {len(before)} done, 0 to do" in said

    (project.results / "report.html").unlink()
    assert report([str(project.results)]) == 0
    assert "By depth" in (project.results / "report.html").read_text()
    assert show([str(project.results)]) == 0
    assert show([str(project.results), "--cell", next(iter(before))]) == 0
    assert "text_decomposition" in capsys.readouterr().out
    assert verify([str(project.results), "--cells", "1", "--store", str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out.count("from scratch") == 4  # a line of the verdicts, and the cell, of both
    assert compare([str(project.results), "--all"]) == 2
    assert f"did you mean {project.results}/binding" in capsys.readouterr().err
    assert merge([str(project.results), str(tmp_path)]) == 2
    assert f"join them one by one: {project.results}/binding" in capsys.readouterr().err


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(SMALL)
    code, said = project.run("--plan", "--max-cells", "4")
    assert code == 0, said
    assert "4 to do" in said
    assert not project.results.exists()


@pytest.mark.slow
def test_the_tour_is_killed_once_and_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path)
    shutil.copy(ROOT / "search_spaces" / "tour.yaml", tmp_path / "study.yaml")
    results = tmp_path / "results" / "tour"
    with (tmp_path / "first.log").open("w") as log:
        process = project.start(output=log)
        wait_until(lambda: process.poll() is not None or len(rows_in(results)) >= 40, timeout_s=3600)
        kill(process)
    before = rows_in(results)
    code, said = finish(project.start(), timeout_s=3600)
    assert code == 0, said
    after = rows_in(results)
    assert {name: after[name] for name in before} == before
    tables = {path.parent.name: pd.read_parquet(path) for path in results.glob("*/results.parquet")}
    assert set(tables) == {"binding", "class_embedding", "text_decomposition", "concepts", "captions"}
    assert all((one.status == "done").all() for one in tables.values())
    _says_what_is_known(results)

    shutil.rmtree(results)
    code, said = finish(project.start(), timeout_s=3600)  # the store still holds all activations
    assert code == 0, said
    for name, one in tables.items():
        again = pd.read_parquet(results / name / "results.parquet")
        volatile = [column for column in (*VOLATILE_COLUMNS, "training_seconds") if column in one]
        pd.testing.assert_frame_equal(again.drop(columns=volatile), one.drop(columns=volatile))


def _says_what_is_known(results: Path) -> None:
    """The models' own known answers, as the joint table has them."""
    lines = pd.read_csv(results / "joint.csv")

    def curve(name: str, backbone: str) -> pd.DataFrame:
        own = (lines.curve == name) & (lines.backbone == f"shipped:shapes_{backbone}") & lines.control.isna()
        return lines[own]

    assert (curve("words", "clip_features").value == 50).all()
    assert curve("words", "clip_objects").share.max() > 0.3
    assert curve("captions", "coca").share.iloc[-1] > 0.95
    assert curve("class, CLS token", "vit_class").share.iloc[-1] > 0.95
    assert curve("concepts", "clip_features").share.max() < curve("concepts", "clip_objects").share.max()
    first = curve("binding", "clip_objects")
    assert first.share.iloc[0] < 0.05
    assert first.share.iloc[-1] > 0.9
