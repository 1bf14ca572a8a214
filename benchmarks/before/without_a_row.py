"""Reported points that no drawn hand shows in both checkouts: where the former code has them, and what holds them."""

from __future__ import annotations

from typing import NamedTuple


class ByTest(NamedTuple):
    """A point without a row: where the former code has it, and the tests that hold it."""

    point: str
    what: str
    place: str
    tests: tuple[str, ...]


# Where a row names no place of its own: the line of the former code that answers so.
PLACES = {
    "A1": "baa_core/masking.py:72",
    "A2": "app.py:89",
    "A3": "baa_core/masking.py:71",
    "A4": "baa_core/masking.py:73",
    "A6": "baa_core/pipeline.py:124",
    "A7": "app.py:141",
    "A8": "baa_core/calibration.py:153",
    "A9": "baa_core/io/picture.py:24",
    "B1": "baa_core/io/grey.py:32",
    "B2": "baa_core/quality.py:103",
    "B4": "page/intake.py:35",
    "C7": "baa_core/cautions.py:154",
    "E reading": "baa_core/io/dicom.py:180",
    "E pictures": "baa_core/masking.py:71",
    "E also": "baa_core/io/dicom.py:180",
}
BY_TEST = (
    ByTest(
        "A2",
        "a result or a press that the network delays (a browser's line is slowed down)",
        "app.py:89",
        (
            "tests/e2e/test_app_sequences.py::test_a_press_that_arrives_after_the_next_file",
            "tests/e2e/test_app_sequences.py::test_a_result_that_comes_slowly_is_not_shown_under_the_next_file",
            "tests/e2e/test_app_sequences.py::test_what_is_done_while_a_finished_result_is_on_its_way",
        ),
    ),
    ByTest(
        "A2",
        "Explain still shows the girl's estimate after the boy's was assessed",
        "page/explain_tab.py:101",
        ("tests/e2e/test_app_explain.py::test_assessing_as_the_other_sex_marks_the_explanation_as_outdated",),
    ),
    ByTest(
        "A3",
        "outlines of raw frames of the challenge (they may not be kept here; `python -m train check --outlines-only`)",
        "baa_core/masking.py:71",
        (
            "tests/unit/train/hand/test_collimation.py::test_hands_in_collimated_fields_are_outlined",
            "tests/unit/hand/test_outline.py::test_a_fault_of_the_outline_is_told",
            "tests/unit/hand/test_outline.py::test_the_finger_that_an_outline_misses_is_named",
        ),
    ),
    ByTest(
        "A7",
        "16 calls at once; two explanations at the same time (which numbers change is chance)",
        "baa_core/inquiry.py:145",
        (
            "tests/unit/explanation/test_report.py::test_explanations_at_the_same_time_are_as_each_alone",
            "tests/e2e/test_app_sequences.py::test_eight_callers_at_once_each_get_the_single_runs_answer",
            "tests/unit/page/test_assess.py::test_networks_run_one_at_a_time_whichever_way_a_call_came",
        ),
    ),
    ByTest(
        "A9",
        "the 327 cut or flipped files one by one (a corpus of over 600 takes their place)",
        "baa_core/io/picture.py:24",
        ("tests/unit/io/test_corpus.py::test_a_sample_of_the_hostile_corpus_is_read_rightly_or_refused_in_words",),
    ),
    ByTest(
        "B2",
        "cuts of real hands, from which the limit was chosen (`python -m train cuts`)",
        "baa_core/quality.py:103",
        ("tests/unit/hand/test_cut.py::test_real_hands_are_assessed_while_the_growth_plates_are_seen_and_refused_without",),
    ),
    ByTest(
        "C6",
        "the folds of malanga2024 deal pictures, not children",
        "train/grouped.py:79",
        ("tests/unit/networks/test_published.py::test_no_child_is_learnt_from_and_measured_in_the_same_fold",),
    ),
    ByTest(
        "D",
        "a batch drops tracebacks",
        "baa_core/batch.py:164",
        ("tests/unit/test_faults.py::test_a_batch_goes_on_and_tells_the_bug",),
    ),
)  # fmt: skip
