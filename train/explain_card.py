"""`python -m train.explain_card`: can the explanations be trusted, and which bones count at which age, on `val` films.

For each method: on how many films its map beats maps of chance and plain edges, how stable it is, whether its months
add up, how long it takes. For each region and age band: how far the estimate moves without it. Every finished part of a
film stands in `runs/explanations.csv` and is not done again, so the command can be stopped at any time.
"""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from baa_core import _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused, LandmarksNotFound, UnreadableImage
from baa_core.evaluation import age_bands, markdown_table
from baa_core.explain import METHODS, find_method, months_by_region
from baa_core.explain.trust import STABLE_FROM
from baa_core.inquiry import Film, draw_map, film_of, shake, try_map
from baa_core.pipeline import Assessor, load_assessor
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import DISCLAIMER, Patient

from .command import says_problems, write_result
from .samples import Sample, find_samples, read_labels, read_sample

BANDS_MONTHS = (0.0, 60.0, 96.0, 132.0, 168.0, 240.0)
COLUMNS = ("rsna_id", "part", "name", "measure", "value")
METHOD, REGION, UNPLACED, REFUSED = "method", "region", "unplaced", "refused"
METHOD_HEADER = (
    "method", "films", "better than chance", "than edges", "than both, every time", "months apart", "chance", "edges",
    "stable", "least correlation", "sum missed", "seconds",
)  # fmt: skip

Row = tuple[int, str, str, str, float]


def method_rows(film: Film, rsna_id: int, name: str) -> list[Row]:
    """One method on one film."""
    method = find_method(name)
    start = perf_counter()
    explanation = draw_map(film, method)
    drawn = perf_counter() - start
    deletion, stable = try_map(film, method, explanation), shake(film, method)
    measured = {
        "area": deletion.area_months,
        "random_area": deletion.random_area_months,
        "luckiest_area": deletion.luckiest_area_months,
        "edge_area": deletion.edge_area_months,
        "least_correlation": min(stable.values()),
        "inside_hand_share": explanation.inside_hand_share,
        "map_seconds": drawn,
        "seconds": perf_counter() - start,
    }
    if explanation.completeness_error_months is not None:
        measured["completeness_error"] = explanation.completeness_error_months
    return [(rsna_id, METHOD, name, measure, value) for measure, value in measured.items()]


def region_rows(film: Film, rsna_id: int) -> list[Row]:
    """What each region is worth on one film, or that its joints could not be placed."""
    try:
        masks = film.assessor.regions(film.radiograph, film.hand)
    except LandmarksNotFound as error:
        return [(rsna_id, UNPLACED, type(error).__name__, "count", 1.0)]
    return [
        (rsna_id, REGION, name, measure, value)
        for name, effect in months_by_region(film.anew, film.inputs, masks).items()
        for measure, value in (
            ("months", effect.months),
            ("null_low", effect.null_low_months),
            ("null_high", effect.null_high_months),
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
    """One finished part of a film, in one write."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([] if path.is_file() else [COLUMNS])
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())


def examine_films(
    assessor: Assessor, samples: list[Sample], labels: pd.DataFrame, methods: list[str], path: Path
) -> None:
    """Do whatever of the films is not yet in the file."""
    rows = read_rows(path)
    done = set(zip(rows.rsna_id.astype(int), rows.part, rows.name, strict=True))
    films = {key[0] for key in done if key[1] == REFUSED}
    for sample in tqdm(samples, desc="explaining", mininterval=10):
        number = sample.rsna_id
        left = [name for name in methods if (number, METHOD, name) not in done]
        regions_done = any(key[0] == number and key[1] in (REGION, UNPLACED) for key in done)
        if number in films or (not left and regions_done):
            continue
        radiograph = read_sample(sample)
        try:
            film = film_of(assessor, radiograph, assessor.find_hand(radiograph), Patient(sex=labels.sex[number]))
        except (HandRefused, UnreadableImage) as error:
            append(path, [(number, REFUSED, type(error).__name__, "count", 1.0)])
            continue
        if not regions_done:
            append(path, region_rows(film, number))
        for name in left:
            append(path, method_rows(film, number, name))


def measure_methods(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Shares and medians over the films, by method."""
    found = {}
    for name, part in rows[rows.part == METHOD].groupby("name", sort=False):
        wide = part.pivot_table(index="rsna_id", columns="measure", values="value")
        chance, edges = wide.area > wide.random_area, wide.area > wide.edge_area
        always = (wide.area > wide.luckiest_area) & edges
        found[str(name)] = {
            "films": len(wide),
            "better_than_chance": float(chance.mean()),
            "better_than_edges": float(edges.mean()),
            "faithful": float(always.mean()),
            "stable": float((wide.least_correlation >= STABLE_FROM).mean()),
            "median": {measure: float(value) for measure, value in wide.median().items()},
        }
    return found


def measure_regions(rows: pd.DataFrame, labels: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By age band and region: the mean move, its mean size, and the share of films on which the region stands out."""
    part = rows[rows.part == REGION]
    if part.empty:
        return {}
    wide = part.pivot_table(index=["rsna_id", "name"], columns="measure", values="value", sort=False).reset_index()
    wide["stands_out"] = (wide.months < wide.null_low) | (wide.months > wide.null_high)
    ages = labels.bone_age_months[wide.rsna_id].to_numpy(float)
    found: dict[str, dict[str, Any]] = {}
    for band, inside in age_bands(ages, BANDS_MONTHS).items():
        kept = wide[inside]
        found[band] = {
            str(name): {
                "films": len(films),
                "months": float(films.months.mean()),
                "size_months": float(films.months.abs().mean()),
                "stands_out": float(films.stands_out.mean()),
            }
            for name, films in kept.groupby("name", sort=False)
        }
    return {band: regions for band, regions in found.items() if regions}


def to_markdown(document: Mapping[str, Any]) -> str:
    """Both tables."""
    methods = [_method_row(name, found) for name, found in document["methods"].items()]
    bands = document["regions"]
    names = list(dict.fromkeys(name for regions in bands.values() for name in regions))
    heads = [f"{band} (n = {max(found['films'] for found in regions.values())})" for band, regions in bands.items()]
    regions = [[name.replace("_", " "), *(_region_cell(found.get(name)) for found in bands.values())] for name in names]
    return "\n".join(
        [
            f"# Can the explanations be trusted\n\nMade by `{document['command']}`, with what earlier commands left in "
            f"the same file of rows. Sharp `val` films; {document['refused']} refused, on {document['unplaced']} the "
            "joints could not be placed. docs/explanations.md says what is measured.\n",
            markdown_table(METHOD_HEADER, methods),
            "Months apart, chance, edges, least correlation, sum missed and seconds (of the map, and with its tests): "
            "medians.\n",
            "## Months by region\n\nMean move of the estimate when the region is filled in from around it, its mean "
            "size, and the share of films on which it is more than as much hand elsewhere moves it.\n",
            markdown_table(("region", *heads), regions),
            f"{DISCLAIMER}\n",
        ]
    )


def _method_row(name: str, found: Mapping[str, Any]) -> list[str]:
    middle = found["median"]
    missed = middle.get("completeness_error")
    return [
        METHODS[name].title,
        str(found["films"]),
        *(f"{100 * found[share]:.0f} %" for share in ("better_than_chance", "better_than_edges", "faithful")),
        *(f"{middle[area]:.1f}" for area in ("area", "random_area", "edge_area")),
        f"{100 * found['stable']:.0f} %",
        f"{middle['least_correlation']:.2f}",
        "–" if missed is None else f"{missed:.2f}",
        f"{middle['map_seconds']:.1f}, {middle['seconds']:.1f}",
    ]


def _region_cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return f"{found['months']:+.1f}, {found['size_months']:.1f}, {100 * found['stands_out']:.0f} %"


def chosen_samples(images: list[Path], labels: pd.DataFrame, count: int) -> list[Sample]:
    """So many sharp `val` films, evenly over the ages."""
    found = [s for s in find_samples(images, labels) if s.kind == "sharp" and labels.split[s.rsna_id] == "val"]
    found.sort(key=lambda sample: (labels.bone_age_months[sample.rsna_id], sample.rsna_id))
    return [found[n] for n in np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))]


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done."""
    line = argparse.ArgumentParser(prog="python -m train.explain_card", description=__doc__)
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
    examine_films(assessor, chosen_samples(args.images, labels, args.count), labels, methods, args.rows)
    rows = read_rows(args.rows)
    document = {
        "command": f"{line.prog} {shlex.join(words)}",
        "recipe": args.recipe,
        "refused": int((rows.part == REFUSED).sum()),
        "unplaced": int((rows.part == UNPLACED).sum()),
        "methods": measure_methods(rows),
        "regions": measure_regions(rows, labels),
        "disclaimer": DISCLAIMER,
    }
    write_result(args.weights / "evaluation", "explanations", document, to_markdown(document))
    print(to_markdown(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
