"""How fast the assessor is on this machine: `python -m benchmarks [--json]`."""
