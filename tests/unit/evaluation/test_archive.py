"""Zips as people make them, and as an attacker would: nothing is believed, nothing lost, one sentence each."""

import io
import struct
import zipfile

import pytest

from baa_core.errors import InvalidArchive
from baa_core.evaluation import archive
from baa_core.evaluation.archive import is_picture, is_zip, open_archive, read_entry

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def make(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, content in files:
            made.writestr(name, content)
    return buffer.getvalue()


def test_folders_hidden_files_and_others_are_told_apart() -> None:
    dicom = b"\0" * 128 + b"DICM" + b"\0" * 64
    content = make(
        ("clinic/", b""), ("clinic/a.png", PNG), ("clinic/IM0001", dicom), ("__MACOSX/clinic/._a.png", PNG),
        ("clinic/.DS_Store", b"x"), ("Thumbs.db", b"x"), ("sexes.csv", b"file,sex\n"), ("clinic/letter.txt", b"Dear"),
        ("clinic/broken.png", b"no picture"), ("inner.zip", make(("a.png", PNG))),
    )  # fmt: skip
    found = open_archive(content, "clinic.zip")
    assert found.pictures == ("clinic/a.png", "clinic/IM0001", "clinic/broken.png")
    assert found.tables == ("sexes.csv",)
    assert found.others == ("clinic/letter.txt", "inner.zip")
    assert found.refused == ()
    assert read_entry(content, "clinic/a.png") == PNG


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_named_twice_counts_once() -> None:
    found = open_archive(make(("a.png", PNG), ("a.png", PNG + b"x")), "two.zip")
    assert found.pictures == ("a.png",)
    assert found.refused == ("two.zip holds a.png twice at one place; the first one is used.",)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_first_of_two_entries_of_one_name_is_read() -> None:
    assert read_entry(make(("a.png", PNG), ("a.png", b"other")), "a.png") == PNG


def test_a_bomb_is_refused_before_it_is_unpacked_and_nothing_of_it_is_used() -> None:
    bomb = make(("a.png", PNG), ("b.png", bytes(50 * 2**20)))
    assert len(bomb) < 100_000
    with pytest.raises(InvalidArchive, match="unpacks to over 250 times its size"):
        open_archive(bomb, "bomb.zip")


def test_a_header_that_lies_about_its_size_is_no_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(make(("a.png", PNG), ("b.png", bytes(50 * 2**20))))
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, second + 24, 1000)  # uncompressed size in the central directory
    found = open_archive(bytes(content), "liar.zip")
    assert found.pictures == ("a.png",)
    assert found.refused == ("b.png in liar.zip is damaged. Make the zip again.",)
    monkeypatch.setattr(archive, "MOST_ENTRY_BYTES", 100)
    with pytest.raises(InvalidArchive, match="larger than any radiograph"):
        open_archive(make(("a.png", PNG)), "large.zip")


def test_too_many_files_and_too_much_in_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArchive, match="holds 501 files; at most 500"):
        open_archive(make(*((f"{n}.png", b"x") for n in range(501))), "many.zip")
    monkeypatch.setattr(archive, "MOST_BYTES", 2000)
    with pytest.raises(InvalidArchive, match="unpacks to more than"):
        open_archive(make(("a.png", PNG), ("b.png", PNG)), "big.zip")


def test_a_list_of_a_million_files_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two million in 100 MB, each would take half a kilobyte of memory."""
    monkeypatch.setattr(archive.zipfile, "ZipFile", None)
    with pytest.raises(InvalidArchive, match="holds 1000000 files"):
        open_archive(archive.ZIP_START[0] + archive.RECORD_START * 1_000_000, "many.zip")


def test_a_damaged_entry_is_named_and_the_others_go_on() -> None:
    content = bytearray(make(("a.png", PNG), ("b.png", PNG), method=zipfile.ZIP_STORED))
    content[content.index(PNG) + 20] ^= 0xFF  # its checksum no longer holds
    found = open_archive(bytes(content), "half.zip")
    assert found.pictures == ("b.png",)
    assert found.refused == ("a.png in half.zip is damaged. Make the zip again.",)


@pytest.mark.parametrize("cut", [10, 200])
def test_a_zip_cut_short_is_refused(cut: int) -> None:
    content = make(("a.png", PNG), ("b.png", PNG), method=zipfile.ZIP_STORED)
    assert is_zip(content)
    with pytest.raises(InvalidArchive, match="damaged or cut short"):
        open_archive(content[:-cut], "cut.zip")


def test_a_locked_entry_is_named() -> None:
    content = bytearray(make(("a.png", PNG), ("b.png", PNG)))
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    found = open_archive(bytes(content), "locked.zip")
    assert found.refused == ("a.png in locked.zip is locked with a password. Make the zip without one.",)
    assert found.pictures == ("b.png",)


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("a.JPG", b"", True),
        ("IM1", b"\0" * 128 + b"DICM", True),
        ("noname", b"\xff\xd8\xff\xe0", True),
        ("noname", b"RIFF\0\0\0\0WEBPVP8 ", True),
        ("noname", b"RIFF\0\0\0\0WAVE", False),
        ("a.pdf", b"%PDF-1.7", False),
        ("a.xlsx", b"PK\x03\x04", False),
    ],
)
def test_a_radiograph_is_known_by_its_name_or_its_first_bytes(name: str, start: bytes, expected: bool) -> None:
    assert is_picture(name, start) is expected
