"""`python -m train hand-store`: find the hand of every radiograph once, for all later training."""

from __future__ import annotations

from baa_core.networks import torchvision_compat  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
import argparse
import cv2
import multiprocessing
import numpy as np
import pandas as pd
import sys
import torch
from baa_core.errors import BoneAgeError
from baa_core.recipes import DEFAULT_RECIPE, find_recipe
from baa_core.types import HandMask, Radiograph
from baa_core.recipes.schema import Member
from pathlib import Path
from .samples import Sample, find_samples, read_labels, read_sample
from baa_core.networks.build import build
from baa_core.hand.segmentation import find_hand
from ..initial_weights import member_start, start_file
from ..command_line import says_problems
from tqdm import tqdm


class HandStore:
    """Hand masks found once by the shipped hand network and kept as small PNGs.

    Files are `<folder>/<kind>/<rsna_id>.png` with tilt and polarity in `hands.csv`.

    Raises:
        BoneAgeError: it has not been made yet.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "hands.csv").exists():
            raise BoneAgeError(
                "This network learns from masked hands, and there are none yet in the cache. "
                "Run 'python -m train hand-store' with the same --images, --labels and --cache first."
            )
        self.folder = folder
        self.table = pd.read_csv(folder / "hands.csv").set_index(["kind", "rsna_id"]).sort_index()

    def hand(self, sample: Sample, radiograph: Radiograph) -> HandMask | None:
        """The hand of a sample, or None where none was found."""
        key = (sample.kind, sample.rsna_id)
        if key not in self.table.index or not self.table.loc[key, "found"]:
            return None
        row = self.table.loc[key]
        small = cv2.imread(str(self.folder / sample.kind / f"{sample.rsna_id}.png"), cv2.IMREAD_GRAYSCALE)
        height, width = radiograph.shape
        mask = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) > 127
        return HandMask(mask, float(row.presence), float(row.tilt_degrees), bool(row.inverted))


STORED_SIDE_PX = 512

_state: dict[str, torch.nn.Module] = {}


def _prepare_worker(member: Member, weights: Path) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    network = build(member.architecture)
    member_start(network, weights)
    _state["network"] = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _record(task: tuple[Sample, Member, Path]) -> dict[str, object]:
    sample, member, folder = task
    row: dict[str, object] = {
        "kind": sample.kind,
        "rsna_id": sample.rsna_id,
        "found": False,
        "presence": 0.0,
        "tilt_degrees": 0.0,
        "inverted": False,
        "reason": "",
    }
    try:
        hand = find_hand(read_sample(sample), _state["network"], member.input)
    except BoneAgeError as error:
        return row | {"reason": type(error).__name__}
    small = cv2.resize(hand.pixels.astype(np.uint8) * 255, _stored_size(hand), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / sample.kind / f"{sample.rsna_id}.png"), small)
    found = {"presence": hand.presence, "tilt_degrees": hand.tilt_degrees, "inverted": hand.inverted}
    return row | {"found": True} | found


def _stored_size(hand: HandMask) -> tuple[int, int]:
    height, width = hand.pixels.shape
    scale = min(1.0, STORED_SIDE_PX / max(height, width))
    return round(width * scale), round(height * scale)


def store_hands(samples: list[Sample], member: Member, weights: Path, folder: Path, workers: int) -> pd.DataFrame:
    """Keep every hand as a small PNG and a row of `hands.csv`, which is returned."""
    for kind in ("thumbnails", "sharp"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_prepare_worker, initargs=(member, weights)) as pool:
        tasks = ((s, member, folder) for s in samples)
        rows = list(
            tqdm(pool.imap(_record, tasks, chunksize=16), total=len(samples), desc="finding hands", mininterval=10)
        )
    table = pd.DataFrame(rows)
    table.to_csv(folder / "hands.csv", index=False)
    return table


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train hand-store", description=__doc__)
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument(
        "--weights", type=Path, help="of the hand network; by default its run's, or else the shipped ones"
    )
    line.add_argument("--cache", type=Path, default=Path("cache"))
    line.add_argument("--workers", type=int, default=2)
    args = line.parse_args(arguments)
    member = find_recipe(args.recipe).hand
    samples = find_samples(args.images, read_labels(args.labels))
    weights = args.weights or start_file(member.name, Path("runs"))
    member_start(build(member.architecture), weights)  # here, since processes that fail to start are started for ever
    table = store_hands(samples, member, weights, args.cache / "hands", args.workers)
    print(table.groupby("kind").found.agg(["size", "sum"]))
    return 0
