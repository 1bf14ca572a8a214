"""Landmarks on the radiograph's grid, from networks whose heat is known."""

import numpy as np
import pytest
import torch

from baa_core.errors import LandmarksNotFound
from baa_core.hand.landmarks import find_landmarks
from baa_core.hand_anatomy import LANDMARKS
from baa_core.networks.build import build
from baa_core.networks.landmarks import LandmarkNetwork, LandmarkOutput
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes import RECIPES
from baa_core.recipes.deeplasia import masked_hand
from baa_core.recipes.schema import Architecture
from baa_core.types import HandMask, Radiograph

SHAPE = Architecture("test_efficientnet", task="landmarks", hidden=(16,), sex_features=0)


def ellipse(height: int, width: int, tilt_degrees: float = 0.0) -> tuple[Radiograph, HandMask]:
    """Something with a mask, to be prepared."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    inside = ((rows - height / 2) / (0.4 * height)) ** 2 + ((columns - width / 2) / (0.3 * width)) ** 2 < 1
    return Radiograph(np.where(inside, rows / height, 0).astype(np.float32)), HandMask(inside, 1.0, tilt_degrees, False)


class KnownHeat(torch.nn.Module):
    """Says the same places for every picture, or those of its mirror image for a mirrored one."""

    def __init__(self, places: np.ndarray, spread_share: float, follows_mirror: bool = True) -> None:
        super().__init__()
        self.places = torch.tensor(places, dtype=torch.float32)
        self.spread_share, self.follows_mirror = spread_share, follows_mirror

    def forward(self, image: torch.Tensor) -> LandmarkOutput:
        mirrored = self.places.clone()
        if self.follows_mirror:
            mirrored[:, 1] = 1 - mirrored[:, 1]
        return LandmarkOutput(torch.stack([self.places, mirrored]), torch.full((2, len(LANDMARKS)), self.spread_share))


def places_on_an_arc() -> np.ndarray:
    angle = np.linspace(0.0, 3.0, len(LANDMARKS))
    return np.column_stack([0.5 + 0.3 * np.cos(angle), 0.5 + 0.2 * np.sin(angle)])


@pytest.mark.parametrize("tilt_degrees", [0.0, 30.0])
def test_points_come_home_to_the_radiograph(tilt_degrees):
    radiograph, hand = ellipse(300, 200, tilt_degrees)
    ready = prepare(radiograph, hand, masked_hand(64))
    places = places_on_an_arc()
    landmarks = find_landmarks(ready, KnownHeat(places, 0.01))
    for name, (row_share, column_share) in zip(LANDMARKS, places, strict=True):
        corner = np.array([column_share * 64 - 0.5, row_share * 64 - 0.5, 1.0])
        column, row = ready.to_radiograph @ corner
        assert landmarks.points[name] == pytest.approx((row, column), abs=1e-3)
    side_on_radiograph = 64 * np.sqrt(abs(np.linalg.det(ready.to_radiograph[:, :2])))
    assert landmarks.spread_px["wrist"] == pytest.approx(0.01 * side_on_radiograph, rel=1e-3)
    (top, left), (bottom, right) = landmarks.points["middle_finger4"], landmarks.points["wrist"]
    assert landmarks.hand_length_px == pytest.approx(np.hypot(bottom - top, right - left))


def test_a_hand_of_unsure_joints_is_refused():
    radiograph, hand = ellipse(300, 200)
    with pytest.raises(LandmarksNotFound, match="could not be placed"):
        find_landmarks(prepare(radiograph, hand, masked_hand(64)), KnownHeat(places_on_an_arc(), 0.4))


def test_views_that_disagree_widen_the_spread():
    """A network that says the same columns for a hand and its mirror image is wrong about one of them."""
    radiograph, hand = ellipse(300, 200)
    ready, places = prepare(radiograph, hand, masked_hand(64)), places_on_an_arc()
    off_middle = 2 * np.abs(places[:, 1] - 0.5)
    with pytest.raises(LandmarksNotFound):
        find_landmarks(ready, KnownHeat(places, 0.001, follows_mirror=False))
    places[:, 1] = 0.5 + 0.1 * (places[:, 1] - 0.5)
    landmarks = find_landmarks(ready, KnownHeat(places, 0.001, follows_mirror=False))
    side_px = 64 * np.sqrt(abs(np.linalg.det(ready.to_radiograph[:, :2])))
    expected = np.hypot(0.001, 0.05 * off_middle) * side_px
    assert list(landmarks.spread_px.values()) == pytest.approx(expected.tolist(), rel=1e-3)


def test_heat_is_read_as_its_mean_and_deviation():
    """One cell: its centre, no spread. Two cells alike: the middle, half their distance."""
    shares = torch.zeros(1, 2, 8, 8)
    shares[0, 0, 2, 5] = 1.0
    shares[0, 1, 1, 0] = shares[0, 1, 1, 4] = 0.5
    read = LandmarkNetwork.soft_argmax(shares)
    assert read.places[0, 0].tolist() == pytest.approx([2.5 / 8, 5.5 / 8])
    assert read.places[0, 1].tolist() == pytest.approx([1.5 / 8, 2.5 / 8])
    assert read.spread[0].tolist() == pytest.approx([0.0, 2 / 8], abs=1e-4)


def test_the_network_answers_at_a_quarter_of_the_grid():
    network = build(SHAPE)
    image = torch.randn(2, 1, 96, 96)
    with torch.inference_mode():
        shares, output = network.heatmaps(image), network(image)
    assert shares.shape == (2, len(LANDMARKS), 24, 24)
    assert torch.allclose(shares.sum(dim=(2, 3)), torch.ones(2, len(LANDMARKS)), atol=1e-5)
    assert output.places.shape == (2, len(LANDMARKS), 2)
    assert output.spread.shape == (2, len(LANDMARKS))
    assert ((output.places > 0) & (output.places < 1)).all()


def test_a_point_follows_its_gradient_into_the_picture():
    """Every part of the network is used: each parameter gets a gradient from the places."""
    network = build(SHAPE).train()
    image = torch.randn(2, 1, 64, 64, requires_grad=True)
    output = network(image)
    (output.places.square().sum() + output.spread.sum()).backward()
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_recipes_network_is_cheap_and_starts_from_the_shared_backbone():
    member = RECIPES["deeplasia"].landmarks
    assert member in RECIPES["deeplasia"].networks
    network = build(member.architecture)
    age = build(RECIPES["lite"].members[0].architecture)
    shared = {name for name, t in network.state_dict().items() if name.startswith("backbone.")}
    assert shared <= set(age.state_dict())
    own = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("backbone."))
    assert own < 0.03 * sum(p.numel() for p in network.parameters())
