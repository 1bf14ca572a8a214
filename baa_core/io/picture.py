"""PNG, JPEG, TIFF, BMP and WebP, decoded by Pillow; by OpenCV where Pillow would drop 16-bit colour to 8."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UnreadableImage
from ..types import Caution, Radiograph
from .grey import stretch, to_grey
from .refusals import FAULTS, check_size, damaged, several, too_large

_PLAIN_MODES = {"1": "L", "CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
# EXIF orientation: quarter turns to the left, then whether to mirror left and right.
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")  # a still GIF is harmless, a moving one is refused by name


def read_image(data: bytes, name: str) -> Radiograph:
    """Read the bytes of an ordinary picture, as `read_radiograph` describes it."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as fault:
        raise too_large(name, "far over that in its header") from fault
    except FAULTS as fault:
        raise _not_an_image(name) from fault
    kind = image.format or "image"
    check_size(image.height, image.width, name)
    try:
        if getattr(image, "is_animated", False) and kind != "MPO":  # MPO: a telephone's JPEG with a preview behind it
            raise several(name, f"{getattr(image, 'n_frames', 'several')} pictures (animation or pages)")
        image.load()
        samples, cautions = _samples(image, data)
    except FAULTS as fault:
        raise damaged(name, kind) from fault
    grey, found = to_grey(samples, name)
    return Radiograph(pixels=stretch(grey, name), name=name, cautions=(*cautions, *found))


def _not_an_image(name: str) -> UnreadableImage:
    if name.lower().endswith((".dcm", ".dicom", ".ima")):
        return UnreadableImage(
            f"{name} is named like a DICOM file but is none: the mark DICM is missing at byte 128. "
            "Export it again from the viewer, as DICOM or as PNG."
        )
    return UnreadableImage(
        f"{name} is not a picture this software can read. "
        "Give a PNG, JPEG, TIFF, BMP, WebP or DICOM file; open yours in its viewer and export it as one of these."
    )


def _samples(image: Image.Image, data: bytes) -> tuple[NDArray[Any], list[Caution]]:
    """A loaded image's values, upright: (H, W) of any type, or uint8 or uint16 (H, W, 2 to 4) with alpha last."""
    exif = image.getexif()  # after load: Pillow and OpenCV turn a TIFF upright themselves, but no other format
    tags: Any = getattr(image, "tag_v2", {})
    deep = data[24] == 16 if image.format == "PNG" else max(tags.get(258, (8,))) == 16
    if deep and len(image.getbands()) > 1:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if values is not None and values.dtype == np.uint16 and values.ndim == 3 and values.shape[2] in (3, 4):
            return _upright(values[..., (2, 1, 0, 3)[: values.shape[2]]], exif.get(274, 1)), []
    cautions = [Caution("depth_reduced", "16-bit colour was read as 8 bit.")] if deep and image.mode[0] != "I" else []
    if image.mode == "LAB":
        image = image.getchannel(0)
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in _PLAIN_MODES:
        image = image.convert(_PLAIN_MODES[image.mode])
    values = np.asarray(image)
    if image.mode.startswith("I;16") and tags.get(262) == 0:  # "white is zero", which Pillow heeds at 8 bits only
        values = values.max() - values
    return _upright(values, exif.get(274, 1)), cautions


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation, 1 (upright already) to 8; others are taken for 1."""
    quarters, mirrored = _ORIENTATIONS.get(orientation, (0, False))
    turned = np.rot90(values, quarters)
    return turned[:, ::-1] if mirrored else turned
