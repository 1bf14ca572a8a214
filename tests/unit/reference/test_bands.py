"""What a growth chart shows: bands by hand, and axes that hold everything."""

import pytest

from baa_core.reference.bands import chart_ranges_years, growth_bands
from baa_core.reference.brush import reference_rows


def test_bands_lie_one_and_two_sd_about_the_centre_of_the_convention() -> None:
    """Girls of 120 months: mean 125.66, SD 11.73."""
    by_age, by_mean = (
        next(band for band in growth_bands("female", convention) if band.chronological_age_months == 120)
        for convention in ("brush-age", "brush-mean")
    )
    assert by_age.levels_months == pytest.approx((96.54, 108.27, 120, 131.73, 143.46))
    assert by_mean.levels_months == pytest.approx((102.2, 113.93, 125.66, 137.39, 149.12))


@pytest.mark.parametrize("sex", ["female", "male"])
def test_bands_end_with_the_table(sex) -> None:
    bands = growth_bands(sex, "brush-age")
    assert [band.chronological_age_months for band in bands] == [row[0] for row in reference_rows(sex)]


@pytest.mark.parametrize("age", [0, 1, 3, 30, 121, 191, 192, 230, 300])
@pytest.mark.parametrize("convention", ["brush-age", "brush-mean"])
def test_the_axes_hold_the_child_its_interval_and_every_band_beside_it(age: float, convention) -> None:
    low, high = max(0, age - 30), min(300, age + 30)
    (first, last), (bottom, top) = chart_ranges_years("female", convention, [(age, low, high)])
    assert 0 <= first <= age / 12 <= last and 0 <= bottom <= low / 12 and high / 12 <= top
    assert last > first and top > bottom
    for band in growth_bands("female", convention):
        if first <= band.chronological_age_months / 12 <= last:
            assert max(0, band.levels_months[0]) / 12 >= bottom and band.levels_months[4] / 12 <= top


def test_the_axes_end_with_the_table_unless_the_child_is_beyond() -> None:
    assert chart_ranges_years("female", "brush-age", [(180, 170, 190)])[0] == (11, 16)
    assert chart_ranges_years("male", "brush-age", [(180, 170, 190)])[0] == (11, 17)
    assert chart_ranges_years("female", "brush-age", [(210, 190, 215)])[0] == (13, 18)


def test_earlier_assessments_widen_the_axes() -> None:
    assert chart_ranges_years("male", "brush-age", [(60, 50, 50), (120, 110, 130)])[0] == (1, 14)
