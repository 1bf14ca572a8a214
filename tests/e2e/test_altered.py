"""The shipped network on drawn hands with one region of another age: is that region named?"""

import pytest

from baa_core.workflows.assess import Assessor
from train.reports.altered_phantoms import CHILDREN, check


@pytest.mark.xfail(reason="8 of 12 since the network of joints counts most (docs/results.md); 10 were named before")
def test_months_by_region_name_the_altered_region(assessor: Assessor) -> None:
    """One child's twelve hands; `python -m train altered` takes two children. Training has seen neither."""
    found = check(assessor, CHILDREN[1:])
    assert found["hands"] == 12
    assert found["named_alone"] >= 0.8 * found["hands"], found["rows"]
    assert found["named_beside_its_twin"] >= 0.8 * found["hands"], found["rows"]
