"""What one visitor's batch holds, in memory alone: files, table, and the results so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import ClassVar, NamedTuple
from weakref import WeakSet

from baa_core.errors import BoneAgeError, InvalidTable, SeveralHands
from baa_core.evaluation.archive import Archive, is_picture, is_table, is_zip, open_archive, read_entry
from baa_core.evaluation.batch import AGE_COLUMN, NEEDED_COLUMNS, ONE_OF_SEVERAL
from baa_core.evaluation.pairs import REFERENCE_COLUMNS
from baa_core.evaluation.tables import Table, parse_table
from baa_core.evaluation.worklist import MOST_FILES, Key, Row, Source, Worklist, plan, sha256_of
from baa_core.types import HandChoice

FORGET_AFTER_SECONDS = 3600
MOST_BYTES = 400 * 2**20  # of uploads in one batch; they are kept as they came, a zip packed
MOST_BYTES_OF_ALL = 1500 * 2**20  # of all visitors together


class Done(NamedTuple):
    """A row's result.

    Attributes:
        fields: of `results.RESULT_COLUMNS`.
        thumbnail: address of a small picture with the outline; "" where the file could not be read.
        notes: what the visitor is told beside it, one sentence each.
        seconds: it took.
    """

    fields: Mapping[str, str]
    thumbnail: str
    notes: tuple[str, ...]
    seconds: float

    @property
    def of_several_hands(self) -> bool:
        """The picture shows several hands, so this depends on which of them is to be assessed."""
        chosen = ONE_OF_SEVERAL in self.fields["cautions"].split("; ")
        return chosen or self.fields["error_type"] == SeveralHands.__name__


@dataclass(eq=False)
class Work:
    """One visitor's batch.

    Attributes:
        sources: radiographs by name.
        table: as uploaded last; None without one.
        table_name: its file's name.
        sex_of_all: of every file if there is no table.
        hand: which of several hands of a picture; None refuses it.
        results: by row.
        notes: what was noticed when files were taken, one sentence each.
        running: it is to go on.
        turn: counts the rows done and the stops, so that the browser knows an answer from the one before.
        used: when the visitor last did something.
        size: bytes kept.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    table: Table | None = None
    table_name: str = ""
    sex_of_all: str = "unknown"
    hand: HandChoice | None = None
    results: dict[Key, Done] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    running: bool = False
    turn: int = 0
    used: float = field(default_factory=time.monotonic)
    size: int = 0
    lock: RLock = field(default_factory=RLock)

    def worklist(self) -> Worklist:
        """The rows as files and table stand now."""
        with self.lock:
            return plan(self.sources, self.table, self.table_name, self.sex_of_all)

    def choose_hand(self, hand: HandChoice | None) -> None:
        """Another hand where there are several; results that depend on it are forgotten, and their rows wait again."""
        with self.lock:
            if hand == self.hand:
                return
            self.hand = hand
            self.results = {key: done for key, done in self.results.items() if not done.of_several_hands}

    def left(self, rows: Sequence[Row]) -> list[Row]:
        """The rows without a result."""
        return [row for row in rows if row.key not in self.results]

    def take(self, files: Sequence[tuple[str, bytes]], room: int) -> None:
        """Add uploads: radiographs, zips of them, and a table; what cannot be taken is noted and the rest goes on.

        Args:
            files: name and content of each.
            room: bytes that all batches together may still take.
        """
        with self.lock:
            self.notes = []
            twice: list[str] = []
            for name, content in files:
                try:
                    room -= self._take_one(name, content, room, twice)
                except BoneAgeError as error:
                    self.notes.append(str(error))
            if twice:
                self.notes.append(f"Taken once, because it was there already: {', '.join(twice[:3])}"
                                  + (f" and {len(twice) - 3} more." if len(twice) > 3 else "."))  # fmt: skip

    def _take_one(self, name: str, content: bytes, room: int, twice: list[str]) -> int:
        """Take one upload; how many bytes are kept of it.

        Raises:
            BoneAgeError: it cannot be taken.
        """
        if is_table(name):
            self.take_table(name, content)
            return 0
        if is_zip(content):
            pairs = self._from_zip(name, content)
        elif is_picture(name, content[:132]):
            pairs = iter([(name, content)])
        else:
            raise InvalidTable(f"{name[:60]} is no radiograph, zip or CSV, and was left out.")
        if len(content) > room or self.size + len(content) > MOST_BYTES:
            raise InvalidTable(
                f"{name[:60]} was left out: there is no room for it in memory. Finish or clear a batch first, or "
                "divide it."
            )
        added = False
        for path, data in pairs:
            added = self._add(path, data, content, is_zip(content), twice) or added
        self.size += len(content) * added
        return len(content) * added

    def _from_zip(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        """Every radiograph of a zip by its path; its table is taken if it has one and none was given."""
        archive: Archive = open_archive(content, name)
        self.notes += archive.refused
        if archive.others:
            shown = ", ".join(archive.others[:3]) + (f" and {len(archive.others) - 3} more" * (len(archive.others) > 3))
            self.notes.append(f"Left out of {name}, because they are no radiographs: {shown}.")
        if not archive.pictures:
            raise InvalidTable(f"{name} holds no radiograph.")
        if archive.tables and self.table is None:
            if len(archive.tables) == 1:
                self.take_table(archive.tables[0], read_entry(content, archive.tables[0]))
            else:
                self.notes.append(f"{name} holds {len(archive.tables)} tables; none was used. Choose one yourself.")
        return ((path, read_entry(content, path)) for path in archive.pictures)

    def _add(self, name: str, data: bytes, content: bytes, zipped: bool, twice: list[str]) -> bool:
        """Keep one radiograph, packed if it came so; False if it is there already."""
        sha256 = sha256_of(data)
        if (there := self.sources.get(name)) is not None:
            if there.sha256 == sha256:
                twice.append(name[:60])
            else:
                self.notes.append(f"{name[:60]} is there already with other content; the first is kept. Rename it.")
            return False
        if len(self.sources) >= MOST_FILES:
            said = f"More than {MOST_FILES} radiographs are not taken at once; the others were left out."
            if said not in self.notes:
                self.notes.append(said)
            return False
        same = next((source.name for source in self.sources.values() if source.sha256 == sha256), None)
        if same is not None:
            self.notes.append(f"{name[:60]} holds the same picture as {same[:60]}. Both are kept.")
        read = partial(read_entry, content, name) if zipped else partial(bytes, data)
        self.sources[name] = Source(name, sha256, read)
        return True

    def take_table(self, name: str, content: bytes) -> None:
        """Use a table; the one before stays if this one cannot be used.

        Raises:
            InvalidTable: it lacks the columns file and sex, or is none.
        """
        with self.lock:
            table = parse_table(content, name, NEEDED_COLUMNS, (AGE_COLUMN, *REFERENCE_COLUMNS[:1], "bone_age_months"))
            if len(table.rows) > MOST_FILES:
                raise InvalidTable(f"{name} has {len(table.rows)} rows; at most {MOST_FILES} are taken. Divide it.")
            self.table, self.table_name = table, name

    def csv_rows(self) -> dict[Key, Mapping[str, str]]:
        """Every result's fields by its row."""
        return {key: done.fields for key, done in self.results.items()}


class Works:
    """The batches of all visitors, by session; forgotten when one leaves, or an hour after it was last used."""

    everybody: ClassVar[WeakSet[Works]] = WeakSet()

    def __init__(self) -> None:
        self._of: dict[str, Work] = {}
        self._lock = RLock()
        self.everybody.add(self)

    def of(self, session: str) -> Work:
        """A session's batch, an empty one at first."""
        self.forget_old()
        with self._lock:
            work = self._of.setdefault(session, Work())
            work.used = time.monotonic()
            return work

    def forget_old(self, now: float | None = None) -> None:
        """Keep nothing of batches that were not used for an hour; `now` in `time.monotonic`'s seconds."""
        now = time.monotonic() if now is None else now
        with self._lock:
            old = [session for session, work in self._of.items() if now - work.used > FORGET_AFTER_SECONDS]
        for session in old:
            self.forget(session)

    def room(self) -> int:
        """Bytes that may still be taken."""
        with self._lock:
            return MOST_BYTES_OF_ALL - sum(work.size for work in self._of.values())

    def forget(self, session: str) -> None:
        """Keep nothing of a session; what runs of it stops at its next look."""
        with self._lock:
            work = self._of.pop(session, None)
        if work is not None:
            with work.lock:
                work.running = False
                work.sources.clear()
                work.results.clear()
