"""A heatmap for each assessed row of a batch: a folder of PNG files, or one Zarr group with an array a row.

    FOLDER/00000012_hand.png      the radiograph with its heatmap, as the page shows it
    NAME.zarr/00000012_hand       the heat alone, float16 (H, W) in [0, 1] on the radiograph's grid, and attributes

Each is called by the number of its row in the table, from 1, and its file. It is written before the row is, so that no
row of the results lacks its heatmap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import InvalidTable, PackageMissing, StorageUnreachable
from ..types import Report

ZARR = ".zarr"


@dataclass(frozen=True)
class Heatmaps:
    """Where the heatmaps of a batch go. It is sent to each process.

    Attributes:
        where: a folder; a Zarr group if it ends in .zarr.
        draw: a report's heatmap as the bytes of a PNG file; a function of a module.
    """

    where: Path
    draw: Callable[[Report], bytes]

    def prepare(self) -> None:
        """Make the folder or the group.

        Raises:
            InvalidTable: it cannot be made.
            PackageMissing: Zarr is asked for and not installed.
        """
        if self.where.exists() and not self.where.is_dir():
            raise InvalidTable(f"{self.where.name} is a file, but --heatmaps needs a folder. Name another one.")
        try:
            self.where.mkdir(exist_ok=True)
            if self._as_zarr:
                _zarr().open_group(str(self.where), mode="a")
        except OSError:
            raise InvalidTable(
                f"{self.where.name} cannot be written. Check that its folder is there and may be used."
            ) from None

    def lacks(self, number: int, file: str) -> bool:
        """Whether a row has no heatmap."""
        return not (self.where / self._name(number, file)).exists()

    def write(self, number: int, file: str, report: Report) -> None:
        """Write the heatmap of a row.

        Raises:
            StorageUnreachable: it cannot be written; later ones could not either.
        """
        name = self._name(number, file)
        try:
            if self._as_zarr:
                self._write_array(name, file, report)
                return
            unfinished = self.where / f".{name}"
            unfinished.write_bytes(self.draw(report))
            unfinished.replace(self.where / name)
        except OSError as error:
            raise StorageUnreachable(
                f"A heatmap could not be written to {self.where.name} ({error.strerror or type(error).__name__}). Make "
                "room or give another folder, then give the same command again: it goes on where it stopped."
            ) from None

    def _write_array(self, name: str, file: str, report: Report) -> None:
        if report.explanation is None:
            raise ValueError("the report has no heatmap")
        heat = report.explanation.heat.astype(np.float16)
        array = _zarr().open_group(str(self.where), mode="r+").create_array(name, data=heat, overwrite=True)
        array.attrs.update(
            {
                "file": file,
                "method": report.explanation.method,
                "inside_hand_share": report.explanation.inside_hand_share,
                "bone_age_months": report.prediction.bone_age_months,
            }
        )

    @property
    def _as_zarr(self) -> bool:
        return self.where.suffix.lower() == ZARR

    def _name(self, number: int, file: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(file.replace("\\", "/")).stem)[:60]
        return f"{number:08d}_{stem}{'' if self._as_zarr else '.png'}"


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise PackageMissing(
            'Zarr needs the package zarr, which is not installed. Install it by: pip install "zarr>=3.1,<4"'
        ) from None
    return zarr
