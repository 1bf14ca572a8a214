"""`python -m train explanations`: can the explanations be relied on, and which bones count at which age, on `val`.

For each method: on how many radiographs its map beats random maps and plain edges, how stable it is, how often the
verdict is that it can be relied on, how alike the networks' maps are, whether its months add up, how long it takes.
Beside that, how often the first check passes a map that knows nothing of the networks: one by networks whose
parameters are shuffled, and a random map with the spectrum of the true one. For each region and age band: what it
contributes. Every finished part of a radiograph stands in `runs/explanations.csv` and is not done again, so the command
can be stopped at any time.
"""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused, LandmarksNotFound, UnreadableImage
from baa_core.estimation.ensemble import age_forward
from baa_core.evaluation.metrics import age_bands, markdown_table
from baa_core.explanation.faithfulness import Deletion, Removal, chance, curves, measure_deletion, smoothed
from baa_core.explanation.methods import METHODS, Method, evidence, find_method
from baa_core.explanation.verdict import STABLE_FROM
from baa_core.networks.bone_strips import BoneNetwork
from baa_core.networks.engine import put_on_torch
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import DISCLAIMER, FloatArray, Patient
from baa_core.workflows.assess import Assessor, load_assessor
from baa_core.workflows.explain import (
    ExplanationContext,
    compute_attribution,
    context_of,
    measure_faithfulness,
    measure_stability,
    region_effects,
)

from ..command_line import says_problems, write_result
from ..data.samples import Sample, find_samples, read_labels, read_sample

BANDS_MONTHS = (0.0, 60.0, 96.0, 132.0, 168.0, 240.0)
COLUMNS = ("rsna_id", "part", "name", "measure", "value")
METHOD, REGION, UNPLACED, REFUSED = "method", "region", "unplaced", "refused"
CONTROL = "control"
ORDER_SEED, SHUFFLED_SEED, RANDOM_MAP_SEED = 0, 0, 1000  # the latter is none of the seeds that `deletion` compares with
METHOD_HEADER = (
    "method", "radiographs", "better than chance", "than edges", "than both, every time", "months apart", "chance",
    "edges", "stable", "least correlation", "verdict: passed", "networks' likeness", "sum missed", "seconds",
)  # fmt: skip
CONTROL_HEADER = ("method", "radiographs", "map", "shuffled networks' map", "random map")

Row = tuple[int, str, str, str, float]


def method_rows(context: ExplanationContext, rsna_id: int, name: str) -> list[Row]:
    """One method on one radiograph."""
    method = find_method(name)
    start = perf_counter()
    explanation = compute_attribution(context, method)
    drawn = perf_counter() - start
    deletion, stable, maps = (
        measure_faithfulness(context, method, explanation),
        measure_stability(context, method),
        explanation.by_member,
    )
    measured = {
        "area": deletion.area_months,
        "random_area": deletion.random_area_months,
        "luckiest_area": deletion.best_random_area_months,
        "edge_area": deletion.edge_area_months,
        "least_correlation": min(stable.values()),
        "inside_hand_share": explanation.inside_hand_share,
        "map_seconds": drawn,
        "seconds": perf_counter() - start,
    }
    if explanation.member_agreement is not None:
        measured["member_agreement"] = explanation.member_agreement
    if explanation.completeness_error_months is not None:
        measured["completeness_error"] = explanation.completeness_error_months
    controls = {
        "shuffled": shuffled_margin(context, method),
        "random_map": random_map_margin(
            context, {n: evidence(method, m, context.inputs[n]) for n, m in maps.items()}, deletion
        ),
    }
    return [
        *((rsna_id, METHOD, name, measure, value) for measure, value in measured.items()),
        *((rsna_id, CONTROL, name, measure, value) for measure, value in controls.items()),
    ]


def shuffled(network: nn.Module) -> nn.Module:
    """The network with the values of every parameter in another order; joints are placed as before."""
    copied = put_on_torch(deepcopy(network))
    part = copied.head if isinstance(copied, BoneNetwork) else copied
    generator = torch.Generator().manual_seed(SHUFFLED_SEED)
    for parameter in part.parameters():
        values = parameter.detach().flatten()
        parameter.data = values[torch.randperm(len(values), generator=generator)].reshape(parameter.shape)
    return copied


def shuffled_margin(context: ExplanationContext, method: Method) -> float:
    """Months by which the map of shuffled networks beats what it must, tested on the true ones; below 0 it fails."""
    said = {}
    for name, network in context.networks.items():
        forgetful, given = shuffled(network), context.inputs[name]
        forward = age_forward(forgetful, context.estimate.sex_used, False, given)
        said[name] = evidence(method, (method.sketch or method.attribute)(forgetful, forward, given).months, given)
    found = measure_deletion(context.forwards, context.inputs, said)
    return found.area_months - max(found.best_random_area_months, found.edge_area_months)


def random_map_margin(context: ExplanationContext, said: Mapping[str, FloatArray], deletion: Deletion) -> float:
    """The same of a random map with the spectrum of the true one, in place of it."""
    areas = []
    for name, forward in context.forwards.items():
        ((high, low),) = curves(forward, context.inputs[name], [*chance(smoothed(said[name]), [RANDOM_MAP_SEED])])
        areas.append(Removal(high, low).area_months)
    return float(np.mean(areas)) - max(deletion.best_random_area_months, deletion.edge_area_months)


def region_rows(context: ExplanationContext, rsna_id: int) -> list[Row]:
    """What each region is worth on one radiograph, or that its joints could not be placed."""
    try:
        masks = context.assessor.regions(context.hand)
    except LandmarksNotFound as error:
        return [(rsna_id, UNPLACED, type(error).__name__, "count", 1.0)]
    return [
        (rsna_id, REGION, name, measure, value)
        for name, effect in region_effects(context, masks).items()
        for measure, value in (
            ("contribution", effect.contribution_months),
            ("chance_low", effect.chance_low_months),
            ("chance_high", effect.chance_high_months),
        )
    ]


def read_rows(path: Path) -> pd.DataFrame:
    """What is finished. A last line that an interruption cut short is cut off the file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return pd.read_csv(io.BytesIO(whole))


def append(path: Path, rows: Iterable[Row]) -> None:
    """One finished part of a radiograph, in one write."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([] if path.is_file() else [COLUMNS])
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())


def explain_radiographs(
    assessor: Assessor, samples: list[Sample], labels: pd.DataFrame, methods: list[str], path: Path
) -> None:
    """Do whatever of the radiographs is not yet in the file."""
    rows = read_rows(path)
    done = set(zip(rows.rsna_id.astype(int), rows.part, rows.name, strict=True))
    radiographs = {key[0] for key in done if key[1] == REFUSED}
    # In a random order, so that an interrupted run has seen all ages.
    for sample in tqdm(Random(ORDER_SEED).sample(samples, len(samples)), desc="explaining", mininterval=10):
        number = sample.rsna_id
        left = [name for name in methods if (number, METHOD, name) not in done]
        regions_done = any(key[0] == number and key[1] in (REGION, UNPLACED) for key in done)
        if number in radiographs or (not left and regions_done):
            continue
        radiograph = read_sample(sample)
        try:
            context = context_of(assessor, assessor.find(radiograph), Patient(sex=labels.sex[number]))
        except (HandRefused, UnreadableImage) as error:
            append(path, [(number, REFUSED, type(error).__name__, "count", 1.0)])
            continue
        if not regions_done:
            append(path, region_rows(context, number))
        for name in left:
            append(path, method_rows(context, number, name))


def measure_methods(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Shares and medians over the radiographs, by method."""
    found = {}
    for name, part in rows[rows.part == METHOD].groupby("name", sort=False):
        wide = part.pivot_table(index="rsna_id", columns="measure", values="value")
        chance, edges = wide.area > wide.random_area, wide.area > wide.edge_area
        always = (wide.area > wide.luckiest_area) & edges
        stable = wide.least_correlation >= STABLE_FROM
        found[str(name)] = {
            "films": len(wide),
            "better_than_chance": float(chance.mean()),
            "better_than_edges": float(edges.mean()),
            "faithful": float(always.mean()),
            "stable": float(stable.mean()),
            "relied_on": float((always & stable).mean()),
            "median": {measure: float(value) for measure, value in wide.median().items()},
        }
        if "member_agreement" in wide:
            among = wide.member_agreement.quantile([0.0, 0.05, 0.5, 0.95, 1.0])
            found[str(name)]["member_agreement"] = {f"{100 * q:.0f} %": float(value) for q, value in among.items()}
    return found


def measure_controls(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By method, the share of radiographs on which a map that knows nothing of the networks passes the first check."""
    found = {}
    for name, part in rows[rows.part == CONTROL].groupby("name", sort=False):
        wide = part.pivot_table(index="rsna_id", columns="measure", values="value")
        found[str(name)] = {"radiographs": len(wide), **{key: float((wide[key] > 0).mean()) for key in wide}}
    return found


def measure_regions(rows: pd.DataFrame, labels: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By age band and region: mean contribution, its mean size, and on which share of hands the region stands out."""
    part = rows[rows.part == REGION]
    if part.empty:
        return {}
    wide = part.pivot_table(index=["rsna_id", "name"], columns="measure", values="value", sort=False).reset_index()
    wide["stands_out"] = (wide.contribution < wide.chance_low) | (wide.contribution > wide.chance_high)
    ages = labels.bone_age_months[wide.rsna_id].to_numpy(float)
    found: dict[str, dict[str, Any]] = {}
    for band, inside in age_bands(ages, BANDS_MONTHS).items():
        kept = wide[inside]
        found[band] = {
            str(name): {
                "films": len(radiographs),
                "contribution_months": float(radiographs.contribution.mean()),
                "size_months": float(radiographs.contribution.abs().mean()),
                "stands_out": float(radiographs.stands_out.mean()),
            }
            for name, radiographs in kept.groupby("name", sort=False)
        }
    return {band: regions for band, regions in found.items() if regions}


def any_region(rows: pd.DataFrame) -> float:
    """Share of hands with regions on which one of them stands out; 0 without any."""
    wide = rows[rows.part == REGION].pivot_table(index=["rsna_id", "name"], columns="measure", values="value")
    if wide.empty:
        return 0.0
    out = (wide.contribution < wide.chance_low) | (wide.contribution > wide.chance_high)
    return float(out.groupby("rsna_id").any().mean())


def to_markdown(document: Mapping[str, Any]) -> str:
    """Both tables."""
    methods = [_method_row(name, found) for name, found in document["methods"].items()]
    controls = [
        [
            METHODS[name].title,
            str(found["radiographs"]),
            *(
                f"{100 * share:.0f} %"
                for share in (document["methods"][name]["faithful"], found["shuffled"], found["random_map"])
            ),
        ]
        for name, found in document["controls"].items()
    ]
    bands = document["regions"]
    names = list(dict.fromkeys(name for regions in bands.values() for name in regions))
    heads = [f"{band} (n = {max(found['films'] for found in regions.values())})" for band, regions in bands.items()]
    regions = [[name.replace("_", " "), *(_region_cell(found.get(name)) for found in bands.values())] for name in names]
    return "\n".join(
        [
            f"# Can the explanations be relied on\n\nMade by `{document['command']}`, with what earlier commands left "
            f"in the same file of rows. Sharp `val` radiographs; {document['refused']} refused, on "
            f"{document['unplaced']} the joints could not be placed. docs/explanations.md says what is measured.\n",
            markdown_table(METHOD_HEADER, methods),
            "Months apart, chance, edges, least correlation, sum missed and seconds (of the map, and with its tests): "
            "medians. The verdict is passed by a map that beats both every time and is stable. The networks' likeness "
            "is the correlation of their own maps: median, and 5th to 95th percentile.\n",
            "## The first check on maps that know nothing of the networks\n\nShare of radiographs on which a map beats "
            "edges and every random map it is compared with: the method's own; that of networks whose parameters were "
            "shuffled; one more random map with the spectrum of the true one. A check that passed these would say "
            "nothing.\n",
            markdown_table(CONTROL_HEADER, controls),
            f"## Regions\n\nOn {100 * document['any_region']:.0f} % of the hands a region stands out; 5 % would by "
            "chance. By region: mean contribution in months (the estimate minus the estimate with the region filled in "
            "from around it; positive: older), its mean size, and the share of hands on which it stands out.\n",
            markdown_table(("region", *heads), regions),
            f"{DISCLAIMER}\n",
        ]
    )


def _method_row(name: str, found: Mapping[str, Any]) -> list[str]:
    middle = found["median"]
    missed, likeness = middle.get("completeness_error"), found.get("member_agreement")
    return [
        METHODS[name].title,
        str(found["films"]),
        *(f"{100 * found[share]:.0f} %" for share in ("better_than_chance", "better_than_edges", "faithful")),
        *(f"{middle[area]:.1f}" for area in ("area", "random_area", "edge_area")),
        f"{100 * found['stable']:.0f} %",
        f"{middle['least_correlation']:.2f}",
        f"{100 * found['relied_on']:.0f} %",
        "–" if likeness is None else f"{likeness['50 %']:.2f}, {likeness['5 %']:.2f} to {likeness['95 %']:.2f}",
        "–" if missed is None else f"{missed:.2f}",
        f"{middle['map_seconds']:.1f}, {middle['seconds']:.1f}",
    ]


def _region_cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return f"{found['contribution_months']:+.1f}, {found['size_months']:.1f}, {100 * found['stands_out']:.0f} %"


def chosen_samples(images: list[Path], labels: pd.DataFrame, count: int) -> list[Sample]:
    """So many sharp `val` radiographs, evenly over the ages."""
    found = [s for s in find_samples(images, labels) if s.kind == "sharp" and labels.split[s.rsna_id] == "val"]
    found.sort(key=lambda sample: (labels.bone_age_months[sample.rsna_id], sample.rsna_id))
    return [found[n] for n in np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))]


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done."""
    line = argparse.ArgumentParser(prog="python -m train explanations", description=__doc__)
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--images", nargs="+", type=Path, required=True)
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--count", type=int, default=100)
    line.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    line.add_argument("--weights", type=Path, default=Path("weights"))
    line.add_argument("--rows", type=Path, default=Path("runs/explanations.csv"))
    words = sys.argv[1:] if arguments is None else arguments
    args = line.parse_args(words)
    methods = [find_method(name).name for name in args.methods]
    assessor, labels = load_assessor(args.recipe, weights_dir=args.weights), read_labels(args.labels)
    explain_radiographs(assessor, chosen_samples(args.images, labels, args.count), labels, methods, args.rows)
    rows = read_rows(args.rows)
    document = {
        "command": f"{line.prog} {shlex.join(words)}",
        "recipe": args.recipe,
        "refused": int((rows.part == REFUSED).sum()),
        "unplaced": int((rows.part == UNPLACED).sum()),
        "methods": measure_methods(rows),
        "controls": measure_controls(rows),
        "any_region": any_region(rows),
        "regions": measure_regions(rows, labels),
        "disclaimer": DISCLAIMER,
    }
    write_result(args.weights / "evaluation", "explanations", document, to_markdown(document))
    print(to_markdown(document))
    return 0
