"""The stage: what is seen lies where it lies in the radiograph, at every zoom. Checked by pixels of screenshots."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.phantom import draw_phantom
from tests.e2e.served_page import Served, assess, keep, open_page, rest, upload

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
def viewed(served: Served, visitor: BrowserContext, pixels: np.ndarray) -> Iterator[Page]:
    """The page with that radiograph on its stage, assessed."""
    page = open_page(visitor, served.url, height=800)
    upload(page, "hand.png", cv2.imencode(".png", pixels)[1].tobytes())
    expect(page.locator("#baa-assess")).to_be_enabled()
    page.get_by_label("Age: years").fill("10")
    assert "SD score" in assess(page, "Female")
    page.locator(f"{STAGE} .baa-holder .baa-layer").first.wait_for()
    yield page
    page.close()


@pytest.fixture(autouse=True)
def afresh(viewed: Page) -> None:
    """Fitted, window and level as read, every layer hidden; in front, since pages behind others hardly move."""
    viewed.bring_to_front()
    viewed.get_by_role("button", name="Window, level and polarity").click()
    viewed.get_by_role("button", name="Fit the radiograph").click()
    for box in viewed.locator(f"{STAGE} input[type=checkbox]").all():
        box.uncheck()


def still(page: Page) -> None:
    """Return when the stage shows its radiograph where it is to stay."""
    page.wait_for_function(
        """() => {
      const { viewer } = document.querySelector("#baa-picture figure").baaStage;
      const now = JSON.stringify([viewer.viewport.getBounds(true), viewer.viewport.getBounds()]);
      const drawn = viewer.world.getItemAt(0).getFullyLoaded() && !viewer.world.needsDraw();
      viewer.frames = drawn && now === viewer.before ? viewer.frames + 1 : 0;
      viewer.before = now;
      return viewer.frames > 3;
    }""",
        polling="raf",
    )
    rest(page)


def seen_at(page: Page, row: int, column: int) -> tuple[int, ...]:
    """The colour on the screen where a pixel of the radiograph lies, once the stage has come to rest."""
    still(page)
    holder = page.locator(f"{STAGE} .baa-holder")
    place = page.evaluate(
        "([row, column]) => document.querySelector('#baa-picture figure').baaStage.toStage(column, row)", [row, column]
    )
    screen = np.asarray(Image.open(BytesIO(holder.screenshot())).convert("RGB"))
    return tuple(int(value) for value in screen[round(place["y"]), round(place["x"])])


def scale(page: Page) -> float:
    still(page)
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
    still(viewed)
    viewed.mouse.up()
    still(viewed)
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
        still(viewed)
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
        still(viewed)
        picture = viewed.locator(f"{STAGE} .baa-holder").screenshot()
        screen = np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)
        colours.append(np.abs(screen[..., 0] - screen[..., 2]).max())
    viewed.locator(STAGE).get_by_label("Heatmap: opacity").fill("50")
    assert colours[0] > 100
    assert colours[1] < 30, "without heat the radiograph is grey"


def screen_of(page: Page) -> np.ndarray:
    """The stage as it is on the screen, once it has come to rest."""
    still(page)
    picture = page.locator(f"{STAGE} .baa-holder").screenshot()
    return np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)


def test_landmarks_lie_on_their_joints_at_every_zoom(viewed: Page) -> None:
    rings = viewed.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#baa-picture .baa-layer circle")].map((ring) => [
      ring.textContent, ["cx", "cy", "r"].map((name) => Number(ring.getAttribute(name)))]))"""
    )
    truth = draw_phantom(120.0, "female", seed=4, height_px=700).landmarks
    assert len(rings) == 23
    for name in ("middle_finger4", "thumb2", "wrist"):
        row, column = truth[name]
        assert rings[name][:2] == pytest.approx((column, row), abs=14), name
    viewed.get_by_role("checkbox", name="Landmarks").check()
    across, down, radius = rings["middle_finger2"]
    for zooms in (0, 2):
        for _ in range(zooms):
            viewed.get_by_role("button", name="Zoom in").click()
        screen = screen_of(viewed)
        place = viewed.evaluate(
            f"document.querySelector('#baa-picture figure').baaStage.toStage({across - 0.5}, {down - 0.5})"
        )
        ring = radius * scale(viewed)
        cyan = screen[..., 2] - screen[..., 0] > 60
        y, x = round(place["y"]), round(place["x"])
        for aside in (-ring, ring):
            assert cyan[y - 2 : y + 3, round(x + aside) - 2 : round(x + aside) + 3].any(), (
                "the ring is around the joint"
            )
        assert not cyan[y - 1 : y + 2, round(x + 3 * ring)].any()


def test_regions_are_outlined_and_named(viewed: Page) -> None:
    before = screen_of(viewed)
    viewed.get_by_role("checkbox", name="Regions").check()
    changed = np.abs(screen_of(viewed) - before).max(axis=2) > 60
    place = viewed.evaluate(
        """() => {
      const path = document.querySelector("#baa-picture [data-layer=Regions] path");
      const { x, y } = path.getPointAtLength(path.getTotalLength() / 4);
      return document.querySelector("#baa-picture figure").baaStage.toStage(x - 0.5, y - 0.5);
    }"""
    )
    y, x = round(place["y"]), round(place["x"])
    assert changed[y - 2 : y + 3, x - 2 : x + 3].any()
    names = viewed.locator("#baa-picture [data-layer=Regions] text").all_text_contents()
    assert {"Carpal bones", "Radius and ulna", "Metacarpals"} <= set(names)


def test_before_and_after_shows_the_heatmap_on_one_side_of_a_line_that_can_be_dragged(viewed: Page) -> None:
    viewed.get_by_role("checkbox", name="Heatmap").check()
    viewed.locator(STAGE).get_by_label("Heatmap: opacity").fill("100")
    whole = np.abs(screen_of(viewed)[..., 0] - screen_of(viewed)[..., 2]) > 40
    slider = viewed.locator(STAGE).get_by_label("Before and after")
    slider.fill("50")
    for zooms in (0, 1):
        for _ in range(zooms):
            viewed.get_by_role("button", name="Zoom in").click()
        half = screen_of(viewed)
        middle = viewed.evaluate(
            """() => {
          const stage = document.querySelector("#baa-picture figure").baaStage;
          return stage.toStage(stage.held.width / 2 - 0.5, 0).x;
        }"""
        )
        coloured = np.abs(half[..., 0] - half[..., 2]) > 40
        assert not coloured[:, : round(middle) - 8].any(), "left of the line the radiograph is as it was"
        assert coloured[:, round(middle) + 8 :].sum() > 500
    assert whole[:, : whole.shape[1] // 2].any(), "without the line there is heat on both sides"
    box = viewed.locator(f"{STAGE} .baa-divider").bounding_box()
    viewed.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    viewed.mouse.down()
    viewed.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + 200, steps=4)
    viewed.mouse.up()
    assert int(slider.input_value()) > 52
    slider.fill("0")
    viewed.locator(STAGE).get_by_label("Heatmap: opacity").fill("50")


def test_a_first_visit_finds_an_example_that_gives_way_to_a_file(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    example = page.locator("#baa-welcome figure[data-open]")
    expect(example).to_be_visible()
    expect(page.locator("#baa-welcome-card")).to_contain_text("drawn, not a patient")
    expect(page.locator("#baa-sex input:checked")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "a phone needs no sideways scrolling"
    page.set_viewport_size({"width": 1280, "height": 800})
    upload(page, "letter.png", b"Dear colleague")
    page.locator("#baa-card .baa-refusal").wait_for()
    expect(example).not_to_be_visible()
    expect(page.locator("#baa-welcome-card")).not_to_be_visible()


def test_a_rectangle_drawn_on_the_stage_is_cropped_and_undone_and_the_old_answer_goes(
    page: Page, pixels: np.ndarray
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    upload(page, "side.png", cv2.imencode(".png", np.rot90(pixels))[1].tobytes())
    page.locator("#baa-picture figure[data-open]").wait_for()
    page.get_by_label("Age: years").fill("10")
    page.get_by_role("button", name="Change the picture by hand").click()
    page.locator("#baa-edit-turn").click()
    expect(page.locator("#baa-ready")).to_contain_text("turned by 90 degrees clockwise")
    page.locator("#baa-picture figure[data-open]").wait_for()
    page.locator("#baa-box-draw").click()
    still(page)
    stage = "document.querySelector('#baa-picture figure').baaStage"
    holder = page.locator(f"{STAGE} .baa-holder").bounding_box()
    height, width = pixels.shape
    ends = [page.evaluate(f"{stage}.toStage({c - 0.5}, {r - 0.5})") for c, r in ((60, 20), (width - 10, height - 4))]
    page.mouse.move(*(holder[axis] + ends[0][axis] for axis in "xy"))
    page.mouse.down()
    page.mouse.move(*(holder[axis] + ends[1][axis] for axis in "xy"), steps=6)
    page.mouse.up()
    edges = [page.locator(f"#baa-box-{edge}").locator("input, textarea") for edge in ("left", "top", "right", "bottom")]
    drawn = [int(edge.input_value()) for edge in edges]
    assert drawn == pytest.approx([60, 20, width - 10, height - 4], abs=3)
    for edge, value in zip(edges, ("60", "20", str(width - 10), str(height)), strict=True):
        edge.fill(value)
    page.locator("#baa-edit-crop").click()
    expect(page.locator("#baa-ready")).to_contain_text(f"cropped to columns 20 to {height} and rows 10 to {width - 60}")
    card = assess(page, "Female")
    assert "Changed by hand before the estimate" in card
    outline = page.evaluate(
        """() => { const box = document.querySelector("#baa-picture [data-layer='Hand outline'] path").getBBox();
           return [box.x, box.y, box.x + box.width, box.y + box.height]; }"""
    )
    true = np.argwhere(draw_phantom(120.0, "female", seed=4, height_px=700).mask)
    (top, left), (bottom, right) = true.min(axis=0), true.max(axis=0)
    assert outline == pytest.approx([left - 60, top - 20, right - 60, bottom - 20], abs=12), "it lies on the shown hand"
    keep(page, "case_edited_1280")
    page.locator("#baa-edit-reset").click()
    expect(page.locator("#baa-card .baa-result")).to_have_count(0)
    expect(page.locator("#baa-ready")).not_to_contain_text("turned")


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
