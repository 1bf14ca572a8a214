"""Months, reports and comparisons in words, for the command line."""

from __future__ import annotations

from typing import Any

from ..explanation.methods import METHODS
from ..explanation.report import Panel
from ..explanation.verdict import likeness_sentence
from ..hand_anatomy import REGION_TITLES
from ..types import DISCLAIMER
from .wording import percent

ERROR_HERE = (
    "Error here: mean absolute error on this project's test radiographs. All systems but lite are re-implementations "
    "at small scale; the published ones may answer otherwise."
)


def region_title(name: str) -> str:
    """A region as people call it: "radius_ulna" as "Radius and ulna"."""
    return REGION_TITLES.get(name, name.replace("_", " ").capitalize())


def summarise(result: dict[str, Any]) -> str:
    """A result's dict as lines for people."""
    if result["status"] == "refused":
        return f"{result['file']}\n  {'Refused':<18}  {result['error']['message']}\n"
    low, high = result["interval_months"]
    sex = f"entered {result['sex_entered']}, estimate made for {result['sex_used']}; check: "
    sex += f"{result['sex_check'].replace('_', ' ')} (probability of male {percent(result['sex_probability_male'])})"
    lines = [
        ("Bone age", f"{years_and_months(result['bone_age_months'])} ({result['bone_age_months']:.1f} months)"),
        ("90 % interval", f"{years_and_months(low)} to {years_and_months(high)} ({low:.1f} to {high:.1f} months)"),
        ("Sex", sex),
        ("If female", years_and_months(result["bone_age_if_female_months"])),
        ("If male", years_and_months(result["bone_age_if_male_months"])),
        *(("Caution", caution["message"]) for caution in result["cautions"]),
        ("Recipe", result["recipe"] + "".join(f", {name} {m:.1f}" for name, m in result["members"].items())),
    ]
    if (age := result["chronological_age_months"]) is not None:
        lines.insert(2, ("Age today", f"{years_and_months(age)} ({age:g} months)"))
    if (growth := result.get("growth")) is not None:
        lines.insert(3, ("Growth", growth["sentence"]))
    return _lines(result["file"], lines)


def summarise_panel(panel: Panel) -> str:
    """A panel as lines for people."""
    regions = [
        (
            region_title(name),
            f"contributes {effect.contribution_months:+.1f} months, as much hand elsewhere "
            f"{effect.chance_low_months:+.1f} to {effect.chance_high_months:+.1f}; {panel.shares[name]:.0%} of the map",
        )
        for name, effect in panel.regions.items()
    ]
    changes = (f"{name} {round(m, 1) + 0.0:+.1f}" for name, m in panel.robustness.by_change().items() if m is not None)
    refused = [(f"If {name}", f"refused: {reason}") for name, reason in panel.robustness.refusals.items()]
    stage, shown = panel.textbook, METHODS[panel.explanation.method]
    likeness = panel.explanation.member_agreement
    networks = [] if likeness is None else [("Networks", likeness_sentence(likeness))]
    lines = [
        (
            "Bone age",
            f"{years_and_months(panel.estimate_months)} ({panel.estimate_months:.1f} months, {panel.sex_used})",
        ),
        ("Method", f"{shown.title}. {shown.shows} {shown.cannot}"),
        *regions,
        ("Stands out", ", ".join(map(region_title, panel.strongest)) or "no region more than as much hand elsewhere"),
        ("Textbook", f"{stage.name}: {', '.join(map(region_title, stage.regions))}. {stage.sentence} ({stage.source})"),
        ("Inside the hand", f"{panel.explanation.inside_hand_share:.0%} of the map"),
        ("Robustness, months", ", ".join(changes)),
        *refused,
        ("Verdict", panel.verdict.sentence),
        *networks,
        *(("Caution", caution.message) for caution in panel.cautions),
    ]
    return _lines(panel.file, lines)


def summarise_systems(result: dict[str, Any]) -> str:
    """A comparison's dict, as `compare.to_dict` makes it, as a table for people and its sentence."""
    head = ("Recipe", "Estimate", "90 % interval", "Error here", "Seconds")
    rows, refusals = [head], []
    for row in result["recipes"]:
        seconds, mean = f"{row['seconds']:.1f}", row.get("mean_absolute_error_months")
        error = "not measured" if mean is None else f"{mean:.1f} months"
        if row["status"] == "refused":
            rows.append((row["recipe"], "refused", "", error, seconds))
            refusals.append((row["recipe"], row["error"]["message"]))
            continue
        low, high = row["interval_months"]
        interval = f"{years_and_months(low)} to {years_and_months(high)}"
        rows.append((row["recipe"], years_and_months(row["bone_age_months"]), interval, error, seconds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    cautions = {c["message"]: None for row in result["recipes"] for c in row.get("cautions", ())}  # each one once
    said = [f"{name}: {message}" for name, message in refusals] + [f"Caution: {message}" for message in cautions]
    lines = [*table, "", ERROR_HERE, result["sentence"], *said, DISCLAIMER]
    return "\n".join([result["file"], *(f"  {line}".rstrip() for line in lines), ""])


def _lines(file: str, lines: list[tuple[str, str]]) -> str:
    return "\n".join([file, *(f"  {name:<18}  {text}" for name, text in lines), f"  {DISCLAIMER}\n"])


def years_and_months(months: float) -> str:
    """Months as people say them: "10 years 1 month", to the nearest month."""
    years, rest = divmod(abs(round(months)), 12)
    parts = [f"{n} {unit}{'s' * (n != 1)}" for n, unit in ((years, "year"), (rest, "month")) if n]
    return ("minus " if round(months) < 0 else "") + (" ".join(parts) or "0 months")


def _short(months: float) -> str:
    """Months as in "10 y 1 m"."""
    years, rest = divmod(max(0, round(months)), 12)
    return f"{years} y {rest} m"
