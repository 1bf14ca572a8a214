"""What a session keeps of an assessment: everything that reports need, in as little memory as that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from baa_core.export import ReportContent, collect
from baa_core.reference import Convention, GrowthPoint
from baa_core.types import Report

from .entries import Entered, Upload
from .language import asked_language

if TYPE_CHECKING:
    from baa_core.workflows.findings import Findings


@dataclass(frozen=True, eq=False)
class Kept:
    """A report, and the findings that it was made of, without the pixels that can be read again.

    Attributes:
        belongs: what the result belongs to.
        report: its radiograph has no pixels: they are read again from the file, which the session holds.
        heat: the heatmap, (H, W) uint8, 255 for 1; None if there is none.
        findings: from which the Explain tab goes on; None if they were not kept.
    """

    belongs: Entered
    report: Report
    heat: Any
    findings: Findings | None = None

    def content(self, convention: Convention, earlier: Sequence[GrowthPoint]) -> ReportContent:
        """What a report says, without pictures.

        Raises:
            InvalidPatient: see `collect`.
        """
        return collect(self.report, convention=convention, earlier=earlier, language=asked_language())

    def findings_of(self, chosen: Upload) -> Findings | None:
        """What was found on this file, its radiograph read again; None if another file or hand was assessed."""
        if self.findings is None or self.belongs.file != chosen.file:
            return None
        return self.findings.of(chosen.read())

    def whole(self, chosen: Upload) -> Report:
        """The report with its pictures.

        Args:
            chosen: the file that was assessed.
        """
        radiograph = chosen.read()
        explanation = self.report.explanation
        if explanation is not None and self.heat is not None:
            explanation = replace(explanation, heat=self.heat.astype("float32") / 255)
        return replace(self.report, radiograph=radiograph, explanation=explanation)


def keep_report(belongs: Entered, report: Report, findings: Findings | None = None) -> Kept:
    """A report as a session keeps it."""
    heat, explanation = None, report.explanation
    if explanation is not None:
        heat = (explanation.heat * 255).round().astype("uint8")
        explanation = replace(explanation, heat=explanation.heat[:0].copy())
    radiograph = replace(report.radiograph, pixels=report.radiograph.pixels[:0].copy())
    small = None if findings is None else findings.without_pixels()
    return Kept(belongs, replace(report, radiograph=radiograph, explanation=explanation), heat, small)
