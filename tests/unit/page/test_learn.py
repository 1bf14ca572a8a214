"""What the Learn tab tells: facts with their source, hands by a seed, and a sentence where nothing can be told."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from baa_core.errors import HandNotFound
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.phantom.lesson import lesson_set
from baa_core.phantom.ossification import CARPALS, EPIPHYSES, sources
from baa_core.reporting.timeline import timeline_figure
from baa_core.types import SEXES
from page import learn_text as words
from page.learn_tab import LearnHandlers, changed


class Refuses:
    """Stands where the assessor does, to see what the tab says when a hand is refused."""

    def assess(self, *_args: Any, **_options: Any) -> Any:
        raise HandNotFound("No hand was found. Give a radiograph of a hand.")


@pytest.fixture
def handlers() -> LearnHandlers:
    return LearnHandlers(Refuses())  # type: ignore[arg-type]


def asked(handlers: LearnHandlers, **question: Any) -> dict[str, Any]:
    return json.loads(handlers.answer(json.dumps({"number": 5, **question})))


def test_everything_told_of_a_hand_has_a_source(handlers: LearnHandlers) -> None:
    told = asked(handlers, about="facts")
    assert told["number"] == 5
    for sex in SEXES:
        happenings = told["facts"]["happenings"][sex]
        assert len(happenings) == len(CARPALS) + 3 * len(EPIPHYSES) + 3
        assert [one["months"] for one in happenings] == sorted(one["months"] for one in happenings)
        assert {one["source"] for one in happenings} <= set(sources())
    assert told["facts"]["titles"]["metacarpal3 epiphysis"] == "Epiphysis of the third metacarpal"
    assert told["facts"]["about"]["triquetrum"] == "appears: girls 2 years, boys 3 years (R)."


def test_every_part_that_is_drawn_has_a_name(handlers: LearnHandlers) -> None:
    titles = words.bone_titles()
    for sex in SEXES:
        series = json.loads(gzip.decompress(base64.b64decode(asked(handlers, about="series", sex=sex)["series"])))
        assert {name for stop in series["stops"] for name in stop["bones"]} <= set(titles)


def test_a_hand_of_a_set_comes_with_its_truth(handlers: LearnHandlers) -> None:
    hand = lesson_set(3)[1]
    told = asked(handlers, about="hand", seed=3, hand=2)
    assert (told["months"], told["sex"]) == (hand.bone_age_months, hand.sex)
    assert told["picture"].startswith("data:image/webp;base64,")


@pytest.mark.parametrize(
    "question",
    [
        {"about": "hand", "seed": -1, "hand": 1},
        {"about": "hand", "seed": 3, "hand": 11},
        {"about": "hand", "seed": "x", "hand": 1},
        {"about": "hand"},
        {"about": "series", "sex": "unknown"},
        {"about": "something"},
        {},
    ],
)
def test_what_cannot_be_told_is_said_in_a_sentence(handlers: LearnHandlers, question: dict[str, Any]) -> None:
    told = asked(handlers, **question)
    assert set(told) == {"number", "error"}
    assert told["error"].endswith(".")


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_question_that_is_none_is_answered(handlers: LearnHandlers, text: str) -> None:
    assert json.loads(handlers.answer(text))["error"]


def test_a_hand_that_the_system_refuses_is_told_as_refused(handlers: LearnHandlers) -> None:
    told = json.loads(handlers.estimate(json.dumps({"number": 1, "seed": 3, "hand": 1})))
    assert told["error"] == "No hand was found. Give a radiograph of a hand."


def test_each_change_of_the_exercise_is_on_the_page() -> None:
    for change in (*TRANSFORMS, OTHER_SEX):
        assert f'value="{change}"' in words.LIMITS
    assert changed(OTHER_SEX)[1].sex == "male"
    assert changed("mirrored")[0].shape == changed("unchanged")[0].shape


def test_the_timeline_has_every_centre_for_both_sexes() -> None:
    figure = timeline_figure()
    markers = [trace for trace in figure.data if trace.mode == "markers"]
    assert [len(trace.x) for trace in markers] == [30, 21, 30, 21]
    assert all("source" in text for trace in markers for text in trace.text)
    assert len(figure.layout.yaxis.ticktext) == 30


def test_drawn_hands_are_marked_in_every_part() -> None:
    for part in (words.HAND, words.LESSON, words.LIMITS):
        assert words.DRAWN in part
