"""Where a page's memory goes: the same work in many threads and in one, with and without giving free memory back.

    python -m benchmarks.memory --requests 60        resident MB by request, for each of three ways

Handlers of a page run in a pool of threads, one request at a time. Each way is a process of its own: "threads" takes
another thread for each request, "one thread" always the same one, "one thread, given back" also calls the allocator's
malloc_trim after each. The work is an assessment with heatmap, an explanation by Grad-CAM and a comparison by all
recipes, in turns.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import cycle, islice
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WAYS = ("threads", "one thread", "one thread, given back")
THREADS = 12


def resident_mb() -> float:
    """What this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def works() -> list[Callable[[], object]]:
    """What visitors ask for, in turns."""
    import baa_core
    from baa_core.phantom import draw_phantom, to_png
    from baa_core.workflows.compare import compare
    from baa_core.workflows.explain import explain_estimate

    content = to_png(draw_phantom(120.0, "male", height_px=800).radiograph)
    patient = baa_core.Patient("male", 120.0)
    assessor = baa_core.load_assessor()
    load = cache(partial(baa_core.load_assessor, store=assessor.store))
    return [
        lambda: assessor.assess(content, patient, explain=True),
        lambda: explain_estimate(assessor, content, patient, "grad_cam"),
        lambda: list(compare(content, patient, load=load)),
    ]


def measure(way: str, requests: int) -> list[float]:
    """Resident MB after each request, done in this way."""
    pools = [ThreadPoolExecutor(1) for _ in range(THREADS if way == "threads" else 1)]
    found = []
    for number, work in enumerate(islice(cycle(works()), requests)):
        pools[number % len(pools)].submit(work).result()
        if way.endswith("given back"):
            ctypes.CDLL(None).malloc_trim(0)
        found.append(round(resident_mb()))
    return found


def main() -> None:
    """Measure every way in a process of its own, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=60, help="of each way (default: 60)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.requests)))
        return
    for way in WAYS:
        words = [sys.executable, "-m", "benchmarks.memory", "--requests", str(options.requests), "--way", way]
        done = subprocess.run(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        held = json.loads(done.stdout.splitlines()[-1])
        print(f"{way}: {held[min(5, len(held) - 1)]} MB after 6 requests, {held[-1]} after {len(held)}", flush=True)


if __name__ == "__main__":
    main()
