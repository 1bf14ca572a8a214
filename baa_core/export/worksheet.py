"""A worksheet for a class as PDF (A4): the ten drawn hands of a set to be read, then their solutions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..phantom.lesson import LessonHand, lesson_set
from ..phantom.ossification import MaturityStage, maturity_stages
from ..reporting.language import Language, translated
from ..reporting.text import years_and_months
from ..types import DISCLAIMER, SEXES, Sex
from .pdf import JPEG_QUALITY, MARGIN, PAGE_HEIGHT, PAGE_WIDTH, _paragraphs

TITLE = "Reading bone age: worksheet"
DRAWN = "Drawn hands, no child."
CHILD: dict[Sex, str] = {"female": "Girl", "male": "Boy"}
Say = Callable[[str], str]
COLUMNS, ROWS = 2, 2
_HEAD, _FOOT, _LINES = 92.0, 60.0, 46.0  # points kept free on top, at the bottom, and below each picture


def worksheet_pdf(seed: int, language: Language = "en") -> bytes:
    """Four hands a page with lines for years and months, and a last page with the solutions.

    Args:
        seed: of the set.
        language: of its words.

    Raises:
        UnsupportedImage: there is no such set; see `lesson.lesson_set`.
    """
    from reportlab.pdfgen.canvas import Canvas

    def say(text: str) -> str:
        return translated(text, language)

    hands = lesson_set(seed)
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=(PAGE_WIDTH, PAGE_HEIGHT), invariant=True)
    canvas.setTitle(say(f"{TITLE}, set {seed}"))
    canvas.setSubject(f"{say(DRAWN)} {say(DISCLAIMER)}")
    canvas.setAuthor("baa_core")
    per_page = COLUMNS * ROWS
    pages = [hands[start : start + per_page] for start in range(0, len(hands), per_page)]
    for number, page in enumerate(pages, start=1):
        _head(canvas, say, f"{TITLE}, set {seed}", number, len(pages) + 1)
        for place, hand in enumerate(page):
            _hand(canvas, say, hand, place)
        canvas.showPage()
    _head(canvas, say, f"Solutions, set {seed}", len(pages) + 1, len(pages) + 1)
    _solutions(canvas, say, hands)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def _head(canvas: Any, say: Say, title: str, page: int, pages: int) -> None:
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(MARGIN, PAGE_HEIGHT - 50, say(title))
    canvas.setFont("Helvetica", 9)
    canvas.drawString(MARGIN, PAGE_HEIGHT - 66, say(f"{DRAWN} Name: ______________________________"))
    canvas.setFont("Helvetica", 7.5)
    canvas.drawString(MARGIN, 40, say(DISCLAIMER))
    canvas.drawRightString(PAGE_WIDTH - MARGIN, 40, say(f"page {page} of {pages}"))


def _hand(canvas: Any, say: Say, hand: LessonHand, place: int) -> None:
    """One picture with its number, the sex and the lines to fill in."""
    from reportlab.lib.utils import ImageReader

    grey = np.round(np.clip(hand.draw().radiograph.pixels, 0.0, 1.0) * 255).astype(np.uint8)
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    row, column = divmod(place, COLUMNS)
    cell_width = (PAGE_WIDTH - 2 * MARGIN) / COLUMNS
    cell_height = (PAGE_HEIGHT - _HEAD - _FOOT) / ROWS
    scale = min((cell_width - 16) / grey.shape[1], (cell_height - _LINES) / grey.shape[0])
    width, height = grey.shape[1] * scale, grey.shape[0] * scale
    left, top = MARGIN + column * cell_width, PAGE_HEIGHT - _HEAD - row * cell_height
    canvas.drawImage(ImageReader(io.BytesIO(data)), left, top - height, width, height)
    canvas.setFont("Helvetica-Bold", 10)
    canvas.drawString(left, top - height - 15, f"{hand.number}. {say(CHILD[hand.sex])}")
    canvas.setFont("Helvetica", 10)
    canvas.drawString(left, top - height - 34, say("Bone age: ______ years ______ months"))


def _solutions(canvas: Any, say: Say, hands: tuple[LessonHand, ...]) -> None:
    lines = [
        f"<b>{hand.number}. {say(CHILD[hand.sex])}, {say(years_and_months(hand.bone_age_months))}</b> "
        + say(f"({hand.bone_age_months} months). {stage.name}. Look at: {stage.look_at}")
        for hand in hands
        for stage in (_stage(hand),)
    ]
    lines.append(
        say(
            "The drawn bone age is exact; mean ages of appearance and fusion were drawn. Stages after Gilsanz and "
            "Ratib, Hand Bone Age, 2nd ed., Springer 2012."
        )
    )
    _paragraphs(canvas, lines, MARGIN, 60, PAGE_WIDTH - 2 * MARGIN, PAGE_HEIGHT - _HEAD - 60, size=10, gap=8)


def _stage(hand: LessonHand) -> MaturityStage:
    number = SEXES.index(hand.sex)
    reached = [stage for stage in maturity_stages() if stage.months[number][0] <= hand.bone_age_months]
    return reached[-1]
