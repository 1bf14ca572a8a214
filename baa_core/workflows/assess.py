"""Bytes -> Report: an assessment, stage by stage. Explanations and comparisons go through the same stages.

Example:
    assessor = baa_core.load_assessor()
    report = assessor.assess("hand.dcm", baa_core.Patient(sex="female", chronological_age_months=121))
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar, cast

from torch import nn

from ..errors import HandCutOff, InvalidPatient, LandmarksNotFound, WeightsMissing
from ..estimation.calibration import Calibration, calibrate, check_sex, interval_for_unknown_sex
from ..estimation.ensemble import forwards_by_view, likelier_sex, mean_log_odds, predict_months_by_sex, predict_sex
from ..estimation.local_calibration import LocalCalibration, read_local_calibration
from ..explanation.heatmap import saliency
from ..hand.cut import cautions_of, find_cuts
from ..hand.landmarks import check_placed, place_landmarks, place_points
from ..hand.outline import UNCHECKED, about_outline
from ..hand.pose import NAME as OUTLIER
from ..hand.pose import check_pose, load_feature_space, shape_of
from ..hand.quality import HandGreys, about_foreign_material, about_processing, check_quality, check_whole
from ..hand.regions import hand_regions
from ..hand.segmentation import choose_hand, find_hands, resegment
from ..hand.sharpening import REDUCED, Sharpening, measure_sharpening, without_sharpening
from ..io import read_radiograph, start_decoder
from ..io.panels import check_one_picture
from ..networks.age import AgeNetwork, GroupedAgeNetwork
from ..networks.store import NetworkStore
from ..preprocessing.picture import Picture
from ..preprocessing.prepare import InputSpec, ModelInput, SharedSteps, prepare
from ..recipes import DEFAULT_RECIPE, find_recipe
from ..recipes.schema import Member, Recipe
from ..reporting import cautions
from ..types import (
    CUT_PARTS,
    SEXES,
    BoolArray,
    Caution,
    CutPart,
    Explanation,
    HandChoice,
    HandMask,
    Landmarks,
    ManualEdits,
    NetworkOutput,
    Patient,
    Points,
    Prediction,
    Radiograph,
    Report,
    Sex,
)
from .findings import Clock, Estimate, Findings, NetworkOutputs, SharedStages

VIEW_UNCHECKED = Caution(
    "view_unchecked",
    "This system has no network that places joints, so it was not checked that the picture shows a hand from the "
    "front and that the outline is that of a whole hand.",
)


def _certain(hand: HandMask) -> Landmarks | None:
    """The landmarks by which a mask is checked; None where they were not or could not be placed."""
    try:
        return None if hand.landmarks_in_context is None else check_placed(hand.landmarks_in_context)
    except LandmarksNotFound:
        return None


def _is_whole(radiograph: Radiograph, hand: HandMask) -> bool:
    """Is neither fingers nor wrist cut off by the picture's edge?"""
    try:
        check_whole(hand, radiograph.name)
    except HandCutOff:
        return False
    return True


Something = TypeVar("Something")
STAGES = ("reading", "finding the hand", "estimating", "explaining")


@dataclass(frozen=True, eq=False)
class Assessor:
    """A recipe with its calibration and its networks: bytes to a report. Threads may share it.

    Attributes:
        recipe: what runs.
        calibration: of this recipe, from the manifest.
        store: its networks, loaded when first needed; several assessors may share it.
        local: a clinic's own calibration; None without one.
    """

    recipe: Recipe
    calibration: Calibration
    store: NetworkStore
    local: LocalCalibration | None = None

    def network(self, member: Member) -> nn.Module:
        """The member's network, loaded once for all that share the store; see `NetworkStore.network`."""
        return self.store.network(member)

    def warm_up(self) -> None:
        """Load every network now, so that the first picture need not wait."""
        for member in self.recipe.members_in_use:
            self.network(member)

    @property
    def versions(self) -> dict[str, str]:
        """What made the numbers: software, recipe, weights files and a local calibration."""
        local = {} if self.local is None else {"local_calibration": self.local.version}
        weights = self.store.versions(self.recipe.members_in_use)
        return {**weights, "recipe": self.recipe.name, "calibration": self._calibration_version, **local}

    @cached_property
    def _calibration_version(self) -> str:
        """The beginning of a sha256 of everything by which networks' outputs become months and intervals."""
        known = json.dumps(self.store.manifest.calibration.get(self.recipe.name, {}), sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()[:12]

    @property
    def outline_networks(self) -> tuple[nn.Module, InputSpec, nn.Module | None]:
        """What `segmentation.find_hands` needs beside a radiograph."""
        hand, redraw = self.recipe.hand, self.recipe.redraw
        return self.network(hand), hand.input, None if redraw is None else self.network(redraw)

    def find_hands(self, radiograph: Radiograph) -> tuple[HandMask, ...]:
        """Every hand of a radiograph from left to right; at least one.

        A hand beside others that the picture's edge cuts off does not count, unless all of them are cut off.

        Raises:
            HandNotFound: there is none.
            SeveralPictures: see `panels.check_one_picture`.
        """
        check_one_picture(radiograph)
        hands = find_hands(radiograph, *self.outline_networks)
        if len(hands) == 1:
            return hands
        return tuple(hand for hand in hands if _is_whole(radiograph, hand)) or hands

    def find_hand(
        self,
        radiograph: Radiograph,
        choice: HandChoice | None = None,
        stages: SharedStages | None = None,
        *,
        warn: bool = True,
    ) -> HandMask:
        """The hand of a radiograph with its landmarks, if it can be read.

        Args:
            radiograph: as read.
            choice: which of several hands; it does not matter where there is one only.
            stages: what other recipes found on the same radiograph with the same choice.
            warn: measure what is only to be said of picture and outline; what refuses them is measured in any case. The
                same for all that share `stages`.

        Raises:
            HandNotFound, HandCutOff, QualityTooLow: see `segmentation.find_hands`, `_cuts` and
                `quality.check_quality`.
            SeveralHands: there are several and none was chosen; it carries their masks.
            SeveralPictures: the picture is a page or screen that shows several.
        """
        stages = stages or SharedStages()
        hand, about_hand, _ = stages.once(self._segment_stage, lambda: self._segment(radiograph, choice, warn))
        placed = stages.once(
            self._hand_stage, lambda: self._outline_and_place(radiograph, hand, about_hand, stages, warn)
        )
        cuts, factors = self._cuts(placed, radiograph.name), self.calibration.cut_factors
        return replace(
            placed,
            cautions=(*cautions_of(cuts, factors), *placed.cautions),
            interval_factor=max((factors[part] for part in cuts), default=1.0),
        )

    @property
    def _segment_stage(self) -> Hashable:
        """All that the outline of a radiograph's hand by the network that finds hands depends on."""
        return "segmented", self.store.identity, self.recipe.hand, self.recipe.redraw

    @property
    def _hand_stage(self) -> Hashable:
        """All that the hand of a radiograph and its landmarks depend on."""
        recipe = self.recipe
        return "hand", self.store.identity, recipe.hand, recipe.redraw, recipe.mask, recipe.landmarks

    def _segment(
        self, radiograph: Radiograph, choice: HandChoice | None, warn: bool
    ) -> tuple[HandMask, tuple[Caution, ...], Sharpening | None]:
        """The chosen hand by the network that finds hands, what is to be said of the picture, and its sharpening."""
        hand = choose_hand(self.find_hands(radiograph), choice, radiograph.name)
        greys = HandGreys(radiograph, hand)
        check_quality(greys)
        if not warn:
            return hand, (), None
        return hand, (*about_foreign_material(greys), *about_processing(greys)), measure_sharpening(greys)

    def _find_unsharpened(
        self, radiograph: Radiograph, choice: HandChoice | None, stages: SharedStages
    ) -> tuple[HandMask, Sharpening | None, Radiograph, SharedStages]:
        """The hand as `find_hand` gives it, of the radiograph without strong sharpening of its edges.

        Returns:
            the hand, the sharpening that was undone, the radiograph without it, and the stages of that one.
        """
        *_, sharpening = stages.once(self._segment_stage, lambda: self._segment(radiograph, choice, warn=True))
        if sharpening is None:
            return self.find_hand(radiograph, choice, stages), None, radiograph, stages
        apart = stages.once(("unsharpened", self._segment_stage), SharedStages)
        shown = apart.once("radiograph", lambda: without_sharpening(radiograph, sharpening))
        found = self.find_hand(shown, choice, apart)
        return replace(found, cautions=(REDUCED, *found.cautions)), sharpening, shown, apart

    def _outline_and_place(
        self, radiograph: Radiograph, hand: HandMask, about_hand: tuple[Caution, ...], stages: SharedStages, warn: bool
    ) -> HandMask:
        """The hand with the outline of this recipe, its landmarks, and the cautions about both."""
        mask = self.recipe.mask
        outlined = hand if mask is None else resegment(radiograph, hand, self.network(mask), mask.input)
        placed = self.place_landmarks(radiograph, outlined, self._shared_steps(stages))
        about_outline = self.about_outline(radiograph, placed) if warn else ()
        return replace(placed, cautions=(*outlined.cautions, *about_hand, *about_outline))

    def place_landmarks(self, radiograph: Radiograph, hand: HandMask, shared: SharedSteps | None = None) -> HandMask:
        """The hand with its landmarks; as it is for a recipe without a network that places them."""
        member = self.recipe.landmarks
        if member is None:
            return hand
        return place_landmarks(radiograph, hand, member, self.network(member), shared)

    def _cuts(self, hand: HandMask, name: str) -> tuple[CutPart, ...]:
        """What the picture's edge cuts off; by the mask alone, which only refuses, where joints or factors are missing.

        Raises:
            HandCutOff: see `cut.find_cuts` and `quality.check_whole`.
        """
        landmarks = _certain(hand)
        if landmarks is None or set(CUT_PARTS) - set(self.calibration.cut_factors):
            check_whole(hand, name)
            return ()
        return find_cuts(hand, landmarks, name)

    def about_outline(self, radiograph: Radiograph, hand: HandMask) -> tuple[Caution, ...]:
        """What is wrong with the outline by the joints; nothing for a recipe without a network that places them."""
        if self.recipe.landmarks is None:
            return ()
        landmarks = _certain(hand)
        return (UNCHECKED,) if landmarks is None else about_outline(radiograph, hand, landmarks)

    def points(self, radiograph: Radiograph, hand: HandMask) -> Points:
        """The points that this recipe's steps go by; empty if it needs none, or can do without them here.

        Raises:
            LandmarksNotFound: they cannot be placed and the recipe needs them.
        """
        member = self.recipe.points
        if member is None:
            return {}
        return place_points(radiograph, hand, member, self.network(member), needed=self.recipe.points_needed)

    def regions(self, hand: HandMask) -> dict[str, BoolArray]:
        """The hand divided into its groups of bones, each of `hand_anatomy.REGION_TITLES` to bool (H, W).

        Args:
            hand: with its landmarks, as `find_hand` gives it.

        Raises:
            LandmarksNotFound: its joints could not be placed.
            WeightsMissing: this recipe has no network that places joints.
        """
        if hand.landmarks is None:
            raise WeightsMissing(
                f"The recipe '{self.recipe.name}' has no network that places joints, and so no regions. "
                "Choose a recipe that has one."
            )
        return hand_regions(check_placed(hand.landmarks), hand)

    def prepare(
        self,
        radiograph: Radiograph,
        hand: HandMask,
        points: Points | None = None,
        stages: SharedStages | None = None,
        on_step: Callable[[str, Picture], None] | None = None,
    ) -> dict[str, ModelInput]:
        """Each member's picture by name; members with the same input share one.

        Members that need a longer hand (`Member.least_hand_px`) are left out.

        Args:
            radiograph: as read.
            hand: on the same grid.
            points: what `points` gave; asked for if left out.
            stages: what other recipes made of the same radiograph and hand.
            on_step: called with every step's name and picture on the way to the first age network that answers.
        """
        placed = self.points(radiograph, hand) if points is None else points
        stages = stages or SharedStages()
        length_px = 0.0 if hand.landmarks is None else hand.landmarks.hand_length_px
        members = [member for member in self.recipe.sex_and_age_members if length_px >= member.least_hand_px]
        first = next((member.input for member in members if member in self.recipe.members), None)
        made: dict[InputSpec, ModelInput] = {}
        for spec in dict.fromkeys(member.input for member in members):
            if on_step is not None and spec == first:
                made[spec] = prepare(radiograph, hand, spec, placed, on_step)
            else:
                make = partial(prepare, radiograph, hand, spec, placed, shared=self._shared_steps(stages))
                made[spec] = stages.once(self._input_stage(spec), make)
        return {member.name: made[member.input] for member in members}

    def _shared_steps(self, stages: SharedStages) -> SharedSteps:
        """The steps that inputs of this recipe's hand have in common."""
        return stages.once(("steps", self._hand_stage), SharedSteps)

    def _input_stage(self, spec: InputSpec) -> Hashable:
        """All that a prepared picture depends on besides the radiograph."""
        return "input", self._hand_stage, spec, self.recipe.points if spec.goes_by_points else None

    def check_pose(self, hand: HandMask, name: str) -> tuple[Caution, ...]:
        """Refuse what is no hand seen from the front.

        Args:
            hand: with its landmarks, as `find_hand` gives it.
            name: what to call the picture.

        Returns:
            a caution where the pose is rare, or where this recipe has no network that can tell.

        Raises:
            UnsupportedPose: see `pose.check_pose`.
            WeightsMissing, WeightsCorrupt: see `pose.load_feature_space`.
        """
        member = self.recipe.landmarks
        if member is None or hand.landmarks is None:
            return (VIEW_UNCHECKED,)
        space = self.store.once(f"{OUTLIER}/{member.name}", partial(load_feature_space, member.name))
        return check_pose(shape_of(hand.landmarks), space, name)

    def assess(
        self,
        source: str | os.PathLike[str] | bytes,
        patient: Patient | None = None,
        *,
        name: str | None = None,
        explain: bool = False,
        age_group: int | None = None,
        hand: HandChoice | None = None,
        edits: ManualEdits | None = None,
        on_stage: Callable[[str], None] | None = None,
        on_findings: Callable[[Findings], None] | None = None,
    ) -> Report:
        """Assess one radiograph. The same bytes always give the same months.

        Args:
            source: a file, or its bytes.
            patient: sex and chronological age as entered; unknown if left out.
            name: what to call the picture in messages; the file's name otherwise.
            explain: also make the heatmap, about twice the work.
            age_group: which of the recipe's age groups the child is known to be in, from 1; only for a recipe that
                has some.
            hand: which one to assess if the picture shows several hands: the one on the left or on the right side of
                the picture, or the largest.
            edits: what is done to the picture by hand, before anything else; the report says so.
            on_stage: called with the name of each stage of `STAGES` as it begins.
            on_findings: called with what was found, from which `explain.explain_estimate` can go on.

        Returns:
            everything found, with the cautions that belong beside the number.

        Raises:
            SeveralHands: the picture shows several hands and `hand` was left out; it carries their masks.
            BoneAgeError: no honest number can be given; the message says why and what to do.
        """
        clock = Clock(on_stage)
        findings = self.find(source, name=name, hand=hand, edits=edits, age_group=age_group, clock=clock)
        if on_findings is not None:
            on_findings(findings)
        return self.report(findings, patient or Patient(), explain=explain, clock=clock)

    def find(
        self,
        source: str | os.PathLike[str] | bytes | Radiograph,
        *,
        name: str | None = None,
        hand: HandChoice | None = None,
        edits: ManualEdits | None = None,
        age_group: int | None = None,
        clock: Clock | None = None,
        stages: SharedStages | None = None,
        on_step: Callable[[str, Picture], None] | None = None,
    ) -> Findings:
        """The first three of `STAGES`: everything that networks compute for an estimate.

        Args:
            source: a file, its bytes, or a radiograph that was read already.
            name: as for `assess`.
            hand: as for `assess`.
            edits: as for `assess`.
            age_group: as for `assess`.
            clock: counts the stages.
            stages: what other recipes found on the same source with the same name, hand and edits.
            on_step: as for `prepare`.

        Raises:
            BoneAgeError: as `assess`.
        """
        self._check_group(age_group)
        clock, stages = clock or Clock(), stages or SharedStages()
        with clock.stage("reading"):
            radiograph = stages.once("radiograph", lambda: _read(source, name, edits))
        with clock.stage("finding the hand"):
            found, sharpening, shown, stages = self._find_unsharpened(radiograph, hand, stages)
            inputs, about_pose = self.prepare_checked(shown, found, stages, on_step)
        with clock.stage("estimating"):
            outputs = self.run_networks(inputs, age_group, stages)
        return Findings(self.versions, radiograph, found, hand, inputs, about_pose, outputs, age_group, sharpening)

    def report(
        self, findings: Findings, patient: Patient, *, explain: bool = False, clock: Clock | None = None
    ) -> Report:
        """The report of findings for what was entered; the last of `STAGES` if a heatmap is asked for.

        Args:
            findings: of this assessor (`find`).
            patient: sex and chronological age as entered.
            explain: also make the heatmap.
            clock: with the stages that made the findings.
        """
        clock = clock or Clock()
        estimate = self.estimate(findings.outputs, patient, findings.hand.interval_factor)
        explanation = None
        if explain:
            with clock.stage("explaining"):
                explanation = self.explain(findings.inputs, estimate.sex_used, findings.age_group)
        found = (
            *self.cautions_about(findings, estimate, patient),
            *(cautions.about_explanation(explanation) if explanation else ()),
        )
        return Report(
            file=findings.radiograph.name,
            recipe=self.recipe.name,
            prediction=estimate.prediction,
            sex_entered=patient.sex,
            sex_predicted=likelier_sex(estimate.probability_male),
            sex_probability_male=estimate.probability_male,
            sex_check=estimate.sex_check,
            bone_age_if_female_months=estimate.by_sex["female"].bone_age_months,
            bone_age_if_male_months=estimate.by_sex["male"].bone_age_months,
            chronological_age_months=patient.chronological_age_months,
            cautions=found,
            versions=self.versions,
            seconds=clock.total_seconds,
            radiograph=findings.radiograph,
            hand=findings.hand,
            explanation=explanation,
            stage_seconds=clock.seconds,
            local_calibration=estimate.local_calibration,
        )

    def prepare_checked(
        self,
        radiograph: Radiograph,
        hand: HandMask,
        stages: SharedStages | None = None,
        on_step: Callable[[str, Picture], None] | None = None,
    ) -> tuple[dict[str, ModelInput], tuple[Caution, ...]]:
        """Each network's picture of a hand, after every check that stands before an estimate.

        Assessments, explanations and their tests of robustness all pass here.

        Args:
            radiograph: as read.
            hand: with its landmarks, as `find_hand` gives it.
            stages: as for `prepare`.
            on_step: as for `prepare`.

        Returns:
            the pictures by network, and the cautions of `check_pose`.

        Raises:
            UnsupportedPose: the hand is not seen from the front (`check_pose`).
            LandmarksNotFound: the recipe needs points that cannot be placed.
        """
        stages = stages or SharedStages()
        said = stages.once(("pose", self._hand_stage), lambda: self.check_pose(hand, radiograph.name))
        return self.prepare(radiograph, hand, self.points(radiograph, hand), stages, on_step), said

    def cautions_about(self, findings: Findings, estimate: Estimate, patient: Patient) -> tuple[Caution, ...]:
        """All cautions that belong beside an estimate: of file, hand, preparation, entry and estimate, each once."""
        radiograph, hand, inputs = findings.radiograph, findings.hand, findings.inputs
        found = (
            *radiograph.cautions,
            *hand.cautions,
            *cautions.about_picture(radiograph, hand),
            *findings.about_pose,
            *(said for made in inputs.values() for said in made.cautions),
            *cautions.about_view((inputs[name] for name in self._answering(inputs)), hand),
            *cautions.about_left_out(self._left_out(inputs), hand),
            *cautions.about_sex_in_file(patient.sex, radiograph.sex_in_file),
            *self._about_estimate(estimate, patient),
            *estimate.cautions,
        )
        return tuple(dict.fromkeys(found))

    def run_networks(
        self, inputs: Mapping[str, ModelInput], age_group: int | None = None, stages: SharedStages | None = None
    ) -> NetworkOutputs:
        """Months for both sexes and the probability of male, before any correction.

        Args:
            inputs: as `prepare` made them.
            age_group: as for `assess`.
            stages: with which `inputs` were made; recipes of the same sex networks share their result.
        """
        stage = ("sex", self.recipe.sex, *(self._input_stage(member.input) for member in self.recipe.sex))
        probability_male = (stages or SharedStages()).once(stage, lambda: self._probability_male(inputs))
        by_sex = predict_months_by_sex(self._age_networks(inputs, age_group), inputs, SEXES, self.recipe.views)
        return NetworkOutputs(by_sex, probability_male)

    def _probability_male(self, inputs: Mapping[str, ModelInput]) -> float:
        networks = {member.name: self.network(member) for member in self.recipe.sex}
        return mean_log_odds(predict_sex(networks, inputs, self.recipe.sex_views).values())

    def estimate(self, outputs: NetworkOutputs, patient: Patient, interval_factor: float = 1.0) -> Estimate:
        """Sex and months for both sexes, corrected, with intervals. No network runs.

        Args:
            outputs: as `run_networks` made them.
            patient: as entered.
            interval_factor: by how much the intervals are widened (`HandMask.interval_factor`).
        """
        answers, probability_male = outputs.by_sex, outputs.probability_male
        known = self._calibration_for(answers[SEXES[0]])
        plain = {sex: self._uncorrected(answers[sex], sex, known) for sex in SEXES}
        by_sex = {sex: self._corrected(plain[sex]) for sex in SEXES}
        used = patient.sex or likelier_sex(probability_male)
        checked = check_sex(patient.sex, probability_male, by_sex[used].bone_age_months, self.calibration)
        prediction = by_sex[used]
        if patient.sex is None:
            own = {sex: self.own(answers[sex], sex) for sex in SEXES}
            correct = None if self.local is None else self.local.correct
            spread = interval_for_unknown_sex(own, probability_male, known, self.recipe.weights, correct)
            prediction = replace(prediction, interval_months=spread)
            prediction = prediction if self.local is None else self.local.widen(prediction)
        widened = {sex: answer.widened(interval_factor) for sex, answer in by_sex.items()}
        local, said = (None, ()) if self.local is None else self.local.note(plain[used], used)
        return Estimate(widened, prediction.widened(interval_factor), used, probability_male, checked, local, said)

    def predict(self, inputs: Mapping[str, ModelInput], sex: Sex) -> Prediction:
        """Months for one sex, corrected, with an interval: `estimate` without the sex networks."""
        answers = predict_months_by_sex(self._age_networks(inputs), inputs, (sex,), self.recipe.views)[sex]
        return self._corrected(self._uncorrected(answers, sex, self._calibration_for(inputs)))

    def _corrected(self, prediction: Prediction) -> Prediction:
        return prediction if self.local is None else self.local.apply(prediction)

    def _uncorrected(self, answers: Mapping[str, NetworkOutput], sex: Sex, known: Calibration) -> Prediction:
        """Without local calibration."""
        return calibrate(self.own(answers, sex), sex, known, self.recipe.weights)

    def _answering(self, names: Collection[str]) -> list[str]:
        """The age networks among these names, of inputs or of answers."""
        return [member.name for member in self.recipe.members if member.name in names]

    def _left_out(self, names: Collection[str]) -> list[Member]:
        """The age networks that need a longer hand."""
        return [member for member in self.recipe.members if member.name not in names]

    def _calibration_for(self, names: Collection[str]) -> Calibration:
        """The calibration of the age networks that answer."""
        return self.calibration.at_low_resolution() if self._left_out(names) else self.calibration

    def explain(self, inputs: Mapping[str, ModelInput], sex: Sex, age_group: int | None = None) -> Explanation:
        """The heatmap of the estimate for this sex; `age_group` as for `assess`."""
        networks = self.own(self._age_networks(inputs, age_group), sex)
        mirror = self.recipe.views.mirror
        forwards = {name: forwards_by_view(net, sex, mirror, inputs[name]) for name, net in networks.items()}
        return saliency(forwards, inputs, self.recipe.weights)

    def _age_networks(self, inputs: Mapping[str, ModelInput], age_group: int | None = None) -> dict[str, AgeNetwork]:
        networks = {member.name: self.network(member) for member in self.recipe.members if member.name in inputs}
        if age_group is not None:
            networks = {name: cast(GroupedAgeNetwork, net).stating(age_group - 1) for name, net in networks.items()}
        return cast(dict[str, AgeNetwork], networks)

    def own(self, by_member: Mapping[str, Something], sex: Sex) -> dict[str, Something]:
        """What belongs to the members that answer for this sex, of those that answered."""
        members = (member for member in self.recipe.members if sex in member.sexes)
        return {member.name: by_member[member.name] for member in members if member.name in by_member}

    def calibrated_by(self, local: LocalCalibration) -> Assessor:
        """This assessor with a clinic's own calibration.

        Raises:
            InvalidCalibration: it was made with another recipe or other weights.
        """
        prefix = "weights/"
        weights = {k.removeprefix(prefix): v for k, v in self.versions.items() if k.startswith(prefix)}
        local.check(self.recipe.name, weights)
        return replace(self, local=local)

    def _check_group(self, age_group: int | None) -> None:
        """Raises InvalidPatient unless the recipe has this age group, or none is stated."""
        groups = len(self.recipe.age_groups_months) - 1
        if age_group is None or 1 <= age_group <= groups:
            return
        raise InvalidPatient(
            f"There is no age group {age_group} in the recipe '{self.recipe.name}'. "
            + (f"Give 1 to {groups}, or none." if groups > 0 else "It knows no age groups: leave it out.")
        )

    def _about_estimate(self, estimate: Estimate, patient: Patient) -> tuple[Caution, ...]:
        """Cautions that need the calibration."""
        known = self.calibration
        sex = estimate.sex_used
        span, measured = known.trained_range_months[sex], known.range_error_months[sex]
        return (
            *cautions.about_sex(
                patient.sex,
                estimate.probability_male,
                estimate.sex_check,
                estimate.by_sex,
                known.mismatch_youngest_months,
            ),
            *cautions.about_age(estimate.prediction, patient.chronological_age_months, span, measured),
        )


def _read(
    source: str | os.PathLike[str] | bytes | Radiograph, name: str | None, edits: ManualEdits | None
) -> Radiograph:
    return source if isinstance(source, Radiograph) else read_radiograph(source, name, edits)


def load_assessor(
    recipe: str = DEFAULT_RECIPE,
    *,
    weights_dir: Path | None = None,
    store: NetworkStore | None = None,
    local_calibration: Path | None = None,
) -> Assessor:
    """An assessor for a recipe by name. Reads the manifest; the networks follow when needed.

    Args:
        recipe: one of `RECIPES`.
        weights_dir: a folder with manifest.json; `weights.DEFAULT_FOLDER` if left out.
        store: of such a folder, in place of `weights_dir`: assessors that share one load each network once.
        local_calibration: a file with a clinic's own calibration of this recipe and these weights.

    Raises:
        InvalidCalibration: the local calibration is no such file, or of another recipe or other weights.
        UnknownRecipe: there is none of that name.
        WeightsMissing: there is no manifest, or it holds nothing for this recipe.
        WeightsCorrupt: the manifest cannot be used.
    """
    chosen, store = find_recipe(recipe), NetworkStore.of_folder(weights_dir) if store is None else store
    start_decoder()  # ready before the networks are
    known = store.manifest.calibration
    if chosen.name not in known:
        raise WeightsMissing(
            f"The weights of {chosen.title} are not in the weights folder, so no estimate can be made. Get the folder "
            "as weights/README.md says, or train them as train/README.md says."
        )
    assessor = Assessor(chosen, Calibration.from_dict(known[chosen.name]), store)
    return assessor if local_calibration is None else assessor.calibrated_by(read_local_calibration(local_calibration))
