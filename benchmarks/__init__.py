"""How fast the assessor is on this machine: `python -m benchmarks [--json]`."""

import baa_core  # noqa: F401  before PyTorch, for which it sets how threads wait
