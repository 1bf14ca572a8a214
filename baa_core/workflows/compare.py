"""One radiograph, every recipe: what each system says, what its network saw, and how far they lie apart.

Example:
    for compared in compare("hand.dcm", Patient(sex="female")):
        print(compared.recipe, compared.prediction or compared.refusal)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ..errors import BoneAgeError, UnreadableImage
from ..io import read_bytes
from ..networks.store import NetworkStore
from ..networks.weights import DEFAULT_FOLDER
from ..preprocessing.picture import Picture
from ..recipes import DEFAULT_RECIPE, RECIPES
from ..reporting.overlays import downsample_for_display, encode_png, heatmap_picture, overlay
from ..types import (
    DISCLAIMER,
    FloatArray,
    HandChoice,
    ManualEdits,
    MeasuredError,
    Patient,
    Prediction,
    Report,
    freeze,
    refusal,
)
from .assess import Assessor, load_assessor
from .findings import Clock, SharedStages

LONGEST_SEEN_PX = 400
ALL_ANSWERED, SOME_ANSWERED, NONE_ANSWERED = "ok", "partial", "refused"
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SEEN_NAME, HEATMAP_NAME = "{}_seen.png", "{}_heatmap.png"
AGREEMENT_PROVES_NOTHING = "Systems that learned from the same radiographs can agree and be wrong together."

Listener = Callable[[str, str], None]


@dataclass(frozen=True, eq=False)
class Traced:
    """A picture on its way to a network, small enough to keep.

    Attributes:
        title: what was just done to it, in plain English.
        pixels: float32 (H, W), in [0, 1] once shown, at most `LONGEST_SEEN_PX` on the longer side.
    """

    title: str
    pixels: FloatArray

    def __post_init__(self) -> None:
        freeze(self.pixels)


@dataclass(frozen=True, eq=False)
class Compared:
    """What one recipe made of the radiograph: a report with its heatmap, or the reason why there is none.

    Attributes:
        recipe: its name in `RECIPES`.
        report: None if it refused.
        refusal: None if it answered.
        seen: the picture after each step of its first age network's preparation, the last as the network saw it;
            empty if it refused.
        seconds: from its turn to its answer with the heatmap, loading its networks included. What recipes have in
            common counts for the first of them.
    """

    recipe: str
    report: Report | None
    refusal: BoneAgeError | None
    seen: tuple[Traced, ...]
    seconds: float

    def __post_init__(self) -> None:
        if (self.report is None) == (self.refusal is None):
            raise ValueError(f"'{self.recipe}' either answered or refused, and cannot have done both or neither")

    @property
    def prediction(self) -> Prediction | None:
        """Its bone age with its interval; None if it refused."""
        return self.report.prediction if self.report is not None else None

    def to_dict(self, file: str) -> dict[str, Any]:
        """The report's or the refusal's plain values about the file of that name, with `seconds` as here.

        Besides whether the system is a re-implementation, its mean absolute error on the test radiographs in months
        (None if it was not measured), and both in a sentence.
        """
        if self.report is not None:
            values = self.report.to_dict() | {"file": file, "recipe": self.recipe}
        else:
            values = refusal(file, self.recipe, self.refusal or BoneAgeError())
        error = _shipped_errors().get(self.recipe)
        return values | {
            "seconds": round(self.seconds, 3),
            "reimplementation": is_reimplementation(self.recipe),
            "mean_absolute_error_months": error.mae_months if error else None,
            "about": about_system(self.recipe, error),
        }


@dataclass(frozen=True)
class Spread:
    """How far the systems lie apart.

    Attributes:
        low_months, high_months: the lowest and the highest estimate; None if none answered.
        spread_months: between the two; None if fewer than two answered, for then nothing was compared.
        sentence: what that means, for people.
    """

    low_months: float | None
    high_months: float | None
    spread_months: float | None
    sentence: str


def read_measured_errors(folder: Path = DEFAULT_FOLDER) -> dict[str, MeasuredError]:
    """Each recipe's mean absolute error on the test radiographs, as `benchmarks.systems` measured it.

    Args:
        folder: the weights folder; its evaluation/systems.json is read.

    Returns:
        recipe to error; empty if there is no such file, as with weights of one's own.
    """
    try:
        rows = json.loads((folder / "evaluation" / "systems.json").read_text(encoding="utf-8"))
        return {row["recipe"]: MeasuredError(row["n"] - row["n_refused"], row["mae_months"]) for row in rows}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


@cache
def _shipped_errors() -> dict[str, MeasuredError]:
    return read_measured_errors()


def is_reimplementation(recipe: str) -> bool:
    """Whether a recipe rebuilds a published system at small scale; all but this project's own do."""
    return recipe != DEFAULT_RECIPE


def about_system(recipe: str, error: MeasuredError | None) -> str:
    """What a system is, and its error here, so that nobody takes it for the published one.

    Args:
        recipe: its name.
        error: of `read_measured_errors`; None if it was not measured.
    """
    said = "This project's own networks."
    if is_reimplementation(recipe):
        said = "A re-implementation at small scale, trained by this project; the published system may answer otherwise."
    if error is None or error.mae_months is None:
        return f"{said} Its error was not measured with these weights."
    return f"{said} Mean absolute error here: {error.mae_months:.1f} months on {error.n} test radiographs."


def compare(
    source: str | os.PathLike[str] | bytes,
    patient: Patient,
    names: Sequence[str] = tuple(RECIPES),
    *,
    name: str | None = None,
    load: Callable[[str], Assessor] | None = None,
    on_stage: Listener | None = None,
    hand: HandChoice | None = None,
    edits: ManualEdits | None = None,
) -> Iterator[Compared]:
    """Assess one radiograph by one recipe after another; a refusal of one does not stop the others.

    What the recipes have in common is done once: reading, segmentation and its checks, the landmarks, the sex.

    Args:
        source: a file, which is read once, or its bytes.
        patient: sex and chronological age as entered.
        names: of the recipes, in this order.
        name: what to call the picture in messages; the file's name otherwise.
        load: recipe name to its assessor, called when its turn comes; `load_assessor` if left out. Recipes have in
            common only what comes from the same `NetworkStore`.
        on_stage: called with the recipe and the name of each stage of `assess.STAGES` as it begins. What it raises
            ends the comparison there and then, unless it is a BoneAgeError.
        hand: which of several hands, as for `Assessor.assess`.
        edits: what is done to the picture by hand, as for `Assessor.assess`.

    Yields:
        each recipe's answer or refusal as soon as it is there.
    """
    try:
        content, shown = read_bytes(source, name)
    except UnreadableImage as error:
        yield from (Compared(recipe, None, error, (), 0.0) for recipe in names)
        return
    load, stages = load or _sharing_networks(), SharedStages()
    for recipe in names:
        clock = Clock(partial(on_stage, recipe) if on_stage else None)
        seen: list[Traced] = []
        try:
            assessor = load(recipe)
            findings = assessor.find(
                content, name=shown, hand=hand, edits=edits, clock=clock, stages=stages, on_step=partial(_trace, seen)
            )
            report = assessor.report(findings, patient, explain=True, clock=clock)
        except BoneAgeError as error:
            yield Compared(recipe, None, error, (), clock.total_seconds)
            continue
        yield Compared(recipe, report, None, _as_seen_by_network(seen), clock.total_seconds)


def _sharing_networks() -> Callable[[str], Assessor]:
    """`load_compared` with one store for all recipes, opened when the first one is asked for."""
    store = cache(NetworkStore.of_folder)
    return lambda recipe: load_compared(recipe, store())


def load_compared(recipe: str, store: NetworkStore, served: str = DEFAULT_RECIPE) -> Assessor:
    """A recipe's assessor for comparisons.

    Networks of the recipe `served`, which is asked again and again, are computed by the engine. Those of the others by
    PyTorch, as their heatmaps are in any case: graphs would take ten seconds to make and a gigabyte to keep.
    """
    return load_assessor(recipe, store=store if recipe == served else store.in_pytorch())


def _trace(seen: list[Traced], step: str, picture: Picture) -> None:
    """Keep a step's picture, small."""
    seen.append(Traced(title_of(step), _small(picture.pixels)))


def _as_seen_by_network(steps: Sequence[Traced]) -> tuple[Traced, ...]:
    """The steps ready to be shown. The last one was normalised: its values become greys."""
    *before, last = steps
    shown = [Traced(step.title, np.clip(step.pixels, 0.0, 1.0)) for step in before]
    return (*shown, Traced(f"{last.title}: what the network saw", _to_unit_range(last.pixels)))


def _small(pixels: FloatArray) -> FloatArray:
    return np.asarray(downsample_for_display(pixels, LONGEST_SEEN_PX), np.float32)


def _to_unit_range(pixels: FloatArray) -> FloatArray:
    """Normalised values as greys: the smallest black, the largest white."""
    low, high = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - low) / max(high - low, 1e-6), np.float32)


def title_of(step: str) -> str:
    """A step's class name as people write it: "MaskBackground" as "Mask background"; abbreviations stay as they are."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", step)
    plain = " ".join(word if word.isupper() else word.lower() for word in words)
    return plain[:1].upper() + plain[1:]


def summarise_comparison(predictions: Sequence[Prediction | None]) -> Spread:
    """How far the systems lie apart, and what to make of it.

    The rule is this project's own rule of thumb and was not measured: systems agree if their lowest and highest
    estimates lie no further apart than the mean half width of their 90 % intervals, and disagree otherwise.

    Args:
        predictions: of each system asked; None for one that refused.
    """
    answers = [prediction for prediction in predictions if prediction is not None]
    if len(answers) < 2:
        months = answers[0].bone_age_months if answers else None
        return Spread(months, months, None, _nothing_to_compare(len(predictions), len(answers)))
    low, high = min(a.bone_age_months for a in answers), max(a.bone_age_months for a in answers)
    half_width = fmean((a.interval_months[1] - a.interval_months[0]) / 2 for a in answers)
    apart, width = f"{high - low:.1f} months", f"the mean half width of their intervals ({half_width:.1f} months)"
    answered, asked = _count(len(answers)), _count(len(predictions))
    who = f"The {answered} systems" if answered == asked else f"The {answered} of {asked} systems that answered"
    if high - low <= half_width:
        said = f"{who} lie within {apart} of each other, no more than {width}. {AGREEMENT_PROVES_NOTHING}"
    else:
        said = f"{who} disagree by {apart}, more than {width}: look at the pictures each one saw before trusting any."
    if len({answer.sex_used for answer in answers}) > 1:
        said += " Not all of these estimates are for the same sex, because none was entered: enter it to compare them."
    return Spread(low, high, high - low, said)


def _nothing_to_compare(asked: int, answered: int) -> str:
    """The sentence for fewer than two answers."""
    if answered == 0:
        who = "The only system asked" if asked == 1 else f"None of {_count(asked)} systems"
        return f"{who} gave {'no' if asked == 1 else 'an'} estimate, so there is nothing to compare."
    who = "Only one system was asked" if asked == 1 else f"Only one of {_count(asked)} systems answered"
    return f"{who}, so there is nothing to compare it with."


def _count(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)


def to_dict(file: str, rows: Sequence[dict[str, Any]], spread: Spread) -> dict[str, Any]:
    """A whole comparison, ready for `json.dumps`; months to 0.01.

    Args:
        file: as asked for.
        rows: `Compared.to_dict` of each recipe.
        spread: of their predictions.

    Returns:
        status "ok" if every recipe answered, "refused" if none did, "partial" in between.
    """
    answered = sum(row["status"] == ALL_ANSWERED for row in rows)
    status = NONE_ANSWERED if not answered else ALL_ANSWERED if answered == len(rows) else SOME_ANSWERED
    return {
        "file": file,
        "status": status,
        "recipes": list(rows),
        "low_months": _rounded(spread.low_months),
        "high_months": _rounded(spread.high_months),
        "spread_months": _rounded(spread.spread_months),
        "sentence": spread.sentence,
        "disclaimer": DISCLAIMER,
    }


def _rounded(months: float | None) -> float | None:
    return None if months is None else round(months, 2)


def picture_names() -> list[str]:
    """Every file name that `pictures_of` can give."""
    return [name.format(recipe) for recipe in RECIPES for name in (SEEN_NAME, HEATMAP_NAME)]


def pictures_of(compared: Compared) -> dict[str, bytes]:
    """File name to PNG: what the network saw, and the heatmap on the radiograph; nothing for a refusal."""
    if compared.report is None:
        return {}
    return {
        SEEN_NAME.format(compared.recipe): encode_png(overlay(compared.seen[-1].pixels)),
        HEATMAP_NAME.format(compared.recipe): encode_png(heatmap_picture(compared.report)),
    }
