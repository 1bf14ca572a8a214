"""What is shown belongs to what is entered: what visitors do in a hurry, at the same time, and on a slow network.

Every test watches the cards in the browser, frame by frame: a result that stands there undimmed at any moment counts.
"""

import base64
import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from baa_core.phantom import draw_phantom, to_png
from benchmarks.load import ask, different_answers
from page.examples import EXAMPLES, draw_example
from page.security import BUSY
from tests.e2e.served_page import PATIENCE_MS, Served, assess, empty, open_page, settle, upload

pytestmark = pytest.mark.browser
EXAMPLE = next(iter(EXAMPLES))
CARD = "#baa-card .baa-result"
OUTDATED = "Outdated: the entries have changed"
A_PART = 20_000  # bytes: more than is said of the stages of an assessment, less than its result
WATCH = """() => {
  window.lit = new Set();
  if (window.watching) return;
  window.watching = true;
  const look = () => {
    if (!window.watching) return;
    for (const card of document.querySelectorAll(".baa-result"))
      if (card.checkVisibility() && !card.closest(".baa-outdated")) lit.add(card.innerText);
    requestAnimationFrame(look);
  };
  look();
}"""


@pytest.fixture(scope="module")
def a() -> bytes:
    """A drawn hand of a girl of 10 years."""
    return to_png(draw_phantom(120.0, "female", seed=4, height_px=500).radiograph)


@pytest.fixture(scope="module")
def b() -> bytes:
    """A drawn hand of a boy of 6 years."""
    return to_png(draw_phantom(72.0, "male", seed=5, height_px=500).radiograph)


@pytest.fixture(scope="module", autouse=True)
def warm(served: Served, a: bytes) -> None:
    """The networks are loaded, so that a run takes about as long as it does for a visitor."""
    ask(served.url, "warm.png", a, "female")


def ready(page: Page, name: str) -> None:
    expect(page.locator(".baa-chosen")).to_contain_text(name)
    expect(page.locator("#baa-assess")).to_be_enabled()


def is_assess(request: Request) -> bool:
    """A press of Assess with a sex on its way to the server."""
    said = request.post_data or ""
    return "/queue/join" in request.url and "male" in said and len(json.loads(said)["data"]) > 6


def begin(page: Page, content: bytes) -> None:
    """a.png is chosen, sex and age are entered, Assess is pressed, and nobody waits."""
    upload(page, "a.png", content)
    ready(page, "a.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    page.get_by_label("Age: years").fill("10")
    with page.expect_request(is_assess):  # what is entered later comes later
        page.locator("#baa-assess").click()


def lit(page: Page) -> str:
    """Everything that stood on a card, undimmed, since `WATCH`."""
    return "\n".join(page.evaluate("() => [...lit]"))


def expect_empty_entries(page: Page) -> None:
    expect(page.locator("#baa-sex input:checked")).to_have_count(0)
    for unit in ("years", "months"):
        expect(page.get_by_label(f"Age: {unit}")).to_have_value("")


def test_another_file_chosen_while_it_runs(page: Page, a: bytes, b: bytes) -> None:
    begin(page, a)
    upload(page, "b.png", b)
    page.evaluate(WATCH)
    ready(page, "b.png")
    expect_empty_entries(page)
    card = assess(page, "Male")
    assert "b.png; sex entered: male; no age entered" in card
    assert "a.png" not in lit(page)
    expect(page.locator("#baa-picture figcaption")).to_contain_text("b.png; sex entered: male")


def test_cleared_while_it_runs(page: Page, a: bytes) -> None:
    """Nothing comes afterwards, and no stream of answers is left open."""
    begin(page, a)
    page.get_by_label("Clear", exact=True).first.click()
    page.evaluate(WATCH)
    expect(page.locator(".baa-chosen")).to_have_count(0)
    expect_empty_entries(page)
    settle(page)
    expect(page.locator("#baa-card .baa-empty-title")).to_have_text("The estimate will appear here")
    expect(page.locator("#baa-details")).not_to_be_visible()
    assert lit(page) == ""


def test_sex_or_age_changed_while_it_runs(page: Page, a: bytes) -> None:
    """First the sex; then, while it runs for that one, the age."""
    begin(page, a)
    page.get_by_role("radio", name="Male", exact=True).check()
    page.evaluate(WATCH)
    settle(page)
    assert lit(page) == ""
    with page.expect_request(is_assess):
        page.locator("#baa-assess").click()
    page.get_by_label("Age: years").fill("11")
    settle(page)
    assert lit(page) == ""
    page.locator("#baa-assess").click()
    expect(page.locator(CARD)).to_contain_text("sex entered: male; age entered: 11 years")
    expect(page.get_by_text(OUTDATED)).not_to_be_visible()


def test_sex_or_age_changed_afterwards_marks_the_result_as_outdated(page: Page, a: bytes) -> None:
    begin(page, a)
    page.locator(CARD).wait_for()
    line = page.get_by_text(OUTDATED)
    expect(line).not_to_be_visible()
    page.get_by_role("radio", name="Male", exact=True).check()
    expect(line).to_be_visible()
    page.get_by_role("radio", name="Female", exact=True).check()
    expect(line).not_to_be_visible()
    page.get_by_label("Age: months").fill("3")
    expect(line).to_be_visible()
    page.locator("#baa-assess").click()
    expect(page.locator(CARD)).to_contain_text("age entered: 10 years 3 months")
    expect(line).not_to_be_visible()


def test_an_example_and_then_a_file_of_ones_own(page: Page, a: bytes) -> None:
    page.get_by_role("button", name=EXAMPLE).click()
    ready(page, EXAMPLE)
    upload(page, "a.png", a)  # while the example is assessed
    page.evaluate(WATCH)
    ready(page, "a.png")
    expect_empty_entries(page)
    settle(page)
    assert lit(page) == ""
    page.locator("#baa-assess").click()
    expect(page.locator(".baa-refusal")).to_contain_text("No sex has been chosen")


def test_what_is_entered_while_a_file_is_on_its_way_stays(page: Page, a: bytes) -> None:
    page.get_by_label("Age: years").fill("3")
    held = hold(page, "**/gradio_api/upload*")
    upload(page, "a.png", a)
    expect_empty_entries(page)
    page.get_by_role("radio", name="Female", exact=True).check()
    page.get_by_label("Age: years").fill("10")
    page.wait_for_timeout(200)
    held.pop().continue_()
    ready(page, "a.png")
    page.locator("#baa-assess").click()
    expect(page.locator(CARD)).to_contain_text("a.png; sex entered: female; age entered: 10 years")


@pytest.mark.parametrize("clear_first", [False, True])
def test_what_is_entered_at_once_with_a_file_stays(page: Page, a: bytes, b: bytes, clear_first: bool) -> None:
    """The page's own emptying comes a moment after a file is chosen; with Clear before it, two of them do."""
    if clear_first:
        upload(page, "a.png", a)
        ready(page, "a.png")
    page.get_by_role("radio", name="Male", exact=True).check()
    page.get_by_label("Age: years").fill("3")
    page.evaluate(
        """([content, clear]) => {
          if (clear) document.querySelector("#baa-file .icon-button-wrapper button").click();
          const choose = () => {
            const input = document.querySelector("#baa-file input[type=file]");
            if (input === null) return void requestAnimationFrame(choose);
            const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], "b.png"));
            input.files = files.files;
            input.dispatchEvent(new Event("change", { bubbles: true }));
            document.querySelector("#baa-sex input[value=female]").click();
          };
          choose();
        }""",
        [base64.b64encode(b).decode(), clear_first],
    )
    ready(page, "b.png")
    settle(page)
    expect(page.get_by_role("radio", name="Female", exact=True)).to_be_checked()
    expect(page.get_by_label("Age: years")).to_have_value("")
    page.locator("#baa-assess").click()
    expect(page.locator(CARD)).to_contain_text("b.png; sex entered: female; no age entered")


def hold(page: Page, address: str) -> list[Route]:
    """The next request to an address waits until the test lets it go; later ones pass."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route(address, keep)
    return held


def until(page: Page, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def wait_for(page: Page, held: list[Route]) -> Route:
    until(page, lambda: bool(held))
    return held[0]


def test_a_press_that_arrives_after_the_next_file(page: Page, a: bytes, b: bytes) -> None:
    """Slow network: the press for a.png reaches the server when b.png is chosen already."""
    upload(page, "a.png", a)
    ready(page, "a.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    settle(page)

    late: list[Route] = []
    page.route(
        "**/queue/join*",
        lambda route: late.append(route) if not late and is_assess(route.request) else route.continue_(),
    )
    page.locator("#baa-assess").click()
    wait_for(page, late)
    upload(page, "b.png", b)
    page.evaluate(WATCH)
    ready(page, "b.png")
    late[0].continue_()
    settle(page)
    assert lit(page) == ""
    assert "b.png" in assess(page, "Male")
    assert "a.png" not in lit(page)


def test_a_result_that_comes_slowly_is_not_shown_under_the_next_file(page: Page, a: bytes, b: bytes) -> None:
    """Slow network: the result of a.png is on its way for a second or two; b.png is chosen meanwhile."""
    upload(page, "a.png", a)
    ready(page, "a.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    settle(page)
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 800_000}
    received = [0]
    line.on("Network.dataReceived", lambda told: received.append(received[-1] + told["dataLength"]))
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", slow)
    page.locator("#baa-assess").click()
    page.evaluate(WATCH)
    until(page, lambda: received[-1] > A_PART)
    if page.locator(CARD).count():
        pytest.fail("the network was not slow enough for this test to mean anything")
    upload(page, "b.png", b)
    page.evaluate("() => lit.clear()")
    ready(page, "b.png")
    settle(page)
    line.send("Network.emulateNetworkConditions", {**slow, "latency": 0, "downloadThroughput": -1})
    assert "b.png" in assess(page, "Male")
    assert "a.png" not in lit(page)


# While `shut`, what the server sends as answers waits before the browser sees it; `ended` once the server has sent all.
SHUTTER = """
  const plain = window.fetch;
  window.shut = window.ended = false;
  window.fetch = async (resource, options) => {
    const answer = await plain(resource, options);
    if (!String(resource.url ?? resource).includes("queue/data")) return answer;
    const body = new ReadableStream({ async start(controller) {
      const got = [];
      let done = false;
      (async () => {
        for await (const chunk of answer.body) {
          got.push(chunk);
          if (window.shut && new TextDecoder().decode(chunk).includes("close_stream")) window.ended = true;
        }
        done = true;
      })();
      while (!done || got.length) {
        if (got.length && !window.shut) controller.enqueue(got.shift());
        else await new Promise((go) => setTimeout(go, 20));
      }
      controller.close();
    } });
    return new Response(body, { status: answer.status, headers: answer.headers });
  };
"""


@pytest.fixture(scope="module")
def shuttered(served: Served, visitor: BrowserContext) -> Iterator[Page]:
    """A page whose answers can be held back."""
    page = visitor.new_page()
    page.add_init_script(SHUTTER)
    yield open_page(visitor, served.url, page=page)
    page.close()


@pytest.fixture
def other(shuttered: Page) -> Page:
    """Another visitor, who is shown answers as they come."""
    shuttered.evaluate("() => { window.shut = window.watching = false; }")
    empty(shuttered)
    return shuttered


@pytest.mark.parametrize("then", ["files", "clear", "no file", "example", "sex"])
def test_what_is_done_while_a_finished_result_is_on_its_way(shuttered: Page, a: bytes, b: bytes, then: str) -> None:
    """The server has sent a.png's result and the end of its answers; the browser has not got them yet."""
    page = shuttered
    page.evaluate("() => { window.shut = window.ended = window.watching = false; }")
    upload(page, "a.png", a)
    ready(page, "a.png")
    page.get_by_role("radio", name="Female", exact=True).check()
    settle(page)
    page.evaluate("() => { window.shut = true; }")
    page.locator("#baa-assess").click()
    page.wait_for_function("() => window.ended")
    if then == "files":  # another one, and a third one when the second is not even read
        upload(page, "b.png", b)
        settle(page)
        upload(page, "c.png", b)
    if then == "no file":
        upload(page, "b.png", b)
        settle(page)
    if then in ("clear", "no file"):
        page.get_by_label("Clear", exact=True).first.click()
    if then == "example":
        page.get_by_role("button", name=EXAMPLE).click()
    if then == "sex":
        page.get_by_role("radio", name="Male", exact=True).check()
    settle(page)
    page.evaluate(WATCH)
    page.evaluate("() => { window.shut = false; }")
    if then in ("clear", "no file"):
        settle(page)
        expect(page.locator(".baa-chosen")).to_have_count(0)
    elif then == "example":
        expect(page.locator(CARD)).to_contain_text(EXAMPLE)
    elif then == "sex":
        expect(page.get_by_text(OUTDATED)).to_be_visible()
        page.locator("#baa-assess").click()
        expect(page.locator(CARD)).to_contain_text("a.png; sex entered: male")
    else:
        ready(page, "c.png")
        assert "c.png" in assess(page, "Male")
    assert "a.png; sex entered: female" not in lit(page)


def test_two_visitors_bring_the_same_file(page: Page, other: Page, a: bytes, served: Served) -> None:
    """The second has uploaded it, and the page has not read it yet, when the first's is read and deleted."""
    held = hold(other, "**/queue/join*")
    upload(other, "a.png", a)
    late = wait_for(other, held)
    upload(page, "a.png", a)
    assert "90 % interval" in assess(page, "Female")
    late.continue_()
    ready(other, "a.png")
    assert "90 % interval" in assess(other, "Female")
    assert served.files_left() == []


def test_an_upload_under_way_outlives_another_visitors(page: Page, a: bytes, served: Served) -> None:
    """Half of the file is there when another visitor's file is read and what lies about is swept."""
    host = urlsplit(served.url)
    head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="half.png"\r\n\r\n'
    body = head + a + b"\r\n--cut--\r\n"
    for sent in (len(head), len(head) + len(a) // 2):  # no byte of it yet; half of it
        line = http.client.HTTPConnection(host.hostname, host.port, timeout=120)
        line.putrequest("POST", "/gradio_api/upload")
        line.putheader("Content-Type", "multipart/form-data; boundary=cut")
        line.putheader("Content-Length", str(len(body)))
        line.endheaders(body[:sent])
        page.wait_for_timeout(200)
        upload(page, "a.png", a)
        ready(page, "a.png")
        line.send(body[sent:])
        answer = line.getresponse()
        assert answer.status == 200
        (path,) = json.loads(answer.read())
        line.close()
        assert "bone_age_months" in call(served.url, path)
    settle(page)
    assert served.files_left() == []


def test_a_failed_upload_leaves_nothing(served: Served) -> None:
    host = urlsplit(served.url)
    line = http.client.HTTPConnection(host.hostname, host.port, timeout=120)
    head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="half.png"\r\n\r\n'
    line.putrequest("POST", "/gradio_api/upload")
    line.putheader("Content-Type", "multipart/form-data; boundary=cut")
    line.putheader("Content-Length", "100000")
    line.endheaders(head + b"x" * 5000)
    line.close()  # the visitor is gone
    for _ in range(50):
        if not served.files_left():
            break
        threading.Event().wait(0.2)
    assert served.files_left() == []


def call(url: str, path: str) -> dict:
    """The API's answer for an uploaded file, by plain HTTP."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = json.loads(post(f"{url}/gradio_api/call/assess", {"data": [file, "female", "", ""]}))["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/assess/{event}", timeout=240) as stream:
        said = stream.read().decode()
    assert "event: complete" in said, said
    return json.loads(said.split("data: ")[-1])[0]


def post(address: str, content: dict) -> str:
    """The answer to JSON, or the sentence of a refusal."""
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"


def test_a_direct_call_cannot_pass_the_queue_and_a_full_one_says_busy(served: Served) -> None:
    for route in ("run", "api"):
        assert "join the queue" in post(f"{served.url}/gradio_api/{route}/assess", {"data": [None, "female", "", ""]})
    page_events = {"data": [None, "female", "", ""]}
    with ThreadPoolExecutor(max_workers=64) as many:
        said = list(many.map(lambda _: post(f"{served.url}/gradio_api/call/assess", page_events), range(64)))
    refused = [answer for answer in said if answer.startswith("503")]
    assert all(BUSY in answer for answer in refused)
    assert all("event_id" in answer for answer in said if answer not in refused)


def test_eight_callers_at_once_each_get_the_single_runs_answer(served: Served) -> None:
    assert different_answers(served.url, clients=8, requests=1) == []


def test_the_drawn_examples_differ() -> None:
    """So that a mixed-up answer of the test before would show."""
    assert len({draw_example(label)[1] for label in EXAMPLES}) == len(EXAMPLES)
