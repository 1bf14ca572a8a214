"""The page and a browser, for the tests that drive it."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.served_page import Served, chromium, find_chromium, open_page, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One page for all tests of a worker: its start takes longer than most of them."""
    with serve(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file (Playwright keeps an event loop running as long as it lives).

    Without it they are skipped, or fail where BAA_REQUIRE_BROWSER is 1.
    """
    if find_chromium() is None:
        if os.environ.get("BAA_REQUIRE_BROWSER") == "1":
            pytest.fail("Chromium is required (BAA_REQUIRE_BROWSER=1) but not installed: run `make chromium`.")
        pytest.skip("Chromium is not installed: run `make chromium`")
    with chromium() as started:
        yield started


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    """The page as a visitor with a desktop finds it; every address asked for must be the page's own."""
    page = open_page(browser, served.url)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    yield page
    page.context.close()
    strangers = [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]
    assert not strangers, f"the page asked for {strangers}"
