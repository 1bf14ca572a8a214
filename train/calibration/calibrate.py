"""`python -m train calibrate RECIPE`: from finished runs to a weights folder that can serve.

Copies each member's weights, runs the serving stages over the labelled radiographs of `val`, and measures what the
manifest holds: bias lines where they reduce the error by cross-validation, the conformal width, the limits of the sex
check and the error beyond the trained range. `train` and `test` are never touched. How well the width keeps its
promise goes to `evaluation/RECIPE/coverage.md` in the weights folder, with JSON and a figure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused, InvalidTable, WeightsMissing
from baa_core.estimation.calibration import Calibration, LinearBias, choose_mismatch_probability, fit_bias
from baa_core.estimation.conformal import COVERAGE, IntervalModel, UncertaintyFeatures, combine
from baa_core.estimation.ensemble import mean_log_odds, predict_months_by_sex, predict_sex
from baa_core.hand.pose import NAME as OUTLIER
from baa_core.networks.age import AgeNetwork
from baa_core.networks.store import NetworkStore
from baa_core.networks.weights import Manifest, WeightsEntry, read_manifest, replace_file, write_manifest
from baa_core.recipes import find_recipe
from baa_core.recipes.schema import Recipe
from baa_core.types import ENDS, SEXES, End, MeasuredError, Sex
from baa_core.workflows.assess import Assessor

from ..command_line import says_problems
from ..data.samples import Sample, find_samples, read_labels, read_sample
from .interval_widths import (
    LEAST_PICTURES,
    ONE_WIDTH,
    OTHER_SEX,
    fit_widths,
    fit_widths_at_low_resolution,
    write_validation,
)

TABLE_COLUMNS = ("kind", "split", "sex", "true_months", "probability_male")
DEVIATION = "{}_deviation"  # beside a member's column of months
MALE = "{}_male"  # a sex network's probability
MAX_FALSE_ALARM = 0.01  # share of right entries that may be questioned
MAX_FALSE_AGREEMENT = 0.025  # share of wrong entries with which the radiograph may be said to agree
LEAST_FOR_BIAS = 30  # sharp pictures
LINE_FOLDS = 10
SEED = 0
OTHER = "{}_other"  # beside a member's columns: what it answers for the sex that is not the child's
# Outside these few pictures were seen (labels.csv: 168 up to 24 months, 352 girls above 168) and errors are larger.
TRAINED_RANGE_MONTHS: dict[Sex, tuple[float, float]] = {"female": (24.0, 168.0), "male": (24.0, 204.0)}
# Below this, sex cannot be told from the hand well enough to question an entry (measured: weights/README.md).
MISMATCH_YOUNGEST_MONTHS = 72.0
LICENCE = (
    "Trained on RSNA Pediatric Bone Age Challenge 2017 radiographs: academic research, education and other "
    "non-commercial use only, citing Halabi SS et al., Radiology 2019;290:498-503"
)


def collect(recipe: Recipe, runs: Path, folder: Path) -> Manifest:
    """Copy the weights of every shipped member into `folder` and list them.

    Raises:
        WeightsMissing: a member has not been trained.
    """
    old = read_manifest(folder) if (folder / "manifest.json").exists() else Manifest({}, {})
    shipped = {member.name for member in recipe.members_in_use}
    entries = {k: v for k, v in old.weights.items() if v.recipe != recipe.name or k in (*shipped, OUTLIER)}
    for member in recipe.members_in_use:
        owner = entries[member.name].recipe if member.name in entries else recipe.name  # recipes share networks
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
            recipe=owner,
            trained_on=f"train split of RSNA 2017 as in labels.csv, {' and '.join(member.training.images)}, "
            f"starting from {member.training.init}",
            minutes=float(result["minutes"]),
            device=str(result["device"]),
            licence=LICENCE,
            measured={f"{result['metric']}": round(float(result["best"]), 3)},
        )
    return Manifest(entries, old.calibration)


def predict_all(assessor: Assessor, samples: list[Sample], labels: pd.DataFrame) -> pd.DataFrame:
    """Raw months and deviation of every member for the true and the other sex, and the probability of male, by sample.

    Pictures that would be refused are left out. A member that needs a longer hand has no number there.
    """
    recipe = assessor.recipe
    rows = []
    for sample in tqdm(samples, desc="predicting", mininterval=10):
        radiograph = read_sample(sample)
        try:
            hand = assessor.find_hand(radiograph)
            made = assessor.prepare(radiograph, hand)
            if OUTLIER in assessor.store.manifest.weights:  # else `train outliers` comes later
                assessor.check_pose(hand, radiograph.name)
        except HandRefused:
            continue
        label = labels.loc[sample.rsna_id]
        networks = {m.name: cast(AgeNetwork, assessor.network(m)) for m in recipe.members if m.name in made}
        by_sex = predict_months_by_sex(networks, made, SEXES, recipe.views)
        answers, others = by_sex[label.sex], by_sex["female" if label.sex == "male" else "male"]
        male = predict_sex({m.name: assessor.network(m) for m in recipe.sex}, made, recipe.sex_views)
        rows.append(
            {
                "rsna_id": sample.rsna_id,
                "kind": sample.kind,
                "split": label.split,
                "sex": label.sex,
                "true_months": float(label.bone_age_months),
                "probability_male": mean_log_odds(male.values()),
                **{MALE.format(name): probability for name, probability in male.items()},
                **{name: answer.months for name, answer in answers.items()},
                **{DEVIATION.format(name): answer.deviation_months for name, answer in answers.items()},
                **{OTHER.format(name): answer.months for name, answer in others.items()},
                **{OTHER.format(DEVIATION.format(name)): answer.deviation_months for name, answer in others.items()},
            }
        )
    return pd.DataFrame(rows)


def predict_table(recipe: Recipe, manifest: Manifest, args: argparse.Namespace) -> pd.DataFrame:
    """Run the networks over every `val` picture, the sharp one where there are two, and keep what they answered."""
    unmeasured = {sex: dict.fromkeys(ENDS, MeasuredError(0)) for sex in SEXES}
    blank = Calibration({}, IntervalModel(ONE_WIDTH, {COVERAGE: 1.0}), 1.0, 1.0, 0.0, TRAINED_RANGE_MONTHS, unmeasured)
    labels = read_labels(args.labels)
    samples = find_samples(args.images, labels)
    sharp = {s.rsna_id for s in samples if s.kind == "sharp"}
    used = [s for s in samples if labels.split[s.rsna_id] == "val" and (s.kind == "sharp" or s.rsna_id not in sharp)]
    if args.at_most:
        used = evenly_chosen(used, labels, args.at_most)
    print(f"{recipe.name}: predicting {len(used)} val pictures; none of train or test is used", file=sys.stderr)
    table = predict_all(Assessor(recipe, blank, NetworkStore(manifest, args.weights)), used, labels)
    args.runs.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.runs / f"{recipe.name}_calibration.csv", index=False, float_format="%.3f")
    return table


def evenly_chosen(samples: list[Sample], labels: pd.DataFrame, at_most: int) -> list[Sample]:
    """No more than so many of each kind and split, spread over the ids."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: s.rsna_id):
        groups.setdefault((sample.kind, labels.split[sample.rsna_id]), []).append(sample)
    return [s for group in groups.values() for s in group[:: math.ceil(len(group) / at_most)]]


def read_table(path: Path, recipe: Recipe) -> pd.DataFrame:
    """A table that an earlier calibration kept.

    Raises:
        InvalidTable: it is not there or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InvalidTable(
            f"{path.name} cannot be read as a table. Give the CSV that train.calibration.calibrate kept."
        ) from error
    members = [column for m in recipe.members for column in (m.name, DEVIATION.format(m.name))]
    if missing := [column for column in (*TABLE_COLUMNS, *members) if column not in table.columns]:
        raise InvalidTable(
            f"{path.name} lacks the columns {missing}. Run train.calibration.calibrate without --table once."
        )
    return table


def take_sex_from(recipe: Recipe, other: str, folder: Path) -> Calibration:
    """Take over when an entry is questioned from another recipe with the same sex networks; nothing else changes.

    Raises:
        InvalidTable: one of the two has not been calibrated, or its sex networks are not the same.
    """
    manifest, source = read_manifest(folder), find_recipe(other)
    for one in (recipe, source):
        if one.name not in manifest.calibration:
            raise InvalidTable(
                f"'{one.name}' has no calibration yet: run 'python -m train calibrate {one.name}' first."
            )
    if recipe.sex != source.sex:
        raise InvalidTable(f"'{recipe.name}' and '{other}' do not check the sex by the same networks.")
    own, theirs = (Calibration.from_dict(manifest.calibration[one.name]) for one in (recipe, source))
    found = replace(
        own,
        mismatch_probability=theirs.mismatch_probability,
        agreement_probability=theirs.agreement_probability,
        mismatch_youngest_months=theirs.mismatch_youngest_months,
    )
    write_manifest(Manifest(manifest.weights, {**manifest.calibration, recipe.name: found.to_dict()}), folder)
    return found


def fit_members(recipe: Recipe, pictures: pd.DataFrame) -> dict[str, LinearBias]:
    """The bias line of each member on these pictures."""
    return {m.name: fit_bias(pictures[m.name], pictures.true_months) for m in recipe.members}


def ensemble(recipe: Recipe, bias: Mapping[str, LinearBias], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `val` with the columns that `train.calibration.interval_widths` reads.

    Args:
        bias: of every member; empty if months are not corrected.
        table: as `predict_all` makes it; from one without the other sex nothing is made of it.
    """
    held_out = table[table.split == "val"].reset_index(drop=True)
    names = [member.name for member in recipe.members]
    weights = np.array([recipe.weights[name] for name in names])
    answered = held_out[names].notna().to_numpy()

    def signals(pattern: str) -> UncertaintyFeatures:
        raw = {name: held_out[pattern.format(name)].to_numpy(float) for name in names}
        corrected = np.array([np.maximum(0.0, bias[n].correct(raw[n]) if bias else raw[n]) for n in names])
        deviations = held_out[[pattern.format(DEVIATION.format(name)) for name in names]].to_numpy(float).T
        made = np.full((3, len(held_out)), np.nan)
        for some in np.unique(answered, axis=0):
            rows = (answered == some).all(axis=1)
            made[:, rows] = list(
                vars(combine(corrected[some][:, rows], deviations[some][:, rows], weights[some].tolist())).values()
            )
        return UncertaintyFeatures(*made)

    made = held_out.assign(**vars(signals("{}")), low_resolution=~answered.all(axis=1))
    if not {OTHER.format(name) for name in names} <= set(held_out.columns):
        return made
    return made.assign(**{OTHER_SEX.format(name): values for name, values in vars(signals(OTHER)).items()})


def choose_bias(recipe: Recipe, table: pd.DataFrame) -> tuple[dict[str, LinearBias], pd.DataFrame, str]:
    """Bias lines if they reduce the error on sharp `val` pictures that they were not fitted on; else none.

    By `LINE_FOLDS`-fold cross-validation. They are applied if the mean absolute error falls by more than the standard
    error of that difference.

    Returns:
        the lines, or none; the pictures as `ensemble` gives them, each sharp one corrected by lines that have not seen
        it; and what was found, in words.
    """
    plain = ensemble(recipe, {}, table)
    sharp = np.flatnonzero((plain.kind == "sharp") & ~plain.low_resolution)
    if len(sharp) < LEAST_FOR_BIAS:
        return {}, plain, f"no bias line: {len(sharp)} sharp val pictures are too few to fit one"
    lines = fit_members(recipe, plain.loc[sharp])
    crossed = ensemble(recipe, lines, table)
    fold = np.random.default_rng(SEED).permutation(len(sharp)) % LINE_FOLDS
    for number in range(LINE_FOLDS):
        rows = sharp[fold == number]
        own = ensemble(recipe, fit_members(recipe, plain.loc[sharp[fold != number]]), plain.loc[rows])
        crossed.loc[rows] = own.set_index(rows)
    before, after = ((some.months - some.true_months).abs().loc[sharp] for some in (plain, crossed))
    gain = before - after
    doubt = float(gain.std() / math.sqrt(len(gain)))
    kept = float(gain.mean()) > doubt
    said = (
        f"{'bias lines' if kept else 'no bias line'}: mean absolute error on {len(sharp)} sharp val pictures "
        f"{before.mean():.2f} months without lines, {after.mean():.2f} with lines fitted by cross-validation "
        f"(difference {gain.mean():.2f}, standard error {doubt:.2f})"
    )
    return (lines, crossed, said) if kept else ({}, plain, said)


def measure_range_error(pictures: pd.DataFrame) -> dict[Sex, dict[End, MeasuredError]]:
    """The mean absolute error beyond the trained range, by reference age."""
    found: dict[Sex, dict[End, MeasuredError]] = {}
    for sex, (low, high) in TRAINED_RANGE_MONTHS.items():
        own = pictures[pictures.sex == sex]
        errors = (own.months - own.true_months).abs()
        beyond: dict[End, pd.Series] = {"young": errors[own.true_months < low], "old": errors[own.true_months > high]}
        found[sex] = {
            end: MeasuredError(len(some), round(float(some.mean()), 2)) if len(some) else MeasuredError(0)
            for end, some in beyond.items()
        }
    return found


def fit_calibration(bias: Mapping[str, LinearBias], pictures: pd.DataFrame) -> Calibration:
    """Everything `baa_core.estimation.calibration` needs, from the members' lines and the estimates of `val`."""
    old_enough = pictures[pictures.months >= MISMATCH_YOUNGEST_MONTHS]
    entered = np.where(old_enough.sex == "male", old_enough.probability_male, 1 - old_enough.probability_male)
    return Calibration(
        bias=bias,
        interval=fit_widths(pictures),
        interval_low_resolution=fit_widths_at_low_resolution(pictures),
        mismatch_probability=choose_mismatch_probability(entered, MAX_FALSE_ALARM),
        # A wrong entry is as probable as the other sex of a right one.
        agreement_probability=choose_mismatch_probability(entered, MAX_FALSE_AGREEMENT),
        mismatch_youngest_months=MISMATCH_YOUNGEST_MONTHS,
        trained_range_months=TRAINED_RANGE_MONTHS,
        range_error_months=measure_range_error(pictures),
    )


def run(args: argparse.Namespace, command: str) -> Calibration:
    """Collect weights and predict, or take the table given; fit, validate, and write all of it.

    Raises:
        BoneAgeError: what is needed is not there.
    """
    recipe = find_recipe(args.recipe)
    if args.sex_from:
        return take_sex_from(recipe, args.sex_from, args.weights)
    if args.table:
        manifest, table = read_manifest(args.weights), read_table(args.table, recipe)
    else:
        manifest = collect(recipe, args.runs, args.weights)
        table = predict_table(recipe, manifest, args)
    bias, pictures, found = choose_bias(recipe, table)
    print(f"{recipe.name}: {found}", file=sys.stderr)
    calibration = fit_calibration(bias, pictures)
    if recipe.name in manifest.calibration:  # fitted by train.reports.cuts
        kept = Calibration.from_dict(manifest.calibration[recipe.name]).cut_factors
        calibration = replace(calibration, cut_factors=kept)
    validation = args.weights / "evaluation" / recipe.name
    write_validation(pictures, calibration, validation, command, found)
    fitted = {**manifest.calibration, recipe.name: calibration.to_dict()}
    write_manifest(Manifest(manifest.weights, fitted), args.weights)
    return calibration


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train calibrate", description=__doc__)
    line.add_argument("recipe")
    line.add_argument("--images", nargs="+", type=Path)
    line.add_argument("--labels", type=Path)
    line.add_argument("--table", type=Path, help="fit again from runs/RECIPE_calibration.csv; no network runs")
    line.add_argument("--sex-from", metavar="RECIPE", help="take over from it when an entry is questioned; no more")
    line.add_argument("--at-most", type=int, help="pictures of each kind and split, for a recipe that is slow")
    line.add_argument("--runs", type=Path, default=Path("runs"))
    line.add_argument("--weights", type=Path, default=Path("weights"))
    words = sys.argv[1:] if arguments is None else arguments
    args = line.parse_args(words)
    if not (args.table or args.sex_from) and not (args.images and args.labels):
        line.error("--images and --labels are needed, or --table, or --sex-from")
    if args.at_most is not None and args.at_most < max(LEAST_PICTURES.values()):
        line.error(f"--at-most must leave {max(LEAST_PICTURES.values())} pictures of a kind for the interval")
    calibration = run(args, f"{line.prog} {shlex.join(words)}")
    print(json.dumps(calibration.to_dict(), indent=1))
    return 0
