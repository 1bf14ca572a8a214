"""The growth chart of the PDF, drawn as vectors: bands of the reference, this child's assessments, the interval."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ..reference.bands import chart_ranges_years, growth_bands
from ..reference.brush import POPULATION
from ..reference.course import GrowthPoint
from ..reference.growth import CENTRES, Convention
from ..reporting.charts import BLUE, GREY, INK
from ..types import Sex
from .content import ReportContent

MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP = 22.0, 38.0, 18.0
BAND_COLOURS = ("#DCE9F3", "#BCD6EA")  # outside and inside of +-1 SD
MOST_TICKS = 10

At = Callable[[float, float], tuple[float, float]]


def draw_growth_chart(
    canvas: Any, content: ReportContent, left: float, bottom: float, width: float, height: float
) -> None:
    """Draw the chart into a rectangle of a reportlab canvas.

    Args:
        canvas: of `reportlab.pdfgen.canvas`.
        content: with a growth comparison.
        left: edge of the rectangle, in points, as the following.
        bottom: edge of the rectangle.
        width: of the rectangle.
        height: of the rectangle.
    """
    growth, point = content.growth, content.point
    if growth is None or point is None:
        return
    points = [*content.earlier, point]
    shown = [(p.chronological_age_months, *(p.interval_months or (p.bone_age_months,) * 2)) for p in points]
    ages, levels = chart_ranges_years(growth.sex, growth.convention, shown)
    inner_left, inner_bottom = left + MARGIN_LEFT, bottom + MARGIN_BOTTOM
    inner_width, inner_height = width - MARGIN_LEFT - 6, height - MARGIN_BOTTOM - MARGIN_TOP

    def at(age_months: float, bone_age_months: float) -> tuple[float, float]:
        across = (age_months / 12 - ages[0]) / (ages[1] - ages[0])
        up = (bone_age_months / 12 - levels[0]) / (levels[1] - levels[0])
        return inner_left + across * inner_width, inner_bottom + up * inner_height

    canvas.saveState()
    _axes(canvas, at, ages, levels)
    frame = canvas.beginPath()
    frame.rect(inner_left, inner_bottom, inner_width, inner_height)
    canvas.saveState()
    canvas.clipPath(frame, stroke=0, fill=0)
    _bands(canvas, at, growth.sex, growth.convention)
    canvas.restoreState()
    _points(canvas, at, points)
    canvas.setFillColor(INK)
    title = content.said("Growth chart: bone age by chronological age, years")
    _line(canvas, left, bottom + height - 8, title, "Helvetica-Bold", 8.5, width)
    for line, words in enumerate(
        (
            f"Bands: 1 and 2 SD about {CENTRES[growth.convention]}, {growth.sex} sex; {POPULATION}.",
            f"{growth.reference}.",
            "Filled: this radiograph with its 90 % interval. Open: earlier assessments.",
        )
    ):
        _line(canvas, left, bottom + 17 - 8 * line, content.said(words), "Helvetica", 6.5, width)
    canvas.restoreState()


def _line(canvas: Any, left: float, bottom: float, words: str, font: str, size: float, width: float) -> None:
    """One line of words, in smaller letters where they need more room than there is."""
    canvas.setFont(font, size * min(1.0, width / canvas.stringWidth(words, font, size)))
    canvas.drawString(left, bottom, words)


def _axes(canvas: Any, at: At, ages: tuple[float, float], levels: tuple[float, float]) -> None:
    canvas.setFont("Helvetica", 7)
    canvas.setFillColor(INK)
    canvas.setStrokeColor("#D5D9DF")
    canvas.setLineWidth(0.4)
    for year in _ticks(ages):
        (x, low), (_, high) = at(12 * year, 12 * levels[0]), at(12 * year, 12 * levels[1])
        canvas.line(x, low, x, high)
        canvas.drawCentredString(x, low - 9, f"{year}")
    for year in _ticks(levels):
        (low, y), (high, _) = at(12 * ages[0], 12 * year), at(12 * ages[1], 12 * year)
        canvas.line(low, y, high, y)
        canvas.drawRightString(low - 4, y - 2.5, f"{year}")


def _ticks(ends: tuple[float, float]) -> range:
    first, last = round(ends[0]), round(ends[1])
    return range(first, last + 1, 1 if last - first <= MOST_TICKS else 2)


def _bands(canvas: Any, at: At, sex: Sex, convention: Convention) -> None:
    bands = growth_bands(sex, convention)
    for colour, low, high in ((BAND_COLOURS[0], 0, 4), (BAND_COLOURS[1], 1, 3)):
        edge = [at(band.chronological_age_months, band.levels_months[low]) for band in bands]
        edge += [at(band.chronological_age_months, band.levels_months[high]) for band in reversed(bands)]
        outline = canvas.beginPath()
        outline.moveTo(*edge[0])
        for corner in edge[1:]:
            outline.lineTo(*corner)
        outline.close()
        canvas.setFillColor(colour)
        canvas.drawPath(outline, stroke=0, fill=1)
    canvas.setStrokeColor(GREY)
    canvas.setLineWidth(0.8)
    middle = [at(band.chronological_age_months, band.levels_months[2]) for band in bands]
    for (x0, y0), (x1, y1) in itertools.pairwise(middle):
        canvas.line(x0, y0, x1, y1)


def _points(canvas: Any, at: At, points: Sequence[GrowthPoint]) -> None:
    """The last one of `points` is this assessment."""
    canvas.setStrokeColor(BLUE)
    canvas.setLineWidth(1)
    ordered = sorted(points, key=lambda point: point.chronological_age_months)
    for before, after in itertools.pairwise(ordered):
        x0, y0 = at(before.chronological_age_months, before.bone_age_months)
        x1, y1 = at(after.chronological_age_months, after.bone_age_months)
        canvas.line(x0, y0, x1, y1)
    for point in points:
        x, y = at(point.chronological_age_months, point.bone_age_months)
        if point.interval_months is not None:
            (_, low), (_, high) = (at(point.chronological_age_months, end) for end in point.interval_months)
            canvas.setLineWidth(2)
            canvas.line(x, low, x, high)
            canvas.setLineWidth(1)
        canvas.setFillColor(BLUE if point is points[-1] else "#FFFFFF")
        canvas.circle(x, y, 3, stroke=1, fill=1)
