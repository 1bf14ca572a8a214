"""PNG, JPEG, TIFF, BMP and WebP, decoded by Pillow; by OpenCV where Pillow would drop 16-bit colour to 8."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UnreadableImage
from ..types import Caution, Radiograph
from .compression import about_compression
from .grayscale import stretch, to_grey
from .integrity import check_integrity, refuse_rare_jpeg
from .limits import check_size, damaged, decoding, kind_of, of_decoder, out_of_memory, several, too_large

_PLAIN_MODES = {"1": "L", "CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
# EXIF orientation: quarter turns to the left, then whether to mirror left and right.
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
NAMED = ("PNG", "JPEG", "GIF", "WebP")  # kinds whose first bytes are a promise
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")  # a still GIF is harmless, a moving one is refused by name


def read_image(data: bytes, name: str) -> Radiograph:
    """Read the bytes of an ordinary picture, as `read_radiograph` describes it."""
    with decoding(name, "JPEG"):
        refuse_rare_jpeg(data, name)
    data, reversed_greys = _black_as_zero(data)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as fault:
        raise too_large(name, "far over that in its header") from fault
    except MemoryError as fault:
        raise out_of_memory(name) from fault
    except Exception as fault:
        if not of_decoder(fault):
            raise
        raise _not_an_image(data, name) from fault
    kind = image.format or "image"
    check_size(image.height, image.width, name)
    with decoding(name, kind):
        if getattr(image, "is_animated", False) and kind != "MPO":  # MPO: a telephone's JPEG with a preview behind it
            raise several(name, "several pictures (animation or pages)")  # to count them takes quadratic time
        check_integrity(data, image)
        image.load()
        samples, cautions = _samples(image, data)
    if reversed_greys:
        samples = np.iinfo(samples.dtype).max - samples
    grey, found = to_grey(samples, name)
    pixels = stretch(grey, name)
    tables = getattr(image, "quantization", None)
    return Radiograph(pixels=pixels, name=name, cautions=(*cautions, *found, *about_compression(pixels, tables)))


def _not_an_image(data: bytes, name: str) -> UnreadableImage:
    if name.lower().endswith((".dcm", ".dicom", ".ima")):
        return UnreadableImage(
            f"{name} is named like a DICOM file, but its bytes neither carry the mark DICM nor are a DICOM dataset "
            "without it. Export it again from the viewer, as DICOM or as PNG."
        )
    if (kind := kind_of(data)) in NAMED:
        return damaged(name, kind)
    return UnreadableImage(
        f"{name} is not a picture this software can read. "
        "Give a PNG, JPEG, TIFF, BMP, WebP or DICOM file; open yours in its viewer and export it as one of these."
    )


def _black_as_zero(data: bytes) -> tuple[bytes, bool]:
    """A TIFF of 16 bits whose zero is white as one whose zero is black, and whether it was; other files unchanged.

    Pillow 12 heeds "white is zero" at 8 bits only, and does not know it at all with 16 bits in big-endian order.
    """
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return data, False
    order = "<" if data[:1] == b"I" else ">"
    with contextlib.suppress(struct.error):  # a broken directory is Pillow's to refuse
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, first)
        entries = [struct.unpack_from(f"{order}HHIH", data, first + 2 + 12 * each) for each in range(count)]
        short = {tag: (value, at) for at, (tag, kind, number, value) in enumerate(entries) if (kind, number) == (3, 1)}
        if short.get(258, (0,))[0] == 16 and short.get(262, (1,))[0] == 0:
            at = first + 2 + 12 * short[262][1] + 8
            return data[:at] + struct.pack(f"{order}H", 1) + data[at + 2 :], True
    return data, False


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
    return _upright(values, exif.get(274, 1)), cautions


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation, 1 (upright already) to 8; others are taken for 1."""
    quarters, mirrored = _ORIENTATIONS.get(orientation, (0, False))
    turned = np.rot90(values, quarters)
    return turned[:, ::-1] if mirrored else turned
