"""What every report says, whatever its form: a report, its growth context, earlier assessments, and who is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ..reference.course import GrowthPoint, Velocity, growth_velocity
from ..reference.growth import CENTRES, CONVENTIONS, DEFAULT_CONVENTION, Convention, GrowthComparison, compare_growth
from ..reference.half_years import HalfYear, likely_half_years
from ..reporting.language import Language, translated
from ..reporting.text import years_and_months
from ..reporting.wording import edits_words, percent, sex_check_sentence
from ..types import DISCLAIMER, Report

TITLE = "Bone age of the hand"
PRELIMINARY = "Computed by software; preliminary, not reviewed by a physician."
SCALE = "scale of the atlas of Greulich and Pyle"  # by which the labels of the training radiographs were read
DIGITS = 2  # of months in the JSON
WEIGHTS = "weights/"  # how `Report.versions` names the sha256 of a weights file


@dataclass(frozen=True)
class Identity:
    """Who the patient is, for a report that shall say so. Every report leaves this out unless it is given.

    Attributes:
        patient_id, name, accession_number, study_id: as the hospital writes them; a DICOM name keeps its carets.
        birth_date, study_date: of the child and of the radiograph.
        sex: PatientSex of the DICOM header ("F", "M", "O"), which DICOM keeps with the patient.
    """

    patient_id: str | None = None
    name: str | None = None
    birth_date: date | None = None
    study_date: date | None = None
    accession_number: str | None = None
    study_id: str | None = None
    sex: str | None = None

    @property
    def shown_name(self) -> str | None:
        """The name as people write it: given names before the family name."""
        family, *rest = [part.strip() for part in (self.name or "").split("=")[0].split("^")]
        return " ".join(part for part in (*rest[:2], family) if part) or None


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report in any form says.

    Attributes:
        report: of the assessment.
        growth: the bone age beside the child's age; None where no age was given.
        earlier: assessments of the same child at other ages.
        identity: None unless the report shall name the patient.
        made_at: when, with time zone.
        language: of the forms that people read, text and PDF; the others are the same in every language.
    """

    report: Report
    growth: GrowthComparison | None
    earlier: tuple[GrowthPoint, ...]
    identity: Identity | None
    made_at: datetime
    language: Language = "en"

    def said(self, text: str) -> str:
        """A sentence or label in the language of the report."""
        return translated(text, self.language)

    @property
    def bone_age_months(self) -> float:
        """The estimate to 0.01 months, as in the JSON, so that every form rounds the same number."""
        return round(self.report.prediction.bone_age_months, DIGITS)

    @property
    def interval_months(self) -> tuple[float, float]:
        """The 90 % interval to 0.01 months."""
        low, high = self.report.prediction.interval_months
        return round(low, DIGITS), round(high, DIGITS)

    @property
    def point(self) -> GrowthPoint | None:
        """This assessment on a growth chart; None where no age was given."""
        age, prediction = self.report.chronological_age_months, self.report.prediction
        return None if age is None else GrowthPoint(age, prediction.bone_age_months, prediction.interval_months)

    @property
    def velocity(self) -> Velocity | None:
        """Between the last two assessments; None without an age or an earlier assessment."""
        return growth_velocity([*self.earlier, self.point]) if self.point is not None and self.earlier else None

    @property
    def half_years(self) -> tuple[HalfYear, ...]:
        """The three most likely ones."""
        return likely_half_years(self.report.prediction.bone_age_months, self.report.prediction.interval_months)

    @property
    def weights_sha256(self) -> dict[str, str]:
        """Each weights file's name and the beginning of its sha256."""
        versions = self.report.versions.items()
        return {name.removeprefix(WEIGHTS): value for name, value in versions if name.startswith(WEIGHTS)}

    @property
    def software(self) -> dict[str, str]:
        """Each piece of software and its version."""
        return {name: value for name, value in self.report.versions.items() if not name.startswith(WEIGHTS)}

    def sections(self) -> list[tuple[str, list[str]]]:
        """Heading and sentences of a radiology report."""
        return [
            ("EXAM", list(self._exam())),
            ("TECHNIQUE", list(self._technique())),
            ("COMPARISON", list(self._comparison())),
            ("FINDINGS", list(self._findings())),
            ("IMPRESSION", self.impression()),
        ]

    def impression(self) -> list[str]:
        """The answer in two or three sentences."""
        low, high = self.interval_months
        bone_age = self.bone_age_months
        said = [
            f"Bone age {in_words(bone_age)}, 90 % interval {years_and_months(low)} to {years_and_months(high)} "
            f"({low:.1f} to {high:.1f} months)."
        ]
        if self.growth is not None:
            said.append(self.growth.sentence)
        return [*said, PRELIMINARY]

    def _exam(self) -> Iterator[str]:
        yield "Radiograph of one hand and wrist for bone age."
        if self.identity is None:
            return
        who = self.identity
        named = [
            ("Patient", who.shown_name),
            ("ID", who.patient_id),
            ("born", who.birth_date),
            ("radiograph of", who.study_date),
            ("accession number", who.accession_number),
        ]
        if words := ", ".join(f"{label} {value}" for label, value in named if value):
            yield f"{words}."

    @property
    def changes(self) -> list[str]:
        """One sentence each about what was done to the picture by hand, and about a clinic's own calibration."""
        edits, local = self.report.radiograph.edits, self.report.local_calibration
        said = [f"Picture changed by hand before the estimate: {edits_words(edits)}."] if edits else []
        if local is not None:
            change = f"{local.correction_months:+.1f} months"
            said.append(f"Corrected by a local calibration ({local.calibration}): {change}.")
        return said

    def _technique(self) -> Iterator[str]:
        report = self.report
        members = ", ".join(f"{name} {months:.1f}" for name, months in report.prediction.members.items())
        entered = "as entered" if report.sex_entered else "as predicted from the radiograph, none was entered"
        yield (
            f"Bone age by an ensemble of neural networks, recipe {report.recipe}, on the {SCALE}, estimated for "
            f"{report.prediction.sex_used} sex ({entered}). Networks, months: {members}."
        )
        yield from self.changes

    def _comparison(self) -> Iterator[str]:
        if self.growth is None:
            yield "No chronological age was given, so there is no comparison with a reference."
        else:
            growth = self.growth
            yield f"Reference: {growth.reference}; {growth.population}."
            yield f"SD score about {CENTRES[growth.convention]} = {CONVENTIONS[growth.convention]}."
        for point in sorted(self.earlier, key=lambda point: point.chronological_age_months):
            at = years_and_months(point.chronological_age_months)
            yield f"Earlier, at {at}: bone age {in_words(point.bone_age_months)}."
        if not self.earlier:
            yield "No earlier assessment was given."

    def _findings(self) -> Iterator[str]:
        report, growth = self.report, self.growth
        if report.chronological_age_months is not None:
            yield f"Chronological age: {in_words(report.chronological_age_months)}."
        low, high = self.interval_months
        yield (
            f"Bone age: {in_words(self.bone_age_months)}. 90 % interval: {years_and_months(low)} to "
            f"{years_and_months(high)} ({low:.1f} to {high:.1f} months)."
        )
        halves = ", ".join(f"{years_and_months(half.months)} {percent(half.probability)}" for half in self.half_years)
        yield f"Most likely half-years (normal distribution as wide as the interval): {halves}."
        if growth is not None and growth.sd_score is not None:
            yield (
                f"SD score: {growth.sd_score:+.2f} (about {CENTRES[growth.convention]}). Reference at this age: mean "
                f"{growth.mean_months:.1f}, SD {growth.sd_months:.1f} months."
            )
        if (velocity := self.velocity) is not None:
            yield velocity.sentence
        yield sex_check_sentence(report.sex_check, report.sex_entered, report.sex_probability_male)
        yield from (f"Caution: {caution.message}" for caution in report.cautions)


def collect(
    report: Report,
    *,
    convention: Convention = DEFAULT_CONVENTION,
    earlier: Sequence[GrowthPoint] = (),
    identity: Identity | None = None,
    made_at: datetime | None = None,
    language: Language = "en",
) -> ReportContent:
    """Bring together what a report says.

    Args:
        report: of the assessment; with an age entered it is compared with the reference of the sex used.
        convention: of the SD score.
        earlier: assessments of the same child at other ages.
        identity: who the patient is; left out, no report holds an identifier.
        made_at: when, with time zone; now if left out.
        language: of text and PDF.

    Raises:
        InvalidPatient: an earlier assessment at this age, or an unknown convention.
    """
    age, prediction = report.chronological_age_months, report.prediction
    growth = None
    if age is not None:
        low, high = (round(end, DIGITS) for end in prediction.interval_months)
        months = round(prediction.bone_age_months, DIGITS)  # of the JSON, so that the score can be computed from it
        growth = compare_growth(months, age, prediction.sex_used, convention, (low, high))
    content = ReportContent(report, growth, tuple(earlier), identity, made_at or datetime.now(UTC), language)
    _ = content.velocity  # refuses an earlier assessment at the same age now, not in one form only
    return content


def in_words(months: float) -> str:
    """Months as in "10 years 1 month (121.3 months)"."""
    return f"{years_and_months(months)} ({months:.1f} months)"


__all__ = ["DISCLAIMER", "PRELIMINARY", "SCALE", "TITLE", "Identity", "ReportContent", "collect", "in_words"]
