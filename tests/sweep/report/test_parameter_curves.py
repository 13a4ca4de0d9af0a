import json

import numpy as np
import pytest

from sweep.report._curves import line_styles
from sweep.report._figures import parameter_pictures
from sweep.report._parameter_curves import parameter_curves
from sweep.report._parameters import parameter_axes


@pytest.fixture
def rows(cell, read):
    """Three sizes, two backbones, two layers, of which the deeper is better; controls of all and of one backbone."""
    found = []
    for n in (100, 1000, 10000):
        of = {"dataset": f"squares{n}", "dataset_parameters": json.dumps({"split": {"train": n}})}
        own = {"backbone": "random_init:small", "control": "random_init", "control_of": "small"}
        for backbone in ("small", "large"):
            found += [cell(value / n, layer=layer, backbone=backbone, **of) for layer, value in (("0", 5), ("1", 50))]
        found.append(cell(20 / n, is_control=True, **own, **of))
        found += [
            cell(value, backbone="oracle", control="oracle", probe=probe, is_control=True, **of)
            for probe, value in (("linear", 0.8), ("quadratic", 0.9))
        ]
    found.append(
        cell(status="failed", layer="2", dataset="squares100", dataset_parameters='{"split": {"train": 100}}')
    )
    return read(found)


def test_a_point_is_the_best_layer_of_its_data_set(rows, measures):
    [axis] = parameter_axes(rows)
    figure = parameter_curves(rows, measures[0], line_styles(rows), axis)
    assert figure is not None
    large, small = figure.axes
    assert large.get_xscale() == "log"
    assert small.get_xlabel() == "split.train"
    (line,) = [line for line in small.lines if line.get_label() == "linear"]
    np.testing.assert_allclose(line.get_xdata(), [100, 1000, 10000])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.05, 0.005])
    assert [len([line for line in axes.lines if line.get_linestyle() != "-"]) for axes in (large, small)] == [2, 3]


def test_controls_are_not_averaged_over_probes(rows, measures):
    [axis] = parameter_axes(rows)
    figure = parameter_curves(rows, measures[0], line_styles(rows), axis)
    assert figure is not None
    bands = [one.get_paths()[0].vertices[:, 1] for one in figure.axes[0].collections if one.get_alpha() == 0.07]
    assert [(band.min(), band.max()) for band in bands] == [pytest.approx((0.78, 0.83)), pytest.approx((0.88, 0.93))]
    dashed = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() != "-"]
    assert dashed == pytest.approx([0.8, 0.9])


def test_pictures_are_named_by_measure_and_number(rows, measures, layout):
    [picture] = parameter_pictures(rows, measures[:1], layout)
    assert picture.name == "parameter_grip_ratio_split.train"
    assert picture.caption == "Grip ratio by split.train, each point at its best layer"
    assert picture.drawn("png")[:4] == b"\x89PNG"


def test_nothing_defined_is_no_picture(cell, read, measures, layout):
    rows = [
        cell(status="failed", dataset=f"squares{n}", dataset_parameters=json.dumps({"n": n}), error="no")
        for n in (1, 2)
    ]
    assert parameter_pictures(read(rows), measures, layout) == []
