"""One row of the table: what is given to a checkout, what it must answer, and the tests that hold it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Answer = dict[str, Any]
MOST_LEVELS = 8  # of 255: pixels so near were read like the plain picture
Ask = Callable[[str], Answer]


class Seen(NamedTuple):
    """What a checkout answered, in words, and whether that is right; `holds` is None where it could not be asked."""

    words: str
    holds: bool | None


@dataclass(eq=False)
class Checkout:
    """A checkout that answers.

    Attributes:
        path: of its root folder.
        ask: one request to one answer, see `answers`.
        files: a folder for what it is asked about.
        kept: what stays open until all rows of both checkouts are done: pages, a browser.
        known: answers by request.
    """

    path: Path
    ask: Ask
    files: Path
    kept: ExitStack
    known: dict[str, Answer] = field(default_factory=dict)

    def __call__(self, probe: str, **arguments: Any) -> Answer:
        """Ask once; the same answer again afterwards."""
        request = json.dumps({"probe": probe, **arguments}, sort_keys=True)
        if request not in self.known:
            self.known[request] = self.ask(request)
        return self.known[request]

    def file(self, content: bytes, name: str = "hand.png") -> str:
        """The content as a file of its own."""
        folder = self.files / hashlib.sha256(content).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return str(folder / name)

    def assess(
        self, content: bytes, sex: str | None = "female", age_months: float | None = None, **more: Any
    ) -> Answer:
        """An assessment of a file with this content."""
        return self("assess", file=self.file(content), sex=sex, age_months=age_months, **more)


@dataclass(frozen=True)
class Row:
    """One input to one reported defect.

    Attributes:
        point: of the report.
        given: the input.
        expected: what must be answered.
        look: asks a checkout.
        tests: what holds it in this checkout.
        place: file and line of the former code where the defect can be read.
    """

    point: str
    given: str
    expected: str
    look: Callable[[Checkout], Seen]
    tests: tuple[str, ...]
    place: str = ""


def codes(answer: Answer) -> set[str]:
    """Of the cautions."""
    return {each if isinstance(each, str) else each["code"] for each in answer.get("cautions", ())}


def words_of(answer: Answer, without: Iterable[str] = ()) -> str:
    """Months and cautions, or the refusal."""
    if "refusal" in answer:
        kind = "refused" if answer["foreseen"] else "ERROR"
        return f"{kind}: {answer['refusal']}"
    said = sorted(codes(answer) - set(without))
    return f"{answer['bone_age_months']:.1f} months" + (f"; {', '.join(said)}" if said else "; no caution")


def near(*plain: bytes, most: float = 1.0, caution: str | None = None) -> Callable[[bytes], Callable[[Checkout], Seen]]:
    """Months like those of one of the plain pictures, and a caution if one is due."""

    def of(content: bytes) -> Callable[[Checkout], Seen]:
        def look(there: Checkout) -> Seen:
            wanted, answer = [there.assess(each) for each in plain], there.assess(content)
            months = [each["bone_age_months"] for each in wanted]
            said = f" (plain {' or '.join(f'{each:.1f}' for each in months)})"
            if "refusal" in answer:
                return Seen(words_of(answer) + said, False)
            apart = min(abs(answer["bone_age_months"] - each) for each in months)
            told = caution is None or caution in codes(answer)
            return Seen(words_of(answer, codes(wanted[0])) + said, apart <= most and told)

        return look

    return of


def pixels_of(answer: Answer) -> NDArray[np.float64]:
    """What `answers.read` gave, 0 to 255."""
    return np.frombuffer(bytes.fromhex(answer["pixels"]), np.uint8).reshape(answer["shape"]).astype(float)


def read_like(*plain: bytes, edge_px: int, caution: str | None = None) -> Callable[[bytes], Callable[[Checkout], Seen]]:
    """Read with the pixels of one of the plain pictures, away from the edge; if not, with its months (`near`)."""

    def of(content: bytes) -> Callable[[Checkout], Seen]:
        def look(there: Checkout) -> Seen:
            wanted = [there("read", file=there.file(each)) for each in plain]
            answer = there("read", file=there.file(content, "hand.bin"))
            if "refusal" in answer:
                return Seen(words_of(answer), False)
            inside = np.s_[edge_px:, edge_px:]
            told = caution is None or caution in codes(answer)
            for each in wanted:
                if answer["shape"] == each["shape"] and told:
                    apart = np.abs(pixels_of(answer) - pixels_of(each))[inside]
                    if apart.max() <= MOST_LEVELS:
                        said = ", ".join(sorted(codes(answer))) or "no caution"
                        return Seen(f"its pixels, to {max(1, apart.max()):.0f} of 255; {said}", True)
            return near(*plain, caution=caution)(content)(there)

        return look

    return of


def refused(*names: str) -> Callable[[bytes], Callable[[Checkout], Seen]]:
    """A refusal of one of these kinds."""

    def of(content: bytes) -> Callable[[Checkout], Seen]:
        def look(there: Checkout) -> Seen:
            answer = there.assess(content)
            return Seen(words_of(answer), answer.get("refusal") in names)

        return look

    return of


def told(*wanted: str) -> Callable[[bytes], Callable[[Checkout], Seen]]:
    """One of these cautions beside the number, or a refusal in words."""

    def of(content: bytes) -> Callable[[Checkout], Seen]:
        def look(there: Checkout) -> Seen:
            answer = there.assess(content)
            return Seen(words_of(answer), bool(codes(answer) & set(wanted)) or answer.get("foreseen", False))

        return look

    return of
