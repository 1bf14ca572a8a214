"""Pictures with outlines, heatmaps and regions drawn on the radiograph, as arrays and PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..explanation.heatmap import smooth
from ..types import BoolArray, FloatArray, Report

Bytes = NDArray[np.uint8]


CONTOUR_RGB = (64, 224, 255)  # pale cyan: on no radiograph and not among the heat's colours


OUTSIDE_BRIGHTNESS = 0.6  # of what lies outside the mask


HEAT_SPAN = (0.25, 0.9)  # of OpenCV's inferno: its black and white ends look like radiograph and bone


FULL_HEAT = 0.35  # heat from which the colour has its full opacity; below it fades in


def overlay(
    pixels: FloatArray,
    *,
    inverted: bool = False,
    mask: BoolArray | None = None,
    heat: FloatArray | None = None,
    opacity: float = 0.5,
) -> Bytes:
    """The radiograph in grey with the hand outlined and the heat on it, at its own size.

    Args:
        pixels: (H, W) in [0, 1] as read.
        inverted: bone is dark in `pixels`; the picture shows it bright.
        mask: (H, W), True on the hand; outlined, and everything else darkened.
        heat: (H, W) in [0, 1]; 0 is not drawn.
        opacity: of the heat, 0 to 1.

    Returns:
        (H, W, 3) uint8, red first.

    Raises:
        ValueError: mask or heat are not on the radiograph's grid.
    """
    for name, layer in (("mask", mask), ("heat", heat)):
        if layer is not None and layer.shape != pixels.shape:
            raise ValueError(f"the {name} is {layer.shape}, the radiograph {pixels.shape}; both must be on one grid")
    grey = grey_picture(pixels, inverted=inverted)
    if mask is not None:
        grey = np.where(mask, grey, np.rint(grey * OUTSIDE_BRIGHTNESS).astype(np.uint8))
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    if heat is not None:
        _blend_heat(picture, heat, float(np.clip(opacity, 0.0, 1.0)))
    return picture if mask is None else outlined(picture, mask)


def heatmap_picture(report: Report) -> Bytes:
    """A report's radiograph with its heatmap, (H, W, 3) red first; without heat if none was asked for."""
    heat = report.explanation.heat if report.explanation is not None else None
    return overlay(report.radiograph.pixels, inverted=report.hand.inverted, heat=heat)


def heatmap_png(report: Report) -> bytes:
    """`heatmap_picture` as the bytes of a PNG file."""
    return encode_png(heatmap_picture(report))


def outlined(picture: Bytes, mask: BoolArray) -> Bytes:
    """A picture, (H, W, 3) red first, with the edge of what is True in the mask, (H, W), drawn on a copy of it."""
    drawn = picture.copy()
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(mask.shape) / 600))
    cv2.drawContours(drawn, outlines, -1, CONTOUR_RGB, thickness, cv2.LINE_8 if thickness == 1 else cv2.LINE_AA)
    return drawn


def mask_picture(mask: BoolArray) -> Bytes:
    """(H, W) uint8: 255 on the hand, 0 elsewhere."""
    return mask.astype(np.uint8) * np.uint8(255)


def downsample_for_display(pixels: NDArray[Any], longest_px: int = 1200) -> NDArray[Any]:
    """A picture, mask or heatmap no longer than `longest_px`, aspect kept; small ones as they are.

    Pictures and heat are averaged; a mask is True where half of the area or more is hand.
    """
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if pixels.dtype == np.bool_:
        return cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def encode_png(picture: Bytes) -> bytes:
    """A picture, (H, W), or (H, W, 3) or (H, W, 4) red first, as the bytes of a PNG file."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[2 if picture.ndim == 2 else picture.shape[2]]
    done, data = cv2.imencode(".png", picture if order is None else cv2.cvtColor(picture, order))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return data.tobytes()


def heat_layer(heat: FloatArray) -> Bytes:
    """The heat, (H, W) in [0, 1], as a layer to lay over a picture: (H, W, 4) red first, clear where there is none."""
    drawn = heat > 0
    layer = np.zeros((*heat.shape, 4), np.uint8)
    layer[drawn, :3], strength = _heat_colours(heat[drawn])
    layer[drawn, 3] = np.rint(strength * 255).astype(np.uint8)
    return layer


def outline_paths(mask: BoolArray) -> list[list[tuple[int, int]]]:
    """The closed lines around what is True in a mask, (H, W), each as (column, row) of its corner pixels."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    return [[(int(column), int(row)) for column, row in line[:, 0]] for line in lines]


def grey_picture(pixels: FloatArray, *, inverted: bool = False) -> Bytes:
    """The radiograph, (H, W) in [0, 1] as read, as (H, W) uint8 with bone bright."""
    grey = np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    return 255 - grey if inverted else grey


def encode_jpeg(picture: Bytes, quality: int = 80) -> bytes:
    """A picture, (H, W, 3) red first, as the bytes of a JPEG file: a PNG would be several times larger."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return data.tobytes()


def _blend_heat(picture: Bytes, heat: FloatArray, opacity: float) -> None:
    """Blend the heat's colour into an RGB picture, in place, fading in towards its lower edge."""
    drawn = heat > 0
    if not drawn.any() or opacity == 0:
        return
    colour, strength = _heat_colours(heat[drawn])
    alpha = (opacity * strength)[:, None]
    picture[drawn] = np.rint((1 - alpha) * picture[drawn] + alpha * colour).astype(np.uint8)


def _heat_colours(values: FloatArray) -> tuple[Bytes, FloatArray]:
    """Colours (N, 3) red first of heat (N,), and how strongly each is drawn (N,), 0 to 1."""
    steps = np.linspace(*HEAT_SPAN, 256) * 255
    mapped = cv2.applyColorMap(np.rint(steps).astype(np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    colours: Bytes = np.asarray(mapped, np.uint8)[:, 0, ::-1]
    rising: FloatArray = np.clip(values / np.float32(FULL_HEAT), 0.0, 1.0)
    return colours[np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)], rising * rising * (3 - 2 * rising)


YOUNGER, OLDER = "#3D8BFF", "#FF4B33"  # brighter than the figures' own: they must show on black radiograph


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
