import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from sweep.report._curves import _spread, depth_curves, line_styles


@pytest.fixture
def drawn(read, measures, layout):
    def draw(table, number=0, layout=layout):
        rows = read(table, layout)
        return depth_curves(rows, measures[number], line_styles(rows), layout, "squares")

    return draw


def panel(figure, line, column, columns=2):
    return figure.axes[line * columns + column]


def curve(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def test_a_column_a_backbone_and_a_row_a_mode(study, drawn):
    figure = drawn(study)
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == ["large", "small"]
    assert panel(figure, 0, 0).get_ylabel() == "cls\nγ* (ratio)"
    assert panel(figure, 1, 0).get_ylabel() == "mean\nγ* (ratio)"
    assert figure.get_suptitle() == "Grip ratio · squares"


def test_lines_hold_the_estimates(study, drawn):
    line = curve(panel(drawn(study), 1, 0), "quadratic")
    np.testing.assert_allclose(line.get_xdata(), [-1, 0, 3])
    np.testing.assert_allclose(line.get_ydata(), [0.17, 0.37, 0.57])
    direct = curve(panel(drawn(study, 1), 1, 0), "quadratic")
    np.testing.assert_allclose(direct.get_ydata(), [0.07, 0.27, 0.47])


def test_bands_hold_the_intervals(study, drawn):
    axes = panel(drawn(study), 1, 0)
    colour = curve(axes, "quadratic").get_color()
    (band,) = [one for one in axes.collections if same_color(one.get_facecolor()[0, :3], colour)]
    outline = band.get_paths()[0].vertices
    for depth, value in ((-1, 0.17), (0, 0.37), (3, 0.57)):
        heights = outline[outline[:, 0] == depth][:, 1]
        assert heights.min() == pytest.approx(value - 0.02)
        assert heights.max() == pytest.approx(value + 0.03)


def test_undefined_and_failed_cells_break_the_line(study, drawn):
    axes = panel(drawn(study), 0, 1)
    assert np.isnan(curve(axes, "linear").get_ydata()).tolist() == [False, True, False]
    assert np.isnan(curve(axes, "quadratic").get_ydata()).tolist() == [False, False, True]
    bars = [one for one in axes.containers if type(one).__name__ == "ErrorbarContainer"]
    assert len(bars) == 1, "the two points beside the gap have bars in place of a band"
    (segments,) = bars[0].lines[2]
    np.testing.assert_allclose(segments.get_segments(), [[[-1, 0.08], [-1, 0.13]], [[3, 0.48], [3, 0.53]]])


def test_layers_are_named(study, drawn):
    axes = panel(drawn(study), 0, 0)
    assert axes.get_xticks().tolist() == [-1, 0, 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["embed", "0", "final"]


def test_controls_are_level_lines_named_at_the_right(study, drawn):
    figure = drawn(study)
    levels = [line.get_ydata()[0] for line in panel(figure, 0, 0).lines if len(set(line.get_ydata())) == 1]
    assert sorted(levels) == pytest.approx([-0.05, -0.05, 0.97, 0.97])
    names = {text.get_text(): text.xy[1] for text in panel(figure, 0, 1).texts}
    assert names == {"noise": pytest.approx(-0.05), "oracle": pytest.approx(0.97)}
    assert not panel(figure, 0, 0).texts


def test_names_of_controls_do_not_lie_on_each_other(cell, drawn):
    rows = [cell(0.5), *(cell(0.5 + 0.001 * n, backbone=f"control {n}", is_control=True) for n in range(4))]
    axes = drawn(pd.DataFrame(rows)).axes[0]
    heights = sorted(text.xyann[1] for text in axes.texts)
    bottom, top = axes.get_ylim()
    assert len(heights) == 4
    assert min(np.diff(heights)) >= 0.07 * (top - bottom)


def test_limits_of_a_ratio_grow_only_with_the_data(cell, drawn):
    assert drawn(pd.DataFrame([cell(0.5)])).axes[0].get_ylim() == pytest.approx((-0.1, 1.05))
    low, high = drawn(pd.DataFrame([cell(-0.5), cell(1.5, layer="1")])).axes[0].get_ylim()
    assert low < -0.52
    assert high > 1.53


def test_an_interval_that_goes_far_beyond_all_estimates_does_not_flatten_them(cell, drawn):
    wild = cell(0.4, grip_ratio_low=-7.0, grip_ratio_high=9.0)
    assert drawn(pd.DataFrame([wild, cell(0.5, layer="1")])).axes[0].get_ylim() == pytest.approx((-0.6, 1.6))


def test_bits_begin_at_zero(cell, drawn):
    low, high = drawn(pd.DataFrame([cell(2.0)]), 2).axes[0].get_ylim()
    assert -2 < low < 0
    assert high > 20.03


def test_one_layer_is_points_side_by_side_with_bars(cell, drawn):
    rows = [cell(0.3, probe="linear"), cell(0.6, probe="quadratic")]
    axes = drawn(pd.DataFrame(rows)).axes[0]
    places = [curve(axes, probe).get_xdata()[0] for probe in ("linear", "quadratic")]
    assert places[0] < places[1]
    assert len([one for one in axes.containers if type(one).__name__ == "ErrorbarContainer"]) == 2
    left, right = axes.get_xlim()
    assert left < places[0]
    assert right > places[1]


def test_unbounded_estimates_have_no_band(cell, drawn):
    row = cell(0.3, grip_ratio_low=math.nan, grip_ratio_high=math.nan)
    axes = drawn(pd.DataFrame([row])).axes[0]
    assert curve(axes, "linear").get_ydata().tolist() == [0.3]
    assert not axes.containers


def test_styles_are_distinct_and_the_same_for_every_subset(study, drawn, read):
    rows = read(study)
    many = [dataclasses.replace(rows[0], values={**rows[0].values, "probe": f"probe {n}"}) for n in range(30)]
    styles = line_styles(many)
    assert len(set(styles.values())) == 30
    assert drawn(study).legends[0].get_texts()[1].get_text() == "quadratic"


def test_names_with_dollars_are_drawn_as_they_are(cell, drawn):
    figure = drawn(pd.DataFrame([cell(backbone="a$b$c", probe="$x$"), cell(backbone="c$", is_control=True)]))
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == r"a\$b\$c"


def test_names_move_up_and_from_the_top_down():
    assert _spread([0.0, 0.01, 0.5], 0.1, 1.0) == pytest.approx([0.0, 0.1, 0.5])
    assert _spread([0.95, 0.99, 1.0], 0.1, 1.0) == pytest.approx([0.8, 0.9, 1.0])


def test_controls_of_a_backbone_are_drawn_over_its_layers_alone(cell, drawn):
    own = {"backbone": "random_init:small", "control": "random_init", "control_of": "small", "is_control": True}
    rows = [cell(0.5, layer=layer, backbone=name) for layer in ("embed", "final") for name in ("small", "large")]
    rows += [cell(value, layer=layer, **own) for layer, value in (("embed", 0.1), ("final", 0.2))]
    rows.append(cell(0.3, mode="mean", **own))
    figure = drawn(pd.DataFrame(rows))
    large, small = figure.axes
    assert [list(line.get_ydata()) for line in large.lines if line.get_linestyle() == "--"] == []
    assert [list(line.get_ydata()) for line in small.lines if line.get_linestyle() == "--"] == [[0.1, 0.2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["linear", "control random_init"]
