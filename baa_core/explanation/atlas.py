"""Bone age + sex -> which bones the atlas of Gilsanz and Ratib looks at, to lay beside what a network uses.

Gilsanz V, Ratib O. Hand Bone Age: A Digital Atlas of Skeletal Maturity, 2nd ed. Springer, 2012,
doi:10.1007/978-3-642-23762-1. Ages and rules are paraphrased; no picture of theirs is here. What could be checked was
read in excerpts of the atlas on other sites, not in the book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..types import Sex

EXCERPTS = "Gilsanz and Ratib, Hand Bone Age (Springer 2012), as excerpts of it say"
USUALLY_CITED = "Gilsanz and Ratib, Hand Bone Age (Springer 2012), as usually cited; not verified against the book"


@dataclass(frozen=True)
class Stage:
    """One stage of skeletal maturity.

    Attributes:
        name: of the stage.
        sex: whose ages these are.
        from_months, to_months: bone ages it covers, the upper end not included.
        regions: what is looked at, names as in `phantom.REGIONS`, the most telling first.
        sentence: what to look for there.
        source: where that comes from, and how far it was checked.
    """

    name: str
    sex: Sex
    from_months: float
    to_months: float
    regions: tuple[str, ...]
    sentence: str
    source: str


_PHALANGES = ("distal_phalanges", "middle_phalanges")
# Name, girls' and boys' first month, regions, sentence, source; each stage ends where the next begins.
_STAGES: tuple[tuple[str, float, float, tuple[str, ...], str, str], ...] = (
    (
        "infancy", 0.0, 0.0, ("carpals", "radius_ulna"),
        "Whether capitate, hamate and the epiphysis of the radius are there.", EXCERPTS,
    ),
    (
        "toddler", 10.0, 14.0, ("proximal_phalanges", "metacarpals", "middle_phalanges", "distal_phalanges"),
        "How many epiphyses of phalanges and metacarpals are there; the carpals tell less.", EXCERPTS,
    ),
    (
        "before puberty", 24.0, 36.0, _PHALANGES,
        "How wide the epiphyses of the distal, then of the middle phalanges are beside their shafts.", USUALLY_CITED,
    ),
    (
        "early and mid puberty", 84.0, 108.0, _PHALANGES,
        "Epiphyses of the distal, then of the middle phalanges grow wider than their shafts and cap them.", EXCERPTS,
    ),
    (
        "late puberty", 156.0, 168.0, ("distal_phalanges", "proximal_phalanges", "middle_phalanges"),
        "How far the epiphyses are fused: distal, then proximal, then middle phalanges.", USUALLY_CITED,
    ),
    (
        "after puberty", 180.0, 204.0, ("radius_ulna",),
        "How far the epiphyses of ulna and radius are fused; everything else is.", USUALLY_CITED,
    ),
)  # fmt: skip
# The usual citation ends boys' late puberty at 16 years and begins the next stage at 17. The year between is given to
# late puberty here: in Greulich and Pyle's boys the phalanges are all fused only at 17 (FIELD.md section 8).
BOYS_GAP = "The usual citation leaves boys of 16 to 17 years out; here they count as late puberty."
_GAP_MONTHS = (192.0, 204.0)
_MATURE_MONTHS: Mapping[Sex, float] = {"female": 204.0, "male": 228.0}


def textbook_stage(bone_age_months: float, sex: Sex) -> Stage:
    """The stage a bone age falls into.

    Args:
        bone_age_months: 0 or more; beyond the last stage there is nothing more to read, so the last one is given.
        sex: girls reach each stage earlier.
    """
    begins = [girls if sex == "female" else boys for _, girls, boys, *_ in _STAGES]
    number = max((n for n, begin in enumerate(begins) if bone_age_months >= begin), default=0)
    name, _, _, regions, sentence, source = _STAGES[number]
    end = begins[number + 1] if number + 1 < len(_STAGES) else _MATURE_MONTHS[sex]
    if sex == "male" and _GAP_MONTHS[0] <= bone_age_months < _GAP_MONTHS[1]:
        sentence = f"{sentence} {BOYS_GAP}"
    return Stage(name, sex, begins[number], end, regions, sentence, source)
