"""The page's words, its guard, and what its handlers do when something breaks."""

import asyncio
import json
import logging

import numpy as np
import pytest

import app
from baa_core.errors import HandNotFound, InvalidPatient
from baa_core.types import Patient, Radiograph
from page import text
from page.guard import Guard, is_proxy_route, judge
from page.intake import Chosen, entered_patient


@pytest.mark.parametrize(
    ("years", "months", "expected"),
    [
        ("", "", None),
        (None, None, None),
        ("10", "", 120),
        ("", "7", 7),
        ("9", "6", 114),
        ("10,5", "", 126),
        ("", "140", 140),
    ],
)
def test_two_boxes_make_an_age(years: str | None, months: str | None, expected: float | None) -> None:
    assert text.entered_age_months(years, months) == expected


@pytest.mark.parametrize(
    ("years", "months"), [("ten", ""), ("-1", ""), ("", "-3"), ("10", "13"), ("nan", ""), ("30", "")]
)
def test_impossible_ages_are_refused(years: str, months: str) -> None:
    with pytest.raises(InvalidPatient):
        entered_patient("female", years, months)


def test_an_age_survives_the_boxes() -> None:
    for months in (0.0, 7.0, 12.0, 120.5, 143.9, 155.96):
        assert text.entered_age_months(*text.age_boxes(months)) == pytest.approx(months, abs=0.05)


def test_words_from_a_file_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>.png"
    for words in (text.refusal(evil), text.chosen(evil)):
        assert "<img" not in words


def test_an_offer_says_what_the_header_says_and_no_more() -> None:
    blank = np.zeros((4, 4), np.float32)
    assert text.offer(Radiograph(blank)) == ""
    assert "male, 10 years 1 month old" in text.offer(Radiograph(blank, sex_in_file="male", age_in_file_months=121.0))


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/gradio_api/file=http://a.b/c", True),
        ("/gradio_api/file=%48TTPS%3a//a.b", True),
        ("/gradio_api/proxy=https://a.b", True),
        ("/gradio_api/file=/tmp/bone-age-1/http.png", False),
        ("/assets/index.js", False),
    ],
)
def test_routes_that_fetch_are_known(path: str, refused: bool) -> None:
    assert is_proxy_route(path) is refused


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", None),
        (b'{"data": [{"path": "/tmp/x", "url": "http://here/file=/tmp/x"}]}', None),
        (b'{"data": [[{"path": "\\u0068ttp://a.b"}]]}', 403),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'"' + b"x" * 1_100_000 + b'"', 413),
    ],
)
def test_events_are_judged(content: bytes, status: int | None) -> None:
    verdict = judge(content)
    assert (verdict and verdict[0]) == status


def test_the_guard_passes_an_event_on_unchanged_with_safe_headers() -> None:
    sent, got = [], []
    event = json.dumps({"data": ["female"]}).encode()
    parts = [
        {"type": "http.request", "body": event[:5], "more_body": True},
        {"type": "http.request", "body": event[5:], "more_body": False},
    ]

    async def behind(scope, receive, send):  # type: ignore[no-untyped-def]
        got.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():  # type: ignore[no-untyped-def]
        return parts.pop(0)

    async def send(message):  # type: ignore[no-untyped-def]
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(Guard(behind)(scope, receive, send))
    assert got[0]["body"] == event
    names = {name for name, _ in sent[0]["headers"]}
    assert names == {b"x-content-type-options", b"referrer-policy", b"content-security-policy"}


class Breaking:
    """An assessor that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def assess(self, source: bytes, patient: Patient, **options: object) -> None:
        """Fail as told."""
        raise self.error


def pressed_assess(error: Exception) -> str:
    """The card that a visitor gets when assessing fails."""
    chosen = Chosen("hand.png", b"")
    return app.Handlers(Breaking(error)).assess(chosen, "female", "", "", True, True, 50)[0]  # type: ignore[arg-type]


def test_a_refusal_is_shown_as_it_is() -> None:
    assert "No hand was found &amp; so on" in pressed_assess(HandNotFound("No hand was found & so on"))


def test_an_unforeseen_error_shows_one_neutral_line_and_logs_no_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        card = pressed_assess(RuntimeError("/tmp/secret Jane Doe"))
    assert text.NEUTRAL in card
    assert "Jane" not in card + caplog.text
    assert "RuntimeError" in caplog.text
    assert "in assess" in caplog.text
