"""The Help tab: which radiograph is needed, what each control does, the model card."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from baa_core.errors import UnsupportedImage
from baa_core.phantom import to_webp
from baa_core.phantom.requirements import draw_requirement

from . import help_text as words

MODEL_CARD = Path(__file__).resolve().parents[1] / "weights" / "README.md"


def lay_out_help() -> None:
    """All of it; nothing here has a handler."""
    gr.HTML(words.needed())
    gr.HTML(words.controls())
    gr.HTML(words.CARD_NOTE)
    with gr.Column(elem_id="baa-model-card"):
        gr.Markdown(words.model_card(MODEL_CARD.read_text(encoding="utf-8")))


def draw(request: Request) -> Response:
    """One drawn picture by the name in its path."""
    try:
        radiograph = draw_requirement(request.path_params["name"])
    except UnsupportedImage:
        return Response(status_code=404)
    return Response(to_webp(radiograph), media_type="image/webp", headers={"cache-control": "max-age=86400"})


PICTURES = Route(f"/{words.PICTURES}/{{name}}.webp", draw)
