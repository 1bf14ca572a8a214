"""How far the answers of networks on OpenVINO lie from those in PyTorch, on real radiographs.

    python -m benchmarks.agreement --images DIR --labels CSV [--split val] [--number 60]

Each radiograph passes twice through all that an assessment does: with all networks in PyTorch, and as it is served.
Outlines are drawn by PyTorch both times, so a mask that differs is an error; it ends with status 1 then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from baa_core.errors import BoneAgeError
from baa_core.evaluation.tables import read_table
from baa_core.io import read_radiograph
from baa_core.networks.store import NetworkStore
from baa_core.types import Radiograph
from baa_core.workflows.assess import Assessor, load_assessor
from baa_core.workflows.findings import Findings

from .systems import write_split


@dataclass
class Differences:
    """The largest ones of some radiographs.

    Attributes:
        radiographs, refused: how many; of them, refused by both alike.
        months, network: of an age network's answer, and of which.
        probability_male: of the probability that the hand is a boy's.
        otherwise: radiographs with another mask, or refused on one engine alone.
    """

    radiographs: int = 0
    refused: int = 0
    months: float = 0.0
    network: str = "no network"
    probability_male: float = 0.0
    otherwise: int = 0

    def add(self, plain: Findings | str, served: Findings | str) -> None:
        """Count what was found in one radiograph, or the kinds of refusal."""
        self.radiographs += 1
        if isinstance(plain, str) or isinstance(served, str):
            self.refused += plain == served
            self.otherwise += plain != served
            return
        self.otherwise += not np.array_equal(plain.hand.pixels, served.hand.pixels)
        for sex, answers in plain.outputs.by_sex.items():
            for name, answer in answers.items():
                apart = abs(answer.months - served.outputs.by_sex[sex][name].months)
                if apart > self.months:
                    self.months, self.network = apart, name
        male = abs(plain.outputs.probability_male - served.outputs.probability_male)
        self.probability_male = max(self.probability_male, male)


def on(engine: str) -> Assessor:
    """The default system, loaded with its networks on this engine."""
    with mock.patch.dict(os.environ, BAA_ENGINE=engine):
        assessor = load_assessor(store=NetworkStore.of_folder())
        assessor.warm_up()
    return assessor


def found(assessor: Assessor, radiograph: Radiograph) -> Findings | str:
    """What an assessor finds, or the kind of its refusal."""
    try:
        return assessor.find(radiograph)
    except BoneAgeError as refusal:
        return type(refusal).__name__


def differences(radiographs: Iterable[Radiograph]) -> Differences:
    """Between the engines."""
    plain, served, apart = on("torch"), on("openvino"), Differences()
    for radiograph in radiographs:
        apart.add(found(plain, radiograph), found(served, radiograph))
    return apart


def main() -> int:
    """Read the command line, compare, and say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of radiographs")
    parser.add_argument("--labels", type=Path, required=True, help="table with rsna_id, sex, split")
    parser.add_argument("--split", default="val", help="which of them (default: val)")
    parser.add_argument("--number", type=int, default=60, help="so many, spread over the split (default: 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_split(options.labels, options.images, options.split, table)
        files = [options.images / row["file"] for row in read_table(table, ("file", "sex")).rows]
    chosen = files[:: max(1, len(files) // options.number)][: options.number]
    apart = differences(read_radiograph(path) for path in chosen)
    print(
        f"{apart.radiographs} radiographs, {apart.refused} of them refused: at most {apart.months:.4f} months apart "
        f"({apart.network}) and {apart.probability_male:.5f} in the probability of male; {apart.otherwise} with "
        "another mask or refusal"
    )
    return int(apart.otherwise > 0)


if __name__ == "__main__":
    sys.exit(main())
