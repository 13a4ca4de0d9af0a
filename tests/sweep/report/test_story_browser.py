"""From a plot or a row to the story of its cell, in a real browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from frozen.readout.exhibit import ShownSample
from frozen.readout.measures import Dimension
from sweep.report import Heading, print_table, write_report
from sweep.report._stories import Curve, Story
from tests.sweep.report.conftest import DIMENSIONS
from tests.sweep.report.test_browser import CHROMIUM, SWITCHES, loaded, panels
from tests.sweep.report.test_layout import ACCURACY, GRIDS, NAMED, rows_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium")
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738"
    "550000000049454e44ae426082"
)
RED = {"exceeds_direct": "Do not read it.", "unsure": "Nobody knows."}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(original_study, measures, tmp_path_factory) -> Path:
    first = str(original_study["cell_id"][0])
    sample = ShownSample("a 7", "test image 7", "3.2 bits", ("red circle",), ("blue square",), ("<b>",), lambda: DOT)
    story = Story("loss_bits", (Curve("objects", "seed 0", ((0, 2.0), (1, 1.0))),), (("rows/a.json", 12),), (sample,))
    study = Heading(title="A study", flag_meanings=RED, mild_flags=frozenset({"unsure"}), folder="results/a")
    folder = tmp_path_factory.mktemp("story")
    return write_report(original_study, DIMENSIONS, measures, study, folder / "report.html", told={first: story})


@pytest.fixture
def page(browser, path) -> Iterator[Page]:
    yield from loaded(browser, path)


@pytest.fixture(scope="module")
def seen(browser, path) -> Iterator[Page]:
    """One page for all tests that look and change nothing."""
    yield from loaded(browser, path)


def wait_for_address(page, condition: str) -> None:
    """The address follows what is shown by an event, a moment later."""
    page.wait_for_function(condition)


def test_a_row_opens_the_story_of_its_cell(page, original_study) -> None:
    cell = original_study["cell_id"][0]
    page.locator("[data-table=cells] button.open", has_text=cell[:8]).click()
    story = page.locator("#story")
    text = story.inner_text()
    assert cell in text
    assert "Do not read it." in text
    assert "0.100" in text
    assert "rows/a.json 12 bytes" in text
    assert f"python -m sweep.show results/a --cell {cell[:8]}" in text
    assert [one.inner_text() for one in story.locator(".samples li").all()] == [
        "✓ red circle",
        "− blue square",
        "+ <b>",
    ]
    assert story.locator(".samples img").evaluate("image => image.naturalWidth") == 1
    story.locator(".learning svg").wait_for()
    wait_for_address(page, f"location.hash === '#cell={cell}'")
    page.keyboard.press("Escape")
    assert not story.is_visible()
    wait_for_address(page, "!location.hash.includes('cell=')")


def test_a_point_of_a_figure_opens_the_story_of_its_cell(page) -> None:
    panels(page, "curves", "point")
    page.locator("[data-figure=curves] .mark-symbol path").last.click()
    assert page.locator("#story").is_visible()
    wait_for_address(page, "location.hash.includes('cell=')")


def test_a_link_shows_what_was_chosen(browser, path, original_study) -> None:
    cell = original_study["cell_id"][0]
    chosen = "measure=grip_bits&only.backbone=large&sort.cells=-grip_bits&overlaid=1&find=final"
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{path.as_uri()}#{chosen}&cell={cell}")
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#story").is_visible()
    page.keyboard.press("Escape")
    assert page.input_value("#measure") == "2"
    assert page.is_checked("[data-overlay]")
    rows = page.locator("[data-table=cells] tbody tr").all_inner_texts()
    assert len(rows) == 4, "words that are looked for leave out what does not hold them"
    assert all("large" in row and "final" in row for row in rows)
    numbers = [
        float(text.split()[0]) for text in page.locator("[data-table=cells] td:nth-child(7)").all_inner_texts()
    ]
    assert numbers == sorted(numbers, reverse=True)
    wait_for_address(page, f"location.hash === '#{chosen}'")
    page.close()


def test_points_of_cells_with_a_red_flag_are_hollow(seen) -> None:
    panels(seen, "curves", "point")
    values = seen.evaluate(
        "document.querySelector('[data-figure=curves]').firstElementChild.drawn.spec.concat.flatMap((panel) => "
        "panel.layer.filter((layer) => layer.mark.fill).flatMap((layer) => layer.data.values))"
    )
    assert [(value["backbone"], value["place"], value["line"]) for value in values] == [("small", "embed", "linear")]


def test_backbones_overlaid_have_colours_of_their_own(page) -> None:
    apart = panels(page, "curves", "point")
    assert [title for title, _ in apart] == ["large", "large", "small", "small"]
    lines = set(colours(page))
    page.check("[data-overlay]")
    page.wait_for_function("document.querySelector('[data-figure=curves]').ariaLabel.includes('4 panels')")
    drawn = "document.querySelector('[data-figure=curves]').firstElementChild.drawn"
    page.wait_for_function(f"{drawn}.spec.concat[0].title.text === 'linear'")
    together = panels(page, "curves", "point")
    assert {value["backbone"] for value in together[0][1] if "backbone" in value} == {"large", "small"}
    assert not lines & set(colours(page))


def colours(page: Page) -> list[str]:
    return page.locator("#curves .legend path[stroke]").evaluate_all(
        "all => all.map((one) => one.getAttribute('stroke'))"
    )


def test_tables_and_figures_are_saved(seen, tmp_path) -> None:
    with seen.expect_download() as saved:
        seen.locator("[data-table=cells] .tools button").click()
    saved.value.save_as(tmp_path / "cells.csv")
    lines = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert len(lines) == 28
    assert lines[0]["flags"] == "exceeds_direct unsure" or "exceeds_direct unsure" in {
        line["flags"] for line in lines
    }
    panels(seen, "curves", "point")
    for kind, start in (("CSV", b"data set,backbone"), ("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with seen.expect_download() as saved:
            seen.locator("#curves .tools button", has_text=kind).click()
        saved.value.save_as(tmp_path / "figure")
        assert (tmp_path / "figure").read_bytes().startswith(start)


def test_the_first_number_is_seen_at_once_and_the_page_does_not_grow(page) -> None:
    assert page.locator(".answers li").first.bounding_box()["y"] < 600
    before = page.evaluate("document.documentElement.scrollHeight")
    for name in ("curves", "heatmap", "ladder"):
        panels(page, name, "point")
    assert page.evaluate("document.documentElement.scrollHeight") <= before + 2


def test_letters_of_axes_are_large_enough(seen) -> None:
    panels(seen, "curves", "point")
    sizes = seen.locator("[data-figure] .role-axis-label text, [data-figure] .role-axis-title text").evaluate_all(
        "all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert len(sizes) > 10
    assert min(sizes) >= 12


def test_on_a_narrow_screen_one_column_says_where_and_the_number_is_seen(browser, path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    row = page.locator("[data-table=cells] tbody tr").first
    where, number = row.locator("td").nth(0), row.locator("td").nth(1)
    assert "cls · linear · embed" in where.inner_text()
    box = number.bounding_box()
    assert box["x"] + box["width"] <= 390
    page.locator("[data-table=cells] .scroll").evaluate("scroll => { scroll.scrollLeft = 200; }")
    assert where.bounding_box()["x"] >= 0, "it stays in place"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    menus = page.locator(".menu")
    for menu in (menus.nth(at) for at in range(menus.count())):
        menu.locator("summary, button").first.click()
        opened = menu.locator("fieldset").bounding_box()
        assert opened["x"] >= 0
        assert opened["x"] + opened["width"] <= 390
        page.keyboard.press("Escape")
    page.close()


STAGES = (GRIDS["stages"][0], Dimension("stage", "stage", "", "panel"))


def rows_of_stages() -> pd.DataFrame:
    """Two stages, of which each has one of two measures."""
    rows = rows_of(GRIDS["stages"])
    ends = ["accuracy_percent", "accuracy_percent_low", "accuracy_percent_high"]
    rows.loc[rows["stage"] == "means", ends] = None
    rows.loc[rows["stage"] == "classify", NAMED.column] = None
    return rows


def test_stages_with_measures_of_their_own_have_tables_of_their_own(browser, tmp_path) -> None:
    about = Heading(title="x", flag_meanings={})
    for page in loaded(
        browser, write_report(rows_of_stages(), STAGES, (ACCURACY, NAMED), about, tmp_path / "r.html")
    ):
        groups = page.locator("[data-table=cells] .group")
        assert groups.locator("h3").all_inner_texts() == ["classify", "means"]
        heads = [group.locator("thead").inner_text().split() for group in groups.all()]
        assert [(ACCURACY.symbol in head, NAMED.symbol in head) for head in heads] == [(True, False), (False, True)]


def test_so_they_have_in_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    print_table(rows_of_stages(), STAGES, (ACCURACY, NAMED), {}, console)
    lines = console.file.getvalue().splitlines()
    heads = [line.split() for line in lines if line.startswith("layer")]
    titles = [line for line in lines if line in ("classify", "means")]
    assert titles == ["classify", "means"]
    symbols = [[one for one in head if one in (ACCURACY.symbol, NAMED.symbol)] for head in heads]
    assert [one for one in symbols if one] == [["A"], ["A"], ["n"]], "controls have a head of their own"
