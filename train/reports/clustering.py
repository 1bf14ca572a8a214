"""`python -m train clustering`: how well clustering alone, with nothing learned beforehand, finds the hand's box.

Prints one JSON object: on how many radiographs the box overlaps the box of the hand network's mask, and how long a
radiograph took. The masks come from the cache that `python -m train hand-store` makes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from baa_core.errors import HandNotFound
from baa_core.hand.segmentation import with_bone_bright
from baa_core.preprocessing.clustering import OURS, PAPER, ClusteringPlan, cluster_hand
from baa_core.preprocessing.picture import box_of, overlap
from baa_core.preprocessing.steps import CropToCluster

from ..command_line import says_problems
from ..data.hand_store import HandStore
from ..data.samples import Sample, find_samples, read_labels, read_sample

GOOD_OVERLAP = CropToCluster().least_overlap
PLANS = {"ours": OURS, "paper": PAPER}


def check(samples: list[Sample], hands: HandStore, plan: ClusteringPlan) -> dict[str, Any]:
    """Overlap with the hand network's box, and time; a radiograph in which clustering finds nothing overlaps by 0.

    Radiographs whose hand the network has not found are left out.
    """
    overlaps: dict[int, float] = {}
    seconds, processor_seconds, labels, refused = [], [], [], 0
    for sample in samples:
        radiograph = read_sample(sample)
        hand = hands.hand(sample, radiograph)
        if hand is None:
            continue
        pixels = with_bone_bright(radiograph, hand).pixels
        start, processor_start = perf_counter(), process_time()
        try:
            found = cluster_hand(pixels, plan)
            overlaps[sample.rsna_id] = overlap(found.box, box_of(hand.pixels))
            labels.append(found.n_labels)
        except HandNotFound:
            overlaps[sample.rsna_id], refused = 0.0, refused + 1
        seconds.append(perf_counter() - start)
        processor_seconds.append(process_time() - processor_start)
    values = np.array(list(overlaps.values()))
    if not values.size:
        return {"n": 0}
    return {
        "n": values.size,
        "share_iou_0.8": round(float((values >= GOOD_OVERLAP).mean()), 4),
        "median_iou": round(float(np.median(values)), 4),
        "refused": refused,
        "median_labels": float(np.median(labels)) if labels else 0.0,
        "median_seconds": round(float(np.median(seconds)), 2),
        "median_processor_seconds": round(float(np.median(processor_seconds)), 2),
        "below": {rsna_id: round(value, 3) for rsna_id, value in overlaps.items() if value < GOOD_OVERLAP},
    }


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train clustering", description=__doc__)
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--split", choices=("train", "val"), default="val")
    line.add_argument("--count", type=int, default=50, help="how many sharp radiographs, spread over their ids")
    line.add_argument("--cache", type=Path, default=Path("cache"))
    line.add_argument("--plan", choices=sorted(PLANS), default="ours")
    args = line.parse_args(arguments)
    labels = read_labels(args.labels)
    samples = [s for s in find_samples(args.images, labels) if s.kind == "sharp"]
    samples = sorted((s for s in samples if labels.split[s.rsna_id] == args.split), key=lambda s: s.rsna_id)
    chosen = [samples[i] for i in np.linspace(0, len(samples) - 1, min(args.count, len(samples))).astype(int)]
    print(json.dumps(check(chosen, HandStore(args.cache / "hands"), PLANS[args.plan]), indent=1))
    return 0
