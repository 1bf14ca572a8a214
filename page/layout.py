"""What stands where on the page: the entries, the results of Assess, and the look of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from baa_core.types import HandChoice

from . import text
from .examples import EXAMPLES

FORGET_AFTER_SECONDS = 3600
# Every event that runs networks: one at a time, whoever asks.
NETWORKS: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": 1}
SEXES = [("Female", "female"), ("Male", "male"), ("Unknown", "unknown")]


class Entries(NamedTuple):
    """The components on the left.

    `token` holds `Chosen.file` in the browser and is never seen; `empty` is pressed by the page's script alone, and
    empties sex and age.
    """

    chosen: gr.State
    token: gr.Textbox
    empty: gr.Button
    file: gr.File
    ready: gr.HTML
    use_offer: gr.Button
    sex: gr.Radio
    years: gr.Textbox
    months: gr.Textbox
    go: gr.Button
    examples: list[gr.Button]


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


def lay_out_entries() -> Entries:
    """File, sex, age, the button, examples."""
    chosen = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    token = gr.Textbox("", visible="hidden")
    empty = gr.Button(visible="hidden", elem_id="baa-empty")
    file = gr.File(label="Hand radiograph", height=150, elem_id="baa-file")
    gr.HTML(text.FORMATS)
    ready = gr.HTML(elem_id="baa-ready")
    use_offer = gr.Button("Use sex and age from the file", visible=False, size="sm")
    sex = gr.Radio(SEXES, label="Sex", elem_id="baa-sex")
    with gr.Row():
        years, months = (
            gr.Textbox(label=f"Age: {unit}", placeholder="optional", min_width=110, max_lines=1, elem_id=f"baa-{unit}")
            for unit in ("years", "months")
        )
    go = gr.Button("Assess", variant="primary", size="lg", elem_id="baa-assess", interactive=False)
    gr.HTML(text.EXAMPLES_LINE)
    with gr.Row(elem_classes="baa-example-row"):
        examples = [gr.Button(label, size="sm", min_width=90) for label in EXAMPLES]
    gr.HTML(text.PRIVACY)
    return Entries(chosen, token, empty, file, ready, use_offer, sex, years, months, go, examples)


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


def lay_out_outdated() -> None:
    """The line on top of a tab that says that its result is outdated; shown by the page's script (`entries.js`)."""
    gr.HTML(text.OUTDATED_LINE, elem_classes="baa-line-holder")


# With every event that the browser makes: the picture it shows and the time. The component `token` is the last input.
SAY = "(...inputs) => [...inputs.slice(0, -1), globalThis.baa?.say(inputs.at(-1)) ?? '']"
SAY_CHOSEN = "(...inputs) => [...inputs.slice(0, -1), globalThis.baa?.sayChosen(inputs.at(-1)) ?? '']"


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
