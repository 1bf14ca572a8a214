"""What a session keeps of an assessment: small pictures, enough to draw mask and heatmap anew without a network."""

from __future__ import annotations

from dataclasses import dataclass

from baa_core.reporting.overlays import downsample_for_display, overlay
from baa_core.types import BoolArray, FloatArray, Report

from .html import address_of

LONGEST_SIDE_PX = 1000


@dataclass(frozen=True, eq=False)
class View:
    """A radiograph at display size, with its mask and heatmap, all (h, w).

    Attributes:
        pixels: float32 in [0, 1], as read.
        inverted: bone is dark in `pixels`.
        mask: True on the hand.
        heat: float32 in [0, 1], or None.
    """

    pixels: FloatArray
    inverted: bool
    mask: BoolArray
    heat: FloatArray | None

    def address(self, with_mask: bool, with_heat: bool, opacity: float, words: str = "") -> str:
        """The picture with the layers wanted, as an address that holds it: nothing is written to the server's disk.

        Args:
            with_mask: outline the hand.
            with_heat: lay the heatmap on it.
            opacity: of the heatmap, 0 to 1.
            words: written into the file, see `captioned`.
        """
        mask, heat = self.mask if with_mask else None, self.heat if with_heat else None
        drawn = overlay(self.pixels, inverted=self.inverted, mask=mask, heat=heat, opacity=opacity)
        return address_of(drawn, words)


def view_of(report: Report, longest_side_px: int = LONGEST_SIDE_PX) -> View:
    """A report's picture at display size."""
    pixels, mask, heat = (
        None if layer is None else downsample_for_display(layer, longest_side_px)
        for layer in (report.radiograph.pixels, report.hand.pixels, report.explanation and report.explanation.heat)
    )
    return View(pixels, report.hand.inverted, mask, heat)
