import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.estimation.ensemble import (
    age_forward,
    by_weight,
    likelier_sex,
    mean_log_odds,
    predict_months,
    predict_months_by_sex,
    predict_sex,
)
from baa_core.networks.age import AgeNetwork
from baa_core.networks.build import build
from baa_core.networks.tta import apply_tta, turn
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.schema import Recipe, TestTimeAugmentation
from baa_core.types import NetworkOutput


def model_input(pixels: np.ndarray) -> ModelInput:
    """An input as it stands, on a radiograph of the same grid."""
    pixels = np.asarray(pixels, dtype=np.float32)
    return ModelInput(pixels[None, None], np.ones(pixels.shape, bool), IDENTITY, pixels.shape)


class LeftEdge(nn.Module):
    """Months = 100 times the mean of the left column, plus 10 for a boy, and as unsure as told. Counts its passes."""

    def __init__(self, deviation_months: float = 0.0) -> None:
        super().__init__()
        self.passes, self.deviation_months = 0, deviation_months

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        return self.distribution(image, male)[0]

    def distribution(self, image: Tensor, male: Tensor) -> tuple[Tensor, Tensor]:
        self.passes += 1
        months = 100 * image[:, 0, :, 0].mean(dim=1)
        months = months.repeat(len(male) // len(months)) + 10 * male
        return months, torch.full_like(months, self.deviation_months)


class BrightIsMale(nn.Module):
    """The logit of male is the mean of the left column."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, 0, :, 0].mean(dim=1)


def close(months: float, deviation_months: float = 0.0) -> object:
    """An answer up to rounding."""
    return pytest.approx((months, deviation_months))


def told(answers: dict[str, NetworkOutput]) -> dict[str, tuple[float, float]]:
    return {name: (answer.months, answer.deviation_months) for name, answer in answers.items()}


RAMP = np.tile(np.linspace(0, 1, 5), (4, 1))  # 0 at the left edge, 1 at the right


def test_sex_is_one_for_male_and_zero_for_female() -> None:
    networks, inputs = {"a": LeftEdge()}, {"a": model_input(RAMP + 1)}
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(False))) == {"a": close(100)}
    assert told(predict_months(networks, inputs, "male", TestTimeAugmentation(False))) == {"a": close(110)}


def test_mirror_averages_both_views() -> None:
    networks, inputs = {"a": LeftEdge()}, {"a": model_input(RAMP)}
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(True))) == {"a": close(50)}


def test_the_views_beliefs_are_taken_together() -> None:
    """Views at 0 and 100 months, each with a deviation of 30: variance 900 within and 2500 between them."""
    networks, inputs = {"a": LeftEdge(30.0)}, {"a": model_input(RAMP)}
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(True))) == {
        "a": close(50, np.sqrt(3400))
    }
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(False))) == {"a": close(0, 30)}


def test_both_sexes_in_one_pass_are_the_same_as_one_by_one() -> None:
    network = LeftEdge()
    found = predict_months_by_sex(
        {"a": network}, {"a": model_input(RAMP)}, ("female", "male"), TestTimeAugmentation(True)
    )
    assert network.passes == 1
    assert {sex: told(answers) for sex, answers in found.items()} == {
        "female": {"a": close(50)},
        "male": {"a": close(60)},
    }


def test_each_member_gets_its_own_input() -> None:
    networks = {"a": LeftEdge(1.0), "b": LeftEdge(2.0)}
    inputs = {"a": model_input(np.ones((4, 4))), "b": model_input(np.full((6, 6), 2.0))}
    found = told(predict_months(networks, inputs, "female", TestTimeAugmentation(False)))
    assert found == {"a": close(100, 1), "b": close(200, 2)}


def rigged(tiny_recipe: Recipe, number: int, logits: dict[int, float]) -> AgeNetwork:
    """A member that answers the same logits whatever it sees."""
    network = build(tiny_recipe.members[number].architecture)
    assert isinstance(network, AgeNetwork)
    last = network.head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-100.0)
        for month, logit in logits.items():
            last.bias[month] = logit
    return network


def test_the_deviation_is_the_softmaxs(tiny_recipe: Recipe) -> None:
    """Three quarters on 100 months, a quarter on 120: mean 105, variance 0.75 * 25 + 0.25 * 225 = 75."""
    network = rigged(tiny_recipe, 0, {100: float(np.log(3)), 120: 0.0})
    picture = model_input(np.random.default_rng(0).normal(size=(64, 64)))
    answer = predict_months({"a": network}, {"a": picture}, "male", TestTimeAugmentation(True))["a"]
    assert (answer.months, answer.deviation_months) == pytest.approx((105, np.sqrt(75)), abs=1e-3)
    images, male = torch.zeros(2, 1, 64, 64), torch.ones(2)
    assert torch.equal(network(images, male), network.distribution(images, male)[0])


def test_a_regression_network_spreads_no_belief(tiny_recipe: Recipe) -> None:
    torch.manual_seed(1)
    network = build(tiny_recipe.members[1].architecture)
    picture = model_input(np.random.default_rng(0).normal(size=(64, 64)))
    assert (
        predict_months({"a": network}, {"a": picture}, "male", TestTimeAugmentation(True))["a"].deviation_months == 0.0
    )


@pytest.mark.parametrize("number", [0, 1])
def test_left_and_right_hands_get_the_same_answer(tiny_recipe: Recipe, number: int) -> None:
    torch.manual_seed(1)
    network = build(tiny_recipe.members[number].architecture)
    picture = np.random.default_rng(0).normal(size=(64, 64))
    right, left = (
        predict_months_by_sex({"a": network}, {"a": model_input(p)}, ("female", "male"), TestTimeAugmentation(True))
        for p in (picture, picture[:, ::-1])
    )
    for sex in ("female", "male"):
        alone = predict_months({"a": network}, {"a": model_input(picture)}, sex, TestTimeAugmentation(True))
        for other in (left[sex], alone):
            assert told(right[sex])["a"] == pytest.approx(told(other)["a"], abs=1e-3)


def test_the_differentiable_answer_is_the_predicted_one() -> None:
    image = model_input(RAMP)
    months = age_forward(LeftEdge(), "male", mirror=True)
    answer = months(torch.tensor(image.image))
    assert answer.shape == (1,)
    predicted = predict_months({"a": LeftEdge()}, {"a": image}, "male", TestTimeAugmentation(True))["a"]
    assert float(answer) == pytest.approx(predicted.months)


def test_probability_of_male_is_averaged_over_views() -> None:
    expected = (1 / (1 + np.exp(-0.0)) + 1 / (1 + np.exp(-1.0))) / 2
    networks, inputs = {"a": BrightIsMale()}, {"a": model_input(RAMP)}
    assert predict_sex(networks, inputs, {"a": TestTimeAugmentation(True)}) == {"a": pytest.approx(expected)}
    assert predict_sex(networks, inputs, {"a": TestTimeAugmentation(False)}) == {"a": pytest.approx(0.5)}


def test_a_turned_view_is_turned_clockwise_about_the_middle() -> None:
    """A bright dot at the top goes to the right in a quarter turn, and half a turn is a point reflection."""
    dot = torch.zeros(1, 1, 9, 9)
    dot[0, 0, 1, 4] = 1.0
    quarter, half = turn(dot, 90.0)[0, 0], turn(dot, 180.0)[0, 0]
    assert float(quarter[4, 7]) == pytest.approx(1.0, abs=1e-4)
    assert float(half[7, 4]) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(turn(dot, 0.0), dot)


def test_a_zoomed_view_is_reduced_about_the_middle() -> None:
    dot = torch.zeros(1, 1, 9, 9)
    dot[0, 0, 2, 4] = 1.0  # two above the middle
    assert int(turn(dot, 0.0, 0.5)[0, 0, :, 4].argmax()) == 3
    assert apply_tta(dot, TestTimeAugmentation(turns_degrees=(-7.0, 7.0), zoom=0.9)).shape == (4, 1, 9, 9)


def test_turned_views_and_their_mirror_images_are_averaged() -> None:
    """Turned by a half, the ramp's left edge is 1: views at 0, 100 and their mirror images at 100 and 0."""
    networks, inputs = {"a": LeftEdge()}, {"a": model_input(np.tile(np.linspace(0, 1, 5), (5, 1)))}
    assert apply_tta(torch.tensor(inputs["a"].image), TestTimeAugmentation(True, (0.0, 180.0))).shape == (4, 1, 5, 5)
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(True, (0.0, 180.0)))) == {
        "a": close(50)
    }
    assert told(predict_months(networks, inputs, "female", TestTimeAugmentation(False, (180.0,)))) == {"a": close(100)}


def test_functions_by_weight_have_the_weighted_mean_for_their_mean() -> None:
    forwards = by_weight(
        {"a": lambda picture: picture.mean()[None], "b": lambda picture: picture.max()[None]}, {"a": 2.0, "b": 1.0}
    )
    found = [float(forward(torch.tensor([100.0, 130.0]))) for forward in forwards.values()]
    assert sum(found) / 2 == pytest.approx((2 * 115 + 130) / 3)


def test_networks_agree_by_their_odds() -> None:
    assert mean_log_odds((0.5, 0.8)) == pytest.approx(2 / 3)  # odds 1 and 4: their geometric mean is 2
    assert mean_log_odds((0.2, 0.8)) == pytest.approx(0.5)
    assert mean_log_odds((0.5, 0.5, 8 / 9)) == pytest.approx(2 / 3)
    assert 0.9 < mean_log_odds((0.5, 1.0)) < 1.0


def test_likelier_sex() -> None:
    assert (likelier_sex(0.9), likelier_sex(0.1)) == ("male", "female")
