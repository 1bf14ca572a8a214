"""The guard at the door, what is kept of uploads and sessions: promises of docs/security.md that need no browser."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

import app
from page.batch_work import FORGET_AFTER_SECONDS, Works
from page.html import NEUTRAL
from page.security import LARGEST_JSON_BYTES, LOOPBACK, MOST_UPLOAD_BYTES, Guard, Rate, judge
from page.sessions import answers, forget_old_sessions, forget_sessions, harden_gradio, no_proxy_for
from page.uploads import MOST_BYTES, UploadFolder, make_private_folder

REPOSITORY = Path(__file__).resolve().parents[3]
JSON = b"{}"


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """The event loops that Gradio makes and does not close."""
    made: list[asyncio.AbstractEventLoop] = []
    real = asyncio.new_event_loop
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: made.append(real()) or made[-1])
    yield made
    asyncio.set_event_loop(None)
    for one in made:
        one.close()


def asked(
    path: str = "/gradio_api/queue/join",
    method: str = "POST",
    body: bytes = JSON,
    *,
    uploads: UploadFolder | None = None,
    guard: dict[str, Any] | None = None,
    answer: bytes = b"passed on",
    put: tuple[str, ...] = (),
    times: int = 1,
    status: int = 200,
    **headers: str,
) -> list[dict[str, Any]]:
    """What a caller gets through the guard: status, body, headers, and what the application behind it was given."""
    got: list[dict[str, Any]] = []
    uploads = uploads or UploadFolder(Path("/nowhere"))

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        content = b""
        while True:
            message = await receive()
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        said = answer
        if put:
            paths = [Path(uploads) / "hash" / name for name in put]
            for file in paths:
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.exists():
                    file.write_bytes(content)
            said = json.dumps([str(file) for file in paths]).encode()
        got[-1]["given"] = content
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": said})

    async def run() -> None:
        door = Guard(behind, uploads, **(guard or {}))
        for _ in range(times):
            parts = [{"type": "http.request", "body": body, "more_body": False}]
            reply: dict[str, Any] = {"given": None, "body": b""}
            got.append(reply)

            async def receive(parts: list[dict[str, Any]] = parts) -> dict[str, Any]:
                return parts.pop(0) if parts else {"type": "http.disconnect"}

            async def send(message: dict[str, Any], reply: dict[str, Any] = reply) -> None:
                if message["type"] == "http.response.start":
                    reply["status"], reply["headers"] = message["status"], dict(message["headers"])
                else:
                    reply["body"] += message.get("body", b"")

            pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
            scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": ("10.0.0.1", 1)}
            await door(scope, receive, send)

    asyncio.run(run())
    return got


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example", "host": "127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:7860"},
        {"origin": "null", "host": "127.0.0.1:7860"},
    ],
)
@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/assess", "/login"])
def test_another_website_can_send_nothing_here(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    (reply,) = asked(path, uploads=UploadFolder(tmp_path), put=("hand.png",), **headers)
    assert reply["status"] == 403
    assert reply["given"] is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"origin": "http://127.0.0.1:7860", "host": "127.0.0.1:7860"},
        {"origin": "https://bone.example", "host": "127.0.0.1:7860", "x_forwarded_host": "bone.example"},
    ],
)
def test_the_page_itself_and_programs_may(headers: dict[str, str]) -> None:
    assert asked(**headers)[0]["status"] == 200


def test_a_name_that_is_not_this_servers_is_not_answered() -> None:
    known = {"names": {*LOOPBACK, "bone.example"}}
    for host in ("127.0.0.1:7860", "localhost:7860", "[::1]:7860", "127.0.0.2", "bone.example", "Bone.Example:443"):
        assert asked("/", "GET", guard=known, host=host)[0]["status"] == 200
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "192.168.1.7", "localhost.evil", "["):
        assert asked("/", "GET", guard=known, host=host)[0]["status"] == 403
    assert asked("/", "GET", host="evil.example")[0]["status"] == 200  # on an open address any name will do


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/deep_link",
        "/gradio_api/openapi.json",
        "/openapi.json",
        "/docs",
        "/gradio_api/runs",
        "/gradio_api/run-history/records",
        "/gradio_api/vibe-code/",
        "/gradio_api/dev/reload",
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
        "/gradio_api/custom_component/a/b/c/d",
        "/monitoring",
        "/bone-age/gradio_api/deep_link",
        "/gradio_api/deep_link/gradio_api/info",
    ],
)
def test_what_the_page_does_not_need_does_not_exist(path: str) -> None:
    for method in ("GET", "POST"):
        assert asked(path, method)[0]["status"] == 404


@pytest.mark.parametrize("path", ["/gradio_api/run/login", "/gradio_api/run/upload", "/gradio_api/api/upload/"])
def test_no_name_at_a_paths_end_lets_an_event_pass_unread(tmp_path: Path, path: str) -> None:
    """Gradio takes an event under any name: by the number of its function in the body."""
    address = {"path": "http://127.0.0.1:22/", "meta": {"_type": "gradio.FileData"}}
    event = json.dumps({"fn_index": 1, "data": [address]}).encode()
    (reply,) = asked(path, body=event, uploads=UploadFolder(tmp_path))
    assert (reply["status"], reply["given"]) == (403, None)


def test_a_login_larger_than_any_is_refused(tmp_path: Path) -> None:
    (reply,) = asked("/login", body=b"username=a&password=" + b"a" * LARGEST_JSON_BYTES, uploads=UploadFolder(tmp_path))
    assert (reply["status"], reply["given"]) == (413, None)


def test_a_login_is_passed_on_as_it_came(tmp_path: Path) -> None:
    for path in ("/login", "/bone-age/login/"):
        (reply,) = asked(path, body=b"username=anna&password=upload-a", uploads=UploadFolder(tmp_path))
        assert (reply["status"], reply["given"]) == (200, b"username=anna&password=upload-a")


def test_one_client_cannot_ask_without_end_and_others_still_can() -> None:
    limited = {"rate": Rate(at_once=5, a_second=0.001)}
    statuses = [reply["status"] for reply in asked(times=7, guard=limited)]
    assert statuses == [200] * 5 + [429] * 2
    rate = Rate(at_once=1, a_second=1000.0)
    assert rate.allows("a")
    assert rate.allows("b")
    time.sleep(0.01)
    assert rate.allows("a")


def test_no_other_site_may_show_the_page_in_a_frame() -> None:
    policy = asked("/", "GET")[0]["headers"][b"content-security-policy"].decode()
    assert "frame-ancestors 'self'" in policy
    refused = asked("/gradio_api/deep_link", "GET")[0]["headers"]
    assert b"content-security-policy" in refused


def test_an_event_nested_too_deeply_is_refused_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    for depth in (60, 950, 5_000, 100_000):
        assert judge(b'{"data":' + b"[" * depth + b"]" * depth + b"}")[0] == 400
    assert caplog.text == ""
    assert judge(json.dumps({"data": [{"path": "a", "meta": {"x": [1]}}]}).encode()) is None


def test_an_upload_is_answered_without_a_path_of_this_machine(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    (reply,) = asked("/gradio_api/upload", body=b"pixels", uploads=uploads, put=("hand of a.png",))
    (name,) = json.loads(reply["body"])
    assert str(tmp_path) not in reply["body"].decode()
    assert (tmp_path / name).read_bytes() == b"pixels"
    event = json.dumps({"data": [{"path": name, "meta": {"_type": "gradio.FileData"}}, "upload-er"]}).encode()
    (reply,) = asked(body=event, uploads=uploads)
    assert json.loads(reply["given"])["data"] == [
        {"path": str(tmp_path / name), "meta": {"_type": "gradio.FileData"}}, "upload-er"
    ]  # fmt: skip


def test_the_first_request_of_all_may_be_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loops: list[asyncio.AbstractEventLoop]
) -> None:
    monkeypatch.setattr(app, "UPLOADS", UploadFolder(tmp_path))
    with gr.Blocks() as page:
        gr.File()
    page.max_file_size = None  # as `launch` sets it
    server = gr.routes.App.create_app(page, app_kwargs=app.server_options(False, None))
    with TestClient(server) as visitor:
        answer = visitor.post("/gradio_api/upload", files={"files": ("hand.png", b"pixels")})
    assert answer.status_code == 200
    (name,) = answer.json()
    assert (tmp_path / name).read_bytes() == b"pixels"


def test_an_upload_named_by_dots_leaves_nothing(tmp_path: Path) -> None:
    (reply,) = asked("/gradio_api/upload", uploads=UploadFolder(tmp_path), put=("..",))
    assert reply["status"] == 400
    assert list(tmp_path.iterdir()) == []


def test_a_visitor_who_hangs_up_in_the_middle_leaves_neither_file_nor_traceback(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        Path(uploads).mkdir()
        (Path(uploads) / "half").write_bytes(b"x")
        raise ClientDisconnect

    async def nothing(*_: Any) -> dict[str, Any]:
        return {}

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
    asyncio.run(Guard(behind, uploads)(scope, nothing, nothing))
    assert list(tmp_path.iterdir()) == []


def test_the_disk_holds_so_much_of_uploads_and_no_more(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    (tmp_path / "upload-waiting").mkdir()
    with (tmp_path / "upload-waiting" / "large").open("wb") as file:
        file.truncate(MOST_BYTES - 2_000)
    (reply,) = asked("/gradio_api/upload", uploads=uploads, put=("a.png",), content_length="1000")
    assert reply["status"] == 200
    (reply,) = asked("/gradio_api/upload", uploads=uploads, put=("a.png",), content_length="3000")
    assert reply["status"] == 503
    assert "busy" in reply["body"].decode()
    (reply,) = asked("/gradio_api/upload", uploads=uploads, content_length=str(MOST_UPLOAD_BYTES + 1))
    assert reply["status"] == 413


def test_an_upload_that_nobody_reads_goes(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    asked("/gradio_api/upload", body=b"pixels", uploads=uploads, put=("hand.png",))
    uploads.discard_waiting(seconds=60)
    assert len(list(tmp_path.iterdir())) == 1
    with uploads.one() as arriving:
        assert arriving is not None
        arriving.mkdir()
        uploads.discard_waiting(seconds=-1)
        assert list(tmp_path.iterdir()) == [arriving]


def test_an_upload_stays_as_long_as_its_event_waits_in_the_queue(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    for answer, left in ((503, 0), (200, 1)):
        (reply,) = asked("/gradio_api/upload", body=b"pixels", uploads=uploads, put=("hand.png",))
        (name,) = json.loads(reply["body"])
        asked(body=json.dumps({"data": [{"path": name}]}).encode(), uploads=uploads, status=answer)
        uploads.discard_waiting(seconds=-1, queued_seconds=60)
        assert len(list(tmp_path.iterdir())) == left
    uploads.await_event(["upload-" + "a" * 300, "..", "\0"])  # whoever names them
    uploads.discard_waiting(seconds=-1, queued_seconds=-1)
    assert list(tmp_path.iterdir()) == []


def test_only_what_lies_in_the_private_folder_is_deleted(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "private")
    other = tmp_path / "other"
    for folder in (uploads.root / "upload-1", other):
        folder.mkdir(parents=True)
    for path in (other / "hand.png", uploads.root / ".." / "other" / "hand.png", uploads.root):
        uploads.discard(path)
    assert other.exists() and (uploads.root / "upload-1").exists()
    uploads.discard(uploads.root / "upload-1" / "hash" / "hand.png")
    assert not (uploads.root / "upload-1").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of folders")
def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "import time; from page.uploads import make_private_folder as m; print(m(), flush=True); time.sleep(60)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", waits], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    folders = [Path(process.stdout.readline().decode().strip()) for process in running]
    for folder in folders:
        (folder / "upload-1").mkdir()
        (folder / "upload-1" / "hand.png").write_bytes(b"pixels")
        os.utime(folder, (0, 0))
    strangers = [
        tmp_path / name for name in ("bone-age-assessor", "bone-age-uploads-of-1999", "bone-age-uploads-12345678")
    ]
    for stranger in strangers:  # a copy of this repository, say
        stranger.mkdir(mode=0o755)
        (stranger / "work").write_bytes(b"somebody's")
        os.utime(stranger, (0, 0))
    running[0].send_signal(signal.SIGKILL)
    running[0].wait()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        own = make_private_folder()
        assert not folders[0].exists()
        assert (folders[1] / "upload-1" / "hand.png").exists()
        assert own.exists()
        assert all((stranger / "work").exists() for stranger in strangers)
    finally:
        running[1].kill()
        running[1].wait()
        for process in running:
            process.stdout.close()


def test_a_session_that_ended_or_rests_is_forgotten_whole(loops: list[asyncio.AbstractEventLoop]) -> None:
    forgotten: list[str] = []
    with gr.Blocks() as page:
        state = gr.State("picture", delete_callback=forgotten.append)
        card = gr.HTML()
    from gradio.state_holder import StateHolder

    holder = StateHolder()
    holder.set_blocks(page)
    for name in ("working", "resting", "ended"):
        holder[name][state._id] = f"picture of {name}"
        holder[name]._update_value_in_config(card._id, f"<p>months of {name}</p>")
    holder.session_data["ended"].is_closed = True
    now = datetime.datetime.now()
    holder.time_last_used["resting"] = now - datetime.timedelta(hours=2)
    holder.time_last_used["ended"] = now - datetime.timedelta(minutes=5)
    assert forget_sessions(holder, now) == 2
    assert list(holder.session_data) == ["working"]
    assert sorted(forgotten) == ["picture of ended", "picture of resting"]


def test_a_batch_that_rests_is_forgotten_although_nobody_else_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loops: list[asyncio.AbstractEventLoop]
) -> None:
    from gradio.state_holder import StateHolder

    works = Works()
    resting, working = works.of("resting"), works.of("working")
    for work in (resting, working):
        work.take([("hand.png", b"\x89PNG")], 100)
        assert list(work.sources) == ["hand.png"]
    resting.used -= 2 * FORGET_AFTER_SECONDS
    monkeypatch.setattr("page.sessions.LOOK_EVERY_SECONDS", 0.05)
    forget_old_sessions(StateHolder(), UploadFolder(tmp_path))
    deadline = time.monotonic() + 10
    while resting.sources and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(resting.sources) == []
    assert list(working.sources) == ["hand.png"]


@pytest.fixture
def hardened(monkeypatch: pytest.MonkeyPatch, loops: list[asyncio.AbstractEventLoop]) -> Iterator[None]:
    """Gradio as the page has it, for this test."""
    from gradio.state_holder import SessionState

    for owner, name in ((SessionState, "_update_value_in_config"), (gr.Radio, "preprocess"), (gr.networking, "url_ok")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    factory = logging.getLogRecordFactory()
    harden_gradio()
    yield
    logging.setLogRecordFactory(factory)


def test_what_components_show_is_not_kept_for_deep_links(hardened: None) -> None:
    from gradio.state_holder import StateHolder

    with gr.Blocks() as page:
        card = gr.HTML()
    holder = StateHolder()
    holder.set_blocks(page)
    holder["visitor"]._update_value_in_config(card._id, "<p>Secret.png, 120 months</p>")
    assert "Secret" not in str(list(holder["visitor"].components))


def test_a_choice_that_is_none_is_not_quoted(hardened: None) -> None:
    with gr.Blocks():
        radio = gr.Radio([("Female", "female")])
    assert radio.preprocess("female") == "female"
    with pytest.raises(gr.Error) as refused:
        radio.preprocess("<b>robot")
    assert "robot" not in str(refused.value)
    assert "class" not in str(refused.value)


def test_log_lines_cannot_be_forged_and_reach_no_terminal(
    hardened: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(log, "handlers", [caplog.handler])  # a server of another test may have set up others
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "disabled", False)
    caplog.set_level(logging.WARNING, log.name)
    log.warning("asked for %s", "/a\nERROR forged\x1b[31mred\x9b")
    (record,) = caplog.records
    assert record.getMessage() == r"asked for /a\x0aERROR forged\x1b[31mred\x9b"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/gradio_api/queue/data", b'data: {"msg":"process_completed","output":{"error":null},"success":false}\n\n'),
        ("/gradio_api/call/assess/1", b"event: error\ndata: null\n\n"),
    ],
)
def test_an_error_without_words_gets_a_sentence(path: str, answer: bytes) -> None:
    (reply,) = asked(path, "GET", answer=answer)
    assert NEUTRAL in reply["body"].decode()
    assert b"null" not in reply["body"]
    good = b'data: {"msg":"process_completed","output":{"data":[{"error":null}]},"success":true}\n\n'
    assert asked("/gradio_api/queue/data", "GET", answer=good)[0]["body"] == good


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet")
    monkeypatch.setenv("no_proxy", "")
    no_proxy_for("10.1.2.3")
    for name in ("NO_PROXY", "no_proxy"):
        assert {"localhost", "127.0.0.1", "::1", "10.1.2.3"} <= set(os.environ[name].split(","))
    assert os.environ["NO_PROXY"].startswith("intranet,")


def test_a_busy_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    said = [httpx.ConnectTimeout("busy"), SimpleNamespace(status_code=503), SimpleNamespace(status_code=200)]

    def head(*_: Any, **__: Any) -> Any:
        answer = said.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("httpx.head", head)
    assert answers("http://127.0.0.1:1/")
    assert said == []


def test_a_login_file_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("anna:a:b\n\nben:c\n")
    assert app.read_login(file) == [("anna", "a:b"), ("ben", "c")]
    for wrong in ("", "anna\n", ":x\n"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="name:password"):
            app.read_login(file)


def test_ctrl_c_while_modules_load_says_nothing() -> None:
    for command in ([str(REPOSITORY / "app.py"), "--help"], ["-m", "baa_core", "--help"]):
        process = subprocess.Popen(
            [sys.executable, *command], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(0.4)  # Python has begun, the modules have not all been loaded
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert b"Traceback" not in said


def test_the_browser_is_given_nothing_to_keep_but_the_language() -> None:
    stores = ("localStorage", "sessionStorage", "document.cookie", "indexedDB", "caches.open")
    lines = {
        (path.name, line.strip())
        for path in (REPOSITORY / "page").glob("*.*")
        for line in path.read_text("utf-8").splitlines()
        if any(store in line for store in stores)
    }
    assert {name for name, _ in lines} == {"language.js"}
    assert len(lines) == 2  # one reads, one writes
