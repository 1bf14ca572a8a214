"""Theme and style sheet of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr


def theme() -> gr.themes.Base:
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
        button_primary_background_fill_hover_dark="*primary_800",
    )
