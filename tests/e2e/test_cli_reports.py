"""`assess` with reports: DICOM in, every form out, the same months in each, read by independent readers."""

import json
from pathlib import Path

import highdicom
import jsonschema
import pytest
from fhirclient.models.observation import Observation
from pydicom import dcmread
from pypdf import PdfReader

from baa_core.export.plain import report_schema
from baa_core.types import DISCLAIMER
from tests.e2e.command import Ran, run
from tests.unit.export.conftest import dicom_hand
from tests.unit.export.test_plain import SECRETS

FORMS = {"text": "a.txt", "pdf": "a.pdf", "fhir": "a.json", "sr": "sr.dcm", "sc": "sc.dcm"}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    folder = tmp_path_factory.mktemp("reported")
    (folder / "hand.dcm").write_bytes(dicom_hand())
    wanted = [word for form, name in FORMS.items() for word in (f"--{form}", folder / name)]
    options = ["--sex", "female", "--age-months", "150", "--reference", "brush-mean", "--json"]
    return folder, run("assess", folder / "hand.dcm", *options, *wanted)


def test_dicom_in_every_report_out_with_the_same_months(reported: tuple[Path, Ran]) -> None:
    folder, ran = reported
    assert ran.status == 0, ran.errors
    result = json.loads(ran.output)
    jsonschema.validate(result, report_schema())
    months, growth = result["bone_age_months"], result["growth"]
    assert growth["convention"] == "brush-mean"
    text = " ".join((folder / "a.txt").read_text("utf-8").split())
    assert f"({months:.1f} months)" in text and growth["sentence"] in text
    (page,) = PdfReader(folder / "a.pdf").pages
    printed = " ".join(page.extract_text().split())
    assert f"{months:.1f} months" in printed and growth["sentence"] in printed and len(page.images) == 2
    observation = Observation(json.loads((folder / "a.json").read_text("utf-8")), strict=True)
    assert observation.valueQuantity.value == months
    structured = highdicom.sr.srread(folder / "sr.dcm")
    (group,) = structured.content.get_image_measurement_groups()
    assert group.get_measurements(highdicom.sr.CodedConcept("85151-9", "LN", "XR Bone age"))[0].value == months
    source, capture = dcmread(folder / "hand.dcm"), dcmread(folder / "sc.dcm")
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert group.source_images[0].referenced_sop_instance_uid == source.SOPInstanceUID
    assert capture.pixel_array.shape[1] == source.Columns


def test_every_report_says_what_it_is_for_and_names_nobody(reported: tuple[Path, Ran]) -> None:
    folder, _ = reported
    (page,) = PdfReader(folder / "a.pdf").pages
    said = {form: (folder / name).read_bytes().decode("latin-1") for form, name in FORMS.items()}
    said["pdf"] = page.extract_text()
    for form, words in said.items():
        assert DISCLAIMER in " ".join(words.split()) or DISCLAIMER in words, form
        assert not [secret for secret in SECRETS if secret in words], form


def test_the_patient_is_named_where_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "hand.dcm").write_bytes(dicom_hand())
    options = ["--sex", "female", "--text", tmp_path / "a.txt", "--identify"]
    ran = run("assess", tmp_path / "hand.dcm", *options)
    assert ran.status == 0, ran.errors
    assert "Patient Erika Mustermann, ID PID-4711" in (tmp_path / "a.txt").read_text("utf-8")
    assert "Mustermann" not in ran.output


@pytest.mark.parametrize("form", ["sr", "sc"])
def test_a_dicom_without_uids_is_refused_in_one_sentence_before_any_work(tmp_path: Path, form: str) -> None:
    (tmp_path / "hand.dcm").write_bytes(dicom_hand(SOPInstanceUID=None))
    ran = run("assess", tmp_path / "hand.dcm", "--sex", "female", f"--{form}", tmp_path / "out.dcm")
    assert (ran.status, ran.output) == (1, "")
    assert "hand.dcm has no valid SOPInstanceUID, so no DICOM report can refer to it." in ran.errors
    assert not (tmp_path / "out.dcm").exists()


def test_a_picture_that_is_refused_gives_no_report(tmp_path: Path) -> None:
    cut = dicom_hand()
    (tmp_path / "hand.dcm").write_bytes(cut[: len(cut) // 2])
    ran = run("assess", tmp_path / "hand.dcm", "--sex", "female", "--sr", tmp_path / "out.dcm", "--json")
    assert ran.status == 2 and json.loads(ran.output)["status"] == "refused"
    jsonschema.validate(json.loads(ran.output), report_schema())
    assert not (tmp_path / "out.dcm").exists()


def test_the_summary_for_people_has_the_sd_score(reported: tuple[Path, Ran]) -> None:
    from baa_core.reference.growth import CENTRES
    from baa_core.reporting.text import summarise

    _, ran = reported
    words = summarise(json.loads(ran.output))
    assert "  Growth  " in words and "children of Ohio, 1930s" in words and CENTRES["brush-mean"] in words
    assert words.splitlines()[0].endswith("hand.dcm")
