"""Regions from landmarks, against the drawn hand that knows its own."""

import numpy as np
import pytest

from baa_core.hand.regions import hand_regions
from baa_core.hand_anatomy import LANDMARKS, REGION_TITLES, REGIONS
from baa_core.phantom import Phantom, draw_phantom
from baa_core.types import HandMask, Landmarks


def landmarks_of(phantom: Phantom, scale: float = 1.0) -> Landmarks:
    known = dict(phantom.landmarks) | {name: phantom.joints[name] for name in ("radius", "ulna")}
    points = {name: (scale * row, scale * column) for name, (row, column) in known.items()}
    return Landmarks(points, dict.fromkeys(LANDMARKS, 1.0))


def regions_of(phantom: Phantom) -> dict[str, np.ndarray]:
    return hand_regions(landmarks_of(phantom), HandMask(phantom.mask, 1.0, 0.0, inverted=False))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_regions_are_those_of_the_drawn_hand():
    assert tuple(REGION_TITLES) == REGIONS
    assert set(LANDMARKS) - {"radius", "ulna"} == set(draw_phantom(100, "female", height_px=300).landmarks)


@pytest.mark.parametrize(
    ("months", "sex", "mirrored"), [(24, "male", False), (100, "female", True), (186, "female", False)]
)
def test_regions_match_the_truth_at_every_age_and_side(months, sex, mirrored):
    phantom = draw_phantom(months, sex, seed=months, height_px=600, mirrored=mirrored)
    found = regions_of(phantom)
    shares = {name: overlap(found[name], phantom.regions[name]) for name in REGIONS}
    assert np.mean(list(shares.values())) >= 0.85
    assert min(shares.values()) >= 0.7
    # The middle of what was found lies near the middle of the truth: within 2 % of the hand's length.
    length = landmarks_of(phantom).hand_length_px
    for name in REGIONS:
        middle, truth = (np.argwhere(region).mean(axis=0) for region in (found[name], phantom.regions[name]))
        assert np.hypot(*(middle - truth)) < 0.02 * length


def test_regions_do_not_overlap_and_stay_on_the_hand():
    phantom = draw_phantom(120, "female", seed=2, height_px=500)
    found = np.array(list(regions_of(phantom).values()))
    assert found.sum(axis=0).max() == 1
    assert not (found.any(axis=0) & ~phantom.mask).any()
    assert 0.5 < found.any(axis=0).sum() / phantom.mask.sum() <= 1.0


def test_every_joint_lies_in_a_region_beside_it():
    phantom = draw_phantom(120, "male", seed=4, height_px=500)
    found = regions_of(phantom)

    def region_at(name):
        row, column = landmarks_of(phantom).points[name]
        return next(region for region, pixels in found.items() if pixels[round(row), round(column)])

    assert region_at("ring_finger1") in ("metacarpals", "proximal_phalanges")
    assert region_at("ring_finger2") in ("proximal_phalanges", "middle_phalanges")
    assert region_at("thumb3") in ("proximal_phalanges", "distal_phalanges")
    assert region_at("radius") == region_at("ulna") == "radius_ulna"


def test_regions_grow_with_the_picture():
    """The same hand in twice the pixels has the same regions."""
    phantom = draw_phantom(90, "male", seed=5, height_px=400)
    large = np.kron(phantom.mask, np.ones((2, 2), bool))
    found = regions_of(phantom)
    again = hand_regions(landmarks_of(phantom, scale=2.0), HandMask(large, 1.0, 0.0, inverted=False))
    for name in REGIONS:
        assert overlap(again[name][::2, ::2], found[name]) > 0.9


def test_a_region_that_the_mask_leaves_out_is_empty():
    phantom = draw_phantom(90, "male", seed=5, height_px=400)
    knuckles = round(landmarks_of(phantom).points["ring_finger1"][0])
    cut = phantom.mask.copy()
    cut[knuckles:] = False
    found = hand_regions(landmarks_of(phantom), HandMask(cut, 1.0, 0.0, inverted=False))
    assert not found["radius_ulna"].any() and not found["carpals"].any()
    assert found["distal_phalanges"].any()
