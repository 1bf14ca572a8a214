"""`python -m train check`: measure the shipped hand network and the steadiness of the estimate.

Prints one JSON object: annotated points inside the mask on `val` and `test`, Dice on held-out
cut-out hands pasted onto drawn radiographs and into synthetic collimated fields, the page's drawn examples,
other body parts refused, how far placed joints lie from annotated ones, and how far the months of
`val` radiographs move when the radiograph comes mirrored, turned or with its greys reversed.
`--outlines-only` stops after what the hand network alone answers. `--sheet` writes contact sheets of
the outlines on every sharp `val` and `test` radiograph, so that failures can be counted by eye.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandNotFound, HandRefused, LandmarksNotFound, SeveralHands
from baa_core.hand.landmarks import find_landmarks
from baa_core.hand.quality import MOST_CLIPPED_SHARE, WHITE
from baa_core.hand.segmentation import find_hand
from baa_core.phantom import EXAMPLES, draw_phantom
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import Patient, Radiograph
from baa_core.workflows.assess import Assessor, load_assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample
from ..fit_hand import Points, read_points
from ..hand.collimation import CutOut, Frame, collimated, cut_out
from ..hand.composites import pasted
from ..hand.cut_outs import contact_sheet
from ..hand.task import HELD_OUT_EVERY, load_plain
from ..landmarks.annotations import HAND_ENDS, read_landmarks

WIDENED_SHARE = 0.01  # of the frame's diagonal
PASTED = 60
STEADINESS_RADIOGRAPHS = 30
COLLIMATED = 200
COLLIMATED_FILL = (0.25, 0.90)  # length of the hand, of the frame's longer side
LEAST_KEPT_SHARE = 0.80  # of a hand's area in field and frame: most frames below it lack carpals (looked at)
LEAST_DICE = 0.93
SHEET_FRAMES, SHEET_COLUMNS, SHEET_PX = 70, 10, 300  # of one contact sheet
FINGERTIPS = ("thumb4", "forefinger4", "middle_finger4", "ring_finger4", "pinky_finger4")
NEAR_SHARE = 0.05  # of the hand's length


def points_inside(assessor: Assessor, samples: list[Sample], points: dict[int, Points]) -> dict[str, Any]:
    """Share of annotated points inside the mask, widened by 1 % of the diagonal, by kind of radiograph."""
    found: dict[str, list[float]] = {}
    refused = 0
    for sample in samples:
        known = np.array(list(points.get(sample.rsna_id, {}).values()))
        if known.size == 0:
            continue
        radiograph = read_sample(sample)
        height, width = radiograph.shape
        try:
            hand = find_hand(radiograph, *assessor.outline_networks)
        except (HandNotFound, SeveralHands):
            refused += 1
            continue
        radius = round(WIDENED_SHARE * float(np.hypot(height, width)))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        wide = cv2.dilate(hand.pixels.astype(np.uint8), kernel)
        rows = np.clip((known[:, 1] * height).astype(int), 0, height - 1)
        columns = np.clip((known[:, 0] * width).astype(int), 0, width - 1)
        found.setdefault(sample.kind, []).extend(wide[rows, columns].tolist())
    everything = [v for values in found.values() for v in values]
    return {
        "share_inside": round(float(np.mean(everything)), 4),
        "by_kind": {kind: {"share": round(float(np.mean(v)), 4), "points": len(v)} for kind, v in found.items()},
        "films_refused": refused,
    }


def dice_on_pasted(assessor: Assessor, folders: list[Path], seed: int = 7) -> dict[str, Any]:
    """Dice of held-out cut-out hands on drawn radiographs."""
    radiographs = [f for folder in folders for f in load_plain(folder, held_out=True, cut_out=True)]
    generator = np.random.default_rng(seed)
    scores: list[float] = []
    refused = 0
    for i in range(PASTED if radiographs else 0):
        picture, mask = pasted(radiographs[i % len(radiographs)], generator)
        try:
            hand = find_hand(Radiograph(picture), *assessor.outline_networks)
        except (HandNotFound, SeveralHands):
            refused += 1
            continue
        truth = mask.astype(bool)
        scores.append(2 * float((hand.pixels & truth).sum()) / float(hand.pixels.sum() + truth.sum()))
    return {
        "hands": len(radiographs),
        "pictures": len(scores) + refused,
        "refused": refused,
        "dice_mean": round(float(np.mean(scores)), 4),
        "dice_lowest": round(float(np.min(scores)), 4),
    }


def readable_fields(hands: list[CutOut], seed: int) -> Iterator[Frame]:
    """Endless synthetic collimated frames with a hand that a person could assess.

    Left out are frames that `quality` refuses whatever the outline: the hand white over more than a tenth of its area,
    or so little of it in the field that fingers or carpals are cut off.
    """
    for i in count():
        generator, hand = np.random.default_rng((seed, i)), hands[i % len(hands)]
        frame = collimated(hand, generator, hands, [], COLLIMATED_FILL, shadows=False)
        white = float((frame.pixels[frame.mask > 0] > WHITE).mean()) if frame.mask.any() else 1.0
        if white <= MOST_CLIPPED_SHARE and frame.kept_share >= LEAST_KEPT_SHARE:
            yield frame


def outline_dice(found: NDArray[np.bool_] | None, frame: Frame) -> float:
    """Dice of an outline with a frame's hand, without what scatter shows beyond the field; 0 of a refused frame."""
    if found is None:
        return 0.0
    inside, truth = found & ~frame.in_scatter, frame.mask > 0
    return 2 * float((inside & truth).sum()) / float(inside.sum() + truth.sum())


def dice_on_collimated(assessor: Assessor, folders: list[Path], seed: int = 2026) -> dict[str, Any]:
    """Dice of held-out cut-out hands in synthetic collimated fields; a refused frame has 0."""
    radiographs = [f for folder in folders for f in load_plain(folder, held_out=True, cut_out=True)]
    hands = [hand for radiograph in radiographs if (hand := cut_out(radiograph)) is not None]
    scores, refused = [], 0
    for frame in islice(readable_fields(hands, seed), COLLIMATED if hands else 0):
        found = _outline(assessor, Radiograph(frame.pixels))
        refused += found is None
        scores.append(outline_dice(found, frame))
    if not scores:
        return {}
    return {
        "hands": len(hands),
        "frames": len(scores),
        "refused": refused,
        "dice_mean": round(float(np.mean(scores)), 4),
        "dice_median": round(float(np.median(scores)), 4),
        "dice_lowest": round(min(scores), 4),
        f"under_{LEAST_DICE}": sum(score < LEAST_DICE for score in scores),
        "worst_frames": [int(i) for i in np.argsort(scores)[:10]],
    }


def drawn_examples(assessor: Assessor) -> dict[str, Any]:
    """Intersection over union with the true mask, and fingertips inside the outline, of the page's drawn hands."""
    result = {}
    for label, months, sex, seed in EXAMPLES:
        drawn = draw_phantom(months, sex, seed=seed)
        found = _outline(assessor, drawn.radiograph)
        if found is None:
            result[label] = {"refused": True}
            continue
        inside = [bool(found[round(y), round(x)]) for y, x in (drawn.landmarks[name] for name in FINGERTIPS)]
        overlap = float((found & drawn.mask).sum()) / float((found | drawn.mask).sum())
        result[label] = {"intersection_over_union": round(overlap, 4), "fingertips_inside": sum(inside)}
    return result


def _outline(assessor: Assessor, radiograph: Radiograph) -> NDArray[np.bool_] | None:
    try:
        hand = find_hand(radiograph, *assessor.outline_networks)
    except (HandNotFound, SeveralHands):
        return None
    return np.asarray(hand.pixels)


def write_sheets(assessor: Assessor, samples: list[Sample], sheet: Path) -> list[str]:
    """Contact sheets `<sheet>_1.png` and so on with the outline on every radiograph; the names of those refused."""
    refused: list[str] = []
    for page, start in enumerate(range(0, len(samples), SHEET_FRAMES), start=1):
        tiles: list[tuple[str, NDArray[np.uint8], NDArray[np.bool_] | None]] = []
        for sample in samples[start : start + SHEET_FRAMES]:
            radiograph = read_sample(sample)
            found = _outline(assessor, radiograph)
            refused += [str(sample.rsna_id)] if found is None else []
            caption = f"{sample.rsna_id}{' refused' if found is None else ''}"
            tiles.append((caption, np.uint8(np.round(radiograph.pixels * 255)), found))
        contact_sheet(tiles, sheet.with_name(f"{sheet.stem}_{page}.png"), SHEET_PX, SHEET_COLUMNS)
    return refused


def landmark_errors(assessor: Assessor, samples: list[Sample], table: pd.DataFrame) -> dict[str, Any]:
    """How far placed joints lie from annotated ones, in hand lengths, by kind of radiograph; empty without a network.

    Args:
        table: as `read_landmarks` gives it. Points that stand for boxes are counted apart: they are off themselves.
    """
    member = assessor.recipe.landmarks
    if member is None or member.name not in assessor.store.manifest.weights:
        return {}
    network, errors, spreads, refused = assessor.network(member), [], [], 0
    for sample in samples:
        rows = table[table.rsna_id == sample.rsna_id].set_index("landmark")
        rows = rows[rows.index.isin(member.architecture.points)]
        if not set(HAND_ENDS) <= set(rows.index):
            continue
        radiograph = read_sample(sample)
        try:
            hand = find_hand(radiograph, *assessor.outline_networks)
            found = find_landmarks(prepare(radiograph, hand, member.input), network)
        except (HandNotFound, SeveralHands, LandmarksNotFound):
            refused += 1
            continue
        known = rows[["y", "x"]].to_numpy() * radiograph.shape - 0.5
        placed = np.array([found.points[str(name)] for name in rows.index])
        ends = [rows.index.get_loc(name) for name in HAND_ENDS]
        length_px = float(np.hypot(*(known[ends[1]] - known[ends[0]])))
        apart = np.hypot(*(placed - known).T) / length_px
        spreads.append(float(np.median(list(found.spread_px.values()))) / found.hand_length_px)
        errors += [
            (sample.kind if exact else "from_boxes", name, error)
            for name, exact, error in zip(rows.index, rows.exact, apart, strict=True)
        ]
    figures = {"films": len(spreads), "films_refused": refused}
    if not spreads:
        return figures
    return _error_figures(pd.DataFrame(errors, columns=["kind", "landmark", "error"]), spreads) | figures


def _error_figures(errors: pd.DataFrame, spreads: list[float]) -> dict[str, Any]:
    def figures(found: pd.Series) -> dict[str, float]:
        near = float((found <= NEAR_SHARE).mean())
        return {"median": round(float(found.median()), 4), "within_5_percent": round(near, 4), "points": len(found)}

    annotated = errors[errors.kind != "from_boxes"]
    return {
        "by_kind": {str(kind): figures(rows.error) for kind, rows in errors.groupby("kind")},
        "median_by_landmark": annotated.groupby("landmark").error.median().round(4).to_dict(),
        "spread": {"median": round(float(np.median(spreads)), 4), "largest": round(max(spreads), 4)},
    }


def others_refused(assessor: Assessor, folders: list[Path]) -> dict[str, Any]:
    """Share of other body parts, enlarged to 512 px, in which no hand was found: held-out ones and all."""
    refused: list[bool] = []
    for folder in folders:
        for path in sorted(folder.glob("*.*")):
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            refused.append(not _hand_in(assessor, cv2.resize(grey, (512, 512), interpolation=cv2.INTER_CUBIC)))
    held_out = refused[::HELD_OUT_EVERY]
    return {
        "share_refused_held_out": round(float(np.mean(held_out)), 4),
        "held_out": len(held_out),
        "share_refused_all": round(float(np.mean(refused)), 4),
        "all": len(refused),
    }


def _hand_in(assessor: Assessor, grey: NDArray[np.uint8]) -> bool:
    low, high = float(grey.min()), float(grey.max())
    pixels = ((grey - low) / max(high - low, 1.0)).astype(np.float32)
    try:
        find_hand(Radiograph(pixels), *assessor.outline_networks)
    except (HandNotFound, SeveralHands):
        return False
    return True


def steadiness(assessor: Assessor, samples: list[Sample], labels: pd.DataFrame) -> dict[str, Any]:
    """Mean and largest change of the estimate in months, by what was done to the radiograph."""
    changes: dict[str, list[float]] = {}
    refused: dict[str, int] = {}
    for sample in samples[:STEADINESS_RADIOGRAPHS]:
        grey = np.uint8(np.round(read_sample(sample).pixels * 255))
        versions = {
            "mirrored": grey[:, ::-1],
            "turned_90": np.rot90(grey),
            "turned_180": np.rot90(grey, 2),
            "turned_270": np.rot90(grey, 3),
            "inverted": 255 - grey,
        }
        patient = Patient(sex=labels.sex[sample.rsna_id])
        plain = _months(assessor, grey, patient)
        for name, version in versions.items():
            try:
                months = _months(assessor, np.ascontiguousarray(version), patient)
            except HandRefused:
                refused[name] = refused.get(name, 0) + 1
                continue
            changes.setdefault(name, []).append(abs(months - plain))
    return {
        name: {"mean": round(float(np.mean(v)), 2), "largest": round(max(v), 2), "films": len(v),
               "refused": refused.get(name, 0)}
        for name, v in changes.items()
    }  # fmt: skip


def _months(assessor: Assessor, grey: NDArray[np.uint8], patient: Patient) -> float:
    content = cv2.imencode(".png", grey)[1].tobytes()
    return assessor.assess(content, patient, name="hand.png").prediction.bone_age_months


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train check", description=__doc__)
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument(
        "--images", nargs="+", type=Path, required=True, help="rsna_100px, rsna_hires, rsna_fitted, not_hands_64px"
    )
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--annotations", type=Path, required=True)
    line.add_argument("--outlines-only", action="store_true", help="only what the hand network alone answers")
    line.add_argument("--split", nargs="+", default=("val", "test"), choices=("val", "test"))
    line.add_argument("--sheet", type=Path, help="write contact sheets of outlines, <this>_1.png ..., and stop")
    args = line.parse_args(arguments)
    assessor, labels = load_assessor(args.recipe), read_labels(args.labels)
    fitted = [f for f in args.images if f.name == "rsna_fitted"]
    others = [f for f in args.images if f.name == "not_hands_64px"]
    samples = find_samples([f for f in args.images if f not in fitted + others], labels)
    held_out = [s for s in samples if labels.split[s.rsna_id] in args.split]
    sharp = [s for s in held_out if s.kind == "sharp"]
    if args.sheet is not None:
        print(json.dumps({"frames": len(sharp), "refused": write_sheets(assessor, sharp, args.sheet)}, indent=1))
        return 0
    result = {
        "points": points_inside(assessor, held_out, read_points(args.annotations)),
        "pasted": dice_on_pasted(assessor, fitted),
        "collimated": dice_on_collimated(assessor, fitted),
        "drawn_examples": drawn_examples(assessor),
        "other_body_parts": others_refused(assessor, others),
    }
    if not args.outlines_only:
        sharp_val = [s for s in sharp if labels.split[s.rsna_id] == "val"]
        result["landmarks"] = landmark_errors(assessor, held_out, read_landmarks(args.annotations, labels))
        result["change_months"] = steadiness(assessor, sharp_val, labels)
    print(json.dumps(result, indent=1))
    return 0
