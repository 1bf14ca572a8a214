"""Several callers of a running page at once: is every answer the one that a single caller gets?

    python -m benchmarks.load --clients 8 --requests 25            starts a page of its own
    python -m benchmarks.load --url http://127.0.0.1:7860          asks one that runs

Each client sends drawn hands in an order of its own, the same files as the others, and all without a pause. Answers
are compared in everything but the seconds they took. Ends with status 1 if one differs or is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from baa_core.phantom import draw_phantom, to_png
from baa_core.types import SEXES

REPOSITORY = Path(__file__).resolve().parents[1]
HEIGHT_PX = 500  # small, so that the page and not the networks is under load
AGES_MONTHS = (60.0, 96.0, 144.0)
SECONDS = 600.0
NOT_COMPARED = {"seconds"}


@cache
def hands() -> tuple[tuple[str, bytes, str], ...]:
    """File name, PNG and sex of some drawn hands."""
    drawn = []
    for number, age in enumerate(AGES_MONTHS):
        sex = SEXES[number % 2]
        drawn.append((f"hand_{number}.png", to_png(draw_phantom(age, sex, height_px=HEIGHT_PX).radiograph), sex))
    return tuple(drawn)


def ask(url: str, name: str, content: bytes, sex: str) -> dict[str, Any]:
    """One answer of the page's public call: upload, join the queue, wait.

    Raises:
        RuntimeError: it was refused.
        OSError: the page did not answer.
    """
    return answer_to(url, name, upload(url, name, content), sex)


def upload(url: str, name: str, content: bytes) -> str:
    """A file on its way to the page: the path by which it is asked about."""
    cut = uuid4().hex
    head = f'--{cut}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={cut}"}
    (path,) = json.loads(_post(f"{url}/gradio_api/upload", head + content + f"\r\n--{cut}--\r\n".encode(), kind))
    return str(path)


def answer_to(url: str, name: str, path: str, sex: str) -> dict[str, Any]:
    """The page's answer about an uploaded file; errors as in `ask`."""
    file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    event = json.dumps({"data": [file, sex, "", ""]}).encode()
    joined = json.loads(_post(f"{url}/gradio_api/call/assess", event, {"Content-Type": "application/json"}))
    with urllib.request.urlopen(f"{url}/gradio_api/call/assess/{joined['event_id']}", timeout=SECONDS) as stream:
        said = stream.read().decode()
    if "event: complete" not in said:
        raise RuntimeError(said.strip()[:300])
    answer = json.loads(said.rsplit("data: ", 1)[1])[0]
    return {key: value for key, value in answer.items() if key not in NOT_COMPARED}


def _post(address: str, content: bytes, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(address, content, headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return bytes(answer.read())


def different_answers(url: str, clients: int, requests: int) -> list[str]:
    """What differs from the answers of a single caller, one sentence each; empty if nothing does.

    Args:
        url: of the page.
        clients: how many at once; more than the page's waiting room are told that it is busy, which counts here.
        requests: of each client.
    """
    alone = [ask(url, *hand) for hand in hands()]

    def client(number: int) -> list[str]:
        wrong = []
        for turn in range(requests):
            which = (number + turn) % len(alone)
            try:
                answer = ask(url, *hands()[which])
            except (OSError, RuntimeError, ValueError) as error:
                wrong.append(f"client {number}, request {turn}: {error}")
                continue
            if answer != alone[which]:
                keys = sorted(key for key in alone[which] if answer.get(key) != alone[which][key])
                wrong.append(f"client {number}, request {turn}: {', '.join(keys)} differ")
        return wrong

    with ThreadPoolExecutor(max_workers=clients) as many:
        return [sentence for wrong in many.map(client, range(clients)) for sentence in wrong]


@contextmanager
def page(checkout: Path = REPOSITORY, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A page of our own, of this checkout or of another, in a process of its own: its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--no-browser", "--port", str(port)],
            cwd=checkout,
            env={**os.environ, "TMPDIR": folder, **environment},
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    with urllib.request.urlopen(url, timeout=5):
                        break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            yield url, process
        finally:
            process.terminate()
            process.wait(timeout=90)


def main() -> int:
    """Read the command line, ask, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8, help="callers at once (default: 8)")
    parser.add_argument("--requests", type=int, default=25, help="requests of each (default: 25)")
    parser.add_argument("--url", help="a page that runs already (default: start one)")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.url:
        wrong = different_answers(options.url.rstrip("/"), options.clients, options.requests)
    else:
        with page() as (url, _):
            wrong = different_answers(url, options.clients, options.requests)
    asked = options.clients * options.requests
    print(f"{asked} requests of {options.clients} clients in {time.perf_counter() - start:.0f} s:", end=" ")
    print(f"{len(wrong)} differ from the single run's answers")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
