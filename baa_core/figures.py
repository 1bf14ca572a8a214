"""Nouns and numbers -> pictures: overlays on the radiograph, and Plotly figures.

Colours are Okabe and Ito's (told apart with any colour vision); sex is told by the marker's
shape as well. Nothing here asks the network for anything: saved figures carry their own script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from .types import BoolArray, FloatArray, HandMask, Prediction, Radiograph, Report

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.float64]

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1F2430"
SEX_LOOKS = {"female": (ORANGE, "circle"), "male": (BLUE, "diamond")}
CONTOUR_RGB = (64, 224, 255)  # pale cyan: on no radiograph and not among the heat's colours
OUTSIDE_BRIGHTNESS = 0.6  # of what lies outside the mask
HEAT_SPAN = (0.25, 0.9)  # of OpenCV's inferno: its black and white ends look like film and bone
FULL_HEAT = 0.35  # heat from which the colour has its full opacity; below it fades in
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK}


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
    grey = np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    grey = 255 - grey if inverted else grey
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


def outlined(picture: Bytes, mask: BoolArray) -> Bytes:
    """A picture, (H, W, 3) red first, with the edge of what is True in the mask, (H, W), drawn on a copy of it."""
    drawn = picture.copy()
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(mask.shape) / 600))
    cv2.drawContours(drawn, outlines, -1, CONTOUR_RGB, thickness, cv2.LINE_8 if thickness == 1 else cv2.LINE_AA)
    return drawn


def hands_picture(radiograph: Radiograph, hands: Sequence[HandMask], longest_px: int = 1000) -> Bytes:
    """A radiograph of several hands, each outlined, the outer ones named by their side of the picture.

    Args:
        radiograph: as read.
        hands: on its grid, from left to right, at least one.
        longest_px: of the picture's longer side.

    Returns:
        (h, w, 3) uint8, red first.
    """
    pixels = downsample_for_display(radiograph.pixels, longest_px)
    masks = [downsample_for_display(hand.pixels, longest_px) for hand in hands]
    picture = overlay(pixels, inverted=hands[0].inverted, mask=np.logical_or.reduce(masks))
    for mask in masks:
        picture = outlined(picture, mask)
    scale = max(pixels.shape) / 700
    for name, mask in {"left": masks[0], "right": masks[-1]}.items():
        rows, columns = np.nonzero(mask)
        if not rows.size:
            continue
        (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        across = int(np.clip(columns.mean() - width / 2, 0, max(0, pixels.shape[1] - width)))
        place = (across, int(np.clip(rows.mean(), height, pixels.shape[0] - 1)))
        for colour, thickness in (((0, 0, 0), 6), (CONTOUR_RGB, 2)):
            cv2.putText(
                picture,
                name,
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                colour,
                max(1, round(thickness * scale)),
                cv2.LINE_AA,
            )
    return picture


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
    """A picture, (H, W) or (H, W, 3) red first, as the bytes of a PNG file."""
    done, data = cv2.imencode(".png", picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return data.tobytes()


def years_and_months(months: float) -> str:
    """Months as people say them: "10 years 1 month", to the nearest month."""
    years, rest = divmod(abs(round(months)), 12)
    parts = [f"{n} {unit}{'s' * (n != 1)}" for n, unit in ((years, "year"), (rest, "month")) if n]
    return ("minus " if round(months) < 0 else "") + (" ".join(parts) or "0 months")


def interval_figure(report: Report) -> go.Figure:
    """The estimate with its 90 % interval on an axis of years, for the page; readable at 390 px.

    Rows from the top: the bone age; the age today if given; the estimate for either sex, faint.
    """
    low, high = report.prediction.interval_months
    estimate = report.prediction.bone_age_months
    rows: list[tuple[str, float, str, str]] = [("Bone age", estimate, BLUE, "circle")]
    if report.chronological_age_months is not None:
        rows.append(("Age today", report.chronological_age_months, GREEN, "diamond"))
    rows.append(("If female", report.bone_age_if_female_months, GREY, "triangle-up"))
    rows.append(("If male", report.bone_age_if_male_months, GREY, "triangle-down"))
    shown_years = [months / 12 for _, months, _, _ in rows] + [low / 12, high / 12]
    middle, half = (min(shown_years) + max(shown_years)) / 2, max(2.0, (max(shown_years) - min(shown_years)) / 2)
    figure = go.Figure()
    figure.add_scatter(
        x=[low / 12, high / 12], y=["Bone age"] * 2, mode="lines", line={"color": BLUE, "width": 14}, opacity=0.3,
        hovertemplate="90 % interval: " + f"{years_and_months(low)} to {years_and_months(high)}<extra></extra>",
    )  # fmt: skip
    for name, months, colour, symbol in rows:
        figure.add_scatter(
            x=[months / 12], y=[name], mode="markers+text", text=[_short(months)], textposition="top center",
            marker={"color": colour, "size": 13 if colour != GREY else 10, "symbol": symbol},
            textfont={"size": 12, "color": INK}, cliponaxis=False,
            hovertemplate=f"{name}: {years_and_months(months)}<extra></extra>",
        )  # fmt: skip
    lay_out(figure, "", "years", "")
    figure.update_layout(height=66 + 46 * len(rows), margin={"l": 112, "r": 12, "t": 8, "b": 44}, showlegend=False)
    start, end = max(-0.2, middle - 1.25 * half), middle + 1.25 * half
    figure.update_xaxes(range=[start, end], nticks=8, fixedrange=True, title_font_size=12)
    names = [name for name, *_ in reversed(rows)]
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, tickvals=names, range=[-0.5, len(rows) - 0.3],
        ticktext=[*names[:-1], "Bone age<br><span style='font-size:11px'>and 90 % interval</span>"],
        showgrid=False, fixedrange=True, automargin=False,
    )  # fmt: skip
    return figure


def systems_figure(rows: Sequence[tuple[str, Prediction | None]]) -> go.Figure:
    """Each system's estimate as a dot and its own 90 % interval as whiskers, on an axis of years; readable at 390 px.

    Args:
        rows: the system's title and its prediction, from the top; None where it refused.
    """
    titles = [title for title, _ in rows]
    told = [(title, made) for title, made in rows if made is not None]
    figure = go.Figure()
    figure.add_scatter(
        x=[made.bone_age_months / 12 for _, made in told], y=[title for title, _ in told], mode="markers",
        marker={"color": BLUE, "size": 11},
        error_x={
            "type": "data", "symmetric": False, "color": BLUE, "thickness": 2, "width": 7,
            "array": [(made.interval_months[1] - made.bone_age_months) / 12 for _, made in told],
            "arrayminus": [(made.bone_age_months - made.interval_months[0]) / 12 for _, made in told],
        },
        text=[
            f"{years_and_months(made.bone_age_months)}<br>90 % interval: "
            f"{years_and_months(made.interval_months[0])} to {years_and_months(made.interval_months[1])}"
            for _, made in told
        ],
        hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    ends = [months / 12 for _, made in told for months in made.interval_months] or [0.0, 18.0]
    for title, made in rows:
        if made is None:
            figure.add_annotation(
                x=(min(ends) + max(ends)) / 2, y=title, text="not assessed", showarrow=False, font={"color": GREY}
            )
    lay_out(figure, "", "years; whiskers: each system's own 90 % interval", "")
    figure.update_layout(height=84 + 38 * len(rows), margin={"l": 12, "r": 12, "t": 8, "b": 44}, showlegend=False)
    figure.update_xaxes(range=[min(ends) - 0.5, max(ends) + 0.5], nticks=8, fixedrange=True, title_font_size=12)
    figure.update_yaxes(
        categoryorder="array", categoryarray=titles[::-1], range=[-0.6, len(rows) - 0.4], fixedrange=True,
        tickfont={"size": 12},
    )  # fmt: skip
    return figure


def predicted_figure(reference_months: Numbers, predicted_months: Numbers, sex: Sequence[str]) -> go.Figure:
    """Estimate against reference in years, with the line where both agree; one point a radiograph."""
    figure = go.Figure()
    years = [0.0, *(np.concatenate([reference_months, predicted_months]) / 12).tolist()]
    start, end = min(years) - 0.5, max(years) + 1
    figure.add_scatter(x=[0, end], y=[0, end], mode="lines", name="equal", line={"color": GREY, "dash": "dash"})
    _add_points(figure, reference_months / 12, predicted_months / 12, sex)
    lay_out(figure, "Estimated against reference bone age", "reference (years)", "estimate (years)")
    figure.update_xaxes(range=[start, end], constrain="domain")
    figure.update_yaxes(range=[start, end], scaleanchor="x", constrain="domain")
    return figure


def bland_altman_figure(reference_months: Numbers, predicted_months: Numbers, sex: Sequence[str]) -> go.Figure:
    """Difference against mean of both, with the mean difference and 1.96 standard deviations about it."""
    figure = go.Figure()
    difference = predicted_months - reference_months
    _add_points(figure, (predicted_months + reference_months) / 24, difference, sex)
    if len(difference) > 1:
        mean, deviation = float(difference.mean()), float(difference.std(ddof=1))
        for level, dash in ((mean, "solid"), (mean - 1.96 * deviation, "dash"), (mean + 1.96 * deviation, "dash")):
            figure.add_hline(level, line={"color": INK, "dash": dash, "width": 1}, annotation_text=f"{level:+.1f}")
    title = "Estimate minus reference (Bland-Altman)"
    lay_out(figure, title, "mean of both (years)", "difference (months)")
    return figure


def error_by_age_figure(
    reference_months: Numbers,
    predicted_months: Numbers,
    sex: Sequence[str],
    bands: Mapping[str, Mapping[str, Any]],
) -> go.Figure:
    """Absolute error against reference age, and the mean absolute error of each age band with its interval.

    Args:
        reference_months: (n,).
        predicted_months: (n,).
        sex: "female" or "male" for each.
        bands: name such as "24-60 months" to its measures, as in `evaluation.Evaluation.groups`.
    """
    figure = go.Figure()
    _add_points(figure, reference_months / 12, np.abs(predicted_months - reference_months), sex)
    middles, levels, above, below, names = [], [], [], [], []
    for name, band in bands.items():
        edges = [float(edge) / 12 for edge in name.split(" ")[0].split("-")]
        if not math.isfinite(band["mae_months"]):
            continue
        middles.append(sum(edges) / 2 if len(edges) == 2 else edges[0] + 1)
        levels.append(band["mae_months"])
        below.append(band["mae_months"] - band["mae_interval_months"][0])
        above.append(band["mae_interval_months"][1] - band["mae_months"])
        names.append(f"{name}, n = {band['n']}")
    figure.add_scatter(
        x=middles, y=levels, mode="lines+markers", name="mean of the band, 95 %", text=names,
        line={"color": INK, "width": 2}, marker={"size": 9, "symbol": "square"},
        error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
        hovertemplate="%{text}: %{y:.1f} months<extra></extra>",
    )  # fmt: skip
    lay_out(figure, "Absolute error by age", "reference (years)", "absolute error (months)")
    return figure


def write_figure(figure: go.Figure, path: Path) -> None:
    """Write a figure as one HTML file that needs no network."""
    options = {"displaylogo": False, "responsive": True}
    figure.write_html(path, include_plotlyjs=True, include_mathjax=False, config=options, validate=True)


def _blend_heat(picture: Bytes, heat: FloatArray, opacity: float) -> None:
    """Blend the heat's colour into an RGB picture, in place, fading in towards its lower edge."""
    drawn = heat > 0
    if not drawn.any() or opacity == 0:
        return
    values = heat[drawn]
    steps = np.linspace(*HEAT_SPAN, 256) * 255
    colours = cv2.applyColorMap(np.rint(steps).astype(np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    rising = np.clip(values / FULL_HEAT, 0.0, 1.0)
    alpha = (opacity * rising * rising * (3 - 2 * rising))[:, None]
    colour = colours[np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)]
    picture[drawn] = np.rint((1 - alpha) * picture[drawn] + alpha * colour).astype(np.uint8)


def _short(months: float) -> str:
    """Months as in "10 y 1 m"."""
    years, rest = divmod(max(0, round(months)), 12)
    return f"{years} y {rest} m"


def _add_points(figure: go.Figure, across: Numbers, up: Numbers, sex: Sequence[str]) -> None:
    """One marker a radiograph, by sex."""
    of = np.array(list(sex), dtype=np.str_)
    for name, (colour, symbol) in SEX_LOOKS.items():
        marker = {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.65, "line": {"width": 0}}
        figure.add_scatter(x=across[of == name], y=up[of == name], mode="markers", name=name, marker=marker)


def lay_out(figure: go.Figure, title: str, across: str, up: str) -> None:
    """The look all figures share: white, quiet, also in a dark page."""
    figure.update_layout(
        template="plotly_white", font=FONT, title=title or None, hovermode="closest", paper_bgcolor="white",
        plot_bgcolor="white", margin={"l": 56, "r": 20, "t": 56 if title else 12, "b": 48},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0}, autosize=True,
    )  # fmt: skip
    figure.update_xaxes(title=across, zeroline=False, gridcolor="#E6E8EC")
    figure.update_yaxes(title=up or None, zeroline=bool(up), gridcolor="#E6E8EC", automargin=True)
