"""The Batch tab in a real browser, with the shipped networks and drawn hands. Set BAA_SCREENSHOTS to keep pictures."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from baa_core.phantom import draw_phantom, to_png
from baa_core.types import DISCLAIMER
from tests.e2e.command import run
from tests.e2e.served_page import Served, keep, open_page, rest, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHILDREN = {"a.png": ("F", 96), "b.png": ("male", 132), "c.png": ("M", 156), "d.png": ("female", 60)}
TABLE = "\ufefffile;Sex;bone_age_months;note\r\n" + "".join(
    f"{name};{sex};{months},5;carried\r\n" for name, (sex, months) in CHILDREN.items()
)
ROWS = "#baa-batch-table tbody tr"
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def hands() -> dict[str, bytes]:
    """Four drawn hands and a text with a picture's name."""
    drawn = {
        name: to_png(
            draw_phantom(months, "female" if sex[0] in "Ff" else "male", seed=number, height_px=500).radiograph
        )
        for number, (name, (sex, months)) in enumerate(CHILDREN.items())
    }
    return drawn | {"text.png": b"not a picture"}


def zipped(files: dict[str, bytes]) -> bytes:
    """With a folder, and with what a Mac puts beside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clinic/", b"")
        for name, content in files.items():
            archive.writestr(f"clinic/{name}", content)
        archive.writestr("__MACOSX/clinic/._a.png", b"resource fork")
        archive.writestr("clinic/letter.txt", b"Dear colleague")
    return buffer.getvalue()


def bring(page: Page, element: str, *files: tuple[str, bytes]) -> None:
    """Choose files in one of the two boxes."""
    page.locator(f"{element} input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files]
    )


def without_seconds(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def downloaded(page: Page) -> str:
    with page.expect_download() as started:
        page.locator("#baa-batch-csv").click()
    assert started.value.suggested_filename == "bone-age-results.csv"
    return Path(started.value.path()).read_text(encoding="utf-8")


@pytest.fixture
def batch(page: Page) -> Page:
    """The Batch tab without files."""
    page.get_by_role("tab", name="Batch").click()
    page.locator("#baa-batch-go").wait_for()
    if page.locator(ROWS).count():
        page.locator("#baa-batch-clear").click()
        expect(page.locator("#baa-batch-card")).to_contain_text("The batch will appear here")
    return page


def test_a_zip_and_a_table_give_the_command_lines_numbers_through_cancel_and_go_on(
    batch: Page, hands: dict[str, bytes], served: Served, tmp_path: Path
) -> None:
    bring(batch, "#baa-batch-files", ("clinic.zip", zipped(hands)))
    expect(batch.locator(ROWS)).to_have_count(5)
    expect(batch.locator("#baa-batch-card")).to_contain_text("clinic/letter.txt")
    table = TABLE + "text.png;F;100;\r\n"
    bring(batch, "#baa-batch-csv-file", ("sexes.csv", table.encode()))
    expect(batch.locator("#baa-batch-card")).to_contain_text("Read from sexes.csv: 5 rows: 3 female, 2 male")
    expect(batch.locator("#baa-batch-go")).to_have_text("Assess all 5")
    keep(batch, "batch_ready_1280")
    batch.locator("#baa-batch-go").click()
    batch.locator(f"{ROWS}[data-baa-status=ok]").first.wait_for()
    batch.locator("#baa-batch-cancel").click()
    expect(batch.locator("#baa-batch-card .baa-eyebrow")).to_have_text("Paused")
    settle(batch)  # one that was past its last stage may still come
    kept = batch.locator(f"{ROWS}[data-baa-status=ok]").count()
    assert 1 <= kept < 4, "it was cancelled while it worked"
    batch.wait_for_timeout(1000)
    expect(batch.locator(f"{ROWS}[data-baa-status=ok]")).to_have_count(kept)
    part = without_seconds(downloaded(batch))
    assert len(part) == kept
    keep(batch, "batch_paused_1280")
    batch.locator("#baa-batch-go").click()
    expect(batch.locator("#baa-batch-card .baa-eyebrow")).to_have_text("Finished")
    expect(batch.locator(f"{ROWS}[data-baa-status=ok]")).to_have_count(4)
    expect(batch.locator(f"{ROWS}[data-baa-status=refused]")).to_have_count(1)
    expect(batch.locator(f"{ROWS} img")).to_have_count(4)
    keep(batch, "batch_done_1280")

    mine = without_seconds(downloaded(batch))
    assert mine[:kept] == part, "nothing is done twice"
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in hands.items():
        (folder / name).write_bytes(content)
    (tmp_path / "sexes.csv").write_text(table, encoding="utf-8", newline="")
    out = tmp_path / "results.csv"
    assert run("batch", tmp_path / "sexes.csv", "--images", folder, "--out", out).status == 2
    assert mine == without_seconds(out.read_text(encoding="utf-8"))

    labels = tmp_path / "labels.csv"
    labels.write_text(table, encoding="utf-8", newline="")
    assert run("evaluate", out, "--labels", labels, "--out", tmp_path / "figures").status == 0
    group = json.loads((tmp_path / "figures" / "evaluation.json").read_text())["groups"]["all"]
    figures = batch.locator("#baa-batch-figures")
    expect(figures).to_contain_text("Mean absolute error")
    shown = [float(number) for number in re.findall(r"\d+\.\d\d", figures.inner_text())[:3]]
    assert shown == pytest.approx([group["mae_months"], *group["mae_interval_months"]], abs=0.011)
    expect(figures).to_contain_text("5 radiographs")
    expect(figures).to_contain_text(DISCLAIMER)

    batch.set_viewport_size({"width": 390, "height": 844})
    rest(batch)
    keep(batch, "batch_done_390")
    assert batch.evaluate(WIDTH) <= 390
    assert served.files_left() == []


def test_a_table_without_sex_loses_nothing_and_files_go_on_with_one_sex(batch: Page, hands: dict[str, bytes]) -> None:
    bring(batch, "#baa-batch-files", ("a.png", hands["a.png"]), ("again.png", hands["a.png"]), ("x.pdf", b"%PDF-1.7"))
    expect(batch.locator(ROWS)).to_have_count(2)
    expect(batch.locator("#baa-batch-card")).to_contain_text("x.pdf is no radiograph, zip or CSV")
    expect(batch.locator("#baa-batch-card")).to_contain_text("holds the same picture as a.png")
    bring(batch, "#baa-batch-csv-file", ("ages.csv", b"file,age\na.png,10\n"))
    expect(batch.locator("#baa-batch-card")).to_contain_text("ages.csv lacks the column sex")
    expect(batch.locator(ROWS)).to_have_count(2)
    batch.locator("#baa-batch-sex").get_by_role("radio", name="Female", exact=True).check()
    batch.locator("#baa-batch-go").click()
    expect(batch.locator("#baa-batch-card .baa-eyebrow")).to_have_text("Finished")
    rows = without_seconds(downloaded(batch))
    assert [row["sex_entered"] for row in rows] == ["female", "female"]
    assert rows[0]["bone_age_months"] == rows[1]["bone_age_months"]
    batch.locator("#baa-batch-clear").click()
    expect(batch.locator("#baa-batch-card")).to_contain_text("The batch will appear here")


def test_another_visitor_is_answered_while_a_batch_runs(
    batch: Page, hands: dict[str, bytes], served: Served, visitor: BrowserContext
) -> None:
    pictures = {f"{n}{name}": content for n in range(3) for name, content in hands.items()}
    bring(batch, "#baa-batch-files", ("many.zip", zipped(pictures)))
    expect(batch.locator(ROWS)).to_have_count(15)
    batch.locator("#baa-batch-go").click()
    batch.locator(f"{ROWS}[data-baa-status=ok]").first.wait_for()
    other = open_page(visitor, served.url)
    other.locator("button.baa-example, .baa-example-row button").first.click()
    other.locator("#baa-card .baa-result").wait_for()
    expect(batch.locator("#baa-batch-card .baa-eyebrow")).to_have_text("Working")
    other.close()
    batch.locator("#baa-batch-cancel").click()
    expect(batch.locator("#baa-batch-card .baa-eyebrow")).to_have_text("Paused")
