"""The Learn tab in a real browser, with the shipped networks. Set BAA_SCREENSHOTS to keep pictures."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.phantom import draw_phantom, to_png
from baa_core.phantom.lesson import lesson_set
from tests.e2e.served_page import Served, keep, only_its_own, open_page, rest, serious_now

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SEED, HANDS = 7, 2
PHONE = {"width": 390, "height": 844}
DRAWN = "drawn, no child"


def open_learn(page: Page) -> None:
    """Open the tab, which may stand in the menu of further tabs, and wait for its first hand."""
    tab = page.locator("button[role=tab], .overflow-dropdown button").filter(has_text=re.compile("^Learn$"))
    tab.wait_for(state="attached")
    if not tab.is_visible():
        page.get_by_role("button", name="More tabs").first.click()
    tab.click()
    page.locator(".bl-hands .bl-frame img").first.wait_for()
    expect(page.locator(".bl-hands")).to_have_attribute("data-redrawn", re.compile(r"\d"))


@pytest.fixture(scope="module")
def learn(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """A page with the Learn tab open; it may ask for nothing beyond its own server."""
    page = visitor.new_page()
    with only_its_own(page, served.url):
        open_page(visitor, served.url, page=page)
        open_learn(page)
        yield page
        page.close()


@pytest.fixture
def hand(learn: Page) -> Page:
    """The growing hand of a girl of ten, as the tab opens."""
    learn.get_by_role("tab", name="Growing hand").click()
    learn.get_by_label("One hand", exact=True).check()
    learn.get_by_label("Girl", exact=True).check()
    to_age(learn, 120)
    return learn


def to_age(page: Page, months: int) -> None:
    """Move the slider by the keyboard: from its start, years by Page Up, then quarters by the arrow."""
    slider = page.locator("#bl-age")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(months // 12):
        page.keyboard.press("PageUp")
    for _ in range(months % 12 // 3):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_value(str(months))


def caption(page: Page) -> str:
    return page.locator(".bl-hands figcaption").first.inner_text()


def bones(page: Page) -> set[str]:
    return set(page.locator(".bl-hands .bl-part").evaluate_all("parts => parts.map((part) => part.dataset.name)"))


def test_the_hand_grows_by_keyboard_and_says_what_changed(hand: Page) -> None:
    expect(hand.locator(".bl-hands figcaption")).to_have_text("Girl, 10 years")
    assert "pisiform" in bones(hand)
    to_age(hand, 21)
    assert {"capitate", "hamate", "radius epiphysis"} <= bones(hand)
    assert "triquetrum" not in bones(hand)
    hand.keyboard.press("ArrowRight")
    expect(hand.locator("#bl-changes")).to_contain_text("the triquetrum appears")
    expect(hand.locator("#bl-changes")).to_contain_text("(R)")
    assert hand.locator(".bl-part.bl-new[data-name=triquetrum]").count() == 1
    expect(hand.locator("#bl-stage")).to_contain_text("Before puberty")
    hand.keyboard.press("ArrowLeft")
    expect(hand.locator("#bl-changes")).to_contain_text("not yet: the triquetrum appears")
    hand.keyboard.press("End")
    assert not [name for name in bones(hand) if name.endswith("epiphysis")]


def test_the_hand_grows_by_mouse(hand: Page) -> None:
    box = hand.locator("#bl-age").bounding_box()
    assert box is not None
    level = box["y"] + box["height"] / 2
    hand.mouse.move(box["x"] + box["width"] * 0.526, level)
    hand.mouse.down()
    hand.mouse.move(box["x"] + box["width"] * 0.75, level, steps=12)
    hand.mouse.up()
    months = int(hand.locator("#bl-age").input_value())
    assert 150 <= months <= 190
    expect(hand.locator("#bl-changes-title")).to_contain_text("10 years")
    expect(hand.locator("#bl-changes")).to_contain_text("the adductor sesamoid of the thumb appears")
    expect(hand.locator("#bl-changes")).to_contain_text("capping")


def test_boys_are_behind_girls_of_the_same_age(hand: Page) -> None:
    hand.get_by_label("Girl and boy", exact=True).check()
    to_age(hand, 39)
    expect(hand.locator(".bl-hands figcaption")).to_have_text(["Girl, 3 years 3 months", "Boy, 3 years 3 months"])
    expect(hand.locator("#bl-changes")).to_contain_text("In the girl already, in the boy not yet:")
    expect(hand.locator("#bl-changes")).to_contain_text("the lunate appears")
    keep(hand, "learn_sexes_1280")


def test_two_ages_and_the_spread_of_children_of_one_age(hand: Page) -> None:
    hand.get_by_label("Two ages", exact=True).check()
    expect(hand.locator(".bl-hands figcaption")).to_have_text(["Girl, 10 years", "Girl, 13 years"])
    expect(hand.locator("#bl-changes")).to_contain_text("capping")
    hand.get_by_label("Children of one age", exact=True).check()
    captions = hand.locator(".bl-hands figcaption")
    expect(captions).to_have_count(5)
    expect(captions.first).to_have_text("Girl, 10 years, −2 SD: bone age 8 years")
    expect(captions.last).to_have_text("Girl, 10 years, +2 SD: bone age 12 years")
    keep(hand, "learn_spread_1280")
    hand.get_by_label("One hand", exact=True).check()
    hand.locator("#bl-sd").focus()
    hand.keyboard.press("End")
    expect(captions).to_have_text("Girl, 10 years, +2 SD: bone age 12 years")
    to_age(hand, 204)
    expect(hand.locator("#bl-sd")).to_be_disabled()
    expect(hand.locator("#bl-sd-note")).to_contain_text("no spread is shown")
    expect(captions).to_have_text("Girl, 17 years")
    to_age(hand, 120)
    hand.locator("#bl-sd").focus()
    hand.keyboard.press("Home")
    for _ in range(4):
        hand.keyboard.press("ArrowRight")


def test_bones_are_named_on_hover_and_by_keyboard(hand: Page) -> None:
    status = hand.locator(".bl-bone")
    hand.locator(".bl-part[data-name=capitate]").hover()
    expect(status).to_contain_text("Capitate.")
    expect(status).to_contain_text("girls 2 months, boys 3 months (R)")
    hand.locator(".bl-part[data-name='metacarpal3 epiphysis']").hover()
    expect(status).to_contain_text("Epiphysis of the third metacarpal.")
    hand.locator(".bl-part").first.focus()
    expect(status).to_contain_text("Radius.")
    hand.keyboard.press("ArrowRight")
    expect(status).to_contain_text("Epiphysis of the distal radius.")
    hand.keyboard.press("ArrowLeft")
    expect(status).to_contain_text("Radius.")


def test_the_timeline_shows_this_age(hand: Page) -> None:
    line = hand.locator("#baa-learn-timeline .bl-line")
    expect(line).to_have_attribute("data-months", "120")
    before = line.bounding_box()
    to_age(hand, 180)
    expect(line).to_have_attribute("data-months", "180")
    after = line.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] > before["x"] + 40
    expect(hand.locator("#baa-learn-timeline .js-plotly-plot")).to_contain_text("Pisiform")
    hand.get_by_text("Every age with its source").click()
    assert hand.get_by_role("region", name="Ossification table").locator("tbody tr").count() == 72 + 3
    keep(hand, "learn_timeline_1280")


def test_every_stop_draws_another_hand(hand: Page) -> None:
    """How long that takes is measured by `python -m tests.e2e.weigh_learn`."""
    to_age(hand, 0)
    drawn = set()
    for _ in range(8):
        hand.evaluate("document.querySelector('.bl-hands').removeAttribute('data-redrawn')")
        hand.keyboard.press("ArrowRight")
        hand.wait_for_function("document.querySelector('.bl-hands').dataset.redrawn")
        drawn.add(hand.locator(".bl-hands .bl-frame img").first.get_attribute("src"))
    assert len(drawn) == 8


def test_every_drawn_hand_says_that_it_is_no_child(hand: Page) -> None:
    for label in ("Girl and boy", "Two ages", "Children of one age", "One hand"):
        hand.get_by_label(label, exact=True).check()
        for frame in hand.locator(".bl-frame").all():
            expect(frame).to_contain_text(DRAWN)
            assert "no child" in (frame.locator("img").get_attribute("alt") or "")


def test_a_phone_needs_no_sideways_scrolling(hand: Page) -> None:
    page, desktop = hand, hand.viewport_size
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    for label in ("Girl and boy", "Two ages", "Children of one age", "One hand"):
        page.get_by_label(label, exact=True).check()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    keep(page, "learn_390_dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(desktop)


def answered(page: Page, months: int, number: int, hands: int) -> str:
    """Type a reading of one hand of a lesson, reveal, and read what is told; then go on to the next."""
    expect(page.locator("#bl-which")).to_contain_text(f"Hand {number} of {hands}")
    expect(page.locator("#bl-reveal")).to_be_enabled()
    assert not page.locator("#bl-true").count(), "the truth is shown after the reading only"
    page.locator("#bl-years").fill(str(months // 12))
    page.locator("#bl-months").fill(str(months % 12))
    page.locator("#bl-reveal").click()
    expect(page.locator("#bl-system")).to_contain_text("90 % interval")
    told = page.locator("#bl-truth").inner_text()
    if number < hands:
        page.locator("#bl-next").click()
    return told


def test_a_link_opens_the_lesson_and_its_score_is_right(served: Served, visitor: BrowserContext) -> None:
    """Readings in turn 6 months too old and 4 too young: a mean error of 5.0 and a bias of 1.0 months."""
    page, sent = visitor.new_page(), list[str]()
    page.on("request", lambda request: sent.append(request.post_data or ""))
    link = f"{served.url}/?lesson={SEED}&hands={HANDS}"
    open_page(visitor, link, ready=False, page=page)  # opens on the lesson, not on the entries
    truths = [one.bone_age_months for one in lesson_set(SEED)[:HANDS]]
    off = (6, -4) * (HANDS // 2)
    for number, (truth, by) in enumerate(zip(truths, off, strict=True), start=1):
        told = answered(page, truth + by, number, HANDS)
        assert {6: "6 months too old", -4: "4 months too young"}[by] in told
        if number == 1:
            keep(page, "learn_lesson_1280")
    expect(page.locator("#bl-mean-error")).to_contain_text("5.0 months")
    expect(page.locator("#bl-mean-error")).to_contain_text("4.8 to 7.0 months")
    expect(page.locator("#bl-bias")).to_contain_text("+1.0 months")
    rows = page.locator("#bl-score tbody").last.locator("tr").all_inner_texts()
    errors = [float(re.findall(r"\(([+−][\d.]+)\)", row)[1].replace("−", "-")) for row in rows]
    mean = sum(map(abs, errors)) / HANDS
    shown = float(re.findall(r"([\d.]+) months", page.locator("#bl-mean-error").inner_text())[1])
    assert abs(shown - mean) < 0.11
    assert not [body for body in sent if '\\"read\\"' in body or "bl-years" in body], "the score stays in the browser"
    keep(page, "learn_score_1280")
    page.close()


def test_the_assessed_radiograph_lies_beside_the_drawn_hand_of_its_bone_age(hand: Page) -> None:
    """The drawn hands of the examples are turned and stand for a radiograph; the page says that they are drawn."""
    page = hand
    page.get_by_label("Beside the assessed radiograph").check()
    expect(page.locator(".bl-failed")).to_contain_text("No radiograph is assessed on the page.")
    page.get_by_role("tab", name="Case").click()
    page.get_by_role("button", name="Boy, 13 years").click()
    page.locator("#baa-card .baa-result").wait_for()
    bone_age = page.locator("#baa-card .baa-age").inner_text().splitlines()[0].split("  ")[0]
    page.get_by_role("tab", name="Learn").click()
    page.get_by_label("One hand", exact=True).check()
    page.get_by_label("Beside the assessed radiograph").check()
    expect(page.locator("#bl-mine figcaption")).to_contain_text("estimated bone age")
    assert bone_age.split(" month")[0] in page.locator("#bl-mine figcaption").inner_text()
    expect(page.locator("#bl-mine .baa-tag")).to_have_text(DRAWN)
    expect(page.get_by_label("Boy", exact=True)).to_be_checked()
    assert page.locator(".bl-hands .bl-figure").count() == 2
    first = page.locator(".bl-hands figcaption").last.inner_text()
    page.locator("#bl-age").press("ArrowRight")
    expect(page.locator(".bl-hands figcaption").last).not_to_have_text(first)
    keep(page, "learn_beside_1280")


def test_a_worksheet_can_be_downloaded_and_a_lesson_begun(learn: Page) -> None:
    learn.get_by_role("tab", name="Lesson", exact=True).click()
    learn.locator("#bl-seed").fill("12")
    expect(learn.locator("#bl-link")).to_have_attribute("href", re.compile(r"\?lesson=12$"))
    with learn.expect_download() as started:
        learn.locator("#bl-worksheet").click()
    assert started.value.suggested_filename == "bone-age-worksheet-12.pdf"
    assert Path(started.value.path()).read_bytes().startswith(b"%PDF")
    learn.get_by_role("button", name="Start the lesson", exact=True).click()
    expect(learn.locator("#bl-which")).to_contain_text("Hand 1 of 10")


def test_a_changed_hand_is_assessed_live(learn: Page) -> None:
    learn.get_by_role("tab", name="Limits", exact=True).click()
    learn.get_by_label("Other sex", exact=True).check()
    learn.locator("#bl-try").click()
    expect(learn.locator("#bl-after")).to_contain_text("Other sex")
    expect(learn.locator("#bl-after")).to_contain_text(re.compile(r"[+−]\d+\.\d months|no estimate"))
    keep(learn, "learn_limits_1280")


def test_axe_finds_nothing_serious(learn: Page) -> None:
    for part in ("Growing hand", "Lesson", "Limits"):
        learn.get_by_role("tab", name=part, exact=True).click()
        rest(learn)
        assert serious_now(learn, "#baa-learn-parts") == []


def test_a_teacher_uses_radiographs_of_his_own_and_none_stays_on_disk(served: Served, learn: Page) -> None:
    page = learn
    page.get_by_role("tab", name="Lesson", exact=True).click()
    page.get_by_role("button", name="Your own radiographs").click()
    hand = draw_phantom(110, "female", seed=4, height_px=500)
    page.locator("#baa-learn-own input[type=file]").set_input_files(
        [
            {"name": "a.png", "mimeType": "image/png", "buffer": to_png(hand.radiograph)},
            {"name": "labels.csv", "mimeType": "text/csv", "buffer": b"file,sex,bone_age_months\na.png,F,110\n"},
        ]
    )
    page.locator("#bl-own").click()
    told = answered(page, 113, 1, 1)
    assert "Label" in told and "3 months too old" in told and "Drawn bone age" not in told
    assert not page.locator("#bl-reading .baa-tag:visible").count(), "these are not said to be drawn"
    expect(page.locator("#bl-mean-error")).to_contain_text("3.0 months")
    assert not served.files_left()
    keep(page, "learn_own_1280")
