"""Training: makes every file in `weights/` from labelled radiographs, with the preparation that serving uses."""

import baa_core  # noqa: F401  before PyTorch, for which it sets how threads wait
