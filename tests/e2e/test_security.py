"""The served page with a planted patient, a login and no network: nothing of the patient anywhere, nothing sent out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from baa_core.phantom import draw_phantom
from tests.e2e.served_page import Served, serve
from tests.hostile import dicom_bytes

PLANTED = ("Zyxwvut", "QQ-4711-ID", "19990102", "Dr^Planted", "ACC-0815")
FILE_NAME = "Zyxwvut-hand.dcm"
# In the page's process: every connection to another machine is written down and fails.
CUT = """
import os, socket
LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
def note(what):
    with open(os.environ["BAA_TEST_SENT"], "a") as file:
        file.write(repr(what) + "\\n")
def wrap(name):
    real = getattr(socket.socket, name)
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOCAL):
            note(address)
            raise OSError("no network")
        return real(self, address)
    setattr(socket.socket, name, connect)
wrap("connect"); wrap("connect_ex")
real_lookup = socket.getaddrinfo
def lookup(host, *rest, **named):
    if host and not (host if isinstance(host, str) else host.decode()).startswith(LOCAL):
        note(host)
        raise socket.gaierror("no network")
    return real_lookup(host, *rest, **named)
socket.getaddrinfo = lookup
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A page that asks for a login, in a process without network."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "cut").mkdir()
    (folder / "cut" / "sitecustomize.py").write_text(CUT)
    (folder / "login").write_text("anna:right\n")
    sent = folder / "sent"
    path = os.pathsep.join([str(folder / "cut"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with serve(folder, "--login", str(folder / "login"), PYTHONPATH=path, BAA_TEST_SENT=str(sent), BAA_ENGINE="torch",
               HTTP_PROXY="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9") as served:  # fmt: skip
        yield served, sent


@pytest.fixture
def visitor(guarded: tuple[Served, Path]) -> Iterator[httpx.Client]:
    """Whoever asks the page, not logged in."""
    with httpx.Client(base_url=guarded[0].url, timeout=300, trust_env=False) as client:
        yield client


def planted_hand() -> bytes:
    """A drawn hand whose header is full of a patient."""
    drawn = draw_phantom(120.0, "female", seed=3, height_px=500).radiograph.pixels
    return dicom_bytes(
        np.rint(drawn * 4095).astype(np.uint16), BitsStored=12, HighBit=11, PatientName=f"{PLANTED[0]}^Jane",
        PatientID=PLANTED[1], PatientBirthDate=PLANTED[2], ReferringPhysicianName=PLANTED[3],
        AccessionNumber=PLANTED[4],
    )  # fmt: skip


def assessed(visitor: httpx.Client, data: bytes) -> str:
    """All that the page says about an upload."""
    answer = visitor.post("/gradio_api/upload", files={"files": (FILE_NAME, data)})
    assert answer.status_code == 200, answer.text
    (name,) = answer.json()
    file = {"path": name, "meta": {"_type": "gradio.FileData"}}
    event = visitor.post("/gradio_api/call/assess", json={"data": [file, "female", "", ""]}).json()["event_id"]
    return answer.text + visitor.get(f"/gradio_api/call/assess/{event}").text


def log_in(visitor: httpx.Client) -> None:
    answer = visitor.post("/login", data={"username": "anna", "password": "right"})
    assert answer.status_code == 200, answer.text


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks /proc for listening sockets")
def test_the_page_listens_on_this_machine_alone(guarded: tuple[Served, Path]) -> None:
    port = f"{int(guarded[0].url.rpartition(':')[2]):04X}"
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = [row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == ["0100007F"]


def test_nobody_gets_in_without_the_login(visitor: httpx.Client) -> None:
    assert visitor.post("/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401
    assert visitor.get("/config").status_code == 401
    assert visitor.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
    assert visitor.get("/config").status_code == 401


def test_nothing_of_a_patient_stays_and_nothing_is_sent(guarded: tuple[Served, Path], visitor: httpx.Client) -> None:
    served, sent = guarded
    log_in(visitor)
    hand = planted_hand()
    said = assessed(visitor, hand)
    assert "event: complete" in said, said
    assert json.loads(said.split("data: ")[-1])[0]["bone_age_months"] > 0
    refused = assessed(visitor, hand[: len(hand) // 2])
    assert "event: error" in refused
    shown = (said + refused).replace(FILE_NAME, "")
    assert not [word for word in PLANTED if word in shown]
    assert str(served.folder) not in shown
    assert not [word for word in PLANTED if word in served.log.read_text()]
    assert served.files_left() == []
    assert not sent.exists(), sent.read_text()


def test_odd_uploads_leave_nothing_and_show_no_path(guarded: tuple[Served, Path], visitor: httpx.Client) -> None:
    served, _ = guarded
    log_in(visitor)
    for name in ("..", "../../x.png", "/etc/passwd", "a" * 300, "a%0aERROR forged.png", "\x1b[31m.png"):
        answer = visitor.post("/gradio_api/upload", files={"files": (name, b"pixels")})
        assert str(served.folder) not in answer.text
        assert answer.status_code in (200, 400), answer.text
    assert not [path for path in Path(served.folder).rglob("*") if path.name == "passwd" and path.parent.name == "etc"]
    malformed = [None, 7, "text", {"path": None}, {"path": "/etc/passwd"}, {"url": "file:///etc/passwd"}, [[[]]]]
    for file in malformed:
        answer = visitor.post("/gradio_api/call/assess", json={"data": [file, "robot", "", ""]})
        said = answer.text
        if answer.status_code == 200:
            said += visitor.get(f"/gradio_api/call/assess/{answer.json()['event_id']}").text
        assert "data: null" not in said
        assert "<class" not in said
        assert "Traceback" not in said
        assert "root:" not in said
    log = served.log.read_text()
    assert "forged" not in log
    assert "\x1b" not in log
