"""Coverage-guided fuzzing of the reader (atheris, libFuzzer): bytes in; a radiograph or a named refusal out.

    pip install atheris
    python -m benchmarks.fuzz --minutes 60 --out DIR

Seeds are one small drawn hand in every format and transfer syntax. A Python error that is no refusal is a find: its
bytes and traceback are kept in DIR/finds, one for each place, and the run goes on. What ends the process (a decoder
that crashes, hangs over 20 s or takes over 3 GB) is kept in DIR/crashes, and the run is started again; the page and the
command line refuse such a file, as it is decoded in a process of its own. `--replay` checks that of all that was kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import traceback
import zlib
from pathlib import Path

MOST_SEED_BYTES = 60_000
TOLD_EVERY = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--runs", type=int, default=0, help="end after so many, if that comes first; 0: by time alone")
    parser.add_argument("--out", type=Path, required=True, help="corpus, finds and figures; continued if it is there")
    parser.add_argument("--replay", action="store_true", help="read everything kept in --out as the page does")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        replay(options.out)
    elif options.child is not None:
        fuzz(options.out, options.child)
    else:
        drive(options.out, options.minutes, options.runs)


def drive(out: Path, minutes: float, runs: int) -> None:
    """Start the fuzzer, again and again, until time or runs are used up; then say what came of it."""
    for folder in ("corpus", "finds", "crashes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_seeds(out / "corpus")
    began = time.monotonic()
    restarts = 0
    while (left := minutes * 60 - (time.monotonic() - began)) > 5:
        child = [sys.executable, "-m", "benchmarks.fuzz", "--out", str(out), "--child", str(int(left))]
        with (out / "log.txt").open("ab") as log:
            subprocess.run(child, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
        restarts += 1
        if runs and executions(out) >= runs:
            break
    kept = sorted(path.name.split("-")[0] for path in (out / "crashes").iterdir())
    finds = len(list((out / "finds").glob("*.txt")))
    print(
        f"{executions(out)} executions in {(time.monotonic() - began) / 60:.0f} minutes, {restarts} starts, corpus "
        f"{len(list((out / 'corpus').iterdir()))} files; Python errors: {finds} kinds; "
        f"ended the process: { {kind: kept.count(kind) for kind in set(kept)} }"
    )


def executions(out: Path) -> int:
    """Of all starts."""
    return sum(int(json.loads(path.read_text())) for path in out.glob("runs-*.json"))


def write_seeds(folder: Path) -> None:
    """One small hand in each encoding."""
    from tests.encodings import CASES, made
    from tests.hostile import corpus, drawn_hand

    files = [data for _, data in made(CASES, drawn_hand(100, 100))]
    files += [data for data in corpus().values() if len(data) <= MOST_SEED_BYTES]
    for data in files:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def fuzz(out: Path, seconds: int) -> None:
    """One process of the fuzzer."""
    import atheris

    with atheris.instrument_imports(include=["baa_core.io", "pydicom", "PIL"]):
        from baa_core.errors import UnreadableImage
        from baa_core.io.decode import decode_radiograph

    seen: set[str] = set()
    count = 0
    counted = out / f"runs-{os.getpid()}-{int(time.time())}.json"

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % TOLD_EVERY == 0:
            counted.write_text(json.dumps(count))
        if not data:
            return
        try:
            decode_radiograph(data, "fuzz")
        except (UnreadableImage, MemoryError):
            pass
        except Exception as fault:  # noqa: BLE001 - each kind is kept
            last = traceback.extract_tb(fault.__traceback__)[-1]
            kind = f"{type(fault).__name__}-{Path(last.filename).stem}-{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                (out / "finds" / f"{kind}.bin").write_bytes(data)
                (out / "finds" / f"{kind}.txt").write_text(traceback.format_exc())

    arguments = [
        sys.argv[0], str(out / "corpus"), f"-artifact_prefix={out / 'crashes'}/", f"-max_total_time={seconds}",
        "-timeout=20", "-rss_limit_mb=3072", f"-max_len={MOST_SEED_BYTES}", "-reload=0", "-print_final_stats=1",
        f"-seed={1 + int(time.time())}",
    ]  # fmt: skip

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        changed = atheris.Mutate(data, most)
        return with_right_checksums(changed) if seed % 2 else changed

    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


def with_right_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that more than the checksum is tried."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    whole, at = bytearray(data), 8
    while at + 12 <= len(whole):
        end = at + 8 + struct.unpack_from(">I", whole, at)[0]
        if end + 4 > len(whole):
            break
        struct.pack_into(">I", whole, end, zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


def replay(out: Path) -> None:
    """Read what was kept as the page does, apart: each file must be read or refused."""
    from baa_core.errors import UnreadableImage
    from baa_core.io import read_radiograph

    kept = [*(out / "finds").glob("*.bin"), *(out / "crashes").iterdir()]
    for path in kept:
        try:
            said = str(read_radiograph(path.read_bytes(), "file").shape)
        except UnreadableImage as refusal:
            said = str(refusal)
        except Exception as fault:  # noqa: BLE001 - to be told
            said = f"ERROR {type(fault).__name__}: {fault}"
        print(f"{path.name}: {said}")
    print(f"{len(kept)} files")


if __name__ == "__main__":
    main()
