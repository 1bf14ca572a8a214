"""The only file that composes the stages: bytes -> Report.

Example:
    assessor = baa_core.load_assessor("deeplasia")
    report = assessor.assess("hand.dcm", baa_core.Patient(sex="female", chronological_age_months=121))
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from threading import Lock
from time import perf_counter
from typing import cast

import torch
from torch import nn

from . import __version__, cautions
from .anatomy import hand_regions
from .calibration import Calibration, calibrate
from .ensemble import age_forward, likelier_sex, predict_months_by_sex, predict_sex
from .errors import WeightsMissing
from .explain import saliency
from .io import read_radiograph
from .landmarks import find_landmarks
from .masking import find_hand
from .models import AgeNetwork
from .preprocessing import ModelInput, prepare
from .quality import check_quality
from .recipe import InputSpec, Member, Recipe
from .recipes import find_recipe
from .types import SEXES, BoolArray, Caution, Explanation, HandMask, Patient, Prediction, Radiograph, Report, Sex
from .weights import DEFAULT_FOLDER, Manifest, load_network, read_manifest

STAGES = ("reading", "finding the hand", "estimating", "explaining")
SHA_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """What the networks said about one prepared radiograph.

    Attributes:
        by_sex: the prediction for each sex.
        sex_used: entered, or else predicted.
        probability_male: of the sex network.
        mismatch: the sex network is sure enough of the other sex to question the entry.
    """

    by_sex: Mapping[Sex, Prediction]
    sex_used: Sex
    probability_male: float
    mismatch: bool

    @property
    def prediction(self) -> Prediction:
        """The one for the sex used."""
        return self.by_sex[self.sex_used]


class Clock:
    """Seconds by stage, telling the listener when one begins."""

    def __init__(self, on_stage: Callable[[str], None] | None) -> None:
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        if self.on_stage:
            self.on_stage(name)
        start = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start


@dataclass(frozen=True, eq=False)
class Assessor:
    """A recipe with its weights. Networks are loaded when first needed; threads may share it.

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
    _lock: Lock = field(default_factory=Lock, repr=False)

    def network(self, member: Member) -> nn.Module:
        """The member's network with its verified weights, loaded once.

        Raises:
            WeightsMissing, WeightsCorrupt: see `weights.load_network`.
        """
        with self._lock:
            if member.name not in self._networks:
                with torch.inference_mode(False):
                    network = load_network(member, self.folder, self.manifest).requires_grad_(False)
                self._networks[member.name] = network
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

    def assess(
        self,
        source: str | os.PathLike[str] | bytes,
        patient: Patient | None = None,
        *,
        name: str | None = None,
        explain: bool = False,
        on_stage: Callable[[str], None] | None = None,
    ) -> Report:
        """Assess one radiograph. The same bytes always give the same months.

        Args:
            source: a file, or its bytes.
            patient: sex and chronological age as entered; unknown if left out.
            name: what to call the picture in messages; the file's name otherwise.
            explain: also make the heatmap, about twice the work.
            on_stage: told the name of each stage of `STAGES` as it begins.

        Returns:
            everything found, with the cautions that belong beside the number.

        Raises:
            BoneAgeError: no honest number can be given; the message says why and what to do.
        """
        patient, clock = patient or Patient(), Clock(on_stage)
        start = perf_counter()
        with clock.stage("reading"):
            radiograph = read_radiograph(source, name)
        with clock.stage("finding the hand"):
            hand = self.find_hand(radiograph)
        with clock.stage("estimating"):
            inputs = self.prepare(radiograph, hand)
            estimate = self.estimate(inputs, patient)
        explanation = None
        if explain:
            with clock.stage("explaining"):
                explanation = self.explain(inputs, estimate.sex_used)
        found = (
            *radiograph.cautions,
            *cautions.about_picture(radiograph, hand),
            *self._about_estimate(estimate, patient),
            *(cautions.about_explanation(explanation) if explanation else ()),
        )
        return Report(
            file=radiograph.name,
            recipe=self.recipe.name,
            prediction=estimate.prediction,
            sex_entered=patient.sex,
            sex_predicted=likelier_sex(estimate.probability_male),
            sex_probability_male=estimate.probability_male,
            sex_mismatch=estimate.mismatch,
            bone_age_if_female_months=estimate.by_sex["female"].bone_age_months,
            bone_age_if_male_months=estimate.by_sex["male"].bone_age_months,
            chronological_age_months=patient.chronological_age_months,
            cautions=found,
            versions=self.versions,
            seconds=perf_counter() - start,
            radiograph=radiograph,
            hand=hand,
            explanation=explanation,
            stage_seconds=clock.seconds,
        )

    def look(self, source: str | os.PathLike[str] | bytes, name: str | None = None) -> tuple[Radiograph, HandMask]:
        """A radiograph and its hand.

        Raises:
            BoneAgeError: as `assess`.
        """
        radiograph = read_radiograph(source, name)
        return radiograph, self.find_hand(radiograph)

    def find_hand(self, radiograph: Radiograph) -> HandMask:
        """The one hand of a radiograph, if it can be read.

        Raises:
            HandNotFound, SeveralHands, HandCutOff, QualityTooLow: see `masking.find_hand` and `quality.check_quality`.
        """
        hand = find_hand(radiograph, self.network(self.recipe.hand), self.recipe.hand.input)
        check_quality(radiograph, hand)
        return hand

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

    def prepare(self, radiograph: Radiograph, hand: HandMask) -> dict[str, ModelInput]:
        """Each member's picture by name; members with the same input share one."""
        made: dict[InputSpec, ModelInput] = {}
        for member in self.recipe.estimating:
            if member.input not in made:
                made[member.input] = prepare(radiograph, hand, member.input)
        return {member.name: made[member.input] for member in self.recipe.estimating}

    def estimate(self, inputs: Mapping[str, ModelInput], patient: Patient) -> Estimate:
        """Sex and months for both sexes, corrected, with intervals."""
        sex_networks = {member.name: self.network(member) for member in self.recipe.sex}
        probability_male = fmean(predict_sex(sex_networks, inputs, self.recipe.sex_views).values())
        answers = predict_months_by_sex(self._age_networks(), inputs, SEXES, self.recipe.views)
        by_sex = {sex: calibrate(answers[sex], sex, self.calibration) for sex in SEXES}
        used = patient.sex or likelier_sex(probability_male)
        other = 1.0 - probability_male if used == "male" else probability_male
        old_enough = by_sex[used].bone_age_months >= self.calibration.mismatch_youngest_months
        mismatch = patient.sex is not None and old_enough and other > self.calibration.mismatch_probability
        return Estimate(by_sex, used, probability_male, mismatch)

    def explain(self, inputs: Mapping[str, ModelInput], sex: Sex) -> Explanation:
        """The heatmap of the estimate for this sex."""
        networks = self._age_networks()
        forwards = {name: age_forward(net, sex, self.recipe.views.mirror) for name, net in networks.items()}
        return saliency(forwards, inputs)

    def _age_networks(self) -> dict[str, AgeNetwork]:
        return {member.name: cast(AgeNetwork, self.network(member)) for member in self.recipe.members}

    def _about_estimate(self, estimate: Estimate, patient: Patient) -> tuple[Caution, ...]:
        """Cautions that need the calibration."""
        known = self.calibration
        sex = estimate.sex_used
        span, measured = known.trained_range_months[sex], known.range_error_months[sex]
        return (
            *cautions.about_sex(
                patient.sex,
                estimate.probability_male,
                estimate.mismatch,
                estimate.by_sex,
                known.mismatch_youngest_months,
            ),
            *cautions.about_age(estimate.prediction, patient.chronological_age_months, span, measured),
        )


def load_assessor(recipe: str = "deeplasia", *, weights_dir: Path | None = None) -> Assessor:
    """An assessor for a recipe by name. Reads the manifest; the networks follow when needed.

    Args:
        recipe: one of `RECIPES`.
        weights_dir: a folder with manifest.json; `weights.DEFAULT_FOLDER` if left out.

    Raises:
        UnknownRecipe: there is none of that name.
        WeightsMissing: there is no manifest, or it holds nothing for this recipe.
        WeightsCorrupt: the manifest cannot be used.
    """
    folder = Path(weights_dir) if weights_dir is not None else DEFAULT_FOLDER
    chosen, manifest = find_recipe(recipe), read_manifest(folder)
    if chosen.name not in manifest.calibration:
        raise WeightsMissing(
            f"weights/manifest.json holds no calibration for '{chosen.name}', so no estimate can be made. "
            "Get the weights folder as weights/README.md says."
        )
    return Assessor(chosen, manifest, Calibration.from_dict(manifest.calibration[chosen.name]), folder)
