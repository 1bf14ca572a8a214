"""`python -m train cut-outs`: outlines of `train` radiographs by the shipped hand network, for its next training.

Every radiograph is segmented twice, as a whole and cropped to the hand. A mask is kept where both agree and the checks
of `train.fit_hand` pass. What is kept goes into `hands.csv` beside the pictures; `--sheet` draws the outlines to be
checked by eye.
Outlines that were seen to be wrong on that sheet are named in `WRONG` and never used.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandNotFound, SeveralHands
from baa_core.hand.segmentation import find_hand
from baa_core.preprocessing.prepare import InputSpec
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import BoolArray, Radiograph
from baa_core.workflows.assess import load_assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample
from ..fit_hand import direction, read_points
from .grabcut_seeds import passes_checks

SIDE_PX = 640  # longer side of what is kept: a hand that fills most of a frame of 512 px needs no more
CROP_MARGIN = 0.12  # of the longer side of the hand's box, on each side
LEAST_AGREEMENT = 0.94  # intersection over union of the masks of the whole frame and of the crop
SMALL_MONTHS = 30.0  # up to this bone age thumbnails are used too: there are few sharp radiographs of infants
OLDER_THUMBNAILS = 240  # of older children, by chance: without them their outlines in thumbnails became worse
OFTEN_MONTHS = 36.0  # up to this bone age, and raw frames, are shown twice as often
SHEET_COLUMNS, SHEET_PX = 10, 180
# Seen to be wrong on the contact sheet: collimator edges, a marker, another person's hand, a fingertip missing.
WRONG: frozenset[int] = frozenset({
    1398, 1433, 1497, 1556, 1565, 1635, 1673, 1684, 1766, 1834, 1880, 1912, 1998, 2104, 2138, 2159, 2305, 2352, 2706,
    2828, 3061, 3079, 3100, 3138, 3156, 3174, 3475, 3490, 3556, 3766, 3767, 3811, 3880, 3983, 4120, 4128, 4246, 4298,
    4858, 5187, 5366, 5705, 6608, 6659, 6785, 7112, 7547, 7744, 7840, 8287, 8678, 9232, 9531, 10310, 11039, 11769,
    11941, 12023, 12037, 12127, 12210, 12418, 12543, 13156, 13303, 13422, 13552, 14305, 14386, 14918, 15044, 15368,
    15497,
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outlined:
    """A radiograph with its outline.

    Attributes:
        sample: where it is from.
        pixels: uint8 (H, W), bone bright.
        mask: bool (H, W).
        tilt_degrees: of the fingers, clockwise from up.
    """

    sample: Sample
    pixels: NDArray[np.uint8]
    mask: BoolArray
    tilt_degrees: float


def outline(sample: Sample, network: nn.Module, spec: InputSpec) -> Outlined | None:
    """The outline of one radiograph at `SIDE_PX`, if the whole frame and the crop give the same."""
    pixels = read_sample(sample).pixels
    scale = SIDE_PX / max(pixels.shape)
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            first = find_hand(Radiograph(pixels), network, spec)
            top, bottom, left, right = _crop(first.pixels)
            second = find_hand(Radiograph(np.ascontiguousarray(pixels[top:bottom, left:right])), network, spec)
    except (HandNotFound, SeveralHands):
        return None
    mask = np.zeros(pixels.shape, np.bool_)
    mask[top:bottom, left:right] = second.pixels
    overlap = (mask & first.pixels).sum() / max(1, (mask | first.pixels).sum())
    if overlap < LEAST_AGREEMENT or first.inverted != second.inverted:
        return None
    bright = 1 - pixels if first.inverted else pixels
    return Outlined(sample, np.uint8(np.round(bright * 255)), mask, first.tilt_degrees)


def _crop(mask: BoolArray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = round(CROP_MARGIN * max(np.ptp(rows), np.ptp(columns)))
    height, width = mask.shape
    return (
        max(0, int(rows[0]) - margin),
        min(height, int(rows[-1]) + margin + 1),
        max(0, int(columns[0]) - margin),
        min(width, int(columns[-1]) + margin + 1),
    )


def choose(samples: list[Sample], labels: pd.DataFrame, at_most: int, seed: int) -> list[Sample]:
    """`train` radiographs: small children, raw frames, others by chance up to `at_most`; thumbnails of older ones."""
    training = [s for s in samples if labels.split[s.rsna_id] == "train" and s.rsna_id not in WRONG]
    sharp = [s for s in training if s.kind == "sharp"]
    months = labels.bone_age_months
    first = [s for s in sharp if "385px" in s.path.parent.name or months[s.rsna_id] <= 2 * SMALL_MONTHS]
    taken = {s.rsna_id for s in first}
    rest = [s for s in sharp if s.rsna_id not in taken]
    order = np.random.default_rng(seed).permutation(len(rest))[: max(0, at_most - len(first))]
    seen = {s.rsna_id for s in sharp}
    thumbnails = [s for s in training if s.kind == "thumbnails" and s.rsna_id not in seen]
    small = [s for s in thumbnails if months[s.rsna_id] <= SMALL_MONTHS]
    older = [s for s in thumbnails if months[s.rsna_id] > SMALL_MONTHS]
    among = np.random.default_rng(seed + 1).permutation(len(older))[:OLDER_THUMBNAILS]
    return first + small + [rest[i] for i in order] + [older[i] for i in among]


def contact_sheet(outlined: list[tuple[str, NDArray[np.uint8], BoolArray | None]], path: Path, side_px: int = SHEET_PX,
                  columns: int = SHEET_COLUMNS) -> None:  # fmt: skip
    """Write one picture of many radiographs with their outlines.

    Args:
        outlined: caption, pixels (H, W) and mask (H, W) or None where there is none.
    """
    tiles = []
    for caption, pixels, mask in outlined:
        scale = side_px / max(pixels.shape)
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        colour = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
        if mask is not None:
            reduced = cv2.resize(mask.astype(np.uint8) * 255, small.shape[::-1], interpolation=cv2.INTER_AREA)
            contours, _ = cv2.findContours((reduced > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(colour, contours, -1, (0, 255, 0), 1)
        tile = np.zeros((side_px, side_px, 3), np.uint8)
        tile[: colour.shape[0], : colour.shape[1]] = colour
        cv2.putText(tile, caption, (2, side_px - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    blank = np.zeros((side_px, side_px, 3), np.uint8)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(rows))


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train cut-outs", description=__doc__)
    line.add_argument("--images", nargs="+", type=Path, required=True, help="rsna_100px, rsna_hires, rsna_385px")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--annotations", type=Path, required=True)
    line.add_argument("--out", type=Path, default=Path("runs/cut_outs"))
    line.add_argument("--at-most", type=int, default=420, help="sharp radiographs")
    line.add_argument("--sheet", type=Path, help="write a contact sheet of the outlines here")
    line.add_argument("--seed", type=int, default=18)
    args = line.parse_args(arguments)
    assessor, labels, points = load_assessor(DEFAULT_RECIPE), read_labels(args.labels), read_points(args.annotations)
    network, spec = assessor.network(assessor.recipe.hand), assessor.recipe.hand.input
    chosen = choose(find_samples(args.images, labels), labels, args.at_most, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    drawn: list[tuple[str, NDArray[np.uint8], BoolArray | None]] = []
    for sample in tqdm(chosen, desc="outlines", mininterval=5):
        found = outline(sample, network, spec)
        known = points.get(sample.rsna_id, {})
        places = np.array(list(known.values())).reshape(-1, 2)
        if found is None or not passes_checks(found.mask.astype(np.uint8), places):
            continue
        name = f"{sample.kind}_{sample.rsna_id}"
        cv2.imwrite(str(args.out / f"{name}.png"), found.pixels)
        cv2.imwrite(str(args.out / f"{name}_mask.png"), found.mask.astype(np.uint8) * 255)
        right, up = direction(known, found.pixels.shape[1] / found.pixels.shape[0])
        if (right, up) == (0.0, 0.0):
            turn = np.deg2rad(found.tilt_degrees)
            right, up = float(np.sin(turn)), float(np.cos(turn))
        months = float(labels.bone_age_months[sample.rsna_id])
        often = sample.kind == "sharp" and ("385px" in sample.path.parent.name or months <= OFTEN_MONTHS)
        rows.append({"image": f"{name}.png", "mask": f"{name}_mask.png", "right": right, "up": up, "kind": sample.kind,
                     "months": months, "weight": 2.0 if often else 1.0})  # fmt: skip
        drawn.append((str(sample.rsna_id), found.pixels, found.mask))
    pd.DataFrame(rows).to_csv(args.out / "hands.csv", index=False)
    if args.sheet is not None:
        contact_sheet(drawn, args.sheet)
    print(f"kept {len(rows)} of {len(chosen)} outlines in {args.out}")
    return 0
