"""The stage: a radiograph with its layers as the viewer in the browser (`viewer.js`) takes them.

All places are in pixels of the radiograph as read, whatever size the picture is sent at, so a layer lies where it lies
at every zoom. Without the script the picture is an ordinary image. Nothing is written to the server's disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from baa_core.reporting.charts import hands_picture
from baa_core.reporting.overlays import (
    downsample_for_display,
    encode_png,
    grey_picture,
    heat_layer,
    outline_paths,
)
from baa_core.types import HandMask, Points, Radiograph, Report

from .html import address_of, data_address

LONGEST_SIDE_PX = 2048  # of the radiograph as it is sent; larger ones are averaged down
LONGEST_HEAT_PX = 1000  # of the heatmap, which has no finer detail
OUTLINE, HEATMAP, LANDMARKS = "Hand outline", "Heatmap", "Landmarks"
OPACITY = {OUTLINE: 1.0, HEATMAP: 0.5, LANDMARKS: 1.0}

NO_PICTURE = (
    '<div class="baa-stage-empty"><p>The radiograph will be shown here</p><p>One hand from the front, fingers apart, '
    "with the wrist and the ends of both forearm bones.</p></div>"
)


def picture_of(radiograph: Radiograph, inverted: bool, words: str) -> str:
    """The radiograph with bone bright as an address that holds it, with words in its file."""
    pixels = downsample_for_display(radiograph.pixels, LONGEST_SIDE_PX)
    return address_of(grey_picture(pixels, inverted=inverted), words)


def stage(
    address: str,
    shape: tuple[int, int],
    words: str,
    file: str,
    layers: Mapping[str, str] | None = None,
) -> str:
    """The figure that `viewer.js` makes a viewer of.

    Args:
        address: holds the picture.
        shape: (height, width) of the radiograph as read, in pixels.
        words: file, sex and age as entered.
        file: name for what is downloaded.
        layers: title to the HTML of each layer, an image or an SVG that covers the picture.
    """
    height, width = shape
    held = {"width": width, "height": height, "file": file, "words": words}
    drawn = "".join(
        f'<div class="baa-layer" data-layer="{escape(title)}" data-opacity="{OPACITY.get(title, 1.0)}">{html}</div>'
        for title, html in (layers or {}).items()
    )
    with_what = " with " + " and ".join(title.lower() for title in layers) if layers else ""
    return (
        f'<figure class="baa-picture baa-stage" data-baa-viewer="{escape(json.dumps(held))}">'
        f'<div class="baa-plain"><img class="baa-base" src="{address}" alt="Radiograph{with_what}">{drawn}</div>'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def plain_stage(radiograph: Radiograph, words: str, file: str) -> str:
    """A radiograph as it was read, before it is assessed."""
    return stage(picture_of(radiograph, False, words), radiograph.shape, words, file)


def hands_stage(radiograph: Radiograph, hands: Sequence[HandMask], words: str, file: str) -> str:
    """A radiograph with every hand outlined and named by its side."""
    return stage(address_of(hands_picture(radiograph, hands, LONGEST_SIDE_PX)), radiograph.shape, words, file)


def report_stage(report: Report, words: str, file: str, landmarks: Points | None = None) -> str:
    """A report's radiograph with hand outline, heatmap and landmarks, as far as there are any."""
    shape = report.radiograph.shape
    layers: dict[str, str] = {}
    if report.explanation is not None:
        heat = heat_layer(downsample_for_display(report.explanation.heat, LONGEST_HEAT_PX))
        layers[HEATMAP] = f'<img src="{data_address(encode_png(heat))}" alt="">'
    layers[OUTLINE] = outline_svg(report.hand, shape)
    if landmarks:
        layers[LANDMARKS] = landmarks_svg(landmarks, shape)
    return stage(picture_of(report.radiograph, report.hand.inverted, words), shape, words, file, layers)


def outline_svg(hand: HandMask, shape: tuple[int, int]) -> str:
    """The hand's outline as lines that are as thin at every zoom; coordinates are pixels as read, centres at .5."""
    lines = [
        "M" + "L".join(f"{column + 0.5:g} {row + 0.5:g}" for column, row in line) + "Z"
        for line in outline_paths(hand.pixels)
    ]
    return _svg(shape, f'<path d="{"".join(lines)}"/>')


def landmarks_svg(landmarks: Points, shape: tuple[int, int]) -> str:
    """Each landmark as a ring with its name as a tooltip."""
    radius = max(shape) / 250
    rings = "".join(
        f'<circle cx="{column + 0.5:.1f}" cy="{row + 0.5:.1f}" r="{radius:.1f}"><title>{escape(name)}</title></circle>'
        for name, (row, column) in landmarks.items()
    )
    return _svg(shape, rings)


def _svg(shape: tuple[int, int], content: str) -> str:
    height, width = shape
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'preserveAspectRatio="none" fill="none" stroke="#40e0ff" stroke-width="1.5">'
        f"<style>path,circle{{vector-effect:non-scaling-stroke}}</style>{content}</svg>"
    )
