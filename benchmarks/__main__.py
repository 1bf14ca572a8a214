"""What an assessment takes on this machine, by each engine, quiet and beside four busy processes: one table.

    python -m benchmarks             the table, about seven minutes on two cores
    python -m benchmarks --json      the same as one object; naive_seconds, assess_seconds, assess_with_heatmap_seconds,
                                     batch_images_per_second, peak_rss_mb and start_seconds are of the default engine

Let nothing else run meanwhile. Every engine has a process of its own (`benchmarks.engines`), which also says what
"naive" is.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from baa_core.networks.engine import DEFAULT, ENGINES

from .load import ask, hands

REPOSITORY = Path(__file__).resolve().parents[1]
START_PATIENCE_SECONDS = 120.0
ROWS = (
    "assess, s", "assess busy, s", "assess with first heatmaps, s", "assess with heatmap, s",
    "assess with heatmap busy, s", "explain, s", "batch 1, images/s", "batch 1 on one core, images/s",
    "batch 2, images/s", "peak memory, MB", "first page, s", "first answer, s",
)  # fmt: skip
CONTRACT = {
    "assess_seconds": "assess, s",
    "assess_with_heatmap_seconds": "assess with heatmap, s",
    "batch_images_per_second": "batch 1, images/s",
    "peak_rss_mb": "peak memory, MB",
    "start_seconds": "first page, s",
}


def of_engine(name: str, repeats: int) -> dict[str, Any]:
    """What `benchmarks.engines` prints for an engine, or for "naive"."""
    words = [sys.executable, "-m", "benchmarks.engines", "--repeats", str(repeats)]
    words += ["--naive"] if name == "naive" else []
    engine = "torch" if name == "naive" else name
    done = subprocess.run(
        words, cwd=REPOSITORY, env={**os.environ, "BAA_ENGINE": engine}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"Measuring '{name}' failed: see above.")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def start_seconds(engine: str) -> dict[str, float]:
    """From starting the page's process to its first page and, asked at once, its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, hand = f"http://127.0.0.1:{port}", hands()[0]
    with tempfile.TemporaryDirectory() as folder:
        start = perf_counter()
        page = subprocess.Popen(
            [sys.executable, "app.py", "--no-browser", "--port", str(port)],
            cwd=REPOSITORY,
            env={**os.environ, "BAA_ENGINE": engine, "TMPDIR": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while page.poll() is None and perf_counter() - start < START_PATIENCE_SECONDS:
                try:
                    with urllib.request.urlopen(url, timeout=10):
                        break
                except (urllib.error.URLError, OSError):
                    sleep(0.05)
            else:
                raise SystemExit("The page did not answer: try 'python app.py' to see why.")
            first = perf_counter() - start
            ask(url, *hand)
            return {"first page, s": first, "first answer, s": perf_counter() - start}
        finally:
            page.terminate()
            try:
                page.wait(timeout=10)
            except subprocess.TimeoutExpired:
                page.kill()
                page.wait()


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures for people, with the ratios that they are judged by."""
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for row in ROWS:
        cells = [f"{one[row]:.{0 if 'MB' in row else 2}f}" if row in one else "-" for one in found.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    naive, best = found["naive"], found[DEFAULT]
    heatmap = "assess with heatmap, s"
    one, alone, two = (best[f"batch {which}, images/s"] for which in ("1", "1 on one core", "2"))
    lines += [
        "",
        f"{DEFAULT}: assess with heatmap {naive[heatmap] / best[heatmap]:.1f} times faster than naive; "
        f"beside busy processes {best['assess busy, s'] / best['assess, s']:.1f} times its quiet self; "
        f"two processes {two / one:.2f} times one on both cores and {two / alone:.2f} times one on one core.",
        "Stages, ms: " + ", ".join(f"{stage} {1000 * s:.0f}" for stage, s in best["stages"].items()) + ".",
    ]
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, and say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--repeats", type=int, default=7, help="how often each thing is timed (default: 7)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    found: dict[str, dict[str, Any]] = {}
    for name in ("naive", *ENGINES):
        print(f"measuring {name}", file=sys.stderr, flush=True)
        found[name] = of_engine(name, options.repeats)
        if name != "naive":
            found[name] |= start_seconds(name)
    if options.json:
        contract = {key: round(found[DEFAULT][row], 4) for key, row in CONTRACT.items()}
        print(json.dumps({"naive_seconds": round(found["naive"]["assess with heatmap, s"], 4), **contract, **found}))
        return
    print(table(found))


if __name__ == "__main__":
    main()
