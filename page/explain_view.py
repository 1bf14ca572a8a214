"""What a session keeps of an explanation: small pictures, enough to draw map and regions anew without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from baa_core.explanation.report import Panel
from baa_core.reporting.overlays import downsample_for_display, full_colour_months, outlined, signed_overlay
from baa_core.types import BoolArray, FloatArray

from . import explain_text
from .assess_view import LONGEST_SIDE_PX
from .html import address_of


@dataclass(frozen=True, eq=False)
class PanelView:
    """A radiograph at display size with its signed map and its regions, all (h, w).

    Attributes:
        pixels: float32 in [0, 1], as read.
        inverted: bone is dark in `pixels`.
        months: the signed map, months per pixel of the radiograph as read.
        regions: name to True on the region.
        legend: the colours and what they mean, as HTML.
    """

    pixels: FloatArray
    inverted: bool
    months: FloatArray
    regions: Mapping[str, BoolArray]
    legend: str

    def figure(self, region: str | None, opacity: float) -> str:
        """The picture as HTML, held by its own address: nothing is written to the server's disk.

        Args:
            region: outlined, if there is one of that name.
            opacity: of the map's strongest places, 0 to 1.
        """
        drawn = signed_overlay(self.pixels, self.months, inverted=self.inverted, opacity=opacity)
        found = self.regions.get(region or explain_text.NO_REGION)
        if found is not None:
            drawn = outlined(drawn, found)
        return explain_text.picture(address_of(drawn), self.legend, region if found is not None and region else "")


def panel_view_of(panel: Panel) -> PanelView:
    """A panel's pictures at display size."""
    small = downsample_for_display(panel.explanation.months, LONGEST_SIDE_PX)
    hundredth_px = float(panel.hand.pixels.sum()) / 100
    return PanelView(
        pixels=downsample_for_display(panel.radiograph.pixels, LONGEST_SIDE_PX),
        inverted=panel.hand.inverted,
        months=small,
        regions={name: downsample_for_display(mask, LONGEST_SIDE_PX) for name, mask in panel.masks.items()},
        legend=explain_text.legend(panel.explanation.method, full_colour_months(small) * hundredth_px),
    )
