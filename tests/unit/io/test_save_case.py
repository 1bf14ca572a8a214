"""Saving a confirmed case: only with consent, nothing but what training needs, in the layout training reads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from baa_core.errors import InvalidPatient
from baa_core.io.save_case import COLUMNS, save_confirmed_case
from baa_core.phantom import draw_phantom
from baa_core.types import Radiograph
from page.entries import Upload
from page.examples import EXAMPLES, draw_example
from page.save_case import keep
from train.data.samples import find_samples, read_labels, read_sample


def test_training_reads_what_was_saved(tmp_path: Path) -> None:
    radiograph = draw_phantom(100, "male", seed=2).radiograph
    for months in (101.5, 88):
        save_confirmed_case(tmp_path, radiograph, "male", months, consent=True)
    labels = read_labels(tmp_path / "labels.csv")
    assert sorted(labels.bone_age_months) == [88, 101.5] and set(labels.sex) == {"male"}
    samples = find_samples([tmp_path / "images"], labels)
    assert [s.kind for s in samples] == ["sharp", "sharp"]
    kept = read_sample(samples[0]).pixels
    assert np.corrcoef(kept.ravel(), radiograph.pixels.ravel())[0, 1] > 0.9999, "the same greys, stretched"


@pytest.mark.parametrize(
    ("sex", "months", "consent"), [("male", 100, False), (None, 100, True), ("male", None, True), ("male", -3, True)]
)
def test_nothing_is_saved_without_consent_sex_and_age(
    sex: str | None, months: float | None, consent: bool, tmp_path: Path
) -> None:
    with pytest.raises(InvalidPatient, match="Nothing was saved"):
        save_confirmed_case(tmp_path, draw_phantom(100, "male", seed=2).radiograph, sex, months, consent=consent)
    assert not list(tmp_path.iterdir())


def test_the_page_keeps_a_case_only_with_consent_and_asks_again(tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    example, content = draw_example(next(iter(EXAMPLES)))
    chosen = Upload("drawn.png", content, drawn=True)
    assert "tick that this picture may be kept" in keep(cases, chosen, example.sex, "10", "1", False)[0]
    assert "No radiograph" in keep(cases, None, example.sex, "10", "1", True)[0] and not list(tmp_path.iterdir())
    said, consent = keep(cases, chosen, example.sex, "10", "1", True)
    assert "Kept as" in said and consent is False
    assert float(read_labels(cases / "labels.csv").bone_age_months.iloc[0]) == 121


def test_cases_saved_at_once_have_one_header(tmp_path: Path) -> None:
    radiograph = Radiograph(np.random.default_rng(1).random((120, 110)).astype(np.float32))
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda _: save_confirmed_case(tmp_path, radiograph, "male", 60.0, consent=True), range(24)))
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 25
    assert lines.count(lines[0]) == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["labels.csv"]
