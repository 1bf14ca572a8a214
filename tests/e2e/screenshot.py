"""Draw docs/screenshot.png and docs/learn.png anew: the real page with drawn hands. `make screenshot`."""

import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.served_page import REPOSITORY, chromium, open_page, serve

LABEL = "Boy, 13 years"  # of `baa_core.phantom.EXAMPLES`


def keep_case(page: Page) -> None:
    """Assess one example, and save what a visitor sees."""
    page.get_by_role("button", name=LABEL).click()
    page.locator("#baa-card .baa-result").wait_for()
    page.locator("#baa-picture .baa-holder .baa-layer").first.wait_for()
    page.wait_for_timeout(2000)
    page.screenshot(path=REPOSITORY / "docs" / "screenshot.png")


def keep_learn(page: Page) -> None:
    """A girl of four years on the Learn tab, with what changed in the last year."""
    page.get_by_role("tab", name="Learn").click()
    page.locator(".bl-hands .bl-frame img").first.wait_for()
    page.locator("#bl-age").focus()
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("PageUp")
        page.wait_for_timeout(500)
    page.get_by_role("img", name="Lunate").hover()
    page.wait_for_timeout(1000)
    page.screenshot(path=REPOSITORY / "docs" / "learn.png")


def main() -> None:
    """Both pictures, with a 1280 pixel wide window."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as served, chromium() as browser:
        page = open_page(browser, served.url, height=800)
        keep_case(page)
        keep_learn(page)


if __name__ == "__main__":
    main()
