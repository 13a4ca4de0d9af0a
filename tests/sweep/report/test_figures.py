import io

import pandas as pd
import pytest
from PIL import Image

from sweep.report._figures import heatmap_pictures, layer_curve_pictures, write_pictures
from sweep.report._rows import prepared


def test_one_data_set_needs_no_name(study, measures):
    pictures = layer_curve_pictures(prepared(study, measures), measures[:2])
    assert [picture.name for picture in pictures] == ["layer_curves_grip_ratio", "layer_curves_direct_grip_ratio"]
    image = Image.open(io.BytesIO(pictures[0].png))
    assert image.width > pictures[0].width > 300
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50, "something is drawn"


def test_several_data_sets_have_a_picture_each(cell, measures):
    rows = prepared(pd.DataFrame([cell(dataset="a b"), cell(dataset="A/b"), cell(dataset="../c")]), measures)
    names = sorted(picture.name for picture in heatmap_pictures(rows, measures[:1]))
    assert names == [
        "heatmap_grip_ratio_.._c",
        "heatmap_grip_ratio_A_b",
        "heatmap_grip_ratio_a_b_2",
    ]


def test_data_sets_without_an_estimate_are_left_out(cell, measures):
    rows = prepared(pd.DataFrame([cell(dataset="a"), cell(dataset="b", status="failed")]), measures)
    assert [picture.name for picture in layer_curve_pictures(rows, measures[:1])] == ["layer_curves_grip_ratio_a"]


def test_the_same_rows_draw_the_same_bytes(study, measures):
    rows = prepared(study, measures)
    for draw in (layer_curve_pictures, heatmap_pictures):
        assert draw(rows, measures[:1]) == draw(rows, measures[:1])


def test_pictures_of_an_earlier_report_go_and_other_files_stay(study, measures, tmp_path):
    for name in ("heatmap_old.png", "layer_curves_old.png", "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    pictures = heatmap_pictures(prepared(study, measures), measures[:1])
    write_pictures(pictures, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heatmap_grip_ratio.png", "mine.png"]
    assert (tmp_path / "heatmap_grip_ratio.png").read_bytes() == pictures[0].png


def test_a_failed_write_leaves_the_old_file(study, measures, tmp_path, monkeypatch):
    pictures = heatmap_pictures(prepared(study, measures), measures[:1])
    target = tmp_path / "heatmap_grip_ratio.png"
    target.write_bytes(b"old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_pictures(pictures, tmp_path)
    assert target.read_bytes() == b"old"
