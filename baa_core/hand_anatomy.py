"""The one table of a hand's anatomy: fingers, landmarks, bones, joints, regions and average proportions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


FINGER_NAMES: Final = dict(
    zip(FINGERS, ("thumb", "index finger", "middle finger", "ring finger", "little finger"), strict=True)
)


# From palm to tip; radius and ulna are their growth plates.
LANDMARKS = ("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3, 4)), "radius", "ulna")


REGION_TITLES: Final[Mapping[str, str]] = {
    "carpals": "Carpal bones",
    "radius_ulna": "Radius and ulna",
    "metacarpals": "Metacarpals",
    "proximal_phalanges": "Proximal phalanges",
    "middle_phalanges": "Middle phalanges",
    "distal_phalanges": "Distal phalanges",
}


_AT: Final = {name: number for number, name in enumerate(LANDMARKS)}


WRIST, _MIDDLE_TIP = _AT["wrist"], _AT["middle_finger4"]


_CHAINS: Final = tuple(("wrist", *(f"{finger}{joint}" for joint in (1, 2, 3, 4))) for finger in FINGERS)


# The ends of every straightened strip, as places in `LANDMARKS`: five fingers of four, and two that go down the arm.
BONES: Final = tuple((_AT[a], _AT[b]) for chain in _CHAINS for a, b in pairwise(chain))


FOREARM: Final = (_AT["radius"], _AT["ulna"])


STRIPS: Final = len(BONES) + len(FOREARM)


REGIONS: Final = (
    "carpals",
    "radius_ulna",
    "metacarpals",
    "proximal_phalanges",
    "middle_phalanges",
    "distal_phalanges",
)


JOINTS: Final[dict[int, tuple[tuple[float, float], ...]]] = {  # from palm to tip, (x, y)
    1: ((0.186, 0.140), (0.311, 0.332), (0.385, 0.474), (0.449, 0.566)),
    2: ((0.148, 0.529), (0.178, 0.736), (0.194, 0.856), (0.202, 0.942)),
    3: ((0.019, 0.532), (0.016, 0.761), (0.009, 0.906), (0.000, 1.000)),
    4: ((-0.092, 0.484), (-0.132, 0.694), (-0.155, 0.833), (-0.167, 0.929)),
    5: ((-0.190, 0.422), (-0.266, 0.566), (-0.305, 0.656), (-0.334, 0.736)),
}


METACARPAL_BASES: Final = {2: (0.082, 0.183), 3: (0.024, 0.190), 4: (-0.034, 0.179), 5: (-0.077, 0.168)}


# Half widths of the middle finger's bones: at the growth plate, at the waist, at the other end.
HALF_WIDTHS: Final = {
    "metacarpal": (0.0335, 0.0190, 0.0310),
    "proximal_phalanx": (0.0375, 0.0230, 0.0285),
    "middle_phalanx": (0.0310, 0.0178, 0.0235),
    "distal_phalanx": (0.0240, 0.0118, 0.0165),
}


# How far a bone's head ends before the joint, whose other bone reaches across it.
HEAD_CLEARANCE: Final = {"metacarpal": 0.030, "proximal_phalanx": 0.0245, "middle_phalanx": 0.021}


ROBUST: Final = {1: 1.10, 2: 1.02, 3: 1.0, 4: 0.92, 5: 0.82}  # breadth of each ray beside the middle one
