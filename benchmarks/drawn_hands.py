"""How far the system's bone age is from what is drawn, on drawn hands of 2 to 18 years.

    python -m benchmarks.drawn_hands            a table by age and sex, then mean error, bias and refusals

A drawn hand is no child: the figure says how far the lesson of the Learn tab can be trusted, nothing about patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean

from baa_core.errors import BoneAgeError
from baa_core.phantom import draw_phantom, to_png
from baa_core.phantom.lesson import HEIGHT_PX, OLDEST_MONTHS, YOUNGEST_MONTHS
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.types import SEXES, Patient, Sex
from baa_core.workflows.assess import Assessor, load_assessor


def error_months(assessor: Assessor, months: int, sex: Sex) -> tuple[float, bool] | None:
    """Estimate minus truth, and whether the truth lies in the 90 % interval; None where the hand is refused."""
    phantom = draw_phantom(months, sex, seed=1000 + months, height_px=HEIGHT_PX)
    try:
        report = assessor.assess(to_png(phantom.radiograph), Patient(sex=sex), name=phantom.radiograph.name)
    except BoneAgeError:
        return None
    low, high = report.prediction.interval_months
    return report.prediction.bone_age_months - months, low <= months <= high


def summary(found: Sequence[tuple[float, bool] | None]) -> str:
    """Mean absolute error, bias, coverage and refusals in one line."""
    made = [one for one in found if one is not None]
    errors = [error for error, _ in made]
    return (
        f"{len(found)} hands, {len(found) - len(made)} refused; mean absolute error "
        f"{fmean(map(abs, errors)):.1f} months, bias {fmean(errors):+.1f}, largest {max(map(abs, errors)):.1f}; "
        f"in the 90 % interval {sum(inside for _, inside in made)} of {len(made)}"
    )


def main() -> None:
    """Assess one girl and one boy of every age and print what came of it."""
    parser = argparse.ArgumentParser(description="Error of the system on drawn hands of 2 to 18 years.")
    parser.add_argument("--step", type=int, default=12, help="months between two ages (default 12)")
    parser.add_argument("--recipe", default=DEFAULT_RECIPE, help="system (default: that of the page)")
    options = parser.parse_args()
    assessor = load_assessor(options.recipe)
    everything: dict[Sex, list[tuple[float, bool] | None]] = {sex: [] for sex in SEXES}
    for months in range(YOUNGEST_MONTHS, OLDEST_MONTHS + 1, options.step):
        line = f"{months / 12:5.1f} years"
        for sex in SEXES:
            found = error_months(assessor, months, sex)
            everything[sex].append(found)
            line += f"   {sex} " + ("refused" if found is None else f"{found[0]:+6.1f}")
        print(line, flush=True)
    for sex in SEXES:
        print(f"{sex}: {summary(everything[sex])}")
    print(f"all: {summary([one for sex in SEXES for one in everything[sex]])}")


if __name__ == "__main__":
    main()
