"""Text to copy, JSON by its schema, FHIR by two independent readers."""

import ast
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from fhir.resources.R4B.observation import Observation as ObservationR4B
from fhirclient.models.observation import Observation as ObservationR4
from pypdf import PdfReader

import baa_core.export
from baa_core.errors import HandNotFound, InvalidPatient
from baa_core.export.content import collect
from baa_core.export.fhir import fhir_observation
from baa_core.export.pdf import pdf_report
from baa_core.export.plain import json_report, report_schema
from baa_core.export.text import text_report
from baa_core.reference.course import GrowthPoint
from baa_core.reporting.text import summarise
from baa_core.types import DISCLAIMER, refusal
from tests.unit.export.conftest import NAME, PATIENT_ID

SECRETS = ("Mustermann", "Erika", PATIENT_ID, "20140203", "2014-02-03", "ACC-77", "STUDY-5", "2024-04-05", "20240405")


def test_the_text_has_the_five_headings_in_order_and_what_belongs_under_them(content, report) -> None:
    text = text_report(content)
    headings = re.findall(r"^[A-Z]+$", text, flags=re.MULTILINE)
    assert headings == ["EXAM", "TECHNIQUE", "COMPARISON", "FINDINGS", "IMPRESSION"]
    said = dict(zip(headings, re.split(r"^[A-Z]+$", text, flags=re.MULTILINE)[1:], strict=True))
    flat = {heading: " ".join(body.split()) for heading, body in said.items()}
    months, (low, high) = report.prediction.bone_age_months, report.prediction.interval_months
    assert f"({months:.1f} months)" in flat["FINDINGS"] and f"({months:.1f} months)" in flat["IMPRESSION"]
    assert f"({low:.1f} to {high:.1f} months)" in flat["IMPRESSION"]
    assert content.growth.sentence in flat["IMPRESSION"]
    assert "recipe tiny" in flat["TECHNIQUE"] and "female sex (as entered)" in flat["TECHNIQUE"]
    assert "Earlier, at 8 years: bone age 7 years 6 months" in flat["COMPARISON"]
    assert (
        "children of Ohio, 1930s. SD score about the chronological age = (bone age - chronological age) / SD"
        in flat["COMPARISON"]
    )
    assert "months a year over the last 24 months" in flat["FINDINGS"] and "SD score:" in flat["FINDINGS"]
    assert "Most likely half-years" in flat["FINDINGS"]
    assert max(map(len, text.splitlines())) <= 100


def test_every_caution_stands_in_the_text(report) -> None:
    from dataclasses import replace

    from baa_core.types import Caution

    warned = replace(report, cautions=(Caution("polarity", "Bone is dark."), Caution("cut_off", "Fingers are cut.")))
    text = text_report(collect(warned))
    assert "Caution: Bone is dark." in text and "Caution: Fingers are cut." in text


def test_without_an_age_there_is_no_growth_but_a_report(report) -> None:
    from dataclasses import replace

    content = collect(replace(report, chronological_age_months=None))
    text = text_report(content)
    assert "No chronological age was given" in text and "SD score" not in text
    assert "growth" not in json_report(content)
    ObservationR4(fhir_observation(content), strict=True)
    assert "referenceRange" not in fhir_observation(content)


def test_beyond_the_table_every_plain_form_says_that_there_is_no_reference(report) -> None:
    from dataclasses import replace

    content = collect(replace(report, chronological_age_months=200.0))
    assert "No reference: the table for girls ends at 192 months" in " ".join(text_report(content).split())
    result = json_report(content)
    jsonschema.validate(result, report_schema())
    assert (result["growth"]["sd_score"], result["growth"]["classification"]) == (None, "no reference")
    observation = fhir_observation(content)
    ObservationR4(observation, strict=True)
    assert "interpretation" not in observation and len(observation["component"]) == 3


def test_an_earlier_assessment_at_this_age_is_refused_before_any_form_is_made(report) -> None:
    with pytest.raises(InvalidPatient, match="Two assessments at the same age"):
        collect(report, earlier=[GrowthPoint(120, 110)])


def test_json_is_as_its_schema_says_and_the_contract_is_unchanged(content, report) -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    result = json.loads(json.dumps(json_report(content), allow_nan=False))
    jsonschema.validate(result, report_schema())
    assert {key: result[key] for key in report.to_dict()} == json.loads(json.dumps(report.to_dict()))
    assert set(result) == set(report.to_dict()) | {"growth", "half_years", "velocity"}
    described = report_schema()["$defs"]
    own = {"local_calibration", "manual_edits"}  # only where there was one
    assert set(result) == set(described["assessed"]["properties"]) - own
    assert set(result["growth"]) == set(described["growth"]["properties"])
    jsonschema.validate(report.to_dict(), report_schema())


def test_a_refusal_is_as_the_schema_says(report) -> None:
    refused = refusal("a.png", "lite", HandNotFound("No hand."))
    jsonschema.validate(refused, report_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"bone_age_months": -1},
        {"status": "maybe"},
        {"interval_months": [1]},
        {"sex_used": "unknown"},
        {"cautions": [{"code": "x"}]},
        {"disclaimer": ""},
        {"growth": {"sd_score": 1}},
    ],
)
def test_the_schema_refuses_what_is_no_result(content, change) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json_report(content) | change, report_schema())


def test_fhir_reads_back_the_same_months_in_r4_and_r4b(content, report) -> None:
    plain = json.loads(json.dumps(fhir_observation(content), allow_nan=False))
    months, ends = report.prediction.bone_age_months, report.prediction.interval_months
    first = ObservationR4(plain, strict=True)
    assert first.status == "preliminary"
    assert (first.code.coding[0].system, first.code.coding[0].code) == ("http://loinc.org", "85151-9")
    quantity = first.valueQuantity
    assert (quantity.value, quantity.code, quantity.system) == (round(months, 2), "mo", "http://unitsofmeasure.org")
    method, interval, age, score = first.component
    assert method.code.coding[0].code == "85150-1" and "Greulich and Pyle" in method.valueCodeableConcept.text
    assert (interval.valueRange.low.value, interval.valueRange.high.value) == tuple(round(end, 2) for end in ends)
    assert (age.valueQuantity.value, age.valueQuantity.code) == (120, "mo")
    assert score.valueQuantity.value == content.growth.sd_score and score.code.text.endswith(
        "about the chronological age"
    )
    assert first.interpretation[0].coding[0].code == "N"
    assert first.referenceRange[0].low.value == round(120 - 2 * 11.73, 2)
    second = ObservationR4B.model_validate_json(json.dumps(plain))
    assert float(second.valueQuantity.value) == round(months, 2)
    assert second.component[1].valueRange.high.unit == "months"


@pytest.mark.parametrize("months", [111.0505, 0.049, 200.95])
def test_every_form_and_the_summary_round_alike(report, months: float) -> None:
    """111.0505 is 111.05 in the JSON and then 111.0 for people; rounded once it would be 111.1."""
    from dataclasses import replace

    interval = (max(0.0, months - 20), months + 20)
    content = collect(
        replace(report, prediction=replace(report.prediction, bone_age_months=months, interval_months=interval))
    )
    summary = summarise(json_report(content))
    (shown,) = re.findall(r"Bone age .*\(([\d.]+ months)\)", summary)
    assert shown in text_report(content)
    assert shown in " ".join(PdfReader(io.BytesIO(pdf_report(content))).pages[0].extract_text().split())
    ends = re.findall(r"90 % interval .*\(([\d.]+ to [\d.]+ months)\)", summary)
    assert ends[0] in " ".join(text_report(content).split())


def test_every_plain_form_says_for_what_it_is_and_is_not(content) -> None:
    observation = fhir_observation(content)
    assert DISCLAIMER in text_report(content)
    assert json_report(content)["disclaimer"] == DISCLAIMER
    assert DISCLAIMER in observation["text"]["div"] and observation["note"][0]["text"] == DISCLAIMER
    for form in (text_report(content), json.dumps(observation)):
        assert "preliminary" in form
        assert all(sha in form for sha in content.weights_sha256.values())


def test_no_plain_form_names_the_patient_unless_asked(content, report, identity) -> None:
    for form in (text_report, json_report, fhir_observation):
        said = json.dumps(form(content))
        assert not [secret for secret in SECRETS if secret in said], form.__name__
    named = collect(report, identity=identity)
    assert f"Patient Erika Mustermann, ID {PATIENT_ID}, born 2014-02-03" in text_report(named)
    observation = ObservationR4(fhir_observation(named), strict=True)
    assert (observation.subject.identifier.value, observation.subject.display) == (PATIENT_ID, "Erika Mustermann")
    assert observation.effectiveDateTime.date.date().isoformat() == "2024-04-05"
    assert NAME not in json.dumps(json_report(named))


def test_heavy_libraries_are_loaded_only_when_a_report_is_asked_for() -> None:
    for path in Path(baa_core.export.__file__).parent.glob("*.py"):
        at_import = [
            node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name.name for node in at_import for name in node.names} | {
            node.module for node in at_import if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not {name.split(".")[0] for name in names} & {"reportlab", "highdicom", "pydicom"}, path.name
