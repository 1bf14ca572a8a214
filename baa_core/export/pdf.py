"""The report as one page of PDF (A4), by reportlab: its one door, loaded when a PDF is asked for.

Text is set in the PDF's own Helvetica, which knows the letters of Western European languages (Windows-1252) only. A
name in other letters is left out of the page with a word about it, never shown in part.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np

from ..reference.growth import CENTRES
from ..reporting.overlays import CONTOUR_RGB, Bytes, downsample_for_display, overlay
from ..reporting.text import years_and_months
from ..types import DISCLAIMER, BoolArray
from .chart import draw_growth_chart
from .content import TITLE, ReportContent

LONGEST_PX = 900  # of a picture; at 8 cm this is over 250 dots an inch
JPEG_QUALITY = 90
OUTLINE_POINTS = 0.8
PAGE_WIDTH, PAGE_HEIGHT, MARGIN = 595.28, 841.89, 36.0  # A4 in points
PICTURES_TOP, PICTURES_HEIGHT, PICTURE_WIDTH = 762.0, 244.0, 168.0
MIDDLE_TOP, MIDDLE_HEIGHT, CHART_WIDTH = 506.0, 206.0, 262.0
NOTES_TOP, NOTES_BOTTOM = 288.0, 58.0
NOT_PRINTABLE = "(in letters this page cannot print)"


def pdf_report(content: ReportContent) -> bytes:
    """One page: answer, radiograph with hand outline, heatmap, growth chart, findings, cautions, versions.

    The heatmap is that of the report; without one its place says so.
    """
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    canvas = Canvas(file, pagesize=(PAGE_WIDTH, PAGE_HEIGHT), invariant=True)
    canvas.setTitle(content.said(TITLE))
    canvas.setSubject(content.said(DISCLAIMER))
    canvas.setAuthor("baa_core")
    _head(canvas, content)
    _pictures(canvas, content)
    _answer(canvas, content)
    _middle(canvas, content)
    _notes(canvas, content)
    _foot(canvas, content)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def _head(canvas: Any, content: ReportContent) -> None:
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(MARGIN, PAGE_HEIGHT - 50, content.said(TITLE))
    canvas.setFont("Helvetica", 8)
    canvas.drawRightString(PAGE_WIDTH - MARGIN, PAGE_HEIGHT - 46, f"{content.made_at:%Y-%m-%d %H:%M %Z}")
    _paragraphs(
        canvas, [f"<b>{content.said(DISCLAIMER)}</b>"], MARGIN, PAGE_HEIGHT - 84, PAGE_WIDTH - 2 * MARGIN, 26, size=9
    )


def _pictures(canvas: Any, content: ReportContent) -> None:
    report = content.report
    pixels = downsample_for_display(report.radiograph.pixels, LONGEST_PX)
    mask = downsample_for_display(report.hand.pixels, LONGEST_PX)
    inverted = report.hand.inverted
    shown = overlay(pixels, inverted=inverted, mask=mask)
    scale, bottom = _picture(canvas, shown, MARGIN, content.said("Radiograph with hand outline"))
    _outline(canvas, mask, MARGIN, bottom, scale)
    left = MARGIN + PICTURE_WIDTH + 8
    if report.explanation is None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(left, PICTURES_TOP - 20, content.said("No heatmap was made with this assessment."))
        return
    heat = downsample_for_display(report.explanation.heat, LONGEST_PX)
    _picture(
        canvas, overlay(pixels, inverted=inverted, heat=heat), left, content.said("Heatmap: what moved the estimate")
    )


def _picture(canvas: Any, picture: Bytes, left: float, caption: str) -> tuple[float, float]:
    """A picture as large as its place allows, with its caption below; its points a pixel, and its lower edge."""
    from reportlab.lib.utils import ImageReader

    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    rows, columns = picture.shape[:2]
    scale = min(PICTURE_WIDTH / columns, (PICTURES_HEIGHT - 12) / rows)
    width, height = columns * scale, rows * scale
    canvas.drawImage(ImageReader(io.BytesIO(data.tobytes())), left, PICTURES_TOP - height, width, height)
    canvas.setFont("Helvetica", 7)
    canvas.drawString(left, PICTURES_TOP - height - 9, caption)
    return scale, PICTURES_TOP - height


def _outline(canvas: Any, mask: BoolArray, left: float, bottom: float, scale: float) -> None:
    """The edge of the hand as a line that stays visible at the size of the page."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas.saveState()
    canvas.setStrokeColorRGB(*(value / 255 for value in CONTOUR_RGB))
    canvas.setLineWidth(OUTLINE_POINTS)
    for outline in outlines:
        line = canvas.beginPath()
        for number, (column, row) in enumerate(cv2.approxPolyDP(outline, 0.5, True)[:, 0]):
            step = line.lineTo if number else line.moveTo
            step(left + scale * (column + 0.5), bottom + scale * (mask.shape[0] - row - 0.5))
        line.close()
        canvas.drawPath(line, stroke=1, fill=0)
    canvas.restoreState()


def _answer(canvas: Any, content: ReportContent) -> None:
    report, growth, said = content.report, content.growth, content.said
    low, high = content.interval_months
    left = MARGIN + 2 * (PICTURE_WIDTH + 8)
    width = PAGE_WIDTH - MARGIN - left
    bone_age = content.bone_age_months
    lines = [
        '<para leading="17"><font size="8">' + said("Bone age") + "</font><br/>"
        f'<b><font size="15">{said(years_and_months(bone_age))}</font></b><br/>'
        + said(f"{bone_age:.1f} months")
        + "</para>",
        f'<font size="8">{said("90 % interval")}</font><br/>'
        f"<b>{said(f'{years_and_months(low)} to {years_and_months(high)}')}</b><br/>"
        + said(f"{low:.1f} to {high:.1f} months"),
    ]
    if report.chronological_age_months is not None:
        age = report.chronological_age_months
        lines.append(f'<font size="8">{said("Chronological age")}</font><br/><b>{said(years_and_months(age))}</b>')
    if growth is not None:
        score = "none" if growth.sd_score is None else f"{growth.sd_score:+.2f}"
        words = f"{growth.classification}; about {CENTRES[growth.convention]}; {growth.population}"
        lines.append(f'<font size="8">{said("SD score")}</font><br/><b>{said(score)}</b> ({said(words)})')
    lines.append(f'<font size="8">{said("Sex")}</font><br/>{said(report.prediction.sex_used)} '
                 + said("(entered)" if report.sex_entered else "(predicted; none was entered)"))  # fmt: skip
    _paragraphs(canvas, lines, left, PICTURES_TOP - PICTURES_HEIGHT, width, PICTURES_HEIGHT, size=9.5, gap=7)


def _middle(canvas: Any, content: ReportContent) -> None:
    left, width = MARGIN, PAGE_WIDTH - 2 * MARGIN
    if content.growth is not None:
        draw_growth_chart(canvas, content, left, MIDDLE_TOP - MIDDLE_HEIGHT, CHART_WIDTH, MIDDLE_HEIGHT)
        left, width = left + CHART_WIDTH + 12, width - CHART_WIDTH - 12
    sections = dict(content.sections())
    findings = [sentence for sentence in sections["FINDINGS"] if not sentence.startswith("Caution:")]
    lines = []
    for heading, sentences in (("IMPRESSION", sections["IMPRESSION"]), ("FINDINGS", findings)):
        lines += [f"<b>{content.said(heading)}</b>", *(_printable(content.said(sentence)) for sentence in sentences)]
    _paragraphs(canvas, lines, left, MIDDLE_TOP - MIDDLE_HEIGHT, width, MIDDLE_HEIGHT)


def _notes(canvas: Any, content: ReportContent) -> None:
    cautions = [caution.message for caution in content.report.cautions] or ["None."]
    lines = []
    for heading, sentences in [("CAUTIONS", cautions), *content.sections()[:3]]:
        lines += [f"<b>{content.said(heading)}</b>", *(_printable(content.said(sentence)) for sentence in sentences)]
    lines.append(f"<b>{content.said('VERSIONS')}</b>")
    lines.append(_printable(", ".join(f"{name} {version}" for name, version in content.software.items())))
    weights = ", ".join(f"{name} {sha}" for name, sha in content.weights_sha256.items())
    lines.append(_printable(content.said(f"Weights, sha256: {weights}")))
    _paragraphs(canvas, lines, MARGIN, NOTES_BOTTOM, PAGE_WIDTH - 2 * MARGIN, NOTES_TOP - NOTES_BOTTOM)


def _foot(canvas: Any, content: ReportContent) -> None:
    canvas.setFont("Helvetica", 7.5)
    canvas.drawString(MARGIN, 40, content.said(DISCLAIMER))
    version = content.software.get("baa_core", "")
    page = content.said(f"baa_core {version}, recipe {content.report.recipe}, page 1 of 1")
    canvas.drawRightString(PAGE_WIDTH - MARGIN, 40, page)


def _paragraphs(
    canvas: Any,
    lines: list[str],
    left: float,
    bottom: float,
    width: float,
    height: float,
    size: float = 8.0,
    gap: float = 2.5,
) -> None:
    """Set paragraphs into a rectangle from its top, in smaller letters where they need more room than it has."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Frame, KeepInFrame, Paragraph

    style = ParagraphStyle(
        "body", fontName="Helvetica", fontSize=size, leading=1.22 * size, spaceAfter=gap, autoLeading="max"
    )
    paragraphs = [Paragraph(line, style) for line in lines]
    frame = Frame(left, bottom, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    frame.addFromList([KeepInFrame(width, height, paragraphs, mode="shrink")], canvas)


def _printable(sentence: str) -> str:
    """A sentence as markup; words in letters that Helvetica lacks are replaced by `NOT_PRINTABLE`, once in a row."""
    return escape(" ".join(_words(sentence)))


def _words(sentence: str) -> Iterator[str]:
    before = ""
    for word in sentence.split():
        try:
            word.encode("cp1252")
            shown = word
        except UnicodeEncodeError:
            shown = NOT_PRINTABLE
        if not shown == before == NOT_PRINTABLE:
            yield shown
        before = shown
