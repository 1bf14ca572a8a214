"""The nouns that travel between the stages.

Pixel coordinates are (row, column) with the first pixel's centre at (0, 0). Ages are months.
Arrays inside nouns are read-only; validation happens here, once, and the stages trust it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import BoneAgeError, InvalidEdits, InvalidPatient

Sex = Literal["female", "male"]
SEXES: tuple[Sex, Sex] = ("female", "male")
HandChoice = Literal["left", "right", "largest"]  # which of several hands, by its side of the picture or its area
HAND_CHOICES: tuple[HandChoice, ...] = ("left", "right", "largest")
SexCheck = Literal["agrees", "inconclusive", "differs", "not_checked"]  # the radiograph against the entered sex
End = Literal["young", "old"]  # beyond which end of the trained range
ENDS: tuple[End, End] = ("young", "old")
CutPart = Literal["wrist", "fingertips", "thumb"]  # what the picture's edge cuts off
CUT_PARTS: tuple[CutPart, ...] = ("wrist", "fingertips", "thumb")
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Points = Mapping[str, tuple[float, float]]  # landmarks by name, (row, column)

DISCLAIMER = "Research and education only. Not a medical device; not for diagnosis or treatment."
OLDEST_MONTHS = 300.0  # 25 years: beyond every atlas of the hand


def freeze(array: NDArray[Any]) -> None:
    """Make an array read-only, so that a noun cannot change under its holder."""
    array.setflags(write=False)


@dataclass(frozen=True)
class Caution:
    """Something the reader of a number must know. `code` is stable, `message` is shown."""

    code: str
    message: str


@dataclass(frozen=True)
class Patient:
    """What the user says about the child. Nothing here is ever stored.

    Raises:
        InvalidPatient: a sex other than female, male or None; an age outside 0 to 300 months.
    """

    sex: Sex | None = None
    chronological_age_months: float | None = None

    def __post_init__(self) -> None:
        if self.sex is not None and self.sex not in SEXES:
            raise InvalidPatient(
                f"'{str(self.sex)[:20]}' is not a sex this software knows. Give female, male, or leave it unknown."
            )
        age = self.chronological_age_months
        if age is not None and not 0 <= age <= OLDEST_MONTHS:
            said = f"{age:g} months ({age / 12:.4g} years)" if math.isfinite(age) else "that is no number"
            raise InvalidPatient(
                f"A chronological age of {said} is not possible here. "
                f"Give 0 to {OLDEST_MONTHS:.0f} months ({OLDEST_MONTHS / 12:.0f} years), or leave it empty."
            )


def parse_sex(word: str | None) -> Sex | None:
    """The sex a user typed. "unknown", an empty word or None mean unknown.

    Raises:
        InvalidPatient: any other word.
    """
    key = (word or "unknown").strip().lower()
    if key in ("unknown", ""):
        return None
    if key in ("female", "f"):
        return "female"
    if key in ("male", "m"):
        return "male"
    raise InvalidPatient(f"'{key[:20]}' is not a sex this software knows. Give female, male or unknown.")


@dataclass(frozen=True)
class ManualEdits:
    """What a user did to the picture by hand. `io.apply_edits` does it right after reading, in the order below.

    Attributes:
        crop: (left, top, right, bottom) in pixels of the picture in the file, the last two just outside; None for all
            of it.
        quarter_turns: by how many times 90 degrees it is turned clockwise, 0 to 3.
        mirrored: left and right are exchanged, after turning.
        inverted: the greys are inverted (True) or kept (False), and the hand network does not decide about polarity;
            None leaves that to the network.

    Raises:
        InvalidEdits: a crop without area or beyond the upper or left edge, or no number of quarter turns.
    """

    crop: tuple[int, int, int, int] | None = None
    quarter_turns: int = 0
    mirrored: bool = False
    inverted: bool | None = None

    def __post_init__(self) -> None:
        if self.quarter_turns not in range(4):
            raise InvalidEdits(
                f"A picture cannot be turned by {90 * self.quarter_turns} degrees here. Give 90, 180 or 270."
            )
        if self.crop is not None:
            left, top, right, bottom = self.crop
            if not (0 <= left < right and 0 <= top < bottom):
                raise InvalidEdits(
                    f"A crop from column {left} to {right} and row {top} to {bottom} holds no picture. Give left and "
                    "top from 0 up, and right and bottom larger than these."
                )

    def __bool__(self) -> bool:
        return self != ManualEdits()

    def turned(self, quarter_turns: int = 1) -> ManualEdits:
        """With the picture as it is now turned clockwise so many times more."""
        more = -quarter_turns if self.mirrored else quarter_turns  # turning the mirror image: the mirrored other way
        return replace(self, quarter_turns=(self.quarter_turns + more) % 4)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {
            "crop": None if self.crop is None else list(self.crop),
            "rotated_degrees": 90 * self.quarter_turns,
            "mirrored": self.mirrored,
            "inverted": self.inverted,
        }


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One picture, bone bright.

    Attributes:
        pixels: float32 (H, W) in [0, 1].
        name: what to call it in messages; a file name without its folder.
        sex_in_file, age_in_file_months: offered by a DICOM header, never used unasked.
        polarity_stated: True if the file itself says what bright means (DICOM).
        cautions: what reading it had to change.
        edits: what was done to it by hand; `pixels` are after that.
        shape_in_file: (height, width) before that; None where nothing was done.
        polarity_by_hand: the user said that bone is bright, so no network decides about it.
    """

    pixels: FloatArray
    name: str = "radiograph"
    sex_in_file: Sex | None = None
    age_in_file_months: float | None = None
    polarity_stated: bool = False
    cautions: tuple[Caution, ...] = ()
    edits: ManualEdits = ManualEdits()
    shape_in_file: tuple[int, int] | None = None
    polarity_by_hand: bool = False

    def __post_init__(self) -> None:
        freeze(self.pixels)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class HandMask:
    """Where the hand is, on the radiograph's grid.

    Attributes:
        pixels: bool (H, W), True on the hand.
        presence: the network's probability that there is a hand, 0 to 1.
        tilt_degrees: how far the fingers point away from straight up, clockwise positive, (-180, 180].
        inverted: the picture's polarity is wrong (bone dark), so it must be inverted before use.
        cautions: what could not be done as meant on the way here.
        interval_factor: by how much the interval is widened for what the picture's edge cuts off, at least 1.
        landmarks: where its joints are, once they were placed (`hand.landmarks.place_landmarks`).
        landmarks_in_context: the same, placed with what lies around the mask: by these the mask is checked.
    """

    pixels: BoolArray
    presence: float
    tilt_degrees: float
    inverted: bool
    cautions: tuple[Caution, ...] = ()
    interval_factor: float = 1.0
    landmarks: Landmarks | None = None
    landmarks_in_context: Landmarks | None = None

    def __post_init__(self) -> None:
        freeze(self.pixels)


@dataclass(frozen=True)
class NetworkOutput:
    """The output of one network for one picture, before any correction.

    Attributes:
        months: its bone age.
        deviation_months: standard deviation of its softmax over the months; 0 for a regression network, which gives
            one number only.
    """

    months: float
    deviation_months: float


@dataclass(frozen=True)
class MeasuredError:
    """How far estimates were off where it was measured.

    Attributes:
        n: pictures.
        mae_months: their mean absolute error; None if there was no picture.

    Raises:
        ValueError: an error without pictures, pictures without an error, or one that is negative or not finite.
    """

    n: int
    mae_months: float | None = None

    def __post_init__(self) -> None:
        mean = self.mae_months or 0.0
        if self.n < 0 or (self.n == 0) != (self.mae_months is None) or not 0 <= mean < math.inf:
            raise ValueError("a measured error needs pictures, and pictures have an error of 0 or more")


@dataclass(frozen=True, eq=False)
class Prediction:
    """A bone age with its honest width.

    Attributes:
        bone_age_months: ensemble mean after bias correction.
        interval_months: 90 % conformal interval (low, high); over the mixture of both sexes where none was entered.
        members: name to months, each bias-corrected.
        sex_used: the sex the estimate was made for.

    Raises:
        ValueError: a number is not finite.
    """

    bone_age_months: float
    interval_months: tuple[float, float]
    members: Mapping[str, float]
    sex_used: Sex

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.bone_age_months, *self.interval_months, *self.members.values()))):
            raise ValueError("a prediction needs finite numbers")

    def widened(self, factor: float) -> Prediction:
        """The same months with an interval so many times as wide on either side; no child is younger than 0."""
        low, high = (self.bone_age_months + factor * (end - self.bone_age_months) for end in self.interval_months)
        return replace(self, interval_months=(max(0.0, low), high))


@dataclass(frozen=True, eq=False)
class Explanation:
    """A heatmap on the radiograph's grid.

    Attributes:
        heat: float32 (H, W) in [0, 1]; 0 is not drawn.
        inside_hand_share: share of the raw attribution that lies inside the hand mask, 0 to 1.
        method: how it was made.
    """

    heat: FloatArray
    inside_hand_share: float
    method: str

    def __post_init__(self) -> None:
        freeze(self.heat)


@dataclass(frozen=True, eq=False)
class SignedExplanation:
    """What speaks for an older and what for a younger hand, averaged over the networks.

    Attributes:
        months: float32 (H, W) on the radiograph's grid, positive for older, 0 where nothing is explained. Months
            per pixel, so that a region's sum is what it contributes; for gradients, months per unit of
            standardised grey and pixel.
        method: its name in `explain.METHODS`.
        inside_hand_share: share of the map's size, sign aside, that lies on the hand, 0 to 1; 1 where the networks'
            background is masked.
        by_member: network to its map, float32 (S, S) on its own input grid.
        member_agreement: mean correlation of the networks' smoothed maps, -1 to 1; None for a single network.
        completeness_error_months: by how much the worst network's months fail to add up; None for methods that
            promise no sum.
    """

    months: FloatArray
    method: str
    inside_hand_share: float
    by_member: Mapping[str, FloatArray]
    member_agreement: float | None
    completeness_error_months: float | None

    def __post_init__(self) -> None:
        freeze(self.months)


@dataclass(frozen=True)
class LocalCorrection:
    """What a clinic's own calibration did to an estimate (`estimation.local_calibration`).

    Attributes:
        calibration: the beginning of the file's sha256.
        uncorrected_months: the estimate without it.
        correction_months: what was added.
        interval_factor: by how much the interval was widened for it, at least 1.
        cases: local radiographs of this sex that it was fitted on.
        range_months: (youngest, oldest) estimate among them.
    """

    calibration: str
    uncorrected_months: float
    correction_months: float
    interval_factor: float
    cases: int
    range_months: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, months to 0.01."""
        return {
            "calibration": self.calibration,
            "uncorrected_months": round(self.uncorrected_months, 2),
            "correction_months": round(self.correction_months, 2),
            "interval_factor": round(self.interval_factor, 4),
            "cases": self.cases,
            "range_months": [round(end, 2) for end in self.range_months],
        }


@dataclass(frozen=True, eq=False)
class Report:
    """Everything one assessment found. `to_dict` is the JSON contract of the command line.

    Attributes:
        sex_check: what the sex networks say about the entered sex: "agrees" or "differs" where their probability is
            beyond the limits of the calibration, "inconclusive" between them, "not_checked" without an entry or for
            a hand too young to tell.
        local_calibration: what a clinic's own calibration did; None if there was none.
    """

    file: str
    recipe: str
    prediction: Prediction
    sex_entered: Sex | None
    sex_predicted: Sex
    sex_probability_male: float
    sex_check: SexCheck
    bone_age_if_female_months: float
    bone_age_if_male_months: float
    chronological_age_months: float | None
    cautions: tuple[Caution, ...]
    versions: Mapping[str, str]
    seconds: float
    radiograph: Radiograph
    hand: HandMask
    explanation: Explanation | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    local_calibration: LocalCorrection | None = None

    @property
    def sex_mismatch(self) -> bool:
        """The entered sex should be checked."""
        return self.sex_check == "differs"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; months to 0.01. Nothing about the patient but what was entered."""
        low, high = self.prediction.interval_months
        local = {} if self.local_calibration is None else {"local_calibration": self.local_calibration.to_dict()}
        edits = self.radiograph.edits
        edited = {"manual_edits": edits.to_dict()} if edits else {}
        return {
            "file": self.file,
            "status": "ok",
            "bone_age_months": round(self.prediction.bone_age_months, 2),
            "interval_months": [round(low, 2), round(high, 2)],
            "interval_factor": self.hand.interval_factor,
            "sex_entered": self.sex_entered or "unknown",
            "sex_used": self.prediction.sex_used,
            "sex_predicted": self.sex_predicted,
            "sex_probability_male": round(self.sex_probability_male, 4),
            "sex_mismatch": self.sex_mismatch,
            "sex_check": self.sex_check,
            "bone_age_if_female_months": round(self.bone_age_if_female_months, 2),
            "bone_age_if_male_months": round(self.bone_age_if_male_months, 2),
            "chronological_age_months": self.chronological_age_months,
            "cautions": [asdict(c) for c in self.cautions],
            "recipe": self.recipe,
            "members": {name: round(months, 2) for name, months in self.prediction.members.items()},
            "versions": dict(self.versions),
            **local,
            **edited,
            "seconds": round(self.seconds, 3),
            "disclaimer": DISCLAIMER,
        }


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Where the joints of a hand are, on the radiograph's grid.

    Attributes:
        points: each landmark that was placed to (row, column): all of `LANDMARKS`, or what a recipe needs.
        spread_px: how wide the network's heat lies around each point, as a standard deviation: its doubt.
    """

    points: Points
    spread_px: Mapping[str, float]

    @property
    def hand_length_px(self) -> float:
        """From the wrist to the tip of the middle finger."""
        (top, left), (bottom, right) = self.points["middle_finger4"], self.points["wrist"]
        return float(np.hypot(bottom - top, right - left))


def refusal(file: str, recipe: str, error: Exception) -> dict[str, Any]:
    """What stands in the place of a report when there is none.

    A `BoneAgeError` speaks for itself. Anything else is a fault of this software: its text may
    quote the file, so only its type is told.
    """
    if isinstance(error, BoneAgeError):
        kind, message = type(error).__name__, " ".join(str(error).split())
    else:
        kind = "InternalError"
        message = (
            f"This radiograph could not be assessed because of a fault in the software ({type(error).__name__}). "
            "Please report how it happened, without sending the radiograph."
        )
    return {"file": file, "status": "refused", "recipe": recipe, "error": {"type": kind, "message": message}}
