"""What the reader of a number must know, in the clinician's words.

Each function looks at one thing and returns the cautions it calls for. Nothing here changes a
number, and nothing is ever said about the child: only about the picture, the entry and the method.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .types import Caution, Explanation, HandMask, Prediction, Radiograph, Sex

TURNED_FROM_DEGREES = 45.0
LEAST_HAND_PX = 250  # a hand's length; the sharp training pictures have 400 to 1000, thumbnails under 100
CUT_SHARE = 0.02  # of the picture's longer side: so much of the hand lies on the edge when fingers are cut off
LEAST_INSIDE_SHARE = 0.5
CHILD: dict[Sex, str] = {"female": "girl", "male": "boy"}


def about_picture(radiograph: Radiograph, hand: HandMask) -> tuple[Caution, ...]:
    """Polarity, turning, cut-off fingers and resolution."""
    found = []
    if hand.inverted:
        found.append(Caution("polarity", "Bone is dark in this picture. Its greys were reversed before the estimate."))
    if abs(hand.tilt_degrees) > TURNED_FROM_DEGREES:
        turn = f"{abs(hand.tilt_degrees):.0f} degrees {'clockwise' if hand.tilt_degrees > 0 else 'anticlockwise'}"
        found.append(
            Caution("rotated", f"The fingers point {turn} of straight up; the hand was turned for the estimate.")
        )
    if fingers_cut_off(hand):
        found.append(
            Caution(
                "cut_off",
                "Fingers or thumb reach the edge of the picture; what lies beyond is missing from the estimate.",
            )
        )
    length = hand_length_px(hand)
    if length < LEAST_HAND_PX:
        found.append(
            Caution(
                "resolution",
                f"The hand is only {length} pixels long; growth plates are hard to see below {LEAST_HAND_PX}. "
                "Use the original file if you can.",
            )
        )
    return tuple(found)


def hand_length_px(hand: HandMask) -> int:
    """The longer side of the box around the hand."""
    rows, columns = np.flatnonzero(hand.pixels.any(axis=1)), np.flatnonzero(hand.pixels.any(axis=0))
    if rows.size == 0:
        return 0
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1


def fingers_cut_off(hand: HandMask) -> bool:
    """Whether the finger half of the hand lies on the picture's edge. The forearm may, and mostly does."""
    edge = np.zeros_like(hand.pixels)
    edge[[0, -1], :] = edge[:, [0, -1]] = True
    rows, columns = np.nonzero(hand.pixels & edge)
    least = CUT_SHARE * max(hand.pixels.shape)
    if len(rows) < least:
        return False
    middle_row, middle_column = (float(places.mean()) for places in np.nonzero(hand.pixels))
    tilt = np.deg2rad(hand.tilt_degrees)
    towards_fingers = (columns - middle_column) * np.sin(tilt) - (rows - middle_row) * np.cos(tilt)
    return bool((towards_fingers > 0).sum() >= least)


def about_sex(
    entered: Sex | None, probability_male: float, mismatch: bool, by_sex: Mapping[Sex, Prediction]
) -> tuple[Caution, ...]:
    """That the sex was predicted, with both estimates; or that the entry should be checked."""
    predicted: Sex = "male" if probability_male >= 0.5 else "female"
    sure = max(probability_male, 1.0 - probability_male)
    if entered is None:
        girl, boy = by_sex["female"].bone_age_months, by_sex["male"].bone_age_months
        return (
            Caution(
                "sex_unknown",
                f"No sex was entered. The estimate is for a {CHILD[predicted]}, as predicted from the picture "
                f"(probability {sure:.2f}). For a girl it is {girl:.0f} months, for a boy {boy:.0f}.",
            ),
        )
    if mismatch:
        return (
            Caution(
                "sex_mismatch",
                f"Check the entry: the sex was entered as {entered}, but pictures like this are mostly entered "
                f"as {predicted}. If the entry is right, keep it; the estimate uses it.",
            ),
        )
    return ()


def about_age(
    prediction: Prediction, chronological_age_months: float | None, trained_range_months: tuple[float, float]
) -> tuple[Caution, ...]:
    """That the child, by estimate or by age as entered, lies where the networks saw few or no examples."""
    low, high = trained_range_months
    ages = [prediction.bone_age_months]
    if chronological_age_months is not None:
        ages.append(chronological_age_months)
    if all(low <= months <= high for months in ages):
        return ()
    return (
        Caution(
            "age_range",
            f"Few {CHILD[prediction.sex_used]}s with a bone age under {low:.0f} or over {high:.0f} months were among "
            "the training pictures; there the estimate can be far off.",
        ),
    )


def about_explanation(explanation: Explanation) -> tuple[Caution, ...]:
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
