"""docs/security.md and docs/defects_before.md name tests that are there, for every promise and every defect."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT, DEFECTS = (
    (REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("security.md", "defects_before.md")
)
NAMED, HOLDING = (sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text))) for text in (TEXT, DEFECTS))


@pytest.mark.parametrize(("file", "name"), sorted({*NAMED, *HOLDING}))
def test_a_named_test_is_there(file: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_what_holds_it() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]
    assert len(rows) >= 20
    assert [row for row in rows if "::" not in row.split("|")[2]] == []
    assert len(NAMED) >= 30


def test_every_reported_defect_names_what_holds_it() -> None:
    rows = [line for line in DEFECTS.splitlines() if re.match(r"\| [A-E](\d| \w+)? \|", line) and "`" in line]
    assert len(rows) >= 100
    assert [row for row in rows if "::" not in row.split("|")[-2]] == []
    assert "Not as expected now: none." in DEFECTS
    assert not [row for row in rows if "STILL FAILS" in row or "LOST" in row]
