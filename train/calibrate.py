"""`python -m train.calibrate RECIPE`: from finished runs to a weights folder that can serve.

Copies each member's weights, runs the serving stages over labelled films, and measures what
the manifest holds: the bias line on `train`, the conformal width and the sex threshold on
`val`. `test` is never touched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from baa_core import _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.calibration import (
    Calibration,
    IntervalModel,
    LinearBias,
    choose_mismatch_probability,
    fit_bias,
    fit_interval,
    fit_scale,
)
from baa_core.ensemble import predict_months, predict_sex
from baa_core.errors import BoneAgeError, HandNotFound, SeveralHands, WeightsMissing
from baa_core.masking import find_hand
from baa_core.pipeline import Assessor
from baa_core.preprocessing import prepare
from baa_core.recipe import Recipe
from baa_core.recipes import find_recipe
from baa_core.types import SEXES
from baa_core.weights import Manifest, WeightsEntry, read_manifest, replace_file, write_manifest

from .data import Sample, find_samples, read_labels, read_sample

SCALE_KNOTS_MONTHS = tuple(range(12, 229, 24))
MAX_FALSE_ALARM = 0.01
# Outside these few pictures were seen (labels.csv: 168 up to 24 months, 352 girls above 168) and errors are larger.
TRAINED_RANGE_MONTHS = {"female": (24.0, 168.0), "male": (24.0, 204.0)}
# Below this, sex cannot be told from the hand well enough to question an entry (measured: weights/README.md).
MISMATCH_YOUNGEST_MONTHS = 72.0
LICENCE = (
    "Trained on RSNA Pediatric Bone Age Challenge 2017 radiographs: academic research, education and other "
    "non-commercial use only, citing Halabi SS et al., Radiology 2019;290:498-503"
)


def collect(recipe: Recipe, runs: Path, folder: Path) -> Manifest:
    """Copy the weights of every served member into `folder` and list them.

    Raises:
        WeightsMissing: a member has not been trained.
    """
    old = read_manifest(folder) if (folder / "manifest.json").exists() else Manifest({}, {})
    entries = dict(old.weights)
    for member in (recipe.hand, recipe.sex, *recipe.members):
        source = runs / member.name / f"{member.name}.safetensors"
        if not source.exists():
            if member.name in entries:
                continue
            raise WeightsMissing(f"'{member.name}' has not been trained: run 'python -m train {member.name}' first.")
        content = source.read_bytes()
        replace_file(folder / source.name, content)
        result: dict[str, Any] = json.loads((source.parent / "result.json").read_text())
        entries[member.name] = WeightsEntry(
            file=source.name,
            sha256=hashlib.sha256(content).hexdigest(),
            recipe=recipe.name,
            trained_on=f"train split of RSNA 2017 as in labels.csv, {' and '.join(member.training.images)}, "
            f"starting from {member.training.init}",
            minutes=float(result["minutes"]),
            device=str(result["device"]),
            licence=LICENCE,
            measured={f"{result['metric']}": round(float(result["best"]), 3)},
        )
    return Manifest(entries, old.calibration)


def predict_all(assessor: Assessor, samples: list[Sample], labels: pd.DataFrame) -> pd.DataFrame:
    """Raw months of every member, for the true sex, and the probability of male, by sample.

    Refused pictures are left out.
    """
    recipe = assessor.recipe
    rows = []
    for sample in tqdm(samples, desc="predicting", mininterval=10):
        radiograph = read_sample(sample)
        try:
            hand = find_hand(radiograph, assessor.network(recipe.hand), recipe.hand.input)
        except (HandNotFound, SeveralHands):
            continue
        made = {m.name: prepare(radiograph, hand, m.input) for m in (recipe.sex, *recipe.members)}
        label = labels.loc[sample.rsna_id]
        networks = {m.name: assessor.network(m) for m in recipe.members}
        months = predict_months(networks, made, label.sex, recipe.mirror_average)
        male = predict_sex(assessor.network(recipe.sex), made[recipe.sex.name], recipe.mirror_average)
        rows.append(
            {
                "rsna_id": sample.rsna_id,
                "kind": sample.kind,
                "split": label.split,
                "sex": label.sex,
                "true_months": float(label.bone_age_months),
                "probability_male": male,
                **months,
            }
        )
    return pd.DataFrame(rows)


def fit_calibration(recipe: Recipe, table: pd.DataFrame) -> Calibration:
    """Everything `baa_core.calibration` needs, from predictions on `train` and `val`.

    The shape of the width comes from val children known only as thumbnails, its size from
    the sharp val films, which the shape has not seen.
    """
    members = [m.name for m in recipe.members]
    seen = table[(table.split == "train") & (table.kind == "sharp")]
    bias: dict[str, LinearBias] = {name: fit_bias(seen[name], seen.true_months) for name in members}
    corrected = np.mean([table[n] - (table[n] * bias[n].slope + bias[n].intercept_months) for n in members], axis=0)
    table = table.assign(months=np.maximum(0.0, corrected))
    held_out = table[table.split == "val"]
    sharp, rough = held_out[held_out.kind == "sharp"], held_out[held_out.kind == "thumbnails"]
    scale: IntervalModel | None = None
    if len(rough) >= 100:
        scale = fit_scale(rough.months, rough.true_months, SCALE_KNOTS_MONTHS)
    old_enough = held_out[held_out.months >= MISMATCH_YOUNGEST_MONTHS]
    entered = np.where(old_enough.sex == "male", old_enough.probability_male, 1 - old_enough.probability_male)
    return Calibration(
        bias=bias,
        interval=fit_interval(sharp.months, sharp.true_months, scale),
        mismatch_probability=choose_mismatch_probability(entered, MAX_FALSE_ALARM),
        mismatch_youngest_months=MISMATCH_YOUNGEST_MONTHS,
        trained_range_months={sex: TRAINED_RANGE_MONTHS[sex] for sex in SEXES},
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train.calibrate", description=__doc__)
    line.add_argument("recipe")
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--runs", type=Path, default=Path("runs"))
    line.add_argument("--weights", type=Path, default=Path("weights"))
    args = line.parse_args(arguments)
    try:
        recipe = find_recipe(args.recipe)
        manifest = collect(recipe, args.runs, args.weights)
        blank = Calibration(
            {m.name: LinearBias() for m in recipe.members},
            IntervalModel((0.0,), (1.0,)),
            1.0,
            0.0,
            TRAINED_RANGE_MONTHS,
        )  # type: ignore[arg-type]
        labels = read_labels(args.labels)
        samples = find_samples(args.images, labels)
        sharp = {s.rsna_id for s in samples if s.kind == "sharp"}
        used = [
            s
            for s in samples
            if (s.kind == "sharp" and labels.split[s.rsna_id] != "test")
            or (s.kind == "thumbnails" and labels.split[s.rsna_id] == "val" and s.rsna_id not in sharp)
        ]
        table = predict_all(Assessor(recipe, manifest, blank, args.weights), used, labels)
        table.to_csv(args.runs / f"{recipe.name}_calibration.csv", index=False, float_format="%.3f")
        calibration = fit_calibration(recipe, table)
        write_manifest(
            Manifest(manifest.weights, {**manifest.calibration, recipe.name: calibration.to_dict()}), args.weights
        )
        print(json.dumps(calibration.to_dict(), indent=1))
    except BoneAgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
