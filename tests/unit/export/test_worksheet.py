"""The worksheet of a set: ten hands to read, no solution beside them, and a page of solutions at the end."""

from __future__ import annotations

import io
from itertools import combinations

import pypdfium2
import pytest
from pypdf import PdfReader

from baa_core.errors import UnsupportedImage
from baa_core.export.worksheet import worksheet_pdf
from baa_core.phantom.lesson import lesson_set
from baa_core.reporting.language import Language
from baa_core.reporting.text import years_and_months


@pytest.mark.slow
def test_the_solutions_are_on_the_last_page_only() -> None:
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(worksheet_pdf(5))).pages]
    assert len(pages) == 4
    for hand in lesson_set(5):
        solution = f"({hand.bone_age_months} months)"
        assert solution in pages[-1]
        assert years_and_months(hand.bone_age_months) in pages[-1]
        assert not any(solution in page for page in pages[:-1])
    assert all("no child" in page for page in pages)
    assert sum(page.count("Bone age: ______") for page in pages) == 10


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_word_stands_over_another(language: Language) -> None:
    document = pypdfium2.PdfDocument(worksheet_pdf(5, language))
    for page in document:
        words = page.get_textpage()
        boxes = [words.get_rect(number) for number in range(words.count_rects())]
        for (left, bottom, right, top), other in combinations(boxes, 2):
            apart = (
                right <= other[0] + 0.5 or other[2] <= left + 0.5 or top <= other[1] + 0.5 or other[3] <= bottom + 0.5
            )
            assert apart, (words.get_text_bounded(left, bottom, right, top), words.get_text_bounded(*other))
    document.close()


def test_the_same_set_gives_the_same_file() -> None:
    assert worksheet_pdf(5) == worksheet_pdf(5)


def test_a_set_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="Give"):
        worksheet_pdf(-3)
