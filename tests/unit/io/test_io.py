"""Reading ordinary pictures: formats, depths, colours, orientations, names."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from baa_core.errors import UnreadableImage, UnsupportedImage
from baa_core.io import read_radiograph
from tests.hostile import dicom_bytes, drawn_hand, encoded

HAND = drawn_hand()
HAND_8 = (HAND * 255).astype(np.uint8)
HAND_16 = (HAND * 65535).astype(np.uint16)


def stretched(values: NDArray[Any]) -> NDArray[Any]:
    """What the reader promises: darkest 0, brightest 1."""
    numbers = values.astype(np.float64)
    return (numbers - numbers.min()) / np.ptp(numbers)


def by_opencv(values: NDArray[Any], extension: str) -> bytes:
    return bytes(cv2.imencode(extension, values)[1])


def grey(kind: str, values: NDArray[Any] = HAND_8, **options: object) -> bytes:
    return encoded(Image.fromarray(values), kind, **options)


def colour(kind: str, mode: str, **options: object) -> bytes:
    return encoded(Image.fromarray(np.stack([HAND_8] * 3, -1)).convert(mode), kind, **options)


def palette_png() -> bytes:
    """Each index stands for another grey than its own number."""
    image = Image.fromarray(255 - HAND_8)
    image.putpalette([255 - index // 3 for index in range(768)])
    return encoded(image, "PNG")


PICTURES = {  # name: (bytes, largest error in grey levels of 0 to 1)
    "png_8": (grey("PNG"), 1e-6),
    "png_16": (grey("PNG", HAND_16), 1 / 65535),
    "png_1": (encoded(Image.fromarray(HAND_8).convert("1", dither=0), "PNG"), 1),
    "png_grey_alpha": (colour("PNG", "LA"), 1e-6),
    "png_palette": (palette_png(), 1e-6),
    "png_rgb": (colour("PNG", "RGB"), 1e-6),
    "png_rgba": (colour("PNG", "RGBA"), 1e-6),
    "png_rgb_16": (by_opencv(np.stack([HAND_16] * 3, -1), ".png"), 1 / 65535),
    "png_rgba_16": (by_opencv(np.stack([HAND_16] * 3 + [np.full_like(HAND_16, 65535)], -1), ".png"), 1 / 65535),
    "jpeg_grey": (grey("JPEG", quality=98), 0.05),
    "jpeg_rgb": (colour("JPEG", "RGB", quality=98), 0.05),
    "jpeg_progressive": (grey("JPEG", quality=98, progressive=True), 0.05),
    "jpeg_cmyk": (colour("JPEG", "CMYK", quality=98), 0.05),
    "tiff_8": (grey("TIFF"), 1e-6),
    "tiff_16": (grey("TIFF", HAND_16), 1 / 65535),
    "tiff_16_big_endian": (grey("TIFF", HAND_16.astype(">u2")), 1 / 65535),
    "tiff_16_lzw": (grey("TIFF", HAND_16, compression="tiff_lzw"), 1 / 65535),
    "tiff_rgb_16": (by_opencv(np.stack([HAND_16] * 3, -1), ".tif"), 1 / 65535),
    "tiff_int32": (grey("TIFF", HAND_16.astype(np.int32) * 1000), 1 / 65535),
    "tiff_float": (grey("TIFF", HAND.astype(np.float32)), 1e-6),
    "tiff_float_negative": (grey("TIFF", HAND.astype(np.float32) * 5000 - 1000), 1e-6),
    "tiff_white_is_zero": (grey("TIFF", HAND_16.max() - HAND_16, tiffinfo={262: 0}), 1 / 65535),
    "bmp_grey": (grey("BMP"), 1e-6),
    "bmp_rgb": (colour("BMP", "RGB"), 1e-6),
    "webp_lossless": (colour("WEBP", "RGB", lossless=True), 1e-6),
    "gif_still": (grey("GIF"), 1 / 100),
}


@pytest.mark.parametrize("case", PICTURES)
def test_every_format_gives_the_same_radiograph(case: str) -> None:
    data, tolerance = PICTURES[case]
    radiograph = read_radiograph(data, name=f"{case}.bin")
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.shape == HAND.shape
    assert radiograph.pixels.min() == 0
    assert radiograph.pixels.max() == 1
    assert not radiograph.polarity_stated
    assert radiograph.cautions == ()
    reference = HAND_16 if "16" in case or "32" in case or "white" in case else HAND if "float" in case else HAND_8
    assert np.abs(radiograph.pixels - stretched(reference)).max() <= tolerance


@pytest.mark.parametrize("quality", [5, 10, 15, 18, 20, 25, 40])
def test_jpeg_of_every_quality_is_read(quality: int) -> None:
    """At 15 to 20 a quantisation table holds bytes that look like a frame's marker."""
    read_radiograph(grey("JPEG", quality=quality))


@pytest.mark.parametrize(("quality", "told"), [(5, True), (10, True), (20, True), (75, False), (95, False)])
def test_strong_compression_is_told(quality: int, told: bool) -> None:
    compressed = grey("JPEG", quality=quality)
    assert [caution.code for caution in read_radiograph(compressed).cautions] == ["strong_compression"] * told


@pytest.mark.parametrize(("quality", "told"), [(5, True), (10, True), (90, False)])
def test_strong_compression_shows_after_the_file_was_stored_anew(quality: int, told: bool) -> None:
    image = Image.open(io.BytesIO(grey("JPEG", quality=quality)))
    for again in (encoded(image, "PNG"), dicom_bytes(np.asarray(image))):
        assert [caution.code for caution in read_radiograph(again).cautions] == ["strong_compression"] * told


def test_sixteen_bits_are_kept() -> None:
    ramp = np.tile(np.arange(3000, 3000 + 2048, dtype=np.uint16), (256, 1))
    radiograph = read_radiograph(grey("PNG", ramp))
    assert len(np.unique(radiograph.pixels)) == 2048


AS_STORED = {  # what was done to an upright picture before it was stored with that EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    upright = np.asarray(Image.fromarray(HAND_8).resize((120, 160)))
    stored = Image.fromarray(upright)
    if orientation in AS_STORED:
        stored = stored.transpose(AS_STORED[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    radiograph = read_radiograph(encoded(stored, kind, exif=exif, quality=95))
    assert radiograph.shape == (160, 120)
    assert np.abs(radiograph.pixels - stretched(upright)).max() < 0.15


def test_exif_orientation_of_sixteen_bit_colour() -> None:
    data = by_opencv(np.rot90(np.stack([HAND_16] * 3, -1)), ".png")
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned to the right, so it is stored turned to the left
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    body = b"eXIf" + chunk
    position = 8 + 25  # behind the signature and IHDR
    data = (
        data[:position] + struct.pack(">I", len(chunk)) + body + struct.pack(">I", zlib.crc32(body)) + data[position:]
    )
    radiograph = read_radiograph(data)
    assert np.abs(radiograph.pixels - stretched(HAND_16)).max() < 1 / 65535


def test_transparency_becomes_black_and_is_told() -> None:
    alpha = np.where(np.arange(HAND.shape[1]) < 60, 0, 255).astype(np.uint8)
    rgba = np.dstack([np.full_like(HAND_8, 250)] * 3 + [np.broadcast_to(alpha, HAND.shape)])
    rgba[100:, 90:, :3] = 120
    radiograph = read_radiograph(encoded(Image.fromarray(rgba), "PNG"))
    assert radiograph.pixels[:, :60].max() == 0
    assert [caution.code for caution in radiograph.cautions] == ["transparency_black"]


@pytest.mark.parametrize("tint", [(0.75, 0.88, 1.0), (1.0, 0.9, 0.7), (0.5, 0.75, 1.0), (0.0, 1.0, 1.0)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_tinted_radiographs_are_read_with_a_caution(tint: tuple[float, float, float], kind: str) -> None:
    tinted = (HAND[..., None] * tint * 235 + 10).astype(np.uint8)
    tinted[5:25, 5:60] = (220, 30, 30)  # a red sticker
    radiograph = read_radiograph(encoded(Image.fromarray(tinted), kind))
    assert [caution.code for caution in radiograph.cautions] == ["colour_to_grey"]
    assert np.corrcoef(radiograph.pixels[30:].ravel(), HAND[30:].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("colours", ["JET", "HOT", "VIRIDIS", "RAINBOW", "INFERNO", "COOL", "HSV", "TURBO"])
def test_false_colours_are_refused(colours: str) -> None:
    mapped = cv2.applyColorMap(HAND_8, getattr(cv2, f"COLORMAP_{colours}"))
    with pytest.raises(UnsupportedImage, match="colour"):
        read_radiograph(by_opencv(mapped, ".png"))


def test_photographs_are_refused() -> None:
    for scene in load_sample_images().images:
        with pytest.raises(UnsupportedImage, match="photograph"):
            read_radiograph(encoded(Image.fromarray(scene), "JPEG"))


def test_a_telephones_heic_file_is_refused_with_what_to_export() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(2000)
    with pytest.raises(UnreadableImage, match=r"hand\.heic .*PNG, JPEG, TIFF, BMP, WebP or DICOM.*export"):
        read_radiograph(heic, name="hand.heic")


def test_paths_and_names(tmp_path: Path) -> None:
    path = tmp_path / "scan.without.meaning"
    path.write_bytes(grey("PNG"))
    assert read_radiograph(path).name == "scan.without.meaning"
    assert read_radiograph(str(path), name="C:\\patients\\left.png").name == "left.png"
    assert read_radiograph(grey("PNG")).name == "radiograph"
    assert read_radiograph(grey("PNG"), name="a/b\n<c>.png").name == "b<c>.png"
    for missing in (tmp_path / "missing.png", tmp_path, f"{tmp_path}/nu\0ll.png"):
        with pytest.raises(UnreadableImage) as refusal:
            read_radiograph(missing)
        assert str(tmp_path.parent) not in str(refusal.value)


def test_pictures_do_not_wait_for_pydicom() -> None:
    code = (
        "import sys, types; package = types.ModuleType('baa_core'); package.__path__ = sys.argv[1:2];"
        "sys.modules['baa_core'] = package; import baa_core.io; raise SystemExit('pydicom' in sys.modules)"
    )
    folder = Path(read_radiograph.__code__.co_filename).parents[1]
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0
