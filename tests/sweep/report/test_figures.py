import io

import pandas as pd
import pytest
from PIL import Image

from sweep.report._figures import heatmap_pictures, layer_curve_pictures
from sweep.report._rows import prepared


def test_one_data_set_needs_no_name(study, measures):
    pictures = layer_curve_pictures(prepared(study, measures), measures[:2])
    assert [picture.name for picture in pictures] == ["layer_curves_grip_ratio", "layer_curves_direct_grip_ratio"]
    image = Image.open(io.BytesIO(pictures[0].drawn("png")))
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


@pytest.mark.parametrize(("ending", "beginning"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_same_rows_draw_the_same_file(study, measures, ending, beginning):
    rows = prepared(study, measures)
    first, again = (heatmap_pictures(rows, measures[:1])[0].drawn(ending) for _ in range(2))
    assert first.startswith(beginning)
    assert first == again
