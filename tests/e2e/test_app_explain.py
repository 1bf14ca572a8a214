"""The Explain tab in a real browser, with the shipped networks. Set BAA_SCREENSHOTS to keep pictures."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.explanation.methods import METHODS
from baa_core.hand_anatomy import REGION_TITLES
from baa_core.types import DISCLAIMER
from page.examples import EXAMPLES
from tests.e2e.served_page import Served, empty, keep, only_its_own, open_page, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EXAMPLE = next(iter(EXAMPLES))
FASTEST, OTHER, SLOWEST = "Gradient", "Grad-CAM", "Occlusion both ways"
PANEL_MS = 300_000
MAP = "#baa-map img"
FIGURES = ("bars", "deletion", "insertion", "robustness")
WIDTH = "document.documentElement.scrollWidth"


def choose_example(page: Page) -> None:
    """A drawn hand, and its assessment awaited."""
    page.get_by_role("button", name=EXAMPLE).click()
    page.locator(".baa-result").wait_for()
    page.get_by_role("tab", name="Explain").click()


def explain(page: Page, method: str) -> None:
    """Choose a method and press Explain."""
    page.get_by_role("radio", name=method, exact=True).check()
    page.locator("#baa-explain").click()


def wait_for_panel(page: Page, method: str) -> None:
    """Until the card of this method is there."""
    card = page.locator("#baa-explained .baa-result .baa-eyebrow")
    expect(card).to_contain_text(f"{method}, explaining", timeout=PANEL_MS)


@pytest.fixture(scope="module")
def explained(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """A page that shows an explanation, for all tests that only look."""
    page = visitor.new_page()
    with only_its_own(page, served.url):
        open_page(visitor, served.url, page=page)
        choose_example(page)
        explain(page, FASTEST)
        wait_for_panel(page, FASTEST)
        yield page
        page.close()


def shown(page: Page) -> str:
    """The address of the map shown, which holds it."""
    return page.locator(MAP).get_attribute("src") or ""


def changed(page: Page, before: str) -> str:
    """The map once it is another one."""
    page.wait_for_function("before => document.querySelector('#baa-map img').src !== before", arg=before)
    return shown(page)


def decoded(address: str) -> np.ndarray:
    """The pixels of a picture held by its address."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)


def test_verdict_and_map_come_first_and_all_of_it_takes_at_most_three_screens(explained: Page) -> None:
    explained.set_viewport_size({"width": 1280, "height": 800})
    assert explained.evaluate("document.documentElement.scrollHeight") <= 3 * 800
    folds = explained.locator("#baa-panel button.label-wrap")
    assert folds.count() == 6
    for fold in folds.all():
        assert len(fold.inner_text().strip()) > 20, "its outcome in a sentence"
    first = folds.first.bounding_box()
    for part in ("#baa-explained .baa-verdict", MAP):
        assert explained.locator(part).bounding_box()["y"] < 800, "seen without scrolling"
        assert explained.locator(part).bounding_box()["y"] < first["y"]
    expect(explained.locator("#baa-bars")).not_to_be_visible()
    explained.set_viewport_size({"width": 1280, "height": 1000})


def unfold(page: Page) -> None:
    """Open every fold that is closed."""
    for fold in page.locator("#baa-panel button.label-wrap").all():
        if "open" not in (fold.get_attribute("class") or "").split():
            fold.click()


def test_everything_is_there(explained: Page) -> None:
    unfold(explained)
    for name in FIGURES:
        expect(explained.locator(f"#baa-{name} .js-plotly-plot")).to_be_visible()
    card = explained.locator("#baa-explained").inner_text()
    assert DISCLAIMER in card
    assert "for a " in card
    body = explained.inner_text("body")
    for title in REGION_TITLES.values():
        assert title in body
    for words in ("The atlas", "The networks, on this picture", "months per hundredth of the hand"):
        assert words in body
    keep(explained, "explained_1280")


def test_the_download_is_the_panel(explained: Page) -> None:
    with explained.expect_download() as started:
        explained.locator("#baa-panel-json").click()
    assert started.value.suggested_filename == "bone-age-explanation.json"
    told = json.loads(Path(started.value.path()).read_text())
    assert told["method"] == "saliency"
    assert set(told["regions"]) <= set(REGION_TITLES)
    expect(explained.locator("#baa-fold-faithfulness")).to_contain_text(f"by {told['deletion']['area']:.1f} months")
    faithful = "not shown" not in told["verdict"]
    expect(explained.locator("#baa-explained .baa-passed").filter(has_text="Marks what")).to_have_count(int(faithful))


def test_a_chosen_region_is_outlined_on_the_picture(explained: Page) -> None:
    plain = shown(explained)
    explained.get_by_role("radio", name="Metacarpals", exact=True).check()
    outlined = changed(explained, plain)
    expect(explained.locator("#baa-map figcaption")).to_contain_text("outlined: metacarpals")
    different = (decoded(plain) != decoded(outlined)).any(axis=2)
    assert 0 < different.mean() < 0.05, "an outline and nothing else"
    keep(explained, "region_1280")
    explained.keyboard.press("Tab")  # the keyboard goes on to the next region
    explained.keyboard.press("Space")
    assert changed(explained, outlined) != plain
    explained.get_by_role("radio", name="None", exact=True).check()
    expect(explained.locator(MAP)).to_have_attribute("src", plain)


def test_a_click_on_a_bar_chooses_its_region(explained: Page) -> None:
    plain = shown(explained)
    explained.locator("#baa-bars").scroll_into_view_if_needed()
    box = explained.locator("#baa-bars .barlayer .point").nth(1).bounding_box()  # the second region's grey band
    assert box is not None
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    explained.wait_for_function("document.querySelector('#baa-bars .js-plotly-plot').dataset.bound")
    explained.mouse.move(*place)
    explained.wait_for_timeout(200)
    explained.mouse.click(*place)
    changed(explained, plain)
    second = explained.locator("#baa-region label").nth(2).inner_text().strip()
    expect(explained.locator("#baa-map figcaption")).to_contain_text(f"outlined: {second.lower()}")
    explained.get_by_role("radio", name="None", exact=True).check()
    expect(explained.locator(MAP)).to_have_attribute("src", plain)


def test_opacity_changes_the_map_only(explained: Page) -> None:
    before, card = shown(explained), explained.locator("#baa-explained").inner_text()
    number = explained.locator("#baa-map-opacity input[type=number]")
    number.fill("0")
    explained.keyboard.press("Tab")
    picture = decoded(changed(explained, before))
    assert np.array_equal(picture[..., 0], picture[..., 2]), "without the map the radiograph is grey"
    assert explained.locator("#baa-explained").inner_text() == card
    number.fill("60")
    explained.keyboard.press("Tab")
    expect(explained.locator(MAP)).to_have_attribute("src", before)


def test_a_phone_needs_no_sideways_scrolling(explained: Page) -> None:
    explained.set_viewport_size({"width": 390, "height": 844})
    fit = """names => names.every((name) => {
      const { left, right } = document.querySelector(`#baa-${name} .main-svg`)?.getBoundingClientRect() ?? {};
      return left >= 0 && right > left && right <= 390;
    })"""
    explained.wait_for_function(fit, arg=list(FIGURES))  # figures take their new width a little later
    keep(explained, "explained_390")
    assert explained.evaluate(WIDTH) <= 390
    explained.set_viewport_size({"width": 1280, "height": 1000})


def test_assessing_again_leaves_the_explanation(explained: Page) -> None:
    before = shown(explained)
    explained.locator("#baa-assess").click()
    expect(explained.get_by_role("tab", name="Case")).to_have_attribute("aria-selected", "true")
    explained.locator("#baa-picture figure[data-open]").wait_for()
    explained.get_by_role("tab", name="Explain").click()
    assert shown(explained) == before


def test_assessing_as_the_other_sex_marks_the_explanation_as_outdated(explained: Page) -> None:
    """The last test of this explanation: it belongs to the sex it was made for. Another method gives another map."""
    explained.get_by_role("tab", name="Explain").click()
    outdated = explained.get_by_text("Outdated: the entries have changed").locator("visible=true")
    expect(outdated).to_have_count(0)
    own, other = (
        ("Female", "Male")
        if explained.get_by_role("radio", name="Female", exact=True).is_checked()
        else ("Male", "Female")
    )
    explained.get_by_role("radio", name=other, exact=True).check()
    explained.locator("#baa-assess").click()
    expect(explained.locator("#baa-card .baa-entries")).to_contain_text(f"sex entered: {other.lower()}")
    explained.get_by_role("tab", name="Explain").click()
    expect(outdated).to_have_count(1)
    before = shown(explained)
    explain(explained, OTHER)
    expect(explained.locator(".baa-note")).to_contain_text(METHODS["grad_cam"].cannot)
    wait_for_panel(explained, OTHER)
    assert shown(explained) != before
    child = "for a boy" if other == "Male" else "for a girl"
    expect(explained.locator("#baa-explained .baa-result")).to_contain_text(child, timeout=PANEL_MS)
    expect(outdated).to_have_count(0)
    explained.get_by_role("radio", name=own, exact=True).check()
    expect(outdated).to_have_count(1)


def test_a_run_can_be_cancelled_and_another_picture_stops_it_and_the_page_lives_on(explained: Page) -> None:
    """The last test of this page. Before that there is nothing to explain, which is said in one sentence."""
    page = explained
    empty(page)
    page.get_by_role("tab", name="Explain").click()
    page.locator("#baa-explain").click()
    expect(page.locator("#baa-explained .baa-refusal")).to_contain_text("No radiograph has been chosen")
    expect(page.locator("#baa-panel")).not_to_be_visible()

    page.get_by_role("tab", name="Case").click()
    choose_example(page)
    explain(page, SLOWEST)
    at_work = page.locator("#baa-explained-side").get_by_text("Computing the heatmap")
    at_work.first.wait_for(timeout=PANEL_MS)
    keep(page, "progress_1280")
    page.locator("#baa-cancel").click()
    expect(page.locator("#baa-explained .baa-empty-title")).to_have_text("Stopped")
    expect(page.locator("#baa-panel")).not_to_be_visible()
    expect(at_work).to_have_count(0)
    page.locator("#baa-assess").click()
    expect(page.get_by_role("tab", name="Case")).to_have_attribute("aria-selected", "true")
    page.locator(".baa-result").wait_for()
    settle(page)

    page.get_by_role("tab", name="Explain").click()
    explain(page, SLOWEST)
    at_work.first.wait_for(timeout=PANEL_MS)
    page.get_by_role("button", name=list(EXAMPLES)[1]).click()
    expect(page.locator("#baa-explained .baa-empty-title")).to_have_text("The explanation will appear here")
    expect(page.locator("#baa-explained")).not_to_contain_text("steps")
    expect(page.locator(".baa-chosen")).to_contain_text(list(EXAMPLES)[1])
    settle(page)
    expect(page.locator("#baa-explained .baa-result")).to_have_count(0)
