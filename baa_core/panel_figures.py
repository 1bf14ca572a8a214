"""Panel -> pictures and Plotly figures: the signed map on the radiograph, regions, curves, drift.

Blue is younger and red is older everywhere; the two are told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import plotly.graph_objects as go

from .explain import Deletion, Drift, RegionEffect, Removal, smooth
from .explain.panel import Panel
from .figures import GREY, INK, Bytes, encode_png, lay_out, overlay, write_figure
from .types import BoolArray, FloatArray

YOUNGER, OLDER = "#3D8BFF", "#FF4B33"  # brighter than the figures' own: they must show on black film
REGION_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#FFFFFF")  # Okabe and Ito's
FULL_PERCENTILE = 99.0  # of the map's size where it says anything: the months of the full colour
CHOSEN_OPACITY = 0.35


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour of the form #RRGGBB as numbers, red first."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue


def _paint(colour: str) -> FloatArray:
    """The same, to mix with."""
    return np.array(rgb(colour), np.float32)


def full_colour_months(months: FloatArray) -> float:
    """The months per pixel, older or younger, at which a smoothed map is drawn in full colour; 0 for an empty map."""
    size = np.abs(smooth(months))
    said = size[size > 0]
    return float(np.percentile(said, FULL_PERCENTILE)) if said.size else 0.0


def signed_overlay(pixels: FloatArray, months: FloatArray, *, inverted: bool = False, opacity: float = 0.6) -> Bytes:
    """The radiograph in grey with a signed map on it, at its own size.

    Args:
        pixels: (H, W) in [0, 1] as read.
        months: the map, (H, W); smoothed here as the default picture is.
        inverted: bone is dark in `pixels`; the picture shows it bright.
        opacity: of the strongest places, 0 to 1.

    Returns:
        (H, W, 3) uint8, red first.

    Raises:
        ValueError: the map is not on the radiograph's grid.
    """
    if months.shape != pixels.shape:
        raise ValueError(f"the map is {months.shape}, the radiograph {pixels.shape}; both must be on one grid")
    picture = overlay(pixels, inverted=inverted).astype(np.float32)
    full = full_colour_months(months)
    if full > 0:
        value = np.clip(smooth(months) / full, -1.0, 1.0)[:, :, None]
        colour = np.where(value < 0, _paint(YOUNGER), _paint(OLDER))
        picture += opacity * np.abs(value) * (colour - picture)  # fainter in proportion, as the legend is
    return np.asarray(np.rint(picture), np.uint8)


def regions_picture(
    pixels: FloatArray, regions: Mapping[str, BoolArray], *, inverted: bool = False, chosen: str | None = None
) -> Bytes:
    """The radiograph with every region outlined in its colour, and one of them filled.

    Args:
        pixels: (H, W) in [0, 1] as read.
        regions: name to bool (H, W); more than seven begin the colours again.
        inverted: bone is dark in `pixels`; the picture shows it bright.
        chosen: the region to fill.

    Returns:
        (H, W, 3) uint8, red first.
    """
    picture = overlay(pixels, inverted=inverted)
    thickness = max(1, round(max(pixels.shape) / 500))
    for number, (name, region) in enumerate(regions.items()):
        colour = REGION_COLOURS[number % len(REGION_COLOURS)]
        if name == chosen:
            mixed = (1 - CHOSEN_OPACITY) * picture[region] + CHOSEN_OPACITY * _paint(colour)
            picture[region] = np.rint(mixed).astype(np.uint8)
        outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, rgb(colour), thickness, cv2.LINE_AA)
    return picture


def regions_figure(regions: Mapping[str, RegionEffect]) -> go.Figure:
    """Months each region contributes, red for older and blue for younger as on the map, beside what chance leaves."""
    names = [name.replace("_", " ") for name in regions]
    effects = list(regions.values())
    figure = go.Figure()
    figure.add_bar(
        y=names, x=[e.chance_high_months - e.chance_low_months for e in effects],
        base=[e.chance_low_months for e in effects],
        orientation="h", name="as much hand elsewhere", marker={"color": GREY, "opacity": 0.35}, width=0.8,
        hovertext=[f"{e.chance_low_months:+.1f} to {e.chance_high_months:+.1f} months" for e in effects],
        hovertemplate="as much hand elsewhere: %{hovertext}<extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        y=names, x=[e.contribution_months for e in effects], base=0, orientation="h", name="the region", width=0.4,
        marker={"color": [YOUNGER if e.contribution_months < 0 else OLDER for e in effects],
                "opacity": [1.0 if e.stands_out else 0.5 for e in effects]},
        hovertemplate="%{y}: %{x:+.1f} months<extra></extra>",
    )  # fmt: skip
    lay_out(figure, "What each region contributes to the estimate", "younger ← months → older", "")
    figure.update_layout(barmode="overlay", height=120 + 44 * len(names))
    figure.update_yaxes(autorange="reversed")
    figure.add_vline(0, line={"color": INK, "width": 1})
    return figure


def deletion_figure(deletion: Deletion) -> go.Figure:
    """How the estimate moves while what a map marks is blurred away, both ways round."""
    return _curves(deletion, lambda removal: removal, "While the hand is blurred away", "share of the hand blurred (%)")


def insertion_figure(deletion: Deletion) -> go.Figure:
    """The same pictures in the other direction: a blurred hand's detail comes back."""
    return _curves(deletion, Removal.insertion, "While the detail comes back", "share of the hand sharp (%)")


def drift_figure(drift: Drift) -> go.Figure:
    """Months the estimate drifts when the radiograph is changed in ways that should not matter."""
    figure, found = go.Figure(), drift.by_change()
    shown = [0.0 if months is None else months for months in found.values()]
    said = ["refused" if months is None else f"{round(months, 1) + 0.0:+.1f}" for months in found.values()]
    figure.add_bar(
        y=list(found), x=shown, orientation="h", marker={"color": [YOUNGER if m < 0 else OLDER for m in shown]},
        text=said, textposition="outside",
        hovertext=[drift.refusals.get(name, "") for name in found],
        hovertemplate="%{y}: %{text} %{hovertext}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    lay_out(figure, "The same radiograph, changed", "drift (months)", "")
    figure.update_layout(height=120 + 28 * len(found), showlegend=False)
    figure.update_yaxes(autorange="reversed")
    return figure


def write_panel(panel: Panel, folder: Path) -> None:
    """Everything to look at, into a folder that is there: two pictures, four figures that need no network."""
    pixels, inverted = panel.radiograph.pixels, panel.hand.inverted
    pictures = {
        "map.png": signed_overlay(pixels, panel.explanation.months, inverted=inverted),
        "regions.png": regions_picture(pixels, panel.masks, inverted=inverted),
    }
    figures = {
        "regions.html": regions_figure(panel.regions),
        "deletion.html": deletion_figure(panel.deletion),
        "insertion.html": insertion_figure(panel.deletion),
        "drift.html": drift_figure(panel.drift),
    }
    for name, picture in pictures.items():
        (folder / name).write_bytes(encode_png(picture))
    for name, figure in figures.items():
        write_figure(figure, folder / name)


def _curves(deletion: Deletion, read: Callable[[Removal], Removal], title: str, across: str) -> go.Figure:
    """One pair of lines for the map, the edges, and the mean of the maps of chance."""
    figure = go.Figure()
    chance = [read(removal) for removal in deletion.random]
    middle = Removal(
        np.mean([removal.older_first for removal in chance], axis=0, dtype=np.float32),
        np.mean([removal.younger_first for removal in chance], axis=0, dtype=np.float32),
    )
    percent = 100 * deletion.fractions
    pairs = (
        ("map", read(deletion.shown), 3, "solid"),
        ("edges", read(deletion.edges), 1, "dash"),
        ("chance", middle, 1, "dot"),
    )
    for name, removal, width, dash in pairs:
        for way, months, colour in (("older", removal.older_first, OLDER), ("younger", removal.younger_first, YOUNGER)):
            figure.add_scatter(
                x=percent, y=months, mode="lines", name=f"{name}: {way} first",
                line={"color": colour, "width": width, "dash": dash},
                hovertemplate="%{x:.0f} %: %{y:+.1f} months<extra></extra>",
            )  # fmt: skip
    lay_out(figure, title, across, "change of the estimate (months)")
    return figure
