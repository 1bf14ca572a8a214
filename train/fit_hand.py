"""Positive mining of hand masks (Iglovikov 2018, section 2.1): seed, train, predict, keep what passes, again.

`python -m train hand` runs all rounds; `train hand-store` then finds the hand of every radiograph.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from baa_core.errors import BoneAgeError, HandNotFound, SeveralHands
from baa_core.hand.segmentation import find_hand
from baa_core.networks.build import build
from baa_core.recipes.schema import Member
from baa_core.types import HandMask, Radiograph

from .data.cache import in_processes
from .data.samples import Sample, find_samples, read_labels, read_sample
from .fit import Options, batches, run, run_line
from .hand.grabcut_seeds import passes_checks, seed_mask
from .hand.task import HandTask, further_sets, hand_sets
from .initial_weights import member_start, start_file

SIDE_PX = 512
ROUND_SHARES = (0.27, 0.18, 0.18, 0.22, 0.15)  # of the time
Points = dict[str, tuple[float, float]]  # annotated points by name, (x, y) in fractions of the frame

LEAST_AGREEMENT = 0.95  # intersection over union of the masks of a radiograph and of its mirror image
LATER_ROUNDS_RATE = 0.4  # of the first round's learning rate
PICTURES_PER_EPOCH = 800
FURTHER_SIDES_PX = (384, 512)  # of what a training that goes on sees, one after the other
FURTHER_SHARES = (0.55, 0.45)  # of its time
FURTHER_RATES = (0.4, 0.2)  # of the plan's learning rate
FURTHER_PER_EPOCH = 1200
MINED_RADIOGRAPHS = (300, 500, 900, 900)  # in the mining after each round


def fit_hand(member: Member, options: Options) -> str:
    """All rounds of mining: train on what there is, mask every radiograph, keep what passes, again.

    With `--resume`, finished rounds are skipped. The last round's weights are the member's.

    Returns:
        one line for train/RUNS.md.

    Raises:
        BoneAgeError: there are no annotations to begin from.
    """
    if options.annotations is None:
        raise BoneAgeError("Hand masks begin from annotated keypoints. Give their folder with --annotations.")
    labels = read_labels(options.labels)
    samples = [s for s in find_samples(options.images, labels) if labels.split[s.rsna_id] == "train"]
    points = read_points(options.annotations)
    chosen = choose_for_mining([s for s in samples if "fitted" not in s.path.parent.name], points)
    if not _mined_table(options.cache, 0).exists():
        print(f"seeded {seed_round(chosen, points, options.cache)} masks")
    for number in range(len(ROUND_SHARES)):
        weights = options.out / f"round_{number}" / "hand.safetensors"
        if not (options.resume and weights.exists()):
            train_round(number, member, options)
        if number + 1 < len(ROUND_SHARES) and not _mined_table(options.cache, number + 1).exists():
            network = build(member.architecture)
            member_start(network, weights)
            order = np.random.default_rng(options.seed + number).permutation(len(chosen))[: MINED_RADIOGRAPHS[number]]
            radiographs = [chosen[i] for i in order]
            kept, seen = mine_round(number + 1, radiographs, points, network, member, options.cache)
            print(f"round {number + 1}: kept {kept} of {seen} masks")
    rounds = [json.loads((options.out / f"round_{n}" / "result.json").read_text()) for n in range(len(ROUND_SHARES))]
    result = rounds[-1] | {"minutes": round(sum(r["minutes"] for r in rounds), 1)}
    (options.out / "hand.safetensors").write_bytes(weights.read_bytes())
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return run_line(member, "mined radiographs, pasted hands", PICTURES_PER_EPOCH, result)


def fit_hand_further(member: Member, options: Options) -> str:
    """Go on from the weights named by `--init`, with outlined radiographs and synthetic collimated fields.

    First at 384 px, where steps are cheap, then at 512 px, as the network is served. `--resume` skips what is done.

    Returns:
        one line for train/RUNS.md.

    Raises:
        BoneAgeError: there is no folder of outlines.
    """
    if options.outlines is None:
        raise BoneAgeError(
            "A hand network goes on with outlined radiographs: give the --outlines of train.hand.cut_outs."
        )
    weights = start_file(member.training.init, options.out.parent)
    if member.training.init.endswith(".safetensors"):
        weights = Path(member.training.init)
    results = []
    stages = list(zip(FURTHER_SIDES_PX, FURTHER_SHARES, FURTHER_RATES, strict=True))
    if options.last_side_only:
        side_px, _, rate = stages[-1]
        stages = [(side_px, 1.0, rate)]
    for number, (side_px, share, rate_share) in enumerate(stages):
        out = options.out / f"at_{side_px}"
        if not (options.resume and (out / "hand.safetensors").exists()):
            rate = member.training.learning_rate * rate_share
            budget = None if options.minutes is None else options.minutes * share
            # The last weights are kept: they are annealed, and the held-out pictures are too few to choose by.
            plan = replace(member.training, learning_rate=rate, epochs=400, keep_last=True)
            task = HandTask(replace(member, training=plan), budget)
            member_start(task.network, weights)
            sets = further_sets(
                member, options.images, options.outlines, side_px, FURTHER_PER_EPOCH, options.seed + 2 * number
            )
            run(task, *batches(*sets, member, options), replace(options, minutes=budget, out=out))
        weights = out / "hand.safetensors"
        results.append(json.loads((out / "result.json").read_text()))
    result = results[-1] | {"minutes": round(sum(r["minutes"] for r in results), 1)}
    (options.out / "hand.safetensors").write_bytes(weights.read_bytes())
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return run_line(member, "outlined radiographs, synthetic fields, drawn hands", FURTHER_PER_EPOCH, result)


def _mined_table(cache: Path, number: int) -> Path:
    """The list of radiographs of a mining round."""
    return cache / "masks" / f"round_{number}" / "hands.csv"


def train_round(number: int, member: Member, options: Options) -> None:
    """Train on the radiographs of one round, from the weights of the round before, and write `round_<n>/`."""
    out = options.out / f"round_{number}"
    budget = None if options.minutes is None else options.minutes * ROUND_SHARES[number]
    rate = member.training.learning_rate * (LATER_ROUNDS_RATE if number else 1.0)
    task = HandTask(replace(member, training=replace(member.training, learning_rate=rate)), budget)
    if number:
        member_start(task.network, options.out / f"round_{number - 1}" / "hand.safetensors")
    mined, side_px = _mined_table(options.cache, number).parent, member.input.side_px
    sets = hand_sets(member, options.images, mined, side_px, PICTURES_PER_EPOCH, options.seed + number)
    run(task, *batches(*sets, member, options), replace(options, minutes=budget, out=out))


def read_points(annotations: Path) -> dict[int, Points]:
    """Annotated points by id, (x, y) in fractions: keypoints, and centres of expert joint boxes as `box<i>`."""
    points: dict[int, Points] = {}
    for row in pd.read_csv(annotations / "hand_keypoints.csv").itertuples():
        points.setdefault(int(row.rsna_id), {})[str(row.keypoint)] = (float(row.x), float(row.y))
    for i, row in enumerate(pd.read_csv(annotations / "joint_boxes.csv").itertuples()):
        if row.rater != "nonexpert":
            centre = ((row.x_min + row.x_max) / 2, (row.y_min + row.y_max) / 2)
            points.setdefault(int(row.rsna_id), {})[f"box{i}"] = centre
    return points


def direction(points: Points, aspect: float) -> tuple[float, float]:
    """(right, up) unit vector from wrist to the root of the middle finger; (0, 0) if not annotated."""
    if "wrist" not in points or "middle_finger1" not in points:
        return 0.0, 0.0
    (x0, y0), (x1, y1) = points["wrist"], points["middle_finger1"]
    right, up = (x1 - x0) * aspect, y0 - y1
    length = float(np.hypot(right, up))
    return right / length, up / length


def _resized(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    scale = min(1.0, SIDE_PX / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    return np.asarray(np.round(small * 255), dtype=np.uint8)


def _keep(
    folder: Path, sample: Sample, pixels: NDArray[np.uint8], mask: NDArray[np.uint8], up: tuple[float, float]
) -> dict[str, object]:
    name = f"{sample.kind}_{sample.rsna_id}"
    mask = cv2.resize(mask, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR if mask.max() > 1 else cv2.INTER_NEAREST)
    cv2.imwrite(str(folder / f"{name}.png"), pixels)
    cv2.imwrite(str(folder / f"{name}_mask.png"), mask if mask.max() > 1 else mask * 255)
    return {"image": f"{name}.png", "mask": f"{name}_mask.png", "right": up[0], "up": up[1]}


def _seed(task: tuple[Sample, Points, Path]) -> dict[str, object] | None:
    sample, points, folder = task
    cv2.setNumThreads(1)
    keypoints = {k: v for k, v in points.items() if not k.startswith("box")}
    if not {"wrist", "middle_finger1", "middle_finger4"} <= set(keypoints):
        return None
    pixels = _resized(read_sample(sample).pixels)
    mask = seed_mask(pixels, keypoints)
    if not passes_checks(mask, np.array(list(points.values()))):
        return None
    smooth = cv2.GaussianBlur(cv2.resize(mask * 255, pixels.shape[::-1], interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    return _keep(
        folder,
        sample,
        pixels,
        np.where(smooth > 127, 255, 0).astype(np.uint8),
        direction(points, pixels.shape[1] / pixels.shape[0]),
    )


def seed_round(samples: list[Sample], points: dict[int, Points], cache: Path) -> int:
    """Round 0: masks grown from annotated keypoints. Returns how many passed."""
    folder = cache / "masks" / "round_0"
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(s, points[s.rsna_id], folder) for s in samples if s.rsna_id in points]
    rows = [r for r in in_processes(_seed, tasks, os.cpu_count() or 1, "seeding") if r is not None]
    pd.DataFrame(rows).to_csv(folder / "hands.csv", index=False)
    return len(rows)


def mine_round(
    number: int,
    samples: list[Sample],
    points: dict[int, Points],
    network: torch.nn.Module,
    member: Member,
    cache: Path,
) -> tuple[int, int]:
    """Mask radiographs with the present network and keep those that pass. Returns (kept, looked at)."""
    folder = cache / "masks" / f"round_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    rows, looked_at = [], 0
    for sample in tqdm(samples, desc=f"mining round {number}", mininterval=5):
        looked_at += 1
        radiograph = read_sample(sample)
        hand = _agreed_hand(radiograph, network, member)
        if hand is None:
            continue
        known = points.get(sample.rsna_id, {})
        pixels = _resized(1 - radiograph.pixels if hand.inverted else radiograph.pixels)
        mask = cv2.resize(hand.pixels.astype(np.uint8) * 255, pixels.shape[::-1], interpolation=cv2.INTER_AREA)
        solid = (mask > 127).astype(np.uint8)
        if passes_checks(solid, np.array(list(known.values())).reshape(-1, 2)):
            rows.append(_keep(folder, sample, pixels, solid * 255, direction(known, pixels.shape[1] / pixels.shape[0])))
    pd.DataFrame(rows).to_csv(folder / "hands.csv", index=False)
    return len(rows), looked_at


def _agreed_hand(radiograph: Radiograph, network: torch.nn.Module, member: Member) -> HandMask | None:
    """The hand, if the network finds the same one in the picture and in its mirror image."""
    mirrored = replace(radiograph, pixels=np.ascontiguousarray(radiograph.pixels[:, ::-1]))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            hand, other = (find_hand(r, network, member.input) for r in (radiograph, mirrored))
    except (HandNotFound, SeveralHands):
        return None
    back = other.pixels[:, ::-1]
    overlap = (hand.pixels & back).sum() / max(1, (hand.pixels | back).sum())
    return hand if overlap > LEAST_AGREEMENT and hand.inverted == other.inverted else None


def choose_for_mining(samples: list[Sample], points: dict[int, Points]) -> list[Sample]:
    """Every sharp radiograph, and the annotated thumbnails of other children."""
    sharp = [s for s in samples if s.kind == "sharp"]
    seen = {s.rsna_id for s in sharp}
    return sharp + [s for s in samples if s.kind == "thumbnails" and s.rsna_id not in seen and s.rsna_id in points]
