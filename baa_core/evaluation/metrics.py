"""Results + labels -> how good the estimates are: overall, by sex, by age band, with confidence intervals.

Refused radiographs have no estimate; they count in `refusal_rate` and in nothing else. A measure
without cases is nan here, null in JSON and a dash in Markdown, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import DISCLAIMER, SEXES
from .pairs import Cases, Numbers

AGE_BANDS_MONTHS = (0.0, 24.0, 60.0, 96.0, 132.0, 168.0, 204.0, math.inf)
COVERAGE_BANDS_MONTHS = (0.0, 36.0, 72.0, 108.0, 144.0, 180.0, 216.0, math.inf)  # three years each
RESAMPLES = 2000
DASH = "–"  # a measure without cases
SEED = 0  # of the bootstrap: the same results give the same intervals

ERROR_HEADER = (
    "group", "n", "refused", "MAE", "RMSE", "mean difference", "within 12", "within 24", "R2", "line",
)  # fmt: skip
SEX_HEADER = ("group", "sex right", "area under the curve", "false alarms", "90 % interval holds", "mean width")
FigureTable = tuple[Sequence[str], list[list[str]]]
COVERAGE_HEADER = ("sex and age", "n", "90 % interval holds", "mean width")


@dataclass(frozen=True)
class Evaluation:
    """Every measure, ready for JSON but for nan.

    Attributes:
        about: what was evaluated: counts, splits, refusals by type, recipes.
        groups: "all", "female", "male" and age bands such as "24-60 months" to their measures.
        coverage: the interval by sex and three-year band, "female 0-36 months" to its measures.
        baseline: "always the mean by sex" on the same cases; empty if the labels have no `train` rows.
    """

    about: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    coverage: Mapping[str, Mapping[str, Any]]
    baseline: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; nan is null, as JSON has no nan."""
        whole = {
            "about": self.about,
            "groups": self.groups,
            "coverage_by_sex_and_age": self.coverage,
            "baseline": self.baseline,
            "disclaimer": DISCLAIMER,
        }
        return {name: _plain(part) for name, part in whole.items()}

    def tables(self) -> tuple[FigureTable, FigureTable, FigureTable]:
        """Header and rows of what people read: errors by group, sex check by group, interval by sex and age."""
        errors = [_error_row(name, group) for name, group in self.groups.items()]
        if self.baseline:
            errors.append(_error_row("*mean by sex, picture not looked at*", self.baseline))
        sexes = [_sex_row(name, group) for name, group in self.groups.items()]
        coverage = [[name, *_interval_cells(group)] for name, group in self.coverage.items()]
        return (ERROR_HEADER, errors), (SEX_HEADER, sexes), (COVERAGE_HEADER, coverage)

    def to_markdown(self, command: str) -> str:
        """The tables people read.

        Args:
            command: the command line that made them, to stand above.
        """
        errors, sexes, coverage = self.tables()
        seen = ", ".join(f"{n} {split or 'without a split'}" for split, n in self.about["splits"].items())
        refusals = ", ".join(f"{n} {kind}" for kind, n in self.about["refusals"].items()) or "none"
        parts = [
            f"# Evaluation\n\nMade by `{command}`.\n",
            f"Recipe: {', '.join(self.about['recipes'])}. Radiographs with a label: {self.about['n']} ({seen}); "
            f"results left out for want of a label: {self.about['n_without_label']}. Refused: {refusals}.\n",
        ]
        if training := self.about["splits"].get("train", 0):
            parts.append(f"**{training} of them were trained on: this is no measure of errors on other children.**\n")
        parts += [
            "Months; difference = estimate minus reference; 95 % bootstrap intervals in brackets; "
            "MAE is also called MAD; the line gives the estimate for a reference r. Age bands by reference.\n",
            markdown_table(*errors),
            markdown_table(*sexes),
            "False alarms: share of rightly entered sexes that were told to check the entry.\n",
            markdown_table(*coverage),
            f"{DISCLAIMER}\n",
        ]
        return "\n".join(parts)


def evaluate(cases: Cases, mean_train_months: Mapping[str, float]) -> Evaluation:
    """Measure estimates against labels.

    Args:
        cases: results beside their labels, refused ones included.
        mean_train_months: by sex, from `pairs.mean_train_age`; empty for no baseline.
    """
    groups = {"all": cases} | {sex: cases.where(cases.label_sex == sex) for sex in SEXES}
    wide = age_bands(cases.reference_months, COVERAGE_BANDS_MONTHS).items()
    by_both = {f"{sex} {band}": cases.where((cases.label_sex == sex) & of) for sex in SEXES for band, of in wide}
    groups |= {band: cases.where(of) for band, of in age_bands(cases.reference_months, AGE_BANDS_MONTHS).items()}
    return Evaluation(
        about={
            "n": len(cases.refused),
            "n_without_label": cases.n_without_label,
            "splits": dict(Counter(cases.split.tolist())),
            "recipes": sorted(set(cases.recipe.tolist())),
            "refusals": dict(Counter(cases.error_type[cases.refused].tolist())),
            "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "interval_percent": 95},
        },
        groups={name: measure(group) for name, group in groups.items()},
        coverage={name: measure_interval(_assessed(group)) for name, group in by_both.items()},
        baseline=_measure_baseline(_assessed(cases), mean_train_months),
    )


def measure(cases: Cases) -> dict[str, Any]:
    """Every measure of one group; refused cases count in the refusal rate alone."""
    kept = _assessed(cases)
    return {
        "n_refused": int(cases.refused.sum()),
        "refusal_rate": _mean(cases.refused),
        **measure_errors(kept.predicted_months - kept.reference_months),
        **measure_fit(kept.reference_months, kept.predicted_months),
        **measure_interval(kept),
        **measure_sex(kept),
    }


def measure_errors(errors_months: Numbers) -> dict[str, Any]:
    """MAE (also called MAD) and RMSE with bootstrap 95 % intervals, bias, shares within one and two years.

    Args:
        errors_months: predicted minus reference, (n,).
    """
    n = len(errors_months)
    generator = np.random.default_rng(SEED)
    absolute, square = np.abs(errors_months), errors_months**2
    means, roots = np.full(RESAMPLES, np.nan), np.full(RESAMPLES, np.nan)
    for i in range(RESAMPLES if n else 0):
        drawn = generator.integers(0, n, n)
        means[i], roots[i] = absolute[drawn].mean(), math.sqrt(square[drawn].mean())
    return {
        "mae_months": _mean(absolute),
        "mae_interval_months": _middle_95(means),
        "rmse_months": math.sqrt(_mean(square)) if n else math.nan,
        "rmse_interval_months": _middle_95(roots),
        "mean_difference_months": _mean(errors_months),
        "deviation_of_difference_months": float(np.std(errors_months, ddof=1)) if n > 1 else math.nan,
        "share_within_12_months": _mean(absolute <= 12),
        "share_within_24_months": _mean(absolute <= 24),
    }


def measure_fit(reference_months: Numbers, predicted_months: Numbers) -> dict[str, float]:
    """R2 about the reference's mean, and the line predicted = slope * reference + intercept."""
    about_mean = reference_months - _mean(reference_months)
    spread = float((about_mean**2).sum())
    if len(reference_months) < 2 or spread == 0:
        return {"r2": math.nan, "slope": math.nan, "intercept_months": math.nan}
    slope = float((about_mean * predicted_months).sum()) / spread
    return {
        "r2": 1 - float(((predicted_months - reference_months) ** 2).sum()) / spread,
        "slope": slope,
        "intercept_months": _mean(predicted_months) - slope * _mean(reference_months),
    }


def measure_interval(kept: Cases) -> dict[str, Any]:
    """How often the 90 % interval holds the reference, and how wide it is."""
    inside = (kept.low_months <= kept.reference_months) & (kept.reference_months <= kept.high_months)
    return {
        "n": len(inside),
        "interval_coverage": _mean(inside),
        "interval_mean_width_months": _mean(kept.high_months - kept.low_months),
    }


def measure_sex(kept: Cases) -> dict[str, Any]:
    """The sex seen in the picture against the label, and the alarms raised about the entry."""
    right = kept.sex_entered == kept.label_sex
    wrong = ~right & (kept.sex_entered != "unknown")
    return {
        "sex_accuracy": _mean(kept.sex_predicted == kept.label_sex),
        "sex_auroc": auroc(kept.probability_male, kept.label_sex == "male"),
        "n_entered_right": int(right.sum()),
        "false_mismatch_share": _mean(kept.mismatch[right]),
        "n_entered_wrong": int(wrong.sum()),
        "mismatch_found_share": _mean(kept.mismatch[wrong]),
    }


def auroc(scores: Numbers, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the chance that a positive case scores above a negative one, ties half."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _assessed(cases: Cases) -> Cases:
    return cases.where(~cases.refused)


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _middle_95(values: Numbers) -> list[float]:
    return [float(edge) for edge in np.percentile(values, (2.5, 97.5))]


def age_bands(reference_months: Numbers, edges_months: tuple[float, ...]) -> dict[str, NDArray[np.bool_]]:
    """Who is in which band, (n,) each: the lower edge belongs to its band, the upper one to the next."""
    bands = {}
    for low, high in pairwise(edges_months):
        name = f"{low:.0f}-{high:.0f} months" if math.isfinite(high) else f"{low:.0f} months and over"
        bands[name] = (reference_months >= low) & (reference_months < high)
    return bands


def _measure_baseline(kept: Cases, mean_train_months: Mapping[str, float]) -> dict[str, Any]:
    """What one gets without looking at the picture."""
    if not mean_train_months:
        return {}
    guesses = np.array([mean_train_months[sex] for sex in kept.label_sex.tolist()], dtype=np.float64)
    return {
        "guess_months": dict(mean_train_months),
        "n": len(guesses),
        **measure_errors(guesses - kept.reference_months),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def markdown_table(header: Sequence[str], rows: list[list[str]]) -> str:
    """Cells as the lines of a Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines) + "\n"


def _error_row(name: str, group: Mapping[str, Any]) -> list[str]:
    return [
        name,
        str(group["n"]),
        f"{group['n_refused']} ({_percent(group['refusal_rate'])})" if "n_refused" in group else DASH,
        _with_interval(group["mae_months"], group["mae_interval_months"]),
        _with_interval(group["rmse_months"], group["rmse_interval_months"]),
        _decimal(group["mean_difference_months"], "+.2f"),
        _percent(group["share_within_12_months"]),
        _percent(group["share_within_24_months"]),
        _decimal(group.get("r2", math.nan), ".3f"),
        _line(group.get("slope", math.nan), group.get("intercept_months", math.nan)),
    ]


def _sex_row(name: str, group: Mapping[str, Any]) -> list[str]:
    alarms = f"{_percent(group['false_mismatch_share'])} of {group['n_entered_right']}"
    return [
        name,
        _percent(group["sex_accuracy"]),
        _decimal(group["sex_auroc"], ".3f"),
        alarms if group["n_entered_right"] else DASH,
        *_interval_cells(group)[1:],
    ]


def _interval_cells(group: Mapping[str, Any]) -> list[str]:
    width = _decimal(group["interval_mean_width_months"], ".1f")
    return [str(group["n"]), _percent(group["interval_coverage"]), width]


def _line(slope: float, intercept_months: float) -> str:
    """Estimate = slope * reference + intercept."""
    sign = "+" if intercept_months >= 0 else "-"
    return f"{slope:.3f} r {sign} {abs(intercept_months):.1f}" if math.isfinite(slope) else DASH


def _decimal(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else DASH


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else DASH


def _with_interval(value: float, edges: list[float]) -> str:
    return f"{value:.2f} [{edges[0]:.2f}, {edges[1]:.2f}]" if math.isfinite(value) else DASH
