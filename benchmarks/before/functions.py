"""Points that a few calls of a checkout's own functions answer: explanations, weights, entries, faults."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from baa_core.phantom import to_png
from tests.encodings import twin

from .pictures import bright, drawn
from .rows import Answer, Checkout, Row, Seen, codes, words_of

EXPLAIN = "tests/unit/explanation/"
Judge = Callable[[Answer], tuple[str, bool]]


def asks(probe: str, judge: Judge, content: bytes | None = None, **arguments: object) -> Callable[[Checkout], Seen]:
    """One request, about a file where there is content; a refusal is given to the judge as well."""

    def look(there: Checkout) -> Seen:
        given = {} if content is None else {"file": there.file(content)}
        answer = there(probe, **given, **arguments)
        try:
            return Seen(*judge(answer))
        except KeyError:
            message = str(answer.get("message", ""))[:70]
            return Seen(
                f"{'refused' if answer.get('foreseen') else 'ERROR'}: {answer.get('refusal')}: {message}", False
            )

    return look


def rows() -> Iterator[Row]:
    """All points of this file."""
    yield from explanations()
    yield from verdicts()
    yield from weights()
    yield from notes()
    yield from entries()
    yield from faults()
    yield from tables()


def plain() -> bytes:
    """The drawn hand most rows are about."""
    return twin(bright())


def other() -> bytes:
    """Another one, for explanations."""
    return to_png(drawn(120.0, 4).radiograph)


def explanations() -> Iterator[Row]:
    def weighted(answer: Answer) -> tuple[str, bool]:
        near, far = answer["from_weighted"], answer["from_plain"]
        return f"{near:.4f} from the weighted mean of its networks' maps, {far:.4f} from the plain mean", near < far

    test = EXPLAIN + "test_heatmap.py::test_a_network_that_counts_double_shows_double"
    yield Row(
        "A5", "heatmap of networks with unequal weights", "nearer to the weighted mean",
        asks("heatmap_by_weight", weighted, other()), (test,), "baa_core/pipeline.py:179",
    )  # fmt: skip

    def passed_on(answer: Answer) -> tuple[str, bool]:
        dropped = sorted(set(answer["assessment_cautions"]) - set(answer["cautions"]))
        return (f"drops {', '.join(dropped)}" if dropped else "says them all"), not dropped

    test = EXPLAIN + "test_report.py::test_an_explanation_says_all_that_an_assessment_says"
    yield Row(
        "A5", "cautions of an explanation, sex unknown", "all that an assessment says",
        asks("explanation", passed_on, other(), sex=None), (test,), "baa_core/inquiry.py:258",
    )  # fmt: skip

    def hooks(answer: Answer) -> tuple[str, bool]:
        return f"{answer['hooks']} hooks on shared networks", answer["hooks"] == 0

    tests = (
        EXPLAIN + "test_report.py::test_nothing_hooks_into_a_network_that_others_use",
        EXPLAIN + "test_report.py::test_explanations_at_the_same_time_are_as_each_alone",
    )
    yield Row(
        "A7", "Grad-CAM while another thread computes", "none", asks("shared_hooks", hooks, other()), tests,
        "baa_core/inquiry.py:145",
    )  # fmt: skip

    def explained(answer: Answer) -> tuple[str, bool]:
        return "goes on past its regions", answer["passed"]

    test = "tests/e2e/test_recipes.py::test_every_recipe_explains_its_estimate"
    for recipe in ("fanciulli_motisi2024", "malanga2024", "iglovikov2018", "li2021"):
        yield Row(
            "B3", f"explanation by {recipe}", "goes on past its regions",
            asks("regions_passed", explained, other(), recipe=recipe), (test,), "baa_core/inquiry.py:254",
        )  # fmt: skip


def verdicts() -> Iterator[Row]:
    def verdict(answer: Answer) -> tuple[str, bool]:
        return f"{answer['headline']} ({answer['checks']} checks)", answer["checks"] == 2

    tests = (EXPLAIN + "test_verdict.py::test_networks_of_different_kinds_are_a_note_and_no_verdict",)
    yield Row(
        "C1", "verdict over a heatmap", "by two checks; how alike the networks' maps are is a note",
        asks("explanation", verdict, other(), sex=None), tests, "baa_core/explain/trust.py:24",
    )  # fmt: skip

    def sign(answer: Answer) -> tuple[str, bool]:
        return f"{answer['months']:+.2f} months", answer["months"] > 0

    test = EXPLAIN + "test_region_effects.py::test_a_region_contributes_what_the_network_reads_there"
    yield Row(
        "C2", "a region that makes the answer older", "positive, as red on the map", asks("region_sign", sign), (test,),
        "baa_core/explain/regions.py:198",
    )  # fmt: skip

    def turn(answer: Answer) -> tuple[str, bool]:
        return ("a mirror image" if answer["mirrored"] else "a turn by 180 degrees"), answer["turned"]

    test = EXPLAIN + "test_robustness.py::test_upside_down_is_a_turn_not_a_mirror_image"
    yield Row(
        "C3", 'the change "upside down"', "a turn by 180 degrees", asks("upside_down", turn), (test,),
        "baa_core/explain/drift.py:62",
    )  # fmt: skip

    def chance(answer: Answer) -> tuple[str, bool]:
        return f"on {answer['share']:.0%} of 1000 hands", answer["share"] <= 0.075

    test = EXPLAIN + "test_region_effects.py::test_by_chance_a_region_stands_out_on_one_hand_in_twenty"
    yield Row(
        "C3", "a region stands out by chance", "on 5 %", asks("chance_regions", chance, hands=1000), (test,),
        "baa_core/explain/regions.py:115",
    )  # fmt: skip

    def shares(answer: Answer) -> tuple[str, bool]:
        inside, beyond = answer["panel"]["inside_hand_share"], answer["shares"]["outside"]
        return f"{inside:.1%} on the hand beside {beyond:.1%} beyond", inside + beyond <= 1.005

    test = EXPLAIN + "test_report.py::test_the_shares_of_a_map_are_told_once"
    yield Row(
        "C3", "share of the map on the hand", "adds up with the share beyond it",
        asks("explanation", shares, other(), sex=None), (test,), "baa_core/explain/methods.py:191",
    )  # fmt: skip

    def asked(answer: Answer) -> tuple[str, bool]:
        words = f"pose checked {answer['asked']} times; refused: {', '.join(answer['refused']) or 'none'}"
        return words, len(answer["refused"]) == 1

    def points(answer: Answer) -> tuple[str, bool]:
        return f"refused: {', '.join(answer['refused']) or 'none'}", len(answer["refused"]) == 1

    test = EXPLAIN + "test_report.py::test_a_refused_change_is_told_and_the_others_go_on"
    given = "robustness, one changed radiograph is no frontal hand"
    yield Row(
        "C4", given, "that one is told, the others go on", asks("robustness", asked, other(), at="pose"), (test,),
        "baa_core/inquiry.py:240",
    )  # fmt: skip
    yield Row(
        "C4", "robustness, points of one changed radiograph cannot be placed", "that one is told, the others go on",
        asks("robustness", points, other(), at="points"), (test,), "baa_core/inquiry.py:240",
    )  # fmt: skip

    def card(answer: Answer) -> tuple[str, bool]:
        said = all(words in answer["card"].lower() for words in ("re-implementation", "mean absolute error"))
        return f"{'says' if said else 'does not say'} that it is a re-implementation, with its error here", said

    def dots(answer: Answer) -> tuple[str, bool]:
        return ("dots with whiskers" if answer["dots"] else "no figure"), answer["dots"]

    page = "tests/unit/page/test_compare.py::"
    recipe = "fanciulli_motisi2024"
    yield Row(
        "C5", "card of a compared system", "a re-implementation, with its mean absolute error here",
        asks("system_card", card, other(), recipe=recipe),
        (page + "test_each_card_says_what_a_system_is_and_how_far_off_it_is_here",), "page/compare_text.py:82",
    )  # fmt: skip
    yield Row(
        "C5", "figure of a comparison", "one dot with its own interval for each system",
        asks("system_card", dots, other(), recipe=recipe),
        ("tests/unit/reporting/test_charts.py::test_each_system_is_a_dot_with_its_own_interval",
         page + "test_the_range_of_all_systems_is_no_interval"), "page/compare_text.py:119",
    )  # fmt: skip

    def lines(answer: Answer) -> tuple[str, bool]:
        found = answer["lines"]
        return f"{len(found)} lines fitted and applied" if found else "none applied", not found

    test = "tests/unit/train/calibration/test_interval_widths.py::"
    yield Row(
        "C6", "bias lines where networks err by chance alone", "chosen by cross-validation: none",
        asks("bias_of_chance", lines),
        (test + "test_no_bias_line_is_applied_where_it_helps_nobody",
         test + "test_no_picture_is_corrected_by_a_line_that_saw_it"), "train/calibrate.py:206",
    )  # fmt: skip


def notes() -> Iterator[Row]:
    def declared(answer: Answer) -> tuple[str, bool]:
        said = [note for note in answer["notes"] if "learned on hands outlined by" in note]
        return (f"said: {said[0][:90]}…" if said else "not said"), bool(said)

    test = "tests/unit/networks/test_published.py::test_a_system_that_learned_on_other_outlines_says_so_with_a_number"
    yield Row(
        "C6", "iglovikov2018 learned on other outlines than it is served on", "said, with months",
        asks("recipe_notes", declared, recipe="iglovikov2018"), (test,), "baa_core/recipes/iglovikov2018.py:70",
    )  # fmt: skip


def weights() -> Iterator[Row]:
    test = "tests/unit/networks/test_weights.py::"

    def refused(answer: Answer) -> tuple[str, bool]:
        named = "weights/" in answer.get("message", "")
        return words_of(answer) + (f" ({answer['message'][:60]}…)" if "message" in answer else ""), named

    for where, name in (("file", "lite0_320_drawn"), ("file", "age_bones"), ("file", "hand"), ("bias", "age_bones")):

        def look(there: Checkout, where: str = where, name: str = name) -> Seen:
            folder = str(there.files / f"weights_{where}_{name}")
            answer = there("broken_weights", file=there.file(plain()), folder=folder, where=where, name=name)
            return Seen(*refused(answer))

        held = "a_file_with_one_number_that_is_none" if where == "file" else "a_manifest_with_a_number_that_is_none"
        given = f"one NaN in the weights of {name}" if where == "file" else f"NaN as the bias of {name}"
        yield Row("A8", given, "an error that names the file", look, (f"{test}test_{held}_gives_no_months",))

    def again(answer: Answer) -> tuple[str, bool]:
        return f"answers {answer['bone_age_months']:.1f} months afterwards", bool(answer["first"])

    yield Row(
        "B3", "weights that were missing when the page started", "answers once they are there",
        asks("loads_again", again, plain()), ("tests/unit/page/test_assess.py::test_a_failed_load_is_tried_again",),
        "page/loading.py:47",
    )  # fmt: skip


def entries() -> Iterator[Row]:
    test = "tests/unit/reporting/test_wording.py::"

    def open_question(answer: Answer) -> tuple[str, bool]:
        return answer["said"] or "nothing", "inconclusive" in answer["said"]

    def certain(answer: Answer) -> tuple[str, bool]:
        return answer["said"] or "nothing", "99" in answer["said"]

    yield Row(
        "A6", "entered as male, probability 0.55", "inconclusive",
        asks("sex_sentence", open_question, probability_male=0.55),
        (test + "test_the_sex_check_is_said_as_it_was_found",), "page/text.py:111",
    )  # fmt: skip
    yield Row(
        "A6", "entered as male, probability 0.9999", ">99 %", asks("sex_sentence", certain, probability_male=0.9999),
        (test + "test_no_probability_is_said_to_be_certain",), "page/text.py:111",
    )  # fmt: skip

    def refused(answer: Answer) -> tuple[str, bool]:
        said = answer["message"][:90] if "message" in answer else f"taken as {answer['age_months']} months"
        return said, bool(answer.get("foreseen"))

    def in_years(answer: Answer) -> tuple[str, bool]:
        said = answer["message"][:110] if "message" in answer else f"taken as {answer['age_months']} months"
        return said, "200 years" in said

    test = "tests/unit/page/test_assess.py::test_impossible_ages_are_refused_in_the_visitors_own_units"
    for years, months, given, judge in (
        ("10.5", "6", "10.5 years and 6 months typed", refused),
        ("nan", "", "nan typed as years", refused),
        ("200", "", "200 years typed", in_years),
    ):
        expected = "refused in years" if judge is in_years else "refused"
        yield Row(
            "C7", given, expected, asks("entered_age", judge, years=years, months=months), (test,), "page/text.py:45"
        )


def faults() -> Iterator[Row]:
    damage = "tests/unit/io/test_damage.py::"

    def bug(answer: Answer) -> tuple[str, bool]:
        said = f"{answer['refusal']}: {answer['message'][:60]}"
        return said, answer["refusal"] == "TypeError"

    def memory(answer: Answer) -> tuple[str, bool]:
        return answer["message"][:90], "memory" in answer["message"]

    yield Row(
        "D", "a TypeError of our own while a PNG is read", "the error itself, not a damaged file",
        asks("own_fault", bug, plain(), kind="bug"), (damage + "test_a_bug_of_our_own_is_not_called_damage",),
        "baa_core/io/refusals.py:18",
    )  # fmt: skip
    yield Row(
        "D", "lack of memory while a PNG is read", "said as such", asks("own_fault", memory, plain(), kind="memory"),
        (damage + "test_lack_of_memory_is_told_as_such",), "baa_core/io/refusals.py:18",
    )  # fmt: skip

    def traced(answer: Answer) -> tuple[str, bool]:
        told = "ZeroDivisionError" in answer["log"] and "__main__" in answer["log"]
        return ("its place is logged" if told else "its place is lost"), told

    tests = ("tests/unit/test_faults.py::test_the_command_line_says_one_line_and_logs_the_bug",)
    yield Row(
        "D", "a bug behind the command line", "its place is logged", asks("told_bug", traced, plain()), tests,
        "baa_core/__main__.py:143",
    )  # fmt: skip

    def view(answer: Answer) -> tuple[str, bool]:
        return words_of(answer), "view_unchecked" in codes(answer)

    tests = ("tests/unit/hand/test_outline.py::test_a_system_that_cannot_check_the_view_says_so",)
    yield Row(
        "D", "a system without a network that places joints", "`view_unchecked`", asks("unchecked_view", view, plain()),
        tests, "baa_core/sight.py:158",
    )  # fmt: skip

    def whole(key: str, words: str, right: object) -> Judge:
        return lambda answer: (words.format(answer[key]), answer[key] == right)

    threads = "tests/e2e/test_threads.py::"
    left = threads + "test_after_a_comparison_in_a_thread_cores_environment_and_warnings_are_as_before"
    for key, words, right, given, test, place in (
        ("filters", "set {} times", 0, "warning filters of the process, while a file is read",
         damage + "test_reading_leaves_the_warning_filters_of_other_threads_alone", "baa_core/io/__init__.py:47"),
        ("variables", "changes {}", [], "environment variables, by a heatmap in a thread",
         threads + "test_only_the_main_thread_lends_captum_a_folder", "baa_core/explain/captum_door.py:20"),
        ("cores", "{} cores", 3, "cores of a new thread after a clustering, 3 before", left,
         "baa_core/feature_clustering.py:72"),
    ):  # fmt: skip
        yield Row("D", given, "unchanged", asks("process_wide", whole(key, words, right), other()), (test,), place)

    def drawn_map(answer: Answer) -> tuple[str, bool]:
        return f"drawn, {answer['inside_hand_share']:.0%} on the hand", True

    yield Row(
        "E also", "a heatmap inside torch.inference_mode()", "drawn", asks("in_inference_mode", drawn_map, plain()),
        (EXPLAIN + "test_heatmap.py::test_a_heatmap_can_be_asked_for_inside_inference_mode",
         "tests/unit/networks/test_store.py::test_a_network_loaded_in_inference_mode_can_still_be_explained"),
        "baa_core/explain/heatmap.py:41",
    )  # fmt: skip


def tables() -> Iterator[Row]:
    test = "tests/unit/evaluation/test_batch.py::test_a_table_is_read_as_spreadsheets_write_it"
    lines = [["file", "sex", "note"], ["1.png", "female", "a"], ["2.png", "male", "b"]]

    def written(delimiter: str, capitals: bool = False) -> bytes:
        text = io.StringIO()
        first = [name.capitalize() for name in lines[0]] if capitals else lines[0]
        csv.writer(text, delimiter=delimiter).writerows([first, *lines[1:]])
        return text.getvalue().encode()

    def both(answer: Answer) -> tuple[str, bool]:
        return f"{answer['rows']} rows read", answer["first"].get("sex") == "female"

    for given, content in (
        ("semicolons", written(";")), ("tabs", written("\t")), ("capital headers", written(",", capitals=True)),
    ):  # fmt: skip

        def look(there: Checkout, content: bytes = content) -> Seen:
            path = Path(there.file(content, "table.csv"))
            answer = there("table", file=str(path))
            return Seen(*both(answer)) if "rows" in answer else Seen(f"refused: {answer['message'][:80]}", False)

        yield Row("E also", f"a table with {given}", "2 rows read", look, (test,), "baa_core/tables.py:81")
