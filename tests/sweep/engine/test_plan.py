"""The plan: what is left to do, and what the summary says it needs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from frozen.data.scenes import ColorShape, Missing
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from sweep.engine.grid import Grid, make_grid
from sweep.engine.plan import Plan, human_bytes, make_plan, print_plan, space_warning
from sweep.results.directory import Row
from sweep.study.load import load_study, locate_in

STUDY = """\
name: small
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 600, validation: 200, test: 300}}
backbones: [shipped:shapes_vit_objects, shipped:shapes_vit_features]
layers: [embed, final]
modes: [cls]
controls: [oracle_objects]
probes: [linear, quadratic]
"""
SAMPLES, WIDTH, TOKENS, OBJECTS = 600 + 200 + 300, 128, 64, 4

GridOf = Callable[..., Grid]


@pytest.fixture
def grid_of(tmp_path: Path) -> GridOf:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("[linear, quadratic]", "[{family: linear}, {family: quadratic}]"), encoding="utf-8")

    def grid(*overrides: str) -> Grid:
        return make_grid(load_study(path, overrides), find_readout("binding"), locate_in(path, overrides))

    return grid


def rows_of(cells: tuple[Cell, ...], status: str) -> dict[str, Row]:
    return {cell.cell_id: {"cell_id": cell.cell_id, "status": status} for cell in cells}


def printed(plan: Plan, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_plan(plan, {"binding": find_readout("binding")}, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_cells_are_sorted_by_their_rows(grid_of: GridOf) -> None:
    grid = grid_of()
    done, failed, missing = grid.cells[:3], grid.cells[3:5], grid.cells[5:]
    rows = rows_of(done, "done") | rows_of(failed, "failed") | {"foreign": {"status": "done"}}
    plan = make_plan(grid, rows, None)
    assert (plan.done, plan.failed, plan.missing) == (done, failed, missing)
    assert (plan.held_back, plan.foreign) == ((), 1)
    assert plan.to_do == (*missing, *failed)


def test_everything_is_missing_at_first_and_nothing_at_last(grid_of: GridOf) -> None:
    grid = grid_of()
    assert make_plan(grid, {}, None).to_do == grid.cells
    finished = make_plan(grid, rows_of(grid.cells, "done"), None)
    assert (finished.to_do, finished.foreign) == ((), 0)


@pytest.mark.parametrize("most", [0, 1, 5, 6, 7, 99])
def test_a_limit_holds_cells_back_and_takes_failed_ones_last(grid_of: GridOf, most: int) -> None:
    grid = grid_of()
    failed, done = grid.cells[:2], grid.cells[2:4]
    plan = make_plan(grid, rows_of(failed, "failed") | rows_of(done, "done"), most)
    queue = (*grid.cells[4:], *failed)
    assert len(plan.to_do) == min(most, len(queue))
    assert {*plan.to_do, *plan.held_back} == set(queue)
    assert not set(plan.to_do) & set(failed) or most > len(grid.cells[4:])


def test_rows_of_other_settings_are_foreign(grid_of: GridOf) -> None:
    old = rows_of(grid_of("seed=1").cells, "done")
    plan = make_plan(grid_of(), old, None)
    assert plan.done == ()
    assert plan.foreign == len(old) == 10
    assert "10 rows of other settings are kept, but not part of this study" in printed(plan)


def summary(plan: Plan) -> list[str]:
    text = printed(plan)
    lines = text.strip().splitlines()
    after_probes = next(i for i, line in enumerate(lines) if line.startswith("modes:")) + 1
    told = ("left out", "FLOP", "steps a training")
    return [line for line in lines[after_probes:] if not any(words in line for words in told)]


def test_the_summary_counts_images_and_bytes(grid_of: GridOf) -> None:
    size = SAMPLES * 2 * (2 * 2 * WIDTH + OBJECTS)
    assert human_bytes(size) == "1.14 MB"
    assert summary(make_plan(grid_of(), {}, None)) == [
        "10 cells: 0 done, 10 to do",
        "at most 2,200 images to extract and 1.14 MB of activations to store",
    ]


def test_what_a_backbone_costs_is_in_sight(grid_of: GridOf) -> None:
    """DINOv2 at timm's own 518 px is the expensive one."""
    large = "timm:vit_large_patch14_dinov2.lvd142m"
    overrides = [f"backbones=[{large}, {{source: '{large}', image_size: 224}}]", "modes=[all]", "layers=[final]"]
    plan = make_plan(grid_of(*overrides, "probes=[{family: attention}]"), {}, None)
    costs = [line for line in printed(plan).splitlines() if line.startswith(large)]
    stored = [human_bytes(2 * SAMPLES * tokens * 1024) for tokens in (1370, 257)]
    assert costs == [
        f"{large}: 1,370 tokens at 518 px, 1.02 TFLOP an image; 1,100 images: 1.12 PFLOP, {stored[0]} to store",
        f"{large}: 257 tokens at 224 px, 162 GFLOP an image; 1,100 images: 179 TFLOP, {stored[1]} to store",
    ]
    assert "FLOP" not in printed(make_plan(grid_of("backbones=[]"), {}, None))


@pytest.mark.parametrize(
    ("overrides", "images", "values"),
    [
        (["store.dtype=float32"], 2200, 2 * (4 * WIDTH + OBJECTS)),
        (["modes=[cls, mean_spatial, cls_mean]"], 2200, 4 * (WIDTH + WIDTH + 2 * WIDTH) + OBJECTS),
        (["modes=[all]", "probes=[{family: attention}]"], 2200, 4 * (1 + TOKENS) * WIDTH),
        (["backbones=[]"], 0, OBJECTS),
        (["datasets[0].split.train=1600"], 4200, (4 * WIDTH + OBJECTS) * 2100 / 1100),
    ],
)
def test_needs_follow_the_study(grid_of: GridOf, overrides: list[str], images: int, values: float) -> None:
    line = summary(make_plan(grid_of(*overrides), {}, None))[1]
    size = human_bytes(SAMPLES * 2 * values)
    assert line == f"at most {images:,} images to extract and {size} of activations to store"


def test_only_what_is_left_is_counted(grid_of: GridOf) -> None:
    grid = grid_of()
    rows = rows_of(grid.cells[:6], "done") | rows_of(grid.cells[6:7], "failed")
    a_control = human_bytes(SAMPLES * 2 * OBJECTS)
    assert summary(make_plan(grid, rows, 2)) == [
        "10 cells: 6 done, 2 to do, 2 held back",
        f"at most 0 images to extract and {a_control} of activations to store",
    ]
    two_layers_and_a_control = human_bytes(SAMPLES * 2 * (2 * WIDTH + OBJECTS))
    assert summary(make_plan(grid, rows, None)) == [
        "10 cells: 6 done, 4 to do (1 of them failed before)",
        f"at most 1,100 images to extract and {two_layers_and_a_control} of activations to store",
    ]
    assert summary(make_plan(grid, rows_of(grid.cells, "done"), None)) == [
        "10 cells: 10 done, 0 to do",
        "at most 0 images to extract and 0 B of activations to store",
    ]


def test_the_table_has_a_line_for_each_pair(grid_of: GridOf) -> None:
    grid = grid_of()
    text = printed(make_plan(grid, rows_of(grid.cells[:1], "done"), None), width=200)
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip().startswith("shapes ")]
    assert lines == [
        ["shapes", "shipped:shapes_vit_objects", "embed final", "4", "3"],
        ["shapes", "shipped:shapes_vit_features", "embed final", "4", "4"],
        ["shapes", "control:oracle_objects", "code", "2", "2"],
    ]
    assert "modes: cls; probes: linear quadratic_concat" in text.splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_lost_in_a_narrow_terminal(grid_of: GridOf, width: int) -> None:
    plan = make_plan(grid_of("layers=all", "datasets[0].n_colors={grid: [2, 3]}"), {}, None)
    text = printed(plan, width)
    table = text[: text.index("modes:")]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    assert "".join(table.split()).count("n_colors=3") == 3 or width < 80


def test_a_split_in_which_features_tell_objects_is_warned_of(grid_of: GridOf) -> None:
    small = [f"datasets[0].{name}={value}" for name, value in (("n_colors", 2), ("n_shapes", 2), ("max_objects", 1))]
    text = printed(make_plan(grid_of(*small), {}, None), 1000)
    assert "H(O|F) of the split test is 0 bits: features tell objects" in text
    assert "warning" not in printed(make_plan(grid_of(), {}, None), 1000)


def test_trainings_of_few_steps_are_warned_of(grid_of: GridOf) -> None:
    n_train = grid_of().cells[0].dataset.config.size("train")
    text = printed(make_plan(grid_of("fit={epochs: 3, batch_size: 512}"), {}, None), 1000)
    assert (
        f"{n_train:,} training samples, 3 epochs, batches of 512: {3 * -(-n_train // 512)} steps a training" in text
    )


def test_a_plan_tells_how_long_a_training_is(grid_of: GridOf) -> None:
    grid = grid_of("datasets[0].split.train=1000", "fit={}")
    line = "shapes: 1,000 training samples, 40 epochs, batches of 32: 1,280 steps a training"
    assert line in printed(make_plan(grid, {}, None), 1000).splitlines()
    many = grid_of("datasets[0].split.train=1000", "datasets[0].n_colors={grid: [2, 3]}", "fit={}")
    assert line.replace("shapes", "2 data sets") in printed(make_plan(many, {}, None), 1000).splitlines()


@pytest.mark.parametrize(("seed", "warned"), [(1, True), (2, True), (3, False)])
def test_data_sets_that_share_scenes_are_warned_of(grid_of: GridOf, seed: int, warned: bool) -> None:
    text = printed(make_plan(grid_of(f"datasets[0].seed={{grid: [0, {seed}]}}"), {}, None), 1000)
    assert (f"their seeds 0 and {seed} share scenes" in text) == warned


def test_what_is_left_out_is_said(grid_of: GridOf) -> None:
    plan = make_plan(grid_of("modes=[cls, all]", "datasets[0].n_colors={grid: [2]}"), {}, None)
    reason = "quadratic_concat reads one vector, mode all gives all tokens"
    line = f"left out: shapes[n_colors=2] · all · quadratic_concat: {reason}"
    assert line in printed(plan).splitlines()


def test_what_is_not_there_is_said_with_its_remedy(grid_of: GridOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ColorShape, "missing", lambda _: Missing("no [folder]", "make it"))
    monkeypatch.setattr(ColorShape, "size", lambda _, name: None if name == "test" else 10)
    grid = grid_of("datasets[0].seed=77")  # sizes that other tests asked for are remembered
    text = printed(make_plan(grid, {}, None)).splitlines()
    assert "missing: shapes: no [folder]; make it" in text
    assert "at most 40 images to extract" in "".join(text)
    assert "not counting data sets whose size only their data tells: shapes" in text
    assert "missing:" not in printed(make_plan(grid, rows_of(grid.cells, "done"), None))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_536_000, "1.54 MB"),
        (26_000_000_000, "26 GB"),
        (137e12, "137 TB"),
    ],
)
def test_bytes_read_well(size: float, text: str) -> None:
    assert human_bytes(size) == text


def test_a_store_larger_than_its_disk_is_warned_of(grid_of: GridOf, tmp_path: Path) -> None:
    store = tmp_path / "not" / "there" / "yet"
    assert space_warning(grid_of().cells, store) is None
    huge = grid_of("datasets[0].split.train=900000000000000").cells
    found = space_warning(huge, store)
    assert found is not None
    assert f"the disk of {tmp_path} has" in found
    assert "TB, the disk of" in found
