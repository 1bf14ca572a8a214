"""`python -m train altered`: does months-by-region name the region of a drawn hand that has another age?

Hands of nine years are drawn with one region much younger or older, and found, divided and assessed as any radiograph
is. Prints one JSON object, by the hand: the region named first (`alone`: whose blurring moves the estimate most;
`beside its twin`: most beyond what it does in the same child's ordinary hand), and on how many both name the drawn one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.hand_anatomy import REGIONS
from baa_core.networks.build import build
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import Patient, Sex
from baa_core.workflows.assess import Assessor, load_assessor
from baa_core.workflows.explain import context_of, region_effects

from ..command_line import says_problems
from ..initial_weights import member_start

USUAL_MONTHS = 110.0
OTHER_MONTHS = (40.0, 190.0)
CHILDREN: tuple[tuple[Sex, int], ...] = (("female", 5), ("male", 8))  # and the seed; training has other ones
HEIGHT_PX = 700


def effects(assessor: Assessor, sex: Sex, seed: int, region: str | None, months: float | None) -> dict[str, float]:
    """What every region of one drawn hand contributes, months."""
    phantom = draw_phantom(
        USUAL_MONTHS, sex, seed=seed, height_px=HEIGHT_PX, altered_region=region, altered_age_months=months
    )
    context = context_of(assessor, assessor.find(to_png(phantom.radiograph)), Patient(sex=sex))
    found = region_effects(context, assessor.regions(context.hand))
    return {name: effect.contribution_months for name, effect in found.items()}


def check(
    assessor: Assessor,
    children: Sequence[tuple[Sex, int]] = CHILDREN,
    other_months: Sequence[float] = OTHER_MONTHS,
) -> dict[str, Any]:
    """Every region of every child, younger and older.

    Args:
        assessor: the system.
        children: sex and seed of each.
        other_months: ages of a region, beside the hand's own `USUAL_MONTHS`.

    Returns:
        `hands`, and of them `named_alone` and `named_beside_its_twin`, with the right sign; `rows`, one a hand.
    """
    rows = []
    for sex, seed in children:
        twin = effects(assessor, sex, seed, None, None)
        for region in tqdm(REGIONS, desc=sex, mininterval=10):
            for months in other_months:
                alone = effects(assessor, sex, seed, region, months)
                beside = {name: alone[name] - twin[name] for name in alone.keys() & twin.keys()}
                row: dict[str, Any] = {"sex": sex, "region": region, "region_months": months}
                for how, moved in (("alone", alone), ("beside_its_twin", beside)):
                    first = max(moved, key=lambda name: abs(moved[name]))
                    rightly = first == region and (moved[first] > 0) == (months > USUAL_MONTHS)
                    row |= {how: {"first": first, "months": round(moved[first], 1), "named": rightly}}
                rows.append(row)
    named = {f"named_{how}": sum(row[how]["named"] for row in rows) for how in ("alone", "beside_its_twin")}
    return {"hands": len(rows), **named, "rows": rows}


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train altered", description=__doc__)
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--weights", type=Path, default=Path("weights"))
    line.add_argument("--member-weights", type=Path, help="of the recipe's first network, in place of the shipped ones")
    args = line.parse_args(arguments)
    assessor = load_assessor(args.recipe, weights_dir=args.weights)
    if args.member_weights:
        member = assessor.recipe.members[0]
        network = build(member.architecture)
        member_start(network, args.member_weights)
        network.eval().requires_grad_(False)
        assessor = replace(assessor, store=assessor.store.replaced(member.name, network))
    print(json.dumps(check(assessor), indent=1))
    return 0
