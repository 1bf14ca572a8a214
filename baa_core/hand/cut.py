"""HandMask + Landmarks -> what the picture's edge cuts off: parts an estimate can stand the loss of, or a refusal.

A part that is named widens the interval by its factor in the calibration. `python -m train cuts` cuts whole
radiographs at known places and measures how far the estimate moves and how often the interval holds; all figures below
are its.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from ..errors import HandCutOff
from ..hand_anatomy import FINGERS
from ..types import CUT_PARTS, Caution, CutPart, HandMask, Landmarks
from .quality import finger_edge, measure_framing

# Spread of the landmark network's heat for the growth plates of radius and ulna, mean of both, in hand lengths (wrist
# to middle fingertip): it grows as the picture's edge nears them. Of 50 sharp `val` radiographs that end 0.10, 0.05,
# 0.03, 0.01 hand lengths below the plates, at -0.01, -0.03, -0.06 and -0.10 it refuses 4, 4, 6, 26, 74, 94, 100 and
# 100 % (by the reach of the mask alone 0, 24, 62, 84, 90, 98, 100 and 100 %); of those left the estimate moves by 2.8
# months on average, by 8.5 in 95 %, at -0.10 by 7.6 and 28.
CAUTION_PLATE_SPREAD_HANDS = 0.10
MOST_PLATE_SPREAD_HANDS = 0.30
# An infant's plates are spread widely in any picture, up to 0.35 in 23 whole radiographs of 30 months and less. With
# more of wrist and forearm below the palm's middle than this nothing is cut: pictures that end at the plates have 0.82
# at the most, at an oblique edge 1.04.
NEAR_WRIST_PALMS = 1.1
WRIST_TOUCHING_PALMS = 0.3  # a forearm that ends within the picture is not cut off

# How much of the picture's edge fingers or thumb take up. Where a quarter, half, three quarters, all of the middle
# finger's last bone or half of the next one too is cut off, 2, 6, 14, 24 and 66 % are refused (2, 38, 82, 98 and 98 %
# at 0.45, the threshold of the mask alone); of those left the estimate moves by 2.3 months on average, by 5.7 in 95 %.
# With the thumb cut anywhere it moves by 1.2 and 3.8.
LEAST_ON_EDGE_PALMS = 0.1
MOST_FINGERS_ON_EDGE_PALMS = 0.55

CODES: Final[Mapping[CutPart, str]] = {"wrist": "wrist_cut_off", "fingertips": "cut_off", "thumb": "cut_off"}
SAID: Final[Mapping[CutPart, str]] = {
    "wrist": "The picture ends close below the growth plates of radius and ulna.",
    "fingertips": "Fingers reach the edge of the picture; what lies beyond is missing from the estimate.",
    "thumb": "The thumb reaches the edge of the picture; what lies beyond is missing from the estimate.",
}


def find_cuts(hand: HandMask, landmarks: Landmarks, name: str) -> tuple[CutPart, ...]:
    """What the picture's edge cuts off of a hand that can still be assessed.

    Args:
        hand: on the radiograph's grid.
        landmarks: all of `types.LANDMARKS` on the same grid, with their spread.
        name: what to call the picture.

    Raises:
        HandCutOff: the growth plates of radius and ulna, or more than the last bones of the fingers, are cut off.
    """
    on_edge, spread = fingers_on_edge_palms(hand, landmarks), plate_spread_hands(landmarks)
    if on_edge["fingertips"] > MOST_FINGERS_ON_EDGE_PALMS:
        raise HandCutOff(
            f"The fingers in {name} are cut off: {on_edge['fingertips']:.1f} palm widths of them lie on the picture's "
            "edge. All fingers and the wrist are needed: use the whole radiograph, or take a new one if it ends there."
        )
    framing = measure_framing(hand)
    wrist = framing.wrist_on_edge_palms > WRIST_TOUCHING_PALMS and framing.wrist_reach_palms < NEAR_WRIST_PALMS
    if wrist and spread > MOST_PLATE_SPREAD_HANDS:
        raise HandCutOff(
            f"The wrist in {name} is cut off: "
            "the growth plates of radius and ulna lie on the edge of the picture or beyond. "
            "They are needed: use the whole radiograph, or take a new one."
        )
    cut: Mapping[CutPart, bool] = {
        "wrist": wrist and spread > CAUTION_PLATE_SPREAD_HANDS,
        "fingertips": on_edge["fingertips"] > LEAST_ON_EDGE_PALMS,
        "thumb": on_edge["thumb"] > LEAST_ON_EDGE_PALMS,
    }
    return tuple(part for part in CUT_PARTS if cut[part])


def plate_spread_hands(landmarks: Landmarks) -> float:
    """How widely the heat for the growth plates of radius and ulna is spread, mean of both, in hand lengths."""
    spread = landmarks.spread_px
    return (spread["radius"] + spread["ulna"]) / 2.0 / max(landmarks.hand_length_px, 1e-6)


def fingers_on_edge_palms(hand: HandMask, landmarks: Landmarks) -> dict[Literal["fingertips", "thumb"], float]:
    """How much of the picture's edge the fingers and the thumb take up, each place given to the nearest joint."""
    places, palms = finger_edge(hand)
    joints = [(finger == "thumb", landmarks.points[f"{finger}{joint}"]) for finger in FINGERS for joint in (2, 3, 4)]
    away = np.linalg.norm(places[:, None] - np.array([place for _, place in joints])[None], axis=2)
    thumb = np.array([is_thumb for is_thumb, _ in joints])[away.argmin(axis=1)]
    return {"fingertips": float((~thumb).sum()) * palms, "thumb": float(thumb.sum()) * palms}


def cautions_of(parts: tuple[CutPart, ...], factors: Mapping[CutPart, float]) -> tuple[Caution, ...]:
    """What is said beside the number for each part, with its factor where it widens the interval."""
    return tuple(Caution(CODES[part], SAID[part] + _widened(factors[part])) for part in parts)


def _widened(factor: float) -> str:
    wider = round(100 * (factor - 1.0))
    return f" The interval is widened by {wider} % for it." if wider else ""
