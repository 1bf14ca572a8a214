"""A bug of ours is told with where it happened, and without what a file or an entry held."""

import json
import logging
from pathlib import Path

import pytest

import baa_core.__main__ as command_line
from baa_core.errors import HandNotFound
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.faults import describe_fault
from baa_core.types import Patient, Report

SECRET = "Jane Doe, born 2010-01-02"


def inner(value: str) -> None:
    raise KeyError(value)


def broken(*_: object, **__: object) -> Report:
    """A bug behind another one, both quoting what they read."""
    try:
        inner(SECRET)
    except KeyError as error:
        raise ZeroDivisionError(SECRET) from error
    raise AssertionError


def test_a_fault_names_types_and_places_and_nothing_read() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        broken()
    told = describe_fault(caught.value)
    assert told.index("KeyError") < told.index("in inner") < told.index("ZeroDivisionError") < told.rindex("in broken")
    assert "test_faults.py" in told
    assert "Jane" not in told and str(Path.cwd()) not in told


class Broken:
    def assess(self, source: Path, patient: Patient, **options: object) -> Report:
        return broken()


class Refusing:
    def assess(self, source: Path, patient: Patient, **options: object) -> Report:
        raise HandNotFound("No hand.")


@pytest.mark.parametrize(("assessor", "told"), [(Broken, True), (Refusing, False)])
def test_a_batch_goes_on_and_tells_the_bug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, assessor: type[Broken], told: bool
) -> None:
    (tmp_path / "table.csv").write_text("file,sex\n0.png,female\n1.png,male\n")
    batch = Batch(tmp_path / "table.csv", tmp_path, tmp_path / "results.csv", "tiny")
    with caplog.at_level(logging.ERROR):
        assert run_batch(batch, assessor, show_progress=False).refused == 2
    assert caplog.text.count("in inner") == (2 if told else 0)
    assert "Jane" not in caplog.text + (tmp_path / "results.csv").read_text()


@pytest.mark.parametrize("command", ["assess", "explain", "compare"])
def test_the_command_line_says_one_line_and_logs_the_bug(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(command_line, "load_assessor", broken)
    monkeypatch.setattr(command_line, "compare", broken)
    assert command_line.main([command, "hand.png", "--sex", "female", "--json"]) == command_line.SOME_REFUSED
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert "ZeroDivisionError" in line and json.loads(line)["status"] == "refused"
    assert caplog.text.count("in inner") == 1
    assert "Jane" not in printed.out + printed.err + caplog.text


def test_a_bug_outside_an_assessment_is_told_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(command_line, "read_cases", broken)
    words = ["evaluate", "results.csv", "--labels", "labels.csv", "--out", str(tmp_path)]
    assert command_line.main(words) == command_line.WRONG_USAGE
    printed = capsys.readouterr()
    assert printed.err.strip() == "This could not be done because of a fault in the software (ZeroDivisionError)."
    assert "in inner" in caplog.text and "Jane" not in caplog.text
