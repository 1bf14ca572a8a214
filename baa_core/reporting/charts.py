"""Nouns and numbers -> pictures: overlays on the radiograph, and Plotly figures.

Colours are Okabe and Ito's (told apart with any colour vision); sex is told by the marker's
shape as well. Nothing here asks the network for anything: saved figures carry their own script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ..explanation.faithfulness import Deletion, Removal
from ..explanation.region_effects import RegionEffect
from ..explanation.robustness import Robustness
from ..types import HandMask, Prediction, Radiograph, Report
from .overlays import CONTOUR_RGB, OLDER, YOUNGER, Bytes, downsample_for_display, outlined, overlay
from .text import _short, years_and_months

Numbers = NDArray[np.float64]

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1F2430"
SEX_LOOKS = {"female": (ORANGE, "circle"), "male": (BLUE, "diamond")}
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK}


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


def growth_figure(
    bands: Sequence[tuple[float, Sequence[float]]],
    points: Sequence[tuple[float, float, tuple[float, float] | None]],
    ranges_years: tuple[tuple[float, float], tuple[float, float]],
) -> go.Figure:
    """Bone age by chronological age with the bands of the reference and this child's assessments; readable at 390 px.

    Args:
        bands: chronological age, and bone ages at -2, -1, 0, +1 and +2 SD, all months.
        points: of each assessment chronological age, bone age and 90 % interval, months; the last one is this one.
        ranges_years: first and last of chronological age, and of bone age.
    """
    figure = go.Figure()
    ages = [age / 12 for age, _ in bands]
    for name, low, high, colour in (("2 SD", 0, 4, "#DCE9F3"), ("1 SD", 1, 3, "#BCD6EA")):
        edge = [levels[low] / 12 for _, levels in bands] + [levels[high] / 12 for _, levels in reversed(bands)]
        figure.add_scatter(
            x=[*ages, *reversed(ages)], y=edge, fill="toself", fillcolor=colour, line={"width": 0}, mode="lines",
            name=f"reference, ±{name}", hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=ages, y=[levels[2] / 12 for _, levels in bands], mode="lines", line={"color": GREY, "width": 1},
        name="0 SD", hoverinfo="skip",
    )  # fmt: skip
    ordered = sorted(points, key=lambda point: point[0])
    if len(points) > 1:
        figure.add_scatter(
            x=[age / 12 for age, _, _ in ordered], y=[months / 12 for _, months, _ in ordered], mode="lines",
            line={"color": BLUE, "width": 1, "dash": "dot"}, showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    for name, shown, fill in (("earlier", points[:-1], "white"), ("this radiograph, 90 % interval", points[-1:], BLUE)):
        if not shown:
            continue
        ends = [interval or (months, months) for _, months, interval in shown]
        words = [f"at {years_and_months(age)}: {years_and_months(months)}" for age, months, _ in shown]
        figure.add_scatter(
            x=[age / 12 for age, _, _ in shown], y=[months / 12 for _, months, _ in shown], mode="markers", name=name,
            marker={"color": fill, "size": 11, "line": {"color": BLUE, "width": 2}},
            error_y={
                "type": "data", "symmetric": False, "color": BLUE, "thickness": 2, "width": 5,
                "array": [(high - months) / 12 for (_, months, _), (_, high) in zip(shown, ends, strict=True)],
                "arrayminus": [(months - low) / 12 for (_, months, _), (low, _) in zip(shown, ends, strict=True)],
            },
            text=words, hovertemplate="%{text}<extra>" + name + "</extra>",
        )  # fmt: skip
    lay_out(figure, "", "chronological age, years", "bone age, years")
    figure.update_layout(height=430)
    figure.update_xaxes(range=ranges_years[0], fixedrange=True, nticks=10)
    figure.update_yaxes(range=ranges_years[1], fixedrange=True, nticks=10)
    return figure


def systems_figure(rows: Sequence[tuple[str, Prediction | None]]) -> go.Figure:
    """Each system's estimate as a dot and its own 90 % interval as whiskers, on an axis of years; readable at 390 px.

    Args:
        rows: the system's title and its prediction, from the top; None where it refused.
    """
    titles = [title for title, _ in rows]
    assessed = [(title, made) for title, made in rows if made is not None]
    figure = go.Figure()
    figure.add_scatter(
        x=[made.bone_age_months / 12 for _, made in assessed], y=[title for title, _ in assessed], mode="markers",
        marker={"color": BLUE, "size": 11},
        error_x={
            "type": "data", "symmetric": False, "color": BLUE, "thickness": 2, "width": 7,
            "array": [(made.interval_months[1] - made.bone_age_months) / 12 for _, made in assessed],
            "arrayminus": [(made.bone_age_months - made.interval_months[0]) / 12 for _, made in assessed],
        },
        text=[
            f"{years_and_months(made.bone_age_months)}<br>90 % interval: "
            f"{years_and_months(made.interval_months[0])} to {years_and_months(made.interval_months[1])}"
            for _, made in assessed
        ],
        hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    ends = [months / 12 for _, made in assessed for months in made.interval_months] or [0.0, 18.0]
    for title, made in rows:
        if made is None:
            figure.add_annotation(
                x=(min(ends) + max(ends)) / 2, y=title, text="not assessed", showarrow=False, font={"color": GREY}
            )
    lay_out(figure, "", "years, with each system's 90 % interval", "")
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
        bands: name such as "24-60 months" to its measures, as in `metrics.Evaluation.groups`.
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


def _add_points(figure: go.Figure, across: Numbers, up: Numbers, sex: Sequence[str]) -> None:
    """One marker a radiograph, by sex."""
    of = np.array(list(sex), dtype=np.str_)
    for name, (colour, symbol) in SEX_LOOKS.items():
        marker = {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.65, "line": {"width": 0}}
        figure.add_scatter(x=across[of == name], y=up[of == name], mode="markers", name=name, marker=marker)


def lay_out(figure: go.Figure, title: str, across: str, up: str) -> None:
    """The look all figures share: white and quiet. A dark page reverses their lightness (`page/style.css`)."""
    figure.update_layout(
        template="plotly_white", font=FONT, title=title or None, hovermode="closest", paper_bgcolor="white",
        plot_bgcolor="white", margin={"l": 56, "r": 20, "t": 56 if title else 12, "b": 48},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0}, autosize=True,
    )  # fmt: skip
    figure.update_xaxes(title=across, zeroline=False, gridcolor="#E6E8EC")
    figure.update_yaxes(title=up or None, zeroline=bool(up), gridcolor="#E6E8EC", automargin=True)


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


def robustness_figure(robustness: Robustness) -> go.Figure:
    """Months the estimate changes by when the radiograph is changed in ways that should not matter."""
    figure, found = go.Figure(), robustness.by_change()
    shown = [0.0 if months is None else months for months in found.values()]
    said = ["refused" if months is None else f"{round(months, 1) + 0.0:+.1f}" for months in found.values()]
    figure.add_bar(
        y=list(found), x=shown, orientation="h", marker={"color": [YOUNGER if m < 0 else OLDER for m in shown]},
        text=said, textposition="outside",
        hovertext=[robustness.refusals.get(name, "") for name in found],
        hovertemplate="%{y}: %{text} %{hovertext}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    lay_out(figure, "The same radiograph, changed", "change (months)", "")
    figure.update_layout(height=120 + 28 * len(found), showlegend=False)
    figure.update_yaxes(autorange="reversed")
    return figure


def _curves(deletion: Deletion, read: Callable[[Removal], Removal], title: str, across: str) -> go.Figure:
    """One pair of lines for the map, the edges, and the mean of the random surrogate maps."""
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
