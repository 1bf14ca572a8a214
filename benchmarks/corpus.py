"""Read every file of the hostile corpus as the page does: each is read rightly, or refused by name in one sentence.

    python -m benchmarks.corpus                  the whole corpus, a table by kind (about two minutes)
    python -m benchmarks.corpus --sample 20      every twentieth file
    python -m benchmarks.corpus --encodings      months of one drawn radiograph in every encoding, from the plain one

Ends with status 1 if a file crashed the reader, took over 10 seconds of processor time, was read wrongly, or was
refused in words that are none of this package's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from baa_core.errors import BoneAgeError, UnreadableImage
from baa_core.evaluation.tables import parse_table
from baa_core.io import isolated_decoder, read_radiograph
from tests import corpus

MOST_SECONDS = 10.0
MOST_MESSAGE = 400


@dataclass
class Kind:
    """What came of the files of one kind."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every Nth file")
    parser.add_argument("--encodings", action="store_true", help="bone ages of equivalent encodings instead")
    options = parser.parse_args()
    sys.exit(encodings() if options.encodings else run(options.sample))


def run(every: int) -> int:
    """The table; 1 if anything is wrong."""
    twin = read_radiograph(corpus.twin_data()).pixels
    before = 0.0
    kinds: dict[str, Kind] = defaultdict(Kind)
    for entry in itertools.islice(corpus.generate(heavy=every == 1), 0, None, every):
        check(entry, twin, kinds[entry.kind])
        if entry.kind == "hostile":  # everything has been used once
            before = before or memory_mb()
    grown = memory_mb() - before
    print("| kind | files | read | refused | wrong | slowest, s of processor time |\n|---|---|---|---|---|---|")
    for name, kind in kinds.items():
        files = kind.read + kind.refused + len(kind.wrong)
        print(f"| {name} | {files} | {kind.read} | {kind.refused} | {len(kind.wrong)} | {kind.slowest:.1f} |")
    total = sum(kind.read + kind.refused + len(kind.wrong) for kind in kinds.values())
    wrong = [line for kind in kinds.values() for line in kind.wrong]
    print(f"\n{total} files; {len(wrong)} wrong; this process grew by {grown:.0f} MB after the first kind")
    print("\n".join(wrong))
    return int(bool(wrong))


def check(entry: corpus.Entry, twin: np.ndarray, kind: Kind) -> None:
    """Read one file and count what came of it."""
    started = processor_seconds()
    fault = ""
    try:
        if entry.is_table:
            parse_table(entry.data, entry.name, ("file", "sex"), ("chronological_age_months",))
        else:
            pixels = read_radiograph(entry.data, entry.name).pixels
            if pixels.min() < 0 or pixels.max() > 1 or not np.isfinite(pixels).all():
                fault = "values outside [0, 1]"
            elif entry.most is not None and np.abs(pixels - twin)[corpus.away()].max() > entry.most:
                fault = "read otherwise than its plain twin"
        kind.read += not fault
    except BoneAgeError as refusal:
        fault = "" if entry.most is None else f"refused: {refusal}"
        if entry.is_table == isinstance(refusal, UnreadableImage) or not is_sentence(str(refusal), entry.name):
            fault = f"refused in other words: {type(refusal).__name__}: {str(refusal)[:200]!r}"
        kind.refused += not fault
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        fault = f"{type(error).__name__}: {error}"
    spent = processor_seconds() - started
    kind.slowest = max(kind.slowest, spent)
    if spent > MOST_SECONDS:
        fault = fault or f"took {spent:.1f} s"
    if fault:
        kind.wrong.append(f"{entry.kind}, {entry.name[:60]!r}: {fault}")


def is_sentence(message: str, name: str) -> bool:
    """Whether a refusal is short, whole and shows no folder, trace or control character."""
    folders = ("/home", "/tmp", "/usr", "site-packages", "Traceback", "etc/passwd")
    inside = all(letter.isprintable() for letter in message) and not any(word in message for word in folders)
    return inside and len(message) <= MOST_MESSAGE and message.endswith(".")


def processor_seconds() -> float:
    """Of this process, its ended children and the decoders that wait."""
    total = sum(os.times()[:4])
    for pid in isolated_decoder.decoder_pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory_mb() -> float:
    """What this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def encodings() -> int:
    """Months of every encoding from those of the plain picture; 1 if one lies further than a month."""
    from baa_core.phantom import draw_phantom
    from baa_core.types import Patient
    from baa_core.workflows.assess import load_assessor
    from tests.encodings import CASES, twin

    drawn = draw_phantom(120.0, "female", seed=3, height_px=500, markers=False).radiograph.pixels.astype(np.float64)
    shown = (drawn - drawn.min()) / np.ptp(drawn)
    assessor, patient = load_assessor(), Patient(sex="female")
    plain = assessor.assess(twin(shown), patient).prediction.bone_age_months
    print(f"plain 8-bit PNG: {plain:.2f} months\n\n| encoding | months from it |\n|---|---|")
    apart = {}
    started = time.monotonic()
    for name, case in CASES.items():
        apart[name] = assessor.assess(case.make(shown), patient).prediction.bone_age_months - plain
        print(f"| {name} | {apart[name]:+.2f} |", flush=True)
    worst = max(apart, key=lambda name: abs(apart[name]))
    print(f"\n{len(apart)} encodings, at most {abs(apart[worst]):.2f} months apart ({worst}); "
          f"{time.monotonic() - started:.0f} s")  # fmt: skip
    return int(abs(apart[worst]) > 1.0)


if __name__ == "__main__":
    main()
