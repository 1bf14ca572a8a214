"""The stage: what is seen lies where it lies in the radiograph, at every zoom. Checked by pixels of screenshots."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from baa_core.phantom import draw_phantom
from tests.e2e.served_page import Served, assess, open_page, upload

pytestmark = pytest.mark.browser
MARK = (660, 40)  # row, column of the middle of a grey square on black, away from the hand
STAGE = "#baa-picture figure[data-open]"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """A drawn hand with a grey square, 41 px wide, at `MARK`, black around it."""
    grey = np.rint(draw_phantom(120.0, "female", seed=4, height_px=700).radiograph.pixels * 255).astype(np.uint8)
    row, column = MARK
    grey[row - 36 : row + 37, column - 36 : column + 37] = 0
    grey[row - 20 : row + 21, column - 20 : column + 21] = 128
    grey[row - 34 : row - 30, column - 34 : column - 30] = 255  # so that reading stretches no greys
    return grey


@pytest.fixture(scope="module")
def viewed(served: Served, browser: Browser, pixels: np.ndarray) -> Iterator[Page]:
    """The page with that radiograph on its stage, assessed."""
    page = open_page(browser, served.url, height=800)
    upload(page, "hand.png", cv2.imencode(".png", pixels)[1].tobytes())
    expect(page.locator("#baa-assess")).to_be_enabled()
    page.get_by_label("Age: years").fill("10")
    assert "SD score" in assess(page, "Female")
    page.locator(f"{STAGE} .baa-holder .baa-layer").first.wait_for()
    yield page
    page.context.close()


@pytest.fixture(autouse=True)
def afresh(viewed: Page) -> None:
    """Fitted, window and level as read, every layer hidden."""
    viewed.get_by_role("button", name="Window, level and polarity").click()
    viewed.get_by_role("button", name="Fit the radiograph").click()
    for box in viewed.locator(f"{STAGE} input[type=checkbox]").all():
        box.uncheck()


def seen_at(page: Page, row: int, column: int) -> tuple[int, ...]:
    """The colour on the screen where a pixel of the radiograph lies, once the stage has come to rest."""
    page.wait_for_timeout(500)
    holder = page.locator(f"{STAGE} .baa-holder")
    place = page.evaluate(
        "([row, column]) => document.querySelector('#baa-picture figure').baaStage.toStage(column, row)", [row, column]
    )
    screen = np.asarray(Image.open(BytesIO(holder.screenshot())).convert("RGB"))
    return tuple(int(value) for value in screen[round(place["y"]), round(place["x"])])


def scale(page: Page) -> float:
    page.wait_for_timeout(500)
    return page.evaluate("document.querySelector('#baa-picture figure').baaStage.scale()")


def test_a_pixel_lies_where_it_lies_at_every_zoom(viewed: Page) -> None:
    row, column = MARK
    assert seen_at(viewed, row, column) == pytest.approx((128,) * 3, abs=2)
    fitted = scale(viewed)
    viewed.locator(f"{STAGE} .openseadragon-canvas").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowDown"):
        viewed.keyboard.press(key)
    assert scale(viewed) == pytest.approx(fitted * 1.25**2, rel=0.01)
    for aside, grey in ((0, 128), (17, 128), (-17, 128), (24, 0), (-24, 0)):
        assert seen_at(viewed, row + aside, column + aside) == pytest.approx((grey,) * 3, abs=6), aside
    viewed.keyboard.press("1")
    assert scale(viewed) == pytest.approx(1.0, rel=0.01)
    viewed.keyboard.press("0")
    assert scale(viewed) == pytest.approx(fitted, rel=0.01)


def test_wheel_and_drag_zoom_and_move(viewed: Page) -> None:
    fitted = scale(viewed)
    box = viewed.locator(f"{STAGE} .baa-holder").bounding_box()
    viewed.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    viewed.mouse.wheel(0, -300)
    assert scale(viewed) > 1.1 * fitted
    where = "document.querySelector('#baa-picture figure').baaStage.toStage(280, 350)"
    before = viewed.evaluate(where)
    viewed.mouse.down()
    viewed.mouse.move(box["x"] + box["width"] / 2 + 30, box["y"] + box["height"] / 2 - 25, steps=5)
    viewed.wait_for_timeout(400)
    viewed.mouse.up()
    viewed.wait_for_timeout(1000)
    after = viewed.evaluate(where)
    assert after["x"] > before["x"] + 15
    assert after["y"] < before["y"] - 10


def test_window_level_and_inversion_change_greys_as_they_say(viewed: Page) -> None:
    row, column = MARK
    viewed.locator(STAGE).get_by_label("Window, percent").fill("50")
    assert seen_at(viewed, row, column) == pytest.approx((128,) * 3, abs=3), "the level itself stays"
    viewed.locator(STAGE).get_by_label("Level, percent").fill("40")
    assert seen_at(viewed, row, column) == pytest.approx((255 * (0.5 + (128 / 255 - 0.4) / 0.5),) * 3, abs=4)
    viewed.locator(f"{STAGE} .openseadragon-canvas").focus()
    viewed.keyboard.press("i")
    assert seen_at(viewed, row, column) == pytest.approx((255 * (0.5 - (128 / 255 - 0.4) / 0.5),) * 3, abs=4)
    viewed.get_by_role("button", name="Window, level and polarity").click()
    viewed.get_by_role("button", name="Drag changes window").click()
    box = viewed.locator(f"{STAGE} .baa-holder").bounding_box()
    viewed.mouse.move(box["x"] + 200, box["y"] + 200)
    viewed.mouse.down()
    viewed.mouse.move(box["x"] + 200, box["y"] + 240, steps=4)
    viewed.mouse.up()
    viewed.get_by_role("button", name="Drag changes window").click()
    assert seen_at(viewed, row, column) == pytest.approx((255 * (0.5 + 128 / 255 - 0.4),) * 3, abs=12)


def test_the_outline_lies_on_the_edge_of_the_hand_at_every_zoom(viewed: Page) -> None:
    viewed.get_by_role("checkbox", name="Hand outline").check()
    column, row = viewed.evaluate(
        """() => {
      const path = document.querySelector("#baa-picture .baa-layer path");
      const { x, y } = path.getPointAtLength(path.getTotalLength() / 3);
      return [Math.floor(x), Math.floor(y)];
    }"""
    )
    for presses in (0, 1):
        for _ in range(presses):
            viewed.get_by_role("button", name="Zoom in").click()
        place = viewed.evaluate(f"document.querySelector('#baa-picture figure').baaStage.toStage({column}, {row})")
        viewed.wait_for_timeout(600)
        picture = viewed.locator(f"{STAGE} .baa-holder").screenshot()
        screen = np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)
        place = viewed.evaluate(f"document.querySelector('#baa-picture figure').baaStage.toStage({column}, {row})")
        y, x = round(place["y"]), round(place["x"])
        around = screen[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        assert (around[..., 2] - around[..., 0]).max() > 60, "a cyan line passes here"


def test_the_heatmap_is_faded_by_its_slider(viewed: Page) -> None:
    viewed.get_by_role("checkbox", name="Heatmap").check()
    colours = []
    for percent in ("100", "0"):
        viewed.locator(STAGE).get_by_label("Heatmap: opacity").fill(percent)
        viewed.wait_for_timeout(500)
        picture = viewed.locator(f"{STAGE} .baa-holder").screenshot()
        screen = np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)
        colours.append(np.abs(screen[..., 0] - screen[..., 2]).max())
    viewed.locator(STAGE).get_by_label("Heatmap: opacity").fill("50")
    assert colours[0] > 100
    assert colours[1] < 30, "without heat the radiograph is grey"


def test_what_is_seen_is_what_is_downloaded(viewed: Page) -> None:
    viewed.locator(f"{STAGE} .openseadragon-canvas").focus()
    viewed.keyboard.press("i")
    row, column = MARK
    grey = seen_at(viewed, row, column)
    place = viewed.evaluate(f"document.querySelector('#baa-picture figure').baaStage.toStage({column}, {row})")
    with viewed.expect_download() as started:
        viewed.get_by_role("button", name="Download what is seen").click()
    assert started.value.suggested_filename == "hand_female_120-months_bone-age.png"
    kept = np.asarray(Image.open(Path(started.value.path())).convert("RGB"))
    assert kept[round(place["y"]), round(place["x"])] == pytest.approx(grey, abs=3)
    size = viewed.locator(f"{STAGE} .baa-holder").bounding_box()
    assert kept.shape[0] > size["height"] + 10, "file, sex and age stand below"


def test_a_first_visit_finds_an_example_that_gives_way_to_a_file(served: Served, browser: Browser) -> None:
    page = open_page(browser, served.url, height=800)
    example = page.locator("#baa-welcome figure[data-open]")
    expect(example).to_be_visible()
    expect(page.locator("#baa-welcome-card")).to_contain_text("drawn, not a patient")
    expect(page.locator("#baa-sex input:checked")).to_have_count(0)
    upload(page, "letter.png", b"Dear colleague")
    page.locator("#baa-card .baa-refusal").wait_for()
    expect(example).not_to_be_visible()
    expect(page.locator("#baa-welcome-card")).not_to_be_visible()
    page.context.close()


def test_axe_finds_nothing_serious_in_either_theme(viewed: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    viewed.get_by_text("Growth chart and earlier assessments").click()
    viewed.locator("#baa-chart .js-plotly-plot").wait_for()
    viewed.locator("#baa-report > button").click()
    for scheme in ("light", "dark"):
        viewed.emulate_media(color_scheme=scheme)
        viewed.evaluate("scheme => document.body.classList.toggle('dark', scheme === 'dark')", scheme)
        viewed.wait_for_timeout(1000)
        found = axe.run(viewed).response["violations"]
        bad = [
            (each["id"], [node["target"] for node in each["nodes"]][:4])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert not bad, scheme
