"""What stands where on the page: the entries, the results of Assess, and the look of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from . import text
from .examples import EXAMPLES

FORGET_AFTER_SECONDS = 3600
SEXES = [("Female", "female"), ("Male", "male"), ("Unknown", "unknown")]


class Entries(NamedTuple):
    """The components on the left."""

    chosen: gr.State
    file: gr.File
    ready: gr.HTML
    use_offer: gr.Button
    sex: gr.Radio
    years: gr.Textbox
    months: gr.Textbox
    go: gr.Button
    examples: list[gr.Button]


class Results(NamedTuple):
    """The components on the right: what `Handlers.assess` fills, then the switches for the picture."""

    card: gr.HTML
    details: gr.Column
    picture: gr.HTML
    interval: gr.Plot
    members: gr.HTML
    how: gr.HTML
    view: gr.State
    with_mask: gr.Checkbox
    with_heat: gr.Checkbox
    opacity: gr.Slider


def lay_out_entries() -> Entries:
    """File, sex, age, the button, examples."""
    chosen = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    file = gr.File(label="Hand radiograph", height=150)
    gr.HTML(text.FORMATS)
    ready = gr.HTML()
    use_offer = gr.Button("Use sex and age from the file", visible=False, size="sm")
    sex = gr.Radio(SEXES, label="Sex")
    with gr.Row():
        years, months = (
            gr.Textbox(label=f"Age: {unit}", placeholder="optional", min_width=110, max_lines=1)
            for unit in ("years", "months")
        )
    go = gr.Button("Assess", variant="primary", size="lg", elem_id="baa-assess", interactive=False)
    gr.HTML(text.EXAMPLES_LINE)
    with gr.Row(elem_classes="baa-example-row"):
        examples = [gr.Button(label, size="sm", min_width=90) for label in EXAMPLES]
    gr.HTML(text.PRIVACY)
    return Entries(chosen, file, ready, use_offer, sex, years, months, go, examples)


def lay_out_results() -> Results:
    """The card, and below it everything that belongs to a result."""
    card = gr.HTML(text.EMPTY, elem_id="baa-card")
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
    return Results(card, details, picture, interval, members, how, view, with_mask, with_heat, opacity)


def look() -> gr.themes.Base:
    """Quiet greys and one accent, in system type; text and buttons have at least 4.5:1 contrast."""
    fonts: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}
    return gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="lg", **fonts).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
