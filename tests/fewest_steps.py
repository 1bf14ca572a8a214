"""An explanation with all its tests, each with as few steps as it can have, and with a map of fewer passes."""

from dataclasses import replace

import pytest

from baa_core.explanation import faithfulness, region_effects
from baa_core.explanation.methods import METHODS


def have_fewest_steps(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone. Maps are those by which stability is tested (`Method.sketch`), where there are any."""
    patch.setattr(region_effects, "PATCHES", region_effects.LEAST_PATCHES)
    patch.setattr(region_effects, "LIKE_SIZED", 100.0)  # all regions share them
    patch.setattr(faithfulness, "CURVE_STEPS", 2)
    patch.setattr(faithfulness, "RANDOM_MAPS", 1)
    for name, method in METHODS.items():
        if method.sketch is not None:
            patch.setitem(METHODS, name, replace(method, attribute=method.sketch))  # type: ignore[call-overload]
