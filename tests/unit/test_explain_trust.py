"""Curves, stability and verdict, with networks whose sensitive place is known."""

import numpy as np
import pytest
from torch import Tensor

from baa_core.explain import Curves, agreement, blurred_hand, judge, stability
from baa_core.explain.trust import (
    AGREE_FROM,
    CURVE_STEPS,
    STABLE_FROM,
    compare,
    correlation,
    deletion_curve,
    insertion_curve,
)
from baa_core.preprocessing import ModelInput
from baa_core.steps import IDENTITY

SIDE = 96
PLACE = (slice(20, 34), slice(50, 64))


def prepared() -> ModelInput:
    """A textured disc on black."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - 48) ** 2 + (columns - 48) ** 2 < 44**2
    texture = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    pixels = np.where(mask, texture, -1.0).astype(np.float32)
    return ModelInput(pixels[None, None], mask, IDENTITY, (SIDE, SIDE), background_masked=True)


def reads_one_place(image: Tensor) -> Tensor:
    """Months = 10 times the contrast of one small square."""
    return 10 * image[:, 0, *PLACE].square().mean(dim=(1, 2))


def marks_it() -> np.ndarray:
    months = np.zeros((SIDE, SIDE), np.float32)
    months[PLACE] = -1.0  # evidence for younger counts as much
    return months


def test_curves_of_a_linear_network_by_hand() -> None:
    picture = prepared()
    ranks = np.random.default_rng(1).permutation(SIDE * SIDE).reshape(SIDE, SIDE).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(SIDE, SIDE)).astype(np.float32)
    lost = (weights * (blurred_hand(picture) - picture.image[0, 0]))[picture.mask]
    order = np.argsort(-ranks[picture.mask])
    upto = [round(len(order) * k / CURVE_STEPS) for k in range(CURVE_STEPS + 1)]
    asked = []

    def forward(image: Tensor) -> Tensor:
        asked.append(1)
        return (image[:, 0] * Tensor(weights)).sum(dim=(1, 2))

    deleted = deletion_curve(forward, picture, ranks)
    assert deleted == pytest.approx([abs(lost[order[:n]].sum()) for n in upto], abs=1e-2)
    assert len(asked) <= 30
    inserted = insertion_curve(forward, picture, ranks)
    assert inserted == pytest.approx([abs(lost[order[n:]].sum()) for n in upto], abs=1e-2)


def test_the_map_that_marks_the_place_beats_chance_and_edges() -> None:
    picture = prepared()
    deletion = compare(deletion_curve, reads_one_place, picture, marks_it())
    assert deletion.fractions.shape == deletion.shown.shape == deletion.random.shape == deletion.edges.shape
    assert (deletion.shown[0], deletion.fractions[0], deletion.fractions[-1]) == (0, 0, 1)
    assert deletion.shown[1] == pytest.approx(deletion.shown[-1], rel=0.1)  # all of it gone with the first twelfth
    assert deletion.random[-1] == pytest.approx(deletion.shown[-1], rel=1e-5)
    shown, random, edges = (deletion.area(curve) for curve in (deletion.shown, deletion.random, deletion.edges))
    assert shown > 1.4 * random
    assert shown > 1.4 * edges
    insertion = compare(insertion_curve, reads_one_place, picture, marks_it())
    assert insertion.area(insertion.shown) < 0.6 * insertion.area(insertion.random)
    assert insertion.shown[-1] == pytest.approx(0.0, abs=1e-5)


def test_a_map_of_another_place_is_not_faithful() -> None:
    elsewhere = np.arange(SIDE, dtype=np.float32)[:, None].repeat(SIDE, axis=1)  # the lower, the more
    curves = compare(deletion_curve, reads_one_place, prepared(), elsewhere)
    assert not judge(curves, {"noise": 0.9}, None).faithful


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
    assert not judge(compare(deletion_curve, reads_one_place, picture, marks_it()), found, None).stable


def curves(shown: float, random: float, edges: float) -> Curves:
    """Straight lines of these mean heights."""
    fractions = np.linspace(0, 1, CURVE_STEPS + 1, dtype=np.float32)
    return Curves(fractions, *(2 * mean * fractions for mean in (shown, random, edges)))


def test_the_verdict_is_one_sentence_with_its_numbers() -> None:
    verdict = judge(curves(8.0, 3.0, 5.0), {"noise": 0.9, "turned left": 0.7}, 0.8)
    assert (verdict.faithful, verdict.stable, verdict.agreeing) == (True, True, True)
    assert verdict.sentence == (
        "Faithful: blurring what it marks moves the estimate by 8.0 months, random places 3.0, edges 5.0; "
        "stable (correlation 0.70 or more under small changes; least: turned left); "
        "the networks agree (correlation 0.80)."
    )


@pytest.mark.parametrize(
    ("areas", "least", "between", "expected"),
    [
        ((3.2, 3.0, 1.0), 0.9, None, (False, True, None)),  # hardly better than chance
        ((8.0, 3.0, 8.5), 0.9, None, (False, True, None)),  # an edge detector does better
        ((0.0, 0.0, 0.0), 0.9, None, (False, True, None)),  # nothing moves the estimate
        ((8.0, 3.0, 5.0), STABLE_FROM - 0.01, None, (True, False, None)),
        ((8.0, 3.0, 5.0), STABLE_FROM, AGREE_FROM - 0.01, (True, True, False)),
    ],
)
def test_what_is_not_shown_is_not_claimed(
    areas: tuple[float, float, float], least: float, between: float | None, expected: tuple[bool, bool, bool | None]
) -> None:
    verdict = judge(curves(*areas), {"noise": least}, between)
    assert (verdict.faithful, verdict.stable, verdict.agreeing) == expected
    assert verdict.sentence.startswith("Faithful" if expected[0] else "Not shown to be faithful")
