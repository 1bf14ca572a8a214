"""A picture changed by hand: every form says so, and DICOM says how its pixels lie to those of the source."""

import io
import json
from dataclasses import replace

import highdicom
import jsonschema
import numpy as np
import pytest
from pydicom import dcmread
from pypdf import PdfReader

from baa_core.export.content import ReportContent, collect
from baa_core.export.forms import FORMS
from baa_core.export.plain import json_report, report_schema
from baa_core.io import apply_edits
from baa_core.reporting import cautions
from baa_core.types import ManualEdits, Patient, Report
from baa_core.workflows.assess import Assessor
from tests.unit.export.conftest import dicom_hand
from tests.unit.export.test_dicom import texts

SAID = "turned by 90 degrees clockwise, mirrored left to right"


@pytest.fixture(scope="module")
def turned(report: Report) -> ReportContent:
    """The report of the whole picture, turned with its mask and heatmap: untrained networks know upright hands only."""
    radiograph = apply_edits(report.radiograph, ManualEdits(quarter_turns=1, mirrored=True))
    mask, heat = (
        np.ascontiguousarray(np.rot90(layer, -1)[:, ::-1]) for layer in (report.hand.pixels, report.explanation.heat)
    )
    hand, explanation = replace(report.hand, pixels=mask), replace(report.explanation, heat=heat)
    said = cautions.about_picture(radiograph, hand)
    return collect(replace(report, radiograph=radiograph, hand=hand, explanation=explanation, cautions=said))


def test_every_form_says_what_was_done_by_hand(turned: ReportContent, source: bytes) -> None:
    made = {name: form.make(turned, source) for name, form in FORMS.items()}
    (page,) = PdfReader(io.BytesIO(made["pdf"])).pages
    structured, capture = highdicom.sr.srread(io.BytesIO(made["sr"])), dcmread(io.BytesIO(made["sc"]))
    said = {
        "text": made["text"].decode(),
        "pdf": page.extract_text(),
        "json": made["json"].decode(),
        "fhir": json.dumps(json.loads(made["fhir"])["note"]),
        "sr": " ".join(texts(structured)),
        "sc": str(capture.DerivationDescription),
    }
    for form, words in said.items():
        assert SAID in " ".join(words.split()), form
    result = json_report(turned)
    jsonschema.validate(result, report_schema())
    assert result["manual_edits"] == {"crop": None, "rotated_degrees": 90, "mirrored": True, "inverted": None}


def test_a_picture_left_alone_says_nothing_of_edits(content: ReportContent) -> None:
    assert "manual_edits" not in json_report(content)
    assert "by hand" not in FORMS["text"].make(content, b"").decode()


def test_the_dicom_picture_is_the_source_reoriented_and_its_directions_turn_with_it(
    turned: ReportContent, source: bytes
) -> None:
    capture = dcmread(io.BytesIO(FORMS["sc"].make(turned, source)))
    of = dcmread(io.BytesIO(source))
    assert list(of.PatientOrientation) == ["L", "F"]
    assert list(capture.PatientOrientation) == ["F", "L"]  # clockwise (H, L), then mirrored
    assert capture.SourceImageSequence[0].SpatialLocationsPreserved == "REORIENTED_ONLY"
    grey = np.rot90(of.pixel_array, -1)[:, ::-1].astype(float)
    shown = capture.pixel_array[: grey.shape[0], :, 0].astype(float)
    assert capture.Columns == of.Rows
    alike = [np.corrcoef(shown.ravel(), each.ravel())[0, 1] for each in (grey, grey[::-1], grey[:, ::-1])]
    assert alike[0] > 0.8 > 0.7 > max(alike[1:]), "outline and heatmap lie on it, and it is no other way round"


def test_a_cropped_dicom_picture_declares_the_pixels_of_the_source(tiny_assessor: Assessor) -> None:
    source = dicom_hand()
    of = dcmread(io.BytesIO(source))
    box = (10, 8, int(of.Columns) - 10, int(of.Rows) - 6)
    report = tiny_assessor.assess(source, Patient("female"), name="hand.dcm", edits=ManualEdits(box))
    capture = dcmread(io.BytesIO(FORMS["sc"].make(collect(report), source)))
    assert capture.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert f"columns 10 to {box[2]} and rows 8 to {box[3]} of the file" in capture.DerivationDescription
