"""Straightened bones, proportions and what judges them, on hands whose joints are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baa_core.estimation.ensemble import age_forward, predict_months
from baa_core.explanation.methods import METHODS
from baa_core.hand_anatomy import BONES, LANDMARKS, STRIPS
from baa_core.networks.bone_strips import SEX_HEAD, BoneAgeNetwork, BoneSexNetwork, straightened
from baa_core.networks.build import build
from baa_core.networks.landmarks import PLACED_PX, proportions
from baa_core.networks.tta import apply_tta, tta_places
from baa_core.networks.weights import save_network, unpack
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.schema import Architecture, TestTimeAugmentation

SHAPE = Architecture("test_efficientnet", task="sex", heads="bones", hidden=(16,), sex_features=0, dropout=0.0)
AGE_SHAPE = Architecture("test_efficientnet", heads="bones", hidden=(16,), sex_features=0, dropout=0.0)
SIDE_PX = 128


def hand_joints(turn_degrees: float = 0.0, mirrored: bool = False, scale: float = 1.0) -> torch.Tensor:
    """Joints of a spread hand as shares of the side, (1, K, 2): fingers fan out from the wrist."""
    places = {"wrist": (0.0, 0.0), "radius": (-0.03, 0.04), "ulna": (-0.03, -0.04)}
    for number, finger in enumerate(("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")):
        angle = torch.deg2rad(torch.tensor(50.0 - 25.0 * number + 0.0))
        for joint, reach in enumerate((0.3, 0.45, 0.55, 0.62), start=1):
            places[f"{finger}{joint}"] = (float(reach * angle.cos()), float(reach * angle.sin()))
    upright = torch.tensor([places[name] for name in LANDMARKS]) * torch.tensor([-1.0, -1.0]) * scale
    if mirrored:
        upright = upright * torch.tensor([1.0, -1.0])
    turn = torch.deg2rad(torch.tensor(turn_degrees))
    turned = upright @ torch.tensor([[turn.cos(), turn.sin()], [-turn.sin(), turn.cos()]])
    return (turned + torch.tensor([0.72, 0.5]))[None]


def painted(places: torch.Tensor, bone: int) -> torch.Tensor:
    """A picture that is bright along one bone only."""
    rows, columns = torch.meshgrid(*[(torch.arange(SIDE_PX) + 0.5) / SIDE_PX] * 2, indexing="ij")
    start, end = (places[0, joint] for joint in BONES[bone])
    share = torch.linspace(0.2, 0.8, 40)[:, None, None]
    at = start[:, None, None, None] + share * (end - start)[:, None, None, None]
    distance = ((rows - at[0]) ** 2 + (columns - at[1]) ** 2).amin(dim=0)
    return (distance < 0.012**2).float()[None, None]


@pytest.mark.parametrize("bone", [2, 6, 9, 19])
@pytest.mark.parametrize("turn_degrees", [0.0, 40.0])
def test_a_bone_lies_along_the_middle_of_its_own_strip(bone, turn_degrees):
    places = hand_joints(turn_degrees)
    strips = straightened(painted(places, bone), places, (32, 24))[0]
    assert strips.shape == (STRIPS, 32, 24)
    brightness = strips[:, 11:-10, 12].mean(dim=1)
    assert int(brightness.argmax()) == bone and brightness[bone] > 0.7
    assert strips[bone, :, :3].max() < 0.1


def test_left_and_right_turned_and_enlarged_hands_measure_the_same():
    usual = proportions(hand_joints())
    for other in (hand_joints(mirrored=True), hand_joints(turn_degrees=25.0), hand_joints(scale=0.8)):
        assert proportions(other) == pytest.approx(usual, abs=1e-4)
    longer = hand_joints()
    longer[0, LANDMARKS.index("ring_finger4")] *= torch.tensor([0.9, 1.0])
    assert (proportions(longer) - usual).abs().max() > 0.01


def test_a_mirrored_picture_has_the_same_strips():
    places = hand_joints()
    picture = torch.rand(1, 1, SIDE_PX, SIDE_PX)
    mirrored = places.clone()
    mirrored[..., 1] = 1 - mirrored[..., 1]
    there, here = (straightened(*seen, (16, 12)) for seen in ((picture.flip(-1), mirrored), (picture, places)))
    assert there == pytest.approx(here, abs=1e-4)


def test_the_answer_is_the_judgement_of_what_is_seen():
    network = build(SHAPE).eval()
    assert isinstance(network, BoneSexNetwork)
    pictures = torch.rand(3, 1, 64, 64)
    with torch.inference_mode():
        places = network.soft_argmax(network.heatmaps(pictures)).places
        told = network.head(straightened(pictures, places, SEX_HEAD.samples), proportions(places))
        assert told.shape == (3, 2)
        assert network(pictures) == pytest.approx(told[:, 0])


def test_a_bone_may_be_as_bright_as_it_likes():
    """Exposure is told apart from what bones look like: it goes to the measures, each once, and nowhere else."""
    network = build(SHAPE).eval()
    strips, known = torch.rand(2, STRIPS, *SEX_HEAD.samples), proportions(hand_joints()).repeat(2, 1)
    with torch.inference_mode():
        before = network.head.convolutions(torch.zeros(1, 1, *SEX_HEAD.samples)).shape
        assert before[2:] == SEX_HEAD.cells
        network.head.measure_norm.running_var.fill_(1e12)  # nothing of the measures comes through
        assert network.head(3 * strips + 1, known) == pytest.approx(network.head(strips, known), abs=1e-4)


def test_joints_that_were_placed_already_are_not_placed_again(reader):
    """In every view: turned, enlarged and mirrored pictures have their joints where the picture's went."""
    network, made = reader
    places = hand_joints(scale=0.6)
    views = TestTimeAugmentation(turns_degrees=(-9.0, 20.0), zoom=0.9)
    picture = painted(places, 6)
    there = tta_places(places, views)
    for image, at in zip(apply_tta(picture, views), there, strict=True):
        strips = straightened(image[None], at[None], (32, 24))[0]
        assert int(strips[:, 11:-10, 12].mean(dim=1).argmax()) == 6
    known = replace(made, places=places[0].numpy())
    with torch.inference_mode():
        answers = predict_months({"bones": network}, {"bones": known}, "male", TestTimeAugmentation(mirror=False))
        expected = network(torch.tensor(made.image), torch.ones(1), places)
    assert answers["bones"].months == pytest.approx(float(expected), abs=1e-3)


def test_a_file_of_weights_holds_what_was_learned_beside_the_landmark_network(reader, tmp_path):
    network, _ = reader
    save_network(network, tmp_path / "bones.safetensors")
    assert all(name.startswith("head.") for name in unpack((tmp_path / "bones.safetensors").read_bytes()))


@pytest.fixture(scope="module")
def reader():
    """An untrained network of the age, and a prepared picture of 96 px."""
    torch.manual_seed(3)
    network = build(AGE_SHAPE)
    assert isinstance(network, BoneAgeNetwork)
    pixels = np.random.default_rng(0).random((1, 1, 96, 96), np.float32)
    return network, ModelInput(pixels, np.ones((96, 96), np.bool_), np.eye(2, 3), (96, 96))


def test_the_age_is_asked_for_both_sexes_of_one_picture_at_once(reader):
    network, made = reader
    pictures = torch.cat([torch.tensor(made.image), torch.tensor(made.image).flip(-1)])
    with torch.inference_mode():
        months, deviation = network.distribution(pictures, torch.tensor([0.0, 0.0, 1.0, 1.0]))
        girls, boys = network(pictures, torch.zeros(2)), network(pictures, torch.ones(2))
    assert months.tolist() == pytest.approx([*girls.tolist(), *boys.tolist()], abs=1e-3)
    assert (deviation > 1).all()


def test_joints_of_a_large_picture_are_placed_on_a_smaller_one(reader):
    network, _ = reader
    small = torch.rand(1, 1, 64, 64)
    large = torch.nn.functional.interpolate(small, (3 * PLACED_PX, 3 * PLACED_PX), mode="bilinear")
    shrunk = torch.nn.functional.interpolate(small, (PLACED_PX, PLACED_PX), mode="bilinear")
    with torch.inference_mode():
        assert network.places(large) == pytest.approx(network.places(shrunk), abs=5e-3)


def test_held_joints_stay_where_they_were_found(reader):
    network, made = reader
    forward = age_forward(network, "male", mirror=True, fixed=made)
    seen, other = torch.tensor(made.image), torch.rand(1, 1, 96, 96)
    with torch.inference_mode():
        assert float(forward(seen)) == pytest.approx(float(age_forward(network, "male", True)(seen)), abs=1e-3)
        known = network.places(torch.cat([seen, seen.flip(3)]))
        strips = network.strips(torch.cat([other, other.flip(3)]), known)
        raw = network.logits_from(strips, proportions(known), torch.ones(2))
        expected = (raw.softmax(dim=1) * torch.arange(raw.shape[1])).sum(dim=1).mean()
        assert float(forward(other)) == pytest.approx(float(expected), abs=1e-3)


def test_a_changed_square_moves_the_answer_as_if_all_bones_were_described_anew(reader):
    network, _ = reader
    places, picture, male = hand_joints(scale=0.6), torch.rand(1, 1, 96, 96), torch.ones(1)
    kept, described = network.with_fixed_landmarks(places), []
    with torch.inference_mode():
        kept(picture, male)
        for row, column in ((0, 0), (40, 30), (60, 40)):
            changed = picture.clone()
            changed[..., row : row + 12, column : column + 12] = 0.3
            hook = network.head.convolutions.register_forward_pre_hook(lambda _, seen: described.append(len(seen[0])))
            found = kept(changed, male)
            hook.remove()
            torch.testing.assert_close(found, network.with_fixed_landmarks(places)(changed, male), atol=1e-3, rtol=0)
        assert len(described) < 3 or max(described) < STRIPS
        assert min(described) < STRIPS / 2
        assert torch.equal(kept(picture, male), kept(picture, male))


def test_cells_of_strips_come_home_with_their_months(reader):
    network, made = reader
    picture, cells = torch.tensor(made.image), torch.rand(STRIPS, 1, 8, 3)
    home = network.to_picture_grid(cells, picture, network.places(picture))
    assert home.shape == picture.shape
    assert float(home.sum()) == pytest.approx(float(cells.sum()), rel=1e-3)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.slow
def test_every_method_explains_a_network_of_bones(reader, mirror):
    network, made = reader
    forward = age_forward(network, "female", mirror, fixed=made)
    for name in ("saliency", "grad_cam", "occlusion"):
        months = METHODS[name].attribute(network, forward, made).months
        assert months.shape == (96, 96) and np.isfinite(months).all() and np.abs(months).max() > 0
