"""`python -m train outliers RECIPE`: how the joints of ordinary hands lie, and how far from that all else is.

Runs the serving stages up to the recipe's network that straightens bones; fits `baa_core.hand.pose.FeatureSpace` on
sharp `train` radiographs, plain and degraded; chooses the threshold on `val`; and measures other body parts, hands
squeezed towards a side view, and drawn hands. `test` is never touched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import BoneAgeError, HandRefused, UnsupportedImage
from baa_core.hand.pose import NAME, FeatureSpace, save_feature_space, shape_of
from baa_core.io import read_radiograph
from baa_core.networks.weights import SUFFIX, Manifest, WeightsEntry, replace_file, write_manifest
from baa_core.phantom import EXAMPLES, draw_phantom, to_png
from baa_core.recipes.schema import Member
from baa_core.types import Radiograph
from baa_core.workflows.assess import Assessor, load_assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample

DIMENSIONS = 48
MOST_VAL_REFUSED = 0.005
DEGRADED_SIDES_PX = (90, 200)  # as in `augmentation.Degrade`
SQUEEZED_SHARES = (0.35, 0.5)  # of the width: a hand on its side is about this wide
SQUEEZED_RADIOGRAPHS = 60
DRAWN_MONTHS = (12.0, 48.0, 96.0, 144.0, 192.0, 228.0)
SEED = 0
OTHERS = "not_hands_64px"  # the folder of other body parts, as DATA.md names it

Features = NDArray[np.float32]


def features_of(assessor: Assessor, radiograph: Radiograph) -> Features | None:
    """What is judged of a picture's hand, (F,), or None where an earlier stage refuses."""
    try:
        landmarks = assessor.find_hand(radiograph).landmarks
    except HandRefused:
        return None
    return None if landmarks is None else shape_of(landmarks)


def judging(assessor: Assessor) -> Member:
    """The network that places the joints.

    Raises:
        BoneAgeError: the recipe has none.
    """
    member = assessor.recipe.landmarks
    if member is None:
        raise BoneAgeError(f"The recipe '{assessor.recipe.name}' has no network that places joints. Choose another.")
    return member


def collect(assessor: Assessor, pictures: Iterable[Radiograph], title: str, count: int) -> tuple[Features, int]:
    """Shapes of every hand that is found, (N, F), and how many pictures there were to begin with."""
    seen = [features_of(assessor, picture) for picture in tqdm(pictures, total=count, desc=title, mininterval=10)]
    kept = [found for found in seen if found is not None]
    return np.stack(kept) if kept else np.zeros((0, 0), np.float32), len(seen)


def fit_space(features: Features, dimensions: int, network_sha256: str) -> FeatureSpace:
    """The mean, the leading principal axes, and the length of what they leave over.

    Args:
        features: (N, F), N well above `dimensions`.
        network_sha256: of the weights file that gave them, 64 hexadecimal digits.

    Returns:
        a space that refuses nothing yet: its threshold is the largest number.
    """
    mean = features.mean(axis=0)
    beside = (features - mean).astype(np.float64)
    _, lengths, directions = np.linalg.svd(beside, full_matrices=False)
    axes = directions[:dimensions].T
    left = np.linalg.norm(beside - beside @ axes @ axes.T, axis=1)
    return FeatureSpace(
        mean=mean.astype(np.float32),
        axes=np.ascontiguousarray(axes, np.float32),
        deviations=(lengths[:dimensions] / np.sqrt(len(features) - 1)).astype(np.float32),
        residual=np.array([left.mean(), left.std()], np.float32),
        threshold=np.array([np.finfo(np.float32).max], np.float32),
        network_sha256=np.frombuffer(bytes.fromhex(network_sha256), np.uint8).copy(),
    )


def choose_threshold(distances: NDArray[np.floating[Any]], most_refused: float) -> float:
    """The least threshold over which no more than a share of the distances lies."""
    allowed = int(most_refused * len(distances))
    return float(np.sort(distances)[::-1][allowed])


def degraded(radiographs: Iterable[Radiograph]) -> Iterator[Radiograph]:
    """Radiographs at a thumbnail's quality: shrunk with nearest neighbours, enlarged again."""
    generator = np.random.default_rng(SEED)
    for radiograph in radiographs:
        height, width = radiograph.shape
        scale = int(generator.integers(*DEGRADED_SIDES_PX)) / max(height, width)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(radiograph.pixels, small, interpolation=cv2.INTER_NEAREST)
        large = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
        yield Radiograph(np.clip(large, 0, 1).astype(np.float32), name=radiograph.name)


def squeezed(radiographs: Iterable[Radiograph]) -> Iterator[Radiograph]:
    """Radiographs made narrow: the nearest to a hand seen from the side that can be had here."""
    generator = np.random.default_rng(SEED)
    for radiograph in radiographs:
        height, width = radiograph.shape
        size = (max(1, round(width * float(generator.uniform(*SQUEEZED_SHARES)))), height)
        pixels = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
        room = (width - size[0]) // 2
        pixels = cv2.copyMakeBorder(pixels, 0, 0, room, room, cv2.BORDER_REPLICATE)
        yield Radiograph(pixels.astype(np.float32), name=radiograph.name)


def enlarged(paths: list[Path]) -> Iterator[Radiograph]:
    """Other body parts at 512 px, so that their size is not what gives them away; none that reading refuses."""
    for path in paths:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        large = cv2.resize(grey, (512, 512), interpolation=cv2.INTER_CUBIC)
        with suppress(UnsupportedImage):
            yield read_radiograph(bytes(cv2.imencode(".png", large)[1]), path.name)


def drawn() -> Iterator[Radiograph]:
    """The page's examples, and a few more children at other ages."""
    cases = [(months, sex, seed) for _, months, sex, seed in EXAMPLES]
    cases += [(months, "male" if seed % 2 else "female", 100 + seed) for seed, months in enumerate(DRAWN_MONTHS)]
    for months, sex, seed in cases:
        phantom = draw_phantom(months, sex, seed=seed)  # type: ignore[arg-type]
        yield read_radiograph(to_png(phantom.radiograph), phantom.radiograph.name)


def row(space: FeatureSpace, features: Features, offered: int) -> dict[str, Any]:
    """One line of the table: how many were offered, how many came so far, how far they lie, how many are refused."""
    distances = distances_in(space, features)
    if not len(distances):
        return {"pictures": offered, "hands": 0}
    low, middle, high = np.percentile(distances, (5, 50, 95))
    return {
        "pictures": offered,
        "hands": len(distances),
        "distance_least": round(float(distances.min()), 2),
        "distance_5_50_95_percent": [round(float(value), 2) for value in (low, middle, high)],
        "distance_largest": round(float(distances.max()), 2),
        "share_refused": round(float((distances > space.threshold[0]).mean()), 4),
    }


def distances_in(space: FeatureSpace, features: Features) -> NDArray[np.float64]:
    """Distance of every picture as it came, (N,)."""
    return np.array([space.distance(one) for one in features])


def fit_and_measure(
    assessor: Assessor, samples: list[Sample], labels: pd.DataFrame, others: list[Path]
) -> tuple[FeatureSpace, dict[str, Any]]:
    """Fit on `train`, choose the threshold on `val`, and measure everything at hand.

    Raises:
        BoneAgeError: too few radiographs for as many directions.
    """
    sha256 = assessor.store.manifest.weights[judging(assessor).name].sha256
    sharp = {split: [s for s in samples if s.kind == "sharp" and labels.split[s.rsna_id] == split] for split in
             ("train", "val")}  # fmt: skip
    narrow = sharp["val"][:SQUEEZED_RADIOGRAPHS]
    rough = [s for s in samples if s.kind == "thumbnails" and labels.split[s.rsna_id] == "val"]
    plain, n_plain = collect(assessor, map(read_sample, sharp["train"]), "train", len(sharp["train"]))
    worse, n_worse = collect(assessor, degraded(map(read_sample, sharp["train"])), "degraded", len(sharp["train"]))
    if len(plain) <= DIMENSIONS or not sharp["val"]:
        raise BoneAgeError(
            f"Only {len(plain)} sharp train radiographs with a hand and {len(sharp['val'])} of val were found; "
            f"more than {DIMENSIONS} are needed, and some of val. Name the folder of sharp radiographs with --images."
        )
    space = fit_space(np.concatenate([plain, worse]), DIMENSIONS, sha256)
    groups = {
        "train, sharp": (plain, n_plain),
        "train, degraded": (worse, n_worse),
        "val, sharp": collect(assessor, map(read_sample, sharp["val"]), "val", len(sharp["val"])),
        "val, thumbnails": collect(assessor, map(read_sample, rough), "thumbnails", len(rough)),
        "val, squeezed to a side view": collect(assessor, squeezed(map(read_sample, narrow)), "squeezed", len(narrow)),
        "other body parts": collect(assessor, enlarged(others), "others", len(others)),
        "drawn hands": collect(assessor, drawn(), "drawn", len(EXAMPLES) + len(DRAWN_MONTHS)),
    }
    held_out = [distances_in(space, groups[name][0]) for name in ("val, sharp", "val, thumbnails")]
    threshold = choose_threshold(np.concatenate(held_out), MOST_VAL_REFUSED)
    space = FeatureSpace(**space.to_arrays() | {"threshold": np.array([threshold], np.float32)})
    return space, {name: row(space, features, offered) for name, (features, offered) in groups.items()}


def keep(assessor: Assessor, space: FeatureSpace, table: dict[str, Any], minutes: float, folder: Path) -> None:
    """Write the space, its entry in the manifest, and the table."""
    content = save_feature_space(space)
    member = judging(assessor).name
    entry = WeightsEntry(
        file=f"{NAME}{SUFFIX}",
        sha256=hashlib.sha256(content).hexdigest(),
        recipe=assessor.store.manifest.weights[member].recipe,
        trained_on=f"joints placed by '{member}' on sharp radiographs of the train split, plain and degraded",
        minutes=round(minutes, 1),
        device="CPU",
        licence=assessor.store.manifest.weights[member].licence,
        measured={"val_share_refused": table["val, sharp"].get("share_refused")},
    )
    replace_file(folder / entry.file, content)
    manifest = assessor.store.manifest
    write_manifest(Manifest({**manifest.weights, NAME: entry}, manifest.calibration), folder)
    whole = {"network": member, "threshold": round(float(space.threshold[0]), 3), "groups": table}
    replace_file(folder / "evaluation" / "outliers.json", (json.dumps(whole, indent=1) + "\n").encode())


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train outliers", description=__doc__)
    line.add_argument("recipe")
    line.add_argument("--images", nargs="+", type=Path, required=True, help=f"radiographs, and {OTHERS}")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--weights", type=Path, default=Path("weights"))
    args = line.parse_args(arguments)
    start = perf_counter()
    assessor, labels = load_assessor(args.recipe, weights_dir=args.weights), read_labels(args.labels)
    others = [path for folder in args.images if folder.name == OTHERS for path in sorted(folder.glob("*.*"))]
    samples = find_samples([folder for folder in args.images if folder.name != OTHERS], labels)
    space, table = fit_and_measure(assessor, samples, labels, others)
    keep(assessor, space, table, (perf_counter() - start) / 60, args.weights)
    print(json.dumps(table, indent=1))
    return 0
