"""Files that crash a decoder or keep it busy harm nobody else: they are refused by name, and the next one is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baa_core.errors import UnreadableImage
from baa_core.io import isolated_decoder, read_radiograph, read_source_header
from baa_core.io.decode import decode_radiograph
from baa_core.io.decoder_process import MOST_CPU_SECONDS
from baa_core.io.isolated_decoder import DecoderFault
from tests.hostile import dicom_bytes, drawn_hand, encoded
from tests.overload import OVERLOAD

HAND = drawn_hand()
PNG = encoded(Image.fromarray((HAND * 65535).astype(np.uint16)), "PNG")
BUSY = "run_length.bmp"  # the one that only the limit of processor time ends
WORKER = (
    "from baa_core.io import decoder_process as d; real = d.decode_radiograph; {}; "
    "d.decode_radiograph = lambda data, name: {}; d.main()"
)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[isolated_decoder._Pool]:
    """Decoders of this test's own."""
    own = isolated_decoder._Pool()
    monkeypatch.setattr(isolated_decoder, "_POOL", own)
    yield own
    own.close()


@pytest.fixture(scope="module")
def decoders() -> Iterator[isolated_decoder._Pool]:
    """Decoders that serve one hostile file after another, as those of the page do."""
    with pytest.MonkeyPatch.context() as patch:
        own = isolated_decoder._Pool()
        patch.setattr(isolated_decoder, "_POOL", own)
        yield own
        own.close()


def decoding_by(monkeypatch: pytest.MonkeyPatch, expression: str, before: str = "pass") -> None:
    """Have the decoding process do something else."""
    root = str(isolated_decoder.ROOT)
    start = f"import sys, os, time; sys.path.insert(0, {root!r}); {WORKER.format(before, expression)}"
    monkeypatch.setattr(isolated_decoder, "START", start)


def processor_seconds(pool: isolated_decoder._Pool) -> float:
    """Of this process, its ended children and the decoders that wait."""
    total = sum(os.times()[:4])
    for pid in pool.pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for processor time")
@pytest.mark.parametrize("name", sorted(set(OVERLOAD) - {BUSY}))
def test_a_file_made_to_keep_the_decoder_busy_is_refused_within_three_seconds(
    decoders: isolated_decoder._Pool, name: str
) -> None:
    data, started = OVERLOAD[name](), processor_seconds(decoders)
    with pytest.raises(UnreadableImage, match=rf"^{name} .+\.$"):
        read_radiograph(data, name)
    assert processor_seconds(decoders) - started < 3
    assert read_radiograph(PNG).shape == HAND.shape


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_what_nothing_else_ends_is_ended_by_the_limit_of_processor_time(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool
) -> None:
    """Nine seconds as served; two here."""
    assert MOST_CPU_SECONDS < 10
    decoding_by(monkeypatch, "real(data, name)", "d.MOST_CPU_SECONDS = 2")
    data, started = OVERLOAD[BUSY](), processor_seconds(pool)
    with pytest.raises(UnreadableImage, match=rf"^{BUSY} takes longer to decode.+\.$"):
        read_radiograph(data, BUSY)
    assert processor_seconds(pool) - started < 2 + 3
    assert read_radiograph(PNG).shape == HAND.shape


def test_while_one_file_takes_its_time_others_are_read(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool, tmp_path: Path
) -> None:
    over = tmp_path / "over"
    wait = f"any(time.sleep(0.05) for _ in iter(lambda: os.path.exists({str(over)!r}), True))"
    decoding_by(monkeypatch, f"name == 'slow' and {wait} or real(data, name)")
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(read_radiograph, PNG, "slow")
        try:
            assert read_radiograph(PNG).shape == HAND.shape
            assert not slow.done()
        finally:
            over.touch()
        assert slow.result().shape == HAND.shape


def test_a_radiograph_is_the_same_as_decoded_here(pool: isolated_decoder._Pool) -> None:
    for data in (PNG, dicom_bytes((HAND * 4095).astype(np.uint16), PatientSex="F", PatientAge="010Y")):
        apart, here = read_radiograph(data, "hand"), decode_radiograph(data, "hand")
        assert np.array_equal(apart.pixels, here.pixels)
        assert (apart.name, apart.sex_in_file, apart.age_in_file_months) == (
            here.name, here.sex_in_file, here.age_in_file_months
        )  # fmt: skip
        assert (apart.polarity_stated, apart.cautions) == (here.polarity_stated, here.cautions)


def test_one_decoder_serves_many_files(pool: isolated_decoder._Pool) -> None:
    read_radiograph(PNG)
    (pid,) = pool.pids()
    for _ in range(5):
        read_radiograph(PNG)
    read_source_header(dicom_bytes((HAND * 255).astype(np.uint8)), "hand.dcm")
    assert pool.pids() == [pid]


def test_a_decoder_that_was_killed_is_replaced(pool: isolated_decoder._Pool) -> None:
    read_radiograph(PNG)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    assert read_radiograph(PNG).shape == HAND.shape
    assert pool.pids() != [pid]


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("os.abort()", "damaged or cut short"),
        ("os._exit(1)", "damaged or cut short"),  # as libjpeg does inside gdcm
        ("os.kill(os.getpid(), 11)", "damaged or cut short"),
        ("os.kill(os.getpid(), 9)", "not enough memory"),
        ("bytearray(10 * 2**30)", "not enough memory"),
    ],
)
def test_a_crash_of_the_decoder_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool, does: str, words: str
) -> None:
    decoding_by(monkeypatch, does)
    with pytest.raises(UnreadableImage, match=rf"hand\.png.*{words}|{words}.*hand\.png"):
        read_radiograph(PNG, "hand.png")


def test_a_decoder_that_sleeps_is_ended_by_the_clock(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool
) -> None:
    decoding_by(monkeypatch, "time.sleep(60)")
    monkeypatch.setattr(isolated_decoder, "MOST_SECONDS", 0.3)
    with pytest.raises(UnreadableImage, match="takes longer"):
        read_radiograph(PNG)


def test_an_error_of_this_software_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool, caplog: pytest.LogCaptureFixture
) -> None:
    decoding_by(monkeypatch, "{}['Secret^Name']")
    with pytest.raises(DecoderFault):
        read_radiograph(PNG)
    assert "KeyError" in caplog.text
    assert "Secret" not in caplog.records[0].getMessage().split("KeyError")[0]


def test_a_decoder_can_write_no_file(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool, tmp_path: Path
) -> None:
    place = tmp_path / "written"
    decoding_by(monkeypatch, f"open({str(place)!r}, 'w').write('x' * 10)")
    with pytest.raises((UnreadableImage, DecoderFault)):
        read_radiograph(PNG)
    assert not place.exists() or not place.read_text()


def test_decoders_end_with_the_process_that_started_them() -> None:
    asked = (
        "import os, sys; from baa_core.io import isolated_decoder as d; d.start_decoder(); "
        "print(*d._POOL.pids(), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False,
                          cwd=isolated_decoder.ROOT)  # fmt: skip
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return  # ended; whoever adopted it has not looked yet
        time.sleep(0.1)
    pytest.fail("the decoder goes on")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_starts_decoders_of_its_own(pool: isolated_decoder._Pool) -> None:
    read_radiograph(PNG)
    before = pool.pids()
    kept = pool.forget_all()
    try:
        assert pool.pids() == []
        read_radiograph(PNG)
        assert pool.pids() != before
    finally:
        for decoder in kept:
            decoder.end()


def test_a_decoder_that_does_not_start_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool
) -> None:
    monkeypatch.setattr(isolated_decoder, "START", "raise SystemExit(1)")
    with pytest.raises(DecoderFault):
        read_radiograph(PNG)


def test_a_decoder_that_starts_too_slowly_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool
) -> None:
    monkeypatch.setattr(isolated_decoder, "START", "import time; time.sleep(60)")
    monkeypatch.setattr(isolated_decoder, "MOST_START_SECONDS", 0.5)
    with pytest.raises(DecoderFault):
        read_radiograph(PNG)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize(
    "before",
    [
        "import resource as r; r.setrlimit(r.RLIMIT_AS, (3 * 2**30,) * 2)",  # as `ulimit -v` on a cluster
        "import resource as r; r.setrlimit(r.RLIMIT_CPU, (8, 8))",
        "from baa_core.io import decoder_process as d; d.PIPE_BYTES = -1",  # no larger pipe is granted
    ],
)
def test_a_machine_of_lower_limits_still_reads(
    monkeypatch: pytest.MonkeyPatch, pool: isolated_decoder._Pool, before: str
) -> None:
    root = str(isolated_decoder.ROOT)
    main = f"import sys; sys.path.insert(0, {root!r}); {before}; from baa_core.io.decoder_process import main; main()"
    monkeypatch.setattr(isolated_decoder, "START", main)
    assert read_radiograph(PNG).shape == HAND.shape


FOUND = sorted((Path(__file__).parent / "fuzz").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_fuzzing_found_is_refused(decoders: isolated_decoder._Pool, path: Path) -> None:
    """Smallest finds of `benchmarks.fuzz`, packed: Python errors, and decoders that ended the process."""
    with pytest.raises(UnreadableImage, match=r"^file "):
        read_radiograph(zlib.decompress(path.read_bytes()), "file")
