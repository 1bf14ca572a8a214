"""When each bone of the hand appears, caps and fuses: the drawn hand's only knowledge of age.

Every age is in `ossification.json`, with its source, what the source says and what is uncertain. Ages are bone ages in
months, a pair (girls, boys) everywhere, because girls are ahead of boys at every step. `basis` of a row: "stated" is an
age the source gives, "within" an age chosen inside a published range, "placed" one chosen between stated milestones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import numpy as np

from ..types import Sex

DIGITS: Final = (1, 2, 3, 4, 5)  # 1 is the thumb
APPEARS, BEGINS_TO_FUSE, FUSED = "appears", "begins to fuse", "fused"
Range = tuple[float, float]


@dataclass(frozen=True)
class Fact:
    """One row of the ossification table.

    Attributes:
        centre: name of the ossification centre, such as "capitate" or "middle_phalanx3".
        title: the centre in the field's terms.
        kind: of the centre.
        event: "appears", "begins to fuse" or "fused".
        months: bone age at which it is drawn, (girls, boys).
        published: range of ages the source gives, for girls and for boys; None where it gives none.
        basis: how the drawn age follows from the source: see the module.
        source: key of `sources()`.
        says: what the source says, in words of our own.
        uncertain: what the sources leave open; "" where they agree.
    """

    centre: str
    title: str
    kind: Literal["carpal", "sesamoid", "epiphysis"]
    event: str
    months: tuple[float, float]
    published: tuple[Range, Range] | None
    basis: Literal["stated", "within", "placed"]
    source: str
    says: str
    uncertain: str


@dataclass(frozen=True)
class SlowChange:
    """A change of shape that takes years, with the age at which it is drawn as complete.

    Attributes:
        name: "wide_as_metaphysis", "capping" or "carpals_full_grown".
        title: in the field's terms.
        months: bone age, (girls, boys).
        source, says, uncertain: as of `Fact`.
    """

    name: str
    title: str
    months: tuple[float, float]
    source: str
    says: str
    uncertain: str


@dataclass(frozen=True)
class MaturityStage:
    """A stage of skeletal maturity after Gilsanz and Ratib.

    Attributes:
        name: of the stage.
        months: bone ages it covers, (from, to) for girls and for boys; the upper end is not included.
        look_at, why: what is read at this stage, and why.
        source, uncertain: as of `Fact`.
    """

    name: str
    months: tuple[Range, Range]
    look_at: str
    why: str
    source: str
    uncertain: str


@dataclass(frozen=True)
class FusionOrder:
    """An order in which growth plates close.

    Attributes:
        order: groups of bones, the first to fuse first.
        source, uncertain: as of `Fact`.
        drawn: this is the order of the drawn hand.
    """

    order: tuple[str, ...]
    source: str
    drawn: bool
    uncertain: str


@cache
def _table() -> Any:
    return json.loads(files(__package__).joinpath("ossification.json").read_text("utf-8"))


@cache
def sources() -> Mapping[str, str]:
    """Key of a source to its reference."""
    return dict(_table()["sources"])


@cache
def facts() -> tuple[Fact, ...]:
    """Every appearance and fusion, carpals first, then from the fingertips to the forearm."""
    centres = {centre["name"]: centre for centre in _table()["centres"]}
    found = []
    for row in _table()["rows"]:
        centre, published = centres[row["centre"]], row["published"]
        ages = None if published is None else (_pair(published[0]), _pair(published[1]))
        values = {**row, "months": _pair(row["months"]), "published": ages}
        found.append(Fact(title=centre["title"], kind=centre["kind"], **values))
    return tuple(found)


@cache
def slow_changes() -> tuple[SlowChange, ...]:
    """The changes of shape, in order of the girls' age."""
    return tuple(SlowChange(**{**row, "months": _pair(row["months"])}) for row in _table()["changes"])


@cache
def maturity_stages() -> tuple[MaturityStage, ...]:
    """The stages after Gilsanz and Ratib, from birth on."""
    return tuple(
        MaturityStage(**{**row, "months": (_pair(row["months"][0]), _pair(row["months"][1]))})
        for row in _table()["stages"]
    )


@cache
def fusion_orders() -> tuple[FusionOrder, ...]:
    """The published orders of fusion; the drawn one first."""
    return tuple(FusionOrder(**{**row, "order": tuple(row["order"])}) for row in _table()["fusion_orders"])


def _pair(values: list[float]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)


@dataclass(frozen=True)
class Stages:
    """The life of one epiphysis, months of bone age as (girls, boys)."""

    appears: tuple[float, float]
    begins_to_fuse: tuple[float, float]
    fused: tuple[float, float]


def _ages(event: str, *kinds: str) -> dict[str, tuple[float, float]]:
    return {fact.centre: fact.months for fact in facts() if fact.event == event and fact.kind in kinds}


def _epiphyses() -> dict[str, Stages]:
    appears, begins, fused = (_ages(event, "epiphysis") for event in (APPEARS, BEGINS_TO_FUSE, FUSED))
    return {name: Stages(appears[name], begins[name], fused[name]) for name in appears}


CARPALS: Final = _ages(APPEARS, "carpal", "sesamoid")  # in order of appearance; the thumb's sesamoid is the last
EPIPHYSES: Final = _epiphyses()  # all 21 centres with a growth plate
_SLOW: Final = {change.name: change.months for change in slow_changes()}
WIDE_AS_METAPHYSIS, CAPPING, CARPALS_FULL_GROWN = (
    _SLOW[name] for name in ("wide_as_metaphysis", "capping", "carpals_full_grown")
)


@dataclass(frozen=True)
class Epiphysis:
    """One growth centre at one age. All values are fractions from 0 to 1.

    Attributes:
        width: of the metaphysis it sits on; 0 before it appears.
        capping: how far its edges have turned down over the metaphysis.
        fusion: share of the growth plate that is bridged.
        scar: how visible the line is that a closed plate leaves.
    """

    width: float
    capping: float
    fusion: float
    scar: float


def _of(pair: tuple[float, float], sex: Sex) -> float:
    return float(pair[sex == "male"])


def _ramp(age_months: float, start: float, end: float) -> float:
    return float(np.clip((age_months - start) / (end - start), 0.0, 1.0))


def epiphysis_at(name: str, bone_age_months: float, sex: Sex) -> Epiphysis:
    """What an epiphysis looks like at an age.

    Args:
        name: one of `EPIPHYSES`, such as "radius" or "middle_phalanx3".
        bone_age_months: bone age, not time since birth.
        sex: girls reach every stage first.
    """
    stages = EPIPHYSES[name]
    appears, begins, fused = (_of(pair, sex) for pair in (stages.appears, stages.begins_to_fuse, stages.fused))
    if bone_age_months < appears:
        return Epiphysis(0.0, 0.0, 0.0, 0.0)
    growth = _ramp(bone_age_months, appears, _of(WIDE_AS_METAPHYSIS, sex))
    capping = _ramp(bone_age_months, _of(WIDE_AS_METAPHYSIS, sex), _of(CAPPING, sex))
    fusion = _ramp(bone_age_months, begins, fused)
    scar = fusion * (1.0 - 0.75 * _ramp(bone_age_months, fused, fused + 24.0))
    return Epiphysis(0.24 + 0.76 * growth**0.62, capping, fusion, scar)


def carpal_size(name: str, bone_age_months: float, sex: Sex) -> float:
    """How large a carpal is beside its adult self, 0 (not there yet) to 1, in length."""
    appears = _of(CARPALS[name], sex)
    if bone_age_months < appears:
        return 0.0
    full_grown = _of(CARPALS_FULL_GROWN, sex) + (18.0 if name == "sesamoid" else 0.0)
    return 0.26 + 0.74 * float(1.0 - (1.0 - _ramp(bone_age_months, appears, full_grown)) ** 1.8)


def ossified_carpals(bone_age_months: float, sex: Sex) -> tuple[str, ...]:
    """The carpals (and the thumb's adductor sesamoid) that hold bone at an age, in order of appearance."""
    return tuple(name for name in CARPALS if bone_age_months >= _of(CARPALS[name], sex))


def maturity(bone_age_months: float, sex: Sex) -> float:
    """From 0 at birth to 1 at the adult skeleton; drives proportions, cartilage and cortex, which change slowly."""
    return _ramp(bone_age_months, 0.0, _of(EPIPHYSES["radius"].fused, sex))
