"""What a file's own checksums, markers and lengths say about damage that its decoder passes over in silence.

Pillow 12 skips the checksums of PNG image data and libjpeg's warnings; libtiff those of deflated strips. Each check
here raises `Damaged` for them. Formats without redundancy (uncompressed TIFF, BMP, lossy WebP) can only be cut short.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import simplejpeg
from PIL import Image

from ..errors import UnsupportedImage
from .limits import MOST_PIXELS, MOST_SCANS, Damaged, TooManyParts

PNG_HEAD = 8
PNG_CHECKED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"}  # what the pixels depend on
TIFF_JPEG, TIFF_DEFLATE, TIFF_PACKBITS = 7, {8, 32946}, 32773
FRAME_MARKERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG-LS; JPEG without its tables and extensions
SEQUENTIAL = (0xC0, 0xC1)
BASELINE_TO_PROGRESSIVE = (0xC0, 0xC1, 0xC2)
MOST_FILL_BYTES = 10_000  # between two segments; encoders write none, or a few to end at an even place
NO_FILL = re.compile(rb"[^\xff]")
IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker that ends a JPEG scan


def check_integrity(data: bytes, image: Image.Image) -> None:
    """Refuse damage that this format allows to be known.

    Args:
        data: the whole file.
        image: opened by Pillow, not yet decoded.

    Raises:
        Damaged: a checksum, a marker or a length is wrong.
    """
    if image.format == "PNG":
        _check_png(data)
    elif image.format in ("JPEG", "MPO"):
        check_jpeg(data)
    elif image.format == "TIFF":
        _check_tiff(data, image)
    elif image.format == "WEBP" and struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise Damaged("RIFF is longer than the file")


def _inflate(unpacker: Any, data: bytes, before: int = 0) -> int:
    """Unpack and throw away, a MiB at a time; the bytes so far, which may be 8 a pixel of the largest picture read."""
    unpacked = before
    while data and not unpacker.eof:
        unpacked += len(unpacker.decompress(data, 2**20))
        data = unpacker.unconsumed_tail
        if unpacked > 8 * MOST_PIXELS:
            raise Damaged("more image data than any picture that is read")
    return unpacked


def _check_png(data: bytes) -> None:
    """Checksums of chunks, and that of the whole deflated image."""
    position, unpacker, unpacked = PNG_HEAD, zlib.decompressobj(), 0
    while position + 8 <= len(data):
        (length,), kind = struct.unpack_from(">I", data, position), data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            raise Damaged("a chunk is cut short")
        if kind in PNG_CHECKED and zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise Damaged("a chunk has a wrong checksum")
        if kind == b"IDAT":
            unpacked = _inflate(unpacker, data[position + 8 : end], unpacked)
        if kind == b"IEND":
            break
        position = end + 4
    if not unpacker.eof:  # reached only behind the right Adler-32 checksum
        raise Damaged("the image data end early")


@dataclass(frozen=True)
class JpegHead:
    """What a JPEG or JPEG-LS stream says before its first scan.

    Attributes:
        process: marker of the frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS.
        bits: of a sample.
        height, width: in pixels.
        scan_at: where the marker of the first scan lies; None if there is none.
    """

    process: int
    bits: int
    height: int
    width: int
    scan_at: int | None


def jpeg_head(data: bytes) -> JpegHead | None:
    """The head of a JPEG stream, read marker by marker, as tables may hold any bytes; None for anything else.

    Raises:
        TooManyParts: over `MOST_FILL_BYTES` between two segments, which Pillow skips one by one.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at, frame = 2, None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        if data[at + 1] == 0xFF:  # fill bytes, any number of them
            end = NO_FILL.search(data, at)
            if end is None or end.start() - at > MOST_FILL_BYTES:
                raise TooManyParts(f"over {MOST_FILL_BYTES} fill bytes")
            at = end.start() - 1
            continue
        marker = data[at + 1]
        if marker == 0xDA:
            return JpegHead(*frame, at) if frame else None
        if marker in FRAME_MARKERS and at + 9 <= len(data):
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            frame = (marker, bits, height, width)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return JpegHead(*frame, None) if frame else None


def check_scans(data: bytes) -> None:
    """Refuse a JPEG stream of more scans than `MOST_SCANS`: each costs a pass over the whole picture.

    Raises:
        TooManyParts: there are more.
    """
    head = jpeg_head(data)
    scans, at = 0, None if head is None else head.scan_at
    while at is not None and at + 4 <= len(data) and data[at + 1] != 0xD9:
        scans += data[at + 1] == 0xDA
        if scans > MOST_SCANS:
            raise TooManyParts(f"over {MOST_SCANS} JPEG scans")
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found = IN_SCAN.search(data, after)  # of other segments, too, the next begins where it ends
        at = None if found is None else found.start()


def check_jpeg(data: bytes) -> None:
    """Refuse what libjpeg-turbo warns of: a missing end, restart markers out of order, codes that do not exist.

    A single changed bit often gives another valid stream (162 of 199 random ones): that cannot be known here.

    Raises:
        Damaged: the stream is so.
        TooManyParts: see `check_scans`.
    """
    check_scans(data)
    head = jpeg_head(data)
    if head is None or head.process not in BASELINE_TO_PROGRESSIVE or head.bits != 8:
        return
    try:
        _, _, space, _ = simplejpeg.decode_jpeg_header(data)
        simplejpeg.decode_jpeg(data, "CMYK" if space in ("CMYK", "YCCK") else "GRAY", strict=True)
    except ValueError as fault:
        raise Damaged(str(fault)) from fault


def with_right_scan(data: bytes) -> bytes:
    """A sequential JPEG stream with the scan parameters that the standard prescribes: coefficients 0 to 63, in full.

    Some devices write other ones, which are without meaning there; strict decoders refuse or misread them.
    """
    head = jpeg_head(data)
    if head is None or head.process not in SEQUENTIAL or head.scan_at is None or head.scan_at + 5 > len(data):
        return data
    at = head.scan_at + 5 + 2 * data[head.scan_at + 4]
    return data[:at] + b"\x00\x3f\x00" + data[at + 3 :]


def refuse_rare_jpeg(data: bytes, name: str) -> None:
    """Refuse, by their own name, JPEG files that Pillow cannot decode although they are whole."""
    head = jpeg_head(data)
    if head is not None and (head.process not in BASELINE_TO_PROGRESSIVE or head.bits != 8):
        lossy = head.process in BASELINE_TO_PROGRESSIVE
        kind = f"a {head.bits}-bit JPEG" if lossy else "a lossless or arithmetic-coded JPEG"
        raise UnsupportedImage(
            f"{name} is {kind}, which is read inside DICOM only. Export the radiograph as DICOM or as 16-bit PNG."
        )


def unpacked_length(packed: bytes) -> int:
    """How many bytes a PackBits run-length code stands for; TIFF and DICOM's RLE both use it.

    Raises:
        Damaged: it ends within a run.
    """
    at, length, end = 0, 0, len(packed)
    while at < end:
        head = packed[at]
        if head < 128:
            length += head + 1
            at += head + 2
        else:
            length += 257 - head if head > 128 else 0
            at += 2 if head > 128 else 1
    if at > end:
        raise Damaged("a run is cut short")
    return length


def check_rle(frame: bytes, pixels: int) -> None:
    """Refuse a DICOM RLE frame whose segments, one for each byte of a value, do not hold one byte for each pixel.

    Args:
        frame: header of 64 bytes and segments, which may end in a byte or two of padding.
        pixels: rows times columns.
    """
    count, *starts = struct.unpack_from("<16I", frame)
    starts = [*starts[:count], len(frame)]
    for start, end in itertools.pairwise(starts):
        segment = frame[start:end]
        if not any(_holds(segment[: len(segment) - spare], pixels) for spare in (0, 1, 2)):
            raise Damaged("a segment does not hold one byte for each pixel")


def _holds(segment: bytes, pixels: int) -> bool:
    try:
        return unpacked_length(segment) == pixels
    except Damaged:
        return False


def _check_tiff(data: bytes, image: Image.Image) -> None:
    """Lengths of strips and tiles; checksums of deflated ones, warnings of JPEG ones."""
    tags: Any = getattr(image, "tag_v2", {})
    row_bytes = max(1, -(-image.width * tags.get(277, 1) * tags.get(258, (1,))[0] // 8))
    of_tiles = 324 in tags
    offsets, sizes = tags.get(324 if of_tiles else 273, ()), tags.get(325 if of_tiles else 279, ())
    for offset, size in zip(offsets, sizes, strict=False):
        if offset + size > len(data):
            raise Damaged("a strip is cut short")
        if tags.get(259) in TIFF_DEFLATE:
            unpacker = zlib.decompressobj()
            _inflate(unpacker, data[offset : offset + size])
            if not unpacker.eof:
                raise Damaged("a strip ends early")
        elif tags.get(259) == TIFF_PACKBITS:
            if unpacked_length(data[offset : offset + size]) % row_bytes:
                raise Damaged("a strip does not end with a row")
        elif tags.get(259) == TIFF_JPEG:
            tables = bytes(tags.get(347, b""))
            check_jpeg(tables[:-2] + data[offset + 2 * bool(tables) : offset + size])
