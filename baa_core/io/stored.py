"""The numbers of a DICOM picture as the detector wrote them, whatever the header gets wrong about bits and signs.

Where two header fields, or header and codestream, contradict each other, both readings are made and the smoother is
taken: bits read wrongly tear a picture apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..types import BoolArray
from .integrity import SEQUENTIAL, check_jpeg, check_rle, jpeg_head, with_right_scan
from .limits import Damaged, decoding, undecodable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

PIXEL_KEYWORDS = (  # what a picture is decoded by
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData",
    "DoubleFloatPixelData", "PixelPaddingValue", "PixelPaddingRangeLimit", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)  # fmt: skip
LITTLE_IMPLICIT, LITTLE, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG_BASELINE, JPEG_EXTENDED, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.5"
JPEG_LOSSLESS, JPEG_LS, JPEG2000 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"
# A JPEG 2000 header: right, bottom, left, top; then sign and bits.
JPEG2000_HEADER = re.compile(rb"\xff\x4f\xff\x51....(.{16}).{18}(.)", re.DOTALL)
MOST_PADDED_SHARE = 0.97  # more than that is no padding but the background of a picture


def whole(dataset: Dataset, keyword: str, absent: int | None = None) -> int:
    """A whole number of the header.

    Raises:
        Damaged: it is malformed, or missing where `absent` is None.
    """
    value = dataset.get(keyword)
    if value is None and absent is not None:
        return absent
    if not isinstance(value, (int, float)):
        raise Damaged(f"{keyword} is no number")
    return int(value)


def syntax_of(dataset: Dataset) -> UID:
    """The transfer syntax of a dataset that does not name one, from how it was parsed and how its picture begins.

    Raises:
        Damaged: the picture is compressed in a way that cannot be told.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import UID

    if not dataset["PixelData"].is_undefined_length:
        implicit, little = dataset.original_encoding
        return UID(LITTLE_IMPLICIT if implicit else LITTLE if little else BIG)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    head = jpeg_head(frame)
    by_process = {0xC0: JPEG_BASELINE, 0xC1: JPEG_EXTENDED, 0xC3: JPEG_LOSSLESS, 0xF7: JPEG_LS}
    if head is not None and head.process in by_process:
        return UID(by_process[head.process])
    if JPEG2000_HEADER.search(frame[:200]):
        return UID(JPEG2000)
    raise Damaged("no transfer syntax, and none can be told")


def stored_values(dataset: Dataset, name: str) -> NDArray[Any]:
    """Stored values (H, W), or colours (H, W, 3).

    Raises:
        UnreadableImage: they cannot be decoded.
    """
    from pydicom.pixels.processing import apply_color_lut

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    way = f"picture ({syntax.name[:60]})" if syntax else "picture"
    refusal = undecodable(name, way)
    with decoding(name, "DICOM", refusal):
        picture = _picture_of(dataset)
        values = _decoded(picture)
        if picture.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, picture)
        if values.ndim != 2 and (values.dtype.kind != "u" or values.ndim != 3):
            raise Damaged("neither grey nor colours of positive whole numbers")
    return values


def _picture_of(dataset: Dataset) -> Dataset:
    """The picture alone, with what a header may lack and with the transfer syntax that its codestream has."""
    from pydicom.dataset import Dataset as Empty
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.uid import UID

    picture = Empty()
    for keyword in PIXEL_KEYWORDS:
        if keyword in dataset and keyword not in ("NumberOfFrames", "PixelPaddingValue", "PixelPaddingRangeLimit"):
            picture.add(dataset[keyword])
    picture.file_meta = FileMetaDataset()
    syntax = dataset.file_meta.get("TransferSyntaxUID", UID(LITTLE))
    picture.file_meta.TransferSyntaxUID = syntax
    picture.SamplesPerPixel = whole(dataset, "SamplesPerPixel", 1)
    if not picture.get("PhotometricInterpretation"):
        picture.PhotometricInterpretation = "MONOCHROME2" if picture.SamplesPerPixel == 1 else "RGB"
    picture.BitsAllocated = whole(dataset, "BitsAllocated", 8)
    picture.BitsStored = whole(dataset, "BitsStored", picture.BitsAllocated)
    picture.HighBit = whole(dataset, "HighBit", picture.BitsStored - 1)
    picture.PixelRepresentation = whole(dataset, "PixelRepresentation", 0)
    if not 0 < picture.BitsStored <= picture.BitsAllocated or picture.HighBit >= picture.BitsAllocated:
        raise Damaged("more bits stored than allocated")
    if "PixelData" in picture and syntax.is_encapsulated:
        frame = get_frame(picture.PixelData, 0, number_of_frames=1)
        head = jpeg_head(frame)
        if head is not None and head.process in SEQUENTIAL:
            picture.PixelData = encapsulate([with_right_scan(frame)])
            picture.file_meta.TransferSyntaxUID = UID(JPEG_BASELINE if head.bits == 8 else JPEG_EXTENDED)
            for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
                picture.pop(keyword, None)
    return picture


def _decoded(picture: Dataset) -> NDArray[Any]:
    """Values of a picture whose header is complete: corrected for bits and sign where they are grey."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    syntax = picture.file_meta.TransferSyntaxUID
    if "PixelData" in picture and syntax == JPEG_BASELINE:
        check_jpeg(get_frame(picture.PixelData, 0, number_of_frames=1))
        return pixel_array(picture, decoding_plugin="pillow")
    if "PixelData" in picture and syntax != RLE and syntax.is_encapsulated:
        values = _by_gdcm(picture) if syntax == JPEG_EXTENDED else pixel_array(picture, apply_j2k_sign_correction=False)
        found = JPEG2000_HEADER.search(get_frame(picture.PixelData, 0, number_of_frames=1)[:200])
        return _signed_rightly(values, picture, found[2][0]) if found and values.ndim == 2 else values
    if "PixelData" in picture and syntax == RLE:
        check_rle(get_frame(picture.PixelData, 0, number_of_frames=1), picture.Rows * picture.Columns)
    if "PixelData" not in picture or picture.SamplesPerPixel != 1 or picture.BitsAllocated < 8:
        return pixel_array(picture)
    bits, high, signed = picture.BitsStored, picture.HighBit, picture.PixelRepresentation == 1
    picture.BitsStored, picture.HighBit = picture.BitsAllocated, picture.BitsAllocated - 1
    picture.PixelRepresentation = 0
    return _without_other_bits(pixel_array(picture), bits, high, signed)


def _without_other_bits(container: NDArray[Any], bits: int, high: int, signed: bool) -> NDArray[Any]:
    """The stored bits out of the allocated ones: below or above them may lie overlays, or nothing of meaning.

    Args:
        container: unsigned, (H, W).
        bits: that are stored.
        high: the highest of them, counted from 0, as the header says.
        signed: the values are in two's complement.
    """
    above = int(container.max()) >> bits
    if above == 0:
        return _in_sign(container, bits) if signed else container
    low = container & container.dtype.type(2**bits - 1)
    readings = [low if high == bits - 1 else container >> container.dtype.type(high + 1 - bits)]
    # A header that names too few bits is told by the tear where they run over.
    readings.append(container)
    widths = [bits, 8 * container.dtype.itemsize]
    if signed:
        readings = [_in_sign(reading, width) for reading, width in zip(readings, widths, strict=True)]
    best: NDArray[Any] = min(readings, key=_roughness)
    return best


def _in_sign(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The lowest bits of whole numbers read as two's complement."""
    low = values.astype(np.int64) & (2**bits - 1)
    return np.asarray(np.where(low >= 2 ** (bits - 1), low - 2**bits, low), np.int32)


def _roughness(values: NDArray[Any]) -> float:
    """Mean difference of neighbours."""
    numbers = values.astype(np.int64)
    return float(np.abs(np.diff(numbers, axis=0)).mean() + np.abs(np.diff(numbers, axis=1)).mean())


def _signed_rightly(values: NDArray[Any], picture: Dataset, size_of_sample: int) -> NDArray[Any]:
    """JPEG 2000 values whose codestream may contradict the header about their sign.

    Args:
        values: as decoded.
        picture: its header.
        size_of_sample: of the codestream: the sign in the highest bit, then bits less one.
    """
    bits, signed = (size_of_sample & 0x7F) + 1, bool(size_of_sample & 0x80)
    if signed == (picture.PixelRepresentation == 1):
        return values
    unsigned = (values.astype(np.int64) & (2**bits - 1)).astype(np.int32)
    best: NDArray[Any] = min((_in_sign(unsigned, bits), unsigned), key=_roughness)
    return best


def _by_gdcm(picture: Dataset) -> NDArray[Any]:
    """JPEG Extended of 12 bits, which pydicom 3.0.2 gives to no decoder; gdcm 3.2.6 agrees with libjpeg-turbo on it."""
    import gdcm
    from pydicom.encaps import get_frame

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(get_frame(picture.PixelData, 0, number_of_frames=1))
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((picture.Columns, picture.Rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    text = image.GetBuffer()
    buffer = b"" if text is None else text.encode("utf-8", "surrogateescape")  # gdcm gives bytes as a string
    if len(buffer) != 2 * picture.Rows * picture.Columns:
        raise Damaged("the decoder gave too few values")
    return np.frombuffer(buffer, np.uint16).reshape(picture.Rows, picture.Columns)


def padding_of(stored: NDArray[Any], dataset: Dataset) -> BoolArray | None:
    """Where the header says that there is no picture (PixelPaddingValue, PixelPaddingRangeLimit); None for nowhere.

    Args:
        stored: values (H, W) before any transformation.
        dataset: its header. A padding value that was written with the wrong sign is taken for the same bits.
    """
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = dataset.get(keyword)
        if isinstance(value, bytes) and len(value) == 2:  # of a VR that could not be told
            value = int.from_bytes(value, "little")
        if isinstance(value, (int, float)):
            ends.append(int(value))
    if not ends or stored.dtype.kind not in "ui" or (len(ends) == 1 and "PixelPaddingValue" not in dataset):
        return None
    least, greatest = int(stored.min()), int(stored.max())
    widths = {whole(dataset, "BitsAllocated", 16), whole(dataset, "BitsStored", 16)}
    for turned in (0, *(sign * 2**bits for bits in sorted(widths) for sign in (-1, 1))):
        low, high = min(ends) + turned, max(ends) + turned
        if high < least or low > greatest:
            continue
        padded: BoolArray = np.asarray((stored >= low) & (stored <= high), np.bool_)
        rest = stored[~padded]
        if padded.any() and rest.size / stored.size > 1 - MOST_PADDED_SHARE and rest.min() < rest.max():
            return padded
    return None
