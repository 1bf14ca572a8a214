"""Bad inputs, made on the spot as bytes: no such file is kept in the repository.

`corpus()` gives them by name, `REFUSED_BY_READER` says which of them `read_radiograph` must refuse; the others are
odd but readable. `drawn_hand` and `dicom_bytes` are the raw material, for other tests too.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

DEFLATED = UID("1.2.840.10008.1.2.1.99")
READABLE = {
    "sixteen_bit_extremes.png",
    "sixteen_bit_extremes.dcm",
    "smallest.png",
    "wrong_extension.dcm",
    "no_photometric.dcm",
}


def drawn_hand(height: int = 240, width: int = 180) -> NDArray[np.float64]:
    """A palm, five fingers and a wrist with bones in them, (height, width) in [0, 1], bone bright, smooth and noisy."""
    canvas = np.zeros((240, 180))
    joints = [((90, 165), (90, 239)), ((70, 150), (28, 110)), ((75, 130), (52, 38)), ((88, 125), (82, 18)),
              ((102, 128), (112, 28)), ((115, 135), (142, 55))]  # fmt: skip
    for thickness, grey in ((24, 0.35), (10, 0.8)):
        for start, end in joints:
            cv2.line(canvas, start, end, grey, thickness)
        cv2.ellipse(canvas, (92, 150), (thickness + 14, thickness + 12), 0, 0, 360, grey, -1)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 2.0) + np.random.default_rng(7).normal(0, 0.01, canvas.shape)
    canvas = cv2.resize(canvas, (width, height))
    return (canvas - canvas.min()) / np.ptp(canvas)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def dicom_bytes(pixels: NDArray[np.generic] | None, syntax: UID = ExplicitVRLittleEndian, **elements: object) -> bytes:
    """A CR file around (H, W) or (H, W, 3) whole numbers; further elements by keyword, None removes one.

    Any syntax that pydicom can encode here will do; PixelData given as a keyword is stored as it is.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["hostile"])
    dataset.Modality = "CR"
    dataset.PatientName = "Secret^Name"
    dataset.PatientID = "SECRET-ID"
    if pixels is not None:
        bits = pixels.dtype.itemsize * 8
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
        dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
        if pixels.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if syntax.is_encapsulated and "PixelData" not in elements:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax.is_encapsulated:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def corpus() -> dict[str, bytes]:
    """Every input by a file name that suits it; the same bytes at each call."""
    return dict(_corpus())


@cache
def _corpus() -> dict[str, bytes]:
    return {**_pictures(), **_dicoms()}


def _pictures() -> dict[str, bytes]:
    hand = drawn_hand()
    grey = Image.fromarray((hand * 255).astype(np.uint8))
    png, jpeg, tiff = (encoded(grey, kind) for kind in ("PNG", "JPEG", "TIFF"))
    broken = hand.astype(np.float32)
    broken[50, 60] = np.nan
    infinite = hand.astype(np.float32)
    infinite[50, 60] = np.inf
    extremes = ((hand > 0.5) * 65535).astype(np.uint16)
    turned = [grey, grey.rotate(90), grey.rotate(180)]
    noise = np.random.default_rng(3).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    return {
        "zero_bytes.png": b"",
        "not_an_image.png": b"PK\x03\x04" + bytes(range(256)) * 8,
        "text.jpg": b"This is a letter, not a picture.\n" * 40,
        "text_renamed.dcm": b"This is a letter, not a radiograph.\n" * 40,
        "truncated.png": png[: len(png) // 2],
        "truncated.jpg": jpeg[: len(jpeg) * 2 // 3],
        "truncated_tail.jpg": jpeg[: len(jpeg) - 200],
        "truncated.tif": tiff[: len(tiff) // 2],
        "truncated.bmp": encoded(grey, "BMP")[:9000],
        "truncated.webp": encoded(grey, "WEBP")[:2000],
        "damaged.png": png[:3000] + bytes(400) + png[3400:],
        "one_by_one.png": encoded(Image.new("L", (1, 1), 200), "PNG"),
        "side_of_99.png": encoded(grey.resize((99, 240)), "PNG"),
        "strip.png": encoded(Image.fromarray(np.tile((hand * 255).astype(np.uint8)[:110], (1, 30))), "PNG"),
        "all_black.png": encoded(Image.new("L", (300, 300)), "PNG"),
        "all_white.jpg": encoded(Image.new("RGB", (300, 300), "white"), "JPEG"),
        "fully_transparent.png": encoded(Image.new("RGBA", (300, 300), (9, 99, 200, 0)), "PNG"),
        "colour_photograph.jpg": encoded(colourful_scene(), "JPEG"),
        "colour_noise.png": encoded(Image.fromarray(noise), "PNG"),
        "nan.tif": encoded(Image.fromarray(broken), "TIFF"),
        "infinity.tif": encoded(Image.fromarray(infinite), "TIFF"),
        "animated.gif": encoded(turned[0], "GIF", save_all=True, append_images=turned[1:]),
        "animated.webp": encoded(turned[0], "WEBP", save_all=True, append_images=turned[1:]),
        "animated.png": encoded(turned[0], "PNG", save_all=True, append_images=turned[1:]),
        "pages.tif": encoded(turned[0], "TIFF", save_all=True, append_images=turned[1:]),
        "header_bomb.png": png_claiming(100_000, 100_000),
        "header_51_megapixel.png": png_claiming(10_000, 5_100),
        "sixteen_bit_extremes.png": encoded(Image.fromarray(extremes), "PNG"),
        "smallest.png": encoded(grey.resize((100, 100)), "PNG"),
        "wrong_extension.dcm": png,
    }


def _dicoms() -> dict[str, bytes]:
    stored = (drawn_hand() * 4095).astype(np.uint16)
    plain = dicom_bytes(stored)
    lossless = dicom_bytes(stored, UID("1.2.840.10008.1.2.4.80"))
    return {
        "truncated.dcm": plain[: len(plain) * 2 // 3],
        "truncated_header.dcm": plain[:300],
        "truncated_lossless.dcm": lossless[: len(lossless) // 2],
        "damaged_lossless.dcm": lossless[:-20_000] + bytes(200) + lossless[-19_800:],
        "multi_frame.dcm": dicom_bytes(stored, NumberOfFrames=3, PixelData=stored.tobytes() * 3),
        "no_pixel_data.dcm": dicom_bytes(stored, PixelData=None),
        "report.dcm": dicom_bytes(None, Modality="SR"),
        "all_black.dcm": dicom_bytes(np.zeros((200, 200), np.uint16)),
        "tiny.dcm": dicom_bytes(stored[:40, :40]),
        "rows_too_many.dcm": dicom_bytes(stored, Rows=480),
        "rows_too_few.dcm": dicom_bytes(stored, Rows=120),
        "size_bomb.dcm": dicom_bytes(stored, Rows=65_535, Columns=65_535),
        "lossless_size_differs.dcm": patched(lossless, b"\x28\x00\x10\x00US\x02\x00", struct.pack("<H", 200)),
        "no_photometric.dcm": dicom_bytes(stored, PhotometricInterpretation=None),
        "bits_nonsense.dcm": dicom_bytes(stored, BitsAllocated=13),
        "wrong_type.dcm": patched(plain, b"\x28\x00\x10\x00", b"SQ"),
        "recursion_bomb.dcm": plain[: -len(stored.tobytes()) - 12] + nested_sequences(20_000),
        "deflated_bomb.dcm": deflated(plain[:132], bytes(150 * 2**20)),
        "deflated_cut.dcm": dicom_bytes(stored, DEFLATED)[:-3000],
        "colour_photograph.dcm": dicom_bytes(np.asarray(colourful_scene())),
        "mark_only.dcm": bytes(128) + b"DICM",
        "sixteen_bit_extremes.dcm": dicom_bytes(((drawn_hand() > 0.5) * 65535).astype(np.uint16)),
    }


def colourful_scene() -> Image.Image:
    """Sky, grass, a red house and flowers, with the smooth shades of a photograph; (H, W) 240 x 320."""
    row, column = np.mgrid[0:240, 0:320]
    scene = np.stack([80 + row / 3, 140 + row / 4, 230 - row / 5], -1)
    scene[150:] = np.stack([60 + column / 4, 120 + row / 4, 40 + column / 9], -1)[150:]
    scene[90:190, 60:150] = (190, 60, 45)
    scene[120:150, 90:120] = (240, 220, 120)
    for centre in range(180, 310, 25):
        cv2.circle(scene, (centre, 200), 9, (230, 60, 30 + 8 * (centre % 23)), -1)
    return Image.fromarray(cv2.GaussianBlur(scene, (0, 0), 1.5).clip(0, 255).astype(np.uint8))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def patched(data: bytes, after: bytes, replacement: bytes) -> bytes:
    """The bytes with those that follow the first `after` replaced."""
    start = data.index(after) + len(after)
    return data[:start] + replacement + data[start + len(replacement) :]


def nested_sequences(depth: int) -> bytes:
    """Sequences of undefined length (Modality LUT) inside one another, never closed."""
    item = b"\x28\x00\x00\x30SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return item * depth


def deflated(preamble: bytes, body: bytes) -> bytes:
    """A Part 10 file of the deflated transfer syntax around any body."""
    word = DEFLATED.encode() + b"\0" * (len(DEFLATED) % 2)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = preamble + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(word)) + word
    return head + packer.compress(body) + packer.flush()


REFUSED_BY_READER = {name for name in _corpus() if name not in READABLE}
