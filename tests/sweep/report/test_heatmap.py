import numpy as np
import pandas as pd
import pytest

from sweep.report._heatmap import heatmap


@pytest.fixture
def drawn(read, measures, layout):
    def draw(table, number=0, layout=layout):
        return heatmap(read(table, layout), measures[number], layout, "squares")

    return draw


def panel(figure, title):
    (axes,) = [axes for axes in figure.axes if axes.get_title() == title]
    return axes


def test_squares_hold_the_estimates(study, drawn):
    axes = panel(drawn(study), "mean · quadratic")
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.17, 0.37, 0.57], [0.12, 0.32, 0.52]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["embed", "0", "final"]
    assert "0.57" in [text.get_text() for text in axes.texts]


def test_a_panel_a_mode_and_probe_without_controls(study, drawn):
    figure = drawn(study)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["cls · linear", "cls · quadratic", "mean · linear", "mean · quadratic"]
    names = panel(figure, "mean · linear").get_yticklabels()
    assert [label.get_text() for label in names] == ["large", "small"]
    assert all(axes.images[0].get_array().shape == (2, 3) for axes in figure.axes if axes.images)


def test_undefined_failed_and_absent_squares(study, drawn):
    absent = study[~((study["backbone"] == "large") & (study["mode"] == "cls") & (study["layer"] == "0"))]
    figure = drawn(absent)
    linear, quadratic = panel(figure, "cls · linear"), panel(figure, "cls · quadratic")
    assert np.ma.getmaskarray(linear.images[0].get_array()).tolist() == [[False, True, False], [False, True, False]]
    letters = {text.get_position(): text.get_text() for text in linear.texts}
    assert letters[1, 1] == "–"
    assert (1, 0) not in letters
    assert {text.get_position(): text.get_text() for text in quadratic.texts}[2, 1] == "×"


def test_colours_of_a_ratio_run_from_0_to_1_whatever_the_data(study, drawn):
    study.loc[2, "grip_ratio"] = 1.4
    image = panel(drawn(study), "cls · linear").images[0]
    assert image.get_clim() == (0, 1)


def test_colours_of_bits_run_to_the_largest(study, drawn):
    image = panel(drawn(study, 2), "cls · linear").images[0]
    assert image.get_clim() == pytest.approx((0, 5.7))


def test_the_last_layers_of_unequal_backbones_share_a_column(cell, drawn):
    rows = [cell(layer="1", backbone="deep"), cell(layer="final", layer_index=12, backbone="deep")]
    rows += [cell(layer="final", layer_index=2, backbone="flat"), cell(layer="7", backbone="deep")]
    (axes,) = [axes for axes in drawn(pd.DataFrame(rows)).axes if axes.images]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "7", "final"]


def test_many_layers_stack_the_panels(cell, drawn):
    rows = [cell(layer=str(n), probe=probe) for n in range(24) for probe in ("a", "b", "c")]
    figure = drawn(pd.DataFrame(rows))
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes if axes.images}) == 1
    assert figure.get_figwidth() < 14
