"""How many rows a second a batch does, by the length of its table.

    python -m benchmarks.rows               six minutes on two quiet cores

Assessed rows are one drawn radiograph many times over, networks loaded within. Rows without a radiograph, which are
refused, show what tables and results cost beside it, and how long a batch that is finished takes to find that out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from baa_core.evaluation.batch import Batch, run_batch
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.workflows.assess import load_assessor

from .engines import batch_seconds, draw_radiograph

ASSESSED_ROWS = (25, 100, 400)
REFUSED_ROWS = (1_000, 10_000, 100_000)
PROCESSES = (1, 2)


def refused_seconds(folder: Path, rows: int, parquet: bool) -> tuple[float, float]:
    """Seconds of a batch whose radiographs are missing, and of the same command once more."""
    table, results = folder / "missing.csv", folder / f"missing_{rows}.{'parquet' if parquet else 'csv'}"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "sex"], *([f"{row}.png", "male"] for row in range(rows))])
    batch, took = Batch(table, folder, results, DEFAULT_RECIPE), []
    for _ in range(2):
        start = time.perf_counter()
        done = run_batch(batch, partial(load_assessor, DEFAULT_RECIPE), show_progress=False)
        took.append(time.perf_counter() - start)
        if done.refused != rows:
            raise SystemExit("A radiograph that is not there was assessed: the figures would mean nothing.")
    return took[0], took[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--assessed", type=int, nargs="+", default=ASSESSED_ROWS, metavar="N", help="rows of each")
    parser.add_argument("--refused", type=int, nargs="+", default=REFUSED_ROWS, metavar="N", help="rows of each")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = draw_radiograph(folder)
        print("| rows assessed | rows/s, 1 process | rows/s, 2 processes |\n|---|---|---|")
        for rows in options.assessed:
            rates = [rows / batch_seconds(path, folder, rows, processes) for processes in PROCESSES]
            print(f"| {rows} | " + " | ".join(f"{rate:.2f}" for rate in rates) + " |", flush=True)
        print("\n| rows refused | rows/s, CSV | again, s | rows/s, Parquet | again, s |\n|---|---|---|---|---|")
        for rows in options.refused:
            cells = []
            for parquet in (False, True):
                first, again = refused_seconds(folder, rows, parquet)
                cells += [f"{rows / first:.0f}", f"{again:.2f}"]
            print(f"| {rows} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
