"""What the reader of a number must know, in the clinician's words.

Each function looks at one thing and returns the cautions it calls for. Nothing here changes a
number, and nothing is ever said about the child: only about the picture, the entry and the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..hand.quality import measure_framing
from ..preprocessing.prepare import ModelInput
from ..recipes.schema import Member
from ..types import (
    Caution,
    End,
    Explanation,
    HandMask,
    MeasuredError,
    Prediction,
    Radiograph,
    Sex,
    SexCheck,
    SignedExplanation,
)
from .wording import edits_words, percent

TURNED_FROM_DEGREES = 30.0  # of 99 sharp `val` radiographs three lie so obliquely
LEAST_HAND_PX = 250  # a hand's length; the sharp training pictures have 400 to 1000, thumbnails under 100
CUT_SHARE = 0.02  # of the picture's longer side; far more is refused by `quality`
LEAST_INSIDE_SHARE = 0.5
LEAST_SEEN_SHARE = 0.5  # of the hand's area, forearm included; crops to joints or carpals leave the forearm out
LEAST_MEASURED = 3  # pictures whose mean error is worth saying
# Standard deviation of bone age by chronological age, both in months: Brush Foundation study, in Greulich WW, Pyle SI,
# Radiographic Atlas of Skeletal Development of the Hand and Wrist, 2nd ed., 1959.
BONE_AGE_SD_MONTHS: dict[Sex, tuple[tuple[float, float], ...]] = {
    "female": (
        (3, 0.72), (6, 1.16), (9, 1.36), (12, 1.77), (18, 3.49), (24, 4.64), (30, 5.37), (36, 5.97), (42, 7.48),
        (48, 8.98), (54, 10.73), (60, 11.65), (72, 10.23), (84, 9.64), (96, 10.23), (108, 10.74), (120, 11.73),
        (132, 11.94), (144, 10.24), (156, 10.67), (168, 11.30), (180, 9.23), (192, 7.31),
    ),
    "male": (
        (3, 0.69), (6, 1.13), (9, 1.43), (12, 1.97), (18, 3.52), (24, 3.92), (30, 4.52), (36, 5.08), (42, 5.40),
        (48, 6.66), (54, 8.36), (60, 8.79), (72, 9.17), (84, 8.91), (96, 9.10), (108, 9.00), (120, 9.79),
        (132, 10.09), (144, 10.38), (156, 10.44), (168, 10.72), (180, 11.32), (192, 12.86), (204, 13.05),
    ),
}  # fmt: skip
ENTRY_SD = 3.0  # beyond the interval by more than so many: of 1000 healthy children one or two, were the estimate exact
MATURE_MONTHS: dict[Sex, float] = {
    "female": 216.0,
    "male": 228.0,
}  # the last plates of the atlas; older hands look alike
CHILD: dict[Sex, str] = {"female": "girl", "male": "boy"}


def about_picture(radiograph: Radiograph, hand: HandMask) -> tuple[Caution, ...]:
    """What was changed by hand, polarity, turning, cut-off fingers and resolution."""
    found = []
    if radiograph.edits:
        found.append(
            Caution("edited_by_hand", f"Changed by hand before the estimate: {edits_words(radiograph.edits)}.")
        )
    if hand.inverted and radiograph.polarity_stated:
        found.append(
            Caution(
                "polarity_contradicted",
                "Bone is dark in this picture, against what the file says of its greys. They were reversed before the "
                "estimate.",
            )
        )
    elif hand.inverted:
        found.append(Caution("polarity", "Bone is dark in this picture. Its greys were reversed before the estimate."))
    if abs(hand.tilt_degrees) > TURNED_FROM_DEGREES:
        turn = f"{abs(hand.tilt_degrees):.0f} degrees {'clockwise' if hand.tilt_degrees > 0 else 'anticlockwise'}"
        found.append(
            Caution("rotated", f"The fingers point {turn} of straight up; the hand was turned for the estimate.")
        )
    framing = measure_framing(hand)
    cut_by_joints = any(caution.code == "cut_off" for caution in hand.cautions)  # by the joints, which tell what is cut
    if framing.fingers_on_edge_share >= CUT_SHARE and not cut_by_joints:
        found.append(
            Caution(
                "cut_off",
                "Fingers or thumb reach the edge of the picture; what lies beyond is missing from the estimate.",
            )
        )
    if framing.length_px < LEAST_HAND_PX:
        found.append(
            Caution(
                "resolution",
                f"The hand is only {framing.length_px} pixels long; growth plates are hard to see below "
                f"{LEAST_HAND_PX}. Use the original file if you can.",
            )
        )
    return tuple(found)


def about_left_out(members: Sequence[Member], hand: HandMask) -> tuple[Caution, ...]:
    """That networks were left out because the hand is too short for what they read.

    Args:
        members: the age networks that did not answer.
        hand: with its landmarks.
    """
    if not members:
        return ()
    length_px = 0.0 if hand.landmarks is None else hand.landmarks.hand_length_px
    least_px = max(member.least_hand_px for member in members)
    return (
        Caution(
            "network_left_out",
            f"The hand is {length_px:.0f} pixels long from the wrist to the tip of the middle finger. The network that "
            f"reads the joints needs {least_px:.0f} pixels and was left out. The interval is the wider one that was "
            "measured on pictures of low resolution.",
        ),
    )


def about_view(inputs: Iterable[ModelInput], hand: HandMask) -> tuple[Caution, ...]:
    """That the preparation cut much of the hand away, as landmarks gone wrong do.

    Args:
        inputs: what the age networks see; some of them may be meant to see a part only.
        hand: as it was found.
    """
    area = max(1, int(np.count_nonzero(hand.pixels)))
    scales = [(seen, abs(float(np.linalg.det(seen.to_radiograph[:, :2])))) for seen in inputs]
    share = max((int(np.count_nonzero(seen.mask)) * scale / area for seen, scale in scales), default=1.0)
    if share >= LEAST_SEEN_SHARE:
        return ()
    return (
        Caution(
            "hand_partly_seen",
            f"This system's preparation cut most of the hand away: its network saw {100 * share:.0f} % of it. "
            "Look at what it saw before you trust the number.",
        ),
    )


def about_sex(
    entered: Sex | None,
    probability_male: float,
    check: SexCheck,
    by_sex: Mapping[Sex, Prediction],
    youngest_months: float,
) -> tuple[Caution, ...]:
    """That the sex was predicted, with both estimates; that the entry should be checked, or could not be.

    Args:
        entered: as entered, or None.
        probability_male: of the sex networks.
        check: what the sex networks say about the entry.
        by_sex: the estimates.
        youngest_months: bone age from which a hand tells the sex well enough for a check.
    """
    predicted: Sex = "male" if probability_male >= 0.5 else "female"
    sure = max(probability_male, 1.0 - probability_male)
    if entered is None:
        girl, boy = by_sex["female"].bone_age_months, by_sex["male"].bone_age_months
        young = by_sex[predicted].bone_age_months < youngest_months
        return (
            Caution(
                "sex_unknown",
                f"No sex was entered. The estimate is for a {CHILD[predicted]}, as predicted from the radiograph "
                f"(probability {percent(sure)}). For a girl it is {girl:.0f} months, for a boy {boy:.0f}; the "
                "interval covers both, each by its probability."
                + (f" Below {youngest_months / 12:.0f} years a hand hardly tells the sex." if young else ""),
            ),
        )
    if check == "not_checked":
        return (
            Caution(
                "sex_unchecked",
                f"The entered sex was not checked: below {youngest_months / 12:.0f} years a hand hardly tells it.",
            ),
        )
    if check == "differs":
        return (
            Caution(
                "sex_mismatch",
                f"Check the entry: the sex was entered as {entered}, but pictures like this are mostly entered "
                f"as {predicted}. If the entry is right, keep it; the estimate uses it.",
            ),
        )
    return ()


def about_sex_in_file(entered: Sex | None, in_file: Sex | None) -> tuple[Caution, ...]:
    """That the entry and the file's header name different sexes.

    Args:
        entered: as entered, or None.
        in_file: PatientSex of a DICOM header, or None.
    """
    if entered is None or in_file is None or entered == in_file:
        return ()
    return (
        Caution(
            "sex_contradicts_file",
            f"Check the entry: the sex was entered as {entered}, but the file says {in_file}. The estimate uses the "
            "entry.",
        ),
    )


def about_age(
    prediction: Prediction,
    chronological_age_months: float | None,
    trained_range_months: tuple[float, float],
    measured: Mapping[End, MeasuredError],
) -> tuple[Caution, ...]:
    """Whether the entered age is far from the estimate, and whether the networks saw few children of that age.

    An entry is far from the estimate if it lies more than `ENTRY_SD` standard deviations of bone age at that age beyond
    the interval. Then only the estimate counts for the second question, which comes with the error measured there.

    Args:
        prediction: of the sex used.
        chronological_age_months: as entered.
        trained_range_months: (youngest, oldest) of that sex.
        measured: the error of that sex beyond either end.
    """
    low, high = trained_range_months
    ages = [prediction.bone_age_months]
    far = () if chronological_age_months is None else _about_entered_age(prediction, chronological_age_months)
    if chronological_age_months is not None and not far:
        ages.append(chronological_age_months)
    beyond: dict[End, str] = {}
    if min(ages) < low:
        beyond["young"] = f"under {low:.0f}"
    if max(ages) > high:
        beyond["old"] = f"over {high:.0f}"
    child = CHILD[prediction.sex_used]
    return far + tuple(
        Caution(
            "age_range",
            f"Few {child}s with a bone age {where} months were among the training pictures; "
            f"{_error_there(measured[end])}.",
        )
        for end, where in beyond.items()
    )


def _about_entered_age(prediction: Prediction, age_months: float) -> tuple[Caution, ...]:
    """That the entered age is too far from the estimate to be left unchecked."""
    sex, (low, high) = prediction.sex_used, prediction.interval_months
    known_ages, deviations = zip(*BONE_AGE_SD_MONTHS[sex], strict=True)
    deviation = float(np.interp(age_months, known_ages, deviations))
    age = min(age_months, MATURE_MONTHS[sex])
    beyond = max(low - age, age - high)
    if beyond <= ENTRY_SD * deviation:
        return ()
    return (
        Caution(
            "age_entry",
            f"Check the entry: the chronological age was entered as {age_months:.4g} months "
            f"({age_months / 12:.1f} years), {beyond:.0f} months beyond the interval of the estimate. Normal variation "
            f"of bone age at that age is {deviation:.1f} months (one standard deviation). If the entry is right, keep "
            "it; the estimate does not use it.",
        ),
    )


def _error_there(measured: MeasuredError) -> str:
    """What the error was on held-out pictures of such children, or that nobody knows."""
    if measured.mae_months is None or measured.n < LEAST_MEASURED:
        return "too few others were there to measure the error, and the estimate can be far off"
    return (
        f"there the error was {measured.mae_months:.1f} months on average ({measured.n} pictures that had no part in "
        "the training)"
    )


def about_explanation(explanation: Explanation | SignedExplanation) -> tuple[Caution, ...]:
    """That the heatmap lies largely beside the hand."""
    share = explanation.inside_hand_share
    if share >= LEAST_INSIDE_SHARE:
        return ()
    return (
        Caution(
            "heatmap_outside",
            f"Only {share:.0%} of what moves the estimate lies on the hand. Look at the mask before using the number.",
        ),
    )
