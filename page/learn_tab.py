"""The Learn tab: a drawn hand that grows, a reading lesson, and what misleads the system. No child's picture is in it.

What moves is drawn in the browser (`learn.js`). It asks for what it needs through two hidden buttons: one answers at
once (the series of pictures, a hand of a lesson, a worksheet), the other waits in the queue of the networks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import gradio as gr

from baa_core.errors import BoneAgeError, LandmarksNotFound, UnsupportedImage
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.export.worksheet import worksheet_pdf
from baa_core.phantom import to_png, to_webp
from baa_core.phantom.lesson import LessonHand, lesson_set
from baa_core.phantom.series import LAST_MONTHS, STEP_MONTHS, phantom_at, read_series
from baa_core.reporting.timeline import timeline_figure
from baa_core.types import HandMask, Patient, Radiograph, Report, parse_sex

from . import learn_text as words
from .compare_view import heatmap_address
from .entries import FORGET_AFTER_SECONDS, NETWORKS, Upload, quietly, showing
from .html import refusal
from .kept import Kept
from .language import asked_language, in_language
from .learn_own import OwnHand, own_hands, small
from .service import CanAnswer, sentence_for
from .uploads import UploadFolder, take_uploads

SHOWN_HAND = LessonHand(number=1, bone_age_months=120, sex="female", seed=10)  # of the exercise about limits
UNCHANGED = "unchanged"
Asked = Mapping[str, Any]


class LearnTab(NamedTuple):
    """The hidden components through which the page's script asks, and a teacher's own radiographs.

    What it asks, two buttons, and their answers; the files chosen, what is kept of them, what is said about them.
    """

    asked: gr.Textbox
    ask: gr.Button
    told: gr.Textbox
    asked_networks: gr.Textbox
    ask_networks: gr.Button
    told_networks: gr.Textbox
    files: gr.File
    own: gr.State
    said: gr.HTML


def lay_out_learn() -> LearnTab:
    """Three parts, and the hidden components."""
    ask = gr.Button(visible="hidden", elem_id="baa-learn-ask")
    with gr.Tabs(elem_id="baa-learn-parts"):
        with gr.Tab("Growing hand", id="learn-hand"):
            gr.HTML(words.HAND)
            gr.HTML(words.TIMELINE_NOTE)
            timeline = gr.Plot(show_label=False, elem_id="baa-learn-timeline")
            gr.on(None, lambda: in_language(timeline_figure()), None, timeline, queue=False, **quietly(ask))
            gr.HTML(words.TABLES)
        with gr.Tab("Lesson", id="learn-lesson"):
            gr.HTML(words.LESSON)
            with gr.Accordion("Your own radiographs", open=False, elem_id="baa-learn-own"):
                gr.HTML(words.OWN)
                files = gr.File(label="Radiographs and one CSV table", file_count="multiple", height=140)
                said = gr.HTML(elem_id="baa-learn-own-said")
        with gr.Tab("Limits", id="learn-limits"):
            gr.HTML(words.LIMITS)
    return LearnTab(
        gr.Textbox("", visible="hidden"),
        ask,
        gr.Textbox("", visible="hidden"),
        gr.Textbox("", visible="hidden"),
        gr.Button(visible="hidden", elem_id="baa-learn-ask-networks"),
        gr.Textbox("", visible="hidden"),
        files,
        gr.State((), time_to_live=FORGET_AFTER_SECONDS),
        said,
    )


def connect_learn(do: LearnHandlers, tab: LearnTab, chosen: gr.State, kept: gr.State) -> None:
    """Which hidden button calls which handler; nothing here can be called from outside the page.

    Args:
        do: the handlers.
        tab: its components.
        chosen: the radiograph on the left, an `Upload`.
        kept: what was found on it, a `Kept`.
    """
    silent = quietly(tab.ask)
    quiet = silent | {"trigger_mode": "multiple"}
    on_said = showing(tab.said)
    say, hear = (
        "(...held) => [globalThis.baaLearn.asks('{0}'), ...held.slice(1)]",
        "(told) => globalThis.baaLearn.hears('{0}', told)",
    )
    at_once = tab.ask.click(
        do.answer, [tab.asked, tab.own, chosen, kept], tab.told, js=say.format("page"), queue=False, **quiet
    )
    at_once.then(None, tab.told, None, js=hear.format("page"), **silent)
    slow = tab.ask_networks.click(
        do.estimate, [tab.asked_networks, tab.own], tab.told_networks, js=say.format("networks"), **quiet, **NETWORKS
    )
    tab.files.upload(do.take, tab.files, [tab.files, tab.own, tab.said], **on_said)
    tab.files.clear(lambda: ((), ""), None, [tab.own, tab.said], queue=False, **on_said)
    slow.then(None, tab.told_networks, None, js=hear.format("networks"), **silent)


class LearnHandlers:
    """What the tab asks for. Questions and answers are JSON; an answer holds the question's number."""

    def __init__(self, assessor: CanAnswer, uploads: UploadFolder) -> None:
        self.assessor = assessor
        self.uploads = uploads
        self._answers: dict[str, Callable[[Asked], dict[str, Any]]] = {
            "facts": lambda _: {"facts": json.loads(words.facts_json())},
            "series": lambda asked: {"series": _base64(read_series(_sex(asked)))},
            "hand": lambda asked: shown(lesson_hand(asked)),
            "worksheet": lambda asked: {"pdf": _base64(worksheet_pdf(_whole(asked, "seed"), asked_language()))},
        }

    def answer(
        self, question: str, own: Sequence[OwnHand] = (), chosen: Upload | None = None, kept: Kept | None = None
    ) -> str:
        """Answer what needs no network: "facts", "series", "hand", "worksheet" or "mine"."""

        def told(asked: Asked) -> dict[str, Any]:
            about = str(asked.get("about"))
            if about == "mine":
                return beside(chosen, kept)
            if about == "hand" and asked.get("own"):
                return shown_own(own_hand(asked, own))
            if about not in self._answers:
                raise UnsupportedImage("The page asked for something that is not here. Load it again.")
            return self._answers[about](asked)

        return self._answered(question, told)

    def estimate(self, question: str, own: Sequence[OwnHand] = ()) -> str:
        """Assess a hand of a lesson, or the hand of the exercise about limits, changed or not."""

        def told(asked: Asked) -> dict[str, Any]:
            if "change" in asked:
                return self._tried(str(asked["change"]))
            if asked.get("own"):
                hand = own_hand(asked, own)
                return found(self.assessor.assess(hand.content, Patient(sex=hand.sex), name=hand.name, explain=True))
            drawn = lesson_hand(asked)
            return found(self._assess(drawn.draw().radiograph, Patient(sex=drawn.sex), explain=True))

        return self._answered(question, told)

    def take(self, paths: Sequence[str] | None) -> tuple[Any, Any, str]:
        """Read a teacher's radiographs and table into memory, delete the files, and say how many there are."""
        try:
            hands = own_hands(take_uploads(list(paths or ()), self.uploads))
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return None, (), refusal(sentence_for(error), "Not taken")
        return None, hands, words.own_taken(hands)

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

    def _tried(self, change: str) -> dict[str, Any]:
        """The exercise's hand under one change, beside the estimate of the unchanged hand."""
        radiograph, patient = changed(change)
        picture = _webp(radiograph)
        before = self._assess(changed(UNCHANGED)[0], Patient(sex=SHOWN_HAND.sex))
        tried = {"picture": picture, "before": found(before)}
        try:
            return {**tried, "after": found(self._assess(radiograph, patient))}
        except BoneAgeError as error:
            return {**tried, "refused": str(error)}

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


def own_hand(asked: Asked, own: Sequence[OwnHand]) -> OwnHand:
    """The hand of a teacher's own set that is asked for.

    Raises:
        UnsupportedImage: there is no such hand; the files are forgotten after an hour.
    """
    number = _whole(asked, "hand")
    if not 1 <= number <= len(own):
        raise UnsupportedImage("These radiographs are no longer kept. Choose the files again.")
    return own[number - 1]


def shown_own(hand: OwnHand) -> dict[str, Any]:
    """A radiograph of a teacher's own set for the browser, with its label."""
    return {"picture": _webp(small(hand.read())), "sex": hand.sex, "months": hand.months}


def beside(chosen: Upload | None, kept: Kept | None) -> dict[str, Any]:
    """The assessed radiograph in the place of the drawn hand of its estimated bone age.

    Raises:
        UnsupportedImage: nothing is assessed.
        LandmarksNotFound: its joints were not placed.
    """
    from baa_core.hand.landmarks import check_placed  # here: PyTorch takes seconds, and the page need not wait
    from baa_core.phantom.beside import aligned

    if chosen is None or kept is None or kept.belongs.file != chosen.file:
        raise UnsupportedImage("No radiograph is assessed on the page. Assess one under Case, and choose this again.")
    report = kept.report
    if report.hand.landmarks is None:
        raise LandmarksNotFound(
            "Too few joints of this hand were placed to lay a drawn hand beside it. Use a picture of the whole hand."
        )
    sex, months = report.prediction.sex_used, report.prediction.bone_age_months
    stop = min(LAST_MONTHS, max(0, STEP_MONTHS * round(months / STEP_MONTHS)))
    drawn = phantom_at(stop, sex)
    placed = check_placed(report.hand.landmarks).points
    lies = aligned(chosen.read(), placed, drawn.landmarks, drawn.mask.shape, inverted=report.hand.inverted)
    return {
        "picture": _webp(lies.radiograph), "sex": sex, "months": months, "stop": stop, "mirrored": lies.mirrored,
        "name": kept.belongs.name, "drawn": chosen.drawn,
    }  # fmt: skip


def found(report: Report) -> dict[str, Any]:
    """An estimate for the browser."""
    low, high = report.prediction.interval_months
    told: dict[str, Any] = {"months": report.prediction.bone_age_months, "low": low, "high": high}
    told["cautions"] = [caution.message for caution in report.cautions]
    return told if report.explanation is None else {**told, "map": heatmap_address(report)}


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
