"""Small files made to keep a decoder busy, drawn and seeded: what an audit of commit 773bc17 blocked the page with."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from tests.hostile import deflated, dicom_bytes, drawn_hand, encoded


def progressive_jpeg(scans: int, side: int = 2000) -> bytes:
    """A progressive JPEG whose last scan comes so many times more (267 KB at 1,000 of them took 52 s)."""
    grey = Image.fromarray((drawn_hand(side, side) * 255).astype(np.uint8))
    whole = encoded(grey, "JPEG", quality=30, progressive=True)
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    return whole[:-2] + scan * scans + b"\xff\xd9"


def empty_scan_jpeg(scans: int, side: int = 4000) -> bytes:
    """The same with scans that hold nearly nothing, so that the file stays small."""
    whole = encoded(Image.new("L", (side, side), 90), "JPEG", quality=30, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + b"\xff\xd9"


def fill_byte_jpeg(megabytes: int) -> bytes:
    """A JPEG with so many fill bytes before its first table."""
    whole = encoded(Image.fromarray((drawn_hand() * 255).astype(np.uint8)), "JPEG")
    return whole[:2] + b"\xff" * (megabytes * 2**20) + whole[2:]


def jpeg_in_dicom(frame: bytes, side: int) -> bytes:
    """A JPEG frame inside DICOM."""
    return dicom_bytes(np.zeros((side, side), np.uint8), JPEGBaseline8Bit, PixelData=encapsulate([frame]))


def empty_items(count: int, keyword_tag: bytes = b"\x28\x00\x10\x30") -> bytes:
    """A deflated DICOM with so many empty items in its VOI table sequence (46 KB at 4 million took 116 s, 2.9 GB)."""
    plain = dicom_bytes((drawn_hand() * 4095).astype(np.uint16))
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * count
    sequence = keyword_tag + b"SQ\0\0" + struct.pack("<I", len(items)) + items
    at = plain.index(b"\xe0\x7f\x10\x00OW")
    start = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]  # behind the file meta
    return deflated(plain[:132], plain[start:at] + sequence + plain[at:])


def many_pages(count: int) -> bytes:
    """A TIFF of so many pages, all of one picture (4.5 MB at 40,000 took 16 s)."""
    side = 100
    pixels = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8).tobytes()
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, len(pixels)))
    size = 2 + 12 * len(tags) + 4
    first = 8 + len(pixels)
    body = bytearray(b"II*\0" + struct.pack("<I", first) + pixels)
    for page in range(count):
        body += struct.pack("<H", len(tags))
        body += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        body += struct.pack("<I", first + size * (page + 1) if page + 1 < count else 0)
    return bytes(body)


def run_length_bmp(side: int) -> bytes:
    """A run-length BMP of single-pixel runs, which Pillow decodes in Python."""
    pixels = np.random.default_rng(2).integers(1, 256, (side, side), np.uint8)
    runs = np.empty((side, 2 * side + 2), np.uint8)
    runs[:, 0 : 2 * side : 2], runs[:, 1 : 2 * side : 2] = 1, pixels
    runs[:, -2:] = 0
    data = runs.tobytes() + b"\0\1"
    palette = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
    at = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at)
    return head + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 2835, 2835, 256, 256) + palette + data


def many_frames_gif(count: int) -> bytes:
    """A GIF of so many small frames."""
    grey = Image.fromarray((drawn_hand() * 255).astype(np.uint8))
    stream = io.BytesIO()
    grey.save(stream, "GIF")
    whole = stream.getvalue()
    at = whole.index(b",")
    return whole[:-1] + whole[at:-1] * count + b";"


def deep_zeros_png(width: int, height: int) -> bytes:
    """A PNG that unpacks to much more than its header says."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(450 * 2**20), 1)
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


# Every such file by name. Each is refused by name, within 10 seconds of processor time.
OVERLOAD: Mapping[str, Callable[[], bytes]] = {
    "progressive_scans.jpg": partial(progressive_jpeg, 1000),
    "progressive_empty_scans.jpg": partial(empty_scan_jpeg, 1000),
    "progressive_scans.dcm": lambda: jpeg_in_dicom(progressive_jpeg(1000), 2000),
    "lut_items.dcm": partial(empty_items, 4_000_000),
    "modality_items.dcm": partial(empty_items, 4_000_000, b"\x28\x00\x00\x30"),
    "pages_40000.tif": partial(many_pages, 40_000),
    "frames.gif": partial(many_frames_gif, 2_000),
    "run_length.bmp": partial(run_length_bmp, 5_000),
    "fill_bytes.jpg": partial(fill_byte_jpeg, 20),
    "zeros.png": partial(deep_zeros_png, 300, 300),
}
