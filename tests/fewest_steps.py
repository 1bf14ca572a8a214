"""An explanation with all its tests, each with as few steps as it can have."""

import pytest

from baa_core.explanation import faithfulness, region_effects


def have_fewest_steps(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone."""
    patch.setattr(region_effects, "PATCHES", region_effects.LEAST_PATCHES)
    patch.setattr(region_effects, "LIKE_SIZED", 100.0)  # all regions share them
    patch.setattr(faithfulness, "CURVE_STEPS", 2)
    patch.setattr(faithfulness, "RANDOM_MAPS", 1)
