"""Radiographs of the `val` split through the Batch tab, cancelled on the way, against the command line's numbers.

    python -m tests.e2e.batch_of_val --images data/rsna_hires data/rsna_100px --labels data/labels.csv [--count 200]

Needs the data, so it is no test of the suite. The browser uploads a zip and a table, presses Cancel when a quarter and
when half of the rows are done, goes on each time, and downloads the CSV. Then `baa_core batch` assesses the same table.
Every column but `seconds` must be the same. Prints the minutes and what differs; ends with 1 if anything does.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.command import run
from tests.e2e.served_page import chromium, open_page, serve

ROWS = "#baa-batch-table tbody tr"
STATE = "#baa-batch-card .baa-eyebrow"
PATIENCE_MS = 3_600_000


def chosen(labels: Path, folders: Sequence[Path], count: int) -> list[tuple[Path, dict[str, str]]]:
    """File and label of `count` radiographs of `val`, each from the first folder that has it."""
    found: dict[str, tuple[Path, dict[str, str]]] = {}
    with labels.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    for folder in folders:
        files = {path.stem: path for path in folder.iterdir()}
        for row in rows:
            if row["rsna_id"] in files:
                found.setdefault(row["rsna_id"], (files[row["rsna_id"]], row))
    return list(found.values())[:count]


def table_of(pictures: Sequence[tuple[Path, dict[str, str]]]) -> str:
    """The table of sexes and reference ages."""
    lines = [f"{path.name},{row['sex']},{row['bone_age_months']}\n" for path, row in pictures]
    return "file,sex,bone_age_months\n" + "".join(lines)


def results(text: str) -> Iterator[dict[str, str]]:
    """The rows of a results CSV without their seconds."""
    for row in csv.DictReader(io.StringIO(text, newline="")):
        yield {name: value for name, value in row.items() if name != "seconds"}


def downloaded(page: Page) -> str:
    """The CSV that the tab offers."""
    with page.expect_download() as started:
        page.locator("#baa-batch-csv").click()
    return Path(started.value.path()).read_text(encoding="utf-8")


def through_the_page(page: Page, archive: Path, table: Path, count: int) -> tuple[str, list[int]]:
    """The CSV at the end, and how many rows were done at each cancel."""
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.get_by_role("tab", name="Batch").click()
    page.locator("#baa-batch-files input[type=file]").set_input_files(archive)
    expect(page.locator(ROWS)).to_have_count(count)
    page.locator("#baa-batch-csv-file input[type=file]").set_input_files(table)
    expect(page.locator("#baa-batch-card")).to_contain_text(f"{count} rows")
    kept: list[int] = []
    done = f"{ROWS}:is([data-baa-status=ok], [data-baa-status=refused])"
    for share in (0.25, 0.5):
        page.locator("#baa-batch-go").click()
        page.locator(done).nth(round(share * count) - 1).wait_for(state="attached")
        page.locator("#baa-batch-cancel").click()
        expect(page.locator(STATE)).to_have_text("Paused")
        part = list(results(downloaded(page)))
        kept.append(len(part))
    page.locator("#baa-batch-go").click()
    expect(page.locator(STATE)).to_have_text("Finished")
    return downloaded(page), kept


def main() -> None:
    """Both ways over the same radiographs; print times and differences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="DIR", help="folders with radiographs")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="with rsna_id, sex, split")
    parser.add_argument("--count", type=int, default=200, help="radiographs (default: 200)")
    options = parser.parse_args()
    pictures = chosen(options.labels, options.images, options.count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, table, archive, out = (folder / part for part in ("images", "sexes.csv", "val.zip", "results.csv"))
        images.mkdir()
        table.write_text(table_of(pictures), encoding="utf-8")
        with zipfile.ZipFile(archive, "w", strict_timestamps=False) as packed:
            for path, _ in pictures:
                packed.write(path, path.name)
                (images / path.name).symlink_to(path.resolve())
        began = time.monotonic()
        with serve(folder) as served, chromium() as browser:
            page = open_page(browser, served.url)
            text, kept = through_the_page(page, archive, table, len(pictures))
            left = served.files_left()
        page_minutes = (time.monotonic() - began) / 60
        began = time.monotonic()
        status = run("batch", table, "--images", images, "--out", out).status
        command_minutes = (time.monotonic() - began) / 60
        mine, theirs = list(results(text)), list(results(out.read_text(encoding="utf-8")))
    differ = [one["file"] for one, other in zip(mine, theirs, strict=False) if one != other]
    refused = sum(row["status"] == "refused" for row in mine)
    sys.stdout.write(
        f"{len(pictures)} radiographs of val. The page: {len(mine)} rows, {refused} refused, "
        f"{page_minutes:.1f} minutes, "
        f"cancelled with {kept[0]} and {kept[1]} rows done; files left on disk: {len(left)}.\n"
        f"The command line: {len(theirs)} rows, status {status}, {command_minutes:.1f} minutes.\n"
        f"Rows that differ in any column but seconds: {len(differ)}{' ' + ', '.join(differ[:5]) if differ else ''}.\n"
    )
    raise SystemExit(bool(differ or left or len(mine) != len(theirs)))


if __name__ == "__main__":
    main()
