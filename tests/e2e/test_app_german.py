"""The page in German in a real browser, with the shipped networks. Set BAA_SCREENSHOTS to keep pictures."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from baa_core.reporting.language import catalogue, translated
from tests.e2e.served_page import Served, keep, open_page, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DISCLAIMER = "Nur für Forschung und Lehre. Kein Medizinprodukt; nicht für Diagnose oder Behandlung."
EXPLANATION_MS = 300_000
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def german_visitor(browser: Browser) -> Iterator[BrowserContext]:
    """The browser of a German."""
    context = browser.new_context(locale="de-DE")
    yield context
    context.close()


@pytest.fixture(scope="module")
def german(served: Served, german_visitor: BrowserContext) -> Iterator[Page]:
    """A page with a drawn boy of 13 years assessed, in the browser of a German."""
    page = open_page(german_visitor, served.url)
    expect(page.locator("#baa-assess")).to_have_text("Auswerten")
    page.get_by_role("button", name="Junge, 13 Jahre").click()
    page.locator("#baa-card .baa-result").wait_for()
    yield page
    page.close()


def to_tab(page: Page, name: str) -> None:
    """Open a tab that may stand in the menu of further tabs."""
    tab = page.locator("button[role=tab], .overflow-dropdown button").filter(has_text=re.compile(f"^\\s*{name}\\s*$"))
    tab.first.wait_for(state="attached")
    if not tab.first.is_visible():
        page.get_by_role("button", name="Weitere Reiter").first.click()
    tab.first.click()


def untranslated(page: Page) -> list[str]:
    """The texts that came onto the page and have no German."""
    found: list[str] = page.evaluate("[...globalThis.baaLanguage.missing]")
    return found


def test_the_page_speaks_the_language_of_the_browser(german: Page) -> None:
    assert german.evaluate("document.documentElement.lang") == "de"
    expect(german.locator("h1").first).to_have_text("Skelettalter aus der Röntgenaufnahme der Hand")
    expect(german.locator(".baa-disclaimer").first).to_have_text(DISCLAIMER)
    assert german.title() == "Skelettalter aus der Röntgenaufnahme der Hand"


def test_the_answer_its_charts_and_its_report_are_german(german: Page) -> None:
    to_tab(german, "Fall")
    card = german.locator("#baa-card .baa-result").inner_text()
    assert re.search(r"12 Jahre|13 Jahre", card) and "SD-Score" in card and "90-%-Intervall" in card
    assert re.search(r"\d,\d Monate", card), "decimals have a comma"
    for fold in ("Wachstumsdiagramm und frühere Bestimmungen", "Bericht"):
        german.get_by_role("button", name=fold).click()
    expect(german.locator("#baa-chart .xtitle")).to_have_text("chronologisches Alter, Jahre")
    report = german.locator("#baa-report-text textarea")
    expect(report).to_have_value(re.compile("BEURTEILUNG\nSkelettalter 1[0-9] Jahre"))
    assert DISCLAIMER in report.input_value()
    with german.expect_download() as started:
        german.locator("#baa-text").click()
    assert "BEFUND" in Path(started.value.path()).read_text(encoding="utf-8")
    keep(german, "german_case_1280")


def test_nothing_on_the_way_through_the_page_is_left_in_english(german: Page) -> None:
    for name in ("Fall", "Erklären", "Vergleichen", "Stapel", "Hilfe", "Lernen"):
        to_tab(german, name)
        settle(german)
    german.locator(".bl-hands .bl-frame img").first.wait_for()
    german.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    german.locator("#bl-age").focus()
    for key in ("PageUp", "PageUp", "ArrowRight", "Home"):
        german.keyboard.press(key)
        settle(german)
    keep(german, "german_learn_1280")
    for name in ("Übung", "Grenzen"):
        german.get_by_role("tab", name=name).click()
        settle(german)
    assert not untranslated(german)


def test_an_explanation_is_german_folds_charts_and_tables(german: Page) -> None:
    to_tab(german, "Erklären")
    german.get_by_role("radio", name="Gradient", exact=True).check()
    german.locator("#baa-explain").click()
    card = german.locator("#baa-explained .baa-result")
    expect(card).to_contain_text("Gradient: Erklärung für", timeout=EXPLANATION_MS)
    for fold in german.locator("#baa-panel button.label-wrap").all():
        fold.click()
    for name in ("bars", "deletion", "insertion", "robustness"):
        german.locator(f"#baa-{name} .js-plotly-plot").wait_for()
    expect(german.locator("#baa-deletion .legendtext").first).to_have_text("Karte: älter zuerst")
    expect(german.locator("#baa-fold-joints")).to_contain_text("MCP-Gelenk des Daumens")
    assert not untranslated(german)
    keep(german, "german_explained_1280")


def test_the_browser_translates_as_the_reports_do(german: Page) -> None:
    """The same rules stand in `language.js` and `reporting.language`: every template, filled, comes out the same."""
    values = ("8 years 3 months", "7.1", "girl", "scan-7.png", "carpal bones", "+3.2", "GP")
    samples = [
        re.sub(r"\{(\d)\}", lambda place, first=number: values[(first + int(place[1])) % len(values)], key)
        for number, key in enumerate(catalogue("de"))
    ]
    told = german.evaluate("(texts) => texts.map((text) => globalThis.baaLanguage.translated(text))", samples)
    ours = [translated(text, "de") for text in samples]
    different = [pair for pair in zip(samples, ours, told, strict=True) if pair[1] != pair[2]]
    assert not different, different[:5]


def test_a_refusal_is_german(german: Page) -> None:
    page = german
    to_tab(page, "Fall")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture at all"}
    )
    expect(page.locator(".baa-refusal").first).to_contain_text(
        "notes.txt ist kein Bild, das diese Software lesen kann."
    )
    assert not untranslated(page)


def test_a_lesson_link_opens_in_german_and_the_phone_needs_no_sideways_scrolling(
    served: Served, german_visitor: BrowserContext
) -> None:
    page = open_page(german_visitor, f"{served.url}/?lesson=7&hands=1", **PHONE, ready=False)
    expect(page.locator("#bl-which")).to_contain_text("Hand 1 von 1")
    expect(page.locator("#bl-reveal")).to_be_enabled()
    page.locator("#bl-years").fill("9")
    page.locator("#bl-reveal").click()
    expect(page.locator("#bl-system")).to_contain_text("90-%-Intervall")
    expect(page.locator("#bl-mean-error")).to_contain_text("4,8 bis 7,0 Monate")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert not untranslated(page)
    keep(page, "german_lesson_390")
    page.close()


def test_the_language_is_switched_on_the_page_and_remembered(german: Page) -> None:
    """The last test of this page."""
    page, words = german, german.locator("#baa-report-text textarea")
    to_tab(page, "Fall")
    page.get_by_role("button", name="Junge, 13 Jahre").click()
    expect(page.locator("#baa-card .baa-result")).to_contain_text("Geschätztes Skelettalter für einen Jungen")
    if not words.is_visible():
        page.get_by_role("button", name="Bericht").click()
    for language, assess, child, report in (
        ("English", "Assess", "Estimated bone age for a boy", "IMPRESSION"),
        ("Deutsch", "Auswerten", "Geschätztes Skelettalter für einen Jungen", "BEURTEILUNG"),
        ("English", "Assess", "Estimated bone age for a boy", "IMPRESSION"),
    ):
        page.get_by_role("button", name=language).click()
        expect(page.locator("#baa-assess")).to_have_text(assess)
        expect(page.locator("#baa-card .baa-result")).to_contain_text(child)
        expect(words).to_have_value(re.compile(report))
    page.reload()
    expect(page.locator("#baa-assess")).to_have_text("Assess")
