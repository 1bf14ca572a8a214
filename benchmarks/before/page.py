"""Points about the page: both checkouts serve theirs, and a browser or plain HTTP does what visitors did."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from baa_core.phantom import EXAMPLES, to_png
from tests.e2e.served_page import assess, chromium, open_page, upload
from tests.e2e.test_app_sequences import WATCH, lit

from ..load import answer_to
from ..load import page as serve
from ..load import upload as send
from .pictures import drawn
from .rows import Checkout, Row, Seen

SEQUENCES = "tests/e2e/test_app_sequences.py::"
WAITS_MS = 25_000  # for a result that must not come


@cache
def url_of(there: Checkout, **environment: str) -> str:
    """The address of a checkout's page, started when it is first asked."""
    url, _ = there.kept.enter_context(serve(there.path, **environment))
    return url


@cache
def browser(kept: ExitStack) -> Browser:
    """One for both checkouts."""
    return kept.enter_context(chromium())


@cache
def warm_page(there: Checkout) -> str:
    """The address of a page that has assessed a picture: its networks are loaded."""
    page = open_page(browser(there.kept), url_of(there))
    upload(page, "warm.png", a())
    assess(page, "Female")
    page.context.close()
    return url_of(there)


@contextmanager
def visitor(there: Checkout) -> Iterator[Page]:
    """A new visitor of a checkout's page."""
    page = open_page(browser(there.kept), warm_page(there))
    try:
        yield page
    finally:
        page.context.close()


def a() -> bytes:
    """The picture of the first child."""
    return to_png(drawn(120.0, 4, 700).radiograph)


def b() -> bytes:
    """The picture of the second one."""
    return to_png(drawn(72.0, 5, 700, "male").radiograph)


def ready(page: Page, name: str) -> None:
    page.locator(".baa-chosen", has_text=name).wait_for()
    page.locator("#baa-assess:enabled").wait_for()


def begin(page: Page) -> None:
    upload(page, "a.png", a())
    ready(page, "a.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    page.get_by_label("Age: years").fill("10")
    page.locator("#baa-assess").click()


def shown_unasked(page: Page) -> Seen:
    """A result that stands there although nothing was asked for since `WATCH`."""
    for _ in range(WAITS_MS // 250):
        if lit(page):
            return Seen("a.png's result appears", False)
        page.wait_for_timeout(250)
    return Seen("nothing appears", True)


def entries_left(page: Page) -> Seen:
    """Entries that stay in the form."""
    page.wait_for_timeout(1500)
    left = [
        name for name in ("Female", "Male", "Unknown") if page.get_by_role("radio", name=name, exact=True).is_checked()
    ]
    left += [value for unit in ("years", "months") if (value := page.get_by_label(f"Age: {unit}").input_value())]
    return Seen(f"{', '.join(left)} stay" if left else "empty", not left)


def in_browser(do: Callable[[Page], Seen]) -> Callable[[Checkout], Seen]:
    """A sequence done at the checkout's page."""

    def look(there: Checkout) -> Seen:
        with visitor(there) as page:
            return do(page)

    return look


def rows() -> Iterator[Row]:
    """All points of this file."""
    yield from sequences()
    yield from by_http()


def sequences() -> Iterator[Row]:
    def another(page: Page) -> Seen:
        begin(page)
        upload(page, "b.png", b())
        page.evaluate(WATCH)
        ready(page, "b.png")
        return shown_unasked(page)

    def cleared(page: Page) -> Seen:
        begin(page)
        page.get_by_label("Clear", exact=True).first.click()
        page.evaluate(WATCH)
        return shown_unasked(page)

    def entries(page: Page) -> Seen:
        upload(page, "a.png", a())
        ready(page, "a.png")
        page.get_by_role("radio", name="Female", exact=True).check()
        page.get_by_label("Age: years").fill("10")
        upload(page, "b.png", b())
        ready(page, "b.png")
        return entries_left(page)

    def example(page: Page) -> Seen:
        page.get_by_role("button", name=EXAMPLES[0][0]).click()
        page.locator("#baa-card .baa-result").wait_for()
        upload(page, "a.png", a())
        ready(page, "a.png")
        return entries_left(page)

    def changed(entry: str) -> Callable[[Page], Seen]:
        def do(page: Page) -> Seen:
            begin(page)
            page.locator("#baa-card .baa-result").wait_for()
            page.wait_for_timeout(500)
            if entry == "sex":
                page.get_by_role("radio", name="Male", exact=True).check()
            else:
                page.get_by_label("Age: years").fill("11")
            page.wait_for_timeout(2000)
            page.evaluate(WATCH)
            page.wait_for_timeout(500)
            stays = bool(lit(page))
            return Seen("the old result stays as it was" if stays else "marked as outdated", not stays)

        return do

    def while_running(page: Page) -> Seen:
        begin(page)
        page.get_by_role("radio", name="Male", exact=True).check()
        page.evaluate(WATCH)
        return shown_unasked(page)

    def named(page: Page) -> Seen:
        begin(page)
        card = page.locator("#baa-card .baa-result")
        card.wait_for()
        text = card.inner_text()
        missing = [word for word in ("a.png", "female", "10 years") if word not in text]
        return Seen(f"without {', '.join(missing)}" if missing else "names all three", not missing)

    unasked = "nothing appears"
    for given, expected, do, test in (
        ("b.png chosen while a.png is assessed", unasked, another, "test_another_file_chosen_while_it_runs"),
        ("cleared while a.png is assessed", unasked, cleared, "test_cleared_while_it_runs"),
        ("sex changed while a.png is assessed", unasked, while_running, "test_sex_or_age_changed_while_it_runs"),
        ("sex and age of a.png when b.png is chosen", "empty", entries, "test_another_file_chosen_while_it_runs"),
        ("sex and age of an example when a.png is chosen", "empty", example,
         "test_an_example_and_then_a_file_of_ones_own"),
        ("sex changed after a result", "marked as outdated", changed("sex"),
         "test_sex_or_age_changed_afterwards_marks_the_result_as_outdated"),
        ("age changed after a result", "marked as outdated", changed("age"),
         "test_sex_or_age_changed_afterwards_marks_the_result_as_outdated"),
        ("the card of a result", "names file, sex and age", named, "test_another_file_chosen_while_it_runs"),
    ):  # fmt: skip
        yield Row("A2", given, expected, in_browser(do), (SEQUENCES + test,))


def by_http() -> Iterator[Row]:
    def direct(there: Checkout) -> Seen:
        url = url_of(there)
        file = {"path": send(url, "a.png", a()), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        event = json.dumps({"data": [file, "female", "", ""]}).encode()
        request = urllib.request.Request(f"{url}/gradio_api/run/assess", event, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                said = f"{error.code} {error.read().decode()}"
        answered = "bone_age_months" in said
        return Seen("answered beside the queue" if answered else f"refused: {said[:60]}", not answered)

    test = SEQUENCES + "test_a_direct_call_cannot_pass_the_queue_and_a_full_one_says_busy"
    yield Row("A7", "a call of /run/assess", "refused: join the queue", direct, (test,))

    def same(there: Checkout) -> Seen:
        url = url_of(there)
        paths = [send(url, "a.png", a()) for _ in range(2)]
        said = []
        for path in paths:
            try:
                said.append(f"{answer_to(url, 'a.png', path, 'female')['bone_age_months']:.1f} months")
            except (RuntimeError, OSError, ValueError) as error:
                said.append(f"error ({type(error).__name__})")
        return Seen(", then ".join(said), not any("error" in each for each in said))

    test = SEQUENCES + "test_two_visitors_bring_the_same_file"
    yield Row("B4", "two visitors bring the same file", "both are answered", same, (test,))

    def half(there: Checkout) -> Seen:
        host = urlsplit(url_of(there))
        head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="half.png"\r\n\r\n'
        body = head + a() + b"\r\n--cut--\r\n"
        line = http.client.HTTPConnection(host.hostname or "", host.port, timeout=120)
        line.putrequest("POST", "/gradio_api/upload")
        line.putheader("Content-Type", "multipart/form-data; boundary=cut")
        line.putheader("Content-Length", str(len(body)))
        line.endheaders(body[: len(head)])
        answer_to(host.geturl(), "b.png", send(host.geturl(), "b.png", b()), "male")  # its upload is read and deleted
        try:
            line.send(body[len(head) :])
            answer = line.getresponse()
            (path,) = json.loads(answer.read())
            months = answer_to(host.geturl(), "half.png", path, "female")["bone_age_months"]
        except (RuntimeError, OSError, ValueError, http.client.HTTPException) as error:
            return Seen(f"error ({type(error).__name__})", False)
        finally:
            line.close()
        return Seen(f"{months:.1f} months", True)

    test = SEQUENCES + "test_an_upload_under_way_outlives_another_visitors"
    yield Row(
        "B4", "an upload under way while another visitor's is read", "answered", half, (test,), "page/intake.py:36"
    )

    def relative(there: Checkout) -> Seen:
        url = url_of(there, BAA_WEIGHTS="weights")
        try:
            answer = answer_to(url, "a.png", send(url, "a.png", a()), "female")
        except (RuntimeError, OSError, ValueError) as error:
            return Seen(f"error: {str(error)[:80]}", False)
        return Seen(f"{answer['bone_age_months']:.1f} months", True)

    test = "tests/e2e/test_container.py::test_without_weights_the_page_says_so"
    yield Row("B3", "page started with a relative BAA_WEIGHTS", "answers", relative, (test,), "baa_core/weights.py:37")
