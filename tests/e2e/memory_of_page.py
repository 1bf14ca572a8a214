"""What the page holds while visitors come and go in a real browser: assessments, explanations, comparisons.

    python -m tests.e2e.memory_of_page [--requests 500]

Takes too long for the suite. Each visitor uploads and assesses eight drawn hands, explains the last one, by the
default method and by Grad-CAM in turns, compares all systems on it, and leaves. Prints what the page and its decoders
hold (Pss) when each has left, and at most while they work; ends with 1 if the former exceeds 1,500 MB, or if the
median of its last quarter is more than 5 % over that of the third.
"""

import argparse
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

from playwright.sync_api import Page, expect

from baa_core.phantom import draw_phantom, to_png
from benchmarks.soak import MOST_GROWTH, SAMPLE_SECONDS, Outcome, growth, watch
from tests.e2e.served_page import assess, chromium, open_page, serve, upload

MOST_MB = 1500
ASSESSMENTS = 8  # of ten requests; then one explanation and one comparison
METHODS = ("Occlusion both ways", "Grad-CAM")
PANEL_MS = 600_000


def visit(page: Page, hands: list[bytes], number: int) -> None:
    """What one visitor asks for."""
    for turn in range(ASSESSMENTS):
        upload(page, f"hand_{turn}.png", hands[(number + turn) % len(hands)])
        card = assess(page, ("Female", "Male")[turn % 2])
        if "months" not in card:
            raise RuntimeError(f"No answer about hand {turn}: {card[:200]}")
        if turn < ASSESSMENTS - 1:
            page.get_by_label("Clear", exact=True).first.click()
            page.locator(".baa-result").wait_for(state="detached")
    page.get_by_role("tab", name="Explain").click()
    page.get_by_role("radio", name=METHODS[number % 2], exact=True).check()
    page.locator("#baa-explain").click()
    expect(page.locator("#baa-explained .baa-result .baa-eyebrow")).to_contain_text("explaining", timeout=PANEL_MS)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#baa-compare").click()
    expect(page.locator("#baa-compared .baa-result").first).to_be_visible(timeout=PANEL_MS)


def main() -> int:
    """Visitors one after the other until so much was asked; print what the page held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500, help="in all, ten a visitor (default: 500)")
    options = parser.parse_args()
    ages = (48.0, 84.0, 120.0, 156.0, 192.0)
    hands = [to_png(draw_phantom(age, "female", height_px=800).radiograph) for age in ages]
    outcome, ended, began = Outcome(), threading.Event(), time.monotonic()
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as served, chromium() as browser:
        threading.Thread(target=watch, args=(served.process.pid, outcome, ended), daemon=True).start()
        for number in count():
            if 10 * number >= options.requests:
                break
            page = open_page(browser, served.url)
            visit(page, hands, number)
            page.context.close()
            time.sleep(3 * SAMPLE_SECONDS)
            marks.append(outcome.memory_mb[-1])
            sys.stderr.write(f"visitor {number + 1}: {marks[-1]:.0f} MB\n")
        ended.set()
    most, later = max(marks), growth(marks)
    sys.stdout.write(
        f"{10 * len(marks)} requests of {len(marks)} visitors in {(time.monotonic() - began) / 60:.1f} minutes.\n"
        f"MB after each visitor: {' '.join(f'{mark:.0f}' for mark in marks)}\n"
        f"At most {most:.0f} MB, {max(outcome.memory_mb):.0f} MB while they work; last quarter {later:.3f} of the "
        "third.\n"
    )
    return int(most > MOST_MB or later > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
