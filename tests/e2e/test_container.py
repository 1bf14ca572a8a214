"""The page as a hospital serves it: by the Dockerfile's steps, behind a proxy under a path, to many clients at once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from baa_core.networks.weights import DEFAULT_FOLDER
from baa_core.phantom import draw_phantom, to_png
from benchmarks.container import REPOSITORY, lines_of, tracked
from benchmarks.soak import KINDS, growth, soak
from tests.e2e.served_page import Served, assess, open_page, serve, upload

pytestmark = pytest.mark.slow
PREFIX = "/tools/bone-age"


def test_the_dockerfile_runs_without_root_network_or_a_folder_to_write_to() -> None:
    """Every line is performed, then one hand assessed; see `benchmarks.container`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.container"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "to the first estimate" in done.stdout
    if os.getuid() == 0:
        assert "Ran as user 10001, with no network." in done.stdout


def test_the_dockerfile_states_what_a_hospital_asks_for() -> None:
    lines = list(lines_of((REPOSITORY / "Dockerfile").read_text()))
    assert {"USER", "HEALTHCHECK", "EXPOSE", "ENTRYPOINT"} <= {instruction for instruction, _ in lines}
    assert not [rest for instruction, rest in lines if instruction == "ADD" or "curl" in rest or "wget" in rest]
    assert [instruction for instruction, _ in lines].index("USER") > max(
        number for number, (instruction, _) in enumerate(lines) if instruction in ("RUN", "COPY")
    )


def test_the_builder_gets_the_page_and_no_radiographs() -> None:
    sent = tracked()
    assert "app.py" in sent and "weights/manifest.json" in sent and "baa_core/reporting/german.json" in sent
    assert not [path for path in sent if path.startswith(("tests/", "train/", "data/", "docs/"))]


@contextmanager
def proxy(target: str, folder: str) -> Iterator[str]:
    """A proxy that serves what is at `target` under `PREFIX` and strips it; the address of the page behind it."""

    async def passed_on(request: Request) -> StreamingResponse:
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        client = httpx.AsyncClient(timeout=None, verify=False)  # reading the certificates takes long
        asked = client.build_request(
            request.method,
            f"{target}/{request.path_params['path']}",
            params=request.query_params,
            headers={**headers, "host": request.headers["host"]},
            content=await request.body(),
        )
        answer = await client.send(asked, stream=True)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()
                await client.aclose()

        kept = {n: v for n, v in answer.headers.items() if n not in ("transfer-encoding", "connection")}
        return StreamingResponse(body(), answer.status_code, kept)

    routes = [Route(f"{PREFIX}/{{path:path}}", passed_on, methods=["GET", "POST", "PUT", "HEAD", "OPTIONS"])]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{folder}/"
    finally:
        server.should_exit = True
        thread.join(20)


class Proxied(NamedTuple):
    """A page behind a proxy: its process, its address there, and the folder that its weights are looked for in."""

    served: Served
    address: str
    weights: Path


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Without weights at first."""
    folder = tmp_path_factory.mktemp("proxied")
    weights = folder / "weights"
    weights.mkdir()
    with (
        serve(folder, "--root-path", PREFIX, BAA_WEIGHTS=str(weights)) as served,
        proxy(served.url, PREFIX) as address,
    ):
        yield Proxied(served, address, weights)


@pytest.fixture(scope="module")
def with_weights(proxied: Proxied) -> Proxied:
    """Weights were put there while the page ran."""
    for path in DEFAULT_FOLDER.iterdir():
        (proxied.weights / path.name).symlink_to(path)
    return proxied


@pytest.fixture(scope="module")
def german(proxied: Proxied, browser: Browser) -> Iterator[Page]:
    """A German's page behind the proxy; nothing may be asked for that is elsewhere or not there."""
    page, lost = browser.new_context(locale="de-DE").new_page(), list[str]()
    page.on("response", lambda answer: lost.append(answer.url) if answer.status >= 400 else None)
    page.on("request", lambda asked: lost.append(asked.url) if f"{PREFIX}/" not in asked.url else None)
    yield open_page(browser, proxied.address, page=page)
    page.context.close()
    assert not [url for url in lost if not url.startswith(("data:", "blob:"))]


@pytest.mark.browser
def test_without_weights_the_page_says_so(proxied: Proxied, german: Page) -> None:
    upload(german, "hand.png", to_png(draw_phantom(120.0, "female", height_px=500).radiograph))
    card = assess(german, "Weiblich")
    assert "weights" in card
    assert str(proxied.weights.parent) not in card
    assert "Traceback" not in proxied.served.log.read_text()


@pytest.mark.browser
def test_the_page_works_behind_a_proxy_under_a_path_and_finds_weights_put_there_meanwhile(
    with_weights: Proxied, german: Page
) -> None:
    german.get_by_role("button", name="Mädchen, 10 Jahre").click()
    german.locator("#baa-card .baa-result").wait_for()
    german.locator("#baa-picture .baa-holder .baa-layer").first.wait_for()  # the viewer's library came too
    expect(german.locator("#baa-card .baa-result")).to_contain_text("Geschätztes Skelettalter")
    german.close()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks /proc for memory")
def test_clients_of_every_kind_at_once_get_the_single_runs_answers(with_weights: Proxied) -> None:
    """Some are hostile and some hang up: the small mode of `python -m benchmarks.soak`."""
    served = with_weights.served
    outcome = soak(served.url, served.process.pid, clients=4, requests=20)
    assert outcome.wrong == []
    assert set(outcome.done) == set(KINDS)
    assert sum(outcome.done.values()) == 20
    assert served.process.poll() is None
    assert max(outcome.memory_mb) < 2500
    assert "Traceback" not in served.log.read_text()


def test_growth_compares_the_last_two_quarters() -> None:
    assert growth([100.0] * 40) == 1.0
    assert growth([100.0] * 30 + [110.0] * 10) == pytest.approx(1.1)
    assert growth([]) == 1.0


def test_a_page_that_ends_takes_its_temporary_folder_with_it(proxied: Proxied) -> None:
    """The last test of this page."""
    served = proxied.served
    assert list(served.folder.glob("bone-age-*"))
    served.process.terminate()
    served.process.wait(timeout=90)
    assert not list(served.folder.glob("bone-age-*"))
    assert served.files_left() == []  # PyTorch leaves an empty folder
