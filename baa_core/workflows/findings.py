"""What lies between a radiograph and a report: the findings, the estimate, and what several recipes share of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar, cast

from ..errors import BoneAgeError
from ..hand.sharpening import Sharpening, without_sharpening
from ..preprocessing.prepare import ModelInput
from ..types import (
    Caution,
    HandChoice,
    HandMask,
    LocalCorrection,
    NetworkOutput,
    Prediction,
    Radiograph,
    Sex,
    SexCheck,
)

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """What the networks of a recipe computed from one hand, before any correction.

    Attributes:
        by_sex: sex to age network to its output.
        probability_male: of all sex networks together, 0 to 1.
    """

    by_sex: Mapping[Sex, Mapping[str, NetworkOutput]]
    probability_male: float


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a recipe's networks computed from a radiograph; what was entered about the child plays no part in it.

    `Assessor.report` makes a report of it, and `explain.explain_estimate` goes on from it.

    Attributes:
        versions: `Assessor.versions` of who made it; nobody else can go on from it.
        radiograph: as read.
        hand: with its landmarks, checked.
        choice: how it was chosen among several hands.
        inputs: network to its prepared picture.
        about_pose: cautions of the check of the pose.
        outputs: of the networks.
        age_group: that was stated, from 1; None for none.
        sharpening: of the radiograph's edges, undone before anything was found in it; None where it was not strong.
    """

    versions: Mapping[str, str]
    radiograph: Radiograph
    hand: HandMask
    choice: HandChoice | None
    inputs: Mapping[str, ModelInput]
    about_pose: tuple[Caution, ...]
    outputs: NetworkOutputs
    age_group: int | None = None
    sharpening: Sharpening | None = None

    @property
    def unsharpened(self) -> Radiograph:
        """The radiograph in which everything was found."""
        return without_sharpening(self.radiograph, self.sharpening)

    def without_pixels(self) -> Findings:
        """The same, small enough for a session to keep: the radiograph can be read again."""
        return self.of(replace(self.radiograph, pixels=self.radiograph.pixels[:0].copy()))

    def of(self, radiograph: Radiograph) -> Findings:
        """The same with the radiograph as it was read again."""
        return replace(self, radiograph=radiograph)


@dataclass(frozen=True)
class Estimate:
    """Findings, calibrated for what was entered.

    Attributes:
        by_sex: the prediction for each sex.
        prediction: the one for the sex used; where no sex was entered its interval covers the mixture of both sexes.
        sex_used: entered, or else predicted.
        probability_male: of the sex networks.
        sex_check: the sex networks' result against the entered sex.
        local_calibration: what a clinic's own calibration did; None without one.
        cautions: that belong beside the months themselves.
    """

    by_sex: Mapping[Sex, Prediction]
    prediction: Prediction
    sex_used: Sex
    probability_male: float
    sex_check: SexCheck
    local_calibration: LocalCorrection | None = None
    cautions: tuple[Caution, ...] = ()


class Clock:
    """Seconds by stage; `on_stage` is called with the name of each as it begins."""

    def __init__(self, on_stage: Callable[[str], None] | None = None) -> None:
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}
        self._start = perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        if self.on_stage:
            self.on_stage(name)
        start = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start

    @property
    def total_seconds(self) -> float:
        """Since it was made."""
        return perf_counter() - self._start


class SharedStages:
    """The stages of one radiograph that several recipes have in common, each run once (`compare.compare`).

    A stage is named by all that its result depends on besides the radiograph. Not for several threads.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def once(self, stage: Hashable, make: Callable[[], Made]) -> Made:
        """What the stage made when it was asked for first; if it refused, the same refusal again.

        Raises:
            BoneAgeError: the stage refused. Other errors are raised, and not kept.
        """
        if stage not in self._made:
            try:
                self._made[stage] = make()
            except BoneAgeError as refusal:
                self._made[stage] = refusal
        made = self._made[stage]
        if isinstance(made, BoneAgeError):
            raise made
        return cast(Made, made)
