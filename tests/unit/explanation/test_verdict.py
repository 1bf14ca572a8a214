"""Deletion, stability and verdict, with networks whose sensitive place is known."""

import numpy as np
import pytest
from torch import Tensor

from baa_core.explanation.attribution import blurred_hand
from baa_core.explanation.faithfulness import CURVE_STEPS, Deletion, Removal, chance, curves, measure_deletion, smoothed
from baa_core.explanation.verdict import (
    STABLE_FROM,
    agreement,
    correlation,
    likeness_sentence,
    stability,
    summarise_checks,
)
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import ModelInput

SIDE = 96
OLDER, YOUNGER = (slice(20, 34), slice(50, 64)), (slice(60, 74), slice(30, 44))


def prepared() -> ModelInput:
    """A textured disc on black."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - 48) ** 2 + (columns - 48) ** 2 < 44**2
    texture = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    pixels = np.where(mask, texture, -1.0).astype(np.float32)
    return ModelInput(pixels[None, None], mask, IDENTITY, (SIDE, SIDE), background_masked=True)


def detail(image: Tensor, place: tuple[slice, slice]) -> Tensor:
    """The contrast of one small square: what blurring takes."""
    return image[:, 0, *place].square().mean(dim=(1, 2))


def weighs_two_places(image: Tensor) -> Tensor:
    """One square's detail speaks for older, another's as much for younger: with all of it gone nothing has changed."""
    return 100 + 10 * detail(image, OLDER) - 10 * detail(image, YOUNGER)


def marks_them() -> np.ndarray:
    months = np.zeros((SIDE, SIDE), np.float32)
    months[OLDER], months[YOUNGER] = 1.0, -1.0
    return months


def tried(months: np.ndarray, forward=weighs_two_places) -> Deletion:
    return measure_deletion({"a": forward}, {"a": prepared()}, {"a": months})


def test_curves_of_a_linear_network_by_hand() -> None:
    picture = prepared()
    ranks = np.random.default_rng(1).permutation(SIDE * SIDE).reshape(SIDE, SIDE).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(SIDE, SIDE)).astype(np.float32)
    lost = (weights * (blurred_hand(picture) - picture.image[0, 0]))[picture.mask]
    order = np.argsort(-ranks[picture.mask])
    upto = [round(len(order) * k / CURVE_STEPS) for k in range(CURVE_STEPS + 1)]
    asked = []

    def forward(image: Tensor) -> Tensor:
        asked.extend(image)
        return (image[:, 0] * Tensor(weights)).sum(dim=(1, 2))

    ((high, low),) = curves(forward, picture, [ranks])
    assert high == pytest.approx([lost[order[:n]].sum() for n in upto], abs=2e-2)
    assert low == pytest.approx([lost[order[::-1][:n]].sum() for n in upto], abs=2e-2)
    assert len(asked) == 2 + 2 * (CURVE_STEPS - 1)


def test_area_and_insertion_by_hand() -> None:
    """Half of what goes first takes 6 months, the other half gives them back; the middle step alone differs."""
    removal = Removal(np.array([0, -6, 0], np.float32), np.array([0, 6, 0], np.float32))
    assert removal.area_months == pytest.approx(6.0)
    one_way = Removal(np.array([0, -8, -10], np.float32), np.array([0, -2, -10], np.float32))
    assert one_way.area_months == pytest.approx(3.0)
    back = one_way.insertion()
    assert (back.older_first.tolist(), back.younger_first.tolist()) == ([-10, -2, 0], [-10, -8, 0])
    assert float(np.trapezoid(back.older_first - back.younger_first)) / 2 == pytest.approx(one_way.area_months)


def test_evidence_that_cancels_is_found_all_the_same() -> None:
    """In the sum nothing is lost, so a curve without signs would end where it began."""
    deletion = tried(marks_them())
    assert deletion.fractions.shape == deletion.shown.older_first.shape
    assert (deletion.shown.older_first[0], deletion.fractions[-1]) == (0, 1)
    assert abs(deletion.shown.older_first[-1]) < 2
    assert deletion.shown.older_first[1] < -8
    assert deletion.shown.younger_first[1] > 8
    assert deletion.area_months > 14
    assert deletion.faithful
    assert deletion.random_area_months <= deletion.best_random_area_months < deletion.area_months
    assert deletion.edge_area_months < deletion.area_months


def test_signs_the_wrong_way_round_are_worse_than_chance() -> None:
    wrong = tried(-marks_them())
    assert wrong.area_months == pytest.approx(-tried(marks_them()).area_months, rel=0.1)
    assert not wrong.faithful


def test_what_blurring_does_anywhere_drops_out() -> None:
    """A network that reads sharpness as age falls by the same months whatever goes first: no map explains it."""
    deletion = tried(marks_them(), lambda image: 30 * image.square().mean(dim=(1, 2, 3)))
    fall = abs(deletion.shown.older_first[-1])
    assert fall > 10
    assert abs(deletion.area_months) < 0.1 * fall


def test_a_map_of_another_place_is_not_faithful() -> None:
    elsewhere = np.arange(SIDE, dtype=np.float32)[None].repeat(SIDE, axis=0)  # the further right, the more
    assert not tried(elsewhere, lambda image: 10 * detail(image, YOUNGER)).faithful


def test_a_map_of_chance_is_as_coarse_as_the_map() -> None:
    shown = smoothed(marks_them())
    one, other = chance(shown, [0, 1])
    assert np.abs(np.fft.rfft2(one)) == pytest.approx(np.abs(np.fft.rfft2(shown)), abs=1e-3)
    assert abs(np.corrcoef(one.ravel(), shown.ravel())[0, 1]) < 0.5
    assert not np.array_equal(one, other)
    assert np.array_equal(one, *chance(shown, [0]))


def test_correlation_of_maps() -> None:
    values = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    assert correlation(values, values) == pytest.approx(1.0)
    assert correlation(values, 5 - 3 * values) == pytest.approx(-1.0)
    assert correlation(values, np.full_like(values, 2.0)) == 0.0
    assert correlation(np.zeros_like(values), np.zeros_like(values)) == 0.0


def test_black_around_two_maps_does_not_make_them_alike() -> None:
    one, other = np.zeros((2, 100, 100), np.float32)
    one[40:60, 40:60] = np.random.default_rng(0).normal(5, 1, size=(20, 20))
    other[40:60, 40:60] = np.random.default_rng(1).normal(5, 1, size=(20, 20))
    assert abs(correlation(one, other)) < 0.5


def test_agreement_is_the_mean_over_pairs() -> None:
    values = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    assert agreement([values]) is None
    assert agreement([values, 2 * values]) == pytest.approx(1.0)
    assert agreement([values, values, -values]) == pytest.approx(-1 / 3)


def test_a_map_that_follows_the_picture_is_stable_once_turned_back() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    blob = np.exp(-((rows - 12) ** 2 + (columns - 60) ** 2) / 8).astype(np.float32)  # far out, where 2 degrees move
    picture = ModelInput(blob[None, None], np.ones((SIDE, SIDE), bool), IDENTITY, (SIDE, SIDE))
    found = stability(lambda given: given.image[0, 0], picture, blob)
    assert set(found) == {"noise", "turned left", "turned right"}
    assert found["turned left"] > 0.97
    assert found["turned right"] > 0.97
    fixed = stability(lambda given: blob, picture, blob)  # does not move with the picture
    assert fixed["turned left"] < found["turned left"]
    assert fixed["noise"] == pytest.approx(1.0)


def test_noise_stays_off_a_masked_background_and_a_fickle_map_is_not_stable() -> None:
    picture, seen = prepared(), []

    def fickle(given: ModelInput) -> np.ndarray:
        seen.append(given)
        return np.random.default_rng(len(seen)).normal(size=(SIDE, SIDE)).astype(np.float32)

    found = stability(fickle, picture, fickle(picture))
    noisy = seen[1]
    assert np.array_equal(noisy.image[0, 0][~picture.mask], picture.image[0, 0][~picture.mask])
    assert not np.array_equal(noisy.image, picture.image)
    assert max(found.values()) < 0.3
    assert not summarise_checks(tried(marks_them()), found).stable


def straight(area: float) -> Removal:
    """Two curves apart by `area` in the mean."""
    half = np.full(CURVE_STEPS + 1, area / 2, np.float32)
    return Removal(-half, half)


def deletion(shown: float, random: tuple[float, ...], edges: float) -> Deletion:
    fractions = np.linspace(0, 1, CURVE_STEPS + 1, dtype=np.float32)
    return Deletion(fractions, straight(shown), tuple(straight(area) for area in random), straight(edges))


def test_the_verdict_is_one_sentence_with_its_numbers() -> None:
    verdict = summarise_checks(deletion(8.0, (3.0, -4.0), -5.0), {"noise": 0.9, "turned left": 0.7})
    assert (verdict.faithful, verdict.stable) == (True, True)
    assert verdict.sentence == (
        "Faithful: blurring what it marks moves the estimate the way it says by 8.0 months, "
        "random surrogate maps by 3.5 (4.0 at most), edges by 5.0; "
        "stable (correlation 0.70 or more under small changes; least: turned left)."
    )


def test_networks_of_different_kinds_are_a_note_and_no_verdict() -> None:
    """Two networks whose maps have little in common do not make a faithful and stable map unreliable."""
    assert "0.08" in likeness_sentence(0.08)
    assert "mean by weight" in likeness_sentence(0.08)


@pytest.mark.parametrize(
    ("areas", "least", "expected"),
    [
        ((3.2, 3.3, 1.0), 0.9, (False, True)),  # one random surrogate map does better
        ((8.0, 3.0, 8.5), 0.9, (False, True)),  # an edge detector does better
        ((0.0, 0.0, 0.0), 0.9, (False, True)),  # nothing moves the estimate
        ((8.0, 3.0, 5.0), STABLE_FROM - 0.01, (True, False)),
    ],
)
def test_what_is_not_shown_is_not_claimed(
    areas: tuple[float, float, float], least: float, expected: tuple[bool, bool]
) -> None:
    shown, random, edges = areas
    verdict = summarise_checks(deletion(shown, (0.0, random), edges), {"noise": least})
    assert (verdict.faithful, verdict.stable) == expected
    assert verdict.sentence.startswith("Faithful" if expected[0] else "Not shown to be faithful")
