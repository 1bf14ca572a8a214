"""Bytes of any format to a radiograph, in this process. `isolated_decoder` does it in another one.

For bytes that somebody else made, use `baa_core.io.read_radiograph`: a decoder may crash on them or take for ever.
"""

from __future__ import annotations

import warnings

from ..types import Radiograph
from .dicom import dicom_start, read_dicom
from .gridlines import without_grid
from .raster import read_image

# What decoders warn of concerns the file; what the reader must know becomes a Caution. Said once, at import, and for
# the decoders alone: `warnings.catch_warnings` changes the filters of all threads, and undoes those of another.
for _decoder in ("pydicom", "PIL", "pylibjpeg"):
    warnings.filterwarnings("ignore", module=rf"{_decoder}(\..*)?$")


def decode_radiograph(data: bytes, name: str) -> Radiograph:
    """Decode a whole file, as `read_radiograph` describes it.

    Raises:
        UnreadableImage: see `read_radiograph`.
    """
    stored = read_image(data, name) if dicom_start(data) is None else read_dicom(data, name)
    return without_grid(stored)
