"""Earlier assessments as a visitor types or saves them."""

import json

import pytest

from baa_core.errors import BoneAgeError, InvalidPatient
from baa_core.export import collect
from baa_core.phantom import draw_phantom, to_png
from baa_core.reference import GrowthPoint
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor
from page.growth import around_chart, chart_of, growth_card, line_from_json, line_of, parse_earlier, with_line


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("8y 3m: 8y 10m", GrowthPoint(99, 106)),
        ("8 years 3 months; 106 m", GrowthPoint(99, 106)),
        ("8,5y : 8.25 years", GrowthPoint(102, 99)),
        ("99m: 106m (95m to 117m)", GrowthPoint(99, 106, (95, 117))),
        ("8y 3m: 8y 10m (7y 11m - 9y 9m)", GrowthPoint(99, 106, (95, 117))),
    ],
)
def test_years_and_months_are_read_as_people_write_them(typed: str, expected: GrowthPoint) -> None:
    assert parse_earlier(f"\n{typed}\n\n") == (expected,)
    assert parse_earlier(line_of(expected)) == (expected,)


@pytest.mark.parametrize(
    "typed", ["8: 9", "8y", "at eight: nine", "8y: ", "8y: 30y", "8y: 9y (10y to 11y)", "8y: 9y (8y)", "8y: 9y\n" * 60]
)
def test_what_cannot_be_read_is_refused_in_words(typed: str) -> None:
    with pytest.raises(InvalidPatient):
        parse_earlier(typed)


def test_a_saved_assessment_becomes_a_line_once() -> None:
    saved = {"chronological_age_months": 99.0, "bone_age_months": 106.25, "interval_months": [95.0, 117.5]}
    line = line_from_json(json.dumps(saved).encode())
    assert parse_earlier(line) == (GrowthPoint(99, 106.25, (95, 117.5)),)
    typed = with_line("7y: 7y", line)
    assert typed == f"7y: 7y\n{line}" == with_line(typed, line)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b"[" * 100_000, b'"' + b"x" * 1_100_000 + b'"'])
def test_any_other_file_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(BoneAgeError, match="saved"):
        line_from_json(content)


def test_beyond_the_reference_the_card_says_so_and_the_chart_still_shows_the_child(
    tiny_assessor: Assessor,
) -> None:
    hand = to_png(draw_phantom(180, "female", seed=3, height_px=300).radiograph)
    content = collect(tiny_assessor.assess(hand, Patient("female", 205.0), name="hand.png"))
    card = growth_card(content)
    assert ">none</strong>" in card and "no reference" in card
    assert "the table for girls ends at 192 months" in card
    assert 205 / 12 in [x for trace in chart_of(content).data for x in trace.x]
    assert "Beyond its last row there is no reference" in around_chart(content)
