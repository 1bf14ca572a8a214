"""The Help tab says what the assessor does: each drawn picture is assessed or refused as its caption says."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import app  # noqa: F401 first: it tells Gradio where to keep its files
from baa_core.errors import BoneAgeError
from baa_core.phantom import to_png
from baa_core.phantom.requirements import REQUIREMENTS, Requirement, draw_requirement
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor
from page import help_text as words
from page.help_tab import MODEL_CARD, PICTURES


@pytest.mark.parametrize("case", REQUIREMENTS, ids=lambda case: case.name)
def test_what_is_shown_as_refused_is_refused_and_the_rest_is_assessed(assessor: Assessor, case: Requirement) -> None:
    content = to_png(draw_requirement(case.name))
    if case.refused:
        with pytest.raises(BoneAgeError) as refused:
            assessor.assess(content, Patient("female"), name="hand.png")
        assert refused.type.__name__ == case.refused
    else:
        report = assessor.assess(content, Patient("female"), name="hand.png")
        assert report.prediction.bone_age_months == pytest.approx(96, abs=15)


def test_every_picture_has_its_words_and_is_drawn_by_the_server() -> None:
    assert set(words.CAPTIONS) == {case.name for case in REQUIREMENTS}
    html = words.needed()
    client = TestClient(Starlette(routes=[PICTURES]))
    for case in REQUIREMENTS:
        assert f'src="{words.PICTURES}/{case.name}.webp"' in html
        answer = client.get(f"/{words.PICTURES}/{case.name}.webp")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        assert answer.content[8:12] == b"WEBP"
    assert client.get(f"/{words.PICTURES}/none.webp").status_code == 404


def test_the_model_card_is_shown_whole_without_links_that_lead_nowhere() -> None:
    shown = words.model_card(MODEL_CARD.read_text(encoding="utf-8"))
    assert shown.lstrip().startswith("## Model card")
    assert "license_link" not in shown
    assert "](manifest" not in shown and "](../" not in shown
    assert "hand.safetensors" in shown
