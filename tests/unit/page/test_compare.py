"""The Compare tab: its words, its pictures, and a run that one visitor can stop and no other."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import gradio as gr
import numpy as np
import pytest

import app  # noqa: F401 first: it tells Gradio where to keep its files
from baa_core.errors import HandNotFound, WeightsMissing
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import DEFAULT_RECIPE, RECIPES
from baa_core.reporting.language import translated
from baa_core.types import DISCLAIMER, Caution, Patient
from baa_core.workflows.assess import STAGES, Assessor
from baa_core.workflows.compare import LONGEST_SEEN_PX, Compared, compare, read_measured_errors
from page import assess_text as text
from page import compare_text
from page.compare_tab import NAMES, WAITS, WORKS, CompareHandlers, CompareTab, of_all
from page.compare_view import HEATMAP_PX
from page.entries import Upload
from page.html import NEUTRAL, NO_PICTURE
from tests.prose import pieces

HERE, THERE = SimpleNamespace(session_hash="here"), SimpleNamespace(session_hash="there")
CONTENT = to_png(draw_phantom(120.0, "female", seed=4, height_px=900).radiograph)
CHOSEN = Upload("hand.png", CONTENT, drawn=True)
RESULTS = (*CompareTab._fields[2:10], *NAMES)
Load = Callable[[str], Assessor]
REFUSED = NAMES[-1]
SENTENCE = "Weights <are> missing."


class Compares:
    """Stands behind the tab: the real comparison around systems of the test's choice; tells a test every stage."""

    def __init__(self, load: Load, between: Callable[[str, str], None] = lambda recipe, stage: None) -> None:
        self.load, self.between, self.asked = load, between, []  # type: ignore[var-annotated]

    def compare(self, source: bytes, patient: Patient, *, name: str, on_stage: Any) -> Iterator[Compared]:
        def tell(recipe: str, stage: str) -> None:
            on_stage(recipe, stage)
            self.between(recipe, stage)

        self.asked.append((source, patient, name))
        return compare(source, patient, name=name, load=self.load, on_stage=tell)


@pytest.fixture(scope="module")
def load(tiny_assessor: Assessor) -> Load:
    """The tiny system under every name but the last of several."""

    def load_one(recipe: str) -> Assessor:
        if recipe == REFUSED and len(NAMES) > 1:
            raise WeightsMissing(SENTENCE)
        return tiny_assessor

    return load_one


def pressed(
    do: CompareHandlers, chosen: Upload | None = CHOSEN, sex: str | None = "female", who: Any = HERE
) -> list[dict[str, Any]]:
    """Everything the tab was told after the button was pressed, each by the component's name."""
    told = do.compare(chosen, sex, "10", "", "", who, lambda *_, **__: None)  # type: ignore[arg-type]
    return [dict(zip(RESULTS, values, strict=True)) for values in told]


def shown(told: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands on the tab at the end."""
    page: dict[str, Any] = {}
    for values in told:
        page |= {name: value for name, value in values.items() if value != gr.skip()}
    return page


@pytest.fixture(scope="module")
def told(load: Load) -> list[dict[str, Any]]:
    """One whole run, for all tests that only look."""
    return pressed(CompareHandlers(Compares(load)))


def test_the_results_are_the_tabs_own() -> None:
    tab = CompareTab(*CompareTab._fields[:10], [*NAMES], "back", "forward")  # type: ignore[arg-type]
    assert tuple(tab.results) == RESULTS


def test_what_was_entered_is_what_is_asked(load: Load) -> None:
    behind = Compares(load)
    list(CompareHandlers(behind).compare(CHOSEN, "female", "10", "6", "", HERE, lambda *_, **__: None))  # type: ignore[arg-type]
    assert behind.asked == [(CONTENT, Patient("female", 126.0), "hand.png")]


def test_cards_come_one_after_another(told: list[dict[str, Any]]) -> None:
    assert len(told) == len(NAMES) + 3, "cleared, begun, one for each system, finished"
    assert WORKS in told[1][NAMES[0]]
    for number, name in enumerate(NAMES):
        assert WORKS in told[1 + number][name]
        assert all(WAITS in told[1][later] for later in NAMES[1:])
        assert f"{number + 1} of {len(NAMES)}" in told[2 + number]["card"]
        assert "90 % interval" in told[2 + number][name] or escape(SENTENCE) in told[2 + number][name]


def test_at_the_end_everything_is_there(told: list[dict[str, Any]]) -> None:
    page = shown(told)
    assert page["details"]["visible"]
    assert page["trace"]["visible"]
    for words in (DISCLAIMER, text.DRAWN_TAG):
        assert words in page["card"]
    for name, recipe in RECIPES.items():
        assert escape(recipe.title) in page[name]
    answered = page["plot"].data[0]
    assert list(answered.y) == [recipe.title for name, recipe in RECIPES.items() if name in page["view"]]
    assert "not assessed" in [note.text for note in page["plot"].layout.annotations]
    assert page["system"]["value"] == next(iter(page["view"]))
    assert [name for _, name in page["system"]["choices"]] == list(page["view"])


def test_every_card_can_be_read_in_german(told: list[dict[str, Any]]) -> None:
    """What the page's script gets to translate has German; titles of publications keep their language."""
    page = shown(told)
    for name in ("card", *NAMES):
        for piece in pieces(re.sub(r"<cite translate.*?</cite>", "", page[name], flags=re.DOTALL)):
            german = translated(piece, "de")
            assert not re.search(r"\b(the|and|of|with|by|months?|years?|seconds?|source)\b", german), (
                piece,
                german,
            )


def test_what_all_systems_warn_of_stands_on_top_once(told: list[dict[str, Any]]) -> None:
    one, other, third = (Caution(code, f"{code} is so.") for code in ("one", "other", "third"))
    assert of_all([(one, other), (third, one), (one,)]) == [one]
    assert of_all([]) == []
    page = shown(told)
    answers = [name for name in NAMES if "90 % interval" in page[name]]
    assert answers and all(page[name].count('<details class="baa-cautions">') == 1 for name in answers)
    assert "Please note" in page["card"]


def test_the_download_is_the_comparison(told: list[dict[str, Any]]) -> None:
    held = shown(told)["card"].split("base64,")[1].split('"')[0]
    values = json.loads(base64.b64decode(held))
    assert [row["recipe"] for row in values["recipes"]] == list(NAMES)
    assert values["sentence"] in shown(told)["card"]


def test_pictures_are_small_and_within_the_page(told: list[dict[str, Any]]) -> None:
    card = shown(told)[NAMES[0]]
    heatmap, network_input = (decoded(part) for part in card.split('src="')[1:])
    assert max(heatmap.shape) == HEATMAP_PX
    assert np.ptp(heatmap, axis=2).max() > 30
    assert max(network_input.shape) <= LONGEST_SEEN_PX
    assert np.ptp(network_input, axis=2).max() == 0
    assert card.count("<img") == card.count("data:image/png") == 2


def decoded(html: str) -> np.ndarray:
    content = html.split("base64,")[1].split('"')[0]
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)


def test_the_trace_is_walked_and_ends_where_it_ends(told: list[dict[str, Any]], load: Load) -> None:
    do, page = CompareHandlers(Compares(load)), shown(told)
    traces, name = page["view"], page["system"]["value"]
    steps = len(traces[name])
    assert page["step"]["maximum"] == steps
    assert f"step 1 of {steps}: Radiograph" in page["picture"]
    assert "what the network saw" in do.redraw(traces, name, steps)
    assert (do.forward(traces, name, 1), do.forward(traces, name, steps)) == (2, steps)
    assert (do.back(traces, name, 2), do.back(traces, name, 1)) == (1, 1)
    assert do.redraw(traces, name, 99) == do.redraw(traces, name, steps)
    assert do.redraw(None, name, 1) == do.redraw(traces, None, 1) == ""
    slider, picture = do.choose(traces, name)
    assert (slider["value"], picture) == (1, page["picture"])


def test_without_any_answer_there_is_no_trace() -> None:
    def load_none(recipe: str) -> Assessor:
        raise WeightsMissing(SENTENCE)

    page = shown(pressed(CompareHandlers(Compares(load_none))))
    assert not page["trace"]["visible"]
    assert page["picture"] == ""
    assert all(escape(SENTENCE) in page[name] for name in NAMES)
    assert [note.text for note in page["plot"].layout.annotations] == ["not assessed"] * len(NAMES)
    assert "nothing to compare" in page["card"]


def test_what_cannot_be_compared_is_said_in_one_sentence(load: Load) -> None:
    def burst(recipe: str) -> Assessor:
        raise RuntimeError("secret")

    do = CompareHandlers(Compares(load))
    assert NO_PICTURE in shown(pressed(do, chosen=None))["card"]
    assert "No sex has been chosen" in shown(pressed(do, sex=None))["card"]
    page = shown(pressed(CompareHandlers(Compares(burst))))
    assert NEUTRAL in page["card"]
    assert "secret" not in page["card"]
    assert all(page[name] == "" for name in NAMES)


def test_cancel_stops_before_the_next_stage_and_only_for_who_asked(load: Load) -> None:
    seen: list[str] = []

    def cancel_while(who: Any) -> Compares:
        def between(recipe: str, stage: str) -> None:
            seen.append(stage)
            if stage == STAGES[1]:
                do.stop("", who)

        return Compares(load, between)

    do = CompareHandlers(Compares(load))
    do.assessor = cancel_while(HERE)  # type: ignore[assignment]
    page = shown(pressed(do))
    assert page["card"] == compare_text.STOPPED
    assert page["view"] is None
    assert all(page[name] == "" for name in NAMES)
    assert seen == list(STAGES[:2])
    do.assessor = cancel_while(THERE)  # type: ignore[assignment]
    assert shown(pressed(do))["view"], "somebody else's cancel, and a cancelled run, change nothing"
    assert all(value == gr.skip() for value in do.stop("", HERE)), "there is nothing to stop"  # type: ignore[arg-type]


def test_another_picture_never_gets_this_ones_comparison(load: Load) -> None:
    do = CompareHandlers(Compares(load))
    do.assessor = Compares(load, lambda recipe, stage: do.forget("", HERE) and None)  # type: ignore[arg-type,assignment]
    assert shown(pressed(do))["card"] == compare_text.STOPPED
    assert do.forget("", HERE)[0] == compare_text.EMPTY  # type: ignore[arg-type]
    do.assessor = Compares(load, lambda recipe, stage: do.left(HERE))  # type: ignore[arg-type,assignment]
    assert shown(pressed(do))["card"] == compare_text.STOPPED


def test_a_refusal_of_the_hand_stands_on_its_card() -> None:
    card = compare_text.system_card(Compared(NAMES[0], None, HandNotFound("No hand & so on."), (), 0.1), "", None)
    assert "No hand &amp; so on." in card
    assert escape(RECIPES[NAMES[0]].title) in card


def test_each_card_says_what_a_system_is_and_how_far_off_it_is_here(told: list[dict[str, Any]]) -> None:
    page, errors = shown(told), read_measured_errors()
    for name in NAMES:
        said = compare_text.about(name)
        assert f"{errors[name].mae_months:.1f} months on {errors[name].n} test radiographs" in said
        assert ("re-implementation at small scale" in said) is (name != DEFAULT_RECIPE)
        if name != REFUSED:
            assert escape(said) in page[name]


def test_the_range_of_all_systems_is_no_interval(told: list[dict[str, Any]]) -> None:
    assert "is no interval" in shown(told)["card"]


def test_weights_of_ones_own_have_no_measured_error(tmp_path: Path) -> None:
    assert read_measured_errors(tmp_path) == {}
