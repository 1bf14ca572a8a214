"""What a user does to a picture by hand: crop, turn, mirror, invert; and the way back to the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InvalidEdits
from ..types import ManualEdits, Radiograph
from .grayscale import stretch
from .limits import check_size

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two just outside


def apply_edits(radiograph: Radiograph, edits: ManualEdits) -> Radiograph:
    """The radiograph as a file would hold it that was changed so in another program.

    What is left by a crop is stretched to its own range of grey, as `read_radiograph` does with a whole picture.

    Args:
        radiograph: as read, unedited.
        edits: applied in the order crop, turn, mirror, invert; none of them changes the aspect ratio.

    Raises:
        InvalidEdits: the crop reaches beyond the picture.
        UnsupportedImage: what is left is under 100 px on a side, or one even grey.
    """
    if not edits:
        return radiograph
    pixels = radiograph.pixels
    if edits.crop is not None:
        left, top, right, bottom = edits.crop
        height, width = radiograph.shape
        if right > width or bottom > height:
            raise InvalidEdits(
                f"The crop ends at column {right} and row {bottom}, but {radiograph.name} has {width} × {height} px. "
                "Give a rectangle inside the picture."
            )
        check_size(bottom - top, right - left, f"The crop of {radiograph.name}")
        pixels = stretch(pixels[top:bottom, left:right], f"The crop of {radiograph.name}")
    pixels = np.rot90(pixels, -edits.quarter_turns)
    pixels = pixels[:, ::-1] if edits.mirrored else pixels
    pixels = 1.0 - pixels if edits.inverted else pixels
    return replace(
        radiograph,
        pixels=np.array(pixels, np.float32, order="C"),
        edits=edits,
        shape_in_file=radiograph.shape,
        polarity_by_hand=edits.inverted is not None,
    )


def box_in_file(radiograph: Radiograph, box: Box) -> Box:
    """A rectangle of the radiograph as it is now, in pixels of the picture in its file.

    Args:
        radiograph: edited or not.
        box: (left, top, right, bottom) in its pixels.
    """
    (height, width), edits = radiograph.shape, radiograph.edits
    left, top, right, bottom = box
    if edits.mirrored:
        left, right = width - right, width - left
    for _ in range(edits.quarter_turns):  # each turned back, anticlockwise
        left, top, right, bottom = top, width - right, bottom, width - left
        height, width = width, height
    across, down = (edits.crop or (0, 0))[:2]
    return left + across, top + down, right + across, bottom + down
