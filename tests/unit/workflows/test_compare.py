"""Several systems on one radiograph: tiny untrained networks stand in for all of them, and refusals are rigged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from baa_core.errors import BoneAgeError, HandNotFound, WeightsMissing
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import DEFAULT_RECIPE, RECIPES
from baa_core.reporting.text import summarise_systems
from baa_core.types import DISCLAIMER, Patient, Prediction
from baa_core.workflows.assess import STAGES, Assessor
from baa_core.workflows.compare import (
    LONGEST_SEEN_PX,
    Compared,
    compare,
    pictures_of,
    read_measured_errors,
    summarise_comparison,
    title_of,
    to_dict,
)

NAMES = ("first", "second", "third")
MISSING = "'second' needs a file that is not there."
GIRL = Patient("female", 121.0)


@pytest.fixture(scope="module")
def hand() -> bytes:
    """A drawn hand, larger than what is kept of it."""
    return to_png(draw_phantom(120.0, "female", seed=3, height_px=600).radiograph)


@pytest.fixture
def load(tiny_assessor: Assessor) -> Callable[[str], Assessor]:
    """The tiny system under every name but `second`, whose weights are missing."""

    def load_one(recipe: str) -> Assessor:
        if recipe == NAMES[1]:
            raise WeightsMissing(MISSING)
        return tiny_assessor

    return load_one


@pytest.fixture
def compared(load: Callable[[str], Assessor], hand: bytes) -> list[Compared]:
    return list(compare(hand, GIRL, NAMES, name="hand.png", load=load))


def predicted(months: float, half_width_months: float = 10.0, sex: str = "female") -> Prediction:
    interval = months - half_width_months, months + half_width_months
    return Prediction(months, interval, {"one": months}, sex)  # type: ignore[arg-type]


def test_one_that_cannot_answer_does_not_stop_the_others(compared: list[Compared]) -> None:
    assert [one.recipe for one in compared] == list(NAMES)
    assert [one.report is not None for one in compared] == [True, False, True]
    assert isinstance(compared[1].refusal, WeightsMissing)
    assert (compared[1].seen, compared[1].prediction) == ((), None)
    for one in (compared[0], compared[2]):
        assert one.report is not None
        assert one.report.explanation is not None
        assert one.seconds >= one.report.seconds


def test_every_answer_is_given_as_soon_as_it_is_there(tiny_assessor: Assessor, hand: bytes) -> None:
    loaded: list[str] = []

    def load_one(recipe: str) -> Assessor:
        loaded.append(recipe)
        return tiny_assessor

    answers = compare(hand, GIRL, NAMES, load=load_one)
    assert next(answers).recipe == NAMES[0]
    assert loaded == [NAMES[0]]


def test_stages_are_told_with_their_recipe_and_may_end_it_all(load: Callable[[str], Assessor], hand: bytes) -> None:
    told: list[tuple[str, str]] = []
    list(compare(hand, GIRL, NAMES[:2], load=load, on_stage=lambda *said: told.append(said)))
    assert told == [(NAMES[0], stage) for stage in STAGES]

    class Enough(Exception):
        """The listener's own."""

    def stop(recipe: str, stage: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        next(compare(hand, GIRL, NAMES, load=load, on_stage=stop))


def test_a_file_is_read_once_and_named(load: Callable[[str], Assessor], hand: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hand.png"
    path.write_bytes(hand)
    answers = compare(path, GIRL, NAMES[::2], load=load)
    first = next(answers)
    path.unlink()
    (second,) = answers
    for one in (first, second):
        assert one.report is not None
        assert one.report.file == "hand.png"


def counted(monkeypatch: pytest.MonkeyPatch, name: str, asked: list[str]) -> None:
    """Note each call of a method of `Assessor`."""
    method = getattr(Assessor, name)

    def noted(self: Assessor, *given: object) -> object:
        asked.append(name)
        return method(self, *given)

    monkeypatch.setattr(Assessor, name, noted)


def test_what_recipes_have_in_common_is_computed_once(
    tiny_assessor: Assessor, hand: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so what differs: the third has sex networks of its own."""
    recipe, asked = tiny_assessor.recipe, []
    fewer = replace(recipe, name="fewer", members=recipe.members[1:])
    other_sex = replace(recipe, name="other sex", sex=(replace(recipe.sex[0], weight=2.0),))
    assessors = {one.name: replace(tiny_assessor, recipe=one) for one in (recipe, fewer, other_sex)}
    for name in ("find_hands", "place_landmarks", "_probability_male"):
        counted(monkeypatch, name, asked)
    found = list(compare(hand, GIRL, tuple(assessors), load=assessors.__getitem__))
    assert sorted(asked) == ["_probability_male", "_probability_male", "find_hands", "place_landmarks"]
    for one in found:
        assert one.report is not None
        alone = assessors[one.recipe].assess(hand, GIRL, name="radiograph", explain=True)
        assert one.report.to_dict() | {"seconds": 0} == alone.to_dict() | {"seconds": 0}


def test_a_refusal_in_common_is_found_once_and_given_by_all(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    counted(monkeypatch, "find_hands", asked)
    black = cv2.imencode(".png", np.tile(np.arange(200, dtype=np.uint8) // 100, (200, 1)))[1].tobytes()
    found = list(compare(black, GIRL, NAMES, load=lambda _: tiny_assessor))
    assert len({str(one.refusal) for one in found}) == len(asked) == 1


@pytest.mark.parametrize("source", [b"", b"no picture", "nowhere.png"])
def test_what_is_no_radiograph_is_refused_by_all(load: Callable[[str], Assessor], source: bytes | str) -> None:
    found = list(compare(source, GIRL, NAMES[::2], load=load))
    assert [type(one.refusal).__name__ for one in found] == ["UnreadableImage"] * 2


def test_the_trace_leads_from_the_radiograph_to_what_the_network_saw(
    compared: list[Compared], tiny_assessor: Assessor
) -> None:
    seen, report = compared[0].seen, compared[0].report
    assert report is not None
    spec = tiny_assessor.recipe.members[0].input
    steps = [title_of(type(step).__name__) for step in spec.steps]
    assert [traced.title for traced in seen] == ["Radiograph", *steps, "Standardise: what the network saw"]
    for traced in seen:
        assert traced.pixels.dtype == np.float32
        assert not traced.pixels.flags.writeable
        assert max(traced.pixels.shape) <= LONGEST_SEEN_PX
        assert 0.0 <= traced.pixels.min() < traced.pixels.max() <= 1.0
    assert seen[0].pixels.shape == (400, round(400 * report.radiograph.shape[1] / report.radiograph.shape[0]))
    networks = tiny_assessor.prepare(report.radiograph, report.hand)["tiny_64"].image[0, 0]
    assert np.corrcoef(networks.ravel(), seen[-1].pixels.ravel())[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("step", "title"),
    [("MaskBackground", "Mask background"), ("Resize", "Resize"), ("ApplyCLAHE", "Apply CLAHE"), ("CLAHE", "CLAHE")],
)
def test_steps_have_titles_in_plain_english(step: str, title: str) -> None:
    assert title_of(step) == title


def test_either_an_answer_or_a_refusal(compared: list[Compared]) -> None:
    with pytest.raises(ValueError, match="either answered or refused"):
        Compared("first", None, None, (), 0.0)
    with pytest.raises(ValueError, match="either answered or refused"):
        Compared("first", compared[0].report, BoneAgeError("no"), (), 0.0)


def test_close_systems_agree_and_are_not_called_right() -> None:
    spread = summarise_comparison([predicted(100), predicted(107), predicted(104), predicted(102), predicted(103)])
    assert (spread.low_months, spread.high_months, spread.spread_months) == (100, 107, 7)
    assert spread.sentence.startswith("The five systems lie within 7.0 months of each other, no more than")
    assert "(10.0 months)" in spread.sentence
    assert "can agree and be wrong" in spread.sentence


def test_the_rule_is_the_mean_half_width() -> None:
    apart = [predicted(100, 5), predicted(110, 15)]
    assert "lie within" in summarise_comparison(apart).sentence
    assert "disagree by 10.0 months" in summarise_comparison([apart[0], predicted(110, 14.9)]).sentence


def test_who_disagrees_is_to_be_looked_at() -> None:
    sentence = summarise_comparison([predicted(90), predicted(121), None]).sentence
    assert sentence.startswith("The two of three systems that answered disagree by 31.0 months")
    assert "look at the pictures each one saw" in sentence


def test_estimates_for_different_sexes_are_said_to_be() -> None:
    mixed = summarise_comparison([predicted(100), predicted(102, sex="male")]).sentence
    assert "not all of these estimates are for the same sex" in mixed.lower()
    assert "same sex" not in summarise_comparison([predicted(100), predicted(102)]).sentence


@pytest.mark.parametrize(
    ("predictions", "sentence"),
    [
        ([None, None], "None of two systems gave an estimate"),
        ([None], "The only system asked gave no estimate"),
        ([predicted(100), None], "Only one of two systems answered"),
        ([predicted(100)], "Only one system was asked"),
    ],
)
def test_fewer_than_two_answers_are_no_comparison(predictions: list[Prediction | None], sentence: str) -> None:
    spread = summarise_comparison(predictions)
    assert spread.spread_months is None
    assert spread.low_months == spread.high_months == (100 if any(predictions) else None)
    assert spread.sentence == f"{sentence}, so there is nothing to compare{' it with' if any(predictions) else ''}."


def as_json(compared: list[Compared]) -> dict:
    rows = [one.to_dict("folder/hand.png") for one in compared]
    values = to_dict("folder/hand.png", rows, summarise_comparison([one.prediction for one in compared]))
    return json.loads(json.dumps(values, allow_nan=False))


def test_json_holds_reports_refusals_and_the_spread(compared: list[Compared]) -> None:
    values = as_json(compared)
    assert set(values) == {
        "file", "status", "recipes", "low_months", "high_months", "spread_months", "sentence", "disclaimer"
    }  # fmt: skip
    assert (values["file"], values["status"], values["disclaimer"]) == ("folder/hand.png", "partial", DISCLAIMER)
    first, second, third = values["recipes"]
    assert compared[0].report is not None
    what = {name: first[name] for name in ("reimplementation", "mean_absolute_error_months", "about")}
    asked = {"file": "folder/hand.png", "recipe": "first", "seconds": first["seconds"]} | what
    assert first == compared[0].report.to_dict() | asked
    assert (second["status"], second["recipe"]) == ("refused", "second")
    assert second["error"] == {"type": "WeightsMissing", "message": MISSING}
    assert first["bone_age_months"] == third["bone_age_months"]
    assert values["spread_months"] == 0
    assert as_json(compared[1:2])["status"] == "refused"
    assert as_json(compared[::2])["status"] == "ok"


def test_the_table_is_for_people(compared: list[Compared]) -> None:
    told = summarise_systems(as_json(compared))
    lines = [line.strip() for line in told.splitlines()]
    assert lines[1].split() == ["Recipe", "Estimate", "90", "%", "interval", "Error", "here", "Seconds"]
    assert lines[3].split()[:2] == ["second", "refused"]
    assert f"second: {MISSING}" in lines
    assert as_json(compared)["sentence"] in lines
    assert DISCLAIMER in lines
    for caution in as_json(compared)["recipes"][0]["cautions"]:
        assert told.count(caution["message"]) == 1, "what two systems say alike is said once"


def test_every_system_comes_with_what_it_is_and_its_error_here() -> None:
    """Of every recipe but our own: a re-implementation at small scale, with the error that was measured with it."""
    errors = read_measured_errors()
    assert set(errors) == set(RECIPES)
    for recipe in RECIPES:
        row = Compared(recipe, None, HandNotFound("No hand."), (), 1.0).to_dict("a.png")
        assert row["reimplementation"] == (recipe != DEFAULT_RECIPE) == ("re-implementation" in row["about"])
        assert row["mean_absolute_error_months"] == errors[recipe].mae_months
        assert f"{errors[recipe].mae_months:.1f} months on {errors[recipe].n} test" in row["about"]
        table = summarise_systems(to_dict("a.png", [row], summarise_comparison([None])))
        assert f"{errors[recipe].mae_months:.1f} months" in table and "re-implementations at small scale" in table
    assert "not measured" in Compared("another", None, HandNotFound("No hand."), (), 1.0).to_dict("a.png")["about"]


def test_pictures_of_an_answer_and_of_a_refusal(compared: list[Compared]) -> None:
    pictures = pictures_of(compared[0])
    assert set(pictures) == {"first_seen.png", "first_heatmap.png"}
    decoded = {name: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for name, data in pictures.items()}
    assert compared[0].report is not None
    assert decoded["first_heatmap.png"].shape[:2] == compared[0].report.radiograph.shape
    assert decoded["first_seen.png"].shape[:2] == (64, 64)
    assert np.ptp(decoded["first_heatmap.png"], axis=2).max() > 30
    assert pictures_of(compared[1]) == {}


def test_every_recipe_is_asked_unless_told_otherwise(hand: bytes) -> None:
    def load_none(recipe: str) -> Assessor:
        raise HandNotFound(recipe)

    found = list(compare(hand, GIRL, load=load_none))
    assert [one.recipe for one in found] == list(RECIPES)
    assert [str(one.refusal) for one in found] == list(RECIPES)
