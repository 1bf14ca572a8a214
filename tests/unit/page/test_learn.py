"""What the Learn tab tells: facts with their source, hands by a seed, and a sentence where nothing can be told."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from baa_core.errors import HandNotFound, InvalidTable
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.phantom import draw_phantom, to_png
from baa_core.phantom.lesson import lesson_set
from baa_core.phantom.ossification import CARPALS, EPIPHYSES, sources
from baa_core.reporting.timeline import timeline_figure
from baa_core.types import SEXES
from page import learn_text as words
from page.learn_own import MOST_OWN, own_hands
from page.learn_tab import LearnHandlers, changed
from page.uploads import UploadFolder


class Refuses:
    """Stands where the assessor does, to see what the tab says when a hand is refused."""

    def assess(self, *_args: Any, **_options: Any) -> Any:
        raise HandNotFound("No hand was found. Give a radiograph of a hand.")


@pytest.fixture
def handlers(tmp_path: Path) -> LearnHandlers:
    return LearnHandlers(Refuses(), UploadFolder(tmp_path))  # type: ignore[arg-type]


def asked(handlers: LearnHandlers, **question: Any) -> dict[str, Any]:
    return json.loads(handlers.answer(json.dumps({"number": 5, **question})))


def test_everything_told_of_a_hand_has_a_source(handlers: LearnHandlers) -> None:
    told = asked(handlers, about="facts")
    assert told["number"] == 5
    for sex in SEXES:
        happenings = told["facts"]["happenings"][sex]
        assert len(happenings) == len(CARPALS) + 3 * len(EPIPHYSES) + 3
        assert [one["months"] for one in happenings] == sorted(one["months"] for one in happenings)
        assert {one["source"] for one in happenings} <= set(sources())
    assert told["facts"]["titles"]["metacarpal3 epiphysis"] == "Epiphysis of the third metacarpal"
    assert told["facts"]["about"]["triquetrum"] == "appears: girls 2 years, boys 3 years (R)."


def test_every_part_that_is_drawn_has_a_name(handlers: LearnHandlers) -> None:
    titles = words.bone_titles()
    for sex in SEXES:
        series = json.loads(gzip.decompress(base64.b64decode(asked(handlers, about="series", sex=sex)["series"])))
        assert {name for stop in series["stops"] for name in stop["bones"]} <= set(titles)


def test_a_hand_of_a_set_comes_with_its_truth(handlers: LearnHandlers) -> None:
    hand = lesson_set(3)[1]
    told = asked(handlers, about="hand", seed=3, hand=2)
    assert (told["months"], told["sex"]) == (hand.bone_age_months, hand.sex)
    assert told["picture"].startswith("data:image/webp;base64,")


@pytest.mark.parametrize(
    "question",
    [
        {"about": "hand", "seed": -1, "hand": 1},
        {"about": "hand", "seed": 3, "hand": 11},
        {"about": "hand", "seed": "x", "hand": 1},
        {"about": "hand"},
        {"about": "series", "sex": "unknown"},
        {"about": "something"},
        {"about": "hand", "own": True, "hand": 1},
        {"about": "mine"},
        {},
    ],
)
def test_what_cannot_be_told_is_said_in_a_sentence(handlers: LearnHandlers, question: dict[str, Any]) -> None:
    told = asked(handlers, **question)
    assert set(told) == {"number", "error"}
    assert told["error"].endswith(".")


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_question_that_is_none_is_answered(handlers: LearnHandlers, text: str) -> None:
    assert json.loads(handlers.answer(text))["error"]


def test_a_hand_that_the_system_refuses_is_told_as_refused(handlers: LearnHandlers) -> None:
    told = json.loads(handlers.estimate(json.dumps({"number": 1, "seed": 3, "hand": 1})))
    assert told["error"] == "No hand was found. Give a radiograph of a hand."


def test_each_change_of_the_exercise_is_on_the_page() -> None:
    for change in (*TRANSFORMS, OTHER_SEX):
        assert f'value="{change}"' in words.LIMITS
    assert changed(OTHER_SEX)[1].sex == "male"
    assert changed("mirrored")[0].shape == changed("unchanged")[0].shape


def test_the_timeline_has_every_centre_for_both_sexes() -> None:
    figure = timeline_figure()
    markers = [trace for trace in figure.data if trace.mode == "markers"]
    assert [len(trace.x) for trace in markers] == [30, 21, 30, 21]
    assert all("source" in text for trace in markers for text in trace.text)
    assert len(figure.layout.yaxis.ticktext) == 30


def test_drawn_hands_are_marked_in_every_part() -> None:
    for part in (words.HAND, words.LESSON, words.LIMITS):
        assert words.DRAWN in part


OWN = {f"{n}.png": to_png(draw_phantom(100 + n, "male", seed=n, height_px=220).radiograph) for n in (1, 2)}
LABELS = b"file;sex;bone_age_months\nwards/2.png;M;102,5\n1.png;female;101\n"


def test_a_teachers_radiographs_are_read_into_memory_and_leave_no_file(handlers: LearnHandlers, tmp_path: Path) -> None:
    paths = []
    for name, content in {**OWN, "labels.csv": LABELS}.items():
        (tmp_path / "upload").mkdir(exist_ok=True)
        (tmp_path / "upload" / name).write_bytes(content)
        paths.append(str(tmp_path / "upload" / name))
    nothing, own, said = handlers.take(paths)
    assert nothing is None and 'data-hands="2"' in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [(hand.name, hand.months, hand.sex) for hand in own] == [("2.png", 102.5, "male"), ("1.png", 101, "female")]
    told = json.loads(handlers.answer(json.dumps({"number": 1, "about": "hand", "own": True, "hand": 1}), own))
    assert (told["months"], told["sex"]) == (102.5, "male") and told["picture"].startswith("data:image/webp")
    assert "error" in json.loads(handlers.answer(json.dumps({"about": "hand", "own": True, "hand": 3}), own))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (b"file,sex,bone_age_months\n3.png,M,100\n", "There is no file called 3.png"),
        (b"file,sex,bone_age_months\n1.png,,100\n", "lacks its sex"),
        (b"file,sex,bone_age_months\n1.png,M,ten\n", "row 1 of labels.csv"),
        (b"file,sex,bone_age_months\n1.png,M,900\n", "not possible"),
        (b"file,sex\n1.png,M\n", "lacks the column bone_age_months"),
        (b"file,sex,bone_age_months\n" + b"1.png,M,100\n" * (MOST_OWN + 1), "at most"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_a_sentence(labels: bytes, says: str) -> None:
    with pytest.raises(InvalidTable, match=says):
        own_hands([*OWN.items(), ("labels.csv", labels)])


def test_radiographs_without_a_table_are_refused() -> None:
    with pytest.raises(InvalidTable, match="0 CSV tables"):
        own_hands(list(OWN.items()))
