"""The page's words: every sentence and card a visitor reads, as escaped HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from baa_core.errors import InvalidPatient
from baa_core.export import ReportContent
from baa_core.recipes.schema import Recipe
from baa_core.reporting.text import years_and_months
from baa_core.reporting.wording import sex_check_sentence
from baa_core.types import DISCLAIMER, Radiograph, Report

from .growth import growth_card
from .help_text import LINKS as HELP_LINKS
from .html import CHILD, DRAWN_TAG, please_note, sexes_row, table
from .language import SWITCH

TITLE = "Bone age from a hand radiograph"

HEADER = f"""
<header class="baa-header">
  {SWITCH}
  <h1>{TITLE}</h1>
  <p class="baa-lead">An estimate with its uncertainty, the hand it looked at, and where on the bones it looked.</p>
  <p class="baa-disclaimer" role="note"><strong>{DISCLAIMER}</strong></p>
  {HELP_LINKS}
</header>
"""
CALIBRATED = (
    '<p class="baa-calibrated" role="note">Every estimate of the recipe in use is corrected by the local calibration '
    "<strong>{version}</strong>. Results and reports say by how much.</p>"
)
EMPTY = """
<section class="baa-card baa-empty" aria-live="polite">
  <p class="baa-empty-title">The estimate will appear here</p>
  <ol><li>Choose a radiograph of one hand, or a drawn example.</li>
  <li>Enter the sex: bone age is read differently for girls and boys.</li>
  <li>Press Assess.</li></ol>
</section>
"""
SEX_HELP = "The estimate is made for it. Unknown: predicted, with an interval for both."
AGE_HELP = '<p class="baa-fine">The age is compared with the estimate and never changes it.</p>'
FORMATS = '<p class="baa-fine">One hand and wrist. PNG, JPEG, TIFF, BMP, WebP or DICOM, up to 100 MB.</p>'
EXAMPLES_LINE = '<p class="baa-fine">Or try a <strong>drawn</strong> hand, not a patient:</p>'
PRIVACY = """
<p class="baa-fine">Your file is read into memory, deleted from disk at once, and forgotten when you leave or after an
hour. Nothing is sent to anyone else. Names in a DICOM header are never read.</p>
"""


OUTDATED_LINE = (
    '<p class="baa-outdated-line" role="status" data-outdated="Outdated: the entries have changed. Press the button '
    'again." data-foreign="The picture has changed. The result of the one before is not shown."></p>'
)


def calibration(version: str) -> str:
    """The line on top of the page that says that a local calibration is in use; "" without one."""
    return CALIBRATED.format(version=escape(version)) if version else ""


def _number(box: str | float | None) -> float | None:
    """What was typed into a box for years or months; None if it is empty.

    Raises:
        InvalidPatient: it is no number, or a negative one.
    """
    typed = str(box).strip().replace(",", ".").replace("−", "-") if box is not None else ""
    if not typed:
        return None
    if re.fullmatch(r"-\d+(\.\d*)?", typed, re.ASCII):
        raise InvalidPatient("An age cannot be negative. Give years and months from 0 up, or leave both empty.")
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", typed, re.ASCII):
        raise InvalidPatient(
            f"'{typed[:20]}' is not a number. Give the age in years and months as digits, or leave both empty."
        )
    return float(typed)


def age_in_words(months: float) -> str:
    """An age as entered, with the decimals of its months: "9 years 6 months", "10 years 0.5 months"."""
    if round(months, 1) == round(months):
        return years_and_months(months)
    years, rest = divmod(round(months, 1), 12)
    return (f"{years:.0f} year{'s' * (years != 1)} " if years else "") + f"{rest:.1f} months"


def chosen(name: str, file: str, drawn: bool = False, about: str = "") -> str:
    """One line that says which picture is about to be assessed, and holds its `Upload.file` for the page's script.

    Args:
        name: of the file.
        file: as in `Upload`.
        drawn: the picture is no patient's.
        about: `Upload.about`.
    """
    tag = escape(about) + (f" {DRAWN_TAG}" if drawn else "")
    return (
        f'<p class="baa-chosen" role="status" data-baa-ready="{escape(file)}">Ready to assess: '
        f"<strong>{escape(name)}</strong>{tag}</p>"
    )


def offer(radiograph: Radiograph) -> str:
    """What a DICOM header says about the child, offered and never used unasked; "" if it says nothing."""
    said = []
    if radiograph.sex_in_file:
        said.append(radiograph.sex_in_file)
    if radiograph.age_in_file_months is not None:
        said.append(years_and_months(radiograph.age_in_file_months) + " old")
    if not said:
        return ""
    return (
        f'<p class="baa-offer" role="status">The file itself says: <strong>{escape(", ".join(said))}</strong>. '
        "It has not been filled in; use it only if you know that it is right.</p>"
    )


def sex_sentence(report: Report) -> str:
    """Whether the picture agrees with the entered sex, worded as a check of the entry; "" where a caution says it."""
    said = {caution.code for caution in report.cautions} & {"sex_unknown", "sex_mismatch", "sex_unchecked"}
    if report.sex_entered is None or said:
        return ""
    return sex_check_sentence(report.sex_check, report.sex_entered, report.sex_probability_male)


def comparison(report: Report) -> str:
    """Bone age against the entered chronological age, as a plain difference; "" without an entry."""
    age = report.chronological_age_months
    if age is None:
        return ""
    difference = report.prediction.bone_age_months - age
    low, high = report.prediction.interval_months
    side = "above" if difference > 0 else "below"
    gap = f"{years_and_months(abs(difference))} {side}" if round(abs(difference)) else "equal to"
    inside = "inside" if low <= age <= high else "outside"
    return f"The estimate is {gap} the chronological age of {years_and_months(age)}, which lies {inside} the interval."


SEVERAL_HANDS = (
    '<section class="baa-card baa-refusal" role="alert"><p class="baa-eyebrow">Not assessed yet</p><p>Several hands '
    "were found. Choose one below: an estimate is made of one hand at a time. Left and right are sides of the picture."
    "</p></section>"
)


def result(content: ReportContent, drawn: bool, entries: str) -> str:
    """The result card: bone age, interval, SD score, entries, sex check, cautions, disclaimer.

    Args:
        content: what was found, with its growth context.
        drawn: the picture is no patient's.
        entries: file, sex and age as entered, in words.
    """
    report = content.report
    months = report.prediction.bone_age_months
    low, high = report.prediction.interval_months
    notes = [sex_sentence(report), comparison(report)]
    tag = DRAWN_TAG if drawn else ""
    return f"""
<section class="baa-card baa-result" role="status" aria-live="polite" aria-label="Result">
  <p class="baa-eyebrow">Estimated bone age for {CHILD[report.prediction.sex_used]} {tag}</p>
  <p class="baa-age">{years_and_months(months)} <span class="baa-months">{months:.1f} months</span></p>
  <p class="baa-interval">90 % interval: <strong>{years_and_months(low)}</strong> to
  <strong>{years_and_months(high)}</strong> <span>({low:.0f} to {high:.0f} months)</span></p>
  {growth_card(content)}
  {sexes_row(report)}
  {"".join(f"<p>{escape(note)}</p>" for note in notes if note)}
  {please_note(report.cautions)}
  <p class="baa-entries">{escape(entries)}</p>
  <p class="baa-fine">{escape(DISCLAIMER)}</p>
</section>
"""


def welcome(content: ReportContent, label: str) -> str:
    """The card of the example that stands there on a first visit; it is no result of anything that was entered."""
    card = result(content, True, f"Example: {label}. Choose a radiograph or another example on the left.")
    return card.replace("baa-result", "baa-example").replace(' id="baa-growth"', "").replace('role="status" ', "")


def members(report: Report) -> str:
    """What each network said, and their mean by weight (`Member.weight`)."""
    rows = {
        name: f"{months:.1f} months · {years_and_months(months)}" for name, months in report.prediction.members.items()
    }
    if len(rows) > 1:
        months = report.prediction.bone_age_months
        rows["Together, by weight"] = f"{months:.1f} months · {years_and_months(months)}"
    return table(("Network", "Bone age"), rows)


STAGES: Mapping[str, tuple[str, str]] = {
    "reading": ("Reading", "The file is decoded to one grey picture, bone bright."),
    "finding the hand": ("Finding the hand", "A network outlines the hand and tells which way its fingers point."),
    "estimating": (
        "Estimating",
        "Background removed, turned upright, cut out and equalised in contrast; each network then estimates the bone "
        "age for the given sex, and another checks the sex. The interval follows the estimate, "
        "how sure each network is and how far they disagree; its size was enough for 9 of 10 hands that had no part in "
        "the training.",
    ),
    "explaining": (
        "Explaining",
        "The heatmap shows which pixels would move the estimate most if they changed slightly. It shows where the "
        "networks looked, not what is right or wrong with a bone.",
    ),
}


def how_made(report: Report, recipe: Recipe) -> str:
    """The steps with their seconds, the recipe, its source, and exactly which weights answered."""
    steps = []
    for stage, (name, explanation) in STAGES.items():
        seconds = report.stage_seconds.get(stage)
        spent = f" <span>{seconds:.2f} s</span>" if seconds is not None else ""
        steps.append(f"<li><strong>{name}</strong>{spent}<br>{explanation}</li>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in recipe.notes)
    return f"""
<div class="baa-how">
  <ol>{"".join(steps)}</ol>
  <p><strong>{escape(recipe.title)}</strong>. Source: {escape(recipe.citation)}. All networks were trained by
  this project.</p>
  {f"<ul>{notes}</ul>" if notes else ""}
  {table(("Version of", "Is"), report.versions)}
</div>
"""
