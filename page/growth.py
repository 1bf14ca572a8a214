"""Growth context on the page: earlier assessments as typed or saved, the chart, and the words around it."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from baa_core.errors import InvalidPatient
from baa_core.export import ReportContent
from baa_core.reference import (
    CENTRES,
    CONVENTIONS,
    Convention,
    GrowthPoint,
    chart_ranges_years,
    growth_bands,
    point_from_result,
)
from baa_core.reporting.charts import growth_figure
from baa_core.reporting.text import years_and_months

from .html import refusal, table
from .language import in_language

CONVENTION_CHOICES: list[tuple[str, Convention]] = [
    ("about the chronological age (radiology reports)", "brush-age"),
    ("about the mean bone age of the reference", "brush-mean"),
]
MOST_EARLIER = 50
LONGEST_JSON_BYTES = 1_000_000
CONVENTION_HELP = (
    "By how many SD of the reference the bone age lies above or below a centre: this child's age, or the mean bone age "
    "that the reference found at this age."
)
EARLIER_HELP = (
    "One a line: age on that day, a colon, the bone age found, each with y and m. Its 90 % interval may follow in "
    "brackets. Example: 8y 3m: 8y 10m (7y 11m to 9y 9m)"
)
NO_AGE = '<p class="baa-note">Enter the chronological age to see the SD score and the growth chart.</p>'

_NUMBER = r"\d+(?:[.,]\d+)?"
_YEARS, _MONTHS = rf"(?P<years>{_NUMBER})\s*y[a-z]*", rf"(?P<months>{_NUMBER})\s*m[a-z]*"
_DURATION = re.compile(rf"(?:{_YEARS})?[\s,]*(?:{_MONTHS})?", re.IGNORECASE)
_LINE = re.compile(r"(?P<age>[^:;()]+)[:;](?P<bone_age>[^:;()]+)(?:\((?P<low>.+?)(?:\bto\b|-|–)(?P<high>.+?)\))?")


def parse_earlier(typed: str | None) -> tuple[GrowthPoint, ...]:
    """The earlier assessments of a child as typed, one a line; see `EARLIER_HELP`.

    Raises:
        InvalidPatient: a line that cannot be read, more than `MOST_EARLIER`, or what `GrowthPoint` refuses.
    """
    lines = [line.strip() for line in (typed or "").splitlines() if line.strip()]
    if len(lines) > MOST_EARLIER:
        raise InvalidPatient(f"{len(lines)} earlier assessments are too many. Give at most {MOST_EARLIER}.")
    return tuple(_point(line) for line in lines)


def _point(line: str) -> GrowthPoint:
    found = _LINE.fullmatch(line)
    parts = {} if found is None else {name: _months(part) for name, part in found.groupdict().items() if part}
    if not parts or None in parts.values():
        raise InvalidPatient(f"The earlier assessment '{line[:40]}' cannot be read. {EARLIER_HELP}.")
    given: dict[str, float] = {name: value for name, value in parts.items() if value is not None}
    interval = (given["low"], given["high"]) if "low" in given else None
    return GrowthPoint(given["age"], given["bone_age"], interval)


def _months(words: str) -> float | None:
    """Months from words like "8y 10m", "8.5 years" or "106 m"; None if a unit is missing or it is something else."""
    found = _DURATION.fullmatch(words.strip())
    if found is None or not any(found.groups()):
        return None
    years, months = (float((found[name] or "0").replace(",", ".")) for name in ("years", "months"))
    return 12 * years + months


def line_of(point: GrowthPoint) -> str:
    """An assessment as `parse_earlier` reads it, in months to 0.01."""
    line = f"{point.chronological_age_months:g}m: {point.bone_age_months:g}m"
    if point.interval_months is not None:
        low, high = point.interval_months
        line += f" ({low:g}m to {high:g}m)"
    return line


def line_from_json(content: bytes) -> str:
    """The line for an assessment that was saved as JSON here.

    Raises:
        InvalidPatient: it is no such file; see `point_from_result`.
    """
    try:
        result = json.loads(content) if len(content) <= LONGEST_JSON_BYTES else None
    except (ValueError, RecursionError):
        result = None
    return line_of(point_from_result(result if isinstance(result, dict) else {}))


def with_line(typed: str | None, line: str) -> str:
    """What was typed, with one line more unless it is there already."""
    lines = [kept for kept in (typed or "").splitlines() if kept.strip()]
    return "\n".join(lines if line in lines else [*lines, line])


def growth_card(content: ReportContent) -> str:
    """The part of the result card about growth: SD score, class, one sentence; "" without a chronological age."""
    growth = content.growth
    if growth is None:
        return ""
    score = "none" if growth.sd_score is None else f"{growth.sd_score:+.2f}".replace("-", "−")
    return (
        f'<div class="baa-growth" id="baa-growth"><p><span class="baa-eyebrow">SD score</span> '
        f'<strong class="baa-sd">{score}</strong> <span class="baa-tag baa-class">{growth.classification}</span> '
        f'<span class="baa-fine">about {CENTRES[growth.convention]}</span></p><p>{escape(growth.sentence)}</p></div>'
    )


def chart_of(content: ReportContent) -> Any:
    """The growth chart as a Plotly figure; None without a chronological age."""
    growth, now = content.growth, content.point
    if growth is None or now is None:
        return None
    points = [
        (point.chronological_age_months, point.bone_age_months, point.interval_months)
        for point in (*content.earlier, now)
    ]
    shown = [(age, *(interval or (months, months))) for age, months, interval in points]
    ranges = chart_ranges_years(growth.sex, growth.convention, shown)
    bands = [
        (band.chronological_age_months, band.levels_months) for band in growth_bands(growth.sex, growth.convention)
    ]
    return in_language(growth_figure(bands, points, ranges))


def around_chart(content: ReportContent, wrong: str = "") -> str:
    """Below the chart: velocity, and whom the reference describes; above all what is wrong with the lines typed."""
    said = [refusal(wrong, "Earlier assessments not used")] if wrong else []
    if content.growth is None:
        return "".join([*said, NO_AGE])
    if (velocity := content.velocity) is not None:
        said.append(f'<p class="baa-velocity">{escape(velocity.sentence)}</p>')
    growth = content.growth
    said.append(
        f'<p class="baa-fine">SD score about {CENTRES[growth.convention]} = {escape(CONVENTIONS[growth.convention])}. '
        f"Reference: {escape(growth.reference)}; {escape(growth.population)}. "
        "Children of other places and times may differ from it. Beyond its last row there is no reference.</p>"
    )
    return "".join(said)


def half_years(content: ReportContent) -> str:
    """The three most likely half-years with their probabilities, as a table."""
    rows = {years_and_months(half.months): f"{100 * half.probability:.0f} %" for half in content.half_years}
    return table(("Likeliest half-years", "Probability"), rows)
