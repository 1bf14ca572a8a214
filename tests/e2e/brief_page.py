"""The page of `app.py` with explanations that are quick to test: each of their tests has as few steps as it can have.

    python -m tests.e2e.brief_page [options of app.py]

All networks are the shipped ones, and the page does with an explanation what it does with one of full length.
"""

import pytest

import app
from baa_core.explanation import robustness
from tests.fewest_steps import have_fewest_steps

CHANGES = ("mirrored", "greys reversed")  # of the radiograph, in the test of robustness

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        have_fewest_steps(patch)
        patch.setattr(robustness, "TRANSFORMS", {name: robustness.TRANSFORMS[name] for name in CHANGES})
        app.main()
