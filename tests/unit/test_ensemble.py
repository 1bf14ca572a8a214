import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.ensemble import age_forward, likelier_sex, predict_months, predict_months_by_sex, predict_sex
from baa_core.models import build
from baa_core.preprocessing import ModelInput
from baa_core.recipe import Recipe
from baa_core.steps import IDENTITY


def model_input(pixels: np.ndarray) -> ModelInput:
    """An input as it stands, on a radiograph of the same grid."""
    pixels = np.asarray(pixels, dtype=np.float32)
    return ModelInput(pixels[None, None], np.ones(pixels.shape, bool), IDENTITY, pixels.shape)


class LeftEdge(nn.Module):
    """Months = 100 times the mean of the left column, plus 10 for a boy. Counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        self.passes += 1
        months = 100 * image[:, 0, :, 0].mean(dim=1)
        return months.repeat(len(male) // len(months)) + 10 * male


class BrightIsMale(nn.Module):
    """The logit of male is the mean of the left column."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, 0, :, 0].mean(dim=1)


RAMP = np.tile(np.linspace(0, 1, 5), (4, 1))  # 0 at the left edge, 1 at the right


def test_sex_is_one_for_male_and_zero_for_female() -> None:
    networks, inputs = {"a": LeftEdge()}, {"a": model_input(RAMP + 1)}
    assert predict_months(networks, inputs, "female", mirror=False) == pytest.approx({"a": 100})
    assert predict_months(networks, inputs, "male", mirror=False) == pytest.approx({"a": 110})


def test_mirror_averages_both_views() -> None:
    networks, inputs = {"a": LeftEdge()}, {"a": model_input(RAMP)}
    assert predict_months(networks, inputs, "female", mirror=True) == pytest.approx({"a": 50})


def test_both_sexes_in_one_pass_are_the_same_as_one_by_one() -> None:
    network = LeftEdge()
    months = predict_months_by_sex({"a": network}, {"a": model_input(RAMP)}, ("female", "male"), mirror=True)
    assert network.passes == 1
    assert months == {"female": {"a": pytest.approx(50)}, "male": {"a": pytest.approx(60)}}


def test_each_member_gets_its_own_input() -> None:
    networks = {"a": LeftEdge(), "b": LeftEdge()}
    inputs = {"a": model_input(np.ones((4, 4))), "b": model_input(np.full((6, 6), 2.0))}
    assert predict_months(networks, inputs, "female", mirror=False) == pytest.approx({"a": 100, "b": 200})


@pytest.mark.parametrize("number", [0, 1])
def test_left_and_right_hands_get_the_same_answer(tiny_recipe: Recipe, number: int) -> None:
    torch.manual_seed(1)
    network = build(tiny_recipe.members[number].architecture)
    picture = np.random.default_rng(0).normal(size=(64, 64))
    right, left = (
        predict_months_by_sex({"a": network}, {"a": model_input(p)}, ("female", "male"), mirror=True)
        for p in (picture, picture[:, ::-1])
    )
    for sex in ("female", "male"):
        assert right[sex]["a"] == pytest.approx(left[sex]["a"], abs=1e-3)
        alone = predict_months({"a": network}, {"a": model_input(picture)}, sex, mirror=True)
        assert right[sex]["a"] == pytest.approx(alone["a"], abs=1e-3)


def test_the_differentiable_answer_is_the_predicted_one() -> None:
    image = model_input(RAMP)
    months = age_forward(LeftEdge(), "male", mirror=True)
    answer = months(torch.tensor(image.image))
    assert answer.shape == (1,)
    assert float(answer) == pytest.approx(predict_months({"a": LeftEdge()}, {"a": image}, "male", mirror=True)["a"])


def test_probability_of_male_is_averaged_over_views() -> None:
    expected = (1 / (1 + np.exp(-0.0)) + 1 / (1 + np.exp(-1.0))) / 2
    assert predict_sex(BrightIsMale(), model_input(RAMP), mirror=True) == pytest.approx(expected)
    assert predict_sex(BrightIsMale(), model_input(RAMP), mirror=False) == pytest.approx(0.5)


def test_likelier_sex() -> None:
    assert (likelier_sex(0.9), likelier_sex(0.1)) == ("male", "female")
