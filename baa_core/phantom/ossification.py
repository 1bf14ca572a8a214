"""When each bone of the hand appears, caps and fuses: the drawn hand's only knowledge of age.

Ages are bone ages in months, a pair (girls, boys) everywhere, because girls are ahead of boys at every step.

Sources, by the letter used below:
    (R) Radiopaedia, "Ossification centres of the wrist and hand": order and ages of the carpals, 1-3 years for the
        epiphyses of metacarpals and phalanges, girls before boys.
    (GP) Greulich WW, Pyle SI, Radiographic Atlas of Skeletal Development of the Hand and Wrist, 2nd ed., 1959:
        milestones of the standards, and the order of fusion (distal phalanges, thumb and third finger first, then
        metacarpals, proximal and middle phalanges, ulna, radius last).
    (GR) Gilsanz V, Ratib O, Hand Bone Age, 2005/2012: the last epiphysis to appear is that of the little finger's
        middle phalanx; girls have them all at 2, boys at 3 to 4 years.
Where a source gives a range, a single age inside it was chosen and is marked "within".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ..types import Sex

DIGITS: Final = (1, 2, 3, 4, 5)  # 1 is the thumb

# Order of appearance. source: (R) order and ages; (GP) girls' scaphoid and trapezoid 4 y 2 mo, boys' trapezium 4.5 y,
# pisiform 8 y 10 mo and 10 y, adductor sesamoid 11 y and 13 y.
CARPALS: Final[dict[str, tuple[float, float]]] = {
    "capitate": (2, 3),
    "hamate": (3, 4),
    "triquetrum": (24, 36),
    "lunate": (36, 48),
    "scaphoid": (48, 66),  # boys: within 4-6 years
    "trapezium": (49, 68),  # within 4-6 years; varies most among children
    "trapezoid": (50, 72),
    "pisiform": (106, 120),
    "sesamoid": (132, 156),
}
# A carpal has its adult shape about when the fingers' growth plates close. source: (GP) distal phalanges fused.
CARPALS_FULL_GROWN: Final = (162.0, 186.0)
CAPPING: Final = (132.0, 165.0)  # source: (GP) 11 years in girls, 13.5 to 14 in boys
WIDE_AS_METAPHYSIS: Final = (96.0, 114.0)  # source: (GR) early puberty begins as the epiphysis outgrows the shaft


@dataclass(frozen=True)
class Stages:
    """The life of one epiphysis, months of bone age as (girls, boys)."""

    appears: tuple[float, float]
    begins_to_fuse: tuple[float, float]
    fused: tuple[float, float]


def _epiphyses() -> dict[str, Stages]:
    """All 21 growth centres with a plate. Fusion: source (GP); appearance: (R), (GR), within 1-3 years."""
    stages = {
        "radius": Stages((12, 15), (180, 198), (213, 228)),  # (GP) girls adult at 18, boys at 19 years
        "ulna": Stages((64, 74), (178, 194), (200, 214)),  # (R) 5-6 years; (GP) girls plainly seen at 6 y 10 mo
        "metacarpal1": Stages((22, 32), (160, 180), (168, 189)),  # (GP) girls fused at 14
        "proximal_phalanx1": Stages((20, 30), (165, 187), (177, 200)),
        "distal_phalanx1": Stages((13, 20), (156, 172), (162, 184)),  # (GP) girls begin at 13
    }
    appears = {2: (0.0, 0.0), 3: (0.0, 0.0), 4: (1.0, 1.5), 5: (3.0, 5.0)}  # the middle ray leads
    for digit in DIGITS[1:]:
        female, male = appears[digit]
        late = 0.0 if digit == 3 else 2.0  # the third finger fuses first
        stages[f"proximal_phalanx{digit}"] = Stages((11 + female, 16 + male), (166, 188), (178, 202))
        stages[f"metacarpal{digit}"] = Stages((16 + female, 21 + male), (165, 190), (177, 202))  # (GP) boys begin at 16
        distal = Stages((18 + female, 25 + male), (156 + late, 174 + late), (160 + late, 184 + late))
        stages[f"distal_phalanx{digit}"] = distal  # (GP) all fused at 13.5 and 15.5 years
        middle = (28.0, 46.0) if digit == 5 else (19 + female, 27 + male)  # (GP) boys have all at 4 years
        stages[f"middle_phalanx{digit}"] = Stages(middle, (169, 190), (182, 204))  # (GP) boys all fused at 17
    return stages


EPIPHYSES: Final = _epiphyses()


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
