"""Decode one compressed DICOM picture in a process of its own: DICOM in, by standard input, a NumPy array out.

The C and C++ decoders for lossless JPEG, JPEG-LS and JPEG 2000 abort, crash or run for minutes on some damaged streams
(seen by fuzzing gdcm 3.2.6 and OpenJPEG through pydicom 3.0.2). Here that ends this process, not the one serving
others. Run as a script, so that nothing else of this package is loaded; its arguments are the elements to read.
"""

from __future__ import annotations

import io
import os
import sys
import warnings

MOST_MEMORY_BYTES = 4 * 2**30  # 50 megapixel of 16-bit colour take about a fourth of it
MOST_SECONDS = 30


def main() -> None:
    """Read, decode, write; any failure is told by the exit status alone."""
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
    dataset = dcmread(io.BytesIO(sys.stdin.buffer.read()), specific_tags=list(sys.argv[1:]))
    np.save(sys.stdout.buffer, pixel_array(dataset), allow_pickle=False)


if __name__ == "__main__":
    main()
