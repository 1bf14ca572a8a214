"""The page as a hospital serves it: by the Dockerfile's steps, and behind a proxy under a path."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.container import REPOSITORY, lines_of, tracked
from tests.e2e.served_page import PATIENCE_MS, serve

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


@pytest.mark.browser
@pytest.mark.parametrize("locale", ["de-DE"])
def test_the_page_works_behind_a_proxy_under_a_path(tmp_path: Path, browser: Browser, locale: str) -> None:
    with serve(tmp_path, "--root-path", PREFIX) as served, proxy(served.url, PREFIX) as address:
        page = browser.new_context(locale=locale).new_page()
        page.set_default_timeout(PATIENCE_MS)
        lost: list[str] = []
        page.on("response", lambda answer: lost.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda asked: lost.append(asked.url) if f"{PREFIX}/" not in asked.url else None)
        page.goto(address)
        page.get_by_role("button", name="Mädchen, 10 Jahre").click()
        page.locator("#baa-card .baa-result").wait_for()
        page.locator("#baa-picture .baa-holder .baa-layer").first.wait_for()  # the viewer's library came too
        expect(page.locator("#baa-card .baa-result")).to_contain_text("Geschätztes Skelettalter")
        page.context.close()
        assert not [url for url in lost if not url.startswith(("data:", "blob:"))]
