"""The points that some inputs go by, placed in training by the same networks that place them when served."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from baa_core.errors import BoneAgeError, LandmarksNotFound
from baa_core.hand.landmarks import place_points
from baa_core.networks.build import build
from baa_core.preprocessing.prepare import InputSpec
from baa_core.recipes.schema import Member, Recipe
from baa_core.recipes import RECIPES
from baa_core.preprocessing.steps import CropToPoints, Register
from baa_core.types import HandMask, Points, Radiograph

from ..initial_weights import member_start, start_file


def needs_points(spec: InputSpec) -> bool:
    """Does this input go by landmarks?"""
    return any(isinstance(step, Register | CropToPoints) for step in spec.steps)


@lru_cache(maxsize=1)
def _points_network(member: Member) -> nn.Module:
    torch.set_num_threads(1)
    network = build(member.architecture)
    member_start(network, start_file(member.name, Path("runs")))
    return network.eval()


@dataclass(frozen=True)
class PointFinder:
    """Places the points of a recipe's steps with the trained network, in whatever process it is asked."""

    member: Member
    needed: bool

    def __call__(self, radiograph: Radiograph, hand: HandMask) -> Points | None:
        """The points, or None for a picture that the recipe would refuse; empty where it can do without them."""
        try:
            return place_points(radiograph, hand, self.member, _points_network(self.member), needed=self.needed)
        except LandmarksNotFound:
            return None


def finder_of(member: Member) -> PointFinder | None:
    """What places the points that this member's input goes by; None if it needs none."""
    if not needs_points(member.learns_from or member.input):
        return None
    recipe: Recipe = next(r for r in RECIPES.values() if member.name in [m.name for m in r.networks])
    if recipe.points is None:
        raise BoneAgeError(f"The recipe '{recipe.name}' has steps that need points, but no network that places them.")
    return PointFinder(recipe.points, recipe.points_needed)
