"""The PDF, read back by pypdf and drawn by pdfium."""

import io
import re
from dataclasses import replace

import numpy as np
import pypdfium2
import pytest
from pypdf import PdfReader

from baa_core.export.content import Identity, collect
from baa_core.export.pdf import NOT_PRINTABLE, pdf_report
from baa_core.export.plain import json_report
from baa_core.export.text import text_report
from baa_core.reference import GrowthPoint
from baa_core.types import DISCLAIMER, Caution
from tests.unit.export.test_plain import SECRETS

CONVENTION_WORDS = ("children of Ohio, 1930s", "about the chronological age")


@pytest.fixture(scope="module")
def pdf(content) -> bytes:
    return pdf_report(content)


def text_of(data: bytes) -> str:
    """All words of the one page, line breaks as blanks."""
    pages = PdfReader(io.BytesIO(data)).pages
    assert len(pages) == 1
    return " ".join(pages[0].extract_text().split())


def drawn(data: bytes) -> np.ndarray:
    """(H, W, 3), red first, at 72 dots an inch."""
    document = pypdfium2.PdfDocument(data)
    page = document[0]
    picture = page.render(scale=1, rev_byteorder=True).to_numpy()[:, :, :3].copy()
    page.close()
    document.close()
    return picture


def test_one_page_holds_all_that_belongs_on_it(pdf, content, report) -> None:
    text = text_of(pdf)
    low, high = report.prediction.interval_months
    for words in (
        f"{report.prediction.bone_age_months:.1f} months",
        f"{low:.1f} to {high:.1f} months",
        f"{content.growth.sd_score:+.2f}",
        content.growth.sentence,
        "Chronological age 10 years",
        "CAUTIONS",
        "IMPRESSION",
        "Growth chart",
        "recipe tiny",
        report.versions["torch"],
        *CONVENTION_WORDS,
        *content.weights_sha256.values(),
    ):
        assert words in text
    assert text.count(DISCLAIMER) == 2  # at the top and at the bottom
    assert PdfReader(io.BytesIO(pdf)).metadata.subject == DISCLAIMER


def test_radiograph_heatmap_and_growth_chart_are_drawn(pdf) -> None:
    """Two pictures inside the page; vivid heat in the second only; the band's blue in the chart, and the marker's."""
    assert len(PdfReader(io.BytesIO(pdf)).pages[0].images) == 2
    page = drawn(pdf).astype(int)
    first, second = page[90:270, 40:200], page[90:270, 216:376]
    assert (first.mean(), second.mean()) < (150, 150)  # dark stages on white paper
    outline = (np.abs(first - (64, 224, 255)).max(axis=2) < 60).sum()
    assert outline > 100
    warmth = [(part[:, :, 0] - part[:, :, 2] > 60).mean() for part in (first, second)]
    assert warmth[0] < 0.01 and warmth[1] > 0.1
    chart = page[336:520, 36:298]
    for colour in ((220, 233, 243), (188, 214, 234), (0, 114, 178)):
        assert (np.abs(chart - colour).max(axis=2) < 12).any(), colour


def test_no_word_runs_over_the_edge_or_over_another(pdf) -> None:
    """The margins are white, and so is the gutter between chart and findings."""
    page = drawn(pdf)
    assert (page[:, :34] > 250).all() and (page[:, -34:] > 250).all()
    assert (page[336:540, 300:308] > 250).all()


def test_a_long_list_of_cautions_still_fits_on_one_page(report) -> None:
    cautions = tuple(
        Caution(f"c{n}", f"Number {n}: " + "a caution that takes a whole long line. " * 5) for n in range(16)
    )
    data = pdf_report(collect(replace(report, cautions=cautions)))
    assert "Number 15:" in text_of(data)
    assert (drawn(data)[:, -34:] > 250).all()


def test_without_age_and_heatmap_the_page_says_so(report) -> None:
    text = text_of(pdf_report(collect(replace(report, chronological_age_months=None, explanation=None))))
    assert "No heatmap was made" in text and "No chronological age was given" in text and "Growth chart" not in text


def test_beyond_the_table_the_chart_still_shows_the_child(report) -> None:
    text = text_of(pdf_report(collect(replace(report, chronological_age_months=220.0))))
    assert "No reference: the table for girls ends at 192 months" in text and "Growth chart" in text


def test_the_patient_is_on_the_page_only_if_asked_for(pdf, report, identity) -> None:
    assert not [secret for secret in SECRETS if secret in text_of(pdf) or secret.encode() in pdf]
    assert "Patient Erika Mustermann, ID PID-4711, born 2014-02-03" in text_of(
        pdf_report(collect(report, identity=identity))
    )


def test_a_name_the_page_cannot_print_is_left_out_in_words(report) -> None:
    text = text_of(pdf_report(collect(report, identity=Identity("PID-1", "山田^太郎"))))
    assert f"Patient {NOT_PRINTABLE} ID PID-1" in text
    western = text_of(pdf_report(collect(report, identity=Identity("A & <B>", "Müller^Zoë"))))
    assert "Patient Zoë Müller, ID A & <B>" in western


def test_the_same_report_gives_the_same_bytes(pdf, content) -> None:
    assert pdf_report(content) == pdf


@pytest.mark.parametrize("age", [130.0, None])
def test_the_report_in_german_leaves_nothing_in_english(report, age: float | None) -> None:
    report = replace(report, chronological_age_months=age)
    earlier = [GrowthPoint(100.0, 104.0, (95.0, 113.0))] if age else []
    content = collect(report, earlier=earlier, language="de")
    (page,) = PdfReader(io.BytesIO(pdf_report(content))).pages
    for said in (page.extract_text(), text_report(content)):
        words = " ".join(said.split())
        assert "Kein Medizinprodukt" in words and "BEURTEILUNG" in words
        english = re.findall(r"\b(?:the|of|and|is|with|months?|years?|age|none|no|female|male|sex)\b", words)
        assert not english, (english, words)
    assert "bone_age_months" in json_report(content)
