import numpy as np
import pytest

from baa_core.masking import _without_bridges


@pytest.mark.parametrize("height_px", [400, 1200])
def test_what_hangs_on_by_a_thin_bridge_is_cut_off(height_px: int) -> None:
    """A hand-sized block, a marker-sized one beside it, and between them a bridge of under 1 % of the side."""
    unit = height_px // 100
    region = np.zeros((height_px, height_px * 4 // 5), np.uint8)
    region[20 * unit : 80 * unit, 30 * unit : 70 * unit] = 1
    hand = region.copy()
    region[40 * unit : 50 * unit, 15 * unit : 22 * unit] = 1
    region[45 * unit : 46 * unit - 1, 22 * unit : 30 * unit] = 1
    kept = _without_bridges(region)
    assert kept[hand > 0].mean() > 0.999  # a corner may be rounded
    assert not kept[:, : 28 * unit].any()


def test_a_finger_is_no_bridge() -> None:
    region = np.zeros((500, 400), np.uint8)
    region[250:450, 120:280] = 1
    region[60:250, 190:205] = 1  # an infant's finger: 3 % of the side
    assert np.array_equal(_without_bridges(region), region)
