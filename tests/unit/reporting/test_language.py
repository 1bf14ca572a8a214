"""German: nothing untranslated, nothing stale, sentences and charts as someone who knows the field writes them."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from baa_core.explanation.faithfulness import Deletion, Removal
from baa_core.explanation.region_effects import RegionEffect
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS, Robustness
from baa_core.hand_anatomy import FINGER_NAMES
from baa_core.reporting.charts import (
    deletion_figure,
    growth_figure,
    insertion_figure,
    regions_figure,
    robustness_figure,
)
from baa_core.reporting.language import (
    CATALOGUES,
    accepted_language,
    catalogue,
    translated,
    translated_chart,
    with_decimal_comma,
)
from baa_core.reporting.timeline import timeline_figure
from tests.prose import pieces, script_strings, stale, untranslated


def test_every_string_that_a_visitor_may_read_has_a_german_entry() -> None:
    missing = untranslated()
    assert not missing, "add these to baa_core/reporting/german.json (python -m tests.prose lists them)"


def test_no_german_entry_is_stale() -> None:
    assert not stale(), "nothing says these any more: take them out of baa_core/reporting/german.json"


def test_what_is_put_into_a_sentence_is_put_into_its_translation() -> None:
    places = re.compile(r"\{\d\}")
    wrong = [key for key, value in catalogue("de").items() if set(places.findall(key)) != set(places.findall(value))]
    assert CATALOGUES and not wrong


def test_no_entry_is_left_in_english_by_mistake() -> None:
    english = re.compile(r"\b(the|and|of|with|which|were|is not|has no)\b")
    kept = re.compile(r"Hand Bone Age|Digital Atlas|deep learning|Radiographic Atlas|for processing", re.IGNORECASE)
    assert not [value for value in catalogue("de").values() if english.search(value) and not kept.search(value)]


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("8 years 3 months", "8 Jahre 3 Monate"),
        ("1 year 1 month", "1 Jahr 1 Monat"),
        ("7.15 [6.15, 8.23] months", "7,15 [6,15; 8,23] Monate"),
        ("Estimated bone age for a boy", "Geschätztes Skelettalter für einen Jungen"),
        (
            "Girl, 10 years 3 months, +1 SD: bone age 11 years",
            "Mädchen, 10 Jahre 3 Monate, +1 SD: Skelettalter 11 Jahre",
        ),
        (
            "scan 7.png; sex entered: female; age entered: 10 years 0.5 months",
            "scan 7.png; Geschlecht eingegeben: weiblich; Alter eingegeben: 10 Jahre 0,5 Monate",
        ),
        (
            "The estimate is 8 months above the chronological age of 10 years, which lies inside the interval.",
            "Die Schätzung liegt 8 Monate über dem chronologischen Alter (10 Jahre), "
            "das innerhalb des Intervalls liegt.",
        ),
        (
            "the epiphysis of the third metacarpal begins to fuse with its metaphysis",
            "die Epiphyse des Mittelhandknochens III beginnt mit der Metaphyse zu verschmelzen",
        ),
        (
            "No hand was found in hand.dcm (512 x 400 px). A radiograph of one whole hand and wrist is expected: check "
            "that it is the right file, crop away other body parts and try again.",
            "In hand.dcm (512 x 400 px) wurde keine Hand gefunden. Erwartet wird die Röntgenaufnahme einer ganzen Hand "
            "mit Handgelenk: Prüfen Sie die Datei, schneiden Sie andere Körperteile weg, und versuchen Sie es erneut.",
        ),
    ],
)
def test_finished_sentences_are_told_in_german(english: str, german: str) -> None:
    assert translated(english, "de") == german


def test_english_and_what_is_not_known_stay_as_they_are() -> None:
    assert translated("The estimate will appear here", "en") == "The estimate will appear here"
    assert translated("lite0_320_drawn", "de") == "lite0_320_drawn"
    assert translated("  Assess ", "de") == "  Auswerten "


def test_versions_and_dates_keep_their_points() -> None:
    assert with_decimal_comma("2.13.0") == "2.13.0"
    assert with_decimal_comma("2026-11-26 16:00") == "2026-11-26 16:00"


def words_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in ("template", "font", "family"):
                yield from words_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from words_of(item)
    elif isinstance(value, str) and " " in value:
        yield value


def test_charts_come_in_german_with_decimal_commas() -> None:
    growth = growth_figure([(120, (100, 110, 120, 130, 140))], [(120, 121.5, (110, 130))], ((8, 12), (8, 12)))
    for figure in (timeline_figure(), growth):
        german = translated_chart(figure, "de")
        assert german.layout.separators == ",."
        said = " ".join(words_of(german.to_dict()))
        assert not re.search(r"\b(years?|months?|girls|boys|the|appears|age)\b", said), said
        assert translated_chart(figure, "en") is figure


def test_charts_of_an_explanation_come_in_german() -> None:
    lines = Removal(np.zeros(3, np.float32), np.ones(3, np.float32))
    deletion = Deletion(np.linspace(0, 1, 3, dtype=np.float32), lines, (lines,), lines)
    regions = {"carpals": RegionEffect(0.4, -1.0, 1.0), "radius_ulna": RegionEffect(4.2, -1.0, 1.0)}
    changed = Robustness(dict.fromkeys((*TRANSFORMS, OTHER_SEX), 1.0))
    figures = regions_figure(regions), deletion_figure(deletion), insertion_figure(deletion), robustness_figure(changed)
    for figure in figures:
        said = " ".join(words_of(translated_chart(figure, "de").to_dict()))
        assert not re.search(
            r"\b(older|younger|first|edges|chance|map|months?|the|hand|share|of|change|sex)\b", said
        ), said


@pytest.mark.parametrize("finger", FINGER_NAMES.values())
def test_joints_are_named_in_german(finger: str) -> None:
    assert re.fullmatch("MCP-Gelenk des [A-Z][a-z]+s", translated(f"MCP joint of the {finger}", "de"))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr,de;q=0.2,en;q=0.1", "de"),
        ("fr", "en"),
        ("de;q=0,en", "en"),
        ("de;q=much", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_language_follows_the_browser(header: str | None, language: str) -> None:
    assert accepted_language(header) == language


def test_strings_of_scripts_are_found_whole() -> None:
    source = "const a = /[\"'`]/; f(`<b>${x ? 'so many' : `none of ${y}`}</b> hands`); // \"not this\""
    assert [piece for text in script_strings(source) for piece in pieces(text)] == [
        "so many", "none of {0}", "{0}", "hands",
    ]  # fmt: skip
