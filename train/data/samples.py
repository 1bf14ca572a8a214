"""Which labelled pictures there are, and how one is read: thumbnails brought back to their true aspect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd

from baa_core.errors import InvalidTable
from baa_core.io import read_radiograph
from baa_core.types import Radiograph

Kind = Literal["thumbnails", "sharp"]
THUMBNAIL_PX = 100
MEAN_ASPECT = 0.79  # width / height of the 2,481 originals whose size is known (DATA.md)
COLUMNS = ("rsna_id", "sex", "bone_age_months", "split")


def read_labels(path: Path, teacher: Path | None = None) -> pd.DataFrame:
    """The label table, indexed by `rsna_id`.

    Args:
        teacher: a table of another system's readings: `rsna_id` and columns ending in `_months`. Their mean is
            joined as `teacher_months`.

    Raises:
        InvalidTable: a column is missing or an id stands twice.
    """
    table = pd.read_csv(path)
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise InvalidTable(f"The label table lacks the columns {missing}. It needs {list(COLUMNS)}.")
    if table.rsna_id.duplicated().any():
        raise InvalidTable("The label table names an rsna_id twice. Each radiograph may stand there once.")
    table = table.set_index("rsna_id")
    if teacher is not None:
        readings = pd.read_csv(teacher).set_index("rsna_id").filter(like="_months")
        table = table.join(readings.mean(axis=1).rename("teacher_months"))
    return table


@dataclass(frozen=True)
class Sample:
    """One labelled picture file. `aspect` (width / height) is set for squashed thumbnails only."""

    rsna_id: int
    path: Path
    kind: Kind
    aspect: float | None


def find_samples(folders: Iterable[Path], labels: pd.DataFrame) -> list[Sample]:
    """Every labelled picture below the folders, named `<rsna_id>.<ending>`.

    A picture of exactly 100 x 100 px is a squashed thumbnail; anything larger is sharp.

    Raises:
        InvalidTable: no labelled picture was found.
    """
    samples = []
    for folder in folders:
        for path in sorted(folder.rglob("*.*")):
            if path.stem.isdigit() and int(path.stem) in labels.index:
                samples += [_sample(path, labels.loc[int(path.stem)])]
    if not samples:
        raise InvalidTable("No labelled picture was found. --images must hold files named <rsna_id>.png or .jpg.")
    return samples


def is_thumbnail(path: Path) -> bool:
    """Is this a PNG of exactly 100 x 100 px? Read off its first 24 bytes (PNG specification, section 11.2.1)."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        head = file.read(24)
    sides_px = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return head[12:16] == b"IHDR" and sides_px == (THUMBNAIL_PX, THUMBNAIL_PX)


def _sample(path: Path, row: pd.Series) -> Sample:
    if not is_thumbnail(path):
        return Sample(int(path.stem), path, "sharp", None)
    width, height = row.get("original_width"), row.get("original_height")
    known = width == width and height == height and width is not None and height is not None
    return Sample(int(path.stem), path, "thumbnails", float(width / height) if known else MEAN_ASPECT)


def read_sample(sample: Sample) -> Radiograph:
    """The radiograph of a sample, a thumbnail brought back to its true aspect (256 px high).

    Raises:
        UnreadableImage: the file is corrupt; the message names it.
    """
    radiograph = read_radiograph(sample.path)
    if sample.aspect is None:
        return radiograph
    size = (round(256 * sample.aspect), 256)
    pixels = np.clip(cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    return Radiograph(pixels=pixels.astype(np.float32), name=radiograph.name)
