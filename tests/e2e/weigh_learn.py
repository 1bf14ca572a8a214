"""What the Learn tab costs: bytes over the line, and milliseconds a redraw. `python -m tests.e2e.weigh_learn`.

Bytes are those that the browser received, compressed as they came: the whole page, then what opening the tab adds.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import CDPSession, Page

from tests.e2e.served_page import chromium, open_page, serve

STOPS = 20


def settle(page: Page, received: dict[str, float], quiet_ms: int = 2000) -> None:
    """Return when nothing has come for a while."""
    before = -1.0
    while sum(received.values()) != before:
        before = sum(received.values())
        page.wait_for_timeout(quiet_ms)


def main() -> None:
    """Open the page and the tab, move the age over twenty stops, and print what that took."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as served, chromium() as browser:
        page = open_page(browser, "about:blank", ready=False)
        line: CDPSession = page.context.new_cdp_session(page)
        line.send("Network.enable")
        received: dict[str, float] = {}

        def came(told: dict[str, Any]) -> None:
            received[told["requestId"]] = received.get(told["requestId"], 0.0) + told["encodedDataLength"]

        # As it comes: answers arrive by a stream that stays open, so the network is never idle. The end has the whole.
        line.on("Network.dataReceived", came)
        line.on("Network.loadingFinished", lambda told: received.update({told["requestId"]: told["encodedDataLength"]}))
        page.goto(served.url)
        page.locator("#baa-welcome figure[data-open]").wait_for()
        settle(page, received)
        whole = sum(received.values())
        page.locator("button[role=tab]").filter(has_text="Learn").click()
        page.locator(".bl-hands .bl-frame img").first.wait_for()
        page.locator("#baa-learn-timeline .js-plotly-plot").wait_for()
        settle(page, received)
        tab = sum(received.values()) - whole
        slider, hands = page.locator("#bl-age"), page.locator(".bl-hands")
        slider.focus()
        page.keyboard.press("Home")
        steps = []
        for _ in range(STOPS):
            page.evaluate("document.querySelector('.bl-hands').removeAttribute('data-redrawn')")
            page.keyboard.press("ArrowRight")
            page.wait_for_function("document.querySelector('.bl-hands').dataset.redrawn")
            steps.append(float(hands.get_attribute("data-redrawn") or "nan"))
        sys.stdout.write(
            f"The page: {whole / 1e6:.2f} MB. Opening Learn adds {tab / 1e6:.2f} MB.\n"
            f"Redraw over {STOPS} stops: median {median(steps):.0f} ms, largest {max(steps):.0f} ms, "
            f"{sum(step < 100 for step in steps)} of {STOPS} under 100 ms.\n"
        )


if __name__ == "__main__":
    main()
