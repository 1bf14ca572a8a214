"""requirements.lock pins and hashes all that requirements.txt asks for."""

import re
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")
REPOSITORY = Path(__file__).resolve().parents[2]


def lines(name: str) -> list[str]:
    """Requirements of a file, continued lines joined."""
    text = (REPOSITORY / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("#", "-"))]


def test_everything_required_is_locked_at_an_allowed_version() -> None:
    locked: dict[str, set[str]] = {}
    for line in lines("requirements.lock"):
        name, version = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line).groups()  # type: ignore[union-attr]
        locked.setdefault(name.lower().replace("_", "-"), set()).add(version)
    for line in lines("requirements.txt"):
        wanted = packaging.Requirement(line.partition("#")[0])
        versions = locked.get(wanted.name.lower().replace("_", "-"), set())
        assert versions, f"{wanted.name} is not in requirements.lock: make it anew as its first lines say"
        assert all(wanted.specifier.contains(version) for version in versions), f"{wanted} is locked at {versions}"


def test_everything_locked_has_hashes() -> None:
    assert all("--hash=sha256:" in line for line in lines("requirements.lock"))
