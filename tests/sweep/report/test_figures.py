import io

import pytest
from PIL import Image

from sweep.report._figures import curve_pictures, heatmap_pictures


def test_one_data_set_needs_no_name(study, read, layout, measures):
    pictures = curve_pictures(read(study), measures[:2], layout)
    assert [picture.name for picture in pictures] == ["layer_curves_grip_ratio", "layer_curves_direct_grip_ratio"]
    image = Image.open(io.BytesIO(pictures[0].drawn("png")))
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50, "something is drawn"


def test_several_data_sets_have_a_picture_each(cell, read, layout, measures):
    rows = read([cell(dataset="a b"), cell(dataset="A/b"), cell(dataset="../c")])
    names = sorted(picture.name for picture in heatmap_pictures(rows, measures[:1], layout))
    assert names == [
        "heatmap_grip_ratio_.._c",
        "heatmap_grip_ratio_A_b",
        "heatmap_grip_ratio_a_b_2",
    ]


def test_data_sets_without_an_estimate_are_left_out(cell, read, layout, measures):
    rows = read([cell(dataset="a"), cell(dataset="b", status="failed")])
    assert [picture.name for picture in curve_pictures(rows, measures[:1], layout)] == ["layer_curves_grip_ratio_a"]


def test_panels_without_the_measure_are_left_out(cell, read, layout, measures):
    rows = read(
        [cell(0.5, mode="cls"), cell(float("nan"), mode="mean_spatial"), cell(0.4, mode="all", status="failed")]
    )
    [with_failed] = curve_pictures(rows, measures[:1], layout)
    assert len(with_failed.figure.axes) == 2
    [alone] = curve_pictures([row for row in rows if not row.failed], measures[:1], layout)
    assert len(alone.figure.axes) == 1


@pytest.mark.parametrize(("ending", "beginning"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_same_rows_draw_the_same_file(study, read, layout, measures, ending, beginning):
    rows = read(study)
    first, again = (heatmap_pictures(rows, measures[:1], layout)[0].drawn(ending) for _ in range(2))
    assert first.startswith(beginning)
    assert first == again
