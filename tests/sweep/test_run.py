"""The command as a user runs it: on real Ray, in processes of its own."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from frozen.models._torchvision_ops import declare_missing_operators
from sweep.results.columns import VOLATILE_COLUMNS
from sweep.study.load import load_study
from tests.sweep.conftest import SMALL, STUDY, Project, kill, wait_until
from tests.sweep.faults import stuck_cell

declare_missing_operators()
import timm  # noqa: E402

pytestmark = pytest.mark.starts_ray


def test_a_study_ends_with_rows_table_and_report(finished: tuple[Project, int, str]) -> None:
    project, code, output = finished
    assert code == 0, output
    frame = project.table()
    assert len(frame) == 6
    assert set(frame.status) == {"done"}
    assert set(zip(frame.backbone, frame.layer, frame["mode"], frame.probe, strict=True)) == {
        ("shipped:shapes_vit_objects", "1", "cls", "linear"),
        ("shipped:shapes_vit_objects", "final", "cls", "linear"),
        ("shipped:shapes_vit_objects", "1", "all", "attention_quadratic"),
        ("shipped:shapes_vit_objects", "final", "all", "attention_quadratic"),
        ("oracle_objects", "code", "cls", "linear"),
        ("noise", "code", "cls", "linear"),
    }
    oracle = frame[frame.backbone == "oracle_objects"].iloc[0]
    noise = frame[frame.backbone == "noise"].iloc[0]
    assert oracle.direct_binding_ratio > 0.8
    assert abs(noise.direct_binding_information_bits) < 0.05
    assert oracle.direct_binding_ratio_low <= oracle.direct_binding_ratio <= oracle.direct_binding_ratio_high
    attention = frame[frame.probe == "attention_quadratic"].iloc[0]
    assert (attention.z_dim, attention.n_tokens) == (128, 65)
    assert pd.read_csv(project.results / "results.csv").shape == (6, len(frame.columns) + len(VOLATILE_COLUMNS))
    assert (project.results / "report.html").stat().st_size > 10_000
    assert "6 cells: 0 done, 6 to do" in output
    assert "report.html" in output
    assert "STUDY.yaml" not in output  # who has a study of their own need not be told to write one
    assert "Trial run_job" not in output
    assert "left out: shapes · cls · attention_quadratic: attention_quadratic reads all tokens" in output
    assert not (project.results / "tune").exists()
    assert len(list((project.results / "tensorboard").rglob("events*"))) == 6
    assert (project.results / "optuna.journal").read_text().count("attention_quadratic (") >= 2 * 3


def test_the_same_command_again_does_nothing_and_says_so(finished: tuple[Project, int, str], tmp_path: Path) -> None:
    project = Project(tmp_path / "again")
    shutil.copytree(finished[0].folder, project.folder)
    kept = [*project.rows, project.results / "report.html", project.results / "results.csv"]
    before = {path: path.stat().st_mtime_ns for path in kept}
    code, output = project.run()
    assert code == 0
    assert "6 cells: 6 done, 0 to do" in output
    assert "images at" not in output
    assert "dashboard" not in output
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_a_larger_study_measures_only_what_is_new_from_stored_activations(
    finished: tuple[Project, int, str], tmp_path: Path
) -> None:
    project = Project(tmp_path / "larger")
    shutil.copytree(finished[0].folder, project.folder)
    project.write(
        STUDY.replace("  - family: linear\n", "  - family: linear\n  - {family: quadratic_concat, rank: 2}\n")
    )
    before = {path.name: path.read_text() for path in project.rows}
    code, output = project.run("--set", "controls=[oracle_objects]")
    assert code == 0, output
    assert "8 cells: 5 done, 3 to do" in output
    assert "images at" not in output
    assert "1 rows of other settings are kept" in output
    after = {path.name: path.read_text() for path in project.rows}
    assert {name: after[name] for name in before} == before
    assert len(project.table()) == 8


def test_a_run_that_is_killed_twice_goes_on_and_ends_with_equal_rows(
    finished: tuple[Project, int, str], project: Project
) -> None:
    first = project.start(*SMALL)
    wait_until(lambda: any((project.folder / "store").glob("*/*.staging/part-*.arrow")))
    first.send_signal(signal.SIGSTOP)  # it holds its lock, and cannot end meanwhile
    code, output = project.run(*SMALL)
    assert code == 2
    assert f"in use by process {first.pid}" in output
    kill(first)
    assert not project.rows

    second = project.start(*SMALL, environment=stuck_cell(project.folder))
    wait_until(lambda: len(project.rows) == 2)
    kill(second)
    kept = {path: path.stat().st_mtime_ns for path in project.rows}

    code, output = project.run(*SMALL)
    assert code == 0, output
    assert "3 cells: 2 done, 1 to do" in output
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    pd.testing.assert_frame_equal(project.table(), finished[0].small_table())


def test_cells_that_fail_become_rows_and_the_rest_completes(project: Project) -> None:
    """A probe that diverges, and a backbone whose activations cannot be stored."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.nn.init.constant_(model.norm.weight, float("inf"))
    save_file(model.state_dict(), project.folder / "loud.safetensors")
    loud = "  - {source: 'timm:vit_tiny_patch16_224', weights: loud.safetensors, image_size: 64}\n"
    wild = "  - {family: quadratic_concat, rank: 2, learning_rate: 1.0e+30}\n"
    project.write(STUDY.replace("layers:", f"{loud}layers:").replace("probes:\n", f"probes:\n{wild}"))
    arguments = (*SMALL, "--set", "controls=[]")
    code, output = project.run(*arguments)
    assert code == 1, output
    frame = project.table().set_index(["backbone", "probe"])
    failed = frame[frame.status == "failed"].error
    shipped, timm_vit = "shipped:shapes_vit_objects", "timm:vit_tiny_patch16_224"
    assert set(frame.index) - set(failed.index) == {(shipped, "linear")}
    assert set(failed.index) == {
        (shipped, "quadratic_concat"),
        (timm_vit, "linear"),
        (timm_vit, "quadratic_concat"),
    }
    assert "all 1 suggestions of quadratic_concat diverged" in failed[shipped, "quadratic_concat"]
    assert pd.isna(frame.binding_ratio[shipped, "quadratic_concat"])
    for probe in ("linear", "quadratic_concat"):
        assert "activations of layer final" in failed[timm_vit, probe]
        assert "are not finite (NaN, infinite, or beyond float32); look at its weights" in failed[timm_vit, probe]
    assert "3 cells failed" in output
    _, output = project.run(*arguments, "--plan")
    assert "4 cells: 1 done, 3 to do (3 of them failed before)" in output


def test_a_stale_row_and_damaged_activations_are_named_and_made_again(
    finished: tuple[Project, int, str], tmp_path: Path
) -> None:
    project = Project(tmp_path / "damaged")
    shutil.copytree(finished[0].folder, project.folder)
    rows = {path: json.loads(path.read_text()) for path in project.rows}
    [stale] = [path for path, row in rows.items() if row["backbone"] == "noise"]
    stale.write_text(json.dumps(rows[stale] | {"data_fingerprint": "of other data", "binding_ratio": 7.0}))
    for path in (path for path, row in rows.items() if row["mode"] == "all"):
        path.unlink()
    [part, *_] = sorted((project.folder / "store").glob("*/*/part-*.arrow"), key=lambda p: -p.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    code, output = project.run()
    assert code == 0, output
    assert "6 cells: 4 done, 2 to do" in output
    assert "measured again, because data or weights have changed: shapes" in output
    assert f"{part} was altered after it was written" in output
    pd.testing.assert_frame_equal(project.table(), finished[0].table())


def test_limits_on_samples_and_cells(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal says so, on the terminal and in the report; what this machine lacks is left missing if asked."""
    monkeypatch.delenv("CLEVR_DATA_DIR", raising=False)
    project.write(STUDY.replace("backbones:", "  - {name: photos, scene: clevr, image_size: 64}\nbackbones:"))
    limits = ("--limit", "100", "--set", "controls=[noise]", "--set", "modes=[cls]")
    code, output = project.run(*limits)
    assert code == 2
    assert "CLEVR_DATA_DIR" in output
    assert "with --available, what can be had is measured" in output
    code, output = project.run(*limits, "--max-cells", "1", "--available")
    assert code == 0, output
    assert "6 cells: 0 done, 1 to do, 2 held back, 3 left missing" in output
    assert "3 cells are missing, because what they need cannot be had here" in output
    assert "missing, for 3 cells: the environment variable CLEVR_DATA_DIR is not set" in output
    assert "small: 1/6 cells, 5 left for later" in output
    mark = "Rehearsal: at most 100 samples of each split (--limit 100); its numbers are no results."
    assert mark in output
    assert mark in (project.results / "report.html").read_text()
    assert load_study(project.results / "study.yaml").name == "small"
    frame = project.table()
    assert len(frame) == 1
    assert (frame.n_train[0], frame.n_validation[0], frame.n_test[0]) == (100, 100, 100)
    samples = pq.read_table(project.results / "samples" / f"{frame.cell_id[0]}.parquet")
    assert samples.num_rows == 4 * 2 * 100 + 100  # losses of each target and seed, and the samples' own entropies


def test_no_cluster_at_the_address_is_one_message(project: Project) -> None:
    with socket.socket() as taken:  # bound, never listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output = project.run("--address", address)
    assert code == 2, output
    assert f"no Ray cluster could be joined at --address {address}" in output
    assert "Traceback" not in output
    assert not project.results.exists()


@pytest.mark.parametrize(
    "arguments", [["--limit", "0"], ["--max-cells", "x"], ["--gpus-per-cell", "2"], ["--gpus", "4"]]
)
def test_arguments_out_of_range_are_refused(arguments: list[str], project: Project) -> None:
    code, output = project.run(*arguments)
    assert code == 2
    assert "must" in output
    assert not project.results.exists()
