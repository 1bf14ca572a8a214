"""Explanations of toy networks whose sensitive place is known."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.estimation.ensemble import age_forward, forwards_by_view
from baa_core.explanation.heatmap import DRAWN_FROM, absolute_gradient, saliency, smooth_and_scale
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import InputSpec, ModelInput, prepare
from baa_core.preprocessing.steps import (
    CropToHand,
    MaskBackground,
    PadSquare,
    Resize,
    Standardise,
    StretchContrast,
    Upright,
)
from baa_core.types import HandMask, Radiograph

MASKED = InputSpec(160, (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.15), Resize(160)), Standardise())
WHOLE = InputSpec(128, (PadSquare(), Resize(128)), Standardise())


class Linear(nn.Module):
    """Months = sum of weights times pixels, whatever the sex."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = torch.tensor(weights, dtype=torch.float32)

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        return (image[:, 0] * self.weights).sum(dim=(1, 2)) + 0 * male


class BrightestMatters(nn.Module):
    """Months grow with the cube of the greys: the brightest place has the greatest gradient."""

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        return image.clamp(min=0).pow(3).mean(dim=(1, 2, 3)) + 0 * male


def flat_input(side_px: int, mask: np.ndarray | None = None) -> ModelInput:
    """Noise on a grid of its own."""
    pixels = np.random.default_rng(0).normal(size=(1, 1, side_px, side_px)).astype(np.float32)
    return ModelInput(pixels, np.ones((side_px, side_px), bool) if mask is None else mask, IDENTITY, (side_px, side_px))


def test_the_gradient_of_a_linear_network_is_its_weights() -> None:
    weights = np.random.default_rng(1).normal(size=(32, 32))
    gradient = absolute_gradient([age_forward(Linear(weights), "male", mirror=False)], flat_input(32))
    assert gradient == pytest.approx(np.abs(weights), abs=1e-5)


def test_with_mirror_it_is_the_gradient_of_the_average() -> None:
    """Weights of opposite sign in mirrored places cancel, as they do in the estimate."""
    weights = np.zeros((8, 8))
    weights[2, 1], weights[5, 0], weights[5, 7] = 4.0, 1.0, -1.0
    gradient = absolute_gradient(forwards_by_view(Linear(weights), "male", True, flat_input(8)), flat_input(8))
    expected = np.zeros((8, 8))
    expected[2, 1] = expected[2, 6] = 2.0
    assert gradient == pytest.approx(expected, abs=1e-6)


def test_smoothing_and_scaling_by_the_paper() -> None:
    """Kernel of 5 % (here 5 px of 100), minimum to 0, 99th percentile to 1, the rest clipped."""
    gradient = np.random.default_rng(2).uniform(3, 4, size=(100, 100)).astype(np.float32)
    gradient[40:60, 40:60] += 20
    smooth = cv2.GaussianBlur(gradient, (5, 5), 0)
    smooth -= smooth.min()
    expected = np.minimum(smooth / np.percentile(smooth, 99), 1)
    found = smooth_and_scale(gradient)
    assert found == pytest.approx(expected, abs=1e-5)
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)


def test_a_flat_gradient_shows_nothing() -> None:
    assert not smooth_and_scale(np.full((40, 40), 3.0, np.float32)).any()


def test_faint_values_are_not_drawn() -> None:
    weights = np.full((100, 100), 0.05)
    weights[50, 50], weights[20:30, 20:30] = 0.0, 1.0
    heat = saliency({"a": [age_forward(Linear(weights), "female", False)]}, {"a": flat_input(100)}).heat
    assert heat[80, 80] == 0.0
    assert set(np.unique(heat < DRAWN_FROM)) == {True, False}
    assert not ((heat > 0) & (heat < DRAWN_FROM)).any()


def test_members_are_averaged() -> None:
    left, right = np.zeros((100, 100)), np.zeros((100, 100))
    left[40:60, 20:30], right[40:60, 70:80] = 1.0, 5000.0
    forwards = {name: [age_forward(Linear(w), "male", False)] for name, w in (("left", left), ("right", right))}
    heat = saliency(forwards, {"left": flat_input(100), "right": flat_input(100)}).heat
    assert heat[50, 25] == pytest.approx(0.5, abs=0.01)  # the scale of a network does not outvote another
    assert heat[50, 75] == pytest.approx(0.5, abs=0.01)


def test_the_share_inside_the_hand_counts_the_raw_gradient() -> None:
    mask = np.zeros((50, 50), bool)
    mask[:, :10] = True
    weights = np.ones((50, 50))
    explanation = saliency({"a": [age_forward(Linear(weights), "male", False)]}, {"a": flat_input(50, mask)})
    assert explanation.inside_hand_share == pytest.approx(0.2, abs=1e-4)


def scene(
    place: tuple[int, int], tilt_degrees: float, shape: tuple[int, int] = (420, 330)
) -> tuple[Radiograph, HandMask]:
    """A dim hand with one bright spot at `place` (row, column)."""
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (shape[1] // 2 + 20, shape[0] // 2 - 15), (110, 170), 15, 0, 360, 1, -1)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    spot = np.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / (2 * 16.0**2))
    pixels = (0.2 * mask + 0.7 * spot).astype(np.float32)
    return Radiograph(pixels), HandMask(mask.astype(bool), 1.0, tilt_degrees, False)


@pytest.mark.parametrize("tilt", [0.0, 90.0, -90.0, 180.0, 33.0])
@pytest.mark.parametrize("place", [(150, 160), (280, 220)])
@pytest.mark.parametrize("spec", [MASKED, WHOLE], ids=["masked", "whole"])
def test_heat_lies_on_the_sensitive_place_of_the_radiograph(
    spec: InputSpec, place: tuple[int, int], tilt: float
) -> None:
    """However the picture was turned, cropped and resized on its way to the network."""
    radiograph, hand = scene(place, tilt)
    given = prepare(radiograph, hand, spec)
    heat = saliency({"a": forwards_by_view(BrightestMatters(), "female", True, given)}, {"a": given}).heat
    assert heat.shape == radiograph.shape
    rows, columns = np.nonzero(heat > 0.8)
    assert (rows.mean(), columns.mean()) == pytest.approx(place, abs=2.0)


def test_a_large_pictures_views_are_differentiated_one_at_a_time_to_the_same_end() -> None:
    network, given = Linear(np.random.default_rng(2).normal(size=(512, 512))), flat_input(512)
    views = forwards_by_view(network, "male", True, given)
    assert len(views) == 2 and len(forwards_by_view(network, "male", True, flat_input(320))) == 1
    together = absolute_gradient([age_forward(network, "male", mirror=True)], given)
    np.testing.assert_allclose(absolute_gradient(views, given), together, atol=1e-6)


def test_a_mirrored_radiograph_gets_the_mirrored_heat() -> None:
    radiograph, hand = scene((150, 160), 0.0)
    mirrored = Radiograph(np.ascontiguousarray(radiograph.pixels[:, ::-1]))
    mirrored_hand = HandMask(np.ascontiguousarray(hand.pixels[:, ::-1]), 1.0, 0.0, False)
    one, other = (
        saliency({"a": forwards_by_view(BrightestMatters(), "female", True, given)}, {"a": given}).heat
        for given in (prepare(radiograph, hand, MASKED), prepare(mirrored, mirrored_hand, MASKED))
    )
    assert np.abs(other[:, ::-1] - one).mean() < 0.01


def test_networks_are_left_as_they_were() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))

    def months(image: Tensor) -> Tensor:
        return network(image)[:, 0]

    absolute_gradient([months], flat_input(8))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_that_counts_double_shows_double() -> None:
    """The heatmap of an ensemble is its members' by the weight each has in the estimate."""
    left, right = np.zeros((100, 100)), np.zeros((100, 100))
    left[40:60, 20:30], right[40:60, 70:80] = 1.0, 1.0
    forwards = {name: [age_forward(Linear(w), "male", False)] for name, w in (("left", left), ("right", right))}
    mask = np.zeros((100, 100), bool)
    mask[:, :50] = True
    inputs = dict.fromkeys(forwards, flat_input(100, mask))
    found = saliency(forwards, inputs, {"left": 2.0, "right": 1.0})
    assert found.heat[50, 25] == pytest.approx(2 / 3, abs=0.01)
    assert found.heat[50, 75] == pytest.approx(1 / 3, abs=0.01)
    assert found.inside_hand_share == pytest.approx(2 / 3, abs=1e-4)


def test_a_heatmap_can_be_asked_for_inside_inference_mode() -> None:
    weights = np.random.default_rng(1).normal(size=(32, 32))
    network = Linear(weights)
    with torch.inference_mode():
        gradient = absolute_gradient([age_forward(network, "male", mirror=False)], flat_input(32))
    assert gradient == pytest.approx(np.abs(weights), abs=1e-5)
