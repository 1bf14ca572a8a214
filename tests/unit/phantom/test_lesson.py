"""A teacher's set of drawn hands: fixed by its seed, spread over the ages, fair to both sexes."""

from __future__ import annotations

import pytest

from baa_core.errors import UnsupportedImage
from baa_core.phantom.lesson import HANDS, LARGEST_SEED, lesson_set


def test_a_class_sees_the_same_hands() -> None:
    lesson_set.cache_clear()
    first = lesson_set(7)
    lesson_set.cache_clear()
    assert lesson_set(7) == first
    assert lesson_set(8) != first
    # Typed in: a link that was given to a class last year must still show last year's hands.
    assert [(hand.bone_age_months, hand.sex) for hand in first[:3]] == [(215, "female"), (60, "male"), (24, "male")]


@pytest.mark.parametrize("seed", [0, 1, 2, LARGEST_SEED])
def test_a_set_covers_two_to_eighteen_years_with_as_many_girls_as_boys(seed: int) -> None:
    hands = lesson_set(seed)
    assert [hand.number for hand in hands] == list(range(1, HANDS + 1))
    ages = sorted(hand.bone_age_months for hand in hands)
    assert ages[0] >= 24
    assert ages[-1] <= 216
    assert all(19.2 * number - 1 <= age - 24 <= 19.2 * (number + 1) + 1 for number, age in enumerate(ages))
    assert sum(hand.sex == "female" for hand in hands) == HANDS // 2
    assert len({hand.seed for hand in hands}) == HANDS


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
def test_a_set_that_does_not_exist_is_refused(seed: int) -> None:
    with pytest.raises(UnsupportedImage, match="Give"):
        lesson_set(seed)
