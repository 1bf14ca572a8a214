"""The Assess tab: its layout, its handlers and how they are connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from baa_core.errors import SeveralHands, UnreadableImage
from baa_core.io import read_radiograph
from baa_core.recipes import RECIPES
from baa_core.reporting.charts import interval_figure
from baa_core.types import HandChoice, HandMask

from . import assess_text as text
from .assess_view import View, hands_address, view_of
from .cancellation import Runs, Stopped, session_of
from .entries import (
    FORGET_AFTER_SECONDS,
    NETWORKS,
    SAY,
    SAY_CHOSEN,
    Chosen,
    Entered,
    Entries,
    asked,
    entered,
    entered_patient,
    lay_out_outdated,
    new_file,
)
from .examples import draw_example
from .service import CanAnswer, sentence_for
from .uploads import UploadFolder, take_upload


class Shown(NamedTuple):
    """The picture of a result, and what the result belongs to."""

    belongs: Entered
    view: View


class Handlers:
    """What the page does. Each method turns what a visitor entered into values for components.

    A result belongs to the picture, sex and age it was made for, and carries them. A change of one of them stops what
    is under way.
    """

    def __init__(self, assessor: CanAnswer, uploads: UploadFolder) -> None:
        self.assessor = assessor
        self.uploads = uploads
        self.runs = Runs()

    def cleared(self, card: str = text.EMPTY) -> tuple[Any, ...]:
        """The result area without a result."""
        hidden = gr.update(visible=False)
        return card, hidden, hidden, "", None, "", "", None

    def unchanged(self) -> tuple[Any, ...]:
        """The result area as it is."""
        return tuple(gr.skip() for _ in self.cleared())

    def taken(
        self,
        chosen: Chosen | None,
        patient: tuple[Any, Any, Any],
        ready: str = "",
        offer: str = "",
        card: str = text.EMPTY,
    ) -> tuple[Any, ...]:
        """The picture chosen, what is said about it, whether Assess can be pressed, sex and age, and no result yet."""
        buttons = gr.update(visible=bool(offer)), gr.update(interactive=chosen is not None)
        file = "" if chosen is None else chosen.file
        return chosen, file, ready + offer, *buttons, *patient, *self.cleared(card)

    def take(self, path: str | None, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Read an upload, delete it, and say what its header offers. Sex and age of the one before are emptied.

        Where the page's script has emptied them already, when the file was chosen, they stay as they are now: they
        were entered for this file while it was on its way.
        """
        said = asked(token)
        self.runs.stop(session_of(request), said.at)
        patient = (gr.skip(), gr.skip(), gr.skip()) if said.emptied else (None, "", "")
        if path is None:
            return self.taken(None, patient)
        try:
            name, content = take_upload(path, self.uploads)
            radiograph = read_radiograph(content, name)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.taken(None, patient, card=text.refusal(sentence_for(error)))
        chosen = Chosen(name, content, False, radiograph.sex_in_file, radiograph.age_in_file_months, new_file())
        return self.taken(chosen, patient, text.chosen(name, chosen.file), text.offer(radiograph))

    def clear(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """No picture any more."""
        return self.take(None, token, request)

    def fill_in(self, chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, Any, Any]:
        """Sex, years and months from the file, when the visitor asks for them."""
        self.change(token, request)
        age = chosen.age_in_file_months
        return chosen.sex_in_file or gr.skip(), *((gr.skip(), gr.skip()) if age is None else text.age_boxes(age))

    def draw(self, label: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        """A drawn example in place of an upload, with its true sex and age."""
        self.change(token, request)
        example, content = draw_example(label)
        chosen = Chosen(label, content, drawn=True, file=new_file())
        patient = (example.sex, *text.age_boxes(example.age_months))
        return *self.taken(chosen, patient, text.chosen(label, chosen.file, drawn=True)), None

    def choose_hand(self, hand: HandChoice, chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, ...]:
        """One hand of the same picture, which is like another picture: results of the other hand belong to that."""
        self.change(token, request)
        chosen = chosen._replace(hand=hand, file=new_file())
        return chosen, chosen.file, text.chosen(chosen.name, chosen.file, chosen.drawn, hand), *self.cleared()

    def which_hand(self, chosen: Chosen, hands: Sequence[HandMask], belongs: Entered) -> tuple[Any, ...]:
        """The result area that asks which of several hands is meant."""
        address = hands_address(read_radiograph(chosen.content, chosen.name), hands)
        card, _, *rest = self.cleared(belongs.mark(text.several_hands(address)))
        return card, gr.update(visible=True), *rest

    def change(self, token: str, request: gr.Request) -> None:
        """The entries changed: stop what was asked for before."""
        self.runs.stop(session_of(request), asked(token).at)

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.runs.forget(session_of(request))

    def assess(
        self,
        chosen: Chosen | None,
        sex: str | None,
        years: str | None,
        months: str | None,
        with_mask: bool,
        with_heat: bool,
        opacity: float,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> tuple[Any, ...]:
        """The whole result area for the chosen picture, or a card that says why there is none.

        Nothing changes if the entries changed meanwhile.
        """
        if chosen is None:
            return self.cleared(text.refusal(text.NO_PICTURE))
        said, belongs = asked(token), entered(chosen, sex, years, months)
        if not said.is_of(chosen):
            return self.unchanged()
        session, stages = session_of(request), list(text.STAGES)
        run = self.runs.begin(session, said.at)

        def step(stage: str) -> None:
            run.look()
            progress((stages.index(stage), len(stages)), desc=stage.capitalize())

        try:
            run.look()
            patient = entered_patient(sex, years, months)
            report = self.assessor.assess(chosen.content, patient, explain=True, on_stage=step, **chosen.options)
            shown = Shown(belongs, view_of(report))
            picture = self.redraw(shown, chosen, with_mask, with_heat, opacity)
            run.look()
        except Stopped:
            return self.unchanged()
        except SeveralHands as error:
            if not error.hands:
                return self.cleared(belongs.mark(text.refusal(sentence_for(error))))
            return self.which_hand(chosen, error.hands, belongs)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.cleared(belongs.mark(text.refusal(sentence_for(error))))
        finally:
            self.runs.end(session, run)
        card = belongs.mark(text.result(report, chosen.drawn, belongs.words))
        how = text.how_made(report, RECIPES[report.recipe])
        hands, details = gr.update(visible=chosen.hand is not None), gr.update(visible=True)
        return card, hands, details, picture, interval_figure(report), text.members(report), how, shown

    def redraw(
        self, shown: Shown | None, chosen: Chosen | None, with_mask: bool, with_heat: bool, opacity: float
    ) -> str:
        """The picture again with other layers, opacity in percent; no network runs. "" if another one was chosen."""
        if shown is None or chosen is None or shown.belongs.file != chosen.file:
            return ""
        words = shown.belongs.words
        address = shown.view.address(with_mask, with_heat, opacity / 100, words)
        return text.picture(address, with_mask, with_heat, shown.belongs.download("bone-age"), words)

    def answer(self, file: str | None, sex: str | None, years: str | None, months: str | None) -> dict[str, Any]:
        """Assess one hand radiograph and return the report as JSON."""
        try:
            if file is None:
                raise UnreadableImage(text.NO_PICTURE)
            name, content = take_upload(file, self.uploads)
            return self.assessor.assess(content, entered_patient(sex, years, months), name=name).to_dict()
        except Exception as error:  # noqa: BLE001 the caller gets one sentence whatever happened
            raise gr.Error(sentence_for(error), print_exception=False) from None


def picking(do: Handlers, side: HandChoice) -> Callable[[Chosen, str, gr.Request], tuple[Any, ...]]:
    """What the button for the hand on one side does; Gradio does not count the arguments of a `partial` right."""

    def picked(chosen: Chosen, token: str, request: gr.Request) -> tuple[Any, ...]:
        return do.choose_hand(side, chosen, token, request)

    return picked


def connect(page: gr.Blocks, do: Handlers, left: Entries, right: Results) -> None:
    """Which entry calls which handler. Only `answer` can be called from outside the page."""
    patient, results, layers = [left.sex, left.years, left.months], list(right[:8]), list(right[8:11])
    hidden, answer = gr.Button(visible=False), gr.JSON(visible=False)
    hidden.click(do.answer, [left.file, *patient], answer, api_name="assess", **NETWORKS)

    private: dict[str, Any] = {"api_visibility": "private"}
    quiet = private | {"show_progress": "hidden"}
    says = quiet | {"js": SAY}
    working = private | NETWORKS | {"js": SAY, "show_progress_on": right.card, "trigger_mode": "always_last"}
    taken = [left.chosen, left.token, left.ready, left.use_offer, left.go, *patient, *results]
    left.file.upload(
        do.take, [left.file, left.token], taken, js=SAY_CHOSEN, show_progress_on=right.card, **private
    )  # fmt: skip
    left.file.clear(do.clear, left.token, taken, js=SAY_CHOSEN, **quiet)
    left.use_offer.click(do.fill_in, [left.chosen, left.token], patient, **says)
    assessed = [left.chosen, *patient, *layers, left.token]
    left.go.click(do.assess, assessed, results, scroll_to_output=True, **working)
    for button in left.examples:
        drawn = button.click(
            do.draw, [button, left.token], [*taken, left.file], js=SAY, show_progress_on=right.card, **private
        )  # fmt: skip
        drawn.then(do.assess, assessed, results, **working)
    for side, button in right.hand_buttons.items():
        one = [left.chosen, left.token, left.ready, *results]
        picked = button.click(picking(do, side), [left.chosen, left.token], one, **says)
        picked.then(do.assess, assessed, results, **working)
    gr.on([left.sex.input, left.years.input, left.months.input], do.change, left.token, None, queue=False, **says)
    # In the browser alone: empty sex and age when a file is chosen, look again when they change.
    left.empty.click(None, None, patient, js="() => [null, '', '']", **quiet)
    gr.on([entry.change for entry in patient], None, None, None, js="() => globalThis.baa?.check()", **quiet)
    page.unload(do.left)
    quick = quiet | {"trigger_mode": "always_last"}
    for listen in (right.with_mask.change, right.with_heat.change, right.opacity.change):
        listen(do.redraw, [right.view, left.chosen, *layers], right.picture, **quick)


class Results(NamedTuple):
    """The components on the right: what `Handlers.assess` fills, then the switches for the picture.

    `hand_buttons` choose one of several hands; they are shown where there are several.
    """

    card: gr.HTML
    hands: gr.Row
    details: gr.Column
    picture: gr.HTML
    interval: gr.Plot
    members: gr.HTML
    how: gr.HTML
    view: gr.State
    with_mask: gr.Checkbox
    with_heat: gr.Checkbox
    opacity: gr.Slider
    hand_buttons: dict[HandChoice, gr.Button]


def lay_out_results() -> Results:
    """The card, and below it everything that belongs to a result."""
    lay_out_outdated()
    card = gr.HTML(text.EMPTY, elem_id="baa-card")
    with gr.Row(visible=False, elem_id="baa-hands") as hands:
        sides: tuple[HandChoice, ...] = ("left", "right")
        hand_buttons = {side: gr.Button(f"Assess the hand on the {side}", min_width=150) for side in sides}
    with gr.Column(visible=False, elem_id="baa-details") as details:
        picture = gr.HTML(elem_id="baa-picture")
        with gr.Row(elem_classes="baa-layers"):
            with_mask = gr.Checkbox(True, label="Mask", min_width=100, container=False, scale=0)
            with_heat = gr.Checkbox(True, label="Heatmap", min_width=110, container=False, scale=0)
            opacity = gr.Slider(0, 100, 50, step=5, label="Heatmap opacity, %", min_width=220)
        interval = gr.Plot(show_label=False, elem_id="baa-interval")
        members = gr.HTML()
        with gr.Accordion("How was this made?", open=False):
            how = gr.HTML()
    view = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    return Results(
        card, hands, details, picture, interval, members, how, view, with_mask, with_heat, opacity, hand_buttons
    )  # fmt: skip
