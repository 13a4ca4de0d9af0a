"""The report in a real browser: Debian's chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sweep.report import Study, write_report

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
    study = Study(title="A study", study_yaml="name: a", flag_meanings={})
    return write_report(rows, measures, study, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(browser, path) -> Iterator[Page]:
    """The page, loaded; complaints and requests of the whole test must be none."""
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


def test_figures_are_drawn_when_they_are_seen(page) -> None:
    for name in ("curves", "heatmap", "ladder"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.locator(f"[data-figure={name}] svg").wait_for()
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
    page.locator("[data-figure=curves] svg").wait_for()
    page.wait_for_function("document.querySelector('[data-figure=curves]').ariaLabel.includes('2 panels')")
    page.keyboard.press("Escape")
    page.click("#reset")
    assert page.inner_text("#count") == "29 of 29 cells"


def test_columns_sort_both_ways(page) -> None:
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


def test_a_hostile_name_is_only_a_name(page) -> None:
    assert HOSTILE in column(page, "cells", 1)
    assert page.locator("img").count() == 0


def test_the_numbers_are_there_without_scripts(browser, path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("noscript td", has_text="0.550 [0.530, 0.580]").first.is_visible()
    assert not page.locator("#filters").is_visible()
    context.close()
