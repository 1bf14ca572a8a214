"""The software's version, importable without torch."""

from __future__ import annotations

__version__ = "0.1.0"
