"""Where the annotations put the landmarks of a hand.

Keypoints are taken as they are. A joint box is centred on what it shows, up to a tenth of the hand's length from
the joint: on hands that carry both kinds each landmark is found at a fixed place beside two box centres, and where
that place is right within `LARGEST_ERROR_SHARE` it stands in for the landmark on hands that carry boxes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from baa_core.hand_anatomy import FINGERS, LANDMARKS

from ..data.samples import MEAN_ASPECT

# A hand's points, each as column + row * 1j in heights of the frame.
Points = dict[str, complex]

# No annotation names the capitate; on 6 sharp radiographs looked at its middle lies here between wrist and knuckle.
CAPITATE_FROM_WRIST = 0.22  # of the way to the knuckle of the middle finger
CAPITATE_SHARE = 0.117  # of the hand's length from the wrist, since the knuckle lies at 0.530 (median of 1,291 hands)
HAND_ENDS = ("wrist", "middle_finger4")  # the hand's length lies between them
KEYPOINTS = tuple(name for name in LANDMARKS if name not in ("radius", "ulna"))
# What a whole hand carries, by who drew the boxes; hands with other counts are left out.
WHOLE = {
    "handbone_detect": {
        "Radius": 1, "Ulna": 1, "MCPFirst": 1, "MCP": 4, "ProximalPhalanx": 5, "MiddlePhalanx": 4, "DistalPhalanx": 5,
    },
    "koitka2018": {"Radius": 1, "Ulna": 1, "Wrist": 1, "MCP": 5, "PIP": 5, "DIP": 4},
}  # fmt: skip
# Koitka's boxes of radius and ulna are centred on the growth plate; those of handbone_detect lie 5 % of the hand's
# length further down the forearm (62 hands with both).
EXACT = {"koitka2018": {"Radius": "radius", "Ulna": "ulna"}}
LARGEST_ERROR_SHARE = 0.02  # of the hand's length, median
CONTRADICTION_SHARE = 0.1  # 4 of 307 hands have boxes that are off by 0.14 and more; all others are within 0.065
LARGEST_BEND_DEGREES = 50.0  # of a finger from one box to the next; misread hands have more


@dataclass(frozen=True)
class Boxes:
    """The box centres of one hand, named by class and finger (`MCP ring_finger`), and its side."""

    points: Points
    mirrored: bool


@dataclass(frozen=True)
class Place:
    """Where a landmark lies beside two boxes: `first + (second - first) * turn`, thumb on the right.

    `error_share` is the median distance to the annotated landmarks, in hand lengths.
    """

    first: str
    second: str
    turn: complex
    error_share: float

    def of(self, hand: Boxes) -> complex:
        """The landmark of a hand with these boxes."""
        turn = self.turn.conjugate() if hand.mirrored else self.turn
        return hand.points[self.first] + (hand.points[self.second] - hand.points[self.first]) * turn


def name_boxes(labels: Sequence[str], centres: Sequence[complex], source: str) -> Boxes | None:
    """Tell boxes of one class apart by the order of the fingers around the wrist.

    Args:
        labels: the class of each box of one hand.
        centres: of the same boxes.
        source: a key of `WHOLE`.

    Returns:
        None where boxes are missing or too many, or where the fingers they would make are bent.
    """
    if Counter(labels) != WHOLE[source]:
        return None
    places = np.array(centres)
    by_label = {label: places[np.array(labels) == label] for label in WHOLE[source]}
    radius, ulna = by_label["Radius"][0], by_label["Ulna"][0]
    wrist = (radius + ulna) / 2
    up = by_label["MCP"].mean() - wrist
    side = 1.0 if np.angle((radius - wrist) / up) > 0 else -1.0  # the radius is on the thumb's side
    named: Points = {}
    for label, found in by_label.items():
        fan = found[np.argsort(-side * np.angle((found - wrist) / up))]
        endings = {1: ("",), 4: FINGERS[1:], 5: FINGERS}[len(fan)]
        named |= {f"{label} {ending}".strip(): complex(place) for ending, place in zip(endings, fan, strict=True)}
    return Boxes(named, mirrored=side < 0) if _straight(named, complex(wrist)) else None


def _straight(named: Points, wrist: complex) -> bool:
    """Does every finger go on about as it came, from the wrist to its tip?"""
    for finger in FINGERS:
        chain = [wrist, *sorted((p for n, p in named.items() if n.endswith(finger)), key=lambda p: abs(p - wrist))]
        steps = np.diff(np.array(chain))
        bends = np.abs(np.angle(steps[1:] * steps[:-1].conjugate()))
        if np.rad2deg(bends.max(initial=0.0)) > LARGEST_BEND_DEGREES:
            return False
    return True


def fit_places(boxes: Mapping[int, Boxes], known: Mapping[int, Points], landmarks: Iterable[str]) -> dict[str, Place]:
    """The best place of each landmark, from the hands that have both boxes and landmarks."""
    found: dict[str, Place] = {}
    for landmark in landmarks:
        ids = [i for i in boxes if {landmark, *HAND_ENDS} <= set(known.get(i, ()))]
        if not ids:
            continue
        hands = [boxes[i] for i in ids]
        length = np.array([_length(known[i]) for i in ids])
        target = _one_sided([known[i][landmark] for i in ids], hands) / length
        centres = {name: _one_sided([hand.points[name] for hand in hands], hands) / length for name in hands[0].points}
        places = [_place(first, second, centres, target) for first, second in combinations(centres, 2)]
        found[landmark] = min(places, key=lambda place: place.error_share)
    return found


def _length(points: Points) -> float:
    return abs(points[HAND_ENDS[1]] - points[HAND_ENDS[0]])


def _one_sided(points: list[complex], hands: list[Boxes]) -> np.ndarray:
    return np.array([p.conjugate() if hand.mirrored else p for p, hand in zip(points, hands, strict=True)])


def _place(first: str, second: str, centres: Mapping[str, np.ndarray], target: np.ndarray) -> Place:
    """The turn that fits best: the median over all hands, whatever a few misread ones say."""
    along, wanted = centres[second] - centres[first], target - centres[first]
    turns = wanted * along.conjugate() / np.maximum(np.abs(along) ** 2, 1e-12)
    turn = complex(np.median(turns.real), np.median(turns.imag))
    return Place(first, second, turn, float(np.median(np.abs(wanted - turn * along))))


def read_landmarks(annotations: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Every landmark that the annotations give: keypoints, what joint boxes say on other hands, and the capitate.

    Args:
        annotations: a folder with `hand_keypoints.csv` and `joint_boxes.csv`.
        labels: indexed by `rsna_id`; `original_width` and `original_height` give the frame's true aspect.

    Returns:
        columns rsna_id, landmark, x, y (fractions of the frame) and exact: False where it stands for a box.
    """
    shape = labels.reindex(columns=["original_width", "original_height"])
    aspect = (shape.original_width / shape.original_height).fillna(MEAN_ASPECT).astype(float)
    known = _keypoints(annotations, aspect)
    exact = {(i, name) for i, points in known.items() for name in points}
    boxes = {source: _boxes(annotations, source, aspect) for source in WHOLE}
    for source, landmark_of in EXACT.items():
        for i, hand in boxes[source].items():
            known.setdefault(i, {}).update({name: hand.points[box] for box, name in landmark_of.items()})
            exact |= {(i, name) for name in landmark_of.values()}
    # No hand has both keypoints and Koitka's boxes: those with both kinds of boxes lie between.
    for source, landmarks in (
        ("handbone_detect", KEYPOINTS), ("koitka2018", KEYPOINTS), ("handbone_detect", ("radius", "ulna"))
    ):  # fmt: skip
        boxes[source] = _derive(boxes[source], known, landmarks)
    for points in known.values():
        add_capitate(points)
    rows = [
        (i, name, place.real / aspect[i], place.imag, (i, name) in exact)
        for i, points in known.items()
        for name, place in points.items()
    ]
    return pd.DataFrame(rows, columns=["rsna_id", "landmark", "x", "y", "exact"])


def add_capitate(points: Points) -> None:
    """Add the middle of the capitate where wrist and knuckle are known."""
    if {"wrist", "middle_finger1"} <= set(points):
        points["capitate"] = points["wrist"] + CAPITATE_FROM_WRIST * (points["middle_finger1"] - points["wrist"])


def _derive(boxes: Mapping[int, Boxes], known: dict[int, Points], landmarks: Iterable[str]) -> dict[int, Boxes]:
    """Add to `known` what boxes say of these landmarks.

    Returns:
        the hands that were used: not those whose boxes contradict what is known of them.
    """
    places = fit_places(boxes, known, landmarks)
    places = {name: place for name, place in places.items() if place.error_share <= LARGEST_ERROR_SHARE}
    used = {}
    for i, hand in boxes.items():
        derived, here = {name: place.of(hand) for name, place in places.items()}, known.get(i, {})
        if set(HAND_ENDS) <= set(here):
            apart = max((abs(derived[name] - here[name]) for name in derived.keys() & here.keys()), default=0.0)
            if apart > CONTRADICTION_SHARE * _length(here):
                continue
        known[i], used[i] = derived | here, hand
    return used


def _keypoints(annotations: Path, aspect: pd.Series) -> dict[int, Points]:
    known: dict[int, Points] = {}
    for row in pd.read_csv(annotations / "hand_keypoints.csv").itertuples():
        if row.rsna_id in aspect.index:
            place = complex(row.x * aspect[row.rsna_id], row.y)
            known.setdefault(int(row.rsna_id), {})[str(row.keypoint)] = place
    return known


def _boxes(annotations: Path, source: str, aspect: pd.Series) -> dict[int, Boxes]:
    """The named boxes of every hand of a source; where several readers drew them, the expert's."""
    table = pd.read_csv(annotations / "joint_boxes.csv")
    table = table[(table.source == source) & (table.rater != "nonexpert") & table.rsna_id.isin(aspect.index)]
    columns = (table.x_min + table.x_max) / 2 * table.rsna_id.map(aspect)
    table = table.assign(place=columns + 1j * (table.y_min + table.y_max) / 2)
    hands = {int(i): name_boxes(list(rows.label), list(rows.place), source) for i, rows in table.groupby("rsna_id")}
    return {i: hand for i, hand in hands.items() if hand is not None}
