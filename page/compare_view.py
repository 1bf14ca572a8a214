"""What a session keeps of a comparison: each system's pictures on their way to the network, as addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from baa_core.reporting.overlays import overlay
from baa_core.types import Report
from baa_core.workflows.compare import Traced

from .assess_view import view_of
from .html import address_of

HEATMAP_PX = 600  # small: a page shows one for each system
OPACITY = 0.5


class Seen(NamedTuple):
    """A picture on its way to a network: what was done to it, and an address that holds it."""

    title: str
    address: str


Traces = Mapping[str, Sequence[Seen]]  # recipe to what its network's picture went through


def seen_of(trace: Sequence[Traced]) -> tuple[Seen, ...]:
    """A trace as addresses: compressed, for a session keeps those of every system."""
    return tuple(Seen(traced.title, address_of(overlay(traced.pixels))) for traced in trace)


def heatmap_address(report: Report) -> str:
    """A report's radiograph with its heatmap, small."""
    return view_of(report, HEATMAP_PX).address(with_mask=False, with_heat=True, opacity=OPACITY)
