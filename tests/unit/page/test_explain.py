"""The Explain tab: its words, its pictures, and handlers that one visitor can stop and no other."""

import base64
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest

import app  # noqa: F401 first: it tells Gradio where to keep its files
from baa_core.errors import HandNotFound
from baa_core.explanation.atlas import textbook_stage
from baa_core.explanation.faithfulness import Deletion, Removal
from baa_core.explanation.joint_readings import JointReading
from baa_core.explanation.methods import METHODS
from baa_core.explanation.region_effects import ELSEWHERE, OUTSIDE, RegionEffect
from baa_core.explanation.report import Panel
from baa_core.explanation.robustness import OTHER_SEX, Robustness
from baa_core.explanation.verdict import summarise_checks
from baa_core.phantom import draw_phantom, to_png
from baa_core.reporting.overlays import CONTOUR_RGB, OLDER, YOUNGER, rgb
from baa_core.types import Caution, HandMask, Patient, Radiograph, SignedExplanation
from baa_core.workflows.assess import Assessor
from baa_core.workflows.explain import STAGES
from baa_core.workflows.findings import Findings
from page import assess_text as text
from page import explain_text
from page.assess_view import LONGEST_SIDE_PX
from page.cancellation import Runs, Stopped
from page.entries import Upload, entered
from page.explain_tab import ExplainHandlers, ExplainTab
from page.explain_view import panel_view_of
from page.html import NO_PICTURE
from page.kept import keep_report

HERE, THERE = SimpleNamespace(session_hash="here"), SimpleNamespace(session_hash="there")
CHOSEN = Upload("hand.png", b"bytes")
RESULTS = ExplainTab._fields[4:-1]
FOLDS = ("regions", "joints", "textbook", "faithfulness", "stability", "robustness")
MAP = (slice(400, 600), slice(300, 500))  # where the panel's map speaks for older; the mirror image for younger


def removal(height: float) -> Removal:
    """Curves as straight lines that lie apart by `height` in the middle."""
    way = np.interp(np.arange(9), [0, 4, 8], [0, height, 0]).astype(np.float32)
    return Removal(-way, way.copy())


def made_panel(side_px: int = 1000) -> Panel:
    """Two regions, of which the right one matters; a map red on the left and blue on the right."""
    pixels = np.full((side_px, side_px), 0.5, np.float32)
    hand = np.ones_like(pixels, bool)
    months = np.zeros_like(pixels)
    months[MAP] = 1e-3
    months[MAP[0], side_px - 500 : side_px - 300] = -2e-3
    left, right = hand.copy(), hand.copy()
    left[:, 300:], right[:, :-300] = False, False
    deletion = Deletion(np.linspace(0, 1, 9, dtype=np.float32), removal(5), (removal(1), removal(2)), removal(0.5))
    stability = {"noise": 0.9, "turned left": 0.8, "turned right": 0.7}
    return Panel(
        file="hand.png", recipe="deeplasia", sex_used="male", estimate_months=121.0,
        explanation=SignedExplanation(months, "occlusion", 0.97, {"one": months}, None, None),
        regions={"carpals": RegionEffect(0.4, -1.0, 1.0), "radius_ulna": RegionEffect(4.2, -1.0, 1.0)},
        shares={"carpals": 0.2, "radius_ulna": 0.5, ELSEWHERE: 0.27, OUTSIDE: 0.03},
        deletion=deletion, stability=stability,
        robustness=Robustness({"mirrored": 0.4, OTHER_SEX: -9.0}, {"greys reversed": "No hand was found & so on."}),
        textbook=textbook_stage(205, "male"), verdict=summarise_checks(deletion, stability),
        cautions=(Caution("x", "Beware of <this>."),), seconds=12.3,
        radiograph=Radiograph(pixels), hand=HandMask(hand, 1.0, 0.0, inverted=False),
        masks={"carpals": left, "radius_ulna": right},
    )  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    return made_panel()


class Explains:
    """Stands in for the networks: tells every stage, lets a test act between two of them, gives one panel."""

    def __init__(self, panel: Panel, between=lambda stage: None) -> None:  # type: ignore[no-untyped-def]
        self.panel, self.between, self.asked = panel, between, []  # type: ignore[var-annotated]

    def explain_estimate(self, source, patient: Patient, method: str, *, on_stage, **options) -> Panel:  # type: ignore[no-untyped-def]
        self.asked.append((source, patient, method, options.get("name")))
        for stage in STAGES:
            on_stage(stage)
            self.between(stage)
        return self.panel


def pressed(do: ExplainHandlers, chosen: Upload | None = CHOSEN, sex: str | None = "male", who=HERE, kept=None) -> dict:  # type: ignore[no-untyped-def,type-arg]
    """What the tab shows after Explain was pressed, by the component's name."""
    ask = (chosen, sex, "10", "6", "occlusion", 60, kept, "", who, lambda *_, **__: None)
    return dict(zip(RESULTS, do.explain(*ask), strict=True))


def drawn(html: str) -> np.ndarray:
    """The picture within a figure, red first."""
    content = html.split("base64,")[1].split('"')[0]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_a_run_fills_the_whole_tab(panel: Panel) -> None:
    stand_in = Explains(panel)
    shown = pressed(ExplainHandlers(stand_in))
    assert stand_in.asked == [(b"bytes", Patient("male", 126.0), "occlusion", "hand.png")]
    for words in ("Occlusion", "10 years 1 month", "for a boy", text.DISCLAIMER):
        assert words in shown["card"]
    assert "Beware of &lt;this&gt;." in shown["card"]
    assert shown["details"]["visible"]
    assert shown["region"]["choices"] == [("None", ""), ("Carpal bones", "carpals"), ("Radius and ulna", "radius_ulna")]
    for figure in ("bars", "deletion", "insertion", "robustness"):
        assert shown[figure].data
    assert shown["view"].months.shape == (1000, 1000)


def test_the_download_is_the_panel_as_json(panel: Panel) -> None:
    held = explain_text.download_link(panel).split("base64,")[1].split('"')[0]
    assert json.loads(base64.b64decode(held)) == panel.to_dict()


def test_the_verdict_comes_in_plain_words_with_its_checks(panel: Panel) -> None:
    assert "passed both checks" in explain_text.card(panel, drawn=False)
    doubtful = replace(panel, verdict=replace(panel.verdict, stable=False))
    assert "failed 1 of 2 checks" in explain_text.card(doubtful, drawn=False)
    assert explain_text.plain_verdict(doubtful).count("baa-failed") == 1


def test_networks_that_differ_are_said_but_fail_no_check(panel: Panel) -> None:
    unlike = replace(panel, explanation=replace(panel.explanation, member_agreement=0.08))
    assert "passed both checks" in explain_text.card(unlike, drawn=False)
    assert "correlation of 0.08" in explain_text.stability_table(unlike)


def test_a_refused_change_is_shown_with_its_reason_in_its_row(panel: Panel) -> None:
    table = explain_text.robustness_table(panel)
    assert "<td>Greys reversed</td><td>refused: No hand was found &amp; so on.</td>" in table
    assert "<td>Mirrored</td><td>+0.4 months</td>" in table


def test_only_what_stands_out_is_called_weighty(panel: Panel) -> None:
    assert "radius and ulna +4.2 months" in explain_text.weightiest(panel)
    assert "carpal" not in explain_text.weightiest(panel)
    calm = replace(panel, regions={"carpals": RegionEffect(0.4, -1.0, 1.0)})
    assert "No region" in explain_text.weightiest(calm)
    assert "No region stands out" in explain_text.textbook(calm)


def test_the_textbook_stands_beside_the_networks(panel: Panel) -> None:
    said = explain_text.textbook(panel)
    assert "after puberty" in said
    assert "also the networks" in said
    assert "also the atlas" in said
    assert "not verified against the book" in said


def test_tables_hold_every_number(panel: Panel) -> None:
    told = {
        explain_text.region_table(panel): ("Carpal bones", "stands out", "−1.0", "+0.4", "50 %", "27 %", "3 %"),
        explain_text.faithfulness_table(panel): ("97 %", "at most"),
        explain_text.stability_table(panel): ("turned right", "0.70"),
    }
    for table, words in told.items():
        assert all(word in table for word in words)


def test_every_fold_says_its_outcome_in_one_sentence(panel: Panel) -> None:
    """Who does not open a fold still knows what the test found."""
    shown = pressed(ExplainHandlers(Explains(panel)))
    heads = {name: shown[f"{name}_fold"]["label"] for name in FOLDS if name != "joints"}
    assert heads["regions"] == "Regions that stand out: radius and ulna +4.2 months"
    assert heads["textbook"] == "Regions that the atlas looks at here: 1; of these stand out for the networks: 1"
    assert re.fullmatch(
        r"Faithful: blurring what the map marks moves the estimate by \d+\.\d months, other maps by up to \d+\.\d",
        heads["faithfulness"],
    )
    assert heads["stability"] == "Stable: under small changes the map keeps a likeness of 0.70 or more"
    assert heads["robustness"] == (
        "What should not matter moves the estimate by at most 0.4 months (mirrored); refused: 1"
    ), "the other sex is none of it"
    assert not shown["joints_fold"]["visible"], "no network of this panel reads joints"
    calm = replace(
        panel,
        regions={"carpals": RegionEffect(0.4, -1.0, 1.0)},
        verdict=replace(panel.verdict, faithful=False, stable=False),
        robustness=Robustness({OTHER_SEX: -9.0}, {"mirrored": "No hand."}),
        joints=(JointReading("radius", "distal radius", 100.0, 0.7), JointReading("ulna", "distal ulna", 120.0, 0.3)),
    )
    assert explain_text.regions_sentence(calm) == "No region stands out from as much hand elsewhere"
    assert explain_text.faithfulness_sentence(calm).startswith("Not shown to be faithful: ")
    assert explain_text.stability_sentence(calm).startswith("Not stable: ")
    assert (
        explain_text.robustness_sentence(calm) == "What should not matter makes the radiograph refused: 1 of 1 changes"
    )
    assert explain_text.joints_sentence(calm) == "Each joint alone says 8 years 4 months to 10 years"


def test_another_picture_takes_every_part_away_and_folds_what_was_open(panel: Panel) -> None:
    cleared = dict(zip(RESULTS, ExplainHandlers(Explains(panel)).cleared(), strict=True))
    assert not cleared["details"]["visible"] and not cleared["side"]["visible"]
    assert all(cleared[f"{name}_fold"]["open"] is False for name in FOLDS)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_shows_and_cannot(name: str) -> None:
    note = explain_text.method_note(name)
    assert METHODS[name].shows in note
    assert METHODS[name].cannot in note
    assert ("unit of grey" in explain_text.legend(name, 1.0)) is METHODS[name].per_grey


def test_red_is_older_and_blue_is_younger(panel: Panel) -> None:
    picture = drawn(panel_view_of(panel).figure(None, 1.0)).astype(int)
    assert np.abs(picture[500, 600] - rgb(YOUNGER)).max() <= 2
    red, _, blue = picture[500, 400] - picture[100, 500]
    assert red > 0 > blue
    assert (picture[100, 500] == 128).all()  # where the map says nothing the radiograph is grey
    assert rgb(OLDER)[0] > rgb(OLDER)[2]


def test_the_legend_gives_months_for_a_hundredth_of_the_hand(panel: Panel) -> None:
    assert "+20 " not in panel_view_of(panel).legend
    assert "older +20" in panel_view_of(panel).legend  # 2e-3 months a pixel, 1e4 pixels


def test_a_chosen_region_is_outlined(panel: Panel) -> None:
    view = panel_view_of(panel)
    plain, outlined = (drawn(view.figure(region, 0.6)) for region in ("", "radius_ulna"))
    changed = (plain != outlined).any(axis=2)
    assert changed[:, 690:].any()
    assert not changed[:, :690].any()
    assert (outlined[500, 700] == CONTOUR_RGB).all()
    assert "outlined: radius and ulna" in view.figure("radius_ulna", 0.6)
    assert "outlined" not in view.figure("no such region", 0.6)


def test_opacity_zero_leaves_the_radiograph(panel: Panel) -> None:
    assert (drawn(panel_view_of(panel).figure(None, 0.0)) == 128).all()


def test_a_session_keeps_small_pictures_and_their_aspect() -> None:
    large = made_panel(2000)
    view = panel_view_of(replace(large, masks={"carpals": large.masks["carpals"]}))
    for layer in (view.pixels, view.months, view.regions["carpals"]):
        assert layer.shape == (LONGEST_SIDE_PX, LONGEST_SIDE_PX)


def test_an_explanation_goes_on_from_this_pictures_assessment_and_from_no_other(
    panel: Panel, tiny_assessor: Assessor
) -> None:
    """Whatever sex and age were entered then; another hand of the same file is another picture."""
    chosen = Upload("hand.png", to_png(draw_phantom(120.0, "male", height_px=300).radiograph), file="1")
    found: list[Findings] = []
    report = tiny_assessor.assess(chosen.content, Patient("female"), name=chosen.name, on_findings=found.append)
    kept = keep_report(entered(chosen, "female", "", ""), report, *found)
    assert kept.findings is not None
    assert kept.findings.radiograph.pixels.nbytes == 0
    stand_in = Explains(panel)
    pressed(ExplainHandlers(stand_in), chosen, kept=kept)
    (source, patient, *_) = stand_in.asked[-1]
    assert patient == Patient("male", 126.0)
    assert source.inputs is found[0].inputs
    assert (source.radiograph.pixels == report.radiograph.pixels).all()
    for other in (chosen._replace(file="2"), chosen._replace(file="3", hand="left")):
        pressed(ExplainHandlers(stand_in), other, kept=kept)
        assert stand_in.asked[-1][0] is chosen.content


def test_refusals_are_one_sentence(panel: Panel) -> None:
    def no_hand(stage: str) -> None:
        raise HandNotFound("No hand was found & so on")

    do = ExplainHandlers(Explains(panel, no_hand))
    assert "No hand was found &amp; so on" in pressed(do)["card"]
    assert NO_PICTURE in pressed(do, chosen=None)["card"]
    assert "No sex has been chosen" in pressed(do, sex=None)["card"]
    assert pressed(do)["view"] is None


def test_cancel_stops_before_the_next_pass_and_only_for_who_asked(panel: Panel) -> None:
    seen: list[str] = []

    def cancel_while(who: SimpleNamespace) -> Explains:
        def between(stage: str) -> None:
            seen.append(stage)
            if stage == STAGES[2]:
                do.stop(None, "", who)  # type: ignore[arg-type]

        return Explains(panel, between)

    do = ExplainHandlers(Explains(panel))
    do.assessor = cancel_while(HERE)
    assert all(value == gr.skip() for value in pressed(do).values())
    assert seen == list(STAGES[:3])
    do.assessor = cancel_while(THERE)
    assert pressed(do)["view"] is not None
    do.assessor = Explains(panel)
    assert pressed(do)["view"] is not None, "a cancelled run leaves nothing behind"


def test_cancel_keeps_what_was_explained_before(panel: Panel) -> None:
    do = ExplainHandlers(Explains(panel))
    said: list[object] = []
    for view in (None, panel_view_of(panel)):
        do.assessor = Explains(
            panel, lambda stage, view=view: said.append(do.stop(view, "", HERE)) if stage == STAGES[0] else None
        )
        pressed(do)
    assert said[0] == explain_text.STOPPED
    assert said[1] != explain_text.STOPPED
    assert do.stop(None, "", HERE) != explain_text.STOPPED, "there is nothing to stop"  # type: ignore[arg-type]


def test_another_picture_never_gets_this_ones_explanation(panel: Panel) -> None:
    do = ExplainHandlers(Explains(panel))
    do.assessor = Explains(panel, lambda stage: do.forget("", HERE) if stage == STAGES[-1] else None)  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in pressed(do).values())
    assert dict(zip(RESULTS, do.forget("", HERE), strict=True))["card"] == explain_text.EMPTY  # type: ignore[arg-type]


def test_who_leaves_stops_the_work(panel: Panel) -> None:
    do = ExplainHandlers(Explains(panel))
    do.assessor = Explains(panel, lambda stage: do.left(HERE))  # type: ignore[arg-type]
    assert all(value == gr.skip() for value in pressed(do).values())


def test_a_run_replaces_the_one_before_and_ends_once() -> None:
    runs = Runs()
    assert not runs.stop("here")
    first = runs.begin("here")
    first.look()
    second = runs.begin("here")
    with pytest.raises(Stopped):
        first.look()
    runs.end("here", first)
    second.look()
    runs.end("here", second)
    assert not runs.stop("here")
    second.look()


def test_of_two_pictures_the_last_one_chosen_stands_whatever_order_they_are_read_in() -> None:
    runs = Runs()
    runs.replace("here", at=2.0)
    runs.replace("here", at=1.0)  # chosen first, read last
    assert not runs.is_newest("here", 1.0)
    assert runs.is_newest("here", 2.0)
    assert runs.is_newest("somewhere else", 1.0)
    runs.forget("here")
    assert runs.is_newest("here", 1.0)
