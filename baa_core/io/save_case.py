"""A confirmed case -> a folder that `train` reads: only where someone asked for it and consented (Malanga 2024).

Nothing calls this unless the page was started with `--save-cases DIR` and the visitor ticked the consent. What is
written is the picture as grey values, the sex and the bone age: no name, no date, no header of the file.
"""

from __future__ import annotations

import csv
import os
import secrets
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from ..errors import InvalidPatient
from ..types import OLDEST_MONTHS, Radiograph, Sex

COLUMNS = ("rsna_id", "sex", "bone_age_months", "split")
LARGEST_NUMBER = 10**9  # numbers are drawn, so that they say nothing of when or in which order cases were saved
FIRST_NUMBER = 10**8  # above every id of RSNA


def save_confirmed_case(
    folder: Path, radiograph: Radiograph, sex: Sex | None, bone_age_months: float | None, *, consent: bool
) -> Path:
    """Keep one radiograph with its confirmed bone age for later training.

    Args:
        folder: gets `images/<number>.png` (16 bit, bone bright) and a row in `labels.csv`.
        radiograph: as read.
        sex: of the child.
        bone_age_months: as a reader confirmed it.
        consent: that the picture may be kept, said by whoever may say so.

    Returns:
        the picture's path.

    Raises:
        InvalidPatient: there is no consent, or no sex, or no possible bone age.
    """
    if not consent:
        raise InvalidPatient("Nothing was saved: tick that this picture may be kept before saving it.")
    if sex is None:
        raise InvalidPatient("Nothing was saved: a case for training needs the child's sex, female or male.")
    if bone_age_months is None or not 0 <= bone_age_months <= OLDEST_MONTHS:
        raise InvalidPatient(
            f"Nothing was saved: a case for training needs a confirmed bone age of 0 to {OLDEST_MONTHS:.0f} months."
        )
    number = FIRST_NUMBER + secrets.randbelow(LARGEST_NUMBER - FIRST_NUMBER)
    picture = folder / "images" / f"{number}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    levels = np.asarray(np.round(radiograph.pixels * 65535), np.uint16)
    picture.write_bytes(cv2.imencode(".png", levels)[1].tobytes())
    labels = folder / "labels.csv"
    if not labels.exists():
        _begin(labels)
    with labels.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([number, sex, f"{bone_age_months:g}", "train"])
    return picture


def _begin(labels: Path) -> None:
    """Make the table with its header, whole and once, however many cases are saved at the same time."""
    begun = labels.with_name(f"{labels.name}.{secrets.token_hex(8)}")
    with begun.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(COLUMNS)
    with suppress(FileExistsError):
        os.link(begun, labels)  # fails where there is one
    begun.unlink()
