"""The skeleton: where the joints of one hand are, and the outline of every bone at an age (hand units).

`proportions.py` holds the numbers and says what a hand unit is; `radiograph.py` turns hand units into pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..hand_anatomy import HALF_WIDTHS, HEAD_CLEARANCE, JOINTS, METACARPAL_BASES, ROBUST
from ..types import Sex
from .ossification import DIGITS, Epiphysis, carpal_size, epiphysis_at, maturity, ossified_carpals
from .proportions import CARPAL_OUTLINES, FINGERS, RADIUS_CAP, RADIUS_SHAFT, ULNA_CAP, ULNA_SHAFT
from .shapes import FarEnd, Points, bridge, disc, dome, place, shaft, shrunk, smooth


@dataclass(frozen=True, eq=False)
class Bone:
    """One bone as drawn: what is united into one body, and how thick its shell is.

    Attributes:
        name, region: what it is and which of `REGIONS` it belongs to.
        outlines: closed polygons (N, 2), hand units; those that touch are one piece of bone.
        axis: (2, 2) start and end of the shaft, along which the cortex thickens towards the middle.
        half_depth: half its extent along the beam.
        cortex: (at the ends, at the middle of the shaft) thickness of the shell.
        scars: ((2, 2) line, strength) where a plate has closed.
    """

    name: str
    region: str
    outlines: tuple[Points, ...]
    axis: Points
    half_depth: float
    cortex: tuple[float, float]
    scars: tuple[tuple[Points, float], ...] = ()


def place_joints(random: np.random.Generator, bone_age_months: float) -> dict[str, Points]:
    """The 21 landmarks of one hand, jittered as hands differ: finger length, splay, angle of the thumb.

    Returns:
        "wrist", then "thumb1" ... "pinky_finger4" (from palm to tip): (x, y) in hand units.
    """
    joints = {"wrist": np.zeros(2)}
    splay = random.normal(0.0, 1.3)
    for digit, finger in FINGERS.items():
        points = np.array(JOINTS[digit])
        tilt = np.deg2rad(
            random.normal(0.0, 1.0) + splay * (digit - 3) + (random.normal(0.0, 3.0) if digit == 1 else 0)
        )
        reach = 1.0 + random.normal(0.0, 0.012)
        bend = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        points[1:] = points[0] + (points[1:] - points[0]) @ bend.T * reach
        points *= 1.0 - 0.015 * (1.0 - maturity(bone_age_months, "female")) * (digit in (1, 5))
        joints |= {f"{finger}{number}": point for number, point in enumerate(points, start=1)}
    return joints


def _breadth(bone_age_months: float, sex: Sex) -> tuple[float, float]:
    """Breadth of (bone ends, shafts) beside an early adolescent's: infants' shafts are plump, girls' bones finer."""
    grown = maturity(bone_age_months, sex)
    finer = 1.0 - (0.07 if sex == "female" else 0.0) * grown
    return float(np.interp(grown, (0, 0.2, 0.6, 1), (0.96, 0.97, 1.0, 0.96))) * finer, float(
        np.interp(grown, (0, 0.15, 0.6, 1), (1.18, 1.10, 1.0, 0.98))
    ) * finer


def _tube(name: str, region: str, ends: tuple[Points, Points], kind: str, digit: int, age: float, sex: Sex) -> Bone:
    """A metacarpal or phalanx, described from the joint that its growth plate faces."""
    origin, far = ends
    span = float(np.hypot(*(far - origin)))
    direction = (far - origin) / span
    grown, state = maturity(age, sex), epiphysis_at(name, age, sex)
    broad, plump = _breadth(age, sex)
    plate_half, waist_half, far_half = (
        half * ROBUST[digit] * factor for half, factor in zip(HALF_WIDTHS[kind], (broad, plump, broad), strict=True)
    )
    head = kind == "metacarpal" and digit > 1
    thickness = plate_half * (1.45 if head else 0.62) * (0.60 + 0.40 * min(1.0, grown / 0.5))
    top = (0.022 - 0.006 * grown) if head else -0.5 * plate_half + 0.009 * (1 - grown)
    gap = plate_half * (0.13 + 0.20 * (1 - grown) ** 1.5) * (1 - 0.15 * state.fusion)
    start = top + thickness + gap
    end = span + (0.006 - 0.020 * (1 - grown) ** 1.5 if head else -HEAD_CLEARANCE.get(kind, 0.0) - 0.016 * (1 - grown))
    if kind == "distal_phalanx":
        end = span + 0.004
    shape: FarEnd = "tuft" if kind == "distal_phalanx" else "flat" if head else "condyles"
    outlines = [shaft(start, end, plate_half, waist_half, far_half, shape)]
    scars: list[tuple[Points, float]] = []
    if state.width > 0:
        outlines += _growth_centre(state, top, thickness, plate_half, gap, head)
        line = start - gap / 2
        across = np.array([(line, -0.86 * plate_half), (line, 0.86 * plate_half)])
        scars.append((place(across, origin, direction), state.scar))
    placed = tuple(place(outline, origin, direction) for outline in outlines)
    axis = np.array([origin + direction * top, origin + direction * end])
    cortex = (0.0026, 0.0100 * ROBUST[digit] * (0.72 + 0.42 * grown) * (0.6 if kind == "distal_phalanx" else 1.0))
    return Bone(name, region, placed, axis, plate_half * 0.80, cortex, tuple(scars))


def _growth_centre(
    state: Epiphysis, top: float, thickness: float, plate_half: float, gap: float, head: bool
) -> list[Points]:
    """The epiphysis, and the bone that bridges its plate once fusion begins (from the centre outwards)."""
    half = plate_half * state.width * (1.0 + 0.05 * state.capping)
    height = thickness * (0.50 + 0.50 * state.width)
    base = top + (thickness - height) * 0.65
    pieces = [
        dome(base, height, half) if head else disc(base, height, half, state.capping * (1.0 - 0.9 * state.fusion))
    ]
    if state.fusion > 0:
        width = plate_half * 0.97 * min(1.0, 0.30 + 0.70 * state.fusion)
        pieces.append(bridge(base + 0.55 * height, top + thickness + gap * 1.6, width))
    return pieces


def _forearm_bone(name: str, age: float, sex: Sex) -> Bone:
    """Radius or ulna, running out of the bottom of the picture."""
    shaft_outline, cap_outline = (RADIUS_SHAFT, RADIUS_CAP) if name == "radius" else (ULNA_SHAFT, ULNA_CAP)
    grown, state = maturity(age, sex), epiphysis_at(name, age, sex)
    broad = _breadth(age, sex)[0] * (0.90 + 0.10 * min(1.0, grown / 0.5))
    body, cap = np.array(shaft_outline), np.array(cap_outline)
    middle = 0.033 if name == "radius" else -0.092
    for part in (body, cap):
        part[:, 0] = middle + (part[:, 0] - middle) * broad
    slack, ceiling = 0.016 * (1 - grown) ** 1.5 - 0.008 * grown, 0.0 if name == "radius" else -0.019
    body[:, 1] -= slack
    outlines, scars = [smooth(body)], []
    if state.width > 0:
        low = cap[:, 1] - (1 - state.width) * 0.004 - slack * (0.55 if slack > 0 else 1.0)
        low = np.where(low > ceiling, ceiling + (low - ceiling) * state.capping, low)  # styloids come late
        young = shrunk(smooth(np.column_stack([cap[:, 0], low])), 1.0, min(1.0, 1.6 * (1.0 - state.width)))
        centre = np.array([middle + (0.012 if name == "radius" else 0.0), float(low.mean())])
        spread = np.array([state.width, 0.55 + 0.45 * state.width])
        outlines.append(centre + (young - centre) * spread)
        left, right = (-0.046, 0.106) if name == "radius" else (-0.125, -0.059)
        levels = (-0.040, -0.064) if name == "radius" else (-0.044, -0.053)
        line = np.array(
            [(middle + (x - middle) * broad, y - slack) for x, y in zip((left, right), levels, strict=True)]
        )
        scars.append((line, state.scar))
        if state.fusion > 0:
            share = min(1.0, 0.25 + 0.75 * state.fusion)
            inner = line.mean(0) + (line - line.mean(0)) * share
            up, down = np.array([0.0, 0.020]), np.array([0.0, -0.022])
            outlines.append(np.array([inner[0] + up, inner[1] + up, inner[1] + down, inner[0] + down]))
    axis = np.array([(middle, 0.0), (middle, -0.75)])
    cortex = (0.0030, (0.0150 if name == "radius" else 0.0135) * (0.70 + 0.30 * grown))
    depth = 0.046 if name == "radius" else 0.030
    return Bone(name, "radius_ulna", tuple(outlines), axis, depth * broad, cortex, tuple(scars))


def _carpal(name: str, joints: Mapping[str, Points], age: float, sex: Sex) -> Bone:
    """A carpal, or the sesamoid beside the thumb's metacarpal head: a dot that grows into its shape."""
    size = carpal_size(name, age, sex)
    if name == "sesamoid":
        head, base = joints["thumb2"], joints["thumb1"]
        along = (head - base) / np.hypot(*(head - base))
        adult = smooth(head - along * 0.030 + np.array([-along[1], along[0]]) * 0.030 + 0.012 * _OVAL)
    else:
        adult = smooth(CARPAL_OUTLINES[name])
    outline = shrunk(adult, size * (1.04 + 0.11 * maturity(age, sex) ** 3), min(1.0, 1.5 * (1 - size)))
    extent = np.ptp(outline, axis=0)
    reach = np.array([0.0, extent[1]])
    axis = np.array([outline.mean(0) - reach, outline.mean(0) + reach])
    region = "metacarpals" if name == "sesamoid" else "carpals"
    return Bone(name, region, (outline,), axis, float(extent.min()) * 0.46, (0.0036, 0.0036))


_OVAL = np.array(
    [(0.0, 1.0), (0.6, 0.7), (0.75, 0.0), (0.6, -0.7), (0.0, -1.0), (-0.6, -0.7), (-0.75, 0.0), (-0.6, 0.7)]
)


def _tubes(joints: Mapping[str, Points]) -> dict[str, tuple[str, str, int, Points, Points]]:
    """All metacarpals and phalanges: name to (region, kind, digit, joint its plate faces, far joint)."""
    tubes: dict[str, tuple[str, str, int, Points, Points]] = {}
    for digit in DIGITS:
        at = [joints[f"{FINGERS[digit]}{number}"] for number in (1, 2, 3, 4)]
        if digit == 1:
            tubes["metacarpal1"] = ("metacarpals", "metacarpal", 1, at[0], at[1])
            chain = [("proximal", at[1], at[2]), ("distal", at[2], at[3])]
        else:
            base = np.array(METACARPAL_BASES[digit])
            tubes[f"metacarpal{digit}"] = ("metacarpals", "metacarpal", digit, at[0], base)
            chain = [("proximal", at[0], at[1]), ("middle", at[1], at[2]), ("distal", at[2], at[3])]
        for kind, near, far in chain:
            tubes[f"{kind}_phalanx{digit}"] = (f"{kind}_phalanges", f"{kind}_phalanx", digit, near, far)
    return tubes


def build_bones(joints: Mapping[str, Points], bone_age_months: float, sex: Sex) -> list[Bone]:
    """Every bone that can be seen at an age, around the given joints."""
    bones = [_forearm_bone(name, bone_age_months, sex) for name in ("radius", "ulna")]
    for name, (region, kind, digit, near, far) in _tubes(joints).items():
        bones.append(_tube(name, region, (near, far), kind, digit, bone_age_months, sex))
    return bones + [_carpal(name, joints, bone_age_months, sex) for name in ossified_carpals(bone_age_months, sex)]


def growth_centres(joints: Mapping[str, Points]) -> dict[str, Points]:
    """Where each of the 21 epiphyses is, or will be, (x, y) in hand units."""
    centres = {"radius": np.array([0.036, -0.026]), "ulna": np.array([-0.091, -0.032])}
    for name, (_, kind, digit, near, far) in _tubes(joints).items():
        head = kind == "metacarpal" and digit > 1
        centres[name] = near + (far - near) / np.hypot(*(far - near)) * (0.045 if head else 0.0)
    return centres
