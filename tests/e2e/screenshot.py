"""Draw docs/screenshot.png anew: the real page with a drawn hand. `make screenshot`."""

import tempfile
from pathlib import Path

from tests.e2e.served_page import REPOSITORY, chromium, open_page, serve

LABEL = "Boy, 13 years"  # of `baa_core.phantom.EXAMPLES`


def main() -> None:
    """Assess one example and save what a visitor sees, with a 1280 pixel wide window."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as served, chromium() as browser:
        page = open_page(browser, served.url, height=800)
        page.get_by_role("button", name=LABEL).click()
        page.locator("#baa-card .baa-result").wait_for()
        page.locator("#baa-picture .baa-holder .baa-layer").first.wait_for()
        page.wait_for_timeout(2000)
        page.screenshot(path=REPOSITORY / "docs" / "screenshot.png")


if __name__ == "__main__":
    main()
