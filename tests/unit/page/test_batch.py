"""The Batch tab: what one visitor brings, cancels and goes on with, in memory alone."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import app  # noqa: F401 first: it tells Gradio where to keep its files
from baa_core.errors import SeveralHands, WeightsMissing
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import Caution, Patient, Report
from baa_core.workflows.assess import Assessor
from page import batch_work
from page.batch_tab import BatchHandlers
from page.uploads import UploadFolder, take_uploads

HERE, THERE = SimpleNamespace(session_hash="here"), SimpleNamespace(session_hash="there")
HANDS = {f"{n}.png": to_png(draw_phantom(60.0 * (n + 1), "female", seed=n, height_px=200).radiograph) for n in range(3)}
TABLE = b"file,sex,bone_age_months\n" + b"".join(f"{name},F,{60 + n}\n".encode() for n, name in enumerate(HANDS))
SHOWN = ("card", "table", "feed", "figures", "go", "signal")


class Counting:
    """Stands behind the tab: the tiny assessor, counting, with something to happen in between."""

    def __init__(self, assessor: Assessor, between: Callable[[], None] = lambda: None) -> None:
        self.assessor, self.between, self.asked = assessor, between, []  # type: ignore[var-annotated]
        self.pair = ""  # the file that shows two hands

    def assess(self, source: bytes, patient: Patient, *, name: str, on_stage: Any, hand: Any = None) -> Report:
        self.asked.append(name)
        self.between()
        if name == self.pair and hand is None:
            raise SeveralHands("2 hands were found.")
        report = self.assessor.assess(source, patient, name=name, on_stage=on_stage)
        said = (Caution("one_of_several_hands", f"Of the {hand} one."),) if name == self.pair else ()
        return replace(report, cautions=(*report.cautions, *said))


@pytest.fixture
def folder(tmp_path: Path) -> UploadFolder:
    return UploadFolder(tmp_path)


@pytest.fixture
def counting(tiny_assessor: Assessor) -> Counting:
    return Counting(tiny_assessor)


@pytest.fixture
def do(counting: Counting, folder: UploadFolder) -> BatchHandlers:
    return BatchHandlers(counting, folder)  # type: ignore[arg-type]


def upload(folder: UploadFolder, files: dict[str, bytes]) -> list[str]:
    """Files as one request of Gradio's brings them: beside each other, each in a folder by its content."""
    paths = []
    with folder.one() as top:
        for number, (name, content) in enumerate(files.items()):
            place = top / str(number)
            place.mkdir(parents=True)
            (place / name).write_bytes(content)
            paths.append(str(place / name))
    return paths


def shown(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(SHOWN, values, strict=False))


def bring(do: BatchHandlers, files: dict[str, bytes], who: Any = HERE) -> dict[str, Any]:
    return shown(do.take(upload(do.uploads, files), who))


def walk(do: BatchHandlers, turns: int = 99, who: Any = HERE) -> dict[str, Any]:
    """Turns, as the page's script asks for them."""
    last = shown(do.begin(who))
    while last["signal"].startswith("on") and turns:
        last, turns = shown(do.one(who)), turns - 1
    return last


def test_several_files_of_one_request_are_all_read_and_none_stays(folder: UploadFolder) -> None:
    paths = upload(folder, HANDS)
    assert take_uploads(paths, folder) == list(HANDS.items())
    assert not [path for path in folder.root.rglob("*") if path.is_file()]


def test_a_batch_is_cancelled_and_goes_on_without_doing_anything_twice(do: BatchHandlers, counting: Counting) -> None:
    bring(do, HANDS | {"sexes.csv": TABLE})
    walk(do, turns=1)
    paused = shown(do.pause(HERE))
    assert "Paused" in paused["card"]
    assert "1 of 3 done" in paused["card"]
    assert "baa-batch-csv" in paused["card"]
    assert shown(do.one(HERE))["signal"].startswith("off"), "a turn that was on its way does nothing"
    assert counting.asked == ["0.png"]
    done = walk(do)
    assert counting.asked == list(HANDS)
    assert "Finished" in done["card"]
    assert done["table"].count('data-baa-status="ok"') == 3
    assert done["table"].count("data:image/jpeg") == 3
    assert "Comparison with the references" in done["figures"]


def test_a_radiograph_under_way_when_cancelled_waits_again(do: BatchHandlers, counting: Counting) -> None:
    bring(do, HANDS)
    do.begin(HERE)

    def cancel() -> None:
        do.pause(HERE)

    counting.between = cancel
    stopped = shown(do.one(HERE))
    assert "0 of 3 done" in stopped["card"]
    assert stopped["signal"].startswith("off")
    counting.between = lambda: None
    walk(do)
    assert counting.asked == ["0.png", *HANDS]


def test_a_corrected_table_repeats_only_what_it_changes(do: BatchHandlers, counting: Counting) -> None:
    bring(do, HANDS | {"sexes.csv": TABLE})
    walk(do)
    again = bring(do, {"sexes.csv": TABLE.replace(b"1.png,F", b"1.png,M")})
    assert "2 of 3 done" in again["card"]
    assert again["go"]["value"] == "Go on: 1 left"
    walk(do)
    assert counting.asked == [*HANDS, "1.png"]


def test_a_table_without_sex_is_refused_and_what_was_there_stays(do: BatchHandlers) -> None:
    bring(do, HANDS | {"sexes.csv": TABLE})
    refused = shown(do.take_table(upload(do.uploads, {"ages.csv": b"file,age\n0.png,3\n"})[0], HERE))
    assert "ages.csv lacks the column sex" in refused["card"]
    assert "Read from sexes.csv: 3 rows" in refused["card"]
    assert refused["table"].count("<tr data-baa-row") == 3


def test_a_bomb_beside_good_files_is_named_and_the_rest_goes_on(do: BatchHandlers) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", bytes(2**25))
    told = bring(do, HANDS | {"bomb.zip": buffer.getvalue(), "letter.pdf": b"%PDF"})
    assert "bomb.zip holds a file that unpacks to over" in told["card"]
    assert "letter.pdf is no radiograph, zip or CSV" in told["card"]
    assert told["table"].count("<tr data-baa-row") == 3


def test_what_is_there_already_is_taken_once(do: BatchHandlers) -> None:
    bring(do, HANDS)
    told = bring(do, {"0.png": HANDS["0.png"], "1.png": HANDS["2.png"], "3.png": HANDS["0.png"]})
    assert "because it was there already: 0.png" in told["card"]
    assert "1.png is there already with other content" in told["card"]
    assert "3.png holds the same picture as 0.png" in told["card"]
    assert told["table"].count("<tr data-baa-row") == 4


def test_memory_has_a_limit_for_one_and_for_all(do: BatchHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(HANDS["0.png"])
    monkeypatch.setattr(batch_work, "MOST_BYTES_OF_ALL", size + 10)
    bring(do, {"0.png": HANDS["0.png"]})
    told = bring(do, {"1.png": HANDS["1.png"]}, THERE)
    assert "no room for it in memory" in told["card"]
    do.left(HERE)
    told = bring(do, {"0.png": HANDS["0.png"]}, THERE)
    assert "no room" not in told["card"]


def test_visitors_do_not_see_each_other_and_a_visitor_who_leaves_is_forgotten(do: BatchHandlers) -> None:
    bring(do, HANDS)
    assert "0.png" not in shown(do.begin(THERE))["table"]
    do.left(HERE)
    assert "The batch will appear here" in shown(do.clear(HERE))["card"]


def test_an_unforeseen_fault_refuses_its_row_only(do: BatchHandlers, counting: Counting) -> None:
    def fail() -> None:
        if counting.asked[-1] == "1.png":
            raise RuntimeError("secret")

    counting.between = fail
    bring(do, HANDS)
    done = walk(do)
    assert "1 refused" in done["card"]
    assert "secret" not in done["table"]


def test_of_several_hands_one_is_chosen_and_nothing_else_is_assessed_again(
    do: BatchHandlers, counting: Counting
) -> None:
    counting.pair = "1.png"
    bring(do, HANDS)
    assert "1 refused" in walk(do)["card"]
    chosen = shown(do.choose_hand("left", HERE))
    assert "2 of 3 done" in chosen["card"] and chosen["go"]["value"] == "Go on: 1 left"
    assert "Of the left one." in walk(do)["table"]
    assert counting.asked == [*HANDS, "1.png"]
    do.choose_hand("largest", HERE)
    assert "Of the largest one." in walk(do)["table"]
    do.choose_hand("refuse", HERE)
    assert "1 refused" in walk(do)["card"]
    assert counting.asked == [*HANDS, "1.png", "1.png", "1.png"]


def test_a_result_of_the_hand_chosen_before_is_not_kept(do: BatchHandlers, counting: Counting) -> None:
    counting.pair = "0.png"
    bring(do, HANDS)

    def choose() -> None:
        counting.between = lambda: None
        do.choose_hand("right", HERE)

    counting.between = choose
    done = walk(do)
    assert "3 of 3 done" in done["card"] and "Of the right one." in done["table"]
    assert counting.asked.count("0.png") == 2


def test_missing_weights_stop_the_batch_and_lose_nothing(do: BatchHandlers, counting: Counting) -> None:
    def fail() -> None:
        if len(counting.asked) == 2:
            raise WeightsMissing("The weights are missing.")

    counting.between = fail
    bring(do, HANDS)
    stopped = walk(do)
    assert "The weights are missing." in stopped["card"]
    assert "1 of 3 done" in stopped["card"]
    counting.between = lambda: None
    assert "3 of 3 done" in walk(do)["card"]


def test_names_are_escaped(do: BatchHandlers) -> None:
    told = bring(do, {"<b>.png": HANDS["0.png"]})
    assert "<b>.png" not in told["table"]
    assert "&lt;b&gt;.png" in told["table"]
