"""`python -m benchmarks.systems --images DIR --labels CSV --out DIR`: every recipe on every `test` radiograph.

Each recipe runs as `python -m baa_core batch` in a process of its own, so that its time and memory are its own too;
what it answered is compared with the labels by the functions behind `evaluate`. Beside each figure stands the
paper's, if there is one, and what differs. Recipes that are not named keep their rows of the last time.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from baa_core.evaluation.metrics import evaluate, markdown_table
from baa_core.evaluation.pairs import mean_train_age, read_cases
from baa_core.networks.weights import DEFAULT_FOLDER, read_manifest
from baa_core.recipes import RECIPES
from baa_core.types import DISCLAIMER


@dataclass(frozen=True)
class Published:
    """What a paper reports, and on what."""

    mae_months: float
    data: str


# Deeplasia: abstract (RSNA validation, several readers); Iglovikov: section 3; Malanga: Results, public set; Fanciulli
# & Motisi: table 2; Li: abstract.
PAPERS = {
    "deeplasia": Published(3.87, "RSNA test, six readers, 12,611 full-size training images"),
    "iglovikov2018": Published(4.97, "RSNA test, six readers, 18 networks on 11,600 full-size images"),
    "malanga2024": Published(10.81, "a fifth of RSNA and atlas pictures, 500 px"),
    "fanciulli_motisi2024": Published(9.3, "1,396 RSNA images, 399 px"),
    "li2021": Published(6.2, "a tenth of RSNA, 700 px"),
}
HEADERS = ("system", "MAE here", "RMSE", "refused", "seconds an image", "peak MB", "MAE in the paper", "there", "here")


@dataclass(frozen=True)
class Measured:
    """One recipe on the radiographs of one split."""

    recipe: str
    n: int
    n_refused: int
    mae_months: float
    rmse_months: float
    interval_coverage: float
    seconds_an_image: float
    start_seconds: float
    peak_rss_mb: float
    weights_mb: float


def write_split(labels: Path, images: Path, split: str, target: Path) -> int:
    """The table that `batch` reads; how many sharp radiographs of the split there are."""
    with labels.open(newline="") as file:
        known = {row["rsna_id"]: row for row in csv.DictReader(file) if row["split"] == split}
    found = sorted(path for path in images.rglob("*.*") if path.stem in known)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rsna_id", "file", "sex"])
        writer.writerows([p.stem, p.relative_to(images).as_posix(), known[p.stem]["sex"]] for p in found)
    return len(found)


def run_batch(recipe: str, table: Path, images: Path, results: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one batch in its own process, started anew."""
    results.unlink(missing_ok=True)
    words = ["batch", str(table), "--images", str(images), "--out", str(results), "--recipe", recipe]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "baa_core", *words], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 2):
        raise SystemExit(f"The batch of '{recipe}' failed with status {process.returncode}.")
    return time.perf_counter() - start, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def weights_mb(recipe: str) -> float:
    """The size of the files that a recipe loads."""
    manifest = read_manifest()
    files = {manifest.weights[m.name].file for m in RECIPES[recipe].members_in_use if m.name in manifest.weights}
    return sum((DEFAULT_FOLDER / file).stat().st_size for file in files) / 1e6


def measure(recipe: str, table: Path, count: int, images: Path, labels: Path, folder: Path) -> Measured:
    """One recipe on all of them; the time of one picture alone stands for starting up."""
    one = folder / "one.csv"
    one.write_text("\n".join(table.read_text().splitlines()[:2]) + "\n")
    start_seconds, _ = run_batch(recipe, one, images, folder / "one_result.csv")
    seconds, peak = run_batch(recipe, table, images, folder / f"{recipe}.csv")
    group = evaluate(read_cases(folder / f"{recipe}.csv", labels), mean_train_age(labels)).to_dict()["groups"]["all"]
    return Measured(
        recipe=recipe,
        n=count,
        n_refused=group["n_refused"],
        mae_months=group["mae_months"],
        rmse_months=group["rmse_months"],
        interval_coverage=group["interval_coverage"],
        seconds_an_image=round((seconds - start_seconds) / max(1, count - 1), 3),
        start_seconds=round(start_seconds, 2),
        peak_rss_mb=round(peak),
        weights_mb=round(weights_mb(recipe), 1),
    )


def to_markdown(found: list[Measured], command: str) -> str:
    """The table with the papers' figures beside ours."""
    rows = []
    for one in found:
        recipe, paper = RECIPES[one.recipe], PAPERS.get(one.recipe)
        trained = " ".join(recipe.notes) or "see the model card"
        rows.append(
            [recipe.title, f"**{one.mae_months:.2f}**", f"{one.rmse_months:.2f}", f"{one.n_refused}/{one.n}",
             f"{one.seconds_an_image:.2f}", f"{one.peak_rss_mb:.0f}", f"{paper.mae_months:g}" if paper else "–",
             paper.data if paper else "in no paper", trained]
        )  # fmt: skip
    return (
        f"Made by `{command}`; recipes that it does not name are of an earlier run. Months, "
        f"{found[0].n} sharp radiographs, labels of few readers. {DISCLAIMER}\n\n"
        + markdown_table(HEADERS, rows)
        + "\n"
    )


def main() -> None:
    """Measure every recipe, write systems.json and systems.md."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.systems", description=__doc__)
    line.add_argument("--images", type=Path, required=True, help="sharp radiographs named by rsna_id")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--split", default="test", choices=("val", "test"))
    line.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    line.add_argument("--out", type=Path, required=True)
    options = line.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "systems.json"
    found = {row["recipe"]: Measured(**row) for row in json.loads(kept.read_text())} if kept.exists() else {}
    with tempfile.TemporaryDirectory() as work:
        table = Path(work) / f"{options.split}.csv"
        count = write_split(options.labels, options.images, options.split, table)
        for recipe in options.recipes:
            found[recipe] = measure(recipe, table, count, options.images, options.labels, Path(work))
            print(json.dumps(asdict(found[recipe])), flush=True)
    command = f"python -m benchmarks.systems {shlex.join(sys.argv[1:])}"
    rows = [found[recipe] for recipe in RECIPES if recipe in found]
    kept.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    (options.out / "systems.md").write_text(to_markdown(rows, command))


if __name__ == "__main__":
    main()
