"""A seeded corpus of over 600 files: every format and transfer syntax, whole and spoilt in every way, and tables.

`generate()` gives them one by one, the same each time (but for a byte that libtiff leaves unset behind LZW). What holds of each is in `Entry`: read like its plain twin, or
read or refused in words. `benchmarks.corpus` runs all of them, `tests/unit/io/test_corpus.py` a sample.
"""

# ruff: noqa: E501
from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from tests import hostile, overload
from tests.encodings import BAND_PX, CASES, twin
from tests.hostile import dicom_bytes, drawn_hand, encoded

SEED = 22
SPOILT = (  # encodings that are cut, flipped and lied about: one of each decoder
    "png", "png_16", "png_rgb_16", "png_grey_alpha", "jpeg", "jpeg_progressive", "jpeg_cmyk", "tiff_16", "tiff_16_lzw",
    "tiff_16_deflate", "tiff_float", "tiff_rgb_16", "bmp", "webp_lossless", "dicom_12", "dicom_implicit",
    "dicom_big_endian", "dicom_deflated", "dicom_rle", "dicom_jpeg_ls", "dicom_jpeg_2000", "dicom_jpeg",
    "dicom_jpeg_extended_12", "dicom_palette", "bare_implicit", "voi_table",
)  # fmt: skip
NAMES = (
    "../../etc/passwd", "C:\\Users\\x\\hand.png", "a" * 4000 + ".png", "\x1b[31mred.png", "line\nbreak.png", "nul\0.png",
    "‮gnp.exe", "<script>alert(1)</script>.png", "=cmd|' /C calc'!A0.png", "Müller^Ärzte.dcm", "..", ".", "", " ",
    "hand.png%0aforged", "'; DROP TABLE x; --.png", "con.png", "hand\u0000\u202e.dcm", "{0}.png", "%s%n.png",
)  # fmt: skip
PHOTOMETRY = (
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "HSV",
    "ARGB", "CMYK", "XYB", "", "monochrome2", "MONOCHROME2 ",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        kind: what was done to it, for the table.
        name: what to call it.
        data: its bytes.
        most: it must be read, and differ from its plain twin by so much at most; None if it may be refused.
        is_table: it is a CSV table, not a picture.
    """

    kind: str
    name: str
    data: bytes
    most: float | None = None
    is_table: bool = False


@cache
def hand() -> np.ndarray:
    """The drawn hand that all of them show."""
    return drawn_hand()


@cache
def twin_data() -> bytes:
    """The plain picture."""
    return twin(hand())


def away() -> tuple[slice, slice]:
    """Where encodings are compared: labels and padding lie at the edges."""
    return np.s_[15:, BAND_PX:]


def generate(heavy: bool = True) -> Iterator[Entry]:
    """Every entry in turn.

    Args:
        heavy: also the files that take a decoder some seconds.
    """
    made = {name: case.make(hand()) for name, case in CASES.items()}
    for name, case in CASES.items():
        yield Entry("equivalent encoding", f"{name}.bin", made[name], case.most)
    for name, data in hostile.corpus().items():
        yield Entry("hostile", name, data)
    for position, name in enumerate(SPOILT):
        yield from _spoilt(name, made[name], np.random.default_rng([SEED, position]))
    yield from _polyglots(made)
    yield from _photometry()
    for number, name in enumerate(NAMES):
        yield Entry("odd name", name, made["png"] if number % 2 else made["dicom_12"][:-500])
    yield from _tables()
    yield from _bombs()
    if heavy:
        for name, make in overload.OVERLOAD.items():
            yield Entry("keeps a decoder busy", name, make())


def _spoilt(name: str, data: bytes, random: np.random.Generator) -> Iterator[Entry]:
    for share in (0.02, 0.2, 0.5, 0.9, 0.999):
        yield Entry("truncated", f"{name}.cut", data[: max(1, int(len(data) * share))])
    for number in range(5):
        changed = np.frombuffer(data, np.uint8).copy()
        within = min(len(data), 600) if number < 3 else len(data)
        at = random.integers(0, within, 1 + 2 * number)
        changed[at] ^= (1 << random.integers(0, 8, len(at))).astype(np.uint8)
        yield Entry("bits flipped", f"{name}.{number}", changed.tobytes())
    for number in range(4):  # somewhere in the head a length, or what may be one, says something else
        at = int(random.integers(4, min(len(data), 400) - 8))
        lie = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x01\x00\x00\x80")[number]
        yield Entry("lying length", f"{name}.{number}", data[:at] + lie + data[at + 4 :])
    at = int(random.integers(len(data) // 4, len(data) // 2))
    yield Entry("bytes lost", f"{name}.lost", data[:at] + data[at + 97 :])
    yield Entry("bytes repeated", f"{name}.twice", data[:at] + data[at - 64 :])
    yield Entry("junk behind", f"{name}.behind", data + random.bytes(5000))


def _polyglots(made: dict[str, bytes]) -> Iterator[Entry]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("evil.html"), "<script>alert(1)</script>")
    packed = stream.getvalue()
    tiff = made["tiff_16"]
    yield Entry("polyglot", "png_and_zip.png", made["png"] + packed)
    yield Entry("polyglot", "zip_and_png.zip", packed + made["png"])
    yield Entry("polyglot", "jpeg_and_html.jpg", made["jpeg"] + b"<script>alert(1)</script>")
    yield Entry("polyglot", "gif_and_script.gif", b"GIF89a/*" + b"*/=1;alert(1)" + made["png"])
    yield Entry("polyglot", "pdf_and_dicom.dcm", b"%PDF-1.7\n".ljust(128, b"\0") + made["dicom_12"][128:])
    yield Entry("polyglot", "elf_and_dicom.dcm", b"\x7fELF\2\1\1".ljust(128, b"\0") + made["dicom_12"][128:])
    yield Entry("polyglot", "tiff_and_dicom.dcm", tiff[:8].ljust(128, b"\0") + made["dicom_12"][128:])
    yield Entry("polyglot", "png_and_dicom.dcm", made["png"][:100].ljust(128, b"\0") + made["dicom_12"][128:])
    yield Entry("polyglot", "jpeg_in_jpeg.jpg", made["jpeg"][:2] + b"\xff\xe1\xff\xff" + made["jpeg"])
    yield Entry("polyglot", "svg.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    yield Entry("polyglot", "postscript.png", b"%!PS-Adobe-3.0\n(evil) run\n" * 40)
    yield Entry("polyglot", "pickle.png", b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.")
    yield Entry("polyglot", "numpy.dcm", b"\x93NUMPY\x01\x00" + bytes(400))


def _photometry() -> Iterator[Entry]:
    stored = (hand() * 4095).astype(np.uint16)
    for photometric in PHOTOMETRY:
        yield Entry("odd photometry", f"{photometric}.dcm", dicom_bytes(stored, PhotometricInterpretation=photometric))
    for bits in (0, 1, 7, 8, 9, 12, 15, 16, 17, 32, 64, 255):
        yield Entry(
            "odd photometry", f"stored_{bits}.dcm", dicom_bytes(stored, BitsStored=bits, HighBit=max(0, bits - 1))
        )
    for samples in (0, 2, 3, 4, 255):
        yield Entry("odd photometry", f"samples_{samples}.dcm", dicom_bytes(stored, SamplesPerPixel=samples))
    words = ("1", "0", "-1", "1e308", "nan", "inf", "", "x", "1\\2\\3")
    for word in words:
        for keyword in ("RescaleSlope", "WindowWidth"):
            other = {"RescaleSlope": "RescaleIntercept", "WindowWidth": "WindowCenter"}[keyword]
            data = dicom_bytes(stored, **{keyword: "1", other: "0"})
            at = data.index({"RescaleSlope": b"\x28\x00\x53\x10DS", "WindowWidth": b"\x28\x00\x51\x10DS"}[keyword])
            field = word.encode() + b" " * (len(word) % 2)
            yield Entry(
                "odd photometry",
                f"{keyword}_{word}.dcm",
                data[: at + 6] + struct.pack("<H", len(field)) + field + data[at + 10 :],
            )
    for frames in ("0", "-1", "2", "999999999"):
        yield Entry("odd photometry", f"frames_{frames}.dcm", dicom_bytes(stored, NumberOfFrames=frames))


def _bombs() -> Iterator[Entry]:
    for width, height in ((65_535, 65_535), (2**31 - 1, 1), (1, 2**31 - 1), (50_000, 1_001), (10_000, 5_001)):
        yield Entry("bomb", f"{width}x{height}.png", hostile.png_claiming(width, height))
    jpeg = encoded(Image.fromarray((hand() * 255).astype(np.uint8)), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield Entry("bomb", "claims.jpg", jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :])
    yield Entry("bomb", "no_rows.jpg", jpeg[:at] + b"\0\0" + jpeg[at + 2 :])
    for depth in (10, 500, 20_000):
        plain = dicom_bytes((hand() * 4095).astype(np.uint16))
        yield Entry("bomb", f"nested_{depth}.dcm", plain[:400] + hostile.nested_sequences(depth))
    for megabytes in (1, 200):
        packed = zlib.compress(bytes(megabytes * 2**20), 9)
        chunk = b"zTXt" + b"Comment\0\0" + packed
        png = twin_data()
        text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        yield Entry("bomb", f"text_{megabytes}.png", png[:33] + text + png[33:])


def _tables() -> Iterator[Entry]:
    good = "file,sex,chronological_age_months\na.png,female,120\nb.png,M,\n"
    texts = [
        good, good.replace(",", ";"), good.replace(",", "\t"), "\ufeff" + good, good.replace("\n", "\r\n"), "sep=;\n" + good,
        "", "\n\n\n", "file,sex\n", "file,sex", "file\na.png\n", "file,sex,file\na,m,b\n", good + '"open', good + "\0",
        'file,sex\n"a.png,female\nb.png,male\n', "file,sex\n" + "a,m," + "x," * 5000, "file,sex\n" + "a" * 300_000 + ",m\n",
        "file,sex\n" + "a,m\n" * 20_000, "file,sex\n=cmd,m\n+x,f\n@y,m\n", "file,sex\n../../etc/passwd,m\n", "x" * 100_000,
        '"' * 10_001, "," * 100_000, "file,sex,chronological_age_months\na,m,nan\nb,m,inf\nc,m,1e999\nd,m,-1\n",
        "file,sex\n\x1b[31m,m\n", "file,sex\n‮a,m\n", "file;sex\na;m;x\n", "FILE , Sex\na,m\n", "file,sex\r\ra,m\r",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        yield Entry("table", f"table_{number}.csv", text.encode("utf-8", "surrogatepass"), is_table=True)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"):
        yield Entry("table", f"{encoding}.csv", ("é" + good).encode(encoding), is_table=True)
    random = np.random.default_rng(SEED)
    for number in range(12):
        changed = np.frombuffer(good.encode(), np.uint8).copy()
        changed[random.integers(0, len(changed), 3)] = random.integers(0, 256, 3)
        yield Entry("table", f"flipped_{number}.csv", changed.tobytes(), is_table=True)
