"""The Learn tab: a drawn hand that grows, a reading lesson, and what misleads the system. No child's picture is in it.

What moves is drawn in the browser (`learn.js`). It asks for what it needs through two hidden buttons: one answers at
once (the series of pictures, a hand of a lesson, a worksheet), the other waits in the queue of the networks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import gradio as gr

from baa_core.errors import BoneAgeError, UnsupportedImage
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.export.worksheet import worksheet_pdf
from baa_core.phantom import to_png, to_webp
from baa_core.phantom.lesson import LessonHand, lesson_set
from baa_core.phantom.series import read_series
from baa_core.reporting.timeline import timeline_figure
from baa_core.types import HandMask, Patient, Radiograph, Report, parse_sex

from . import learn_text as words
from .compare_view import heatmap_address
from .entries import NETWORKS
from .language import asked_language, in_language
from .service import CanAnswer, sentence_for

SHOWN_HAND = LessonHand(number=1, bone_age_months=120, sex="female", seed=10)  # of the exercise about limits
UNCHANGED = "unchanged"
Asked = Mapping[str, Any]


class LearnTab(NamedTuple):
    """The hidden components through which the page's script asks: what it asks, two buttons, and their answers."""

    asked: gr.Textbox
    ask: gr.Button
    told: gr.Textbox
    asked_networks: gr.Textbox
    ask_networks: gr.Button
    told_networks: gr.Textbox


def lay_out_learn() -> LearnTab:
    """Three parts, and the hidden components."""
    with gr.Tabs(elem_id="baa-learn-parts"):
        with gr.Tab("Growing hand", id="learn-hand"):
            gr.HTML(words.HAND)
            gr.HTML(words.TIMELINE_NOTE)
            gr.Plot(lambda: in_language(timeline_figure()), show_label=False, elem_id="baa-learn-timeline")
            gr.HTML(words.TABLES)
        with gr.Tab("Lesson", id="learn-lesson"):
            gr.HTML(words.LESSON)
        with gr.Tab("Limits", id="learn-limits"):
            gr.HTML(words.LIMITS)
    return LearnTab(
        gr.Textbox("", visible="hidden"),
        gr.Button(visible="hidden", elem_id="baa-learn-ask"),
        gr.Textbox("", visible="hidden"),
        gr.Textbox("", visible="hidden"),
        gr.Button(visible="hidden", elem_id="baa-learn-ask-networks"),
        gr.Textbox("", visible="hidden"),
    )


def connect_learn(do: LearnHandlers, tab: LearnTab) -> None:
    """Which hidden button calls which handler; nothing here can be called from outside the page."""
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "multiple"}
    say, hear = "() => [globalThis.baaLearn.asks('{0}')]", "(told) => globalThis.baaLearn.hears('{0}', told)"
    at_once = tab.ask.click(do.answer, tab.asked, tab.told, js=say.format("page"), queue=False, **quiet)
    at_once.then(None, tab.told, None, js=hear.format("page"), api_visibility="private")
    slow = tab.ask_networks.click(
        do.estimate, tab.asked_networks, tab.told_networks, js=say.format("networks"), **quiet, **NETWORKS
    )
    slow.then(None, tab.told_networks, None, js=hear.format("networks"), api_visibility="private")


class LearnHandlers:
    """What the tab asks for. Questions and answers are JSON; an answer holds the question's number."""

    def __init__(self, assessor: CanAnswer) -> None:
        self.assessor = assessor
        self._answers: dict[str, Callable[[Asked], dict[str, Any]]] = {
            "facts": lambda _: {"facts": json.loads(words.facts_json())},
            "series": lambda asked: {"series": _base64(read_series(_sex(asked)))},
            "hand": lambda asked: shown(lesson_hand(asked)),
            "worksheet": lambda asked: {"pdf": _base64(worksheet_pdf(_whole(asked, "seed"), asked_language()))},
        }

    def answer(self, question: str) -> str:
        """Answer what needs no network: "facts", "series", "hand" or "worksheet"."""
        return self._answered(question, self._told)

    def estimate(self, question: str) -> str:
        """Assess a hand of a lesson, or the hand of the exercise about limits, changed or not."""
        return self._answered(question, self._estimated)

    def _answered(self, question: str, answer: Callable[[Asked], dict[str, Any]]) -> str:
        number = None
        try:
            asked = json.loads(question)
            if not isinstance(asked, dict):
                raise UnsupportedImage("The page asked in a way that is not understood. Load it again.")
            number = asked.get("number")
            return json.dumps({"number": number, **answer(asked)})
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return json.dumps({"number": number, "error": sentence_for(error)})

    def _told(self, asked: Asked) -> dict[str, Any]:
        answer = self._answers.get(str(asked.get("about")))
        if answer is None:
            raise UnsupportedImage("The page asked for something that is not here. Load it again.")
        return answer(asked)

    def _estimated(self, asked: Asked) -> dict[str, Any]:
        if "change" in asked:
            return self._tried(str(asked["change"]))
        hand = lesson_hand(asked)
        return told(self._assess(hand.draw().radiograph, Patient(sex=hand.sex), explain=True))

    def _tried(self, change: str) -> dict[str, Any]:
        """The exercise's hand under one change, beside the estimate of the unchanged hand."""
        radiograph, patient = changed(change)
        picture = _webp(radiograph)
        before = self._assess(changed(UNCHANGED)[0], Patient(sex=SHOWN_HAND.sex))
        found = {"picture": picture, "before": told(before)}
        try:
            return {**found, "after": told(self._assess(radiograph, patient))}
        except BoneAgeError as error:
            return {**found, "refused": str(error)}

    def _assess(self, radiograph: Radiograph, patient: Patient, *, explain: bool = False) -> Report:
        return self.assessor.assess(to_png(radiograph), patient, name=radiograph.name, explain=explain)


def lesson_hand(asked: Asked) -> LessonHand:
    """The hand of a set that is asked for.

    Raises:
        UnsupportedImage: there is no such set or hand.
    """
    hands, number = lesson_set(_whole(asked, "seed")), _whole(asked, "hand")
    if not 1 <= number <= len(hands):
        raise UnsupportedImage(f"A set has no hand {number}. Give 1 to {len(hands)}.")
    return hands[number - 1]


def shown(hand: LessonHand) -> dict[str, Any]:
    """A hand of a lesson for the browser, with what is true of it."""
    picture = _webp(hand.draw().radiograph)
    return {"picture": picture, "sex": hand.sex, "months": hand.bone_age_months}


def told(report: Report) -> dict[str, Any]:
    """An estimate for the browser."""
    low, high = report.prediction.interval_months
    found = {"months": report.prediction.bone_age_months, "low": low, "high": high}
    found |= {"cautions": [caution.message for caution in report.cautions]}
    return found if report.explanation is None else {**found, "map": heatmap_address(report)}


@cache
def changed(change: str) -> tuple[Radiograph, Patient]:
    """The exercise's hand under one of `TRANSFORMS`, entered as a girl; as a boy for the other sex.

    Raises:
        UnsupportedImage: there is no such change.
    """
    phantom = SHOWN_HAND.draw()
    if change == OTHER_SEX:
        return phantom.radiograph, Patient(sex="male")
    if change == UNCHANGED:
        return phantom.radiograph, Patient(sex=SHOWN_HAND.sex)
    if change not in TRANSFORMS:
        raise UnsupportedImage("There is no such change. Choose one of those on the page.")
    hand = HandMask(phantom.mask, presence=1.0, tilt_degrees=0.0, inverted=False)
    return TRANSFORMS[change](phantom.radiograph, hand), Patient(sex=SHOWN_HAND.sex)


def _webp(radiograph: Radiograph) -> str:
    return "data:image/webp;base64," + _base64(to_webp(radiograph))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _sex(asked: Asked) -> Any:
    sex = parse_sex(str(asked.get("sex")))
    if sex is None:
        raise UnsupportedImage("A series is of a girl or of a boy. Give female or male.")
    return sex


def _whole(asked: Asked, name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnsupportedImage(f"The {name} of a set is a whole number. Give one.")
    return value
