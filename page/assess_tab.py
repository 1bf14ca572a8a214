"""The Case tab: its layout, its handlers and how they are connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from baa_core.errors import (
    HandRefused,
    InvalidEdits,
    InvalidPatient,
    SeveralHands,
    UnreadableImage,
    UnsupportedImage,
)
from baa_core.export import FORMS, collect, text_report
from baa_core.io import read_radiograph
from baa_core.recipes import RECIPES
from baa_core.reference import DEFAULT_CONVENTION, Convention
from baa_core.reporting.charts import interval_figure
from baa_core.types import HandChoice, HandMask, Patient, Radiograph

from . import assess_text as text
from . import edits_text
from .cancellation import Runs, Stopped, session_of
from .edits import Edit, EditControls, edited, lay_out_edits
from .entries import (
    EMPTIED,
    FORGET_AFTER_SECONDS,
    NETWORKS,
    SAY,
    SAY_CHOSEN,
    Entered,
    Entries,
    Upload,
    age_boxes,
    asked,
    entered,
    entered_patient,
    lay_out_outdated,
    new_file,
    quietly,
    showing,
)
from .examples import draw_example
from .growth import (
    CONVENTION_CHOICES,
    CONVENTION_HELP,
    EARLIER_HELP,
    around_chart,
    chart_of,
    half_years,
    line_from_json,
    parse_earlier,
    with_line,
)
from .html import NO_PICTURE as NO_FILE
from .html import refusal
from .kept import Kept, keep_report
from .language import in_language
from .report_menu import SAVE, Menu, has_dicom_reports, lay_out_menu, make_report, packed
from .service import CanAnswer, sentence_for
from .uploads import UploadFolder, take_upload
from .viewer import NO_PICTURE, hands_stage, plain_stage, report_stage

if TYPE_CHECKING:
    from baa_core.workflows.findings import Findings

EARLIER = "Earlier assessments of this child"
WELCOME = "Boy, 13 years"  # of `EXAMPLES`: the one that a visitor finds assessed


class Handlers:
    """What the page does. Each method turns what a visitor entered into values for components.

    A result belongs to the picture, sex and age it was made for, and carries them. A change of one of them stops what
    is under way.
    """

    def __init__(self, assessor: CanAnswer, uploads: UploadFolder) -> None:
        self.assessor = assessor
        self.uploads = uploads
        self.runs = Runs()
        self._welcome: tuple[str, str] | None = None

    def welcome(self) -> tuple[str, str]:
        """Stage and card of a drawn example, assessed once for all visitors; nothing while that is not possible."""
        if self._welcome is None:
            try:
                example, content = draw_example(WELCOME)
                patient = Patient(example.sex, example.age_months)
                report = self.assessor.assess(content, patient, explain=True, name=WELCOME)
                stage = report_stage(report, f"Example, drawn and not a patient: {WELCOME}", "bone-age-example.png")
                self._welcome = stage, text.welcome(collect(report), WELCOME)
            except Exception as error:  # noqa: BLE001 whoever presses Assess is told
                sentence_for(error)
                return "", ""
        return self._welcome

    def cleared(self, card: str = text.EMPTY, stage: Any = None, edits: Any = None) -> tuple[Any, ...]:
        """The result area without a result.

        Args:
            card: in place of the result.
            stage: a radiograph; left out, the one that is there stays.
            edits: an update of the part that changes the picture by hand; left out, it stays as it is.
        """
        hidden = gr.update(visible=False)
        shown = gr.skip() if stage is None else stage
        changing = gr.skip() if edits is None else edits
        return card, hidden, hidden, hidden, hidden, hidden, shown, None, None, *[""] * 5, None, changing, ""

    def refused(self, error: Exception, belongs: Entered) -> tuple[Any, ...]:
        """The result area that says why there is no result; the picture can be changed by hand where that may help."""
        sentence = sentence_for(error)
        if not isinstance(error, (HandRefused, InvalidEdits, UnsupportedImage)):
            return self.cleared(belongs.mark(refusal(sentence)))
        card = belongs.mark(refusal(sentence) + edits_text.OFFER)
        return self.cleared(card, edits=gr.update(visible=True, open=True))

    def unchanged(self) -> tuple[Any, ...]:
        """The result area as it is."""
        return tuple(gr.skip() for _ in self.cleared())

    def taken(
        self,
        chosen: Upload | None,
        patient: tuple[Any, Any, Any, Any],
        ready: str = "",
        offer: str = "",
        card: str = text.EMPTY,
        stage: str = NO_PICTURE,
    ) -> tuple[Any, ...]:
        """The picture chosen, what is said about it, whether Assess can be pressed, sex and age, and no result yet."""
        buttons = gr.update(visible=bool(offer)), gr.update(interactive=chosen is not None)
        file = "" if chosen is None else chosen.file
        edits = gr.update(visible=chosen is not None, open=False)
        return chosen, file, ready + offer, *buttons, *patient, *self.cleared(card, stage, edits)

    def take(self, path: str | None, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Read an upload, delete it, and say what its header offers. Sex and age of the one before are emptied.

        Where the page's script has emptied them already, when the file was chosen, they stay as they are now: they
        were entered for this file while it was on its way. Nothing changes if another picture was chosen meanwhile.
        """
        said, session = asked(token), session_of(request)
        self.runs.replace(session, said.at)
        patient = (gr.skip(),) * 4 if said.emptied else (None, "", "", "")
        if path is None:
            taken = self.taken(None, patient)
        else:
            try:
                name, content = take_upload(path, self.uploads)
                radiograph = read_radiograph(content, name)
            except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
                taken = self.taken(None, patient, card=refusal(sentence_for(error)))
            else:
                header = radiograph.sex_in_file, radiograph.age_in_file_months
                chosen = Upload(name, content, False, *header, new_file())
                ready, stage = text.chosen(name, chosen.file), unassessed(chosen, radiograph)
                taken = self.taken(chosen, patient, ready, text.offer(radiograph), stage=stage)
        return self.if_newest(taken, session, said.at)

    def if_newest(self, taken: tuple[Any, ...], session: str, at: float) -> tuple[Any, ...]:
        """What a choice of a picture shows; nothing changes if another choice was made after it."""
        return taken if self.runs.is_newest(session, at) else tuple(gr.skip() for _ in taken)

    def clear(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """No picture any more."""
        return self.take(None, token, request)

    def fill_in(self, chosen: Upload, token: str, request: gr.Request) -> tuple[Any, Any, Any]:
        """Sex, years and months from the file, when the visitor asks for them."""
        self.change(token, request)
        age = chosen.age_in_file_months
        return chosen.sex_in_file or gr.skip(), *((gr.skip(), gr.skip()) if age is None else age_boxes(age))

    def draw(self, label: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        """A drawn example in place of an upload, with its true sex and age."""
        said, session = asked(token), session_of(request)
        self.runs.replace(session, said.at)
        example, content = draw_example(label)
        chosen = Upload(label, content, drawn=True, file=new_file())
        patient = (example.sex, *age_boxes(example.age_months), "")
        ready, stage = text.chosen(label, chosen.file, drawn=True), unassessed(chosen)
        taken = *self.taken(chosen, patient, ready, stage=stage), None
        return self.if_newest(taken, session, said.at)

    def choose_hand(self, hand: HandChoice, chosen: Upload, token: str, request: gr.Request) -> tuple[Any, ...]:
        """One hand of the same picture, which is like another picture: results of the other hand belong to that."""
        self.change(token, request)
        chosen = chosen._replace(hand=hand, file=new_file())
        return self.changed(chosen)

    def changed(self, chosen: Upload) -> tuple[Any, ...]:
        """The same file in another way: its line, its stage, and no result yet."""
        ready = text.chosen(chosen.name, chosen.file, chosen.drawn, chosen.about)
        return chosen, chosen.file, ready, *self.cleared(stage=unassessed(chosen))

    def edit(
        self,
        what: Edit,
        chosen: Upload | None,
        kept: Kept | None,
        left: str | None,
        top: str | None,
        right: str | None,
        bottom: str | None,
        token: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """The picture turned, mirrored, inverted, cropped or as it came; like another picture, not assessed yet."""
        if chosen is None:
            return gr.skip(), gr.skip(), gr.skip(), *self.unchanged()
        self.change(token, request)
        inverted = kept is not None and kept.belongs.file == chosen.file and kept.report.hand.inverted
        try:
            edits = edited(what, chosen, inverted, (left, top, right, bottom))
            return self.changed(chosen._replace(edits=edits, hand=None, file=new_file()))
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            *same, _ = self.unchanged()
            return gr.skip(), gr.skip(), gr.skip(), *same, refusal(sentence_for(error), "Not changed")

    def which_hand(self, chosen: Upload, hands: Sequence[HandMask], belongs: Entered) -> tuple[Any, ...]:
        """The result area that asks which of several hands is meant."""
        stage = hands_stage(chosen.read(), hands, belongs.words, belongs.download("hands"))
        card, _, *rest = self.cleared(belongs.mark(text.SEVERAL_HANDS), belongs.mark_picture(stage))
        return card, gr.update(visible=True), *rest

    def change(self, token: str, request: gr.Request) -> None:
        """The entries changed: stop what was asked for before."""
        self.runs.stop(session_of(request), asked(token).at)

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.runs.forget(session_of(request))

    def assess(
        self,
        chosen: Upload | None,
        sex: str | None,
        years: str | None,
        months: str | None,
        earlier: str | None,
        convention: Convention,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> tuple[Any, ...]:
        """The whole result area for the chosen picture, or a card that says why there is none.

        Nothing changes if the entries changed meanwhile.
        """
        said, belongs = asked(token), entered(chosen, sex, years, months)
        if not said.is_of(chosen):
            return self.unchanged()
        if chosen is None:
            return self.cleared(refusal(NO_FILE))
        session, stages = session_of(request), list(text.STAGES)
        run = self.runs.begin(session, said.at)

        def step(stage: str) -> None:
            run.look()
            progress((stages.index(stage), len(stages)), desc=stage.capitalize())

        try:
            run.look()
            patient = entered_patient(sex, years, months)
            found: list[Findings] = []
            ask = partial(self.assessor.assess, explain=True, on_stage=step, on_findings=found.append)
            report = ask(chosen.content, patient, **chosen.options)
            stage = report_stage(report, belongs.words, belongs.download("bone-age"))
            kept = keep_report(belongs, report, *found)
            card, chart, around, words = self.in_context(kept, chosen, convention, earlier)
            run.look()
        except Stopped:
            return self.unchanged()
        except SeveralHands as error:
            return self.which_hand(chosen, error.hands, belongs) if error.hands else self.refused(error, belongs)
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.refused(error, belongs)
        finally:
            self.runs.end(session, run)
        how = text.how_made(report, RECIPES[report.recipe])
        hands, there = gr.update(visible=chosen.hand is not None), gr.update(visible=True)
        dicom = gr.update(visible=has_dicom_reports(chosen))
        halves = half_years(kept.content(convention, ()))
        figures = chart, in_language(interval_figure(report))
        return (
            card, hands, there, there, dicom, dicom, belongs.mark(stage), *figures,
            around, halves, text.members(report), how, words, kept, gr.skip(), "",
        )  # fmt: skip

    def in_context(
        self, kept: Kept, chosen: Upload, convention: Convention, earlier: str | None
    ) -> tuple[str, Any, str, str]:
        """Card, growth chart, words around it and report text, with the earlier assessments typed if they can be read.

        Without them otherwise, and the words around the chart say so.
        """
        wrong = ""
        try:
            content = kept.content(convention, parse_earlier(earlier))
        except InvalidPatient as error:
            wrong, content = str(error), kept.content(convention, ())
        card = kept.belongs.mark(text.result(content, chosen.drawn, kept.belongs.words))
        chart = chart_of(content)
        shown = gr.update(value=chart, visible=chart is not None)
        return card, shown, around_chart(content, wrong), text_report(content)

    def put_in_context(
        self, kept: Kept | None, chosen: Upload | None, convention: Convention, earlier: str | None
    ) -> tuple[Any, ...]:
        """The same result with another convention or other earlier assessments; no network runs."""
        if kept is None or chosen is None or kept.belongs.file != chosen.file:
            return tuple(gr.skip() for _ in range(4))
        return self.in_context(kept, chosen, convention, earlier)

    def add_saved(self, path: str, typed: str | None) -> tuple[Any, str]:
        """An earlier assessment from a JSON file, as one line more; the file is deleted. Or why it cannot be used."""
        try:
            _, content = take_upload(path, self.uploads)
            return with_line(typed, line_from_json(content)), ""
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return gr.skip(), refusal(sentence_for(error), "Not added")

    def report(
        self, form: str, kept: Kept | None, chosen: Upload | None, convention: Convention, earlier: str | None
    ) -> tuple[str, str]:
        """One report as `report_menu.SAVE` takes it, and what went wrong."""
        if kept is None or chosen is None or kept.belongs.file != chosen.file:
            return "", refusal("This result is no longer that of the file chosen. Press Assess again.", "No report")
        try:
            made = make_report(form, kept, chosen, convention, parse_earlier(earlier))
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return "", refusal(sentence_for(error), "No report")
        return packed(form, *made), ""

    def answer(self, file: str | None, sex: str | None, years: str | None, months: str | None) -> dict[str, Any]:
        """Assess one hand radiograph and return the report as JSON."""
        try:
            if file is None:
                raise UnreadableImage(NO_FILE)
            name, content = take_upload(file, self.uploads)
            return self.assessor.assess(content, entered_patient(sex, years, months), name=name).to_dict()
        except Exception as error:  # noqa: BLE001 the caller gets one sentence whatever happened
            raise gr.Error(sentence_for(error), print_exception=False) from None


def unassessed(chosen: Upload, radiograph: Radiograph | None = None) -> str:
    """The stage with a radiograph that was chosen and not assessed yet.

    Args:
        chosen: the file.
        radiograph: what is in it, if it has been read already.
    """
    belongs = entered(chosen, None, None, None)
    read = chosen.read() if radiograph is None else radiograph
    words = f"{chosen.name}{chosen.about}; not assessed"
    return belongs.mark_picture(plain_stage(read, words, belongs.download("radiograph")))


def picking(do: Handlers, side: HandChoice) -> Callable[[Upload, str, gr.Request], tuple[Any, ...]]:
    """What the button for the hand on one side does; Gradio does not count the arguments of a `partial` right."""

    def picked(chosen: Upload, token: str, request: gr.Request) -> tuple[Any, ...]:
        return do.choose_hand(side, chosen, token, request)

    return picked


def editing(do: Handlers, what: Edit) -> Callable[..., tuple[Any, ...]]:
    """What one button that changes the picture does; see `picking`."""

    def pressed(
        chosen: Upload | None, kept: Kept | None, left: str, top: str, right: str, bottom: str, token: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        return do.edit(what, chosen, kept, left, top, right, bottom, token, request)

    return pressed


def connect(page: gr.Blocks, do: Handlers, left: Entries, right: Results) -> None:
    """Which entry calls which handler. Only `answer` can be called from outside the page."""
    patient, results = [left.sex, left.years, left.months], right.filled
    hidden, answer = gr.Button(visible=False), gr.JSON(visible=False)
    hidden.click(do.answer, [left.file, *patient], answer, api_name="assess", **NETWORKS)

    quiet = quietly(left.empty)
    says = quiet | {"js": SAY}
    working = showing(right.card) | NETWORKS | {"js": SAY, "trigger_mode": "always_last"}
    of_child = [*patient, right.earlier]
    taken = [left.chosen, left.token, left.ready, left.use_offer, left.go, *of_child, *results]
    # Each choice of a picture is asked for, also while the answer to the one before is on its way.
    each: dict[str, Any] = {"trigger_mode": "multiple"}
    left.file.upload(
        do.take, [left.file, left.token], taken, js=SAY_CHOSEN, **showing(right.card), **each
    )  # fmt: skip
    left.file.clear(do.clear, left.token, taken, js=SAY_CHOSEN, **quiet, **each)
    left.use_offer.click(do.fill_in, [left.chosen, left.token], patient, **says)
    assessed = [left.chosen, *of_child, right.convention, left.token]
    left.go.click(do.assess, assessed, results, scroll_to_output=True, **working)
    for button in left.examples:
        drawn = button.click(
            do.draw, [button, left.token], [*taken, left.file], js=SAY, **showing(right.card), **each
        )  # fmt: skip
        drawn.then(do.assess, assessed, results, **working)
    for side, button in right.hand_buttons.items():
        one = [left.chosen, left.token, left.ready, *results]
        picked = button.click(picking(do, side), [left.chosen, left.token], one, **says)
        picked.then(do.assess, assessed, results, **working)
    for what, button in right.edits.buttons.items():
        asked_of = [left.chosen, right.kept, *right.edits.box, left.token]
        changed = [left.chosen, left.token, left.ready, *results]
        button.click(editing(do, what), asked_of, changed, **says)
    right.edits.draw.click(None, None, None, js="() => { globalThis.baa?.drawBox(); }", **quiet)
    entries = [left.sex.input, left.years.input, left.months.input]
    gr.on(entries, do.change, left.token, None, queue=False, **says, **each)
    # In the browser alone: empty sex and age when a file is chosen, look again when they change.
    left.empty.click(None, None, of_child, js=EMPTIED, **quiet)
    gr.on([entry.change for entry in patient], None, None, None, js="() => globalThis.baa?.check()", **quiet)
    page.unload(do.left)
    page.load(do.welcome, None, [right.welcome, right.welcome_card], **quiet, **NETWORKS)
    connect_growth_and_reports(do, left, right)


def connect_growth_and_reports(do: Handlers, left: Entries, right: Results) -> None:
    """What changes the growth context of a result, and what makes reports of it."""
    quiet = quietly(left.empty)
    held = [right.kept, left.chosen, right.convention, right.earlier]
    context = [right.card, right.chart, right.around, right.words]
    quick = quiet | {"trigger_mode": "always_last"}
    gr.on([right.convention.input, right.earlier.input], do.put_in_context, held, context, **quick)
    renew = gr.Button(visible="hidden", elem_id="baa-renew")  # pressed by the page's script for another language
    renew.click(do.put_in_context, held, context, **quiet)
    added = right.saved.upload(do.add_saved, [right.saved, right.earlier], [right.earlier, right.not_added], **quiet)
    added.then(do.put_in_context, held, context, **quick)
    menu = right.menu
    for form, button in menu.forms.items():
        made = button.click(partial(do.report, form), held, [menu.box, menu.said], **showing(menu.said))
        made.then(None, menu.box, menu.box, js=SAVE, **quiet)
    menu.copy.click(None, right.words, None, js="(words) => { globalThis.baa?.copy(words); }", **quiet)


class Results(NamedTuple):
    """The components of a result: those that `Handlers.assess` fills (`filled`), and those that change or report it.

    `hand_buttons` choose one of several hands; they are shown where there are several.
    """

    card: gr.HTML
    hands: gr.Row
    details: gr.Column
    stage: gr.HTML
    chart: gr.Plot
    interval: gr.Plot
    around: gr.HTML
    halves: gr.HTML
    members: gr.HTML
    how: gr.HTML
    kept: gr.State
    hand_buttons: dict[HandChoice, gr.Button]
    convention: gr.Radio
    earlier: gr.Textbox
    saved: gr.UploadButton
    not_added: gr.HTML
    menu: Menu
    welcome: gr.HTML
    welcome_card: gr.HTML
    edits: EditControls

    @property
    def words(self) -> gr.Textbox:
        """The report's text."""
        return self.menu.words

    @property
    def filled(self) -> list[Any]:
        """What `assess` fills, in its order."""
        dicom = [button for form, button in self.menu.forms.items() if FORMS[form].needs_dicom]
        return [
            self.card, self.hands, self.details, self.menu.whole, *dicom, self.stage, self.chart, self.interval,
            self.around, self.halves, self.members, self.how, self.words, self.kept,
            self.edits.whole, self.edits.said,
        ]  # fmt: skip


def lay_out_results() -> Results:
    """The answer beside the stage, and below both everything that belongs to a result, folded."""
    with gr.Row(elem_id="baa-case"):
        with gr.Column(elem_id="baa-answer", min_width=0):
            lay_out_outdated()
            card = gr.HTML(text.EMPTY, elem_id="baa-card")
            with gr.Row(visible=False, elem_id="baa-hands") as hands:
                sides: tuple[HandChoice, ...] = ("left", "right")
                hand_buttons = {side: gr.Button(f"Assess the hand on the {side}", min_width=150) for side in sides}
            welcome_card = gr.HTML(elem_id="baa-welcome-card")
            menu = lay_out_menu()
            edits = lay_out_edits()
        with gr.Column(elem_id="baa-stage", min_width=0):
            stage = gr.HTML(NO_PICTURE, elem_id="baa-picture")
            welcome = gr.HTML(elem_id="baa-welcome")
    with gr.Column(visible=False, elem_id="baa-details") as details:
        with gr.Accordion("Growth chart and earlier assessments", open=False, elem_id="baa-growth-part"):
            convention = gr.Radio(
                CONVENTION_CHOICES,
                value=DEFAULT_CONVENTION,
                label="SD score",
                info=CONVENTION_HELP,
                elem_id="baa-convention",
            )
            chart = gr.Plot(show_label=False, elem_id="baa-chart")
            around = gr.HTML(elem_id="baa-around")
            earlier = gr.Textbox(
                label="Earlier assessments of this child",
                info=EARLIER_HELP,
                lines=2,
                max_lines=8,
                elem_id="baa-earlier",
            )
            saved = gr.UploadButton("Add one from saved JSON", file_types=[".json"], size="sm", elem_id="baa-saved")
            not_added = gr.HTML()
        with gr.Accordion("Interval, half-years and networks", open=False, elem_id="baa-interval-part"):
            interval = gr.Plot(show_label=False, elem_id="baa-interval")
            halves, members = gr.HTML(), gr.HTML()
        with gr.Accordion("How was this made?", open=False):
            how = gr.HTML()
    kept = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    return Results(
        card, hands, details, stage, chart, interval, around, halves, members, how, kept, hand_buttons,
        convention, earlier, saved, not_added, menu, welcome, welcome_card, edits,
    )  # fmt: skip
