"""A recipe's weights, and what it makes of a radiograph before any age is estimated."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import cast

import torch
from torch import nn

from . import __version__
from .anatomy import hand_regions
from .backbones import fold_norms
from .calibration import Calibration
from .cut import cautions_of, find_cuts
from .errors import HandCutOff, LandmarksNotFound, WeightsMissing
from .io import read_radiograph
from .joints import LandmarkNetwork
from .landmarks import find_landmarks, place_points
from .masking import choose_hand, draw_hand, find_hands
from .outlier import FeatureSpace, check_usual, load_feature_space, shape_of
from .outline import UNCHECKED, about_outline, widened
from .panels import check_one_picture
from .preprocessing import ModelInput, prepare, stages
from .quality import about_veil, check_quality, check_whole
from .recipe import InputSpec, Member, Recipe
from .steps import Picture
from .types import CUT_PARTS, BoolArray, Caution, CutPart, HandChoice, HandMask, Landmarks, Points, Radiograph
from .weights import DEFAULT_FOLDER, Manifest, load_network

SHA_DIGITS = 12
VIEW_UNCHECKED = Caution(
    "view_unchecked",
    "This system has no network that places joints, so it was not checked that the picture shows a hand from the "
    "front and that the outline is that of a whole hand.",
)


@dataclass(frozen=True, eq=False)
class Sight:
    """A recipe with its weights, up to the prepared pictures.

    Attributes:
        recipe: what runs.
        manifest: which files and what was measured.
        calibration: of this recipe, from the manifest.
        folder: where the weights lie.
    """

    recipe: Recipe
    manifest: Manifest
    calibration: Calibration
    folder: Path = DEFAULT_FOLDER
    _networks: dict[str, nn.Module] = field(default_factory=dict, repr=False)
    _spaces: dict[str, FeatureSpace] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def network(self, member: Member) -> nn.Module:
        """The member's network with its verified weights, loaded once.

        Raises:
            WeightsMissing, WeightsCorrupt: see `weights.load_network`.
        """
        with self._lock:
            if member.name not in self._networks:
                with torch.inference_mode(False):
                    loaded = fold_norms(load_network(member, self.folder, self.manifest)).requires_grad_(False)
                    self._networks[member.name] = loaded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return self._networks[member.name]

    def warm_up(self) -> None:
        """Load every network now, so that the first picture need not wait."""
        for member in self.recipe.served:
            self.network(member)

    @property
    def versions(self) -> dict[str, str]:
        """What made the numbers: software, recipe, and the beginning of each weights file's sha256."""
        weights = {
            f"weights/{member.name}": self.manifest.weights[member.name].sha256[:SHA_DIGITS]
            for member in self.recipe.served
            if member.name in self.manifest.weights
        }
        software = {"baa_core": __version__, "torch": torch.__version__, "python": platform.python_version()}
        return {**software, "recipe": self.recipe.name, **weights}

    def look(
        self, source: str | os.PathLike[str] | bytes, name: str | None = None, hand: HandChoice | None = None
    ) -> tuple[Radiograph, HandMask]:
        """A radiograph and its hand; `hand` as for `find_hand`.

        Raises:
            BoneAgeError: as `assess`.
        """
        radiograph = read_radiograph(source, name)
        return radiograph, self.find_hand(radiograph, hand)

    def find_hands(self, radiograph: Radiograph) -> tuple[HandMask, ...]:
        """Every hand of a radiograph from left to right; at least one.

        A hand beside others that the picture's edge cuts off does not count, unless all of them are cut off.

        Raises:
            HandNotFound: there is none.
            SeveralPictures: see `panels.check_one_picture`.
        """
        check_one_picture(radiograph)
        hands = find_hands(radiograph, self.network(self.recipe.hand), self.recipe.hand.input)
        if len(hands) == 1:
            return hands
        return tuple(hand for hand in hands if _is_whole(radiograph, hand)) or hands

    def find_hand(self, radiograph: Radiograph, choice: HandChoice | None = None) -> HandMask:
        """The hand of a radiograph, if it can be read.

        Args:
            radiograph: as read.
            choice: which of several hands; it does not matter where there is one only.

        Raises:
            HandNotFound, HandCutOff, QualityTooLow: see `masking.find_hands`, `_cuts` and
                `quality.check_quality`.
            SeveralHands: there are several and none was chosen; it carries their masks.
            SeveralPictures: the picture is a page or screen that shows several.
        """
        hand = choose_hand(self.find_hands(radiograph), choice, radiograph.name)
        check_quality(radiograph, hand)
        mask = self.recipe.mask
        drawn = hand if mask is None else draw_hand(radiograph, hand, self.network(mask), mask.input)
        landmarks = self._outline_landmarks(radiograph, drawn)
        cuts = self._cuts(drawn, landmarks, radiograph.name)
        factors = self.calibration.cut_factors
        said = (*about_veil(radiograph, hand), *self._about_outline(radiograph, drawn, landmarks))
        return replace(
            drawn,
            cautions=(*drawn.cautions, *cautions_of(cuts, factors), *said),
            interval_factor=max((factors[part] for part in cuts), default=1.0),
        )

    def _cuts(self, hand: HandMask, landmarks: Landmarks | None, name: str) -> tuple[CutPart, ...]:
        """What the picture's edge cuts off; by the mask alone, which only refuses, where joints or factors are missing.

        Raises:
            HandCutOff: see `cut.find_cuts` and `quality.check_whole`.
        """
        if landmarks is None or set(CUT_PARTS) - set(self.calibration.cut_factors):
            check_whole(hand, name)
            return ()
        return find_cuts(hand, landmarks, name)

    def about_outline(self, radiograph: Radiograph, hand: HandMask) -> tuple[Caution, ...]:
        """What is wrong with the outline by the joints; nothing for a recipe without a network that places them."""
        return self._about_outline(radiograph, hand, self._outline_landmarks(radiograph, hand))

    def _about_outline(
        self, radiograph: Radiograph, hand: HandMask, landmarks: Landmarks | None
    ) -> tuple[Caution, ...]:
        if self.recipe.shaping is None:
            return ()
        return (UNCHECKED,) if landmarks is None else about_outline(radiograph, hand, landmarks)

    def _outline_landmarks(self, radiograph: Radiograph, hand: HandMask) -> Landmarks | None:
        """`outline_landmarks`; None where this recipe has no network for them or they cannot be placed."""
        if self.recipe.shaping is None:
            return None
        try:
            return self.outline_landmarks(radiograph, hand)
        except LandmarksNotFound:
            return None

    def outline_landmarks(self, radiograph: Radiograph, hand: HandMask) -> Landmarks:
        """The joints by which the outline is checked, placed in more than the outline.

        Raises:
            LandmarksNotFound: they cannot be placed.
            WeightsMissing: this recipe has no network that places them.
        """
        member = self.recipe.shaping
        if member is None:
            raise WeightsMissing(f"The recipe '{self.recipe.name}' has no network that places joints. Choose another.")
        return find_landmarks(prepare(radiograph, widened(hand), member.input), self.network(member))

    def points(self, radiograph: Radiograph, hand: HandMask) -> Points:
        """The points that this recipe's steps go by; empty if it needs none, or can do without them here.

        Raises:
            LandmarksNotFound: they cannot be placed and the recipe needs them.
        """
        member = self.recipe.points
        if member is None:
            return {}
        return place_points(radiograph, hand, member, self.network(member), needed=self.recipe.points_needed)

    def regions(self, radiograph: Radiograph, hand: HandMask) -> dict[str, BoolArray]:
        """The hand divided into its groups of bones, each of `anatomy.REGION_TITLES` to bool (H, W).

        Raises:
            LandmarksNotFound: its joints cannot be placed.
            WeightsMissing: this recipe places none, or the network's weights are not there.
        """
        member = self.recipe.landmarks
        if member is None:
            raise WeightsMissing(
                f"The recipe '{self.recipe.name}' has no network that places joints, and so no regions. "
                "Choose a recipe that has one."
            )
        landmarks = find_landmarks(prepare(radiograph, hand, member.input), self.network(member))
        return hand_regions(landmarks, hand)

    def prepare(self, radiograph: Radiograph, hand: HandMask, points: Points | None = None) -> dict[str, ModelInput]:
        """Each member's picture by name; members with the same input share one.

        Args:
            radiograph: as read.
            hand: on the same grid.
            points: what `points` gave; asked for if left out.
        """
        placed = self.points(radiograph, hand) if points is None else points
        made: dict[InputSpec, ModelInput] = {}
        for member in self.recipe.estimating:
            if member.input not in made:
                made[member.input] = prepare(radiograph, hand, member.input, placed)
        return {member.name: made[member.input] for member in self.recipe.estimating}

    def check_view(self, inputs: Mapping[str, ModelInput], name: str) -> tuple[Caution, ...]:
        """Refuse what is no hand seen from the front.

        Args:
            inputs: as `prepare` made them.
            name: what to call the picture.

        Returns:
            a caution where the pose is rare, or where this recipe has no network that can tell.

        Raises:
            UnusualPicture: see `outlier.check_usual`.
            WeightsMissing, WeightsCorrupt: see `outlier.load_feature_space`.
        """
        member = self.recipe.shaping
        if member is None:
            return (VIEW_UNCHECKED,)
        if member.name not in self._spaces:
            self._spaces[member.name] = load_feature_space(member.name, self.folder, self.manifest)
        network = cast(LandmarkNetwork, self.network(member))
        return check_usual(shape_of(inputs[member.name], network), self._spaces[member.name], name)

    def trace(self, radiograph: Radiograph, hand: HandMask) -> list[tuple[str, Picture]]:
        """The picture after every step on its way to the first age network, by the step's name."""
        return list(stages(radiograph, hand, self.recipe.members[0].input, self.points(radiograph, hand)))


def _is_whole(radiograph: Radiograph, hand: HandMask) -> bool:
    """Is neither fingers nor wrist cut off by the picture's edge?"""
    try:
        check_whole(hand, radiograph.name)
    except HandCutOff:
        return False
    return True
