"""Regions: shares and months, on toy networks solved by hand; and the textbook's stages."""

from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from baa_core.errors import NotFinite
from baa_core.explanation.atlas import textbook_stage
from baa_core.explanation.attribution import blurred_hand
from baa_core.explanation.region_effects import (
    ELSEWHERE,
    OUTSIDE,
    PATCHES,
    RegionEffect,
    _elsewhere,
    attribution_shares,
    beside_chance,
    chance_level,
    draw_patches,
    like_sized,
    months_by_region,
    outside_share,
    regions_on_input,
    softened,
    t_quantile,
    without,
)
from baa_core.hand_anatomy import REGIONS
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import ModelInput, prepare
from baa_core.types import SEXES, HandMask
from tests.conftest import ellipse, masked

SIDE = 96
READ, IGNORED = (slice(20, 36), slice(30, 46)), (slice(60, 76), slice(50, 66))


def region(place: tuple[slice, slice], shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[place] = True
    return found


REGIONS_HERE = {"read": region(READ), "ignored": region(IGNORED)}


def prepared(side_px: int = SIDE) -> ModelInput:
    """A textured disc on black that fills a radiograph of 96 px, at any size of input."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - 48) ** 2 + (columns - 48) ** 2 < 44**2
    texture = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    pixels = np.where(mask, cv2.GaussianBlur(texture, (0, 0), 2) * 4, -1.0).astype(np.float32)
    scale = SIDE / side_px
    there = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    small = cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    small_mask = cv2.resize(mask.astype(np.uint8), (side_px, side_px), interpolation=cv2.INTER_NEAREST) > 0
    return ModelInput(small[None, None], small_mask, there if scale != 1 else IDENTITY, (SIDE, SIDE), True)


def sharpness(image: Tensor, place: tuple[slice, slice]) -> Tensor:
    return image[:, 0, *place].square().mean(dim=(1, 2))


def reads_one(image: Tensor) -> Tensor:
    return 100 + 10 * sharpness(image, READ)


def test_a_region_contributes_what_the_network_reads_there() -> None:
    """By hand: of a linear network its weights times what filling in takes; positive months make the hand older."""
    picture = prepared()
    weights = np.zeros((SIDE, SIDE), np.float32)
    weights[24:32, 34:42] = 1.0  # well within the soft edge
    shown = float((weights * (picture.image[0, 0] - blurred_hand(picture, REGIONS_HERE["read"]))).sum())
    found = months_by_region(
        {"a": lambda image: (image[:, 0] * Tensor(weights)).sum(dim=(1, 2))}, {"a": picture}, REGIONS_HERE
    )
    assert found["read"].contribution_months == pytest.approx(shown, abs=1e-2)
    assert found["ignored"].contribution_months == pytest.approx(0.0, abs=1e-5)


def test_what_fills_a_region_knows_nothing_of_it() -> None:
    """However bright a region is, what takes its place is the same; blurred, it would shine through."""
    picture, region = prepared(), REGIONS_HERE["read"]
    pixels = picture.image.copy()
    pixels[0, 0][region] += 5.0
    brighter = ModelInput(pixels, picture.mask, picture.to_radiograph, (SIDE, SIDE), True)
    inside = cv2.erode(region.astype(np.uint8), np.ones((5, 5))) > 0
    filled, again = (blurred_hand(one, region)[inside] for one in (picture, brighter))
    assert np.abs(again - filled).max() < 0.05
    assert (blurred_hand(brighter)[inside] - blurred_hand(picture)[inside]).min() > 0.5
    assert without(brighter, region)[inside] == pytest.approx(again, abs=0.5)


def test_only_the_region_that_matters_stands_out() -> None:
    asked = []

    def forward(image: Tensor) -> Tensor:
        asked.extend(image)
        return reads_one(image)

    found = months_by_region({"a": forward}, {"a": prepared()}, REGIONS_HERE)
    assert found["read"].contribution_months > 1  # more detail reads as older
    assert found["read"].stands_out
    assert not found["ignored"].stands_out
    assert found["read"].chance_low_months <= found["read"].chance_high_months
    assert len(asked) == 1 + 2 + PATCHES  # both regions are of one size


def test_the_range_of_chance_is_students_for_one_more_patch() -> None:
    picture, area = prepared(), int(REGIONS_HERE["read"].sum())
    weights = np.random.default_rng(3).normal(size=(SIDE, SIDE)).astype(np.float32)

    def forward(image: Tensor) -> Tensor:
        return (image[:, 0] * Tensor(weights)).sum(dim=(1, 2))

    one_region = {"read": REGIONS_HERE["read"]}
    found = months_by_region({"a": forward}, {"a": picture}, one_region)["read"]
    moved, counted = [], []
    for patch in draw_patches(picture.mask, area):
        if (patch & REGIONS_HERE["read"]).sum() <= area / 2:
            soft = cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 0.01 * SIDE)
            counted.append(patch)
            moved.append(float((weights * soft * (picture.image[0, 0] - blurred_hand(picture, patch))).sum()))
    count = len(moved)
    middle = np.mean(moved)
    level = chance_level(one_region, {"read": counted})
    spread = stats.t.isf(level / 2, count - 1) * np.std(moved, ddof=1) * np.sqrt(1 + 1 / count)
    assert middle - spread < 0 < middle + spread
    assert (found.chance_low_months, found.chance_high_months) == pytest.approx(
        (middle - spread, middle + spread), abs=0.05
    )


def test_a_region_that_does_nothing_never_stands_out() -> None:
    """A network loses months with every change outside one region: nothing happens there, which is rare."""
    picture = prepared()
    sharp = picture.image[0, 0]
    counted = cv2.dilate(REGIONS_HERE["read"].astype(np.uint8), np.ones((9, 9))) == 0
    months = np.where(counted & picture.mask, 10.0, 0.0)

    def forward(image: Tensor) -> Tensor:
        return -((image[:, 0].double() - torch.tensor(sharp)).abs() * torch.tensor(months)).sum(dim=(1, 2))

    found = months_by_region({"a": forward}, {"a": picture}, REGIONS_HERE)["read"]
    assert found.contribution_months == pytest.approx(0.0, abs=0.5)
    assert found.chance_high_months > 100
    assert found.chance_low_months <= 0.0
    assert not found.stands_out


def test_members_are_averaged_whatever_their_size() -> None:
    def on_half(image: Tensor) -> Tensor:
        return 30 * sharpness(image, (slice(10, 18), slice(15, 23)))  # the same place, half as large

    inputs = {"large": prepared(), "half": prepared(48)}
    large, half = reads_one, on_half
    alone = [
        months_by_region({"a": forward}, {"a": given}, REGIONS_HERE)["read"].contribution_months
        for forward, given in ((large, inputs["large"]), (half, inputs["half"]))
    ]
    both = months_by_region({"large": large, "half": half}, inputs, REGIONS_HERE)
    assert both["read"].contribution_months == pytest.approx(np.mean(alone), rel=0.1)
    assert abs(both["ignored"].contribution_months) < 0.1


def test_a_region_no_network_sees_is_left_out() -> None:
    corner = {"corner": region((slice(0, 4), slice(0, 4)))}
    assert list(months_by_region({"a": reads_one}, {"a": prepared()}, REGIONS_HERE | corner)) == ["read", "ignored"]


def test_patches_are_compact_pieces_of_the_hand_and_always_the_same() -> None:
    hand = prepared().mask
    patches = draw_patches(hand, 200)
    assert len(patches) == PATCHES
    for patch in patches:
        assert patch.sum() == 200
        assert not (patch & ~hand).any()
        rows, columns = np.nonzero(patch)
        assert max(np.ptp(rows), np.ptp(columns)) < 40  # a disc of that area is 16 px wide; at the edge it is cut
    assert all(np.array_equal(a, b) for a, b in zip(patches, draw_patches(hand, 200), strict=True))


def test_regions_of_about_one_size_share_their_patches() -> None:
    sizes = like_sized({"a": 100, "b": 150, "c": 170, "d": 1000})
    assert sizes["a"] == sizes["b"] == round((100 * 150) ** 0.5)
    assert (sizes["c"], sizes["d"]) == (170, 1000)


@pytest.mark.parametrize("tilt", [0.0, 90.0, -30.0])
def test_regions_arrive_where_the_picture_went(tilt: float) -> None:
    """Carried to the input and home again, a region lies where it was."""
    radiograph, hand = ellipse(300, 220, tilt)
    place = region((slice(100, 140), slice(90, 120)), (300, 220))
    made = prepare(radiograph, hand, masked(96))
    there = regions_on_input({"place": place}, made)["place"]
    home = made.to_radiograph_grid(there.astype(np.float32)) > 0.5
    rows, columns = np.nonzero(home)
    assert (rows.mean(), columns.mean()) == pytest.approx((119.5, 104.5), abs=1.5)
    assert home.sum() == pytest.approx(place.sum(), rel=0.1)


def test_shares_sum_to_one_and_count_both_signs() -> None:
    hand = prepared().mask
    months = np.zeros((SIDE, SIDE), np.float32)
    months[READ], months[48, 48], months[0, 0] = -1.0, 128.0, 128.0
    shares = attribution_shares(months, REGIONS_HERE, hand)
    assert shares == pytest.approx({"read": 0.5, "ignored": 0.0, ELSEWHERE: 0.25, OUTSIDE: 0.25}, abs=1e-6)
    assert sum(attribution_shares(np.zeros_like(months), REGIONS_HERE, hand).values()) == 0.0


def test_an_effect_stands_out_outside_its_null_only() -> None:
    assert RegionEffect(-4.2, -2.0, 2.0).stands_out
    assert not RegionEffect(-2.0, -2.0, 2.0).stands_out
    assert not RegionEffect(1.0, -2.0, 2.0).stands_out


@pytest.fixture(scope="module")
def divided() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A drawn hand as a network sees it, and its six regions."""
    hand = draw_phantom(120.0, "male", seed=4, height_px=400)
    made = prepare(hand.radiograph, HandMask(hand.mask.copy(), 1.0, 0.0, False), masked(SIDE))
    return made.mask, regions_on_input(hand.regions, made)


@pytest.mark.parametrize(("grain_px", "share"), [(0.0, (0.04, 0.06)), (2.5, (0.03, 0.06)), (8.0, (0.03, 0.07))])
@pytest.mark.slow
def test_by_chance_a_region_stands_out_on_one_hand_in_twenty(
    divided: tuple[np.ndarray, dict[str, np.ndarray]], grain_px: float, share: tuple[float, float]
) -> None:
    """Months drawn at random over a hand, with its regions and pieces that overlap; also where neighbours agree."""
    hand, regions = divided
    sizes = like_sized({name: int(region.sum()) for name, region in regions.items()})
    drawn = {area: draw_patches(hand, area) for area in set(sizes.values())}
    pieces = {
        name: [patch for patch, _ in _elsewhere([(patch, 0.0) for patch in drawn[sizes[name]]], region)]
        for name, region in regions.items()
    }
    level = chance_level(regions, pieces)
    random, hands, out = np.random.default_rng(1), 4000, 0
    masks = [*regions.values(), *(patch for patches in pieces.values() for patch in patches)]
    weights = [softened(mask) for mask in masks]
    if grain_px:
        weights = [cv2.GaussianBlur(weight, (0, 0), grain_px) for weight in weights]
    flat = np.stack(weights).reshape(len(masks), -1)
    for _ in range(hands // 200):
        for months in (random.normal(size=(200, hand.size)).astype(np.float32) @ flat.T).tolist():
            own, rest = dict(zip(regions, months, strict=False)), iter(months[len(regions) :])
            elsewhere = {name: list(islice(rest, len(patches))) for name, patches in pieces.items()}
            out += any(effect.stands_out for effect in beside_chance(own, elsewhere, level).values())
    assert share[0] <= out / hands <= share[1]


def test_a_region_far_beyond_chance_stands_out_among_others_that_do_not() -> None:
    patches = np.random.default_rng(1).normal(0, 1, PATCHES).tolist()
    own = {"far": 12.0, "near": 0.5, "as far": -12.0}
    found = beside_chance(own, dict.fromkeys(own, patches), 0.01)
    assert [name for name, effect in found.items() if effect.stands_out] == ["far", "as far"]
    assert found["near"].contribution_months == 0.5


def test_pieces_that_do_not_overlap_get_about_the_level_of_that_many_regions() -> None:
    """Six regions and their pieces side by side are like questions that have nothing to do with one another."""
    strips = np.zeros((54, 10, 54, 6), bool)
    for number in range(54):
        strips[number, :, number, :2] = True
    strips = strips.reshape(54, 10, -1)
    regions = {str(number): strips[number] for number in range(6)}
    pieces = {str(number): list(strips[6 + 8 * number : 14 + 8 * number]) for number in range(6)}
    assert chance_level(regions, pieces) == pytest.approx(1 - 0.95 ** (1 / 6), rel=0.15)


@pytest.mark.parametrize("degrees", range(1, 12))
def test_students_distribution_by_its_formula_is_scipys(degrees: int) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 9.0):
        assert outside_share(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), abs=1e-9)
    for level in (0.05, 0.05 / 6):
        assert t_quantile(level, degrees) == pytest.approx(stats.t.isf(level / 2, degrees), rel=1e-6)


def test_what_is_no_number_is_never_a_regions_contribution() -> None:
    with pytest.raises(NotFinite, match="weights"):
        months_by_region({"a": lambda image: image.sum(dim=(1, 2, 3)) * torch.nan}, {"a": prepared()}, REGIONS_HERE)


def test_a_phantoms_regions_fit() -> None:
    """The regions that anatomy will give have these names; all six are seen and no forward is wasted."""
    hand = draw_phantom(120.0, "female", height_px=300)
    made = prepare(hand.radiograph, HandMask(hand.mask.copy(), 1.0, 0.0, False), masked(96))
    asked = []

    def forward(image: Tensor) -> Tensor:
        asked.extend(image)
        return image.mean(dim=(1, 2, 3))

    assert tuple(months_by_region({"a": forward}, {"a": made}, hand.regions)) == REGIONS
    assert len(asked) <= 60


@pytest.mark.parametrize(
    ("months", "sex", "stage", "first"),
    [
        (0.0, "female", "infancy", "carpals"),
        (9.9, "female", "infancy", "carpals"),
        (10.0, "female", "toddler", "proximal_phalanges"),
        (13.0, "male", "infancy", "carpals"),
        (60.0, "male", "before puberty", "distal_phalanges"),
        (84.0, "female", "early and mid puberty", "distal_phalanges"),
        (107.0, "male", "before puberty", "distal_phalanges"),
        (160.0, "female", "late puberty", "distal_phalanges"),
        (198.0, "male", "late puberty", "distal_phalanges"),
        (204.0, "male", "after puberty", "radius_ulna"),
        (260.0, "female", "after puberty", "radius_ulna"),
    ],
)
def test_textbook_stages(months: float, sex: str, stage: str, first: str) -> None:
    found = textbook_stage(months, sex)
    assert (found.name, found.regions[0], found.sex) == (stage, first, sex)
    assert found.from_months <= months
    assert set(found.regions) <= set(REGIONS)


def test_every_stage_says_its_source_and_the_gap_is_said() -> None:
    for sex in SEXES:
        for months in range(0, 240, 6):
            stage = textbook_stage(float(months), sex)
            assert "Gilsanz and Ratib" in stage.source
            assert stage.sentence.endswith(".")
            assert months < stage.to_months or stage.name == "after puberty"
    assert "16 to 17" in textbook_stage(195.0, "male").sentence
    assert "16 to 17" not in textbook_stage(185.0, "male").sentence
    assert "not verified" in textbook_stage(195.0, "male").source
    assert "not verified" not in textbook_stage(5.0, "male").source
