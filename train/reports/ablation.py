"""`python -m train ablation --images DIR... --labels CSV`: what each choice is worth, one changed at a time.

Small networks with one budget each, all from ImageNet, compared on the same `val` pictures. What
needs no training of its own (predicted sex, no bias correction, one member, test-time views) is
in `train results`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: lightning needs torchvision's operators declared

# isort: split
from baa_core.recipes.deeplasia import START, masked_hand, whole_frame
from baa_core.recipes.schema import Member
from baa_core.types import DISCLAIMER

from ..age_sex.tasks import AgeTask
from ..command_line import says_problems, write_result
from ..data.dataset import labelled
from ..data.samples import Kind, find_samples, read_labels
from ..fit import EVALUATION_BATCH, Options, fit
from ..initial_weights import member_start

SIDE_PX = 128
BASE = replace(
    START,
    name="base",
    architecture=replace(START.architecture, also_sex=False),
    input=masked_hand(SIDE_PX),
    training=replace(START.training, init="imagenet", average_decay=0.99, epochs=100),
)


def plan(**changes: Any) -> Member:
    """The base with another training."""
    return replace(BASE, training=replace(BASE.training, **changes))


VARIANTS: Mapping[str, tuple[str, Member]] = {
    "base": ("masked hand, sex entered, thumbnails and sharp radiographs, light augmentation, distribution loss", BASE),
    "no_mask": ("the whole frame, background and all", replace(BASE, input=whole_frame(SIDE_PX))),
    "no_sex": ("no sex input", replace(BASE, architecture=replace(BASE.architecture, sex_features=0))),
    "default": ("Deeplasia's default augmentation", plan(augment="default")),
    "strong": ("Deeplasia's strong augmentation", plan(augment="strong")),
    "mask_variants": ("a mask drawn from three widths", plan(mask_growths=(0.0, 0.01, 0.02))),
    "thumbnails": ("thumbnails only", plan(images=("thumbnails",))),
    "sharp": ("sharp radiographs only", plan(images=("sharp",))),
    "mse": (
        "mean squared error of one number, as Deeplasia",
        replace(plan(loss="mse"), architecture=replace(BASE.architecture, output="regression")),
    ),
}
SETS: tuple[tuple[str, Kind], ...] = (("val_sharp", "sharp"), ("val_thumbnails", "thumbnails"))


def errors(member: Member, weights: Path, options: Options) -> dict[str, float]:
    """Mean absolute error in months on each set of `val`, mirrored and not, without bias correction."""
    task = AgeTask(member, None)
    member_start(task.network, weights)
    network = task.network.eval()
    labels = read_labels(options.labels)
    samples = find_samples(options.images, labels)
    found = {}
    for name, kind in SETS:
        data = labelled(member, samples, labels, "val", (kind,), options.cache, options.cache / "hands", False)
        misses = []
        with torch.inference_mode():
            for image, male, months in DataLoader(data, EVALUATION_BATCH):
                answers = (network(image, male) + network(image.flip(-1), male)) / 2
                misses.append((answers - months).abs())
        found[name] = float(np.round(torch.cat(misses).mean(), 2))
    return found


def run(name: str, options: Options) -> dict[str, Any]:
    """Train one variant, if it has not been, and measure it."""
    says, member = VARIANTS[name]
    member, out = replace(member, name=name), options.out / name
    if not (out / "result.json").exists():
        fit(member, replace(options, out=out))
    result = json.loads((out / "result.json").read_text())
    return {
        "variant": name,
        "what": says,
        **errors(member, out / f"{name}.safetensors", options),
        "minutes": result["minutes"],
        "device": result["device"],
    }


def to_markdown(rows: list[dict[str, Any]], command: str) -> str:
    """The table, with the difference to the base."""
    base = rows[0]
    lines = [
        "# Ablation",
        "",
        f"Made by `{command}`. EfficientNet-Lite0 at {SIDE_PX} px from ImageNet, the same time for each; MAE in months "
        "on `val`, the radiograph and its mirror image averaged, no bias correction; in brackets: beside the base.",
        "",
        "| | changed | sharp radiographs | thumbnails | minutes |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row[name]:.2f}" + (f" ({row[name] - base[name]:+.2f})" if row is not base else "") for name, _ in SETS
        ]
        lines.append(f"| {row['variant']} | {row['what']} | {' | '.join(cells)} | {row['minutes']:.0f} |")
    return "\n".join([*lines, "", DISCLAIMER, ""])


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train ablation", description=__doc__)
    line.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of: {', '.join(VARIANTS)} (default: all)")
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--minutes", type=float, default=6.0, help="for each variant")
    line.add_argument("--runs", type=Path, default=Path("runs") / "ablation", help="finished variants there are kept")
    line.add_argument("--cache", type=Path, default=Path("cache"))
    line.add_argument("--out", type=Path, default=Path("weights") / "evaluation")
    args = line.parse_args(arguments)
    names = args.variants or list(VARIANTS)
    if unknown := set(names) - set(VARIANTS):
        line.error(f"there is no variant {', '.join(sorted(unknown))}")
    options = Options(tuple(args.images), args.labels, args.runs, args.cache, minutes=args.minutes, workers=1)
    rows = [run(name, options) for name in dict.fromkeys(["base", *names])]
    text = to_markdown(rows, f"python -m train ablation --minutes {args.minutes:g}")
    write_result(args.out, "ablation", rows, text)
    print(text)
    return 0
