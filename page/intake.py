"""What a visitor brings: a file, and what was entered about the child."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from baa_core.errors import InvalidPatient
from baa_core.types import Patient, Sex, parse_sex

from .text import entered_age_months


class Chosen(NamedTuple):
    """The picture about to be assessed, and what its file says about the child."""

    name: str
    content: bytes
    drawn: bool = False
    sex_in_file: Sex | None = None
    age_in_file_months: float | None = None


def take_upload(path: str, folder: Path) -> tuple[str, bytes]:
    """The name and bytes of an uploaded file, which is deleted from disk.

    Args:
        path: where Gradio put it: in a folder of its own under `folder`.
        folder: the private folder for uploads.
    """
    file = Path(path)
    content = file.read_bytes()
    if folder in file.parents and file.parent != folder:
        shutil.rmtree(file.parent, ignore_errors=True)
    for stray in folder.glob("tmp*"):  # gr.File leaves an empty file for every upload it hands over
        if stray.is_file() and stray.stat().st_size == 0:
            stray.unlink(missing_ok=True)
    return file.name, content


def entered_patient(sex: str | None, years: str | None, months: str | None) -> Patient:
    """What was entered about the child.

    Raises:
        InvalidPatient: no sex was chosen, or the age makes no sense.
    """
    if sex is None:
        raise InvalidPatient("No sex has been chosen. Choose Female, Male or Unknown, and press the button again.")
    return Patient(parse_sex(sex), entered_age_months(years, months))
