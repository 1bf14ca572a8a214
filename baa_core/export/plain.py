"""The report as JSON, and the JSON Schema that describes it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from .content import ReportContent

SCHEMA_FILE = "report.schema.json"


def json_report(content: ReportContent) -> dict[str, Any]:
    """`Report.to_dict` with its growth context, as `report_schema` describes it.

    Keys beyond those of `Report.to_dict`: "growth" where an age was given, "half_years", and "velocity" where there
    are earlier assessments. "file" is the name of the file as given; it is part of the contract of the command line.
    """
    result = content.report.to_dict()
    if content.growth is not None:
        result["growth"] = content.growth.to_dict()
    result["half_years"] = [
        {"months": half.months, "probability": round(half.probability, 4)} for half in content.half_years
    ]
    if (velocity := content.velocity) is not None:
        result["velocity"] = {
            "months_per_year": round(velocity.months_per_year, 2),
            "interval": None if velocity.interval is None else [round(end, 2) for end in velocity.interval],
            "span_months": round(velocity.span_months, 2),
            "sentence": velocity.sentence,
        }
    return result


def report_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a result: assessed, or refused."""
    schema: dict[str, Any] = json.loads(files(__package__).joinpath(SCHEMA_FILE).read_text("utf-8"))
    return schema
