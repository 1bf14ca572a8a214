"""The drawn hands that the page offers, made when first asked for and kept in memory."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from baa_core.phantom import EXAMPLES as DRAWN
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import Sex


class Example(NamedTuple):
    """What is drawn: the bone age is the phantom's own, and its age too."""

    age_months: float
    sex: Sex
    seed: int


EXAMPLES = {label: Example(age_months, sex, seed) for label, age_months, sex, seed in DRAWN}


@cache
def draw_example(label: str) -> tuple[Example, bytes]:
    """One example by its label, and its picture as PNG."""
    example = EXAMPLES[label]
    return example, to_png(draw_phantom(example.age_months, example.sex, seed=example.seed).radiograph)
