"""What commit 773bc17 answered to the inputs of the defects reported on it, beside what this checkout answers.

    git worktree add ../before 773bc17
    python -m benchmarks.before --before ../before                                  print the table
    python -m benchmarks.before --before ../before --write docs/defects_before.md   and write it

Every input is made from drawn hands. Each checkout answers in a process of its own, by its own code: about the same
file, by the same command line, by the same few calls of its functions, or by the page that it serves. `--only A1 E`
takes some points; `--kept FILE` holds rows that were answered, so that a run that was ended goes on where it was.

Ends with status 1 if a row does not hold in this checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from ..checkouts import REPOSITORY, process
from . import answers, functions, page, pictures
from .rows import Checkout, Row, Seen
from .without_a_row import BY_TEST, PLACES

TITLES = {
    "A": "A wrong number, no word",
    "B": "Needless refusals",
    "C": "Shown, but not true",
    "D": "Swallowed",
    "E": "Reports of others and everyday practice",
}


INTRODUCTION = (
    "# Reported defects, before and now",
    "",
    "What commit 773bc17 answered to the inputs of the defects reported on it, and what this version answers.",
    "`python -m benchmarks.before --before DIR --write docs/defects_before.md` makes the inputs from drawn hands, lets",
    'each checkout answer by its own code, and writes this table. "Mended": the former answer is not the expected',
    'one, the present answer is. "Held and holds": tried beside a defect, and right in both. The two versions have',
    "different networks: months are judged beside a version's own answer to the plain picture.",
    "",
)


class Answered(NamedTuple):
    """A row with the former and the present answer."""

    row: Row
    old: Seen
    new: Seen

    @property
    def verdict(self) -> str:
        """What became of the defect."""
        if None in (self.old.holds, self.new.holds):
            return "not asked"
        known = {(False, True): "mended", (True, True): "held and holds", (False, False): "STILL FAILS"}
        return known.get((self.old.holds, self.new.holds), "LOST")  # type: ignore[arg-type]


def all_rows(only: Sequence[str] = ()) -> list[Row]:
    """Of every point in order, or of those that begin so, in the order in which they are named."""
    rows = sorted([*pictures.rows(), *functions.rows(), *page.rows()], key=lambda row: row.point)
    return [row for start in only or ("",) for row in rows if row.point.startswith(start)]


def answered(before: Path, rows: Sequence[Row], kept: Path | None, asking: bool = True) -> Iterator[Answered]:
    """Each row with both answers; the checkouts start when a row asks them that is not kept.

    Args:
        before: the earlier checkout.
        rows: to be answered.
        kept: a file of answers, read and added to.
        asking: ask for what is not kept; otherwise it is said not to be asked.
    """
    known = {}
    if kept is not None and kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            point, given, old, new = json.loads(line)
            known[point, given] = (Seen(*old), Seen(*new))
    with ExitStack() as stack:
        sides: list[Checkout] = []
        for row in rows:
            if (row.point, row.given) not in known and not asking:
                yield Answered(row, Seen("", None), Seen("", None))
                continue
            if (row.point, row.given) not in known:
                sides = sides or [started(path, stack) for path in (before, REPOSITORY)]
                old, new = (seen(row, side) for side in sides)
                known[row.point, row.given] = (old, new)
                if kept is not None:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([row.point, row.given, old, new]) + "\n")
            yield Answered(row, *known[row.point, row.given])


def started(path: Path, stack: ExitStack) -> Checkout:
    """A checkout that answers until the stack is closed."""
    files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    ask = stack.enter_context(process(path, Path(answers.__file__)))
    return Checkout(path, ask, files, stack)


def seen(row: Row, side: Checkout) -> Seen:
    """One answer. A row that cannot be asked does not end the others."""
    try:
        return row.look(side)
    except Exception as error:  # noqa: BLE001 - said in the table
        return Seen(f"cannot be asked ({type(error).__name__}: {str(error)[:80]})", None)


def table(found: Sequence[Answered]) -> str:
    """All rows, counted, as Markdown."""
    verdicts = ("mended", "held and holds", "STILL FAILS", "LOST", "not asked")
    points = list(dict.fromkeys(each.row.point for each in found))
    lines = [
        *INTRODUCTION,
        f"| point | inputs | {' | '.join(verdicts)} |",
        f"|---|---|{'---|' * len(verdicts)}",
    ]
    for point in (*points, "all"):
        own = [each.verdict for each in found if point in (each.row.point, "all")]
        lines.append(f"| {point} | {len(own)} | {' | '.join(str(own.count(verdict)) for verdict in verdicts)} |")
    failing = [each.row.given for each in found if each.verdict in ("STILL FAILS", "LOST")]
    lines += ["", f"Not as expected now: {', '.join(failing) or 'none'}."]
    for letter, title in TITLES.items():
        own = [each for each in found if each.row.point.startswith(letter)]
        if not own:
            continue
        lines += [
            "",
            f"## {letter}. {title}",
            "",
            "| point | input | 773bc17 | now | expected | | former code | held by |",
        ]
        lines.append("|---|---|---|---|---|---|---|---|")
        for row, old, new in own:
            cells = (row.point, row.given, old.words, new.words, row.expected, Answered(row, old, new).verdict)
            tests = ", ".join(f"`{test}`" for test in row.tests)
            place = row.place or PLACES[row.point]
            lines.append(
                f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} | `{place}` | {tests} |"
            )
    lines += ["", "## Without an input here", "", "| point | what | former code | held by |", "|---|---|---|---|"]
    for each in BY_TEST:
        lines.append(
            f"| {each.point} | {each.what} | `{each.place}` | {', '.join(f'`{test}`' for test in each.tests)} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, ask, and say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="the earlier checkout")
    parser.add_argument("--only", nargs="+", default=(), metavar="POINT", help="points that begin so, as A1 or E")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="rows answered, one a line; continued if it is there")
    parser.add_argument("--no-asking", action="store_true", help="only the rows of --kept; others are left open")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the table there")
    options = parser.parse_args(arguments)
    if not (options.before / "baa_core").is_dir():
        parser.error("--before needs the folder of another checkout: git worktree add ../before 773bc17")
    found = []
    for each in answered(options.before.resolve(), all_rows(options.only), options.kept, not options.no_asking):
        print(f"{each.row.point} | {each.row.given} | {each.old.words} | {each.new.words} | {each.verdict}", flush=True)
        found.append(each)
    if options.write is not None:
        options.write.write_text(table(found), encoding="utf-8")
    return int(any(each.new.holds is False for each in found))


if __name__ == "__main__":
    sys.exit(main())
