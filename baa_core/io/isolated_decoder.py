"""Decode one compressed DICOM picture in a process of its own: DICOM in, by standard input, a NumPy array out.

The C and C++ decoders for lossless JPEG, JPEG-LS and JPEG 2000 abort, crash or run for minutes on some damaged streams
(seen by fuzzing gdcm 3.2.6 and OpenJPEG through pydicom 3.0.2). Here that ends this process, not the one serving
others. Run as a script, so that nothing else of this package is loaded.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Any

MOST_MEMORY_BYTES = 4 * 2**30  # 50 megapixel of 16-bit colour take about a fourth of it
MOST_SECONDS = 30
MEMORY, FAILED = 3, 4  # exit statuses: not enough memory; the decoder refused the stream
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# Words of warnings that gdcm's libjpeg writes to standard error while it goes on with a broken stream.
WARNED = (b"Corrupt JPEG data", b"Premature end of JPEG")


def main() -> None:
    """Read, decode, write; a failure is told by the exit status alone."""
    try:
        import resource
    except ImportError:  # Windows: the caller's timeout still holds
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each further thread would reserve memory and time
    import numpy as np
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    warnings.simplefilter("ignore")
    data = sys.stdin.buffer.read()
    try:
        dataset = dcmread(io.BytesIO(data))
        if dataset.file_meta.TransferSyntaxUID == JPEG_EXTENDED:
            values = _by_gdcm(dataset)
        else:
            values = pixel_array(dataset, apply_j2k_sign_correction=False)
    except MemoryError:
        raise SystemExit(MEMORY) from None
    except Exception:  # noqa: BLE001 - whatever the decoders raise
        raise SystemExit(FAILED) from None
    np.save(sys.stdout.buffer, values, allow_pickle=False)


def _by_gdcm(dataset: Any) -> Any:
    """JPEG Extended of 12 bits, which pydicom 3.0.2 gives to no decoder; gdcm 3.2.6 agrees with libjpeg-turbo on it."""
    import gdcm
    import numpy as np
    from pydicom.encaps import get_frame

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, 0, number_of_frames=1))
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm gives bytes as a string
    return np.frombuffer(buffer, np.uint16).reshape(dataset.Rows, dataset.Columns)


if __name__ == "__main__":
    main()
