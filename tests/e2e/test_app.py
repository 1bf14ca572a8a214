"""The page in a real browser, with the shipped networks and drawn hands. Set BAA_SCREENSHOTS to keep pictures."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect

from baa_core.phantom import draw_phantom, to_png
from baa_core.reference import compare_growth
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor
from page.examples import EXAMPLES
from tests.e2e.served_page import Served, assess, keep, upload
from tests.hostile import dicom_bytes, drawn_hand

pytestmark = pytest.mark.browser
EXAMPLE = next(iter(EXAMPLES))
IMAGE = "#baa-picture img.baa-base"
OPEN = "#baa-picture figure[data-open]"  # the viewer has its picture


@pytest.fixture(scope="module")
def hand() -> bytes:
    """A drawn hand of a girl of 10 years as PNG."""
    return to_png(draw_phantom(120.0, "female", seed=4, height_px=500).radiograph)


def offered_json(page: Page) -> dict:
    """What JSON of the Report menu downloads."""
    if not page.locator("#baa-json").is_visible():
        page.locator("#baa-report > button").click()
    with page.expect_download() as started:
        page.locator("#baa-json").click()
    assert started.value.suggested_filename == "bone-age-report.json"
    return json.loads(Path(started.value.path()).read_text())


def test_an_upload_is_assessed_like_anywhere_else(page: Page, hand: bytes, assessor: Assessor) -> None:
    upload(page, "hand.png", hand)
    page.get_by_label("Age: years").fill("9")
    page.get_by_label("Age: months").fill("6")
    card = assess(page, "Female")
    assert "Not a medical device" in card
    assert "90 % interval" in card
    assert "chronological age of 9 years 6 months" in card
    keep(page, "result_1280")

    told, report = offered_json(page), assessor.assess(hand, Patient("female", 114), name="hand.png")
    assert told["bone_age_months"] == pytest.approx(report.prediction.bone_age_months, abs=0.01)
    assert told["interval_months"] == pytest.approx(list(report.prediction.interval_months), abs=0.01)
    assert {**told, **report.to_dict(), "seconds": 0} == {**told, "seconds": 0}
    assert told["growth"]["sd_score"] == compare_growth(told["bone_age_months"], 114, "female").sd_score

    page.get_by_text("Interval, half-years and networks").click()
    members = page.locator("table", has_text="Network")
    for name in report.prediction.members:
        expect(members).to_contain_text(name)
    page.get_by_text("How was this made?").click()
    expect(page.locator(".baa-how")).to_contain_text("Rassmann")
    expect(page.locator(".baa-how")).to_contain_text(report.versions["weights/hand"])


def test_a_bad_file_is_refused_in_one_sentence_and_the_page_lives_on(page: Page, hand: bytes, served: Served) -> None:
    for name, content in (
        ("letter.dcm", b"Dear colleague"),
        ("half.png", hand[: len(hand) // 2]),
        ("nothing.png", b""),
    ):
        upload(page, name, content)
        card = page.locator(".baa-refusal")
        card.wait_for()
        assert str(served.folder) not in card.inner_text()
        assert "Traceback" not in page.inner_text("body")
        page.get_by_label("Clear", exact=True).first.click()
        card.wait_for(state="detached")
    keep(page, "refused_1280")
    upload(page, "hand.png", hand)
    assert "90 % interval" in assess(page, "Female")


def test_what_is_no_hand_gets_no_number(page: Page) -> None:
    upload(page, "chest.png", draw_chest())
    card = assess(page, "Male")
    assert "Not assessed" in card
    assert "hand" in card
    expect(page.locator(OPEN)).to_have_count(1)  # what was refused stays in view, without layers
    expect(page.locator("#baa-picture .baa-layer")).to_have_count(0)


def draw_chest() -> bytes:
    """Something like a chest radiograph: a bright trunk, two dark lungs, ribs, a heart."""
    rows, columns = np.mgrid[:640, :640].astype(np.float32) / 640
    chest = 0.75 - 0.4 * np.abs(columns - 0.5)
    for middle in (0.32, 0.68):
        lung = ((columns - middle) / 0.15) ** 2 + ((rows - 0.45) / 0.3) ** 2 < 1
        chest = np.where(lung, 0.2 + 0.08 * (np.sin(rows * 75 + 6 * np.abs(columns - 0.5)) > 0.4), chest)
    chest = np.where(((columns - 0.55) / 0.13) ** 2 + ((rows - 0.6) / 0.14) ** 2 < 1, 0.7, chest)
    chest += np.random.default_rng(5).normal(0, 0.02, chest.shape)
    return cv2.imencode(".png", (np.clip(cv2.GaussianBlur(chest, (0, 0), 3), 0, 1) * 255).astype(np.uint8))[1].tobytes()


def test_another_file_clears_what_the_first_showed_and_none_stays_on_the_disk(
    page: Page, hand: bytes, served: Served
) -> None:
    page.get_by_role("button", name=EXAMPLE).click()
    page.locator(".baa-result").wait_for()
    expect(page.locator(".baa-result")).to_contain_text("drawn, not a patient")
    page.locator(OPEN).wait_for()
    upload(page, "first.png", hand)
    expect(page.locator(".baa-chosen")).to_contain_text("first.png")
    expect(page.locator(".baa-result")).to_have_count(0)
    expect(page.locator("#baa-details")).not_to_be_visible()
    assert "drawn" not in assess(page, "Female")
    upload(page, "second.png", hand)
    expect(page.locator(".baa-chosen")).to_contain_text("second.png")
    expect(page.locator(".baa-result")).to_have_count(0)
    expect(page.locator("#baa-details")).not_to_be_visible()
    upload(page, "broken.png", hand[:500])
    page.locator(".baa-refusal").wait_for()
    assert served.files_left() == []


def test_entries_that_make_no_sense_are_said_to_and_an_unknown_sex_gives_both_estimates(
    page: Page, hand: bytes
) -> None:
    expect(page.locator("#baa-assess")).to_be_disabled()
    upload(page, "hand.png", hand)
    page.locator("#baa-assess").click()
    expect(page.locator(".baa-refusal")).to_contain_text("No sex has been chosen")
    page.get_by_label("Age: months").fill("-3")
    page.get_by_role("radio", name="Male", exact=True).check()
    page.locator("#baa-assess").click()
    expect(page.locator(".baa-refusal")).to_contain_text("cannot be negative")
    page.get_by_label("Age: months").fill("")
    page.get_by_role("radio", name="Unknown", exact=True).check()
    page.locator("#baa-assess").click()
    card = page.locator(".baa-result")
    for words in ("No sex was entered", "If a girl", "If a boy"):
        expect(card).to_contain_text(words)
    assert offered_json(page)["sex_entered"] == "unknown"


def test_a_dicom_offers_its_header_and_fills_in_nothing_unasked(page: Page) -> None:
    pixels = (drawn_hand(480, 360) * 4095).astype(np.uint16)
    upload(page, "IM0001", dicom_bytes(pixels, PatientSex="M", PatientAge="010Y"))
    expect(page.locator(".baa-offer")).to_contain_text("male, 10 years old")
    assert "Secret" not in page.inner_text("body")
    expect(page.get_by_role("radio", name="Male", exact=True)).not_to_be_checked()
    expect(page.get_by_label("Age: years")).to_have_value("")
    page.get_by_role("button", name="Use sex and age from the file").click()
    expect(page.get_by_role("radio", name="Male", exact=True)).to_be_checked()
    expect(page.get_by_label("Age: years")).to_have_value("10")


def test_a_phone_needs_no_sideways_scrolling(page: Page, hand: bytes) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 390
    upload(page, "a-rather-long-name-of-a-file-" * 4 + ".png", hand)
    assess(page, "Unknown")
    page.locator(OPEN).wait_for()
    page.get_by_text("Growth chart and earlier assessments").click()
    page.get_by_text("How was this made?").click()
    keep(page, "result_390")
    assert page.evaluate(width) <= 390


def test_nothing_is_fetched_for_anyone(served: Served) -> None:
    def status(path: str, content: dict | None = None) -> int:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(served.url + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert status("/") == 200
    for path in (
        "file=http://127.0.0.1:9/",
        "file=HTTPS://127.0.0.1:9/",
        "file=%68ttp%3A//127.0.0.1:9/",
        "proxy=http://a.b",
    ):
        assert status(f"/gradio_api/{path}") == 403
    assert status("/gradio_api/file=/etc/passwd") in (403, 404)
    foreign = {"path": "http://127.0.0.1:9/a.png", "meta": {"_type": "gradio.FileData"}}
    assert status("/gradio_api/call/assess", {"data": [foreign, "female", "", ""]}) == 403
    assert status("/gradio_api/queue/join", {"data": ["x" * 2_000_000]}) == 413


def test_the_one_public_endpoint(served: Served, hand: bytes, tmp_path: Path, assessor: Assessor) -> None:
    file = tmp_path / "hand.png"
    file.write_bytes(hand)
    client = Client(served.url, verbose=False, download_files=tmp_path)
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/assess"]
    told = client.predict(handle_file(file), "female", "10", "1", api_name="/assess")
    expected = assessor.assess(hand, Patient("female"), name="hand.png").prediction.bone_age_months
    assert told["bone_age_months"] == pytest.approx(expected, abs=0.01)
    file.write_bytes(b"no picture")
    with pytest.raises(AppError) as refused:
        client.predict(handle_file(file), "female", "", "", api_name="/assess")
    assert "hand.png" in str(refused.value)
    assert str(served.folder) not in str(refused.value)
    client.close()
    assert served.files_left() == []
