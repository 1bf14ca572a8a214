"""`python -m train robustness`: does the estimate depend on where and how a hand lies in its frame?

Prints one JSON object: by how much the months of sharp `val` radiographs change, and how many are refused, when the
hand fills a smaller share of the frame in one of five surrounds, and when the frame is turned in steps of 15 degrees.
With `--processing`: the same when the greys are processed, and how often that is said.
With `--outlines`: how often a sound radiograph brings a caution about its outline or pose, and how often a fault that
was made on purpose in the mask or in the picture does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused
from baa_core.hand_anatomy import FINGERS
from baa_core.preprocessing.picture import box_of
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import BoolArray, Caution, HandMask, Landmarks, Patient, Radiograph, Report, Sex
from baa_core.workflows.assess import Assessor, load_assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample

Grey = NDArray[np.float32]
RADIOGRAPHS = 30
SHARES = (0.25, 0.35, 0.5, 0.7, 0.9)  # the hand's length, forearm included, of the frame's side
DEGREES = tuple(range(0, 360, 15))
HAND_PX = 600  # length of a placed hand: about the median of the sharp radiographs
MARGIN_SHARE = 0.06  # of the hand's length, that is kept of the radiograph around the hand
SEED = 0

SURROUNDS: dict[str, Callable[[int, np.random.Generator], Grey]] = {
    "black": lambda side, _: np.zeros((side, side), np.float32),
    "white": lambda side, _: np.ones((side, side), np.float32),
    "grey": lambda side, _: np.full((side, side), 0.5, np.float32),
    "noise": lambda side, generator: generator.random((side, side), np.float32),
    "gradient": lambda side, _: np.tile(np.linspace(0.1, 0.9, side, dtype=np.float32), (side, 1)),
}


def placed(pixels: Grey, hand: BoolArray, share: float, surround: str, generator: np.random.Generator) -> Grey:
    """A square frame in which the hand is `HAND_PX` long, at a random place.

    Args:
        pixels: of the radiograph, (H, W) in [0, 1].
        hand: its mask.
        share: the hand's length of the frame's side; the frame is never smaller than the cut-out.
        surround: one of `SURROUNDS`, outside the radiograph's part around the hand.
        generator: draws place and noise.
    """
    top, left, bottom, right = box_of(hand)
    length = max(bottom - top, right - left)
    margin = round(MARGIN_SHARE * length)
    near = pixels[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    scale = HAND_PX / length
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = np.clip(cv2.resize(near, None, fx=scale, fy=scale, interpolation=how), 0.0, 1.0)
    frame = SURROUNDS[surround](max(round(HAND_PX / share), *part.shape), generator)
    row, column = (int(generator.integers(0, len(frame) - side + 1)) for side in part.shape)
    frame[row : row + part.shape[0], column : column + part.shape[1]] = part
    return frame


def turned(pixels: Grey, degrees: float) -> Grey:
    """The radiograph turned clockwise in a frame that holds all of it, its corners black."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width = int(np.ceil(height * sine + width * cosine - 1e-6))
    new_height = int(np.ceil(height * cosine + width * sine - 1e-6))
    matrix[:, 2] += (new_width - width) / 2, (new_height - height) / 2
    return np.asarray(cv2.warpAffine(pixels, matrix, (new_width, new_height), flags=cv2.INTER_LINEAR), np.float32)


@dataclass
class Changes:
    """By how many months a kind of frame changed the estimate, and how often it was refused."""

    months: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Mean and largest change, and the names of refusals."""
        sizes = np.abs(self.months)
        return {
            "mean": round(float(sizes.mean()), 2) if sizes.size else None,
            "largest": round(float(sizes.max()), 2) if sizes.size else None,
            "assessed": len(self.months),
            "refused": self.refused,
        }


def months_of(assessor: Assessor, pixels: Grey, sex: Sex) -> float:
    """The estimate for one sex as it is served, without the sex check.

    Raises:
        HandRefused: as `Assessor.assess`.
    """
    return report_of(assessor, pixels, sex).prediction.bone_age_months


def report_of(assessor: Assessor, pixels: Grey, sex: Sex) -> Report:
    """The report for one sex as it is served.

    Raises:
        HandRefused: as `Assessor.assess`.
    """
    radiograph = Radiograph(np.ascontiguousarray(np.round(pixels * 255) / 255, np.float32))
    return assessor.report(assessor.find(radiograph), Patient(sex=sex))


def frames(pixels: Grey, hand: BoolArray, seed: int) -> Iterator[tuple[str, str, Grey]]:
    """Every frame that a radiograph is put into: the kind, its size, the pixels."""
    for number, surround in enumerate(SURROUNDS):
        for share in SHARES:
            generator = np.random.default_rng((seed, number, round(100 * share)))
            yield "placed", f"{surround} {share:.0%}", placed(pixels, hand, share, surround, generator)
    for degrees in DEGREES[1:]:
        yield "turned", f"{degrees}", turned(pixels, degrees)


def measure(assessor: Assessor, samples: list[Sample], sexes: dict[int, Sex]) -> dict[str, dict[str, Changes]]:
    """The changes by kind and size of frame."""
    found: dict[str, dict[str, Changes]] = {"placed": {}, "turned": {}}
    for sample in tqdm(samples, mininterval=10):
        pixels, sex = read_sample(sample).pixels, sexes[sample.rsna_id]
        before = months_of(assessor, pixels, sex)
        hand = assessor.find_hand(Radiograph(pixels)).pixels
        for kind, size, frame in frames(pixels, hand, SEED + sample.rsna_id):
            changes = found[kind].setdefault(size, Changes())
            try:
                changes.months.append(months_of(assessor, frame, sex) - before)
            except HandRefused as refusal:
                changes.refused.append(f"{sample.rsna_id}: {type(refusal).__name__}")
    return found


def pooled(groups: list[Changes]) -> dict[str, Any]:
    """The figures of several groups together."""
    whole = Changes([m for group in groups for m in group.months], [r for group in groups for r in group.refused])
    return whole.figures()


def sharpened(pixels: Grey, hand: HandMask, amount: float, radius_share: float) -> Grey:
    """Unsharp masking; the radius as a share of the longer side of the box around the hand."""
    top, left, bottom, right = box_of(hand.pixels)
    blurred = cv2.GaussianBlur(pixels, (0, 0), radius_share * max(bottom - top, right - left))
    return np.asarray(np.clip(pixels + amount * (pixels - blurred), 0.0, 1.0), np.float32)


def equalised(pixels: Grey, clip: float | None = None) -> Grey:
    """Every grey equally frequent, in the whole picture or, with a clip limit, in each of 8 x 8 tiles."""
    grey = np.round(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    made = cv2.equalizeHist(grey) if clip is None else cv2.createCLAHE(clip, (8, 8)).apply(grey)
    return np.asarray(made, np.float32) / 255


PROCESSING: dict[str, Callable[[Grey, HandMask], Grey]] = {
    "as it is": lambda pixels, _: pixels,
    **{
        f"sharpened {amount:g} times over {share:.1%} of the hand": partial(
            sharpened, amount=amount, radius_share=share
        )
        for amount, share in ((1.0, 0.006), (1.5, 0.006), (3.0, 0.006), (3.0, 0.004), (3.0, 0.009))
    },
    "local equalisation, clip limit 8": lambda pixels, _: equalised(pixels, 8.0),
    "local equalisation, clip limit 4": lambda pixels, _: equalised(pixels, 4.0),
    "histogram equalised": lambda pixels, _: equalised(pixels),
    "power 2": lambda pixels, _: np.asarray(pixels**2, np.float32),
    "power 0.5": lambda pixels, _: np.asarray(pixels**0.5, np.float32),
}
PROCESSING_CODES = frozenset(("strong_processing", "sharpening_reduced"))


def measure_processing(assessor: Assessor, samples: list[Sample], sexes: dict[int, Sex]) -> dict[str, dict[str, Any]]:
    """The changes by kind of processing, and of how many pictures it was said."""
    changes, told = {kind: Changes() for kind in PROCESSING}, dict.fromkeys(PROCESSING, 0)
    for sample in tqdm(samples, mininterval=10):
        radiograph, sex = read_sample(sample), sexes[sample.rsna_id]
        plain = report_of(assessor, radiograph.pixels, sex)
        for kind, process in PROCESSING.items():
            pixels = radiograph.pixels
            bright = 1.0 - pixels if plain.hand.inverted else pixels
            try:
                report = report_of(assessor, process(bright, plain.hand), sex)
            except HandRefused as refusal:
                changes[kind].refused.append(f"{sample.rsna_id}: {type(refusal).__name__}")
                continue
            changes[kind].months.append(report.prediction.bone_age_months - plain.prediction.bone_age_months)
            told[kind] += any(caution.code in PROCESSING_CODES for caution in report.cautions)
    return {kind: {**found.figures(), "told": told[kind]} for kind, found in changes.items()}


def false_colours(pixels: Grey) -> Grey:
    """Greys as a rainbow palette leaves them: rising and falling three times."""
    return np.asarray(np.abs((3.0 * pixels) % 2.0 - 1.0), np.float32)


def half_inverted(pixels: Grey) -> Grey:
    """The right half in reversed greys."""
    made = np.array(pixels)
    made[:, made.shape[1] // 2 :] = 1.0 - made[:, made.shape[1] // 2 :]
    return made


def resized_to(pixels: Grey, across: float, down: float) -> Grey:
    """Stretched or squeezed along both axes."""
    size = (round(across * pixels.shape[1]), round(down * pixels.shape[0]))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


PICTURE_FAULTS: dict[str, Callable[[Grey], Grey]] = {
    "three times as wide": lambda pixels: resized_to(pixels, 1.8, 0.6),
    "three times as long": lambda pixels: resized_to(pixels, 0.6, 1.8),
    "over its mirror image": lambda pixels: np.asarray((pixels + pixels[:, ::-1]) / 2, np.float32),
    "half inverted": half_inverted,
    "false colours": false_colours,
}


def mask_faults(
    hand: HandMask, landmarks: Landmarks, generator: np.random.Generator
) -> Iterator[tuple[str, HandMask, BoolArray]]:
    """Masks with a fault each: its name, the mask, and where the picture has to be brightened for it."""
    at = {name: np.array([column, row]) for name, (row, column) in landmarks.points.items()}
    length, mask = landmarks.hand_length_px, hand.pixels
    nothing = np.zeros_like(mask)

    def line(start: Grey, end: Grey, wide: float) -> BoolArray:
        drawn = np.zeros(mask.shape, np.uint8)
        ends = (np.round(place).astype(int).tolist() for place in (start, end))
        return cv2.line(drawn, *ends, 1, max(3, round(wide * length))) > 0

    thumb = line(at["thumb2"], 1.3 * at["thumb4"] - 0.3 * at["thumb3"], 0.16)
    yield "thumb missing", replace(hand, pixels=largest(mask & ~thumb)), nothing
    finger = FINGERS[int(generator.integers(1, len(FINGERS)))]
    first, last = at[f"{finger}3"], at[f"{finger}4"]
    tip = line(0.4 * first + 0.6 * last, 2.0 * last - first, 0.13)
    yield "fingertip missing", replace(hand, pixels=largest(mask & ~tip)), nothing
    top, left, bottom, right = box_of(mask)
    wide = max(2, round(0.05 * length))
    edge = np.zeros_like(mask)
    column = max(0, left - wide) if generator.random() < 0.5 else min(mask.shape[1] - wide, right)
    edge[bottom - round(0.6 * (bottom - top)) : bottom, column : column + wide] = True
    edge[bottom - wide : bottom, min(column, (left + right) // 2) : max(column + wide, (left + right) // 2)] = True
    yield "edge of the field", replace(hand, pixels=mask | edge), edge & ~mask
    plate = marker_beside(mask, length, generator)
    yield "marker", replace(hand, pixels=mask | plate), plate


def marker_beside(mask: BoolArray, length: float, generator: np.random.Generator) -> BoolArray:
    """A plate of 0.16 x 0.11 hands that touches the outline at a random place and lies mostly beside it."""
    outline = max(cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)[:, 0]
    for _ in range(80):
        angle = generator.uniform(0, 2 * np.pi)
        middle = outline[generator.integers(len(outline))] + 0.07 * length * np.array([np.cos(angle), np.sin(angle)])
        box = ((float(middle[0]), float(middle[1])), (0.16 * length, 0.11 * length), float(generator.uniform(0, 90)))
        corners = [cv2.boxPoints(box).astype(np.int32)]
        plate: BoolArray = (cv2.fillPoly(np.zeros(mask.shape, np.uint8), corners, 1) > 0) & ~mask
        if plate.sum() > 0.6 * 0.16 * 0.11 * length**2:
            break
    return plate


def largest(mask: BoolArray) -> BoolArray:
    """The largest connected part."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return np.asarray(parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])), np.bool_)


@dataclass
class Verdicts:
    """What is said of one kind of picture: nothing, a caution, or a refusal."""

    silent: int = 0
    cautioned: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Counts, and which ones."""
        n = self.silent + len(self.cautioned) + len(self.refused)
        return {"pictures": n, "silent": self.silent, "cautioned": self.cautioned, "refused": self.refused}


OUTLINE_CODES = frozenset(("outline_doubtful", "outline_unchecked", "pose_rare"))


def say(verdicts: Verdicts, name: str, judge: Callable[[], tuple[Caution, ...]]) -> None:
    """Count what is said of one picture."""
    try:
        codes = [caution.code for caution in judge() if caution.code in OUTLINE_CODES]
    except HandRefused as refusal:
        verdicts.refused.append(f"{name}: {type(refusal).__name__}")
        return
    if codes:
        verdicts.cautioned.append(f"{name}: {' '.join(codes)}")
    else:
        verdicts.silent += 1


def measure_outlines(assessor: Assessor, samples: list[Sample], every: int) -> dict[str, Verdicts]:
    """Verdicts on sound radiographs, and on faults made of every so manyth one."""
    found = {"sound": Verdicts()}

    def as_served(radiograph: Radiograph) -> tuple[Caution, ...]:
        hand = assessor.find_hand(radiograph)
        return hand.cautions + assessor.check_pose(hand, radiograph.name)

    def with_mask(radiograph: Radiograph, hand: HandMask) -> tuple[Caution, ...]:
        placed = assessor.place_landmarks(radiograph, hand)
        return assessor.about_outline(radiograph, placed) + assessor.check_pose(placed, radiograph.name)

    for number, sample in enumerate(tqdm(samples, mininterval=10)):
        radiograph, name = read_sample(sample), str(sample.rsna_id)
        say(found["sound"], name, partial(as_served, radiograph))
        if number % every:
            continue
        hand = assessor.find_hand(radiograph)
        if hand.landmarks_in_context is None:
            continue
        landmarks = hand.landmarks_in_context
        for fault, mask, bright in mask_faults(hand, landmarks, np.random.default_rng(SEED + sample.rsna_id)):
            greys = np.where(bright, np.clip(radiograph.pixels + 0.3, 0, 1), radiograph.pixels).astype(np.float32)
            verdicts = found.setdefault(fault, Verdicts())
            say(verdicts, name, partial(with_mask, Radiograph(greys), mask))
        for fault, change in PICTURE_FAULTS.items():
            changed = Radiograph(np.ascontiguousarray(change(radiograph.pixels)))
            say(found.setdefault(fault, Verdicts()), name, partial(as_served, changed))
    return found


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train robustness", description=__doc__)
    line.add_argument("--images", nargs="+", type=Path, required=True, help="folder of sharp radiographs")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--weights", type=Path, default=Path("weights"))
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--radiographs", type=int, default=RADIOGRAPHS, help="how many, evenly taken from `val`")
    line.add_argument("--processing", action="store_true", help="measure what processed greys change")
    line.add_argument("--outlines", action="store_true", help="measure the check of the outline")
    line.add_argument("--faults-of-every", type=int, default=3, help="with --outlines: make faults of every Nth one")
    args = line.parse_args(arguments)
    assessor, labels = load_assessor(args.recipe, weights_dir=args.weights), read_labels(args.labels)
    sharp = [s for s in find_samples(args.images, labels) if s.kind == "sharp" and labels.split[s.rsna_id] == "val"]
    samples = sharp[:: max(1, len(sharp) // args.radiographs)][: args.radiographs]
    if args.outlines:
        verdicts = measure_outlines(assessor, samples, args.faults_of_every)
        print(json.dumps({fault: verdict.figures() for fault, verdict in verdicts.items()}, indent=1))
        return 0
    sexes = {s.rsna_id: labels.sex[s.rsna_id] for s in samples}
    if args.processing:
        print(json.dumps({"radiographs": len(samples), **measure_processing(assessor, samples, sexes)}, indent=1))
        return 0
    found = measure(assessor, samples, sexes)
    print(
        json.dumps(
            {
                "radiographs": len(samples),
                "placed_35_percent_and_more": pooled(
                    [changes for size, changes in found["placed"].items() if not size.endswith(f" {SHARES[0]:.0%}")]
                ),
                "turned_all": pooled(list(found["turned"].values())),
                **{kind: {size: c.figures() for size, c in groups.items()} for kind, groups in found.items()},
            },
            indent=1,
        )
    )
    return 0
