"""Every tab with a real upload, by keyboard alone, at 1280 and 390 px, in light and dark."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.phantom import draw_phantom, to_png
from baa_core.phantom.requirements import draw_requirement
from tests.e2e.served_page import Served, assess, empty, keep, open_page, rest, serious_findings, settle, upload

pytestmark = pytest.mark.browser
HAND = to_png(draw_phantom(126, "female", seed=4, height_px=500).radiograph)


@pytest.fixture(scope="module")
def case(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """The page with an assessed radiograph."""
    page = open_page(visitor, served.url, height=800)
    expect(page.locator("#baa-welcome-card")).to_contain_text("drawn, not a patient")
    upload(page, "hand.png", HAND)
    expect(page.locator("#baa-assess")).to_be_enabled()
    expect(page.locator("#baa-welcome-card")).not_to_be_visible()  # an answer that is not of the picture on the stage
    page.get_by_label("Age: years").fill("10")
    assess(page, "Female")
    page.locator("#baa-picture figure[data-open]").wait_for()
    yield page
    page.close()


def tab(page: Page, name: str) -> None:
    """Open a tab, by its menu where the window is narrow."""
    page.get_by_role("tab", name=name).click()
    settle(page)


def test_the_answer_is_seen_without_scrolling(case: Page) -> None:
    case.evaluate("scrollTo(0, 0)")
    for words in (".baa-age", ".baa-interval", ".baa-growth"):
        box = case.locator(f"#baa-card {words}").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800, words
    stage = case.locator("#baa-picture figure").bounding_box()
    assert stage["y"] + stage["height"] <= 800
    assert stage["width"] > 500


@pytest.mark.parametrize("name", ["Explain", "Compare", "Batch", "Help", "Case"])
def test_axe_finds_nothing_serious_on_any_tab(case: Page, name: str) -> None:
    tab(case, name)
    if name == "Case":
        case.get_by_text("Growth chart and earlier assessments").click()
        case.locator("#baa-chart .js-plotly-plot").wait_for()
        case.locator("#baa-report > button").click()
        case.get_by_role("button", name="Change the picture by hand").click()
    assert serious_findings(case, None if name == "Case" else "#baa-tabs") == []  # the rest is the same on all tabs


def test_the_caption_of_the_stage_is_whole_on_a_phone(case: Page) -> None:
    tab(case, "Case")
    case.set_viewport_size({"width": 390, "height": 844})
    rest(case)
    caption = "#baa-picture figcaption"
    assert case.evaluate(f"(c => c.scrollWidth <= c.clientWidth)(document.querySelector('{caption}'))")
    assert case.locator(caption).bounding_box()["x"] + case.locator(caption).bounding_box()["width"] <= 390
    expect(case.locator(caption)).to_contain_text("age entered: 10 years")
    case.set_viewport_size({"width": 1280, "height": 800})


def test_help_and_model_card_are_one_click_away(case: Page) -> None:
    tab(case, "Case")
    case.get_by_role("button", name="Which radiograph?").click()
    expect(case.locator("#baa-needed")).to_be_in_viewport()
    expect(case.locator("#baa-needed figure")).to_have_count(8)
    picture = case.locator("#baa-needed img").first
    case.wait_for_function("() => document.querySelector('#baa-needed img').naturalWidth > 100")
    expect(picture).to_be_visible()
    expect(case.locator("#baa-entries")).not_to_be_visible()
    tab(case, "Case")
    case.get_by_role("button", name="Model card").click()
    expect(case.locator("#baa-model-card h2", has_text="Model card")).to_be_in_viewport()
    tab(case, "Case")


@pytest.fixture(scope="module")
def listening(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """A first visit of the page, listening for file choosers from the start.

    Playwright takes choosers over only while somebody listens, and tells the browser so beside the next key press. On a
    busy machine the chooser comes first, and a browser without a screen then cancels it.
    """
    page = visitor.new_page()
    page.on("filechooser", lambda chooser: None)
    yield open_page(visitor, served.url, height=800, page=page)
    page.close()


def tab_to(page: Page, selector: str, most: int = 40) -> None:
    """Press Tab until what has the focus matches."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("path => document.activeElement.matches(path)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


UPLOAD = "#baa-file button.upload-container"


def test_the_upload_area_opens_by_enter_and_by_space_again_and_again(listening: Page) -> None:
    """Also while the first example is on its way, and after a file was taken and cleared."""
    page = listening
    tab_to(page, UPLOAD)
    for key in ("Enter", "Space", "Enter"):
        with page.expect_file_chooser():
            page.keyboard.press(key)
        assert page.evaluate("path => document.activeElement.matches(path)", UPLOAD), "the focus stays"
    page.locator("#baa-welcome figure[data-open]").wait_for()
    for key in ("Enter", "Space"):
        with page.expect_file_chooser() as chooser:
            page.keyboard.press(key)
        chooser.value.set_files({"name": "hand.png", "mimeType": "image/png", "buffer": HAND})
        expect(page.locator("#baa-ready")).to_contain_text("hand.png")
        tab_to(page, "#baa-file button[aria-label='Clear']")
        page.keyboard.press(key)
        expect(page.locator("#baa-ready")).not_to_contain_text("hand.png")
        tab_to(page, UPLOAD)
        with page.expect_file_chooser():
            page.keyboard.press(key)


def test_the_main_path_by_keyboard_alone(listening: Page) -> None:
    """File, sex, age, Assess, the viewer, the report: no mouse."""
    page = listening
    empty(page)

    def until(selector: str, most: int = 40) -> None:
        tab_to(page, selector, most)

    until(UPLOAD)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files({"name": "hand.png", "mimeType": "image/png", "buffer": HAND})
    expect(page.locator("#baa-ready")).to_contain_text("hand.png")
    until("#baa-sex input")
    page.keyboard.press("Space")
    until("#baa-years input, #baa-years textarea")
    page.keyboard.type("10")
    until("#baa-assess", most=6)
    page.keyboard.press("Enter")
    page.locator("#baa-card .baa-result").wait_for()
    page.locator("#baa-picture figure[data-open]").wait_for()
    until("#baa-report button")
    page.keyboard.press("Enter")
    page.locator("#baa-json").wait_for()  # as whoever presses Tab sees the menu open first
    until("#baa-json")
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.suggested_filename == "bone-age-report.json"
    until("#baa-picture .openseadragon-canvas")
    zoomed = "document.querySelector('#baa-picture figure').baaStage.scale()"
    before = page.evaluate(zoomed)
    page.keyboard.press("+")
    page.wait_for_function(f"before => {zoomed} > 1.1 * before", arg=before)


def test_a_refused_radiograph_is_put_right_by_hand_on_a_phone(listening: Page) -> None:
    page = listening
    empty(page)
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, "two.png", to_png(draw_requirement("two")))
    expect(page.locator("#baa-ready")).to_contain_text("two.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    page.locator("#baa-assess").click()
    expect(page.locator("#baa-card")).to_contain_text("Several hands were found")
    keep(page, "several_hands_390")
    page.get_by_role("button", name="Change the picture by hand").click()
    width = draw_requirement("two").shape[1]
    for edge, value in (("left", str(width // 2)), ("top", "0"), ("right", str(width)), ("bottom", "480")):
        page.locator(f"#baa-box-{edge}").locator("input, textarea").fill(value)
    expect(page.locator("#baa-picture .baa-box")).to_be_visible()
    page.locator("#baa-edit-crop").click()
    expect(page.locator("#baa-ready")).to_contain_text("cropped to columns")
    page.locator("#baa-assess").click()
    expect(page.locator("#baa-card .baa-result")).to_contain_text("Changed by hand before the estimate")
