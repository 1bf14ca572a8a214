"""The page and a browser, for the tests that drive it."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.e2e.served_page import Served, chromium, empty, find_chromium, only_its_own, open_page, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One page for all tests of a worker: its start takes longer than most of them. See `brief_page`."""
    with serve(tmp_path_factory.mktemp("served"), brief=True) as running:
        yield running
        running.process.kill()  # how a page ends is the promise of another test, and takes seconds


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


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One profile of the browser for the tests of a file: only its first visit has to fetch the page's scripts."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def desk() -> Iterator[list[Page]]:
    """The page that the tests of a file share, as long as none has failed on it."""
    shared: list[Page] = []
    yield shared
    for page in shared:
        page.close()


@pytest.fixture
def page(served: Served, visitor: BrowserContext, desk: list[Page], request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as a visitor with a desktop leaves it for the next child; every address asked for must be its own.

    To open it takes longer than most tests.
    """
    failed = request.session.testsfailed
    page = desk.pop() if desk else visitor.new_page()
    with only_its_own(page, served.url):
        if page.url == "about:blank":
            open_page(visitor, served.url, page=page)
        else:
            empty(page)
        yield page
        if request.session.testsfailed == failed:
            desk.append(page)
        else:
            page.close()
