"""The real page in its own process, and a real browser to look at it with."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Request, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    # Beside what Playwright switches off, whose list this one replaces: the browser's own pages below the address bar.
    # Each window draws two that nobody sees, which takes half as long as to draw the page.
    "--disable-features=DestroyProfileOnBrowserClose,AvoidUnnecessaryBeforeUnloadCheckSync,PaintHolding,HttpsUpgrades,"
    "HttpsFirstBalancedModeAutoEnable,OptimizationHints,NetworkTimeServiceQuerying,ThirdPartyStoragePartitioning,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
]
PATIENCE_MS = 90_000  # a busy machine of two cores; a free one answers in one or two seconds
START_SECONDS = 180
BRIEF = ["-m", "tests.e2e.brief_page"]
QUIET_MS = 100  # without any request, after which none is expected: the page asks on within a few milliseconds
REDRAWN_MS = 300  # after which figures have the width of a new window
expect.set_options(timeout=PATIENCE_MS)


def find_chromium() -> str | None:
    """The installed Chromium, if any."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        yield browser
        browser.close()


@dataclass
class Served:
    """A running page: where it answers, the folder it may write temporary files to, what it logged."""

    url: str
    folder: Path
    log: Path
    process: subprocess.Popen = field(repr=False)

    def files_left(self) -> list[str]:
        """Every file with content below the temporary folder."""
        return [path.name for path in self.folder.rglob("*") if path.is_file() and path.stat().st_size]


@contextmanager
def serve(folder: Path, *options: str, brief: bool = False, **environment: str) -> Iterator[Served]:
    """Start `app.py`, or `brief_page`, with its temporary files under `folder`, and stop it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = folder / "temporary"
    temporary.mkdir()
    log = folder / "page.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *(BRIEF if brief else ["app.py"]), "--no-browser", "--port", str(port), *options],
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, process, log)
        yield Served(url, temporary, log, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=90)
        finally:
            process.kill()


def wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    """Return when the page answers; raise if it ends first or takes far too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"The page did not start:\n{log.read_text()[-3000:]}")


# Requests of each page that are not answered yet; the stream that tells the server of the visitor stays open for good.
_UNDER_WAY: WeakKeyDictionary[Page, set[Request]] = WeakKeyDictionary()


def open_page(
    visitor: Browser | BrowserContext, url: str, width: int = 1280, height: int = 1000, scheme: str = "light",
    ready: bool = True, page: Page | None = None,
) -> Page:  # fmt: skip
    """The page in a fresh session, or in `page`; ready to be used unless that is not waited for.

    A browser opens it with a profile of its own; a profile (context) has the page's scripts after the first visit.
    Nothing moves longer than it must: the visitor prefers reduced motion.
    """
    page = page or visitor.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE_MS)
    under_way = _UNDER_WAY.setdefault(page, set())

    def asked(request: Request) -> None:
        if "/gradio_api/" in request.url and "/heartbeat/" not in request.url:
            under_way.add(request)

    page.on("request", asked)
    page.on("requestfinished", lambda request: under_way.discard(request))
    page.on("requestfailed", lambda request: under_way.discard(request))
    page.goto(url)
    if ready:
        page.locator("#baa-assess").wait_for()
    return page


@contextmanager
def only_its_own(page: Page, url: str) -> Iterator[None]:
    """Every address that a page asks for meanwhile must be of this server."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    yield
    page.remove_listener("request", note)
    strangers = [each for each in asked if not each.startswith((url, "data:", "blob:"))]
    assert not strangers, f"the page asked for {strangers}"


def settle(page: Page) -> None:
    """Return when the server has answered all that this page asked for, and the page shows it."""
    began, quiet = time.monotonic(), 0
    while quiet < QUIET_MS:
        waited = time.monotonic() - began
        left = [each.url for each in _UNDER_WAY[page]]
        assert waited < PATIENCE_MS / 1000, f"not answered: {left}"
        page.wait_for_timeout(25)
        quiet = 0 if left else quiet + 25
        if quiet >= QUIET_MS:
            rest(page)  # a busy page asks on only now
            quiet = 0 if _UNDER_WAY[page] else quiet


def rest(page: Page) -> None:
    """Return when nothing on the page moves any more."""
    page.bring_to_front()  # behind another one it draws a frame a second
    page.evaluate(
        """async () => {
      const frame = () => new Promise(requestAnimationFrame);
      await frame();
      await frame();
      const ends = (one) => one.playState === "running" && one.effect?.getComputedTiming().endTime < 2000;
      const moving = document.getAnimations().filter(ends).map((one) => one.finished);
      await Promise.race([Promise.allSettled(moving), new Promise((go) => setTimeout(go, 2000))]);
      await frame();
      await frame();
    }"""
    )


def empty(page: Page) -> None:
    """Make room for the next child: nothing is entered and nothing shown, on the Case tab of a desktop's window."""
    page.bring_to_front()  # as in `rest`
    page.unroute_all(behavior="ignoreErrors")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.get_by_role("tab", name="Case").click()
    remove = page.locator("#baa-file button[aria-label='Clear']")
    if remove.count():
        remove.click()
    page.locator("#baa-empty").evaluate("button => button.click()")
    settle(page)
    if page.locator(".baa-chosen").count():  # an example stays until another picture is chosen
        page.reload()
        _UNDER_WAY[page].clear()  # what the page before asked for
        page.locator("#baa-assess").wait_for()


def upload(page: Page, name: str, content: bytes) -> None:
    """Choose a file, as a visitor does."""
    remove = page.get_by_label("Clear", exact=True)
    if remove.count():
        remove.first.click()
    page.locator("input[type=file]").first.set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def assess(page: Page, sex: str) -> str:
    """Choose a sex, press Assess, and read the card that comes."""
    entry = page.get_by_role("radio", name=sex, exact=True)
    with suppress(Error):  # what appears above it once a file is read may move it just then
        entry.check()
    entry.check()
    page.locator("#baa-assess").click()
    card = page.locator(".baa-result, .baa-refusal")
    card.wait_for()
    return card.inner_text()


def keep(page: Page, name: str) -> None:
    """Save a screenshot where BAA_SCREENSHOTS names a folder."""
    if folder := os.environ.get("BAA_SCREENSHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def axe_core() -> Any:
    """axe-core for pages; skips the test where it is not installed."""
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


def _serious(axe: Any, page: Page, part: str | None, options: dict[str, Any] | None = None) -> list[str]:
    if page.evaluate("typeof axe") == "object":
        axe = type(axe)(axe_script="")  # it is on the page already: half a megabyte
    violations = axe.run(page, part, {"resultTypes": ["violations"], **(options or {})}).response["violations"]
    serious = [each for each in violations if each["impact"] in ("serious", "critical")]
    return [f"{each['id']} at {[node['target'] for node in each['nodes']][:3]}" for each in serious]


def serious_now(page: Page, part: str) -> list[str]:
    """What axe-core finds serious or critical within a selector, on the page as it is."""
    return _serious(axe_core(), page, part)


def serious_findings(page: Page, part: str | None = None) -> list[str]:
    """What axe-core finds serious or critical, in light at 1280 and at 390 px, and in dark.

    In dark it looks at colours only, and on a phone only: nothing else is different there, and colours are the same at
    both sizes.

    Args:
        page: as it is; it is left in light, at its own size.
        part: only within this selector.
    """
    axe, found = axe_core(), []
    size = page.viewport_size
    for width, height, scheme in ((1280, 800, "light"), (390, 844, "dark"), (390, 844, "light")):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.evaluate("scheme => document.body.classList.toggle('dark', scheme === 'dark')", scheme)
        rest(page)
        options = {"runOnly": ["color-contrast"]} if scheme == "dark" else None
        found += [f"{width} px, {scheme}: {said}" for said in _serious(axe, page, part, options)]
        if scheme == "light":
            page.wait_for_timeout(REDRAWN_MS)  # figures take their new width a little later
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{width} px: wider than the window")
    page.set_viewport_size(size or {"width": 1280, "height": 800})
    return found
