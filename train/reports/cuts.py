"""`python -m train cuts`: how far off is the estimate of a hand that the picture's edge cuts?

Sharp `val` radiographs are set upright and cut: at the wrist, at given distances from the growth plates of radius and
ulna; across the fingertips; through the thumb. Every cut picture is estimated whether it would be refused or not.
Writes one row a picture and prints one JSON object with the error by depth of the cut, from which the thresholds of
`baa_core.hand.cut` are chosen. With `--fit` the factors by which the interval is widened go into the manifest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import BoneAgeError, HandRefused, InvalidTable, LandmarksNotFound
from baa_core.estimation.calibration import Calibration
from baa_core.estimation.conformal import COVERAGE
from baa_core.hand.cut import find_cuts, fingers_on_edge_palms, plate_spread_hands
from baa_core.hand.landmarks import check_placed
from baa_core.hand.quality import measure_framing
from baa_core.networks.weights import Manifest, read_manifest, write_manifest
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import CUT_PARTS, CutPart, Landmarks, Radiograph, Sex
from baa_core.workflows.assess import Assessor, load_assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample
from .robustness import turned

Grey = NDArray[np.float32]
RADIOGRAPHS = 50
# Where the picture ends below the growth plates of radius and ulna, in hand lengths (wrist to middle fingertip).
WRIST_HANDS = (0.20, 0.15, 0.10, 0.07, 0.05, 0.03, 0.01, -0.01, -0.03, -0.06, -0.10)
# How much of the middle finger's distal phalanx lies beyond the picture's edge; above 1 the middle phalanx is cut too.
FINGERTIP_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5)
THUMB_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5)  # the same of the thumb, at the picture's side


def without_factors(assessor: Assessor) -> Assessor:
    """The same with intervals as they are for a whole hand, and without the sex check, which takes time."""
    calibration = replace(assessor.calibration, cut_factors=dict.fromkeys(CUT_PARTS, 1.0))
    return replace(assessor, recipe=replace(assessor.recipe, sex=()), calibration=calibration)


def landmarks_of(assessor: Assessor, radiograph: Radiograph) -> Landmarks:
    """Joints of the largest hand of a radiograph.

    Raises:
        HandRefused, LandmarksNotFound: there is none, or they cannot be placed.
        BoneAgeError: the recipe has no network that places joints.
    """
    landmarks = assessor.place_landmarks(radiograph, assessor.find_hands(radiograph)[0]).landmarks_in_context
    if landmarks is None:
        raise BoneAgeError(f"The recipe '{assessor.recipe.name}' has no landmark network. Choose another.")
    return check_placed(landmarks)


def upright_pixels(assessor: Assessor, pixels: Grey) -> Grey:
    """The radiograph turned so that the fingers point up, where they do not."""
    tilt = assessor.find_hands(Radiograph(pixels))[0].tilt_degrees
    return turned(pixels, -tilt) if abs(tilt) > 3.0 else pixels


def cuts(pixels: Grey, at: Landmarks) -> Iterator[tuple[str, float, Grey]]:
    """Every cut picture of an upright radiograph: what is cut, how deeply, the pixels left."""
    points, length = at.points, at.hand_length_px
    plates = (points["radius"][0] + points["ulna"][0]) / 2
    for hands in WRIST_HANDS:
        last = round(plates + hands * length)
        if last < len(pixels) - 0.01 * length:
            yield "wrist", hands, pixels[:last]
    (tip, _), (joint, _) = points["middle_finger4"], points["middle_finger3"]
    for share in FINGERTIP_SHARES:
        yield "fingertips", share, pixels[round(tip + share * (joint - tip)) :]
    (_, tip), (_, joint) = points["thumb4"], points["thumb3"]
    for share in THUMB_SHARES:
        column = round(tip + share * (joint - tip))
        yield "thumb", share, pixels[:, column:] if tip < joint else pixels[:, :column]


def measured(assessor: Assessor, pixels: Grey, sex: Sex) -> dict[str, Any]:
    """What is said of a picture when no cut is refused, and whether it would be."""
    radiograph = Radiograph(np.ascontiguousarray(pixels))
    row: dict[str, Any] = {"refusal": "", "parts": ""}
    try:
        assessor.find_hand(radiograph)
    except HandRefused as refused:
        row["refusal"] = type(refused).__name__
    try:
        hand = assessor.place_landmarks(radiograph, assessor.find_hands(radiograph)[0])
        prediction = assessor.predict(assessor.prepare(radiograph, hand), sex)
    except HandRefused as refused:
        return row | {"failed": type(refused).__name__}
    framing = measure_framing(hand)
    row |= {
        "months": prediction.bone_age_months,
        "low": prediction.interval_months[0],
        "high": prediction.interval_months[1],
        **{name: value for name, value in vars(framing).items() if name != "length_px"},
    }
    with suppress(LandmarksNotFound):
        placed = landmarks_of(assessor, radiograph)
        row["plate_spread_hands"] = plate_spread_hands(placed)
        row |= {f"{part}_on_edge_palms": share for part, share in fingers_on_edge_palms(hand, placed).items()}
        with suppress(HandRefused):
            row["parts"] = "+".join(find_cuts(hand, placed, ""))
    return row


def rows(assessor: Assessor, samples: list[Sample], labels: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a picture, whole (depth NaN) and cut."""
    for sample in tqdm(samples, mininterval=10):
        sex, known = labels.sex[sample.rsna_id], float(labels.bone_age_months[sample.rsna_id])
        common = {"rsna_id": sample.rsna_id, "sex": sex, "bone_age_months": known}
        try:
            pixels = upright_pixels(assessor, read_sample(sample).pixels)
            at = landmarks_of(assessor, Radiograph(pixels))
        except (HandRefused, LandmarksNotFound) as refused:
            print(f"{sample.rsna_id}: {type(refused).__name__}", file=sys.stderr)
            continue
        whole = common | {"cut": "none", "depth": 0.0} | measured(assessor, pixels, sex)
        yield whole
        for what, depth, left in cuts(pixels, at):
            yield common | {"cut": what, "depth": depth} | measured(assessor, left, sex) | {"whole": whole["months"]}


def figures(table: pd.DataFrame) -> dict[str, Any]:
    """Change, error, coverage and refusals by kind and depth of the cut."""
    summary: dict[str, Any] = {}
    for (what, depth), group in table.groupby(["cut", "depth"]):
        seen = group.dropna(subset=["months"])
        error = seen.months - seen.bone_age_months
        held = (seen.low <= seen.bone_age_months) & (seen.bone_age_months <= seen.high)
        entry = {
            "pictures": len(group),
            "refused": int((group.refusal != "").sum()),
            "no_estimate": len(group) - len(seen),
            "mae_months": round(float(error.abs().mean()), 2),
            "bias_months": round(float(error.mean()), 2),
            "interval_holds": round(float(held.mean()), 3),
        }
        if what != "none":
            change = seen.months - seen.whole
            entry |= {
                "change_mean_months": round(float(change.mean()), 2),
                "change_abs_mean_months": round(float(change.abs().mean()), 2),
                "change_abs_95_percent_months": round(float(change.abs().quantile(0.95)), 2),
            }
        summary.setdefault(str(what), {})[f"{depth:g}"] = entry
    return summary


def fit_factors(table: pd.DataFrame) -> dict[CutPart, float]:
    """By how much each part's loss widens the interval.

    Of the errors over half the interval's width that value is taken which `COVERAGE` of the pictures that are not
    refused stay under; the factor is its ratio to that of the whole radiographs, or to 1 where they exceed it.
    So a widened interval holds `COVERAGE` of these, with the margin that whole radiographs have.

    Raises:
        InvalidTable: no picture of a part that is not refused.
    """
    seen = table.dropna(subset=["months"])
    seen = seen[seen.refusal == ""]
    errors = (seen.months - seen.bone_age_months).abs() / (seen.high - seen.months)
    whole = min(1.0, float(errors[seen.cut == "none"].quantile(COVERAGE)))
    factors: dict[CutPart, float] = {}
    for part in CUT_PARTS:
        chosen = errors[(seen.cut == part) & seen.parts.str.contains(part)]
        if chosen.empty:
            raise InvalidTable(f"No picture with a cut of the {part} was accepted. Give more radiographs.")
        factors[part] = max(1.0, round(float(chosen.quantile(COVERAGE)) / whole, 2))
    return factors


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train cuts", description=__doc__)
    line.add_argument("--images", nargs="+", type=Path, required=True, help="folder of sharp radiographs")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--radiographs", type=int, default=RADIOGRAPHS, help="how many, evenly taken from `val`")
    line.add_argument("--rows", type=Path, help="write one row a picture here, as CSV")
    line.add_argument("--fit", type=Path, metavar="WEIGHTS", help="write the factors into this folder's manifest.json")
    args = line.parse_args(arguments)
    labels = read_labels(args.labels)
    assessor = without_factors(load_assessor(args.recipe))
    sharp = [s for s in find_samples(args.images, labels) if s.kind == "sharp" and labels.split[s.rsna_id] == "val"]
    samples = sharp[:: max(1, len(sharp) // args.radiographs)][: args.radiographs]
    table = pd.DataFrame(rows(assessor, samples, labels))
    if args.rows:
        args.rows.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.rows, index=False)
    found = figures(table) | {"factors": fit_factors(table)}
    if args.fit:
        manifest = read_manifest(args.fit)
        calibration = replace(Calibration.from_dict(manifest.calibration[args.recipe]), cut_factors=found["factors"])
        fitted = {**manifest.calibration, args.recipe: calibration.to_dict()}
        write_manifest(Manifest(manifest.weights, fitted), args.fit)
    print(json.dumps(found, indent=1))
    return 0
