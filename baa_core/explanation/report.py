"""Everything the panel shows about one radiograph's estimate, as one noun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..types import DISCLAIMER, BoolArray, Caution, HandMask, Radiograph, Sex, SignedExplanation, freeze
from .atlas import Stage
from .faithfulness import Deletion
from .joint_readings import JointReading
from .region_effects import RegionEffect
from .robustness import Robustness
from .verdict import Verdict


@dataclass(frozen=True, eq=False)
class Panel:
    """One method's map of one radiograph, what the regions contribute, and whether the map can be relied on.

    Attributes:
        file, recipe: what was asked, by which system.
        sex_used: the sex the estimate was made for.
        estimate_months: the bone age as an assessment gives it. All that explains it is in raw months.
        explanation: the signed map on the radiograph's grid; its method's name.
        regions: region to what it contributes to the estimate.
        shares: region to its share of the map, then `ELSEWHERE` and `OUTSIDE`; they sum to 1.
        deletion: whether blurring what the map marks moves the estimate the way it says.
        stability: small change of the picture to the correlation of the maps before and after.
        robustness: months by change of the radiograph that should not matter, and for the other sex; what was refused.
        textbook: the stage of the estimate, and the regions the atlas looks at.
        verdict: whether the map can be relied on.
        cautions: all that an assessment says, then those about map and regions.
        seconds, stage_seconds: in all, and by part.
        joints: what each joint says, of a network that reads joints; empty without one.
        radiograph, hand, masks: as read, as found, and region to bool (H, W).
    """

    file: str
    recipe: str
    sex_used: Sex
    estimate_months: float
    explanation: SignedExplanation
    regions: Mapping[str, RegionEffect]
    shares: Mapping[str, float]
    deletion: Deletion
    stability: Mapping[str, float]
    robustness: Robustness
    textbook: Stage
    verdict: Verdict
    cautions: tuple[Caution, ...]
    seconds: float
    radiograph: Radiograph
    hand: HandMask
    masks: Mapping[str, BoolArray]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    joints: tuple[JointReading, ...] = ()

    def __post_init__(self) -> None:
        for mask in self.masks.values():
            freeze(mask)

    @property
    def strongest(self) -> tuple[str, ...]:
        """Regions that matter more than as much hand elsewhere, the one worth most months first."""
        found = [name for name, effect in self.regions.items() if effect.stands_out]
        return tuple(sorted(found, key=lambda name: -abs(self.regions[name].contribution_months)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; months and shares rounded. Nothing about the patient.

        A region's `months`, `null_low` and `null_high` are what the estimate changes by without it, as ever; the
        contributions, which the figures show, have the other sign and names of their own.
        """
        shown, agreement = self.explanation, self.explanation.member_agreement
        return {
            "file": self.file,
            "status": "ok",
            "method": shown.method,
            "estimate_months": round(self.estimate_months, 2),
            "regions": {
                name: {
                    "months": _rounded(-effect.contribution_months),
                    "null_low": _rounded(-effect.chance_high_months),
                    "null_high": _rounded(-effect.chance_low_months),
                    "contribution_months": _rounded(effect.contribution_months),
                    "chance_low_months": _rounded(effect.chance_low_months),
                    "chance_high_months": _rounded(effect.chance_high_months),
                    "attribution_share": round(self.shares[name], 4),
                }
                for name, effect in self.regions.items()
            },
            "joints": {
                reading.name: {"months": _rounded(reading.months), "share": round(reading.share, 4)}
                for reading in self.joints
            },
            "inside_hand_share": round(shown.inside_hand_share, 4),
            "deletion": {
                "area": _rounded(self.deletion.area_months),
                "random_area": round(self.deletion.random_area_months, 2),
                "edge_area": round(self.deletion.edge_area_months, 2),
            },
            "stability": {change: round(value, 3) for change, value in self.stability.items()},
            "member_agreement": None if agreement is None else round(agreement, 3),
            "drift": {name: None if m is None else _rounded(m) for name, m in self.robustness.by_change().items()},
            "drift_refusals": dict(self.robustness.refusals),
            "verdict": self.verdict.sentence,
            "recipe": self.recipe,
            "cautions": [asdict(caution) for caution in self.cautions],
            "seconds": round(self.seconds, 3),
            "disclaimer": DISCLAIMER,
        }


def _rounded(months: float) -> float:
    """To 0.01, and never -0."""
    return round(months, 2) + 0.0
