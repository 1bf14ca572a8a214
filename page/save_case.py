"""Keeping a confirmed case for later training: there only if the page was started with `--save-cases DIR`."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from baa_core.errors import InvalidPatient
from baa_core.io.save_case import save_confirmed_case
from baa_core.types import parse_sex

from .entries import Entries, Upload, entered_age_months
from .html import NO_PICTURE, refusal
from .service import sentence_for

CONSENT = "I may keep this picture, and agree that it is written to this machine's disk for training."


def keep(
    folder: Path, chosen: Upload | None, sex: str | None, years: str, months: str, consent: bool
) -> tuple[str, bool]:
    """Write the case, and take the consent back: it was given for this one."""
    try:
        if chosen is None:
            raise InvalidPatient(NO_PICTURE)
        radiograph, age = chosen.read(), entered_age_months(years, months)
        saved = save_confirmed_case(folder, radiograph, parse_sex(sex), age, consent=consent)
    except Exception as error:  # noqa: BLE001 the visitor gets one sentence whatever happened
        return refusal(sentence_for(error), "Not kept"), False
    return f'<p class="baa-note" role="status">Kept as {escape(saved.name)}.</p>', False


def lay_out_keeping(left: Entries, folder: Path) -> None:
    """The folded part under the results: confirmed bone age, consent, a button that writes the case to the folder."""
    with gr.Accordion("Keep this case for training", open=False, elem_id="baa-keep"):
        gr.HTML("<p>The picture, the sex entered on the left and the bone age confirmed here; nothing else.</p>")
        with gr.Row():
            years, months = (
                gr.Textbox(label=f"Confirmed bone age: {unit}", min_width=110, max_lines=1)
                for unit in ("years", "months")
            )
        consent = gr.Checkbox(False, label=CONSENT)
        button, said = gr.Button("Keep", size="sm"), gr.HTML()
    entered = [left.chosen, left.sex, years, months, consent]
    button.click(partial(keep, folder), entered, [said, consent], api_visibility="private")
