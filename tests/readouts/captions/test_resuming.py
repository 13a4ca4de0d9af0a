"""A study that was killed goes on, and gives what it would have given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from frozen.readout.cells import Cell
from readouts.captions.readout import CaptionsReadout
from sweep.study.load import load_study

ROOT = Path(__file__).parents[3]
STUDY = """\
name: killed
readout: captions
datasets:
  - {name: twins, scene: twinshapes, split: {train: 24, validation: 2, test: 64}}
backbones: ["shipped:shapes_coca"]
layers: [embed, 5]
translators: [none, affine]
candidates: 3
decode: {sampling_seed: 4, temperature: 0.8}
controls: [blank]
intervals: {resamples: 100}
"""
MEASURED = ("wall_s", "started", "finished", "host", "worker", "peak")
"""Parts of the names of columns that say how the measuring went."""


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    places = ["--results", str(folder / name), "--store", str(folder / f"{name}_store")]
    command = [sys.executable, "-m", "sweep.run", "study.yaml", *places]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )


def finish(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.wait() == 0, (folder / "output.txt").read_text()


def rows(folder: Path, name: str) -> pd.DataFrame:
    frame = pd.read_parquet(folder / name / "killed" / "results.parquet").sort_values("cell_id", ignore_index=True)
    return frame[[column for column in frame if not any(part in str(column) for part in MEASURED)]]


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_killed_study_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    finish(start(tmp_path, "whole"), tmp_path)
    process = start(tmp_path, "halves")
    folder = tmp_path / "halves" / "killed" / "rows"
    while not list(folder.glob("*.json")) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    n_rows = len(list(folder.glob("*.json")))
    assert n_rows > 0
    finish(start(tmp_path, "halves"), tmp_path)
    whole, halves = rows(tmp_path, "whole"), rows(tmp_path, "halves")
    assert (whole.status == "done").all()
    assert n_rows < len(whole)
    pd.testing.assert_frame_equal(whole, halves)
    captions = [
        pd.concat(
            pd.read_parquet(tmp_path / name / "killed" / "samples" / f"{cell}.parquet") for cell in whole.cell_id
        )
        for name in ("whole", "halves")
    ]
    assert captions[0].caption.equals(captions[1].caption)


def test_another_decode_setting_is_another_cell(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    found = []
    for overrides in ((), ("decode.sampling_seed=5",), ("decode.prefix=two",), ("decode.max_words=6",)):
        study = load_study(tmp_path / "study.yaml", overrides)
        found.append({cell.cell_id for cell in CaptionsReadout().cells(study) if isinstance(cell, Cell)})
    assert len(set.union(*found)) == sum(map(len, found)) == 4 * len(found[0])
