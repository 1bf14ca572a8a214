"""`python -m train regions`: Iglovikov's models one by one on `val`, their means, and what his preparation is worth.

The paper's figures 4 to 6 with this project's networks: mean absolute error of the 18 models (three regions, regression
and classification, girls', boys' and everybody's) and of their means, by developmental stage, and of region A learnt
from raw, masked and registered pictures. Months without bias correction; nothing is fitted here.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.evaluation.metrics import markdown_table
from baa_core.explanation.atlas import textbook_stage
from baa_core.networks.age import SixHeads
from baa_core.networks.build import build
from baa_core.networks.weights import DEFAULT_FOLDER
from baa_core.recipes.iglovikov2018 import ABLATION, RECIPE
from baa_core.recipes.schema import Member
from baa_core.types import DISCLAIMER, SEXES

from ..command_line import says_problems, write_result
from ..data.cache import arranged_pictures, normalised
from ..data.point_finder import finder_of
from ..data.samples import Sample, find_samples, read_labels
from ..initial_weights import member_start, start_file

BATCH = 32
REGIONS = {"iglovikov_a": "A: whole hand", "iglovikov_b": "B: carpals", "iglovikov_c": "C: metacarpals and proximal"}
KINDS = {"regression": "regression", "expectation": "classification"}
WHO = (*SEXES, "both")
MEAN = "A, B and C"
PREPARATIONS = {"raw": "as it is", "masked": "masked and stretched", "registered": "masked, stretched and registered"}

Months = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What the six models of one region say about the pictures of `found`; months, NaN elsewhere."""

    by_model: dict[tuple[str, str], Months]
    found: NDArray[np.bool_]

    def served(self, sex: pd.Series) -> Months:
        """The mean of the two models of each child's sex, as an assessment takes it."""
        mean = {one: sum(self.by_model[kind, one] for kind in KINDS) / len(KINDS) for one in SEXES}
        return cast(Months, np.where(sex == "male", mean["male"], mean["female"]))


def ask(member: Member, samples: list[Sample], cache: Path, runs: Path) -> Answers:
    """The answers of one region's models to every sample."""
    network = cast(SixHeads, build(member.architecture))
    member_start(network, start_file(member.name, runs))
    network.eval()
    pictures, found = arranged_pictures(samples, member.input, cache / "hands", cache, finder=finder_of(member))
    said: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            batch = np.stack([normalised(p, member.input) for p in pictures[start : start + BATCH]])
            for model, (months, _) in network.answers_from(network.backbone(torch.from_numpy(batch))).items():
                said.setdefault(model, []).append(months.numpy())
    by_model = {model: np.where(found, np.concatenate(parts), np.nan) for model, parts in said.items()}
    return Answers(cast(dict[tuple[str, str], Months], by_model), found)


def models_table(answers: dict[str, Answers], sex: pd.Series, true: Months) -> dict[str, dict[str, float]]:
    """Error by region (and of the regions' mean) and model; sexed models on their own sex."""
    table: dict[str, dict[str, float]] = {}
    rows = {name: [one] for name, one in answers.items()} | {MEAN: list(answers.values())}
    for name, regions in rows.items():
        row = {}
        for kind in KINDS:
            for who in WHO:
                asked = np.ones(len(sex), bool) if who == "both" else (sex == who).to_numpy()
                months = np.mean([region.by_model[kind, who] for region in regions], axis=0)
                row[f"{KINDS[kind]}, {who}"] = error(months[asked], true[asked])
        row["served"] = error(np.mean([region.served(sex) for region in regions], axis=0), true)
        table[name] = row
    return table


def stages_table(answers: dict[str, Answers], sex: pd.Series, true: Months) -> dict[str, dict[str, float]]:
    """Error by sex and developmental stage, of each region and of their mean."""
    stage = np.array([textbook_stage(months, one).name for months, one in zip(true, sex, strict=True)])
    ages = {name: float(np.median(true[stage == name])) for name in set(stage)}
    table: dict[str, dict[str, float]] = {}
    for one in SEXES:
        for name in sorted(ages, key=lambda known: ages[known]):
            rows = (stage == name) & (sex == one).to_numpy()
            if not rows.any():
                continue
            served = {region: said.served(sex)[rows] for region, said in answers.items()}
            errors = {region: error(months, true[rows]) for region, months in served.items()}
            mean = error(np.mean(list(served.values()), axis=0), true[rows])
            table[f"{one}, {name}"] = {"n": float(rows.sum()), **errors, MEAN: mean}
    return table


def preparation_table(
    args: argparse.Namespace, samples: list[Sample], sex: pd.Series, true: Months
) -> dict[str, float]:
    """Error of region A by preparation, of those that have been trained, on the same pictures."""
    members = {m.name.removeprefix("iglovikov_a_"): m for m in ABLATION} | {"registered": RECIPE.members[0]}
    trained = {name: m for name, m in members.items() if start_file(m.name, args.alike).exists()}
    said = {name: ask(member, samples, args.cache, args.alike) for name, member in trained.items()}
    everywhere = np.all([answers.found for answers in said.values()], axis=0)
    return {name: error(said[name].served(sex)[everywhere], true[everywhere]) for name in PREPARATIONS if name in said}


def error(months: Months, true: Months) -> float:
    """The mean absolute error where there is an answer."""
    return round(float(np.nanmean(np.abs(months - true))), 2)


def to_markdown(document: dict[str, Any]) -> str:
    """The three tables."""
    models, stages, preparation = document["models"], document["stages"], document["preparation"]
    titles = REGIONS | {MEAN: MEAN}
    first = next(iter(models.values()))
    parts = [
        f"# Iglovikov's models on `val`\n\nMade by `{document['command']}`. Mean absolute error in months, "
        f"{document['n']} pictures, sharp radiographs and thumbnails; no bias correction.\n",
        markdown_table(
            ("", *first), [[titles[name], *(f"{x:.2f}" for x in row.values())] for name, row in models.items()]
        ),
        "\nBy developmental stage (`baa_core.explanation.atlas`), mean of the two models of the child's sex:\n",
        markdown_table(
            ("", "n", *titles.values()),
            [[name, f"{row['n']:.0f}", *(f"{row[one]:.2f}" for one in titles)] for name, row in stages.items()],
        ),
        "\nRegion A by preparation, each network trained alike:\n",
        markdown_table(("picture", "MAE"), [[PREPARATIONS[name], f"{x:.2f}"] for name, x in preparation.items()]),
    ]
    return "\n".join([*parts, f"\n{DISCLAIMER}\n"])


def run(args: argparse.Namespace, command: str) -> dict[str, Any]:
    """Ask every model and write `evaluation/iglovikov2018/models.{json,md}` in the weights folder.

    Raises:
        BoneAgeError: weights, hands or labels are missing.
    """
    labels = read_labels(args.labels)
    samples = [s for s in find_samples(args.images, labels) if labels.split[s.rsna_id] == "val"]
    rows = labels.loc[[s.rsna_id for s in samples]]
    sex, true = rows.sex.reset_index(drop=True), rows.bone_age_months.to_numpy(np.float64)
    answers = {member.name: ask(member, samples, args.cache, args.runs) for member in RECIPE.members}
    document = {
        "command": command,
        "n": int(np.all([one.found for one in answers.values()], axis=0).sum()),
        "models": models_table(answers, sex, true),
        "stages": stages_table(answers, sex, true),
        "preparation": preparation_table(args, samples, sex, true),
        "disclaimer": DISCLAIMER,
    }
    write_result(args.weights / "evaluation" / RECIPE.name, "models", document, to_markdown(document))
    return document


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train regions")
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--cache", type=Path, default=Path("cache"))
    line.add_argument("--runs", type=Path, default=Path("runs"))
    line.add_argument("--alike", type=Path, default=Path("runs"), help="runs of region A by preparation, trained alike")
    line.add_argument("--weights", type=Path, default=DEFAULT_FOLDER)
    words = sys.argv[1:] if arguments is None else arguments
    print(to_markdown(run(line.parse_args(words), f"{line.prog} {shlex.join(words)}")))
    return 0
