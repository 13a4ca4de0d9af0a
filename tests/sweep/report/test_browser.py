"""The report in a real browser: Debian's chromium, headless."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from binding.exhibits import exhibits
from binding.exhibits._importance import draw_importances
from frozen.readout.exhibit import Exhibit
from sweep.report import Heading, write_report
from tests.sweep.report.conftest import DIMENSIONS
from tests.sweep.report.test_layout import ACCURACY, GRIDS, NAMED, rows_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(original_study, cell, measures, tmp_path_factory) -> Path:
    rows = pd.concat([original_study, pd.DataFrame([cell(0.9, backbone=HOSTILE)])])
    study = Heading(title="A study", study_yaml="name: a", flag_meanings={})
    return write_report(rows, DIMENSIONS, measures, study, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def wide_path(cell, measures, tmp_path_factory) -> Path:
    """A report of three data sets that differ in a number, with controls of one of two backbones."""
    rows = []
    for number in (2, 4, 8):
        of = {"dataset": f"pairs{number}", "dataset_parameters": json.dumps({"n_colors": number, "n_shapes": number})}
        for layer in ("embed", "final"):
            rows += [cell(1 / number, layer=layer, backbone=name, **of) for name in ("small", "large")]
            untrained = {"backbone": "random_init:small", "control": "random_init", "control_of": "small"}
            rows.append(cell(0.05 * number, layer=layer, is_control=True, **untrained, **of))
        shuffled = {"backbone": "shuffled:small", "control": "shuffled", "control_of": "small"}
        rows.append(cell(0.01, layer="final", is_control=True, grip_ratio_low=-9.0, **shuffled, **of))
        rows.append(
            cell(0.9, layer="code", layer_index=0, backbone="oracle", control="oracle", is_control=True, **of)
        )
    study = Heading(title="Pairs", flag_meanings={})
    return write_report(
        pd.DataFrame(rows), DIMENSIONS, measures, study, tmp_path_factory.mktemp("wide") / "report.html"
    )


@pytest.fixture
def page(browser, path) -> Iterator[Page]:
    """The page, loaded; complaints and requests of the whole test must be none."""
    yield from loaded(browser, path)


@pytest.fixture(scope="module")
def seen(browser, path) -> Iterator[Page]:
    """One page for all tests that look and change nothing."""
    yield from loaded(browser, path)


@pytest.fixture(scope="module")
def wide(browser, wide_path) -> Iterator[Page]:
    yield from loaded(browser, wide_path)


def loaded(browser: Browser, path: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: said.append(one.url) if not one.url.startswith(("file:", "data:")) else None)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    page.close()
    assert said == []


def column(page: Page, table: str, position: int) -> list[str]:
    return page.locator(f"[data-table={table}] tbody td:nth-child({position})").all_inner_texts()


def draw_all(page: Page) -> None:
    """Have every figure drawn: each moves what is below it, and a click whose button goes down before is lost."""
    for figure in page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").first.wait_for()


def test_figures_are_drawn_when_they_are_seen(page) -> None:
    for name in ("curves", "heatmap", "ladder"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.locator(f"[data-figure={name}] svg").first.wait_for()
        assert page.locator(f"[data-figure={name}] svg path").count() > 10
    folder = Path(os.environ.get("REPORT_SCREENSHOTS", ""))
    if folder.name:
        page.screenshot(path=folder / "report.png", full_page=True)


def test_a_filter_applies_to_tables_and_figures(page) -> None:
    assert page.inner_text("#count") == "29 of 29 cells"
    page.click("[data-filter=backbone] summary")
    page.get_by_label("large", exact=True).check()
    assert page.inner_text("#count") == "16 of 29 cells"
    assert set(column(page, "cells", 1)) == {"large", "noise control", "oracle control"}
    page.locator("#curves").scroll_into_view_if_needed()
    page.locator("[data-figure=curves] svg").first.wait_for()
    page.wait_for_function("document.querySelector('[data-figure=curves]').ariaLabel.includes('2 panels')")
    page.keyboard.press("Escape")
    page.click("#reset")
    assert page.inner_text("#count") == "29 of 29 cells"


def test_columns_sort_both_ways(page) -> None:
    draw_all(page)
    head = page.locator("[data-table=cells] th button").nth(4)

    def numbers() -> list[float]:
        return [float(text.split()[0]) for text in column(page, "cells", 5) if text.split()[0] not in ("–", "failed")]

    head.click()
    assert numbers() == sorted(numbers(), reverse=True)
    head.click()
    assert numbers() == sorted(numbers())
    assert page.locator("[data-table=cells] th").nth(4).get_attribute("aria-sort") == "ascending"


def test_it_can_be_used_with_the_keyboard(page) -> None:
    page.locator("[data-filter=probe] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.inner_text("#count") != "29 of 29 cells"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.parentElement.dataset.filter") == "probe"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_light_dark_and_print(page) -> None:
    def paper() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert dark != light
    page.click("#theme")
    assert paper() == light
    page.click("#theme")
    assert paper() == dark
    page.emulate_media(media="print")
    assert paper() == "rgb(255, 255, 255)"


def test_a_hostile_name_is_only_a_name(seen) -> None:
    assert HOSTILE in column(seen, "cells", 1)
    assert seen.locator("img").count() == 0


def test_the_numbers_are_there_without_scripts(browser, path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("noscript td", has_text="0.550 [0.530, 0.580]").first.is_visible()
    assert not page.locator("#filters").is_visible()
    context.close()


def test_what_the_binding_readout_draws_can_be_drawn(browser, cell, measures, tmp_path) -> None:
    places = [f"{colour} {shape}" for colour in ("red", "blue") for shape in ("circle", "square")]
    bits = {"direct_bits": 0.5, "direct_bits_low": 0.2, "direct_bits_high": 3.0, "entropy_bits": 1.0, "n_samples": 9}
    rows = [{"part": "conjunction", "name": name, **bits} for name in places]
    rows += [{"part": "object_count", "name": str(count), **bits} for count in (1, 2, 3)]
    (tmp_path / "details").mkdir()
    estimates = {f"{name}_information_bits": 2.0 for name in ("feature", "binding", "object", "direct_binding")}
    cells = [cell(backbone=name, object_entropy_bits=8.0, **estimates) for name in ("small", "large")]
    for one in cells:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "details" / f"{one['cell_id']}.parquet")
    importance = [
        {"probe": "linear", "target": target, "hyper-parameter": name, "importance": 0.5, "n": 20}
        for target in ("objects", "direct")
        for name in ("rank", "learning_rate")
    ]
    shown = [*exhibits(tmp_path, cells, {}), Exhibit("Importance", "", "", partial(draw_importances, importance))]
    path = write_report(
        pd.DataFrame(cells),
        DIMENSIONS,
        measures,
        Heading(title="x", flag_meanings={}),
        tmp_path / "r.html",
        lambda: shown,
    )
    for page in loaded(browser, path):
        drawings = page.locator("[data-drawing]")
        for number in range(4):
            drawings.nth(number).scroll_into_view_if_needed()
            drawings.nth(number).locator("svg").first.wait_for()
        assert drawings.count() == 4
        page.click("[data-filter=backbone] summary")
        page.get_by_label("large", exact=True).check()
        page.wait_for_function("!document.querySelectorAll('[data-drawing]')[1].textContent.includes('small')")


@pytest.mark.parametrize(
    ("grid", "titles"),
    [
        ("no depth", {"heatmap": ["cosine"], "ladder": ["small"]}),
        ("no line", {"curves": ["small"], "heatmap": ["cosine"]}),
        ("two panels", {"curves": ["small"] * 2, "heatmap": ["classify"] * 2 + ["means"] * 2, "ladder": ["small"]}),
        ("panels alone", {"curves": ["small"] * 2}),
    ],
)
def test_other_dimensions_are_drawn(browser, tmp_path, grid, titles) -> None:
    rows = rows_of(GRIDS[grid])
    about = Heading(title="x", flag_meanings={})
    path = write_report(rows, GRIDS[grid], (ACCURACY, NAMED), about, tmp_path / "r.html")
    for page in loaded(browser, path):
        drawn = {name: [title for title, _ in panels(page, name, "point")] for name in titles}
        assert drawn == titles
        filters = [one.get_attribute("data-filter") for one in page.locator("[data-filter]").all()]
        assert "layer" not in filters
        assert set(filters) == {"backbone", *(one.name for one in GRIDS[grid] if rows[one.name].nunique() > 1)} - {
            "layer"
        }


def test_panels_of_one_place_and_other_lines_agree_on_them(browser, cell, measures, tmp_path) -> None:
    rows = pd.DataFrame([cell(backbone="small", probe="linear"), cell(backbone="large", probe="quadratic")])
    about = Heading(title="x", flag_meanings={})
    path = write_report(rows, DIMENSIONS, measures, about, tmp_path / "r.html")
    for page in loaded(browser, path):
        assert [title for title, _ in panels(page, "curves", "point")] == ["large", "small"]


@pytest.mark.parametrize(("n_modes", "n_panels", "n_named"), [(6, 1, 6), (7, 7, 0)])
def test_more_lines_than_symbols_tell_apart_have_a_panel_each(
    browser, cell, measures, tmp_path, n_modes: int, n_panels: int, n_named: int
) -> None:
    modes = [f"mode{number}" for number in range(n_modes)]
    rows = pd.DataFrame([cell(mode=mode, probe=probe) for mode in modes for probe in ("linear", "quadratic")])
    about = Heading(title="x", flag_meanings={})
    path = write_report(rows, DIMENSIONS, measures, about, tmp_path / "r.html")
    for page in loaded(browser, path):
        assert len(panels(page, "ladder", "point")) == n_panels
        assert page.locator("#ladder [data-legend] span").count() == n_named


def test_a_heatmap_leaves_out_lines_that_have_no_such_measure(browser, tmp_path) -> None:
    rows = rows_of(GRIDS["stages"])
    rows.loc[rows["stage"] == "means", ["accuracy_percent", "accuracy_percent_low", "accuracy_percent_high"]] = None
    about = Heading(title="x", flag_meanings={})
    path = write_report(rows, GRIDS["stages"], (ACCURACY,), about, tmp_path / "r.html")
    for page in loaded(browser, path):
        assert [title for title, _ in panels(page, "heatmap", "rect")] == ["classify"]


PANELS = """([figure, marks]) => {
  const spec = document.querySelector(figure).firstElementChild.drawn.spec;
  return spec.concat.map((panel) => [
    panel.title.text,
    panel.layer.filter((layer) => layer.mark.type === marks).flatMap((layer) => layer.data.values),
  ]);
}"""


def panels(page: Page, figure: str, marks: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Titles of a figure's panels, and the values of their layers of a kind of marks."""
    selector = f"[data-figure={figure}]"
    page.locator(selector).scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelector('{selector}').firstElementChild?.drawn")
    return [(title, values) for title, values in page.evaluate(PANELS, [selector, marks])]


@pytest.mark.parametrize("figure", ["curves", "ladder", "parameter"])
def test_controls_of_a_backbone_are_in_its_panels_alone(wide, figure) -> None:
    names = {(title, value["name"]) for title, values in panels(wide, figure, "text") for value in values}
    assert names == {("small", "shuffled"), ("small", "random_init"), ("small", "oracle"), ("large", "oracle")}


def test_controls_over_layers_are_bands_over_layers(wide) -> None:
    small = next(values for title, values in panels(wide, "curves", "area") if title == "small")
    bands = [value for value in small if value.get("name") == "random_init"]
    assert [(band["place"], round(band["low"], 2), round(band["high"], 2)) for band in bands] == [
        ("embed", 0.08, 0.13),
        ("final", 0.08, 0.13),
    ]


def test_an_interval_that_goes_far_beyond_all_estimates_does_not_flatten_them(wide) -> None:
    panels(wide, "curves", "line")
    spec = "document.querySelector('[data-figure=curves] > div').drawn.spec"
    domain = wide.evaluate(f"{spec}.concat[0].layer.at(-1).encoding.y.scale.domain")
    assert domain == pytest.approx([-0.56, 1.06])


def test_the_heatmap_puts_controls_below_their_backbone_at_their_layers(wide) -> None:
    _, values = panels(wide, "heatmap", "rect")[0]
    lines = list(dict.fromkeys(value["backbone"] for value in values))
    assert lines == ["large", "small", "random_init:small", "shuffled:small", "oracle"]
    layers = {name: [value["place"] for value in values if value["backbone"] == name] for name in lines}
    assert layers["random_init:small"] == ["embed", "final"]
    assert layers["oracle"] == ["control"]


def test_a_number_of_the_data_sets_is_an_axis(wide) -> None:
    assert wide.locator("#parameters h3").all_inner_texts() == ["n_colors = n_shapes"]
    (_, large), (_, small) = panels(wide, "parameter", "point")
    assert {"2", "4", "8"} <= set(wide.locator("[data-figure=parameter] .role-axis-label text").all_text_contents())
    assert [(value["at"], value["value"]) for value in large if "line" in value] == [(2, 0.5), (4, 0.25), (8, 0.125)]
    untrained = [(value["at"], round(value["value"], 3)) for value in small if value.get("name") == "random_init"]
    assert untrained == [(2, 0.1), (4, 0.2), (8, 0.4)]


def test_a_filtered_backbone_takes_its_controls_along(browser, wide_path) -> None:
    for page in loaded(browser, wide_path):
        page.click("[data-filter=backbone] summary")
        page.get_by_label("large", exact=True).check()
        assert {text.removesuffix(" control") for text in column(page, "cells", 2)} == {"large", "oracle"}
        assert set(column(page, "best", 2)) == {"large"}  # controls do not compete
        page.get_by_label("random_init:small", exact=True).check()
        assert {text.removesuffix(" control") for text in column(page, "cells", 2)} == {"large", "random_init:small"}


def test_without_numbers_that_differ_there_is_no_such_section(seen) -> None:
    assert seen.locator("#parameters").count() == 0
