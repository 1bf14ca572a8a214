"""The ossification table: what the page shows of it agrees with the published ages, and with the drawn hand."""

from __future__ import annotations

import pytest

from baa_core.explanation.atlas import textbook_stage
from baa_core.phantom import bone_outlines
from baa_core.phantom.ossification import (
    CAPPING,
    CARPALS,
    EPIPHYSES,
    Fact,
    facts,
    fusion_orders,
    maturity_stages,
    slow_changes,
    sources,
)
from baa_core.types import SEXES, Sex

# Published ages, typed from the sources and not read from the table under test: (girls, boys) ranges in months.
APPEARS = {  # Radiopaedia and fpnotebook: ranges for both sexes
    "capitate": (1, 3), "hamate": (2, 4), "triquetrum": (24, 36), "lunate": (24, 48), "scaphoid": (48, 72),
    "trapezium": (48, 72), "trapezoid": (48, 72), "pisiform": (96, 144), "radius": (12, 15), "ulna": (60, 72),
}  # fmt: skip
FINGERS = (12, 36)  # metacarpals and phalanges: 1 to 3 years
# Centre: (girls, boys) as Greulich and Pyle's standards have it, months, and how many months away it may be drawn.
STANDARDS = {
    ("radius", "appears"): (12, 15), ("triquetrum", "appears"): (24, None), ("lunate", "appears"): (36, None),
    ("scaphoid", "appears"): (50, None), ("trapezoid", "appears"): (50, None), ("pisiform", "appears"): (106, 120),
    ("sesamoid", "appears"): (132, 156), ("distal_phalanx1", "begins to fuse"): (156, None),
    ("distal_phalanx3", "fused"): (162, 186), ("distal_phalanx5", "fused"): (162, 186),
    ("metacarpal1", "fused"): (168, None), ("radius", "begins to fuse"): (180, None),
    ("ulna", "begins to fuse"): (180, None), ("metacarpal3", "begins to fuse"): (None, 192),
    ("middle_phalanx3", "fused"): (None, 204), ("proximal_phalanx3", "fused"): (None, 204),
    ("radius", "fused"): (216, 228),
}  # fmt: skip
STANDARD_TOLERANCE_MONTHS = 3.0  # the standards are half a year to a year apart

# Bone age in months: (carpals and sesamoid, epiphyses present, epiphyses fused), counted by hand from the table.
COUNTS: dict[Sex, dict[int, tuple[int, int, int]]] = {
    "female": {
        0: (0, 0, 0), 2: (1, 0, 0), 3: (2, 0, 0), 11: (2, 2, 0), 12: (2, 4, 0), 18: (2, 11, 0), 24: (3, 19, 0),
        30: (3, 20, 0), 36: (4, 20, 0), 48: (5, 20, 0), 49: (6, 20, 0), 50: (7, 20, 0), 64: (7, 21, 0),
        84: (7, 21, 0), 106: (8, 21, 0), 132: (9, 21, 0), 156: (9, 21, 0), 160: (9, 21, 1), 162: (9, 21, 5),
        168: (9, 21, 6), 178: (9, 21, 15), 182: (9, 21, 19), 200: (9, 21, 20), 213: (9, 21, 21),
    },
    "male": {
        0: (0, 0, 0), 3: (1, 0, 0), 4: (2, 0, 0), 15: (2, 1, 0), 18: (2, 4, 0), 24: (2, 9, 0), 30: (2, 18, 0),
        36: (3, 19, 0), 46: (3, 20, 0), 48: (4, 20, 0), 60: (4, 20, 0), 66: (5, 20, 0), 68: (6, 20, 0),
        72: (7, 20, 0), 74: (7, 21, 0), 120: (8, 21, 0), 156: (9, 21, 0), 184: (9, 21, 2), 186: (9, 21, 5),
        190: (9, 21, 6), 202: (9, 21, 15), 204: (9, 21, 19), 214: (9, 21, 20), 228: (9, 21, 21),
    },
}  # fmt: skip


def fact(centre: str, event: str) -> Fact:
    return next(fact for fact in facts() if (fact.centre, fact.event) == (centre, event))


def test_every_fact_has_a_source_and_says_how_its_age_follows() -> None:
    for row in (*facts(), *slow_changes(), *maturity_stages(), *fusion_orders()):
        assert row.source in sources()
    assert {row.basis for row in facts()} <= {"stated", "within", "placed"}
    assert all(row.says for row in (*facts(), *slow_changes()))
    assert {row.centre for row in facts()} == set(CARPALS) | set(EPIPHYSES)
    events = [(row.centre, row.event) for row in facts()]
    assert len(events) == len(set(events)) == len(CARPALS) + 3 * len(EPIPHYSES)


@pytest.mark.parametrize("centre", [*CARPALS, *EPIPHYSES])
def test_an_appearance_outside_the_published_range_says_so(centre: str) -> None:
    low, high = APPEARS.get(centre, FINGERS)
    row = fact(centre, "appears")
    if centre != "sesamoid":
        assert row.published is not None
        assert all((low, high) == shown or centre == "radius" for shown in row.published)
    for months in row.months:
        outside = max(low - months, months - high)
        assert centre == "sesamoid" or outside <= 0 or (outside <= 10 and "range" in row.uncertain), row


@pytest.mark.parametrize(("event", "ages"), STANDARDS.items())
def test_milestones_are_drawn_at_the_age_of_the_atlas(event: tuple[str, str], ages: tuple[float | None, ...]) -> None:
    for drawn, stated in zip(fact(*event).months, ages, strict=True):
        assert stated is None or abs(drawn - stated) <= STANDARD_TOLERANCE_MONTHS


def test_boys_cap_between_thirteen_and_a_half_and_fourteen_years() -> None:
    assert CAPPING[0] == 132
    assert 162 <= CAPPING[1] <= 168


@pytest.mark.parametrize("sex", SEXES)
def test_at_24_ages_the_drawn_hand_holds_as_many_centres_as_the_table(sex: Sex) -> None:
    assert len(COUNTS[sex]) == 24
    number = SEXES.index(sex)
    for months, (carpals, present, fused) in COUNTS[sex].items():
        drawn = bone_outlines(months, sex, height_px=400)
        separate = {name.removesuffix(" epiphysis") for name in drawn if name.endswith(" epiphysis")}
        closed = {name for name in EPIPHYSES if months >= EPIPHYSES[name].fused[number]}
        assert len(set(drawn) & set(CARPALS)) == carpals, months
        assert separate.isdisjoint(closed)
        assert (len(separate | closed), len(closed)) == (present, fused), months
        table = [row for row in facts() if row.months[number] <= months]
        assert sum(row.kind != "epiphysis" for row in table) == carpals
        assert sum(row.kind == "epiphysis" and row.event == "appears" for row in table) == present
        assert sum(row.event == "fused" for row in table) == fused


def test_the_stages_are_those_that_an_explanation_names() -> None:
    for number, sex in enumerate(SEXES):
        for stage in maturity_stages():
            first, end = stage.months[number]
            told = textbook_stage(first, sex)
            assert (told.from_months, told.to_months) == (first, end)
            assert told.name == stage.name.lower()


@pytest.mark.parametrize("number", [0, 1])
def test_the_drawn_order_of_fusion_is_the_order_shown(number: int) -> None:
    shown = next(order for order in fusion_orders() if order.drawn).order
    kinds = ("distal_phalanx", "metacarpal", "proximal_phalanx", "middle_phalanx", "ulna", "radius")
    assert [part.split(" (")[0].split(" and ")[0].rstrip("s") for part in shown[:2]] == [
        "distal phalange",
        "metacarpal",
    ]
    means = [
        sum(ages) / len(ages)
        for kind in kinds
        if (ages := [stages.fused[number] for name, stages in EPIPHYSES.items() if name.startswith(kind)])
    ]
    assert means == sorted(means)


def test_a_stage_whose_ages_were_not_verified_says_so() -> None:
    for stage in maturity_stages():
        assert ("not verified against the book" in stage.uncertain) == (stage.source == "GR cited"), stage.name
