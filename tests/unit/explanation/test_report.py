"""The panel: how its parts are put together, what it says, and what it draws. Untrained networks, or none at all."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from threading import Barrier

import cv2
import numpy as np
import pytest
import torch

from baa_core.errors import LandmarksNotFound, NotFinite, UnknownMethod, UnreadableImage, UnsupportedPose
from baa_core.explanation.atlas import textbook_stage
from baa_core.explanation.faithfulness import Deletion, Removal
from baa_core.explanation.methods import find_method
from baa_core.explanation.region_effects import ELSEWHERE, OUTSIDE, RegionEffect, attribution_shares
from baa_core.explanation.report import Panel
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS, Robustness
from baa_core.explanation.verdict import summarise_checks
from baa_core.networks.store import NetworkStore
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes.schema import TestTimeAugmentation
from baa_core.reporting.charts import deletion_figure, insertion_figure, regions_figure, robustness_figure
from baa_core.reporting.overlays import OLDER, YOUNGER, full_colour_months, regions_picture, rgb, signed_overlay
from baa_core.reporting.text import summarise_panel
from baa_core.types import BoolArray, Caution, HandMask, Patient, Radiograph, SignedExplanation
from baa_core.workflows.assess import Assessor
from baa_core.workflows.explain import (
    STAGES,
    all_cautions,
    compute_attribution,
    context_of,
    explain_estimate,
    region_effects,
    write_panel,
)
from baa_core.workflows.findings import Findings

PROMISED = {
    "method", "estimate_months", "regions", "inside_hand_share", "deletion", "stability", "member_agreement", "drift",
    "verdict", "seconds",
}  # fmt: skip
ADDED = {"joints", "file", "status", "recipe", "cautions", "disclaimer", "drift_refusals"}


class Halved(Assessor):
    """An assessor whose regions are the upper and the lower half of the hand."""

    def regions(self, hand: HandMask) -> dict[str, BoolArray]:
        rows = np.flatnonzero(hand.pixels.any(axis=1))
        upper = np.arange(len(hand.pixels))[:, None] < (rows[0] + rows[-1]) / 2
        return {"fingers": hand.pixels & upper, "wrist_side": hand.pixels & ~upper}


@pytest.fixture(scope="module")
def halved(tiny_assessor: Assessor) -> Halved:
    """Two untrained networks."""
    return Halved(tiny_assessor.recipe, tiny_assessor.calibration, tiny_assessor.store)


def hand_png(seed: int = 0) -> bytes:
    return to_png(draw_phantom(120.0, "male", seed=seed, height_px=300).radiograph)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the listener heard while `examined` was made."""
    return []


@pytest.fixture(scope="module")
def examined(halved: Halved, told: list[str]) -> Panel:
    return explain_estimate(halved, hand_png(), Patient("male"), "saliency", told.append, name="hand.png")


def test_the_json_is_what_is_promised(examined: Panel) -> None:
    values = json.loads(json.dumps(examined.to_dict(), allow_nan=False))
    assert set(values) == PROMISED | ADDED
    assert (values["method"], values["file"], values["recipe"]) == ("saliency", "hand.png", "tiny")
    assert set(values["regions"]) == {"fingers", "wrist_side"}
    for region in values["regions"].values():
        assert set(region) == {
            "months", "null_low", "null_high", "contribution_months", "chance_low_months", "chance_high_months",
            "attribution_share",
        }  # fmt: skip
        assert region["null_low"] <= region["null_high"]
        assert region["months"] == pytest.approx(-region["contribution_months"])
    assert set(values["deletion"]) == {"area", "random_area", "edge_area"}
    assert set(values["stability"]) == {"noise", "turned left", "turned right"}
    assert set(values["drift"]) == {*TRANSFORMS, OTHER_SEX}
    assert values["verdict"].endswith(".")


def test_its_parts_belong_together(halved: Halved, examined: Panel) -> None:
    report = halved.assess(hand_png(), Patient("male"))
    assert examined.estimate_months == report.prediction.bone_age_months
    assert examined.robustness.months[OTHER_SEX] == pytest.approx(
        report.bone_age_if_female_months - report.bone_age_if_male_months, abs=1e-4
    )
    assert sum(examined.shares.values()) == pytest.approx(1.0)
    assert list(examined.shares) == ["fingers", "wrist_side", ELSEWHERE, OUTSIDE]
    assert examined.textbook == textbook_stage(examined.estimate_months, "male")
    assert examined.explanation.months.shape == examined.radiograph.shape == examined.masks["fingers"].shape
    assert not examined.masks["fingers"].flags.writeable
    assert 0 < sum(examined.stage_seconds.values()) <= examined.seconds


def test_stages_are_told_in_order_and_again_before_every_pass(examined: Panel, told: list[str]) -> None:
    once = [stage for number, stage in enumerate(told) if number == 0 or stage != told[number - 1]]
    assert tuple(once) == STAGES == tuple(examined.stage_seconds)
    for stage in STAGES[3:-2]:  # the last two run beside them and may be over by then
        assert told.count(stage) > 2


def test_an_explanation_goes_on_from_what_an_assessment_found(
    halved: Halved, examined: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whatever is entered by then; reading, segmenting, preparing and the sex networks are not run again."""
    kept: list[Findings] = []
    halved.assess(hand_png(), Patient("female"), name="hand.png", on_findings=kept.append)
    for repeated in ("find", "run_networks"):
        monkeypatch.setattr(Halved, repeated, lambda *_, **__: pytest.fail("done twice"))
    told: list[str] = []
    small = kept[0].without_pixels()
    assert small.radiograph.pixels.nbytes == 0
    panel = explain_estimate(halved, small.of(kept[0].radiograph), Patient("male"), "saliency", told.append)
    assert set(told) == set(STAGES[3:]) == set(panel.stage_seconds)
    one, other = panel.to_dict(), examined.to_dict()
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert (panel.explanation.months == examined.explanation.months).all()


def test_findings_of_other_weights_are_not_explained(halved: Halved) -> None:
    findings = halved.find(hand_png())
    stale = replace(findings, versions={**findings.versions, "weights/tiny_64": "0" * 12})
    with pytest.raises(ValueError, match="cannot be explained"):
        explain_estimate(halved, stale, Patient("male"))


class Stopped(Exception):
    """The user has had enough."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.slow
def test_the_listener_can_stop_it_anywhere(halved: Halved, stage: str) -> None:
    """At the second word about a stage, which comes in the middle of it; the first three stages say only one."""
    heard: list[str] = []

    def stop(told: str) -> None:
        heard.append(told)
        if heard.count(stage) == (2 if STAGES.index(stage) > 2 else 1):
            raise Stopped

    with pytest.raises(Stopped):
        explain_estimate(halved, hand_png(), Patient("male"), "grad_cam", stop)
    assert heard[-1] == stage


def test_wrong_method_and_no_picture_are_said_before_any_work(halved: Halved) -> None:
    with pytest.raises(UnknownMethod, match="Choose one of"):
        explain_estimate(halved, hand_png(), Patient("male"), "guessing", lambda _: pytest.fail("it began"))
    with pytest.raises(UnreadableImage):
        explain_estimate(halved, b"no picture")


@pytest.mark.slow
def test_one_network_agrees_with_none(halved: Halved) -> None:
    alone = replace(halved.recipe, members=halved.recipe.members[:1], views=TestTimeAugmentation(mirror=False))
    panel = explain_estimate(Halved(alone, halved.calibration, halved.store), hand_png(), Patient("male"), "grad_cam")
    assert panel.explanation.member_agreement is None
    assert panel.to_dict()["member_agreement"] is None
    assert "network" not in panel.verdict.sentence


def test_an_explanation_says_all_that_an_assessment_says(halved: Halved, examined: Panel) -> None:
    said = halved.assess(hand_png(), Patient()).cautions
    assert "sex_unknown" in [caution.code for caution in said]
    findings = halved.find(hand_png())
    doubtful = replace(findings.hand, cautions=(Caution("hand", "Look at the mask."),))
    context = context_of(halved, replace(findings, hand=doubtful), Patient())
    explained = all_cautions(context, examined.explanation)
    assert set(said) < set(explained)
    assert doubtful.cautions[0] in explained


@pytest.mark.slow
def test_explanations_at_the_same_time_are_as_each_alone(tiny_assessor: Assessor) -> None:
    """Grad-CAM hooks into the networks it asks; no pass of another thread may go through these hooks."""
    shared = Halved(tiny_assessor.recipe, tiny_assessor.calibration, tiny_assessor.store)
    found = [shared.find(hand_png(seed)) for seed in (0, 1)]
    barrier = Barrier(2)

    def values(findings: Findings, together: bool = False) -> list[float]:
        context = context_of(shared, findings, Patient("male"))
        masks = shared.regions(findings.hand)
        if together:
            barrier.wait(60)
        heatmap = [compute_attribution(context, find_method("grad_cam")) for _ in range(5)][-1]
        shares = attribution_shares(heatmap.months, masks, context.hand.pixels)
        effects = region_effects(context, masks).values()
        return [*shares.values(), *(value for effect in effects for value in astuple(effect))]

    alone = [values(findings) for findings in found]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            assert list(threads.map(values, found, (True, True))) == alone


def test_nothing_hooks_into_a_network_that_others_use(halved: Halved) -> None:
    context = context_of(halved, halved.find(hand_png()), Patient("male"))
    for member in halved.recipe.members:
        shared, own = halved.network(member), context.networks[member.name]
        assert not set(map(id, shared.modules())) & set(map(id, own.modules()))
        assert [p.data_ptr() for p in own.parameters()] == [p.data_ptr() for p in shared.parameters()]


@pytest.mark.slow
def test_a_recipe_without_a_landmark_network_explains_without_regions(tiny_assessor: Assessor) -> None:
    assert tiny_assessor.recipe.landmarks is None
    panel = explain_estimate(tiny_assessor, hand_png(), Patient("male"), "grad_cam")
    (caution,) = [caution for caution in panel.cautions if caution.code == "no_regions"]
    assert "has no network that places joints" in caution.message
    assert dict(panel.regions) == {}


@pytest.mark.slow
def test_a_refused_change_is_told_and_the_others_go_on(halved: Halved, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the pose check and by points that cannot be placed, as in an assessment."""
    asked: list[int] = []

    def check_pose(self: Assessor, hand: HandMask, name: str) -> tuple[Caution, ...]:
        asked.append(1)
        if len(asked) == 3:
            raise UnsupportedPose("Not a hand seen from the front.")
        return (Caution("pose", "A rare pose."),)

    def points(self: Assessor, radiograph: Radiograph, hand: HandMask) -> dict[str, tuple[float, float]]:
        if len(asked) == 5:
            asked.append(1)
            raise LandmarksNotFound("The joints could not be placed.")
        return {}

    monkeypatch.setattr(Halved, "check_pose", check_pose)
    monkeypatch.setattr(Halved, "points", points)
    panel = explain_estimate(halved, hand_png(), Patient("male"), "saliency")
    assert "pose" in [caution.code for caution in panel.cautions]
    first, second = list(TRANSFORMS)[1], list(TRANSFORMS)[3]
    assert panel.robustness.refusals[first] == "Not a hand seen from the front."
    assert panel.robustness.refusals[second] == "The joints could not be placed."
    assert {list(TRANSFORMS)[-1], OTHER_SEX} < set(panel.robustness.months)
    assert set(panel.robustness.months) | set(panel.robustness.refusals) == {*TRANSFORMS, OTHER_SEX}
    assert panel.to_dict()["drift"][first] is None
    assert panel.to_dict()["drift_refusals"] == dict(panel.robustness.refusals)


def test_the_shares_of_a_map_are_told_once(examined: Panel) -> None:
    """Where the background is masked nothing lies beyond the hand, whatever grid it is counted on."""
    assert examined.explanation.inside_hand_share == pytest.approx(1 - examined.shares[OUTSIDE])
    assert examined.shares[OUTSIDE] == 0.0
    assert examined.explanation.inside_hand_share == 1.0


def test_a_network_that_gives_no_number_is_named(halved: Halved) -> None:
    broken = Halved(halved.recipe, halved.calibration, NetworkStore.of_folder(halved.store.folder))
    context = context_of(broken, broken.find(hand_png()), Patient("male"))
    name = broken.recipe.members[1].name
    with torch.no_grad():
        next(context.networks[name].head.parameters()).fill_(torch.nan)
    with pytest.raises(NotFinite, match=name):
        compute_attribution(context, find_method("saliency"))


class Unplaced(Halved):
    """An assessor that cannot place the joints."""

    def regions(self, hand: HandMask) -> dict[str, BoolArray]:
        raise LandmarksNotFound("The joints could not be placed.")


@pytest.mark.slow
def test_without_joints_the_rest_is_shown_with_a_caution(halved: Halved) -> None:
    alone = replace(halved.recipe, members=halved.recipe.members[:1], views=TestTimeAugmentation(mirror=False))
    unplaced = Unplaced(alone, halved.calibration, halved.store)
    panel = explain_estimate(unplaced, hand_png(), Patient("male"), "grad_cam")
    assert [caution.code for caution in panel.cautions][-1] == "no_regions"
    assert (dict(panel.regions), panel.strongest) == ({}, ())
    assert panel.to_dict()["regions"] == {}
    assert "no region" in summarise_panel(panel)
    assert len(regions_figure(panel.regions).data[0].x) == 0
    assert sum(panel.shares.values()) == pytest.approx(1.0)


def made_up(inside: float = 1.0) -> Panel:
    """A panel of invented numbers: two regions, of which one matters, and a map with two spots."""
    months = np.zeros((120, 90), np.float32)
    months[30:40, 20:30], months[80:90, 60:70] = 1.0, -0.5
    masks = {"carpals": months > 0, "radius_ulna": months < 0}
    fractions = np.linspace(0, 1, 9, dtype=np.float32)
    pair = Removal(-8 * fractions * (1 - fractions), 8 * fractions * (1 - fractions))
    deletion = Deletion(fractions, pair, (pair.insertion(),), pair.insertion())
    stable = {"noise": 0.9}
    return Panel(
        file="a.png",
        recipe="tiny",
        sex_used="female",
        estimate_months=50.0,
        explanation=SignedExplanation(months, "occlusion", inside, {}, None, None),
        regions={"carpals": RegionEffect(4.2, -1.0, 1.0), "radius_ulna": RegionEffect(-0.5, -1.0, 1.0)},
        shares={"carpals": 0.6, "radius_ulna": 0.3, ELSEWHERE: 0.1, OUTSIDE: 0.0},
        deletion=deletion,
        stability=stable,
        robustness=Robustness({"mirrored": 1.25}, {"brighter": "It is too bright."}),
        textbook=textbook_stage(50.0, "female"),
        verdict=summarise_checks(deletion, stable),
        cautions=(Caution("a", "Beware."),),
        seconds=1.0,
        radiograph=Radiograph(np.full((120, 90), 0.5, np.float32)),
        hand=HandMask(np.ones((120, 90), bool), 1.0, 0.0, inverted=False),
        masks=masks,
    )


def test_what_stands_out_comes_first() -> None:
    assert made_up().strongest == ("carpals",)


def test_the_summary_is_for_people() -> None:
    text = summarise_panel(made_up())
    for said in (
        "a.png", "4 years 2 months", "Occlusion", "Carpal bones", "contributes +4.2 months", "-1.0 to +1.0",
        "60% of the map",
        "before puberty: Distal phalanges, Middle phalanges", "not verified against the book", "mirrored +1.2",
        "refused: It is too bright.", "Not shown to be faithful", "Beware.", "Not a medical device",
    ):  # fmt: skip
        assert said in text
    assert "radius_ulna" not in text


def test_the_map_is_red_for_older_and_blue_for_younger() -> None:
    panel = made_up()
    picture = signed_overlay(panel.radiograph.pixels, panel.explanation.months, opacity=1.0)
    assert (picture.shape, picture.dtype) == ((120, 90, 3), np.uint8)
    assert tuple(picture[35, 25]) == rgb(OLDER)
    red, _, blue = (int(value) for value in picture[85, 65])
    assert blue > red
    assert np.ptp(picture[5, 80]) == 0  # grey where nothing is said
    assert rgb(YOUNGER)[2] > rgb(YOUNGER)[0]
    assert 0.5 < full_colour_months(panel.explanation.months) <= 1.0
    nothing = signed_overlay(panel.radiograph.pixels, np.zeros((120, 90), np.float32))
    assert np.ptp(nothing) == 0
    with pytest.raises(ValueError, match="one grid"):
        signed_overlay(panel.radiograph.pixels, np.zeros((12, 9), np.float32))


def test_half_the_months_are_half_as_strong() -> None:
    """So that a map that is red nearly everywhere still tells places apart, and as the legend has it."""
    months = np.zeros((200, 200), np.float32)
    months[:, :100], months[:, 100:] = 1.0, 0.5
    picture = signed_overlay(np.zeros((200, 200), np.float32), months, opacity=1.0)
    full, half = picture[100, 20, 0], picture[100, 180, 0]
    assert full == rgb(OLDER)[0] and half == pytest.approx(full / 2, abs=3)


def test_regions_are_outlined_and_the_chosen_one_filled() -> None:
    panel = made_up()
    plain = regions_picture(panel.radiograph.pixels, panel.masks)
    chosen = regions_picture(panel.radiograph.pixels, panel.masks, chosen="carpals")
    assert np.ptp(plain[30, 25]) > 30  # its outline
    assert np.ptp(plain[35, 25]) == 0
    assert np.ptp(chosen[35, 25]) > 30
    assert np.array_equal(plain[60:], chosen[60:])


@pytest.mark.parametrize("draw", [deletion_figure, insertion_figure])
def test_curves_show_the_map_beside_edges_and_chance(draw: Callable[[Deletion], object]) -> None:
    figure = draw(made_up().deletion)
    assert [trace.name for trace in figure.data] == [
        f"{what}: {way} first" for what in ("map", "edges", "chance") for way in ("older", "younger")
    ]
    assert len(figure.data[0].x) == 9
    assert (figure.data[0].x[0], figure.data[0].x[-1]) == (0, 100)


def test_bars_say_their_months() -> None:
    panel = made_up()
    regions, changes = regions_figure(panel.regions), robustness_figure(panel.robustness)
    assert list(regions.data[1].y) == ["carpals", "radius ulna"]
    assert list(regions.data[1].x) == [4.2, -0.5]
    assert list(regions.data[1].marker.color) == [OLDER, YOUNGER], "as on the map"
    assert list(regions.data[0].base) == [-1.0, -1.0]
    assert list(changes.data[0].text) == ["+1.2", "refused"]


def test_everything_is_written(tmp_path: Path) -> None:
    write_panel(made_up(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"map.png", "regions.png", "regions.html", "deletion.html", "insertion.html", "drift.html"}
    assert cv2.imread(str(tmp_path / "map.png")).shape == (120, 90, 3)
    assert "https://cdn" not in (tmp_path / "drift.html").read_text()[:2000]
