"""Many clients for a long time, some hostile and some hanging up: is every answer right, nothing lost, memory flat?

    python -m benchmarks.soak                                  20 clients, 2,000 requests, a page of its own (loopback)
    python -m benchmarks.soak --clients 4 --requests 40        a small one

Of the requests 60 % are drawn hands to assess, 10 % hostile files, 10 % clients that hang up before the answer, 20 %
other addresses of the page. A busy page (503, 429) is asked again after a pause. Ends with status 1 if an answer
differs from the single run's, one is missing, a hostile file is answered without a sentence, or the memory of the page
and its decoders in the last quarter is more than 5 % over that of the third.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.load import ask, hands, page

KINDS = {"assess": 60, "hostile": 10, "hang up": 10, "address": 20}
ADDRESSES = {
    "/": 200,
    "/config": 200,
    "/baa-health": 200,
    "/gradio_api/deep_link?session_hash=a": 404,
    "/monitoring": 404,
}
MOST_GROWTH = 1.05
SAMPLE_SECONDS = 1.0
MOST_TRIES = 400


@dataclass
class Outcome:
    """What came of all requests."""

    done: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def hostile() -> list[tuple[str, bytes]]:
    """Small files that the reader refuses."""
    from tests.hostile import REFUSED_BY_READER, corpus

    return sorted(
        (name, data) for name, data in corpus().items() if name in REFUSED_BY_READER and 0 < len(data) < 10**6
    )


def soak(url: str, pid: int, clients: int, requests: int) -> Outcome:
    """Ask so many times in all, from so many clients at once."""
    outcome = Outcome()
    alone = [ask(url, *hand) for hand in hands()]
    ended = threading.Event()
    watching = threading.Thread(target=watch, args=(pid, outcome, ended), daemon=True)
    watching.start()
    files = hostile()
    plan = random.Random(22).choices(list(KINDS), list(KINDS.values()), k=requests)

    def one(number: int) -> None:
        kind = plan[number]
        try:
            wrong = _again(outcome, lambda: _request(url, kind, number, alone, files))
        except Exception as error:  # noqa: BLE001 - whatever it is, an answer is missing
            wrong = f"{type(error).__name__}: {str(error)[:150]}"
        with outcome.lock:
            outcome.done[kind] += 1
            if wrong:
                outcome.wrong.append(f"request {number} ({kind}): {wrong}")

    with ThreadPoolExecutor(clients) as many:
        list(many.map(one, range(requests)))
    time.sleep(3 * SAMPLE_SECONDS)
    ended.set()
    watching.join()
    return outcome


def _again(outcome: Outcome, request: object) -> str:
    """Ask until the page is not busy; what is wrong with the answer."""
    started = time.monotonic()
    for _ in range(MOST_TRIES):
        try:
            wrong = request()  # type: ignore[operator]
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            if error.code not in (429, 503) or "minute" not in said:
                return f"{error.code} {said[:150]}"
            with outcome.lock:
                outcome.busy += 1
            time.sleep(random.uniform(0.5, 2.0))
            continue
        with outcome.lock:
            outcome.seconds.append(time.monotonic() - started)
        return wrong
    return "busy for ever"


def _request(url: str, kind: str, number: int, alone: list[dict], files: list[tuple[str, bytes]]) -> str:
    """One request of a kind; what is wrong with its answer, "" for nothing."""
    which = number % len(alone)
    if kind == "assess":
        answer = ask(url, *hands()[which])
        return (
            ""
            if answer == alone[which]
            else f"{[key for key in answer if answer[key] != alone[which].get(key)]} differ"
        )
    if kind == "hostile":
        name, content = files[number % len(files)]
        try:
            ask(url, name, content, "female")
        except RuntimeError as refused:
            said = str(refused)
            return "" if "event: error" in said and name.rpartition(".")[0] in said else f"no sentence: {said[:150]}"
        return f"{name} was assessed"
    if kind == "hang up":
        return _hang_up(url, *hands()[which][:2])
    address, expected = list(ADDRESSES.items())[number % len(ADDRESSES)]
    try:
        with urllib.request.urlopen(url + address, timeout=600) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        if error.code != expected:
            raise
        status = error.code
        error.close()
    return "" if status == expected else f"{address} gave {status}"


def _hang_up(url: str, name: str, content: bytes) -> str:
    """Go away in the middle of an upload, or after it before anything is read."""
    place = urlsplit(url)
    head = f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body = head + content + b"\r\n--cut--\r\n"
    lines = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=60) as line:
        line.sendall(lines.encode() + body[: len(body) // random.choice((1, 2, 3))])
    return ""


def watch(pid: int, outcome: Outcome, ended: threading.Event) -> None:
    """Note what the page and its decoders hold, once a second."""
    while not ended.wait(SAMPLE_SECONDS):
        outcome.memory_mb.append(sum(_held_mb(each) for each in (pid, *_children(pid))))


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _held_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def growth(memory_mb: list[float]) -> float:
    """Median of the last quarter to that of the third."""
    quarter = len(memory_mb) // 4
    if quarter == 0:
        return 1.0
    return statistics.median(memory_mb[-quarter:]) / statistics.median(memory_mb[-2 * quarter : -quarter])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    started = time.monotonic()
    with page() as (url, process):
        outcome = soak(url, process.pid, options.clients, options.requests)
        alive = process.poll() is None
    spent, times = time.monotonic() - started, sorted(outcome.seconds)
    print(json.dumps({
        "clients": options.clients, "requests": options.requests, "done": dict(outcome.done),
        "busy_answers": outcome.busy,
        "wrong": len(outcome.wrong), "seconds": round(spent), "median_s": round(statistics.median(times), 2),
        "slowest_s": round(times[-1], 1), "memory_mb": round(max(outcome.memory_mb)),
        "memory_growth_last_quarters": round(growth(outcome.memory_mb), 3), "page_alive": alive,
    }))  # fmt: skip
    print("\n".join(outcome.wrong[:20]))
    return int(bool(outcome.wrong) or not alive or growth(outcome.memory_mb) > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
