import pytest

from baa_core.reporting.wording import percent, sex_check_sentence
from baa_core.types import Sex, SexCheck


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "<1 %"), (0.004, "<1 %"), (0.006, "1 %"), (0.55, "55 %"), (0.994, "99 %"), (0.996, ">99 %"), (1.0, ">99 %")],
)
def test_no_probability_is_said_to_be_certain(probability: float, said: str) -> None:
    assert percent(probability) == said


@pytest.mark.parametrize(
    ("check", "entered", "male", "parts"),
    [
        ("agrees", "female", 0.001, ("agrees", ">99 %")),
        ("inconclusive", "female", 0.45, ("inconclusive", "probability of female: 55 %")),
        ("differs", "female", 0.97, ("suggests male", "97 %")),
        ("not_checked", "male", 0.97, ("not checked",)),
        ("not_checked", None, 0.97, ("none was entered",)),
    ],
)
def test_the_sex_check_is_said_as_it_was_found(
    check: SexCheck, entered: Sex | None, male: float, parts: tuple[str, ...]
) -> None:
    sentence = sex_check_sentence(check, entered, male)
    assert all(part in sentence for part in parts)
    assert ("agrees" in sentence) == (check == "agrees")
