"""One drawn hand stored in every way that hand radiographs come in: `CASES` gives bytes, and how near to its plain twin
they must be read.

Every case but those of `REFUSED` shows what the plain 8-bit picture shows, so the reader must give nearly its pixels.
Cases of dark bone (`DARK`) are read with bone dark and are the assessor's to turn over.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.hostile import dicom_bytes, drawn_hand, encoded

TWELVE = {"BitsStored": 12, "HighBit": 11}
WINDOW = {"WindowCenter": "2048", "WindowWidth": "4096"}
EXTENDED = UID("1.2.840.10008.1.2.4.51")
BAND_PX = 12  # width of padding at the left edge


@dataclass(frozen=True)
class Case:
    """One encoding.

    Attributes:
        make: gives the bytes, from a hand (H, W) in [0, 1], bone bright.
        most: largest difference from the twin, in full ranges of grey, away from the left edge.
        cautions: codes that must come with it.
    """

    make: Callable[[NDArray[np.float64]], bytes]
    most: float = 1.5 / 255
    cautions: tuple[str, ...] = ()


def eight(hand: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The plain twin's own pixels."""
    return np.rint(hand * 255).astype(np.uint8)


def twelve(hand: NDArray[np.float64]) -> NDArray[np.uint16]:
    """As a detector of 12 bits writes it."""
    return np.rint(hand * 4095).astype(np.uint16)


def _sixteen(hand: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint(hand * 65535).astype(np.uint16)


def _signed(hand: NDArray[np.float64]) -> NDArray[np.int16]:
    return (twelve(hand).astype(np.int32) - 2048).astype(np.int16)


def _dicom(depth: Callable[..., NDArray[np.generic]] = twelve, *, flip: bool = False, **elements: object) -> Case:
    """A DICOM file with elements of choice; `flip` turns the stored values over."""

    def make(hand: NDArray[np.float64]) -> bytes:
        return dicom_bytes(depth(1 - hand if flip else hand), **{**(TWELVE if depth is twelve else {}), **elements})

    return Case(make)


def _grey(kind: str, depth: Callable[..., NDArray[np.generic]] = eight, **options: object) -> Case:
    return Case(lambda hand: encoded(Image.fromarray(depth(hand)), kind, **options))


def _colour(kind: str, mode: str, most: float = 1.5 / 255, **options: object) -> Case:
    def make(hand: NDArray[np.float64]) -> bytes:
        return encoded(Image.fromarray(np.stack([eight(hand)] * 3, -1)).convert(mode), kind, **options)

    return Case(make, most)


def _by_opencv(extension: str, channels: int) -> Case:
    def make(hand: NDArray[np.float64]) -> bytes:
        bands = [_sixteen(hand)] * min(channels, 3) + [np.full(hand.shape, 65535, np.uint16)] * (channels - 3)
        return bytes(cv2.imencode(extension, np.stack(bands, -1))[1])

    return Case(make)


def _changed(data: bytes, change: Callable[[Dataset], None], **writing: object) -> bytes:
    """A DICOM file read, changed and written again."""
    dataset = dcmread(io.BytesIO(data))
    change(dataset)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, **writing)
    return stream.getvalue()


def _big_endian(hand: NDArray[np.float64]) -> bytes:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = _sixteen(hand).astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.2")

    return _changed(dicom_bytes(_sixteen(hand)), change, implicit_vr=False, little_endian=False)


def bare(hand: NDArray[np.float64], *, implicit: bool, little: bool = True, acr: bool = False) -> bytes:
    """A dataset alone: no preamble, no mark, no file meta, no transfer syntax."""
    dataset = dcmread(io.BytesIO(dicom_bytes(twelve(hand), **TWELVE)))
    if not little:
        dataset.PixelData = twelve(hand).astype(">u2").tobytes()
    if acr:  # ACR-NEMA 2.0: a recognition code, no UIDs, samples and photometric interpretation left out
        for keyword in ("SOPClassUID", "SOPInstanceUID", "PhotometricInterpretation", "SamplesPerPixel"):
            delattr(dataset, keyword)
        dataset.add_new(0x00080010, "SH", "ACR-NEMA 2.0")
        dataset.add_new(0x00280005, "US", 2)
    del dataset.file_meta, dataset.preamble
    stream = io.BytesIO()
    dcmwrite(stream, dataset, implicit_vr=implicit, little_endian=little)
    return stream.getvalue()


def _without_preamble(hand: NDArray[np.float64]) -> bytes:
    return dicom_bytes(twelve(hand), **TWELVE)[132:]


def _without_mark(hand: NDArray[np.float64]) -> bytes:
    return bytes(128) + dicom_bytes(twelve(hand), **TWELVE)[132:]


def _without_syntax(hand: NDArray[np.float64]) -> bytes:
    return _changed(
        dicom_bytes(twelve(hand), **TWELVE),
        lambda dataset: delattr(dataset.file_meta, "TransferSyntaxUID"),
        implicit_vr=False,
        little_endian=True,
    )


def _float_without_meta(hand: NDArray[np.float64]) -> bytes:
    """Float pixels in a file whose file meta lost its transfer syntax."""

    def change(dataset: Dataset) -> None:
        del dataset.PixelData, dataset.file_meta.TransferSyntaxUID
        dataset.BitsAllocated = 32
        dataset.FloatPixelData = hand.astype("<f4").tobytes()

    return _changed(dicom_bytes(twelve(hand)), change, implicit_vr=False, little_endian=True)


def _junk_above(hand: NDArray[np.float64]) -> bytes:
    """Bits above those stored hold noise, as some detectors leave them."""
    noise = np.random.default_rng(5).integers(0, 16, hand.shape).astype(np.uint16)
    return dicom_bytes(twelve(hand) | (noise << 12), **TWELVE)


def _overlay_above(hand: NDArray[np.float64]) -> bytes:
    """A burned overlay lies in bit 15, as old archives keep it."""
    overlay = np.zeros(hand.shape, np.uint16)
    cv2.putText(overlay, "L", (10, 60), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 1, 5)
    return dicom_bytes(twelve(hand) | (overlay << 15), **TWELVE)


def _left_justified(hand: NDArray[np.float64]) -> bytes:
    """HighBit 15 with BitsStored 12: the values lie in the upper twelve bits."""
    return dicom_bytes(twelve(hand) << 4, BitsStored=12, HighBit=15)


def _compressed(frame: bytes, hand: NDArray[np.float64], syntax: UID, **elements: object) -> bytes:
    return dicom_bytes(twelve(hand), syntax, PixelData=encapsulate([frame]), **{**TWELVE, **elements})


def _j2k(bits: int, signed_stream: bool, signed_header: bool, stream_is_right: bool = False) -> Case:
    """JPEG 2000 whose codestream and header differ about the sign; the bits are those that one of them means."""

    def make(hand: NDArray[np.float64]) -> bytes:
        values = np.rint(hand * (2**bits - 1)).astype(np.int64)
        if signed_stream if stream_is_right else signed_header:
            values -= 2 ** (bits - 1)
        if signed_stream:
            values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
        else:
            values &= 2**bits - 1
        frame = encode_array(values.astype(np.int16 if signed_stream else np.uint16), bits_stored=bits)
        return _compressed(
            bytes(frame),
            hand,
            JPEG2000Lossless,
            BitsStored=bits,
            HighBit=bits - 1,
            PixelRepresentation=int(signed_header),
        )

    return Case(make)


def twelve_bit_jpeg(values: NDArray[np.uint16], scan_end: int = 63) -> bytes:
    """A sequential JPEG of 12 bits a sample (H, W), which Pillow, OpenCV, pydicom and gdcm cannot write.

    Every quantisation step is 1, so that only the rounding of coefficients is lost. The codes are of one length: 5 bits
    for the size of a constant term, 8 for run and size of another.
    """
    height, width = values.shape
    rows, columns = -(-height // 8), -(-width // 8)
    padded = np.pad(values.astype(float) - 2048, ((0, rows * 8 - height), (0, columns * 8 - width)), "edge")
    blocks = padded.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    wave = np.cos(np.outer(np.arange(8), 2 * np.arange(8) + 1) * np.pi / 16) / 2
    wave[0] /= np.sqrt(2)
    order = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
    coefficients = np.rint(wave @ blocks @ wave.T).astype(int).reshape(-1, 64)[:, order]
    symbols = [0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 15))]
    codes = {symbol: f"{code:08b}" for code, symbol in enumerate(symbols)}
    written, before = [], 0
    for first, *others in coefficients.tolist():
        written.append(f"{abs(first - before).bit_length():05b}" + _magnitude(first - before))
        before, run = first, 0
        for value in others:
            if value == 0:
                run += 1
                continue
            written += [codes[0xF0]] * (run // 16)
            written.append(codes[(run % 16) << 4 | abs(value).bit_length()] + _magnitude(value))
            run = 0
        written.append(codes[0x00] if run else "")
    bits = "".join(written)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    counts = [bytes([0] * (length - 1) + [number] + [0] * (16 - length)) for length, number in ((5, 16), (8, 226))]
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\0" + bytes([1] * 64)),
            _segment(0xC1, struct.pack(">BHHB3B", 12, height, width, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\x00" + counts[0] + bytes(range(16))),
            _segment(0xC4, b"\x10" + counts[1] + bytes(symbols)),
            _segment(0xDA, bytes([1, 1, 0, 0, scan_end, 0])),
            scan,
            b"\xff\xd9",
        )
    )


def _magnitude(value: int) -> str:
    """A coefficient's own bits, as JPEG writes them behind its size."""
    size = abs(value).bit_length()
    return f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _table(hand: NDArray[np.float64], keyword: str) -> bytes:
    """The identity from twelve bits to sixteen, as a modality or VOI table."""
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.ModalityLUTType = "US"
    table.LUTData = (np.arange(4096) * 16).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    return dicom_bytes(twelve(hand), **TWELVE, **{keyword: [table]})


def _palette(hand: NDArray[np.float64]) -> bytes:
    """Indices in reverse order, with a table that puts them right."""
    curve = (np.arange(255, -1, -1) * 257).astype(np.uint16).tobytes()
    data = dicom_bytes(255 - eight(hand), PhotometricInterpretation="PALETTE COLOR")

    def change(dataset: Dataset) -> None:
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            dataset[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
            setattr(dataset, f"{colour}PaletteColorLookupTableData", curve)

    return _changed(data, change)


def _ybr(hand: NDArray[np.float64]) -> bytes:
    bands = np.stack([eight(hand), np.full(hand.shape, 128, np.uint8), np.full(hand.shape, 128, np.uint8)], -1)
    return dicom_bytes(bands, PhotometricInterpretation="YBR_FULL")


def _padded(
    value: int, limit: int | None = None, *, signed: bool = False, declared: bool = True, **elements: object
) -> Case:
    """A band at the left without a picture; the value in the header, or not."""

    def make(hand: NDArray[np.float64]) -> bytes:
        stored = _signed(hand) if signed else twelve(hand)
        stored = np.clip(stored, stored.min() + 64, stored.max() - 64)
        stored[:, :BAND_PX] = value
        if limit is not None:
            stored[:, : BAND_PX // 2] = limit
        said = {"PixelPaddingValue": value} if declared else {}
        if limit is not None:
            said["PixelPaddingRangeLimit"] = limit
        wide = not 0 <= value <= 4095 and not signed
        return dicom_bytes(stored, **{**({} if wide else TWELVE), **said, **elements})

    return Case(make, most=0.035)


def _spoilt(kind: str, at: tuple[slice, slice], value: int = 65535) -> Case:
    """Twelve bits in sixteen, with something at full scale."""

    def make(hand: NDArray[np.float64]) -> bytes:
        stored = twelve(hand)
        stored[at] = value
        return dicom_bytes(stored) if kind == "DICOM" else encoded(Image.fromarray(stored), kind)

    return Case(make, most=0.02)


def _jpeg_in_dicom(hand: NDArray[np.float64], scan_end: int = 63) -> bytes:
    frame = encoded(Image.fromarray(eight(hand)), "JPEG", quality=98)
    at = frame.index(b"\xff\xda")
    at += 5 + 2 * frame[at + 4]
    frame = frame[: at + 1] + bytes([scan_end]) + frame[at + 2 :]
    return dicom_bytes(eight(hand), JPEGBaseline8Bit, PixelData=encapsulate([frame]))


def _cmyk_without_marker(hand: NDArray[np.float64]) -> bytes:
    """A CMYK JPEG that lacks Adobe's marker, whose inks are then stored as they are."""
    inks = np.stack([np.zeros_like(eight(hand))] * 3 + [255 - eight(hand)], -1)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=98)
    at = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, at + 2)
    return data[:at] + data[at + 2 + length :]


def _turned(orientation: int) -> Case:
    """Stored turned or mirrored, with the EXIF note that undoes it."""
    as_stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip

    def make(hand: NDArray[np.float64]) -> bytes:
        image = Image.fromarray(eight(hand))
        exif = Image.Exif()
        exif[274] = orientation
        return encoded(image.transpose(as_stored[orientation]) if orientation > 1 else image, "PNG", exif=exif)

    return Case(make)


PICTURES = {
    "png": _grey("PNG"),
    "png_16": _grey("PNG", _sixteen),
    "png_12_in_16": _grey("PNG", twelve),
    "png_grey_alpha": _colour("PNG", "LA"),
    "png_rgb": _colour("PNG", "RGB"),
    "png_rgba": _colour("PNG", "RGBA"),
    "png_rgb_16": _by_opencv(".png", 3),
    "png_rgba_16": _by_opencv(".png", 4),
    "png_label_at_full_scale": _spoilt("PNG", np.s_[4:14, 4:24]),
    "jpeg": Case(lambda hand: encoded(Image.fromarray(eight(hand)), "JPEG", quality=98), 0.03),
    "jpeg_progressive": Case(
        lambda hand: encoded(Image.fromarray(eight(hand)), "JPEG", quality=98, progressive=True), 0.03
    ),
    "jpeg_cmyk": _colour("JPEG", "CMYK", 0.03, quality=98),
    "jpeg_cmyk_without_adobe_marker": Case(_cmyk_without_marker, 0.03),
    "tiff": _grey("TIFF"),
    "tiff_16": _grey("TIFF", _sixteen),
    "tiff_16_big_endian": _grey("TIFF", lambda hand: _sixteen(hand).astype(">u2")),
    "tiff_16_lzw": _grey("TIFF", _sixteen, compression="tiff_lzw"),
    "tiff_16_deflate": _grey("TIFF", _sixteen, compression="tiff_adobe_deflate"),
    "tiff_rgb_16": _by_opencv(".tif", 3),
    "tiff_float": _grey("TIFF", lambda hand: hand.astype(np.float32)),
    "tiff_16_white_is_zero": _grey("TIFF", lambda hand: _sixteen(1 - hand), tiffinfo={262: 0}),
    "tiff_16_white_is_zero_big_endian": _grey("TIFF", lambda hand: _sixteen(1 - hand).astype(">u2"), tiffinfo={262: 0}),
    "tiff_16_white_is_zero_lzw": _grey(
        "TIFF", lambda hand: _sixteen(1 - hand), tiffinfo={262: 0}, compression="tiff_lzw"
    ),
    "tiff_label_at_full_scale": _spoilt("TIFF", np.s_[4:14, 4:24]),
    "bmp": _grey("BMP"),
    "webp_lossless": _colour("WEBP", "RGB", lossless=True),
    **{f"png_exif_{orientation}": _turned(orientation) for orientation in range(1, 9)},
}
DICOMS = {
    "dicom_8": _dicom(eight),
    "dicom_12": _dicom(),
    "dicom_16": _dicom(_sixteen),
    "dicom_signed": _dicom(_signed, **TWELVE),
    "dicom_implicit": Case(lambda hand: dicom_bytes(twelve(hand), ImplicitVRLittleEndian, **TWELVE)),
    "dicom_big_endian": Case(_big_endian),
    "dicom_deflated": Case(lambda hand: dicom_bytes(twelve(hand), DeflatedExplicitVRLittleEndian, **TWELVE)),
    "dicom_rle": Case(lambda hand: dicom_bytes(twelve(hand), RLELossless, **TWELVE)),
    "dicom_jpeg_ls": Case(lambda hand: dicom_bytes(twelve(hand), JPEGLSLossless, **TWELVE)),
    "dicom_jpeg_2000": Case(lambda hand: dicom_bytes(twelve(hand), JPEG2000Lossless, **TWELVE)),
    "dicom_jpeg": Case(_jpeg_in_dicom, 0.03),
    "dicom_jpeg_bad_scan": Case(lambda hand: _jpeg_in_dicom(hand, 0), 0.03),
    "dicom_jpeg_extended_12": Case(lambda hand: _compressed(twelve_bit_jpeg(twelve(hand)), hand, EXTENDED)),
    "dicom_jpeg_extended_bad_scan": Case(lambda hand: _compressed(twelve_bit_jpeg(twelve(hand), 0), hand, EXTENDED)),
    "dicom_palette": Case(_palette),
    "dicom_ybr": Case(_ybr),
    "dicom_rgb": Case(lambda hand: dicom_bytes(np.stack([eight(hand)] * 3, -1))),
    "dicom_junk_above": Case(_junk_above),
    "dicom_overlay_above": Case(_overlay_above),
    "dicom_left_justified": Case(_left_justified),
    "dicom_high_bit_15_but_low_values": _dicom(twelve, HighBit=15),
    "dicom_too_few_bits_stored": _dicom(twelve, BitsStored=10, HighBit=9),
    "dicom_no_photometric": _dicom(PhotometricInterpretation=None),
    "bare_without_preamble": Case(_without_preamble),
    "bare_without_mark": Case(_without_mark),
    "bare_without_syntax": Case(_without_syntax),
    "bare_implicit": Case(lambda hand: bare(hand, implicit=True)),
    "bare_explicit": Case(lambda hand: bare(hand, implicit=False)),
    "bare_big_endian": Case(lambda hand: bare(hand, implicit=False, little=False)),
    "bare_acr_nema": Case(lambda hand: bare(hand, implicit=True, acr=True)),
    "dicom_float_without_syntax": Case(_float_without_meta),
    **{
        f"dicom_jpeg_2000_{bits}_{'signed' if signed else 'unsigned'}_in_{'signed' if header else 'unsigned'}":
        _j2k(bits, signed, header)
        for bits in (12, 13, 16) for signed in (False, True) for header in (False, True)
    },
    **{
        f"dicom_jpeg_2000_{bits}_header_wrongly_{'un' * signed}signed": _j2k(bits, signed, not signed, True)
        for bits in (12, 13, 16) for signed in (False, True)
    },
    "window": _dicom(**WINDOW),
    "window_narrow": _dicom(WindowCenter="2048", WindowWidth="1500"),
    "window_several": _dicom(WindowCenter=["2048", "9"], WindowWidth=["4096", "9"]),
    "window_exact": _dicom(**WINDOW, VOILUTFunction="LINEAR_EXACT"),
    "window_sigmoid": _dicom(**WINDOW, VOILUTFunction="SIGMOID"),
    "rescaled": _dicom(RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="3000", WindowWidth="8000"),
    "rescaled_without_window": _dicom(RescaleSlope="0.25", RescaleIntercept="7"),
    "modality_table": Case(lambda hand: _table(hand, "ModalityLUTSequence")),
    "voi_table": Case(lambda hand: _table(hand, "VOILUTSequence")),
    **{
        f"window_useless_{name}":
        Case(_dicom(WindowCenter=center, WindowWidth=width).make, cautions=("window_ignored",))
        for name, center, width in (
            ("width_1", "2000", "1"), ("width_0", "2000", "0"), ("far_above", "90000", "10"), ("above", "7000", "1000"),
            ("below", "-900", "300"), ("in_the_dark", "20", "40"),
        )
    },
    "window_without_width": Case(_dicom(WindowCenter="2048").make, cautions=("window_ignored",)),
    "padding_low": _padded(0),
    "padding_high": _padded(4095),
    "padding_far_above": _padded(65535),
    "padding_far_above_not_declared": _padded(65535, declared=False),
    "padding_range": _padded(0, 40),
    "padding_range_high": _padded(65535, 60000),
    "padding_low_window": _padded(0, **WINDOW),
    "padding_high_window": _padded(4095, **WINDOW),
    "padding_signed_low": _padded(-2048, signed=True),
    "padding_signed_high": _padded(2047, signed=True),
    "padding_signed_range": _padded(-2048, -2010, signed=True),
    "padding_signed_window": _padded(-2048, signed=True, WindowCenter="0", WindowWidth="4096"),
    "padding_signed_far_below": _padded(-30000, signed=True, BitsStored=16, HighBit=15),
    "padding_not_declared": _padded(0, declared=False),
    "padding_high_not_declared": _padded(4095, declared=False),
    "dead_pixel": _spoilt("DICOM", np.s_[4, 20]),
    "label_at_full_scale": _spoilt("DICOM", np.s_[4:14, 4:24]),
}  # fmt: skip
# Header x picture: every way a header speaks of polarity, with bone bright as it means (right), or dark (wrong).
_NEGATIVE = {"RescaleSlope": "-10", "RescaleIntercept": "40950"}
_NEGATIVE_WINDOW = {**_NEGATIVE, "WindowCenter": "20475", "WindowWidth": "40950"}
_POLARITIES: dict[str, tuple[dict[str, object], bool]] = {  # elements, whether they turn the stored values over
    "monochrome2": ({}, False),
    "monochrome2_window": (WINDOW, False),
    "monochrome1": ({"PhotometricInterpretation": "MONOCHROME1"}, True),
    "monochrome1_window": ({"PhotometricInterpretation": "MONOCHROME1", **WINDOW}, True),
    "monochrome2_identity": ({"PresentationLUTShape": "IDENTITY"}, False),
    "monochrome2_inverse": ({"PresentationLUTShape": "INVERSE"}, False),
    "monochrome1_identity": ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, True),
    "monochrome1_inverse": ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
    "slope_negative": (_NEGATIVE, True),
    "slope_negative_window": (_NEGATIVE_WINDOW, True),
    "slope_negative_monochrome1": ({**_NEGATIVE, "PhotometricInterpretation": "MONOCHROME1"}, False),
    "slope_negative_monochrome1_window": ({**_NEGATIVE_WINDOW, "PhotometricInterpretation": "MONOCHROME1"}, False),
}
MODALITIES = ("CR", "DX")
POLARITY_RIGHT = {
    f"{name}_{modality}": _dicom(flip=turns, Modality=modality, **elements)
    for name, (elements, turns) in _POLARITIES.items()
    for modality in MODALITIES
}
DARK = {
    f"{name}_{modality}": _dicom(flip=not turns, Modality=modality, **elements)
    for name, (elements, turns) in _POLARITIES.items()
    for modality in MODALITIES
}
CASES = {**PICTURES, **DICOMS, **POLARITY_RIGHT}


def twin(hand: NDArray[np.float64] | None = None) -> bytes:
    """The plain 8-bit picture."""
    return CASES["png"].make(drawn_hand() if hand is None else hand)


def made(cases: dict[str, Case], hand: NDArray[np.float64] | None = None) -> Iterator[tuple[str, bytes]]:
    """Each case's name and bytes."""
    for name, case in cases.items():
        yield name, case.make(drawn_hand() if hand is None else hand)
