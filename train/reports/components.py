"""`python -m train results RECIPE`: what each part of a recipe is worth, on sharp `val` and `test` radiographs.

The recipe as it is served, by age too, beside each network alone, without each, more or fewer views, no bias
correction, the predicted in place of the entered sex, and the mean by sex without looking at the picture; and how alike
the networks' errors are. Nothing is fitted here.
With `--batch`, for a recipe that is slow: served, each network alone and without each, from what
`python -m baa_core batch` wrote.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pandas as pd
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused, UnreadableImage
from baa_core.estimation.calibration import Calibration, LinearBias
from baa_core.estimation.ensemble import likelier_sex, mean_log_odds, predict_months_by_sex, predict_sex
from baa_core.evaluation.metrics import AGE_BANDS_MONTHS, age_bands, markdown_table, measure_errors
from baa_core.networks.age import AgeNetwork
from baa_core.recipes.registry import find_recipe
from baa_core.recipes.schema import TestTimeAugmentation
from baa_core.types import DISCLAIMER, SEXES
from baa_core.workflows.assess import Assessor, load_assessor

from ..command_line import says_problems, write_result
from ..data.samples import Sample, find_samples, read_labels, read_sample

SPLITS = ("val", "test")
SERVED = "as served"
# Deeplasia's test-time augmentation (supplement 3).
VIEWS: Mapping[str, TestTimeAugmentation] = {
    "plain": TestTimeAugmentation(mirror=False),
    "mirrored": TestTimeAugmentation(),
    "turned": TestTimeAugmentation(turns_degrees=(-10.0, -5.0, 0.0, 5.0, 10.0)),
}
ALONE = "{} alone"
READING = "{member} {views} {sex}"
HEADER = ("", "n", "MAE", "RMSE", "within 12", "girls", "boys")


def read_radiographs(assessor: Assessor, samples: list[Sample], labels: pd.DataFrame) -> pd.DataFrame:
    """What every network says about every radiograph that is not refused, in every view, for both sexes; raw months."""
    networks = {m.name: cast(AgeNetwork, assessor.network(m)) for m in assessor.recipe.members}
    sex_networks = {m.name: assessor.network(m) for m in assessor.recipe.sex}
    rows = []
    for sample in tqdm(samples, desc="reading radiographs", mininterval=10):
        label = labels.loc[sample.rsna_id]
        row = {"split": label.split, "sex": label.sex, "true_months": float(label.bone_age_months)}
        try:
            radiograph = read_sample(sample)
            inputs, _ = assessor.prepare_checked(radiograph, assessor.find_hand(radiograph))
        except (HandRefused, UnreadableImage) as error:
            rows.append({**row, "refused": type(error).__name__})
            continue
        male = predict_sex(sex_networks, inputs, assessor.recipe.sex_views)
        row["sex_predicted"] = likelier_sex(mean_log_odds(male.values()))
        answering = {name: network for name, network in networks.items() if name in inputs}
        for name, views in VIEWS.items():
            for sex, answers in predict_months_by_sex(answering, inputs, SEXES, views).items():
                row |= {READING.format(member=m, views=name, sex=sex): a.months for m, a in answers.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def months(
    radiographs: pd.DataFrame, bias: Mapping[str, LinearBias], weights: Mapping[str, float], views: str, sex: str
) -> pd.Series:
    """The mean of the corrected members, by radiograph.

    Args:
        bias: the members to average, each with its line.
        weights: how much each of them counts.
        views: of `VIEWS`.
        sex: the column that says for which sex to answer.
    """
    corrected = [
        weights[member]
        * bias[member]
        .correct(
            radiographs[READING.format(member=member, views=views, sex="male")].where(
                radiographs[sex] == "male", radiographs[READING.format(member=member, views=views, sex="female")]
            )
        )
        .clip(lower=0.0)
        for member in bias
    ]
    return cast(pd.Series, sum(corrected) / sum(weights[member] for member in bias))


def variants(
    radiographs: pd.DataFrame, calibration: Calibration, weights: Mapping[str, float], mean_months: Mapping[str, float]
) -> dict[str, pd.Series]:
    """Estimates by what makes them, the served one first."""
    plain = dict.fromkeys(weights, LinearBias())
    bias = dict(calibration.bias) or plain
    alone = {ALONE.format(m): months(radiographs, {m: line}, weights, "mirrored", "sex") for m, line in bias.items()}
    without = (
        {
            f"without {m}": months(radiographs, {k: v for k, v in bias.items() if k != m}, weights, "mirrored", "sex")
            for m in bias
        }
        if len(bias) > 2
        else {}
    )
    return {
        SERVED: months(radiographs, bias, weights, "mirrored", "sex"),
        **(alone if len(alone) > 1 else {}),
        **without,
        "without the mirror image": months(radiographs, bias, weights, "plain", "sex"),
        "turned by -10, -5, 0, 5, 10 degrees as well": months(radiographs, bias, weights, "turned", "sex"),
        **(
            {"without bias correction": months(radiographs, plain, weights, "mirrored", "sex")}
            if calibration.bias
            else {}
        ),
        "predicted in place of entered sex": months(radiographs, bias, weights, "mirrored", "sex_predicted"),
        "mean by sex, picture not looked at": radiographs.sex.map(mean_months),
    }


def measure(radiographs: pd.DataFrame, estimates: Mapping[str, pd.Series]) -> dict[str, dict[str, Any]]:
    """The error measures of every variant with the mean difference by sex, and of the served one by age."""
    found = {
        name: _measured(estimate - radiographs.true_months, radiographs.sex) for name, estimate in estimates.items()
    }
    errors = estimates[SERVED] - radiographs.true_months
    for band, inside in age_bands(radiographs.true_months.to_numpy(float), AGE_BANDS_MONTHS).items():
        if inside.any():
            found[f"{SERVED}, {band}"] = _measured(errors[inside], radiographs.sex[inside])
    return found


def correlations(radiographs: pd.DataFrame, estimates: Mapping[str, pd.Series]) -> dict[str, float]:
    """How alike the errors of every two networks are: the correlation by "one, other"."""
    members = {
        name: months - radiographs.true_months for name, months in estimates.items() if name.endswith(ALONE.format(""))
    }
    names = {name: name.removesuffix(ALONE.format("")) for name in members}
    return {
        f"{names[one]}, {names[other]}": round(float(members[one].corr(members[other])), 2)
        for one, other in combinations(members, 2)
    }


def _measured(errors: pd.Series, sex: pd.Series) -> dict[str, Any]:
    by_sex = {one: round(float(errors[sex == one].mean()), 2) for one in SEXES if (sex == one).any()}
    return {"n": len(errors), **measure_errors(errors.to_numpy(float)), "mean_difference_by_sex_months": by_sex}


def to_markdown(document: Mapping[str, Any]) -> str:
    """The table, one part a split."""
    parts = [f"# What each part is worth\n\nMade by `{document['command']}`. Sharp radiographs; months.\n"]
    for split, part in document["splits"].items():
        refused = ", ".join(f"{n} {kind}" for kind, n in part["refused"].items()) or "none"
        parts += [f"## {split}\n\nRefused: {refused}.\n"]
        parts += [markdown_table(HEADER, [_row(name, group) for name, group in part["variants"].items()])]
        if part.get("correlations"):
            rows = [[pair, f"{found:.2f}"] for pair, found in part["correlations"].items()]
            parts += [markdown_table(("correlation of errors", ""), rows)]
    return "\n".join([*parts, f"{DISCLAIMER}\n"])


def _row(name: str, group: Mapping[str, Any]) -> list[str]:
    low, high = group["mae_interval_months"]
    difference = group["mean_difference_by_sex_months"]
    return [
        name,
        str(group["n"]),
        f"{group['mae_months']:.2f} [{low:.2f}, {high:.2f}]",
        f"{group['rmse_months']:.2f}",
        f"{100 * group['share_within_12_months']:.1f} %",
        *(f"{difference[sex]:+.2f}" if sex in difference else "–" for sex in SEXES),
    ]


def run(args: argparse.Namespace, command: str) -> dict[str, Any]:
    """Read the radiographs, measure, and write `evaluation/RECIPE/results.{json,md}` in the weights folder.

    Raises:
        BoneAgeError: weights or data are missing.
    """
    assessor, labels = load_assessor(args.recipe, weights_dir=args.weights), read_labels(args.labels)
    chosen = [s for s in find_samples(args.images, labels) if s.kind == "sharp"]
    samples = [s for s in chosen if labels.split[s.rsna_id] in args.splits]
    radiographs = read_radiographs(assessor, samples, labels)
    mean_months = labels[labels.split == "train"].groupby("sex").bone_age_months.mean().to_dict()
    parts = {}
    for split in args.splits:
        own = radiographs[radiographs.split == split]
        refused = own["refused"].dropna() if "refused" in own else pd.Series(dtype=str)
        kept = own.drop(refused.index)
        estimates = variants(kept, assessor.calibration, assessor.recipe.weights, mean_months)
        parts[split] = {
            "refused": refused.value_counts().to_dict(),
            "variants": measure(kept, estimates),
            "correlations": correlations(kept, estimates),
        }
    document = {"command": command, "recipe": args.recipe, "splits": parts, "disclaimer": DISCLAIMER}
    write_result(args.weights / "evaluation" / args.recipe, "results", document, to_markdown(document))
    return document


def run_batch(args: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure a batch's results, and write `evaluation/RECIPE/results.{json,md}` in the weights folder."""
    labels, rows, weights = read_labels(args.labels), pd.read_csv(args.batch), find_recipe(args.recipe).weights
    rows["split"], rows["sex"] = (labels.loc[rows.rsna_id, column].to_numpy() for column in ("split", "sex"))
    rows["true_months"] = labels.bone_age_months.loc[rows.rsna_id].to_numpy(float)
    parts = {}
    for split, own in rows.groupby("split"):
        kept = own[own.status == "ok"]
        members = pd.DataFrame([json.loads(said) for said in kept.members], index=kept.index)
        estimates = {SERVED: kept.bone_age_months, **_alone_and_without(members, weights)}
        refused = own.error_type[own.status != "ok"].value_counts().to_dict()
        parts[str(split)] = {"refused": refused, "variants": measure(kept, estimates)}
    document = {"command": command, "recipe": args.recipe, "splits": parts, "disclaimer": DISCLAIMER}
    write_result(args.weights / "evaluation" / args.recipe, "results", document, to_markdown(document))
    return document


def _alone_and_without(members: pd.DataFrame, weights: Mapping[str, float]) -> dict[str, pd.Series]:
    """Corrected months of each network, a column each, alone; and of more than two all without each, by weight."""
    names = list(members)
    found = {ALONE.format(name): members[name] for name in names}
    for left_out in names if len(names) > 2 else ():
        others = [name for name in names if name != left_out]
        counts = [weights[name] for name in others]
        found[f"without {left_out}"] = (members[others] * counts).sum(axis=1) / sum(counts)
    return found


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train results", description=__doc__)
    line.add_argument("recipe")
    line.add_argument("--images", nargs="+", type=Path)
    line.add_argument("--batch", type=Path, help="results of a batch with rsna_id and the entered sex as labelled")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=SPLITS, help="`val` alone looks at no test radiograph"
    )
    line.add_argument("--weights", type=Path, default=Path("weights"))
    words = sys.argv[1:] if arguments is None else arguments
    args = line.parse_args(words)
    if not (args.images or args.batch):
        line.error("--images are needed, or --batch")
    document = (run_batch if args.batch else run)(args, f"{line.prog} {shlex.join(words)}")
    print(to_markdown(document))
    return 0
