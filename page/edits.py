"""The part of the Case tab that changes the picture by hand: turn, mirror, invert, crop, undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import gradio as gr

from baa_core.errors import InvalidEdits
from baa_core.io import box_in_file
from baa_core.types import ManualEdits

from . import edits_text as words
from .entries import Upload

Edit = Literal["turn", "mirror", "invert", "crop", "reset"]
EDITS: tuple[Edit, ...] = get_args(Edit)


def edited(what: Edit, chosen: Upload, inverted: bool, box: Sequence[str | None]) -> ManualEdits:
    """The edits of a picture after one more, which is meant for the picture as it is seen.

    Args:
        what: the one more.
        chosen: the picture with its edits so far.
        inverted: the greys on the stage were inverted by the hand network.
        box: left, top, right and bottom as typed, in pixels of the picture as it is seen.

    Raises:
        InvalidEdits: no such rectangle in the picture.
    """
    edits = chosen.edits
    if what == "turn":
        return edits.turned()
    if what == "mirror":
        return replace(edits, mirrored=not edits.mirrored)
    if what == "invert":
        return replace(edits, inverted=not (inverted if edits.inverted is None else edits.inverted))
    if what == "reset":
        return ManualEdits()
    left, top, right, bottom = (_whole(edge) for edge in box)
    ManualEdits((left, top, right, bottom))  # refuses a rectangle without area in the numbers that were typed
    radiograph = chosen.read()
    height, width = radiograph.shape
    if right > width or bottom > height:
        raise InvalidEdits(
            f"The rectangle ends at column {right} and row {bottom}, but the picture has {width} × {height} px. Give a "
            "rectangle inside the picture."
        )
    return replace(edits, crop=box_in_file(radiograph, (left, top, right, bottom)))


def _whole(typed: str | None) -> int:
    """A whole number as typed.

    Raises:
        InvalidEdits: it is none.
    """
    edge = (typed or "").strip()
    if not edge.isascii() or not edge.isdigit() or len(edge) > 6:
        raise InvalidEdits(words.NO_BOX)
    return int(edge)


class EditControls(NamedTuple):
    """The components: a button for each of `EDITS`, one that starts drawing, the four edges, what went wrong."""

    whole: gr.Accordion
    buttons: dict[Edit, gr.Button]
    draw: gr.Button
    box: list[gr.Textbox]
    said: gr.HTML


def lay_out_edits() -> EditControls:
    """The folded part; there once a picture is chosen."""

    def button(what: Edit) -> gr.Button:
        return gr.Button(words.BUTTONS[what], size="sm", min_width=80, elem_id=f"baa-edit-{what}")

    with gr.Accordion(words.TITLE, open=False, visible=False, elem_id="baa-edits") as whole:
        gr.HTML(words.HELP)
        with gr.Row(elem_classes="baa-menu"):
            buttons = {what: button(what) for what in ("turn", "mirror", "invert")}
        gr.HTML(words.BOX_HELP)
        with gr.Row(elem_classes="baa-box-edges"):
            box = [
                gr.Textbox(label=title, min_width=60, max_lines=1, elem_id=f"baa-box-{edge}")
                for edge, title in words.BOX.items()
            ]
        with gr.Row(elem_classes="baa-menu"):
            draw = gr.Button(words.DRAW, size="sm", min_width=80, elem_id="baa-box-draw")
            buttons |= {what: button(what) for what in ("crop", "reset")}
        said = gr.HTML(elem_id="baa-edits-said")
    return EditControls(whole, buttons, draw, box, said)
