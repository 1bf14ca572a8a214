"""The Report menu: each form is made when asked for, and travels to the browser inside the page, by no file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr

from baa_core.errors import BoneAgeError
from baa_core.export import FORMS, check_forms, collect
from baa_core.reference import Convention, GrowthPoint

from .entries import Upload
from .kept import Kept
from .language import asked_language

TITLES = {"text": "Text", "pdf": "PDF", "json": "JSON", "fhir": "FHIR", "sr": "DICOM report", "sc": "DICOM picture"}
HINTS = (
    '<p class="baa-fine">DICOM report (SR) and picture (SC) refer to the DICOM file that was assessed, and are offered '
    "for such files only. No report names the patient.</p>"
)
# The page's own script makes a file of what came, in the browser.
SAVE = "(said) => { globalThis.baa?.save(said); return ''; }"


def has_dicom_reports(chosen: Upload) -> bool:
    """Can a DICOM report refer to this file?"""
    try:
        check_forms(["sr", "sc"], chosen.content, chosen.name)
    except BoneAgeError:
        return False
    return True


def make_report(
    form: str, kept: Kept, chosen: Upload, convention: Convention, earlier: Sequence[GrowthPoint]
) -> tuple[str, bytes]:
    """The name and bytes of one report.

    Raises:
        BoneAgeError: it cannot be made of this file.
    """
    content = collect(kept.whole(chosen), convention=convention, earlier=earlier, language=asked_language())
    name = "bone-age-report" if form in ("text", "pdf", "json") else f"bone-age-{form}"
    return name + FORMS[form].suffix, FORMS[form].make(content, chosen.content)


def packed(form: str, name: str, content: bytes) -> str:
    """A file as the page's script takes it: JSON with its name, media type and bytes."""
    data = base64.b64encode(content).decode()
    return json.dumps({"name": name, "type": FORMS[form].media_type, "data": data})


class Menu(NamedTuple):
    """The components of the menu: a button for each form; the text; what went wrong; a hidden box for a form made."""

    whole: gr.Accordion
    forms: dict[str, gr.Button]
    copy: gr.Button
    said: gr.HTML
    words: gr.Textbox
    box: gr.Textbox


def lay_out_menu() -> Menu:
    """The folded menu."""
    with gr.Accordion("Report", open=False, visible=False, elem_id="baa-report") as whole:
        with gr.Row(elem_classes="baa-menu"):
            copy = gr.Button("Copy text", size="sm", min_width=80, variant="primary", elem_id="baa-copy")
            forms = {
                form: gr.Button(
                    title, size="sm", min_width=80, visible=not FORMS[form].needs_dicom, elem_id=f"baa-{form}"
                )
                for form, title in TITLES.items()
            }
        said = gr.HTML()
        words = gr.Textbox(label="Text to copy", lines=8, max_lines=16, interactive=False, elem_id="baa-report-text")
        gr.HTML(HINTS)
        box = gr.Textbox("", visible="hidden")
    return Menu(whole, forms, copy, said, words, box)
