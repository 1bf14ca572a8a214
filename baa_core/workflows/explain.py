"""Assessor + radiograph -> Panel: every part of an explanation, in order, with progress and a way to stop.

Example:
    panel = baa_core.workflows.explain.explain_estimate(assessor, "hand.dcm", Patient(sex="female"), on_stage=print)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
from torch import Tensor, nn

from ..errors import HandRefused, LandmarksNotFound, WeightsMissing
from ..estimation.ensemble import Forward, age_forward, by_weight, encode_sex, weight_factors
from ..explanation.atlas import textbook_stage
from ..explanation.attribution import require_finite
from ..explanation.faithfulness import Deletion, measure_deletion
from ..explanation.gradients import own_copy
from ..explanation.joint_readings import JointReading, joint_readings
from ..explanation.methods import Attribute, Method, evidence, explain_with, find_method
from ..explanation.region_effects import (
    LeavesOut,
    RegionEffect,
    attribution_shares,
    leaving_joints_out,
    months_by_region,
)
from ..explanation.report import Panel
from ..explanation.robustness import OTHER_SEX, SIDES_EXCHANGED, Robustness, measure_robustness
from ..explanation.verdict import stability, summarise_checks
from ..networks.joint_patches import JointAgeNetwork
from ..preprocessing.prepare import ModelInput
from ..reporting import cautions
from ..reporting.charts import deletion_figure, insertion_figure, regions_figure, robustness_figure, write_figure
from ..reporting.overlays import encode_png, regions_picture, signed_overlay
from ..types import (
    SEXES,
    BoolArray,
    Caution,
    FloatArray,
    HandChoice,
    HandMask,
    ManualEdits,
    Patient,
    Radiograph,
    SignedExplanation,
)
from .assess import STAGES as ASSESSMENT_STAGES
from .assess import Assessor
from .findings import Clock, Estimate, Findings, SharedStages

FINDING = ASSESSMENT_STAGES[:3]
STAGES = (
    *FINDING,
    "computing the heatmap",
    "measuring region effects",
    "testing faithfulness",
    "testing stability",
    "testing robustness",
)
DEFAULT_METHOD = "both_ways"
LISTENED_EVERY_SECONDS = 0.2  # while a stage waits for another thread: how soon the listener can end the work
OTHER_SIDE: Mapping[HandChoice | None, HandChoice] = {"left": "right", "right": "left"}

Listener = Callable[[str], None]


class ProgressReporter:
    """Calls the listener with each stage as it begins, and with the same one again before every pass of a network."""

    def __init__(self, listener: Listener | None) -> None:
        self.listener, self.stage = listener, STAGES[0]

    def __call__(self, stage: str) -> None:
        """A stage begins."""
        self.stage = stage
        self.again()

    def again(self) -> None:
        """Call the listener once more; it may raise to end the work."""
        if self.listener:
            self.listener(self.stage)


@dataclass(frozen=True, eq=False)
class ExplanationContext:
    """An estimate, and the networks behind it ready to be explained.

    Attributes:
        assessor: whose findings these are.
        findings: radiograph, hand, prepared pictures, outputs of the networks.
        patient: as entered.
        estimate: of the findings, for this patient.
        networks: the age networks by name, each an `gradients.own_copy`: other threads use the assessor's meanwhile.
        forwards: the same as functions of pictures alone, for the sex used, multiplied so that their mean is the
            estimate (`ensemble.by_weight`); each calls `progress` before a pass. They answer about the picture as it
            stands: the mirror image that an estimate averages over as well would double the work.
        anew: the same as `forwards`, with joints placed anew on every picture by networks that look along bones: so
            they learned to do without a region that is filled in (`train.data.phantoms`).
        of_joints: networks of joints as functions of what they do without, multiplied likewise.
        progress: calls the listener.
    """

    assessor: Assessor
    findings: Findings
    patient: Patient
    estimate: Estimate
    networks: Mapping[str, nn.Module]
    forwards: Mapping[str, Forward]
    anew: Mapping[str, Forward]
    of_joints: Mapping[str, LeavesOut]
    progress: ProgressReporter

    @property
    def radiograph(self) -> Radiograph:
        """As read."""
        return self.findings.radiograph

    @property
    def hand(self) -> HandMask:
        """On the radiograph's grid."""
        return self.findings.hand

    @property
    def inputs(self) -> Mapping[str, ModelInput]:
        """Network to its prepared picture."""
        return self.findings.inputs

    @property
    def months(self) -> float:
        """The radiograph's own estimate."""
        return self.estimate.prediction.bone_age_months


def explain_estimate(
    assessor: Assessor,
    source: str | os.PathLike[str] | bytes | Findings,
    patient: Patient | None = None,
    method: str = DEFAULT_METHOD,
    on_stage: Listener | None = None,
    *,
    name: str | None = None,
    hand: HandChoice | None = None,
    edits: ManualEdits | None = None,
) -> Panel:
    """Explain one radiograph's estimate and put the explanation to the test.

    Args:
        assessor: the system.
        source: a file, its bytes, or what an assessment of it by the same assessor found: then nothing is read,
            segmented or estimated anew.
        patient: the sex as entered; unknown if left out.
        method: one of `explain.METHODS`.
        on_stage: called with the name of each stage of `STAGES` as it begins, and with the same name again before
            every pass of a network, or while the last two, which run beside the others, are waited for; not with what
            an assessment did already. What it raises ends the work at once.
        name: what to call the picture in messages; the file's name otherwise.
        hand: which one of several hands, as for `Assessor.assess`.
        edits: what is done to the picture by hand, as for `Assessor.assess`.
        (Findings hold their own name, hand and edits.)

    Raises:
        ValueError: the findings were made by another recipe, other weights or another version.
        UnknownMethod: no method has that name.
        BoneAgeError: no honest number can be given; the message says why and what to do.
    """
    chosen, progress = find_method(method), ProgressReporter(on_stage)
    clock = Clock(progress)
    if not isinstance(source, Findings):
        source = assessor.find(source, name=name, hand=hand, edits=edits, clock=clock)
    return _panel(context_of(assessor, source, patient or Patient(), progress), chosen, clock)


def context_of(
    assessor: Assessor, findings: Findings, patient: Patient, progress: ProgressReporter | None = None
) -> ExplanationContext:
    """The estimate of findings for this patient, ready to be explained. No network runs.

    Raises:
        ValueError: the findings were made by another recipe, other weights or another version.
    """
    if findings.versions != assessor.versions:
        raise ValueError(f"findings of {dict(findings.versions)} cannot be explained by {assessor.versions}")
    progress = progress or ProgressReporter(None)
    inputs = findings.inputs
    estimate = assessor.estimate(findings.outputs, patient, findings.hand.interval_factor)
    networks = {
        member.name: own_copy(assessor.network(member))
        for member in assessor.recipe.members
        if estimate.sex_used in member.sexes and member.name in inputs
    }

    def forwards(fixed: Mapping[str, ModelInput]) -> dict[str, Forward]:
        asked = {
            name: _telling(age_forward(network, estimate.sex_used, False, fixed.get(name)), progress, name)
            for name, network in networks.items()
        }
        return by_weight(asked, assessor.recipe.weights)

    factors = weight_factors(networks, assessor.recipe.weights)
    of_joints = {
        name: leaving_joints_out(network, inputs[name], encode_sex([estimate.sex_used]), factors[name])
        for name, network in networks.items()
        if isinstance(network, JointAgeNetwork)
    }
    return ExplanationContext(
        assessor,
        findings,
        patient,
        estimate,
        networks,
        forwards=forwards(inputs),
        anew=forwards({}),
        of_joints=of_joints,
        progress=progress,
    )


def _panel(context: ExplanationContext, method: Method, clock: Clock) -> Panel:
    """The heatmap and all of its tests.

    The tests of stability and robustness are half of the work and rest on none of the others, and much of it is
    arithmetic of one core: they run beside them in a thread of their own, one after the other, and their stages begin
    where the others wait for them. So do the regions, which are divided there first.
    """
    attribution, effects, faithfulness, stable_stage, robust_stage = STAGES[len(FINDING) :]
    with _beside() as thread:
        divided = thread.start(lambda _ended: _divide(context))
        stability_of = thread.start(partial(_measure_stability_apart, context, method))
        robustness_of = thread.start(partial(_measure_robustness, context))
        with clock.stage(attribution):
            explanation = compute_attribution(context, method)
        with clock.stage(effects):
            masks, unplaced = divided(context.progress)
            regions = region_effects(context, masks)
        with clock.stage(faithfulness):
            deletion = measure_faithfulness(context, method, explanation)
        with clock.stage(stable_stage):
            stable = stability_of(context.progress)
        with clock.stage(robust_stage):
            robust = robustness_of(context.progress)
    return Panel(
        file=context.radiograph.name,
        recipe=context.assessor.recipe.name,
        sex_used=context.estimate.sex_used,
        estimate_months=context.months,
        explanation=explanation,
        regions=regions,
        shares=attribution_shares(explanation.months, masks, context.hand.pixels),
        deletion=deletion,
        stability=stable,
        robustness=robust,
        textbook=textbook_stage(context.months, context.estimate.sex_used),
        verdict=summarise_checks(deletion, stable),
        cautions=(*all_cautions(context, explanation), *unplaced),
        seconds=clock.total_seconds,
        radiograph=context.radiograph,
        hand=context.hand,
        masks=masks,
        stage_seconds=clock.seconds,
        joints=_joints(context),
    )


Made = TypeVar("Made")


@dataclass(frozen=True)
class _Beside:
    """A thread beside this one, that does one piece of work after the other.

    Each is given an event, and ends soon after that is set.
    """

    thread: ThreadPoolExecutor
    ended: Event

    def start(self, work: Callable[[Event], Made]) -> Callable[[ProgressReporter], Made]:
        """Begin a piece of work when those before it are done; what waits for it, or raises its error."""
        return partial(_wait_for, self.thread.submit(copy_context().run, work, self.ended))


@contextmanager
def _beside() -> Iterator[_Beside]:
    """A thread for as long as the block; its work ends with the block at the latest."""
    ended = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread:
        try:
            yield _Beside(thread, ended)
        finally:
            ended.set()


def _wait_for(made: Future[Made], progress: ProgressReporter) -> Made:
    """What a thread makes; the listener is called while it is not there yet."""
    progress.again()
    while wait([made], LISTENED_EVERY_SECONDS).not_done:
        progress.again()
    return made.result()


def _measure_stability_apart(context: ExplanationContext, method: Method, ended: Event) -> dict[str, float]:
    """`measure_stability` with copies of the networks of its own; no pass begins once `ended` is set."""

    def stop(_stage: str) -> None:
        if ended.is_set():
            raise CancelledError

    apart = context_of(context.assessor, context.findings, context.patient, ProgressReporter(stop))
    return measure_stability(apart, method)


def _joints(context: ExplanationContext) -> tuple[JointReading, ...]:
    """What each joint says, if a network of the ensemble reads joints."""
    for name, network in context.networks.items():
        if isinstance(network, JointAgeNetwork):
            return joint_readings(network, context.inputs[name], encode_sex([context.estimate.sex_used]))
    return ()


def _telling(forward: Forward, progress: ProgressReporter, name: str) -> Forward:
    """A network's forward that lets the listener speak up first, and whose months are numbers."""

    def asked(pictures: Tensor) -> Tensor:
        progress.again()
        months = forward(pictures)
        require_finite(months.detach().numpy(), f"The answer of the network '{name}' to a changed picture")
        return months

    return asked


def compute_attribution(context: ExplanationContext, method: Method) -> SignedExplanation:
    """The ensemble's estimate explained by one method."""
    return explain_with(method.name, context.networks, context.forwards, context.inputs, context.hand.pixels)


def region_effects(context: ExplanationContext, masks: Mapping[str, BoolArray]) -> dict[str, RegionEffect]:
    """What each region, bool (H, W) on the radiograph's grid, contributes to the estimate, with joints placed anew."""
    return months_by_region(context.anew, context.inputs, masks, context.of_joints)


def measure_faithfulness(context: ExplanationContext, method: Method, explanation: SignedExplanation) -> Deletion:
    """Whether blurring what the map marks moves the estimate the way it says; 62 pictures a network."""
    said = {name: evidence(method, made, context.inputs[name]) for name, made in explanation.by_member.items()}
    return measure_deletion(context.forwards, context.inputs, said)


def measure_stability(context: ExplanationContext, method: Method) -> dict[str, float]:
    """How much of each network's map survives small changes, averaged over the networks by weight; four maps each.

    They are sketches where the method has one: they are only compared with each other, and cost a fraction.
    """
    attribute = method.sketch or method.attribute
    found = []
    for name in context.networks:
        ask = partial(_months, attribute, name, context)
        found.append(stability(ask, context.inputs[name], ask(context.inputs[name])))
    weights = [context.assessor.recipe.weights[name] for name in context.networks]
    return {change: float(np.average([each[change] for each in found], weights=weights)) for change in found[0]}


def _months(attribute: Attribute, name: str, context: ExplanationContext, given: ModelInput) -> FloatArray:
    network = context.networks[name]
    forward = age_forward(network, context.estimate.sex_used, mirror=False, fixed=given)
    return attribute(network, _telling(forward, context.progress, name), given).months


def _measure_robustness(context: ExplanationContext, ended: Event) -> Robustness:
    """The changed radiographs through all that an assessment does, for the same sex; then this one for the other sex.

    A changed radiograph that any check refuses gets the check's reason in place of months. No more radiographs are
    assessed once `ended` is set.
    """
    used = context.estimate.sex_used

    def estimate(name: str, changed: Radiograph) -> float | str:
        if ended.is_set():
            raise CancelledError
        choice = context.findings.choice
        if name in SIDES_EXCHANGED:
            choice = OTHER_SIDE.get(choice, choice)
        stages = SharedStages()
        try:
            hand = context.assessor.find_hand(changed, choice, stages, warn=False)
            inputs, _ = context.assessor.prepare_checked(changed, hand, stages)
        except HandRefused as error:
            return str(error)
        return context.assessor.predict(inputs, used).bone_age_months

    found = measure_robustness(estimate, context.findings.unsharpened, context.hand, context.months)
    (other,) = (sex for sex in SEXES if sex != used)
    return replace(
        found, months={**found.months, OTHER_SEX: context.estimate.by_sex[other].bone_age_months - context.months}
    )


def _divide(context: ExplanationContext) -> tuple[dict[str, BoolArray], tuple[Caution, ...]]:
    """The regions of the hand; none, and a caution that says so, where no network places joints or it cannot here."""
    try:
        return context.assessor.regions(context.hand), ()
    except LandmarksNotFound as error:
        reason = str(error)
    except WeightsMissing as error:
        if context.assessor.recipe.landmarks is not None:
            raise
        reason = str(error)
    return {}, (Caution("no_regions", f"{reason} So there is nothing to say about regions here."),)


def all_cautions(context: ExplanationContext, explanation: SignedExplanation) -> tuple[Caution, ...]:
    """All that an assessment of the same file says, and what is to be said of the map."""
    said = context.assessor.cautions_about(context.findings, context.estimate, context.patient)
    return (*said, *cautions.about_explanation(explanation))


def write_panel(panel: Panel, folder: Path) -> None:
    """Everything to look at, into a folder that is there: two pictures, four figures that need no network."""
    pixels, inverted = panel.radiograph.pixels, panel.hand.inverted
    pictures = {
        "map.png": signed_overlay(pixels, panel.explanation.months, inverted=inverted),
        "regions.png": regions_picture(pixels, panel.masks, inverted=inverted),
    }
    figures = {
        "regions.html": regions_figure(panel.regions),
        "deletion.html": deletion_figure(panel.deletion),
        "insertion.html": insertion_figure(panel.deletion),
        "drift.html": robustness_figure(panel.robustness),
    }
    for name, picture in pictures.items():
        (folder / name).write_bytes(encode_png(picture))
    for name, figure in figures.items():
        write_figure(figure, folder / name)
