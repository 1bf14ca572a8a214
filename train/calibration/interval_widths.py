"""How wide an interval must be: fitted on `val`, and proven there by cross-validation.

The shape of the width comes from children known only as thumbnails, its factor from sharp radiographs that the shape
has not seen. In the validation neither has seen the pictures it is judged on: both are fitted anew without each tenth.
Where a network of the recipe is left out on thumbnails (`Member.least_hand_px`), their shape says nothing about sharp
radiographs. Then the width follows the deviation alone, and each kind has a factor of its own.

All functions take one row a picture, the ensemble's: `months`, `deviation_months`, `member_spread_months`,
`true_months`, `sex`, `kind`, and perhaps `low_resolution` (a network was left out).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog

from baa_core.errors import InvalidTable
from baa_core.estimation.calibration import Calibration
from baa_core.estimation.conformal import (
    CONFIDENCE,
    COVERAGE,
    LEVELS,
    Difficulty,
    IntervalModel,
    UncertaintyFeatures,
    fit_interval,
    interval,
    mixture_interval,
)
from baa_core.evaluation.metrics import COVERAGE_BANDS_MONTHS, age_bands, markdown_table
from baa_core.networks.weights import replace_file
from baa_core.reporting.charts import BLUE, GREEN, GREY, INK, ORANGE
from baa_core.types import DISCLAIMER, SEXES

KNOTS_MONTHS = (24.0, 60.0, 96.0, 132.0, 168.0, 204.0)  # three years apart; beyond them pictures are too few
FLOOR_MONTHS = 5.0  # readers themselves differ by more: no picture can deserve less
JUMP_COST = 1.0  # a difference between neighbouring knots costs as much as one picture left out by as much
FOLDS = 10
SEED = 0
OTHER_SEX = "other_{}"  # beside the columns of the child's own sex
LEAST_PICTURES = {"thumbnails": 90, "sharp": 30}
# The deviation itself. On 100 sharp `val` radiographs it gave narrower intervals by cross-validation than one width for
# all, and than the deviation with a constant or the members' spread, fitted on 90 of them (train/RUNS.md).
BY_DEVIATION = Difficulty((0.0,), (0.0,), 1.0, 0.0, FLOOR_MONTHS)
ONE_WIDTH = Difficulty((0.0,), (FLOOR_MONTHS,), 0.0, 0.0, FLOOR_MONTHS)  # for comparison: the same for all

ALL_AIM, BAND_AIM, BAND_LEAST = (0.87, 0.93), (0.80, 0.97), 15  # asked of every recipe that is served
HEADER = ("group", "n", "90 % interval holds", "aim", "mean width (months)")
KINDS = ("mixture", "likelier")
UNKNOWN_HEADER = ("group", "n", "over both sexes holds", "likelier sex's holds", "width over both", "width of likelier")
UNKNOWN_SEX = (
    "Every sex is taken for unknown. The interval that is served then covers the mixture of both sexes by their "
    "probability; beside it the one of the likelier sex alone. Widths in months.\n"
)
FOLDED = (
    f"The `val` pictures are dealt into {FOLDS} folds by chance. The half width of a picture is a factor times its "
    "scale. "
)
FITTED = (
    "The scale follows the estimate, how widely the networks spread their belief over the months, and how far they lie "
    "apart. For each fold it is fitted on the thumbnails of the other folds, "
)
BY_DEVIATION_TEXT = (
    "The scale is the mean standard deviation of the networks' distributions over the months; nothing of it is fitted, "
    "since a network is left out on thumbnails, whose hands are too short for it. For each fold is fitted "
)
RANKED = (
    "the factor on their pictures of the same kind (sharp radiographs, thumbnails), as the lowest that holds the "
    f"nominal share of all with a confidence of {100 * CONFIDENCE:g} %, whichever pictures are at hand. So a little "
    "more than is nominal is covered on average. The networks never learned from `val`; which of their training steps "
    "was kept was chosen on it."
)


def signals_of(pictures: pd.DataFrame) -> UncertaintyFeatures:
    """The rows as the interval wants them."""
    return UncertaintyFeatures(
        *(pictures[name].to_numpy(float) for name in ("months", "deviation_months", "member_spread_months"))
    )


def fit_scale(pictures: pd.DataFrame) -> Difficulty:
    """The scale that `COVERAGE` of the absolute errors stay under, by linear quantile regression.

    Errors over the scale cost `COVERAGE` a month, errors under it 1 - `COVERAGE` (Koenker and Bassett, Econometrica
    1978;46:33-50); no coefficient may be negative, and differences between neighbouring knots cost `JUMP_COST`.
    As a linear program: errors = parts @ coefficients + over - under, jumps = up - down, everything 0 or more.
    """
    signals, knots = signals_of(pictures), np.eye(len(KNOTS_MONTHS))
    hats = [np.interp(signals.months, KNOTS_MONTHS, knot) for knot in knots]
    parts = np.column_stack([*hats, signals.deviation_months, signals.member_spread_months])
    jumps = np.diff(knots, axis=0)
    n, m = len(parts), len(jumps)
    equalities = np.block(
        [
            [parts, np.eye(n), -np.eye(n), np.zeros((n, 2 * m))],
            [jumps, np.zeros((m, 2 + 2 * n)), -np.eye(m), np.eye(m)],
        ]
    )
    errors = np.abs(pictures.true_months.to_numpy(float) - signals.months)
    costs = np.repeat([0.0, COVERAGE, 1 - COVERAGE, JUMP_COST], [parts.shape[1], n, n, 2 * m])
    solved = linprog(costs, A_eq=equalities, b_eq=np.concatenate([errors, np.zeros(m)]), method="highs")
    if not solved.success:
        raise InvalidTable(f"No widths fit these errors ({solved.message}). Look for odd values in the table.")
    *base, per_deviation, per_member_spread = np.maximum(0.0, solved.x[: parts.shape[1]]).tolist()
    return Difficulty(KNOTS_MONTHS, tuple(base), per_deviation, per_member_spread, FLOOR_MONTHS)


def scale_of(pictures: pd.DataFrame) -> Callable[[pd.DataFrame], Difficulty]:
    """What makes the scale: `fit_scale` on thumbnails, or `BY_DEVIATION` where they are answered by fewer networks."""
    return (lambda _: BY_DEVIATION) if _low_resolution(pictures).any() else fit_scale


def _low_resolution(pictures: pd.DataFrame) -> NDArray[np.bool_]:
    """Where a network was left out, bool (n,)."""
    if "low_resolution" not in pictures.columns:
        return np.zeros(len(pictures), np.bool_)
    return pictures.low_resolution.to_numpy(bool)


def is_sharp(pictures: pd.DataFrame) -> NDArray[np.bool_]:
    """The pictures by which the interval is fitted that is served: sharp, and answered by all networks; bool (n,)."""
    return (pictures.kind == "sharp").to_numpy() & ~_low_resolution(pictures)


def fit_widths(pictures: pd.DataFrame) -> IntervalModel:
    """The interval that is served.

    Raises:
        InvalidTable: too few pictures of a kind.
    """
    sharp = is_sharp(pictures)
    for kind, some in (("sharp", sharp), ("thumbnails", ~sharp)):
        if some.sum() < LEAST_PICTURES[kind]:
            raise InvalidTable(
                f"Only {some.sum()} val pictures of the kind '{kind}' were assessed; the interval needs "
                f"{LEAST_PICTURES[kind]}. Name the folders of both kinds with --images."
            )
    return fit_interval(signals_of(pictures[sharp]), pictures.true_months[sharp], scale_of(pictures)(pictures[~sharp]))


def fit_widths_at_low_resolution(pictures: pd.DataFrame) -> IntervalModel | None:
    """The interval where a network is left out; None if none ever is."""
    low = pictures[_low_resolution(pictures)]
    return fit_interval(signals_of(low), low.true_months, BY_DEVIATION) if len(low) else None


def cross_validate(pictures: pd.DataFrame, fit: Callable[[pd.DataFrame], Difficulty] | None = None) -> pd.DataFrame:
    """Half widths in months of every picture, by a model that has not seen it.

    Args:
        pictures: enough of both kinds, see `LEAST_PICTURES`.
        fit: makes the scale from thumbnails; `scale_of` if left out.

    Returns:
        a column for each of `LEVELS`, rows as in `pictures`.
    """
    halves = np.full((len(pictures), len(LEVELS)), np.nan)
    for held_out, model in fold_models(pictures, fit):
        signals = signals_of(pictures[held_out])
        halves[held_out] = np.column_stack([model.half_width(signals, level) for level in LEVELS])
    return pd.DataFrame(halves, index=pictures.index, columns=list(LEVELS))


def fold_models(
    pictures: pd.DataFrame, fit: Callable[[pd.DataFrame], Difficulty] | None = None
) -> Iterator[tuple[NDArray[np.bool_], IntervalModel]]:
    """For each fold and kind: which pictures are left out, bool (n,), and the model fitted without them."""
    generator, fit = np.random.default_rng(SEED), fit or scale_of(pictures)
    fold, sharp = np.zeros(len(pictures), int), is_sharp(pictures)
    for kind in (sharp, ~sharp):
        fold[generator.permutation(np.flatnonzero(kind))] = np.arange(kind.sum()) % FOLDS
    for number in range(FOLDS):
        scale = fit(pictures[(fold != number) & ~sharp])
        for kind in (sharp, ~sharp):
            others = pictures[(fold != number) & kind]
            yield (fold == number) & kind, fit_interval(signals_of(others), others.true_months, scale)


def measure_unknown_sex(pictures: pd.DataFrame, agreement_probability: float) -> dict[str, dict[str, Any]]:
    """Coverage with every sex taken for unknown, by models that have not seen the picture.

    Args:
        pictures: with the columns of the other sex (`OTHER_SEX`) and `probability_male`.
        agreement_probability: under this the sex is not settled (`Calibration.agreement_probability`).

    Returns:
        for all, sharp ones, and those whose sex is not settled: pictures, and share held and mean width in months of
        the interval over both sexes ("mixture") and of the likelier sex's own ("likelier").
    """
    male = pictures.probability_male.to_numpy(float)
    own = np.column_stack(list(vars(signals_of(pictures)).values()))
    other = np.column_stack([pictures[OTHER_SEX.format(name)].to_numpy(float) for name in vars(signals_of(pictures))])
    true_sex = np.where((pictures.sex == "male").to_numpy(), male, 1 - male)  # its probability
    ends = np.full((len(pictures), 2, 2), np.nan)
    for held_out, model in fold_models(pictures):
        for row in np.flatnonzero(held_out):
            parts = [UncertaintyFeatures(*map(np.asarray, values[row])) for values in (own, other)]
            probabilities = true_sex[row], 1 - true_sex[row]
            ends[row] = mixture_interval(parts, probabilities, model), interval(parts[np.argmax(probabilities)], model)
    true = pictures.true_months.to_numpy(float)[:, None]
    covered, widths = (ends[..., 0] <= true) & (true <= ends[..., 1]), ends[..., 1] - ends[..., 0]
    groups = {
        "all pictures": np.ones(len(male), bool),
        "sharp": is_sharp(pictures),
        "sex not settled": np.maximum(male, 1 - male) < agreement_probability,
    }
    return {
        name: {
            "n": int(some.sum()),
            **{
                kind: {"share": float(covered[some, k].mean()), "width_months": float(widths[some, k].mean())}
                for k, kind in enumerate(KINDS)
            },
        }
        for name, some in groups.items()
        if some.any()
    }


def measure_coverage(pictures: pd.DataFrame, half_widths: pd.Series) -> dict[str, dict[str, Any]]:
    """Share held and mean width (nothing reaches below birth): of all, by sex, by band of three years, by both."""
    covered = (pictures.true_months - pictures.months).abs() <= half_widths
    widths = pictures.months + half_widths - (pictures.months - half_widths).clip(lower=0)
    groups = {"all": np.ones(len(pictures), bool)} | {sex: (pictures.sex == sex).to_numpy() for sex in SEXES}
    bands = age_bands(pictures.true_months.to_numpy(float), COVERAGE_BANDS_MONTHS)
    groups |= bands | {f"{sex} {band}": groups[sex] & inside for sex in SEXES for band, inside in bands.items()}
    return {
        name: {
            "n": int(inside.sum()),
            "share": float(covered[inside].mean()),
            "width_months": float(widths[inside].mean()),
        }
        for name, inside in groups.items()
        if inside.any()
    }


def measure_reliability(pictures: pd.DataFrame, half_widths: pd.DataFrame) -> dict[float, float]:
    """Nominal coverage to the share held."""
    errors = (pictures.true_months - pictures.months).abs()
    return {level: float((errors <= half_widths[level]).mean()) for level in LEVELS}


def validate_coverage(
    pictures: pd.DataFrame, model: IntervalModel, agreement_probability: float = 0.75
) -> dict[str, Any]:
    """Everything the coverage files hold.

    Args:
        pictures: of `val`.
        model: the one that is served, fitted on them.
        agreement_probability: as for `measure_unknown_sex`, which runs where the other sex was asked for too.
    """
    both = set(map(OTHER_SEX.format, vars(signals_of(pictures)))) <= set(pictures.columns)
    sharp = is_sharp(pictures)
    halves, one_width = cross_validate(pictures), cross_validate(pictures, lambda _: ONE_WIDTH)
    sets = {
        f"sharp radiographs, n = {sharp.sum()}": sharp,
        f"all pictures, n = {len(pictures)}": np.ones(len(pictures), bool),
    }
    rough = pictures[~sharp]
    served = pd.Series(model.half_width(signals_of(rough)), index=rough.index)
    one_scale = not _low_resolution(pictures).any()
    as_served = {"thumbnails_as_served": measure_coverage(rough, served)["all"]} if one_scale else {}
    return {
        "reliability": {name: measure_reliability(pictures[some], halves[some]) for name, some in sets.items()},
        "coverage": {name: measure_coverage(pictures[some], halves[some][COVERAGE]) for name, some in sets.items()},
        "half_width_months_5_50_95_percent": np.percentile(halves[sharp][COVERAGE], (5, 50, 95)).tolist(),
        "one_width_for_all": {
            name: measure_coverage(pictures[some], one_width[some][COVERAGE])["all"] for name, some in sets.items()
        },
        **as_served,
        **({"sex_unknown": measure_unknown_sex(pictures, agreement_probability)} if both else {}),
    }


def to_markdown(validation: dict[str, Any], command: str) -> str:
    """The tables people read, with the command line that made them."""
    names = list(validation["coverage"])
    nominal = [
        [f"{100 * level:g} %", *(_percent(validation["reliability"][name][level]) for name in names)]
        for level in LEVELS
    ]
    low, middle, high = validation["half_width_months_5_50_95_percent"]
    scale = f"{FITTED}and " if "thumbnails_as_served" in validation else BY_DEVIATION_TEXT
    plain = "; ".join(f"{name}: {_covered(group)}" for name, group in validation["one_width_for_all"].items())
    parts = [
        f"# Coverage of the interval on `val`\n\nMade by `{command}`.\n\n{FOLDED}{scale}{RANKED}\n",
        "## Nominal against empirical coverage\n",
        "![Share of intervals that hold the reference, against the nominal share](reliability.svg)\n",
        markdown_table(("nominal", *names), nominal),
        f"Half widths of the sharp radiographs run from {low:.1f} (5 %) over {middle:.1f} (50 %) to {high:.1f} months "
        f"(95 %). With one width for all pictures instead, {plain}.\n",
    ]
    if "thumbnails_as_served" in validation:
        parts += [
            "Thumbnails with the factor that is served, which comes from sharp radiographs, and the scale fitted on "
            f"them: {_covered(validation['thumbnails_as_served'])}.\n"
        ]
    if "sex_unknown" in validation:
        rows = [_unknown_sex_row(name, group) for name, group in validation["sex_unknown"].items()]
        parts += ["## With the sex left out\n", UNKNOWN_SEX, markdown_table(UNKNOWN_HEADER, rows)]
    if "bias" in validation:
        parts += [f"## Bias\n\n{validation['bias'][:1].upper()}{validation['bias'][1:]}.\n"]
    for name, groups in validation["coverage"].items():
        rows = [_row(group_name, group) for group_name, group in groups.items()]
        parts += [f"## By sex and age: {name}\n", markdown_table(HEADER, rows)]
    return "\n".join([*parts, f"Bands by reference age. {DISCLAIMER}\n"])


def reliability_drawing(shares: Mapping[str, Mapping[float, float]]) -> str:
    """Promised coverage against the share that intervals held, with the line where both agree, as an SVG.

    A drawing, not a Plotly figure, since it is read in the model card, where no script runs.

    Args:
        shares: what was measured, such as "sharp radiographs, n = 100", to nominal coverage to observed share.
    """
    size, margin, low = 400.0, 48.0, 0.4

    def at(nominal: float, covered: float) -> tuple[float, float]:
        along, up = ((max(low, share) - low) / (1 - low) for share in (nominal, covered))
        return margin + along * (size - 2 * margin), size - margin - up * (size - 2 * margin)

    (left, bottom), (right, top) = at(low, low), at(1, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size:.0f}" height="{size + 30:.0f}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="100%" height="100%" fill="white"/><path d="M{left} {bottom}L{right} {top}" stroke="{GREY}" '
        'stroke-dasharray="5 4"/>',
    ]
    for share in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        x, y = at(share, share)
        parts += [
            f'<path d="M{left} {y:.1f}H{right}M{x:.1f} {bottom}V{top}" stroke="#E6E8EC"/>',
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{share:.0%}</text>',
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>',
        ]
    for row, ((name, observed), colour) in enumerate(zip(shares.items(), (BLUE, ORANGE, GREEN), strict=False)):
        places = [at(nominal, covered) for nominal, covered in observed.items()]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts += [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>']
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        parts += [f'<text x="{margin + 8}" y="{margin + 16 + 16 * row}" fill="{colour}">{escape(name)}</text>']
    middle = size / 2
    parts += [
        f'<text x="{middle}" y="{size - 10}" text-anchor="middle">nominal</text>',
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">held</text>',
        f'<text x="{middle}" y="{size + 14}" text-anchor="middle" font-size="11">{escape(DISCLAIMER)}</text>',
    ]
    return "\n".join([*parts, "</svg>", ""])


def write_validation(pictures: pd.DataFrame, calibration: Calibration, folder: Path, command: str, bias: str) -> None:
    """Write coverage.json, coverage.md and reliability.svg.

    Args:
        pictures: of `val`, each corrected by lines that have not seen it.
        calibration: as served.
        folder: made if not there.
        command: the command line.
        bias: what was found about bias lines, in words.
    """
    validation = {"bias": bias, **validate_coverage(pictures, calibration.interval, calibration.agreement_probability)}
    folder.mkdir(parents=True, exist_ok=True)
    document = {"command": command, **validation, "disclaimer": DISCLAIMER}
    replace_file(folder / "coverage.json", (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    replace_file(folder / "coverage.md", to_markdown(validation, command).encode())
    replace_file(folder / "reliability.svg", reliability_drawing(validation["reliability"]).encode())


def _row(name: str, group: dict[str, Any]) -> list[str]:
    """A line of the coverage table; the aim stands where there is one, with "missed" if it is."""
    aim = ALL_AIM if name == "all" else BAND_AIM if " " in name and name.startswith(SEXES) else None
    said = "–"
    if aim and group["n"] >= BAND_LEAST:
        said = f"{100 * aim[0]:.0f}-{100 * aim[1]:.0f} %" + ("" if aim[0] <= group["share"] <= aim[1] else ", missed")
    return [name, str(group["n"]), _percent(group["share"]), said, f"{group['width_months']:.1f}"]


def _unknown_sex_row(name: str, group: dict[str, Any]) -> list[str]:
    shares, widths = ([group[kind][what] for kind in KINDS] for what in ("share", "width_months"))
    return [name, str(group["n"]), *map(_percent, shares), *(f"{width:.1f}" for width in widths)]


def _covered(group: dict[str, Any]) -> str:
    return f"{_percent(group['share'])} held, mean width {group['width_months']:.1f} months"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
