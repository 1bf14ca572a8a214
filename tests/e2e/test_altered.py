"""The shipped networks on drawn hands with one region of another age: is that region named?"""

import pytest

from baa_core.workflows.assess import Assessor
from train.reports.altered_phantoms import CHILDREN, OTHER_MONTHS, check


@pytest.mark.usefixtures("fewest_steps")
def test_months_by_region_name_the_altered_region(assessor: Assessor) -> None:
    """One child, every region much younger; `train altered` takes two, older too. Training has seen neither.

    How many pieces of hand stand beside a region, which the fixture lessens, does not change its months.
    """
    found = check(assessor, CHILDREN[1:], OTHER_MONTHS[:1])
    assert found["hands"] == 6
    assert found["named_alone"] >= 5, found["rows"]
    assert found["named_beside_its_twin"] >= 5, found["rows"]
