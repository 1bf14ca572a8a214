"""The stage: a radiograph with its layers as the viewer in the browser (`viewer.js`) takes them.

All places are in pixels of the radiograph as read, whatever size the picture is sent at, so a layer lies where it lies
at every zoom. Without the script the picture is an ordinary image. Nothing is written to the server's disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from baa_core.errors import LandmarksNotFound
from baa_core.reporting.charts import hands_picture
from baa_core.reporting.overlays import (
    REGION_COLOURS,
    downsample_for_display,
    encode_png,
    grey_picture,
    heat_layer,
    outline_paths,
)
from baa_core.reporting.text import region_title
from baa_core.types import BoolArray, HandMask, Points, Radiograph, Report

from .html import address_of, data_address

LONGEST_SIDE_PX = 2048  # of the radiograph as it is sent; larger ones are averaged down
LONGEST_HEAT_PX = 1000  # of the heatmap, which has no finer detail
OUTLINE, HEATMAP, REGIONS, LANDMARKS = "Hand outline", "Heatmap", "Regions", "Landmarks"
OPACITY = {OUTLINE: 1.0, HEATMAP: 0.5, REGIONS: 1.0, LANDMARKS: 1.0}
HIDDEN_AT_FIRST = {REGIONS, LANDMARKS}

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
        f'<div class="baa-layer" data-layer="{escape(title)}" data-opacity="{OPACITY.get(title, 1.0)}" '
        f'data-on="{"no" if title in HIDDEN_AT_FIRST else "yes"}">{html}</div>'
        for title, html in (layers or {}).items()
    )
    seen = [title.lower() for title in layers or {} if title not in HIDDEN_AT_FIRST]
    with_what = " with " + " and ".join(seen) if seen else ""
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


def report_stage(report: Report, words: str, file: str) -> str:
    """A report's radiograph with heatmap, hand outline, regions and landmarks, as far as there are any."""
    shape = report.radiograph.shape
    layers: dict[str, str] = {}
    if report.explanation is not None:
        heat = heat_layer(downsample_for_display(report.explanation.heat, LONGEST_HEAT_PX))
        layers[HEATMAP] = f'<img src="{data_address(encode_png(heat))}" alt="">'
    layers[OUTLINE] = outline_svg(report.hand, shape)
    if (placed := _placed(report.hand)) is not None:
        points, masks = placed
        layers[REGIONS], layers[LANDMARKS] = regions_svg(masks, shape), landmarks_svg(points, shape)
    return stage(picture_of(report.radiograph, report.hand.inverted, words), shape, words, file, layers)


def _placed(hand: HandMask) -> tuple[Points, Mapping[str, BoolArray]] | None:
    """Landmarks and regions of a hand; None where its joints were not or could not be placed."""
    from baa_core.hand.landmarks import check_placed  # here: PyTorch takes seconds, and the page need not wait
    from baa_core.hand.regions import hand_regions

    if hand.landmarks is None:
        return None
    try:
        landmarks = check_placed(hand.landmarks)
        return landmarks.points, hand_regions(landmarks, hand)
    except LandmarksNotFound:
        return None


def outline_svg(hand: HandMask, shape: tuple[int, int]) -> str:
    """The hand's outline as lines that are as thin at every zoom; coordinates are pixels as read, centres at .5."""
    lines = [
        "M" + "L".join(f"{column + 0.5:g} {row + 0.5:g}" for column, row in line) + "Z"
        for line in outline_paths(hand.pixels)
    ]
    return _svg(shape, f'<path d="{"".join(lines)}"/>')


def regions_svg(masks: Mapping[str, BoolArray], shape: tuple[int, int]) -> str:
    """Each region as a line of its own colour with its name in the middle of its largest part."""
    size = max(shape) / 42
    drawn = []
    for number, (name, mask) in enumerate(masks.items()):
        lines = outline_paths(mask)
        if not lines:
            continue
        colour = REGION_COLOURS[number % len(REGION_COLOURS)]
        path = "".join(
            "M" + "L".join(f"{column + 0.5:g} {row + 0.5:g}" for column, row in line) + "Z" for line in lines
        )
        largest = max(lines, key=len)
        across, down = (sum(point[axis] for point in largest) / len(largest) for axis in (0, 1))
        drawn.append(
            f'<path d="{path}" stroke="{colour}"/><text x="{across:.0f}" y="{down:.0f}" fill="#fff" '
            f'font-size="{size:.0f}">{escape(region_title(name))}</text>'
        )
    return _svg(shape, "".join(drawn))


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
        f'class="baa-drawn" preserveAspectRatio="none" fill="none" stroke="#40e0ff" stroke-width="1.5">{content}</svg>'
    )
