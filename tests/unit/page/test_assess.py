"""The page's words, its guard, and what its handlers do when something breaks."""

import asyncio
import base64
import json
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from PIL import Image

import app  # first: it tells Gradio where to keep its files
from app import gr
from baa_core.errors import HandNotFound, InvalidPatient, SeveralHands, WeightsMissing
from baa_core.io import read_radiograph
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import RECIPES
from baa_core.reference import CENTRES
from baa_core.types import HandMask, ManualEdits, Patient, Radiograph
from baa_core.workflows.assess import Assessor
from page import assess_text as text
from page.entries import Asked, Entered, Upload, age_boxes, asked, entered_age_months, entered_patient
from page.html import NEUTRAL, refusal
from page.security import BUSY, Guard, is_proxy_route, judge
from page.service import Loading
from page.uploads import UploadFolder, take_upload
from tests.hostile import dicom_bytes

HERE = SimpleNamespace(session_hash="here")
UPLOADS = UploadFolder(Path("/nowhere"))


@pytest.mark.parametrize(
    ("years", "months", "expected"),
    [
        ("", "", None),
        (None, None, None),
        ("10", "", 120),
        ("", "7", 7),
        ("9", "6", 114),
        ("10,5", "", 126),
        ("", "140", 140),
        ("25", "0", 300),
        ("", "300", 300),
        ("0", "7", 7),
        ("9", "6.5", 114.5),
        (9.0, 6.0, 114),
    ],
)
def test_two_boxes_make_an_age(years: str | None, months: str | None, expected: float | None) -> None:
    assert entered_age_months(years, months) == expected


@pytest.mark.parametrize(
    ("years", "months", "said"),
    [
        ("ten", "", "is not a number"),
        ("nan", "", "is not a number"),
        ("", "nan", "is not a number"),
        ("inf", "", "is not a number"),
        ("1e1", "", "is not a number"),
        ("-1", "", "negative"),
        ("", "-3", "negative"),
        ("10", "12", "0 to 11 months"),
        ("0", "12", "0 to 11 months"),
        ("10.5", "6", "whole years"),
        ("10,5", "0", "whole years"),
        ("30", "", "30 years is not possible here. Give 0 to 25 years"),
        ("200", "", "200 years is not possible here. Give 0 to 25 years"),
        ("25", "1", "25 years and 1 months is not possible"),
        ("", "301", "301 months is not possible"),
    ],
)
def test_impossible_ages_are_refused_in_the_visitors_own_units(years: str, months: str, said: str) -> None:
    with pytest.raises(InvalidPatient, match=said):
        entered_patient("female", years, months)


def test_an_age_survives_the_boxes() -> None:
    for months in (0.0, 7.0, 12.0, 120.5, 143.9, 155.96):
        assert entered_age_months(*age_boxes(months)) == pytest.approx(months, abs=0.05)


def test_words_from_a_file_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>.png"
    for words in (refusal(evil), text.chosen(evil, "1"), Entered("1", evil, evil, "", "").mark("")):
        assert "<img" not in words


def test_an_offer_says_what_the_header_says_and_no_more() -> None:
    blank = np.zeros((4, 4), np.float32)
    assert text.offer(Radiograph(blank)) == ""
    assert "male, 10 years 1 month old" in text.offer(Radiograph(blank, sex_in_file="male", age_in_file_months=121.0))


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/gradio_api/file=http://a.b/c", True),
        ("/gradio_api/file=%48TTPS%3a//a.b", True),
        ("/gradio_api/proxy=https://a.b", True),
        ("/gradio_api/file=/tmp/bone-age-1/http.png", False),
        ("/assets/index.js", False),
    ],
)
def test_routes_that_fetch_are_known(path: str, refused: bool) -> None:
    assert is_proxy_route(path) is refused


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", None),
        (b'{"data": [{"path": "/tmp/x", "url": "http://here/file=/tmp/x"}]}', None),
        (b'{"data": [[{"path": "\\u0068ttp://a.b"}]]}', 403),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'"' + b"x" * 1_100_000 + b'"', 413),
    ],
)
def test_events_are_judged(content: bytes, status: int | None) -> None:
    verdict = judge(content)
    assert (verdict and verdict[0]) == status


def test_the_guard_passes_an_event_on_unchanged_with_safe_headers() -> None:
    sent, got = [], []
    event = json.dumps({"data": ["female"]}).encode()
    parts = [
        {"type": "http.request", "body": event[:5], "more_body": True},
        {"type": "http.request", "body": event[5:], "more_body": False},
    ]

    async def behind(scope, receive, send):  # type: ignore[no-untyped-def]
        got.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():  # type: ignore[no-untyped-def]
        return parts.pop(0)

    async def send(message):  # type: ignore[no-untyped-def]
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(Guard(behind, UploadFolder(Path("/nowhere")))(scope, receive, send))
    assert got[0]["body"] == event
    names = {name for name, _ in sent[0]["headers"]}
    assert names == {b"x-content-type-options", b"referrer-policy", b"content-security-policy"}


class Breaking:
    """An assessor that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def assess(self, source: bytes, patient: Patient, **options: object) -> None:
        """Fail as told."""
        raise self.error


def pressed_assess(error: Exception) -> str:
    """The card that a visitor gets when assessing fails."""
    chosen = Upload("hand.png", b"")
    do = app.Handlers(Breaking(error), UPLOADS)  # type: ignore[arg-type]
    return do.assess(chosen, "female", "", "", "", "brush-age", "", HERE)[0]  # type: ignore[arg-type]


def test_a_refusal_is_shown_as_it_is() -> None:
    assert "No hand was found &amp; so on" in pressed_assess(HandNotFound("No hand was found & so on"))


def test_an_unforeseen_error_shows_one_neutral_line_and_logs_no_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        card = pressed_assess(RuntimeError("/tmp/secret Jane Doe"))
    assert NEUTRAL in card
    assert "Jane" not in card + caplog.text
    assert "RuntimeError" in caplog.text
    assert "in assess" in caplog.text


def test_equal_uploads_of_two_visitors_are_two_files(tmp_path: Path) -> None:
    uploads, paths = UploadFolder(tmp_path), []
    for _ in range(2):
        with uploads.one() as folder:
            assert Path(uploads) == folder
            path = Path(uploads) / "the hash of the content" / "hand.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"pixels")
            paths.append(path)
    assert take_upload(str(paths[0]), uploads) == ("hand.png", b"pixels")
    assert not paths[0].exists()
    assert take_upload(str(paths[1]), uploads) == ("hand.png", b"pixels")
    assert list(tmp_path.iterdir()) == []


def test_an_upload_begins_while_another_is_read_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def deleted_just_before(path: object = ".") -> object:
        if Path(str(path)).name.startswith("upload-"):
            shutil.rmtree(str(path))
        return scan(path)

    uploads = UploadFolder(tmp_path)
    (tmp_path / "upload-other").mkdir()
    monkeypatch.setattr(os, "scandir", deleted_just_before)
    with uploads.one(1) as folder:
        assert folder is not None


def test_reading_one_upload_leaves_those_under_way_alone(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    (tmp_path / "tmpstray").touch()
    with uploads.one() as arriving:
        arriving.mkdir()
        (arriving / "tmpabc").touch()  # Gradio's name for an upload of which no byte has come
        with uploads.one() as other:
            other.mkdir()
            (other / "hand.png").write_bytes(b"pixels")
        take_upload(str(other / "hand.png"), uploads)
        assert [path.name for path in arriving.iterdir()] == ["tmpabc"]
        assert not (tmp_path / "tmpstray").exists()


def test_nothing_outside_the_private_folder_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    outside = tmp_path / "hand.png"
    outside.write_bytes(b"pixels")
    take_upload(str(outside), UploadFolder(tmp_path / "private"))
    assert outside.exists()


def through_the_guard(path: str, status: int, answer: bytes) -> list[dict]:
    """What a caller gets through the guard when the application behind it answers so."""
    sent: list[dict] = []

    async def behind(scope, receive, send):  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": answer})

    async def receive():  # type: ignore[no-untyped-def]
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):  # type: ignore[no-untyped-def]
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(Guard(behind, UploadFolder(Path("/nowhere")))(scope, receive, send))
    return sent


def test_a_full_queue_says_busy() -> None:
    for path in ("/gradio_api/queue/join", "/gradio_api/call/assess"):
        start, body = through_the_guard(path, 503, b'{"detail": "Queue is full. Max size is 16 and size is 16."}')
        assert json.loads(body["body"]) == {"detail": BUSY}
        assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
        assert through_the_guard(path, 200, b"its own")[1]["body"] == b"its own"


def test_a_failed_upload_leaves_nothing(tmp_path: Path) -> None:
    for status, left in ((413, 0), (200, 1)):
        uploads = UploadFolder(tmp_path / str(status))
        uploads.root.mkdir()

        async def behind(scope, receive, send, uploads=uploads, status=status):  # type: ignore[no-untyped-def]
            Path(uploads).mkdir()
            (Path(uploads) / "tmpabc").write_bytes(b"half")
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps([str(Path(uploads) / "tmpabc")]).encode()})

        async def nothing(*_):  # type: ignore[no-untyped-def]
            return {}

        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
        asyncio.run(Guard(behind, uploads)(scope, nothing, nothing))
        assert len(list(uploads.root.iterdir())) == left


CHILD = Upload("A. jpg", to_png(draw_phantom(114.0, "male", seed=1, height_px=500).radiograph), file="1")


class Estimates:
    """Stands behind the page: the tiny system, and a moment for a test between two stages."""

    def __init__(self, assessor: Assessor, between=lambda stage: None) -> None:  # type: ignore[no-untyped-def]
        self.assessor, self.between = assessor, between

    def assess(self, source: bytes, patient: Patient, *, on_stage=str, **options):  # type: ignore[no-untyped-def]
        """Assess, telling both."""

        def tell(stage: str) -> None:
            on_stage(stage)
            self.between(stage)

        return self.assessor.assess(source, patient, on_stage=tell, **options)


def assessed(do: app.Handlers, token: str = "1,1000", chosen: Upload | None = CHILD) -> tuple[object, ...]:
    """What the result area is told after Assess was pressed for a boy of 9 years 6 months."""
    ask = (chosen, "male", "9", "6", "", "brush-age", token, HERE, lambda *_, **__: None)
    return do.assess(*ask)  # type: ignore[arg-type]


@pytest.fixture
def listed(tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch) -> Assessor:
    """The tiny system, with its recipe among those that the page knows."""
    monkeypatch.setitem(RECIPES, "tiny", tiny_assessor.recipe)
    return tiny_assessor


def filled(values: tuple[object, ...]) -> dict[str, object]:
    """What the result area is told, by name."""
    names = ("card", "hands", "details", "menu", "sr", "sc", "stage", "chart", "interval", "around", "halves")
    return dict(zip((*names, "members", "how", "words", "kept", "edits", "not_edited"), values, strict=True))


def test_card_stage_and_reports_name_file_sex_and_age(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    told = filled(assessed(do))
    for part in ("card", "stage"):
        assert 'data-baa-file="1" data-baa-sex="male" data-baa-years="9" data-baa-months="6"' in str(told[part])
        assert "A. jpg; sex entered: male; age entered: 9 years 6 months" in str(told[part])
    held = json.loads(unescape(str(told["stage"]).split('data-baa-viewer="')[1].split('"')[0]))
    assert held["file"] == "A_male_114-months_bone-age.png"
    assert (held["height"], held["width"]) == read_radiograph(CHILD.content).shape
    png = base64.b64decode(str(told["stage"]).split("base64,")[1].split('"')[0])
    with Image.open(BytesIO(png)) as read:
        assert read.text["Description"] == "A. jpg; sex entered: male; age entered: 9 years 6 months"
        assert read.size == (held["width"], held["height"])
    packed, wrong = do.report("json", told["kept"], CHILD, "brush-mean", "")  # type: ignore[arg-type]
    assert wrong == ""
    file = json.loads(packed)
    assert (file["name"], file["type"]) == ("bone-age-report.json", "application/json")
    result = json.loads(base64.b64decode(file["data"]))
    assert (result["file"], result["sex_used"], result["chronological_age_months"]) == ("A. jpg", "male", 114.0)
    assert result["growth"]["convention"] == "brush-mean"


@pytest.mark.parametrize("form", ["text", "pdf", "fhir"])
def test_a_report_from_the_page_is_that_of_the_library(listed: Assessor, form: str) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    kept = filled(assessed(do))["kept"]
    packed, wrong = do.report(form, kept, CHILD, "brush-age", "8y: 8y 2m")  # type: ignore[arg-type]
    made = base64.b64decode(json.loads(packed)["data"])
    assert wrong == ""
    assert made.startswith(b"%PDF") if form == "pdf" else b"Ohio" in made
    assert b"8 years 2 months" in made or form != "text"


UIDS = {"StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.2"}


def test_dicom_reports_are_offered_for_dicom_files_only(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    assert filled(assessed(do))["sr"]["visible"] is False  # type: ignore[index]
    pixels = (read_radiograph(CHILD.content).pixels * 4095).astype(np.uint16)
    file = CHILD._replace(name="IM1", content=dicom_bytes(pixels, **UIDS), file="2")
    told = filled(assessed(do, "2,1000", file))
    assert told["sr"]["visible"] is told["sc"]["visible"] is True  # type: ignore[index]
    for form, kind in {"sr": "ComprehensiveSRStorage", "sc": "SecondaryCaptureImageStorage"}.items():
        packed, wrong = do.report(form, told["kept"], file, "brush-age", "")  # type: ignore[arg-type]
        assert wrong == ""
        assert pydicom.dcmread(BytesIO(base64.b64decode(json.loads(packed)["data"]))).SOPClassUID.keyword == kind


def test_no_report_of_one_file_is_made_under_another(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    kept = filled(assessed(do))["kept"]
    packed, wrong = do.report("json", kept, CHILD._replace(file="2"), "brush-age", "")  # type: ignore[arg-type]
    assert packed == ""
    assert "no longer" in wrong
    assert all(value == gr.skip() for value in do.put_in_context(kept, CHILD._replace(file="2"), "brush-age", ""))  # type: ignore[arg-type]


def test_convention_and_earlier_assessments_change_score_and_velocity_without_a_network(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    kept = filled(assessed(do))["kept"]
    cards = [do.put_in_context(kept, CHILD, convention, "7y: 7y")[0] for convention in ("brush-age", "brush-mean")]  # type: ignore[arg-type]
    assert cards[0] != cards[1]
    for card, convention in zip(cards, ("brush-age", "brush-mean"), strict=True):
        assert f"about {CENTRES[convention]}" in str(card)
        assert convention not in str(card), "people read its title, not its identifier"
        assert "children of Ohio, 1930s" in str(card)
    _, chart, around, words = do.put_in_context(kept, CHILD, "brush-age", "7y: 7y")  # type: ignore[arg-type]
    assert "months a year over the last 30 months" in around
    assert "Earlier, at 7 years" in words
    assert [list(trace.x) for trace in chart["value"].data if trace.name == "earlier"] == [[7.0]]
    _, _, around, _ = do.put_in_context(kept, CHILD, "brush-age", "at seven")  # type: ignore[arg-type]
    assert "cannot be read" in around


def edit(do: app.Handlers, what: str, chosen: Upload | None, box: tuple[str, ...] = ("",) * 4) -> tuple[object, ...]:
    """What a button that changes the picture by hand tells the page: picture, token, ready line, then the results."""
    return do.edit(what, chosen, None, *box, "1,2000", HERE)  # type: ignore[arg-type]


def test_a_picture_changed_by_hand_is_like_another_picture_and_every_part_says_what_was_done(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    height, width = read_radiograph(CHILD.content).shape
    chosen, file, ready, *told = edit(do, "crop", CHILD, ("10", "5", str(width), str(height - 5)))
    assert isinstance(chosen, Upload) and chosen.file == file != CHILD.file
    said = f"cropped to columns 10 to {width} and rows 5 to {height - 5} of the file"
    assert said in str(ready) and f"{said}; not assessed" in str(filled(tuple(told))["stage"])
    assert filled(tuple(told))["kept"] is None
    result = filled(assessed(do, f"{file},3000", chosen))
    for part in ("card", "stage", "words"):
        assert said in " ".join(str(result[part]).split()), part
    held = json.loads(unescape(str(result["stage"]).split('data-baa-viewer="')[1].split('"')[0]))
    assert (held["height"], held["width"]) == (height - 10, width - 10)
    assert held["file"] == "A_edited_male_114-months_bone-age.png"
    packed, wrong = do.report("json", result["kept"], chosen, "brush-age", "")  # type: ignore[arg-type]
    report = json.loads(base64.b64decode(json.loads(packed)["data"]))
    assert wrong == "" and report["manual_edits"]["crop"] == [10, 5, width, height - 5]


def test_a_second_crop_is_meant_for_what_is_seen_and_undo_brings_the_file_back(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    height, width = read_radiograph(CHILD.content).shape
    chosen = edit(do, "mirror", edit(do, "turn", CHILD)[0])[0]  # type: ignore[arg-type]
    assert chosen.edits == ManualEdits(quarter_turns=1, mirrored=True)
    chosen = edit(do, "crop", chosen, ("0", "0", "150", "200"))[0]
    assert chosen.read().shape == (200, 150)
    seen = np.rot90(read_radiograph(CHILD.content).pixels, -1)[:, ::-1][:200, :150]
    assert np.corrcoef(chosen.read().pixels.ravel(), seen.ravel())[0, 1] > 0.9999
    chosen = edit(do, "invert", chosen)[0]
    assert chosen.edits.inverted is True
    chosen = edit(do, "invert", chosen)[0]
    assert chosen.edits.inverted is False
    chosen = edit(do, "reset", chosen)[0]
    assert not chosen.edits and chosen.read().shape == (height, width)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (("", "", "", ""), "no edges yet"),
        (("1", "2", "x", "4"), "no edges yet"),
        (("5", "5", "5", "300"), "holds no picture"),
        (("0", "0", "99999", "300"), "inside the picture"),
        (("0", "0", "300", "20"), "too small"),
    ],
)
def test_an_impossible_crop_says_why_and_changes_nothing(listed: Assessor, box: tuple[str, ...], said: str) -> None:
    *told, wrong = edit(app.Handlers(Estimates(listed), UPLOADS), "crop", CHILD, box)  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in told)
    assert said in str(wrong) and "Not changed" in str(wrong)


def test_a_refusal_offers_to_change_the_picture_by_hand_where_that_may_help() -> None:
    def told(error: Exception) -> dict[str, object]:
        do = app.Handlers(Breaking(error), UPLOADS)  # type: ignore[arg-type]
        return filled(do.assess(Upload("hand.png", b""), "female", "", "", "", "brush-age", "", HERE))  # type: ignore[arg-type]

    offered = told(HandNotFound("No hand was found"))
    assert "Change it by hand below" in str(offered["card"])
    assert (offered["edits"]["visible"], offered["edits"]["open"]) == (True, True)  # type: ignore[index]
    assert "by hand" not in str(told(WeightsMissing("No weights"))["card"])


def test_a_change_of_the_entries_stops_a_run_and_shows_nothing_of_it(listed: Assessor) -> None:
    stages: list[str] = []
    do = app.Handlers(Estimates(listed, lambda stage: (stages.append(stage), do.change("1,2000", HERE))), UPLOADS)  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in assessed(do))
    assert len(stages) == 1, "it ended before its next stage"


def test_a_run_that_waited_while_the_entries_changed_never_begins(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed, lambda stage: pytest.fail("a network ran")), UPLOADS)  # type: ignore[arg-type]
    do.change("1,2000", HERE)
    assert all(value == gr.skip() for value in assessed(do, "1,1000"))


def test_a_late_word_of_an_older_change_does_not_stop_a_newer_run(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed, lambda stage: do.change("1,2000", HERE)), UPLOADS)  # type: ignore[arg-type]
    assert "data-baa-file" in str(assessed(do, "1,3000")[0])


def test_a_press_for_one_picture_never_assesses_another(listed: Assessor) -> None:
    do = app.Handlers(Estimates(listed, lambda stage: pytest.fail("a network ran")), UPLOADS)  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in assessed(do, "another,1000"))


def test_a_press_whose_picture_was_cleared_meanwhile_shows_nothing(listed: Assessor) -> None:
    """Cleared while an answer to another visitor came first: it is no press without a picture."""
    do = app.Handlers(Estimates(listed), UPLOADS)  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in assessed(do, "1,1000", chosen=None))
    assert "No radiograph has been chosen" in str(assessed(do, ",1000", chosen=None)[0])


def test_a_new_file_empties_sex_age_and_earlier_assessments(tmp_path: Path) -> None:
    do = app.Handlers(Estimates(None), UploadFolder(tmp_path))  # type: ignore[arg-type]
    for number, (token, emptied) in enumerate(
        {"1,1000": (None, "", "", ""), "1,1000,emptied": (gr.skip(),) * 4}.items()
    ):
        file = tmp_path / str(number) / "hand.png"
        file.parent.mkdir()
        file.write_bytes(CHILD.content)
        assert do.take(str(file), token, HERE)[5:9] == emptied  # type: ignore[arg-type]
    assert do.clear("1,1000", HERE)[5:9] == (None, "", "", "")  # type: ignore[arg-type]


def test_what_the_browser_says_is_read() -> None:
    assert asked("abc,12.5,emptied") == Asked("abc", 12.5, True)
    for said in ("", None, "abc", "abc,soon"):
        assert asked(said).file is None
        assert asked(said).is_of(CHILD)


def test_a_failed_load_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def load(recipe: str) -> object:
        tries.append(recipe)
        if len(tries) < 3:
            raise WeightsMissing("not there yet")
        return SimpleNamespace(assess=lambda source, patient: "a report")

    monkeypatch.setattr(Loading, "_load", staticmethod(load))
    loading = Loading("any")
    while len(tries) < 2:
        with pytest.raises(WeightsMissing):
            loading.assess(b"", Patient())
    assert loading.assess(b"", Patient()) == "a report"


def test_networks_run_one_at_a_time_whichever_way_a_call_came(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = [0], [0]

    def work(*_: object, **__: object) -> str:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        under_way[0] -= 1
        return "done"

    monkeypatch.setattr(Loading, "_load", staticmethod(lambda recipe: SimpleNamespace(assess=work)))
    monkeypatch.setattr("baa_core.workflows.explain.explain_estimate", work)
    monkeypatch.setattr("baa_core.workflows.compare.compare", lambda *_, **__: (work() for _ in range(3)))
    loading = Loading("any")
    calls = [
        lambda: loading.assess(b"", Patient()),
        lambda: loading.explain_estimate(b"", Patient(), "both_ways"),
        lambda: list(loading.compare(b"", Patient())),
    ]
    with ThreadPoolExecutor(max_workers=16) as many:
        for done in [many.submit(calls[number % 3]) for number in range(16)]:
            done.result()
    assert most == [1]


def test_the_example_of_a_first_visit_is_marked_as_drawn_and_made_once(listed: Assessor) -> None:
    times: list[str] = []
    do = app.Handlers(Estimates(listed, times.append), UPLOADS)  # type: ignore[arg-type]
    stage, card = do.welcome()
    stages = len(times)
    assert "not a patient" in stage
    assert "drawn, not a patient" in card
    assert "baa-result" not in card, "it is no result of what is entered"
    assert do.welcome() == (stage, card)
    assert len(times) == stages
    assert app.Handlers(Breaking(WeightsMissing("none")), UPLOADS).welcome() == ("", "")  # type: ignore[arg-type]


def test_every_event_that_runs_networks_waits_in_one_queue() -> None:

    async def built() -> gr.Blocks:  # Gradio wants a loop, and would open one that nobody closes
        return app.build_app(Estimates(None))  # type: ignore[arg-type]

    page = asyncio.run(built())
    handlers = {"assess", "answer", "welcome", "explain", "compare"}
    behind = ("Handlers", "ExplainHandlers", "CompareHandlers")  # others answer without networks
    found = [
        event
        for event in page.fns.values()
        if type(getattr(event.fn, "__self__", None)).__name__ in behind and event.fn.__name__ in handlers
    ]
    assert {event.fn.__name__ for event in found} == handlers
    assert {(event.concurrency_id, event.concurrency_limit) for event in found} == {("networks", 1)}
    assert not page.api_open, "a direct call would pass the queue"


class TwoHands:
    """Stands behind the page: a picture of two hands, of which the tiny system can read the one that is chosen."""

    def __init__(self, assessor: Assessor) -> None:
        self.assessor, self.asked = assessor, []  # type: ignore[var-annotated]

    def assess(self, source: bytes, patient: Patient, *, hand: str | None = None, **options):  # type: ignore[no-untyped-def]
        """Refuse until a hand is chosen."""
        self.asked.append(hand)
        if hand is None:
            sides = np.zeros((2, *read_radiograph(source).shape), bool)
            sides[0, 100:300, 50:150] = sides[1, 100:300, 250:350] = True
            raise SeveralHands("2 hands", [HandMask(side, 1.0, 0.0, inverted=False) for side in sides])
        return self.assessor.assess(source, patient, **options)


def test_of_two_hands_one_is_chosen_and_the_answer_says_which(listed: Assessor) -> None:
    behind = TwoHands(listed)
    do = app.Handlers(behind, UPLOADS)  # type: ignore[arg-type]
    told = filled(assessed(do))
    assert "Several hands were found" in str(told["card"])
    assert "data:image/png" in str(told["stage"])
    assert (told["hands"]["visible"], told["details"]["visible"]) == (True, False)  # type: ignore[index]

    chosen, token, ready, *cleared = do.choose_hand("left", CHILD, "1,2000", HERE)  # type: ignore[arg-type]
    assert "hand on the left of the picture" in ready
    assert token == chosen.file != CHILD.file, "results of the other hand do not belong to this one"
    assert filled(tuple(cleared))["card"] == text.EMPTY
    assert f'data-baa-file="{token}"' in str(filled(tuple(cleared))["stage"]), "nor does its picture"
    told = filled(assessed(do, f"{token},3000", chosen))
    assert behind.asked == [None, "left"]
    assert "A. jpg, hand on the left of the picture; sex entered: male" in str(told["card"])
    assert "A_left_male_114-months_bone-age.png" in str(told["stage"])
    assert (told["hands"]["visible"], told["details"]["visible"]) == (True, True), "the other one can be chosen next"  # type: ignore[index]
