"""The Compare tab in a real browser, with the shipped networks. Set BAA_SCREENSHOTS to keep pictures."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.recipes import RECIPES
from baa_core.types import DISCLAIMER
from page.examples import EXAMPLES
from tests.e2e.served_page import Served, empty, keep, only_its_own, open_page, rest, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EXAMPLE, OTHER = list(EXAMPLES)[:2]
COMPARISON_MS = 300_000
CARD = "#baa-compared"
TRACE = "#baa-trace-picture img"
WIDTH = "document.documentElement.scrollWidth"


def choose_example(page: Page, label: str = EXAMPLE) -> None:
    """A drawn hand, its assessment awaited, and the tab opened."""
    page.get_by_role("button", name=label).click()
    page.locator("#baa-card .baa-result").wait_for()
    page.get_by_role("tab", name="Compare").click()


def wait_for_comparison(page: Page) -> None:
    expect(page.locator(f"{CARD} .baa-result")).to_be_visible(timeout=COMPARISON_MS)


@pytest.fixture(scope="module")
def compared(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """A page that shows a comparison, for all tests that only look."""
    page = visitor.new_page()
    with only_its_own(page, served.url):
        open_page(visitor, served.url, page=page)
        choose_example(page)
        page.locator("#baa-compare").click()
        keep(page, "comparing_1280")
        wait_for_comparison(page)
        yield page
        page.close()


def told(page: Page) -> dict:
    """What the JSON link of the card downloads."""
    with page.expect_download() as started:
        page.locator("#baa-compare-json").click()
    assert started.value.suggested_filename == "bone-age-comparison.json"
    return json.loads(Path(started.value.path()).read_text())


def open_trace(page: Page) -> None:
    """The preprocessing, unfolded."""
    if not page.locator("#baa-trace-step").is_visible():
        page.get_by_role("button", name="Preprocessing trace").click()
    page.locator(TRACE).wait_for()


def shown(page: Page) -> str:
    """The address of the step shown, which holds it."""
    return page.locator(TRACE).get_attribute("src") or ""


def changed(page: Page, before: str) -> str:
    """The step's picture once it is another one."""
    page.wait_for_function("before => document.querySelector('#baa-trace-picture img').src !== before", arg=before)
    return shown(page)


def decoded(address: str) -> np.ndarray:
    """The pixels of a picture held by its address."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)


def shown_months(rounded: float) -> re.Pattern[str]:
    """Months to 0.01 as the page may show them to 0.1: it rounds the estimate itself."""
    return re.compile("|".join(re.escape(f"{rounded + part:.1f} months") for part in (-0.004, 0.004)))


def test_every_system_has_its_card_and_its_row(compared: Page) -> None:
    values = told(compared)
    assert [row["recipe"] for row in values["recipes"]] == list(RECIPES)
    assert any(row["status"] == "ok" for row in values["recipes"])
    card = compared.locator(CARD).inner_text()
    assert values["sentence"] in card
    assert DISCLAIMER in card
    assert "drawn, not a patient" in card
    plot = compared.locator("#baa-compare-plot .js-plotly-plot")
    expect(plot.locator(".errorbar")).to_have_count(sum(row["status"] == "ok" for row in values["recipes"]))
    for row in values["recipes"]:
        system = compared.locator(f"#baa-system-{row['recipe']}")
        expect(system).to_contain_text(RECIPES[row["recipe"]].title)
        expect(plot).to_contain_text(RECIPES[row["recipe"]].title)
        if row["status"] == "ok":
            expect(system).to_contain_text(shown_months(row["bone_age_months"]))
            expect(system).to_contain_text("90 % interval")
            expect(system).to_contain_text("Mean absolute error here")
            expect(system.locator("img")).to_have_count(2)
        else:
            expect(system).to_contain_text(row["error"]["message"])
            expect(system.locator("img")).to_have_count(0)
    keep(compared, "compared_1280")


def test_the_trace_is_walked_by_buttons_slider_and_keys(compared: Page) -> None:
    open_trace(compared)
    caption = compared.locator("#baa-trace-picture figcaption")
    expect(caption).to_contain_text(": Radiograph")
    radiograph = shown(compared)
    assert max(decoded(radiograph).shape) <= 400
    compared.get_by_role("button", name="Next step").click()
    second = changed(compared, radiograph)
    expect(caption).to_contain_text("step 2 of")
    compared.get_by_role("button", name="Previous step").click()
    assert changed(compared, second) == radiograph
    slider = compared.locator("#baa-trace-step input[type=range]")
    slider.focus()
    slider.press("End")
    changed(compared, radiograph)
    expect(caption).to_contain_text("what the network saw")
    keep(compared, "trace_1280")
    slider.press("Home")
    expect(compared.locator(TRACE)).to_have_attribute("src", radiograph)


def test_a_phone_needs_no_sideways_scrolling(compared: Page) -> None:
    compared.set_viewport_size({"width": 390, "height": 844})
    open_trace(compared)
    rest(compared)
    keep(compared, "compared_390")
    assert compared.evaluate(WIDTH) <= 390
    for name in RECIPES:
        box = compared.locator(f"#baa-system-{name} .baa-card").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    compared.set_viewport_size({"width": 1280, "height": 1000})


def test_assessing_again_leaves_the_comparison(compared: Page) -> None:
    before = compared.locator(CARD).inner_text()
    compared.locator("#baa-assess").click()
    expect(compared.get_by_role("tab", name="Case")).to_have_attribute("aria-selected", "true")
    compared.locator("#baa-picture figure[data-open]").wait_for()
    compared.get_by_role("tab", name="Compare").click()
    assert compared.locator(CARD).inner_text() == before


def test_nothing_is_left_on_the_disk(compared: Page, served: Served) -> None:
    wait_for_comparison(compared)
    assert served.files_left() == []


def test_another_picture_clears_the_comparison(compared: Page) -> None:
    """The last test of this comparison."""
    compared.get_by_role("button", name=OTHER).click()
    expect(compared.locator(f"{CARD} .baa-empty-title")).to_have_text("The comparison will appear here")
    expect(compared.locator(".baa-system")).to_have_count(0)
    expect(compared.locator("#baa-comparison")).not_to_be_visible()


def test_a_run_can_be_cancelled_and_the_page_lives_on(compared: Page) -> None:
    """The last test of this page. Before that there is nothing to compare, which is said in one sentence."""
    page = compared
    empty(page)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#baa-compare").click()
    expect(page.locator(f"{CARD} .baa-refusal")).to_contain_text("No radiograph has been chosen")
    expect(page.locator("#baa-comparison")).not_to_be_visible()

    page.get_by_role("tab", name="Case").click()
    choose_example(page)
    stopped = page.locator(f"{CARD} .baa-empty-title").get_by_text("Stopped")
    for _ in range(4):  # a comparison may be over before the click arrives: then again
        page.locator("#baa-compare").click()
        page.get_by_text("At work.").first.wait_for()
        page.locator("#baa-compare-cancel").click()
        stopped.or_(page.locator("#baa-comparison:visible")).first.wait_for()
        if stopped.count():
            break
    expect(stopped).to_have_count(1)
    expect(page.get_by_text("At work.")).to_have_count(0)
    expect(page.locator("#baa-comparison")).not_to_be_visible()
    settle(page)
    expect(page.locator(f"{CARD} .baa-empty-title")).to_have_text("Stopped")
    expect(page.locator(".baa-system")).to_have_count(0)
    page.locator("#baa-assess").click()
    page.locator("#baa-card .baa-result").wait_for()
