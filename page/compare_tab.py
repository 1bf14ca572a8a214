"""The Compare tab: layout, handlers, and what calls what. The slow work is one walk through `compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import gradio as gr

from baa_core.recipes import RECIPES
from baa_core.reporting.charts import systems_figure
from baa_core.types import Caution, Prediction
from baa_core.workflows.compare import Compared, summarise_comparison, to_dict

from . import assess_text as text
from . import compare_text as words
from .cancellation import Run, Runs, Stopped, session_of
from .compare_view import Seen, Traces, heatmap_address, seen_of
from .entries import (
    FORGET_AFTER_SECONDS,
    NETWORKS,
    SAY,
    Entries,
    Upload,
    asked,
    entered,
    entered_patient,
    lay_out_outdated,
    quietly,
    showing,
)
from .html import NO_PICTURE, refusal
from .language import in_language
from .service import CanAnswer, sentence_for

NAMES = tuple(RECIPES)
WAITS, WORKS = "Waits for its turn.", "At work."


class CompareTab(NamedTuple):
    """The components of the tab: buttons, then what `CompareHandlers.compare` fills, then the rest.

    `systems` holds one card for each of `RECIPES`.
    """

    go: gr.Button
    stop: gr.Button
    card: gr.HTML
    details: gr.Column
    plot: gr.Plot
    trace: gr.Accordion
    system: gr.Radio
    step: gr.Slider
    picture: gr.HTML
    view: gr.State
    systems: list[gr.HTML]
    back: gr.Button
    forward: gr.Button

    @property
    def results(self) -> list[Any]:
        """What `compare` fills, in its order."""
        return [*self[2:10], *self.systems]


class CompareHandlers:
    """What the tab does. A run belongs to one session of the page, and only that session can stop it."""

    def __init__(self, assessor: CanAnswer) -> None:
        self.assessor = assessor
        self.runs = Runs()

    def cleared(self, card: str = words.EMPTY) -> tuple[Any, ...]:
        """The tab without a comparison."""
        hidden = gr.update(visible=False)
        return card, hidden, None, hidden, gr.update(choices=[], value=None), gr.skip(), "", None, *[""] * len(NAMES)

    def outputs(self, card: str, systems: dict[str, str]) -> tuple[Any, ...]:
        """The card on top and some systems' cards; all else stays as it is."""
        return card, *[gr.skip()] * 7, *(systems.get(name, gr.skip()) for name in NAMES)

    def unchanged(self) -> tuple[Any, ...]:
        """The tab as it is."""
        return tuple(gr.skip() for _ in self.cleared())

    def stop(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Stop this session's run before its next stage. A finished comparison stays as it was."""
        if self.runs.stop(session_of(request), asked(token).at):
            return self.cleared(words.STOPPED)
        return self.unchanged()

    def forget(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Another picture was chosen: stop, and show nothing of the one before."""
        self.runs.stop(session_of(request), asked(token).at)
        return self.cleared()

    def change(self, token: str, request: gr.Request) -> None:
        """The entries changed: stop what was asked for before."""
        self.runs.stop(session_of(request), asked(token).at)

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.runs.forget(session_of(request))

    def compare(
        self,
        chosen: Upload | None,
        sex: str | None,
        years: str | None,
        months: str | None,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> Iterator[tuple[Any, ...]]:
        """The tab for the chosen picture, once for every system that answers, and once at the end.

        A run that was stopped leaves nothing; the next one of this session begins after it has ended.
        """
        said, belongs = asked(token), entered(chosen, sex, years, months)
        if not said.is_of(chosen):
            yield self.unchanged()
            return
        if chosen is None:
            yield self.cleared(refusal(NO_PICTURE, "Not compared"))
            return
        session = session_of(request)
        run = self.runs.begin(session, said.at)
        begun = False
        try:
            run.look()
            patient = entered_patient(sex, years, months)
            yield self.cleared(belongs.mark(words.under_way(0)))
            begun = True
            answers = self.assessor.compare(
                chosen.content,
                patient,
                on_stage=lambda recipe, stage: step(run, recipe, stage, progress),
                **chosen.options,
            )
            for card, *rest in self.walk(answers, chosen):
                run.look()
                yield belongs.mark(card), *rest
        except Stopped:
            yield self.cleared(words.STOPPED) if begun else self.unchanged()
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            yield self.cleared(belongs.mark(refusal(sentence_for(error), "Not compared")))
        finally:
            self.runs.end(session, run)

    def walk(self, asked: Iterator[Compared], chosen: Upload) -> Iterator[tuple[Any, ...]]:
        """What the tab shows before the first answer, after each, and at the end.

        Full-size pictures are let go with each answer: only small ones are kept.
        """
        yield self.outputs(words.under_way(0), {name: words.waiting(name, WAITS) for name in NAMES} | at_work(0))
        rows: list[dict[str, Any]] = []
        predictions: list[Prediction | None] = []
        cautions: list[tuple[Caution, ...]] = []
        traces: dict[str, tuple[Seen, ...]] = {}
        for compared in asked:
            rows.append(compared.to_dict(chosen.name))
            predictions.append(compared.prediction)
            if compared.report is not None:
                cautions.append(compared.report.cautions)
            card, seen = shown_of(compared)
            if seen:
                traces[compared.recipe] = seen
            yield self.outputs(words.under_way(len(rows)), {compared.recipe: card} | at_work(len(rows)))
        spread = summarise_comparison(predictions)
        values = to_dict(chosen.name, rows, spread)
        assessed = [(words.title(row["recipe"]), made) for row, made in zip(rows, predictions, strict=True)]
        plot = in_language(systems_figure(assessed))
        yield self.finished(words.card(spread, values, chosen.drawn, of_all(cautions)), plot, traces)

    def finished(self, card: str, plot: Any, traces: Traces) -> tuple[Any, ...]:
        """The whole tab but the systems' cards, which stay; the trace begins with the first system that answered."""
        first = next(iter(traces), None)
        choices = [(words.title(name), name) for name in traces]
        return (
            card,
            gr.update(visible=True),
            plot,
            gr.update(visible=bool(traces)),
            gr.update(choices=choices, value=first),
            *self.choose(traces, first),
            traces,
            *[gr.skip()] * len(NAMES),
        )

    def choose(self, traces: Traces | None, recipe: str | None) -> tuple[Any, str]:
        """The slider and the picture at the first step of a system."""
        if not traces or recipe not in traces:
            return gr.skip(), ""
        return gr.update(maximum=len(traces[recipe]), value=1), self.redraw(traces, recipe, 1)

    def redraw(self, traces: Traces | None, recipe: str | None, number: float) -> str:
        """The picture after a step, counted from 1; no network runs."""
        if not traces or recipe not in traces:
            return ""
        seen = traces[recipe]
        number = nearest_step(number, len(seen))
        return words.trace_picture(seen[number - 1], number, len(seen), recipe)

    def back(self, traces: Traces | None, recipe: str | None, number: float) -> Any:
        """One step towards the radiograph."""
        return self.moved(traces, recipe, number - 1)

    def forward(self, traces: Traces | None, recipe: str | None, number: float) -> Any:
        """One step towards the network."""
        return self.moved(traces, recipe, number + 1)

    def moved(self, traces: Traces | None, recipe: str | None, number: float) -> Any:
        """The slider at a step, or at the end there is."""
        return nearest_step(number, len(traces[recipe])) if traces and recipe in traces else gr.skip()


def of_all(cautions: Sequence[Sequence[Caution]]) -> list[Caution]:
    """The cautions that every system has, in the order of the first."""
    if not cautions:
        return []
    return [caution for caution in cautions[0] if all(caution in others for others in cautions)]


def nearest_step(number: float, steps: int) -> int:
    """A step that there is, counted from 1."""
    return min(max(round(number), 1), steps)


def at_work(answered: int) -> dict[str, str]:
    """The card of the system whose turn it is; none once all have answered."""
    return {name: words.waiting(name, WORKS) for name in NAMES[answered : answered + 1]}


def shown_of(compared: Compared) -> tuple[str, tuple[Seen, ...]]:
    """A system's card and what its network's picture went through."""
    if compared.report is None:
        return words.system_card(compared, "", None), ()
    seen = seen_of(compared.seen)
    return words.system_card(compared, heatmap_address(compared.report), seen[-1]), seen


def step(run: Run, recipe: str, stage: str, progress: gr.Progress) -> None:
    """Between two stages: stop if asked to, else say how far the work is."""
    run.look()
    stages = list(text.STAGES)
    done = NAMES.index(recipe) * len(stages) + stages.index(stage)
    progress((done, len(NAMES) * len(stages)), desc=f"{words.title(recipe)}: {stage}")


def lay_out_compare() -> CompareTab:
    """The buttons, the card, the plot, one card for each system, and below them the preprocessing."""
    with gr.Row():
        go = gr.Button("Compare all systems", variant="primary", min_width=160, elem_id="baa-compare")
        stop = gr.Button("Cancel", min_width=120, elem_id="baa-compare-cancel")
    lay_out_outdated()
    card = gr.HTML(words.EMPTY, elem_id="baa-compared")
    plot = gr.Plot(show_label=False, elem_id="baa-compare-plot")
    with gr.Row(elem_classes="baa-systems"):
        systems = [gr.HTML(elem_id=f"baa-system-{name}") for name in NAMES]
    with (
        gr.Column(visible=False, elem_id="baa-comparison") as details,
        gr.Accordion("Preprocessing trace", open=False, elem_id="baa-trace") as trace,
    ):
        gr.HTML(words.TRACE_NOTE)
        system = gr.Radio([], label="System", elem_id="baa-trace-system")
        number = gr.Slider(1, 2, 1, step=1, label="Step", elem_id="baa-trace-step")
        with gr.Row():
            back = gr.Button("Previous step", size="sm", min_width=120)
            forward = gr.Button("Next step", size="sm", min_width=120)
        picture = gr.HTML(elem_id="baa-trace-picture")
    view = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    return CompareTab(
        go, stop, card, details, plot, trace, system, number, picture, view, systems, back, forward
    )  # fmt: skip


def connect_compare(page: gr.Blocks, do: CompareHandlers, left: Entries, tab: CompareTab) -> None:
    """Which entry calls which handler; nothing here can be called from outside the page."""
    quiet = quietly(left.empty)
    quick = quiet | {"queue": False, "trigger_mode": "multiple"}
    newest = quiet | {"trigger_mode": "always_last"}
    slow = showing(tab.card) | NETWORKS | {"js": SAY, "trigger_mode": "always_last"}
    patient = [left.sex, left.years, left.months]
    tab.go.click(do.compare, [left.chosen, *patient, left.token], tab.results, **slow)
    tab.stop.click(do.stop, left.token, tab.results, js=SAY, **quick)
    others = [left.file.upload, left.file.clear, *(button.click for button in left.examples)]
    gr.on(others, do.forget, left.token, tab.results, js=SAY, **quick)
    gr.on([entry.input for entry in patient], do.change, left.token, None, js=SAY, **quick)
    page.unload(do.left)
    traced = [tab.view, tab.system, tab.step]
    tab.system.input(do.choose, traced[:2], [tab.step, tab.picture], **newest)
    tab.step.change(do.redraw, traced, tab.picture, **newest)
    tab.back.click(do.back, traced, tab.step, **quick)
    tab.forward.click(do.forward, traced, tab.step, **quick)
