"""The Explain tab: layout, handlers, and what calls what. The slow work is one call of `explain`."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from baa_core.explanation.report import Panel
from baa_core.reporting.charts import deletion_figure, insertion_figure, regions_figure, robustness_figure
from baa_core.workflows.explain import DEFAULT_METHOD, STAGES

from . import explain_text as words
from .cancellation import Run, Runs, Stopped, session_of
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
from .explain_view import PanelView, panel_view_of
from .html import NO_PICTURE, refusal
from .kept import Kept
from .language import in_language
from .service import CanAnswer, sentence_for

OPACITY_PERCENT = 60
# Gradio tells nobody of a click into a figure, so the page itself turns a click on a bar into one on its radio button.
# The figure may be drawn, or drawn anew, some seconds after its value has come.
CLICK_ON_BARS = """() => {
  const bind = () => {
    const plot = document.querySelector("#baa-bars .js-plotly-plot");
    if (!plot || !plot.on || plot.dataset.bound) return;
    plot.dataset.bound = "yes";
    plot.on("plotly_click", (event) => {
      document.querySelectorAll("#baa-region input")[event.points[0].pointNumber + 1].click();
    });
  };
  const timer = setInterval(bind, 300);
  setTimeout(() => clearInterval(timer), 30000);
}"""


class ExplainTab(NamedTuple):
    """The components of the tab: what chooses and starts, then what `ExplainHandlers.explain` fills, then opacity."""

    method: gr.Radio
    note: gr.HTML
    go: gr.Button
    stop: gr.Button
    card: gr.HTML
    details: gr.Column
    region: gr.Radio
    picture: gr.HTML
    bars: gr.Plot
    table: gr.HTML
    textbook: gr.HTML
    deletion: gr.Plot
    insertion: gr.Plot
    trust: gr.HTML
    robustness: gr.Plot
    robustness_table: gr.HTML
    stability: gr.HTML
    side: gr.Column
    regions_fold: gr.Accordion
    joints: gr.HTML
    joints_fold: gr.Accordion
    textbook_fold: gr.Accordion
    faithfulness_fold: gr.Accordion
    stability_fold: gr.Accordion
    robustness_fold: gr.Accordion
    view: gr.State
    opacity: gr.Slider


class ExplainHandlers:
    """What the tab does. A run belongs to one session of the page, and only that session can stop it."""

    def __init__(self, assessor: CanAnswer) -> None:
        self.assessor = assessor
        self.runs = Runs()

    def cleared(self, card: str = words.EMPTY) -> tuple[Any, ...]:
        """The tab without an explanation."""
        hidden, folded = gr.update(visible=False), [gr.update(open=False)] * 3
        filled = words.NO_REGION, "", None, "", "", None, None, "", None, "", ""
        return card, hidden, *filled, hidden, folded[0], "", *folded[:2], *folded, None

    def unchanged(self) -> tuple[Any, ...]:
        """The tab as it is."""
        return tuple(gr.skip() for _ in self.cleared())

    def stop(self, view: PanelView | None, token: str, request: gr.Request) -> Any:
        """Stop this session's run before its next pass of a network. An older explanation stays as it was."""
        return words.STOPPED if self.runs.stop(session_of(request), asked(token).at) and view is None else gr.skip()

    def change(self, token: str, request: gr.Request) -> None:
        """The entries changed: stop what was asked for before."""
        self.runs.stop(session_of(request), asked(token).at)

    def forget(self, token: str, request: gr.Request) -> tuple[Any, ...]:
        """Another picture was chosen: stop, and show nothing of the one before."""
        self.change(token, request)
        return self.cleared()

    def left(self, request: gr.Request) -> None:
        """The visitor closed the page."""
        self.runs.forget(session_of(request))

    def explain(
        self,
        chosen: Upload | None,
        sex: str | None,
        years: str | None,
        months: str | None,
        method: str,
        opacity: float,
        kept: Kept | None,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 Gradio finds it by its default
    ) -> tuple[Any, ...]:
        """The whole tab for the chosen picture, or a card that says why there is nothing.

        Where this picture was assessed already (`kept`), the explanation goes on from what was found.
        Nothing changes if the run was stopped: it was cancelled, or the entries changed.
        """
        said, belongs = asked(token), entered(chosen, sex, years, months)
        if not said.is_of(chosen):
            return self.unchanged()
        if chosen is None:
            return self.cleared(refusal(NO_PICTURE, "Not explained"))
        session = session_of(request)
        run = self.runs.begin(session, said.at)
        try:
            run.look()
            patient = entered_patient(sex, years, months)
            found = None if kept is None else kept.findings_of(chosen)
            source, options = (chosen.content, chosen.options) if found is None else (found, {})
            panel = self.assessor.explain_estimate(
                source, patient, method, on_stage=lambda stage: step(run, stage, progress), **options
            )
            card, *filled = self.filled(panel, chosen.drawn, opacity)
            run.look()
            return belongs.mark(card), *filled
        except Stopped:
            return self.unchanged()
        except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
            return self.cleared(belongs.mark(refusal(sentence_for(error), "Not explained")))
        finally:
            self.runs.end(session, run)

    def filled(self, panel: Panel, drawn: bool, opacity: float) -> tuple[Any, ...]:
        """Everything a panel shows, in the order of `ExplainTab`."""
        view = panel_view_of(panel)
        regions = [("None", words.NO_REGION), *((words.region_title(name), name) for name in panel.regions)]
        return (
            words.card(panel, drawn),
            gr.update(visible=True),
            gr.update(choices=regions, value=words.NO_REGION),
            self.redraw(view, words.NO_REGION, opacity),
            bars(panel),
            words.region_table(panel),
            words.textbook(panel),
            fit(deletion_figure(panel.deletion)),
            fit(insertion_figure(panel.deletion)),
            words.faithfulness_table(panel),
            changes(panel),
            words.robustness_table(panel),
            words.stability_table(panel),
            gr.update(visible=True),
            gr.update(label=words.regions_sentence(panel)),
            words.joint_table(panel),
            gr.update(label=words.joints_sentence(panel), visible=bool(panel.joints)),
            gr.update(label=words.textbook_sentence(panel)),
            gr.update(label=words.faithfulness_sentence(panel)),
            gr.update(label=words.stability_sentence(panel)),
            gr.update(label=words.robustness_sentence(panel)),
            view,
        )

    def redraw(self, view: PanelView | None, region: str | None, opacity: float) -> str:
        """The picture again with another region outlined or another opacity in percent; no network runs."""
        return "" if view is None else view.figure(region, opacity / 100)


def bars(panel: Panel) -> Any:
    """The regions' contributions, named as the page names them, with their shares of the map."""
    figure = regions_figure(panel.regions)
    names = [f"{words.region_title(name)}<br>{panel.shares[name]:.0%} of the map" for name in panel.regions]
    figure.update_yaxes(tickvals=list(figure.data[0].y), ticktext=names)
    return fit(figure)


def changes(panel: Panel) -> Any:
    """The changes in months, with room for the numbers beside the bars."""
    figure = robustness_figure(panel.robustness)
    low, high = min(0.0, *figure.data[0].x), max(0.0, *figure.data[0].x)
    margin = 0.3 * max(high - low, 1.0)
    figure.update_xaxes(range=[low - margin, high + margin], nticks=6)
    return fit(figure)


def fit(figure: Any) -> Any:
    """A figure made for a page of its own, for this one: no heading, nothing to drag, readable at 390 px.

    It is in the language asked for.
    """
    legend = {"y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
    figure.update_layout(title=None, margin={"t": 12, "r": 12}, legend=legend)
    figure.update_xaxes(title_font_size=12, fixedrange=True)
    figure.update_yaxes(title_font_size=12, fixedrange=True)
    return in_language(figure)


def step(run: Run, stage: str, progress: gr.Progress) -> None:
    """Between two passes of a network: stop if asked to, else say how far the work is."""
    run.look()
    progress((STAGES.index(stage), len(STAGES)), desc=stage.capitalize())


def lay_out_explain() -> ExplainTab:
    """Method and buttons, verdict and map; below them each test, folded under one sentence that says its outcome."""
    method = gr.Radio(words.METHOD_CHOICES, value=DEFAULT_METHOD, label="Method", elem_id="baa-method")
    note = gr.HTML(words.method_note(DEFAULT_METHOD))
    with gr.Row(elem_classes="baa-go"):
        go = gr.Button("Explain", variant="primary", min_width=120, elem_id="baa-explain")
        stop = gr.Button("Cancel", min_width=120, elem_id="baa-cancel")
    lay_out_outdated()
    with gr.Row(elem_id="baa-explanation"):
        with gr.Column(elem_id="baa-explained-side", min_width=0):
            card = gr.HTML(words.EMPTY, elem_id="baa-explained")
        with gr.Column(visible=False, elem_id="baa-map-side", min_width=0) as side:
            picture = gr.HTML(elem_id="baa-map")
            unchosen = [("None", words.NO_REGION)]
            region = gr.Radio(unchosen, value=words.NO_REGION, label="Outline a region", elem_id="baa-region")
            opacity = gr.Slider(
                0, 100, OPACITY_PERCENT, step=5, label="Opacity of the map, %", elem_id="baa-map-opacity"
            )
    with gr.Column(visible=False, elem_id="baa-panel") as details:
        with gr.Accordion(words.REGIONS, open=False, elem_id="baa-fold-regions") as regions_fold:
            gr.HTML(words.BARS_NOTE)
            bars = gr.Plot(show_label=False, elem_id="baa-bars")
            table = gr.HTML()
        with gr.Accordion(words.JOINTS, open=False, elem_id="baa-fold-joints") as joints_fold:
            joints = gr.HTML()
        with gr.Accordion(words.TEXTBOOK, open=False, elem_id="baa-fold-textbook") as textbook_fold:
            textbook = gr.HTML()
        with gr.Accordion(words.FAITHFULNESS, open=False, elem_id="baa-fold-faithfulness") as faithfulness_fold:
            gr.HTML(words.CURVES_NOTE)
            with gr.Row(elem_classes="baa-curves"):
                deletion, insertion = (
                    gr.Plot(show_label=False, elem_id=f"baa-{name}") for name in ("deletion", "insertion")
                )
            trust = gr.HTML(elem_id="baa-trust")
        with gr.Accordion(words.STABILITY, open=False, elem_id="baa-fold-stability") as stability_fold:
            stability = gr.HTML(elem_id="baa-stability")
        with gr.Accordion(words.ROBUSTNESS, open=False, elem_id="baa-fold-robustness") as robustness_fold:
            gr.HTML(words.ROBUSTNESS_NOTE)
            robustness = gr.Plot(show_label=False, elem_id="baa-robustness")
            robustness_table = gr.HTML(elem_id="baa-robustness-table")
    view = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    return ExplainTab(
        method, note, go, stop, card, details, region, picture, bars, table, textbook, deletion, insertion, trust,
        robustness, robustness_table, stability, side, regions_fold, joints, joints_fold, textbook_fold,
        faithfulness_fold, stability_fold, robustness_fold, view, opacity,
    )  # fmt: skip


def connect_explain(page: gr.Blocks, do: ExplainHandlers, left: Entries, tab: ExplainTab, kept: gr.State) -> None:
    """Which entry calls which handler; nothing here can be called from outside the page.

    Args:
        page: the whole page.
        do: the handlers.
        left: the entries.
        tab: the components of the tab.
        kept: what the session keeps of the last assessment (`kept.Kept`).
    """
    quiet = quietly(left.empty)
    quick = quiet | {"queue": False, "trigger_mode": "multiple"}
    newest = quiet | {"trigger_mode": "always_last"}
    results = list(tab[4:-1])
    tab.method.change(words.method_note, tab.method, tab.note, **quick)
    slow = showing(tab.card) | NETWORKS | {"js": SAY, "trigger_mode": "always_last"}
    patient = [left.sex, left.years, left.months]
    tab.go.click(do.explain, [left.chosen, *patient, tab.method, tab.opacity, kept, left.token], results, **slow)
    tab.stop.click(do.stop, [tab.view, left.token], tab.card, js=SAY, **quick)
    others = [left.file.upload, left.file.clear, *(button.click for button in left.examples)]
    gr.on(others, do.forget, left.token, results, js=SAY, **quick)
    gr.on([entry.input for entry in patient], do.change, left.token, None, js=SAY, **quick)
    tab.bars.change(None, js=CLICK_ON_BARS, **quick)
    page.unload(do.left)
    for listen in (tab.region.change, tab.opacity.change):
        listen(do.redraw, [tab.view, tab.region, tab.opacity], tab.picture, **newest)
