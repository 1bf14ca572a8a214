"""Patches around the joints, and the network over them, on hands whose landmarks are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baa_core.estimation.ensemble import age_forward, predict_months
from baa_core.explanation.methods import METHODS
from baa_core.hand_anatomy import LANDMARKS
from baa_core.networks.build import build
from baa_core.networks.joint_patches import JOINTS, PATCH_PX, JointAgeNetwork, joint_frames, joint_patches
from baa_core.networks.tta import apply_tta, placed
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.schema import Architecture, TestTimeAugmentation

SHAPE = Architecture("test_efficientnet", heads="joints", hidden=(16,), sex_features=0, dropout=0.0)
SIDE_PX = 256
HALF_PX = PATCH_PX // 2


def landmarks(turn_degrees: float = 0.0, mirrored: bool = False) -> torch.Tensor:
    """Landmarks of a spread hand as shares of the side, (1, K, 2): fingers fan out from the wrist."""
    places = {"wrist": (0.0, 0.0), "radius": (-0.03, 0.04), "ulna": (-0.03, -0.04)}
    for number, finger in enumerate(("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")):
        angle = np.deg2rad(50.0 - 25.0 * number)
        for joint, reach in enumerate((0.3, 0.45, 0.55, 0.62), start=1):
            places[f"{finger}{joint}"] = (float(reach * np.cos(angle)), float(reach * np.sin(angle)))
    upright = torch.tensor([places[name] for name in LANDMARKS]) * torch.tensor([-1.0, -1.0])
    if mirrored:
        upright = upright * torch.tensor([1.0, -1.0])
    turn = torch.deg2rad(torch.tensor(turn_degrees))
    turned = upright @ torch.tensor([[turn.cos(), turn.sin()], [-turn.sin(), turn.cos()]])
    return (turned + torch.tensor([0.72, 0.5]))[None]


def dots(places: torch.Tensor, names: list[str]) -> torch.Tensor:
    """A picture with a bright dot on each of these landmarks."""
    rows, columns = torch.meshgrid(*[(torch.arange(SIDE_PX) + 0.5) / SIDE_PX] * 2, indexing="ij")
    at = torch.stack([places[0, LANDMARKS.index(name)] for name in names])
    distance = ((rows - at[:, :1, None]) ** 2 + (columns - at[:, 1:, None]) ** 2).amin(dim=0)
    return torch.exp(-distance / 0.008**2)[None, None]


@pytest.mark.parametrize("turn_degrees", [0.0, 10.0])
def test_every_patch_shows_its_joint_in_the_middle(turn_degrees):
    places, line = landmarks(turn_degrees), torch.arange(PATCH_PX) + 0.5
    for number, joint in enumerate(JOINTS):
        if joint.shift != (0.0, 0.0):
            continue
        patches, valid = joint_patches(dots(places, [joint.at]), places)
        bright = patches[0, number] / patches[0, number].sum()
        along = [float((bright.sum(dim=axis) * line).sum()) for axis in (0, 1)]
        assert along == pytest.approx([HALF_PX, HALF_PX], abs=0.1), joint.name
        assert valid[0, number]


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_patch_is_upright_along_its_bone_with_the_thumb_to_the_right(mirrored):
    places = landmarks(30.0, mirrored)
    middle, up, right = joint_frames(places)
    for number, joint in enumerate(JOINTS):
        if joint.distal:
            bone = places[0, LANDMARKS.index(joint.distal)] - places[0, LANDMARKS.index(joint.at)]
            assert torch.cosine_similarity(bone, up[0, number], dim=0) > 0.9, joint.name
    assert (up * right).sum(dim=-1).abs().max() < 1e-6
    thumb = places[:, LANDMARKS.index("thumb2")] - places[:, LANDMARKS.index("pinky_finger1")]
    assert ((thumb[:, None] * right).sum(dim=-1) > 0).all()
    carpals = [
        middle[0, [joint.name for joint in JOINTS].index(f"carpals_{side}")] for side in ("thumb_side", "distal")
    ]
    assert torch.dot(carpals[0] - carpals[1], right[0, -1]) > 0


def test_left_and_right_hands_have_the_same_patches():
    places = landmarks()
    picture = torch.rand(1, 1, SIDE_PX, SIDE_PX)
    other = places.clone()
    other[..., 1] = 1 - other[..., 1]
    torch.testing.assert_close(
        joint_patches(picture.flip(-1), other)[0], joint_patches(picture, places)[0], atol=1e-4, rtol=0
    )


def test_the_margin_for_training_lies_around_the_same_patch():
    places, picture = landmarks(), torch.rand(1, 1, SIDE_PX, SIDE_PX)
    plain, wide = (joint_patches(picture, places, margin)[0] for margin in (0, 16))
    assert wide.shape[-1] == PATCH_PX + 32
    torch.testing.assert_close(wide[..., 16:-16, 16:-16], plain, atol=1e-4, rtol=0)


def test_a_finger_beyond_the_picture_or_masked_away_is_missing():
    places, picture = landmarks(), torch.rand(1, 1, SIDE_PX, SIDE_PX)
    there = joint_patches(picture, places)[1][0]
    assert there.all()
    picture[..., : SIDE_PX // 4, :] = 0.0  # the fingertips
    shifted = places - torch.tensor([0.0, 0.5])  # half of the hand outside
    masked, outside = joint_patches(picture, places)[1][0], joint_patches(picture, shifted)[1][0]
    assert 0 < masked.sum() < len(JOINTS) and not masked[2]
    assert 0 < outside.sum() < len(JOINTS)


@pytest.fixture(scope="module")
def network():
    """An untrained network of the joints."""
    torch.manual_seed(3)
    made = build(SHAPE)
    assert isinstance(made, JointAgeNetwork)
    return made


def test_a_missing_joint_has_no_share_and_cannot_move_the_answer(network):
    torch.manual_seed(0)
    patches, valid = torch.rand(2, len(JOINTS), PATCH_PX, PATCH_PX), torch.ones(2, len(JOINTS), dtype=torch.bool)
    valid[:, 4] = False
    male = torch.tensor([0.0, 1.0])
    with torch.inference_mode():
        before = network.head(patches, valid, male)
        patches[:, 4] = torch.rand(2, PATCH_PX, PATCH_PX)
        after = network.head(patches, valid, male)
        none = network.head(patches, torch.zeros_like(valid), male)
    torch.testing.assert_close(before.logits, after.logits)
    assert (before.attention[:, 4] == 0).all() and before.attention.sum(dim=1) == pytest.approx([1.0, 1.0])
    assert none.logits.isfinite().all()


def test_the_answer_is_the_joints_answers_by_their_shares(network):
    patches, valid = torch.rand(1, len(JOINTS), PATCH_PX, PATCH_PX), torch.ones(1, len(JOINTS), dtype=torch.bool)
    with torch.inference_mode():
        answer = network.head(patches, valid, torch.ones(1))
        pooled = (answer.attention[..., None] * answer.joint_logits).sum(dim=1) * network.head.sharpness.exp()
        girl = network.head(patches, valid, torch.zeros(1))
    torch.testing.assert_close(answer.logits, pooled)
    assert not torch.allclose(girl.logits, answer.logits), "girls and boys have output layers of their own"


def test_a_brighter_exposure_changes_nothing(network):
    patches, valid = torch.rand(1, len(JOINTS), PATCH_PX, PATCH_PX), torch.ones(1, len(JOINTS), dtype=torch.bool)
    with torch.inference_mode():
        usual, bright = (network.head(p, valid, torch.ones(1)).logits for p in (patches, 3 * patches + 1))
    torch.testing.assert_close(bright, usual, atol=1e-3, rtol=1e-3)


def test_in_training_some_joints_are_left_out(network):
    patches, valid = torch.rand(8, len(JOINTS), PATCH_PX, PATCH_PX), torch.ones(8, len(JOINTS), dtype=torch.bool)
    torch.manual_seed(0)
    with torch.no_grad():
        shares = network.head.train()(patches, valid, torch.ones(8)).attention
    network.head.eval()
    assert 0.05 < float((shares == 0).float().mean()) < 0.3


@pytest.fixture(scope="module")
def prepared():
    """A prepared picture of 96 px."""
    pixels = np.random.default_rng(0).random((1, 1, 96, 96), np.float32)
    return ModelInput(pixels, np.ones((96, 96), np.bool_), np.eye(2, 3), (96, 96))


def test_both_sexes_are_answered_in_one_pass(network, prepared):
    pictures = torch.cat([torch.tensor(prepared.image), torch.tensor(prepared.image).flip(-1)])
    with torch.inference_mode():
        months, deviation = network.distribution(pictures, torch.tensor([0.0, 0.0, 1.0, 1.0]))
        girls, boys = network(pictures, torch.zeros(2)), network(pictures, torch.ones(2))
    assert months.tolist() == pytest.approx([*girls.tolist(), *boys.tolist()], abs=1e-3)
    assert (deviation > 1).all()


@pytest.mark.parametrize("heads", ["joints", "bones"])
def test_an_answer_by_known_places_costs_one_view_and_is_that_of_both(heads):
    """In the mirror image a network of joints or bones reads the same patches or strips once more."""
    torch.manual_seed(0)
    reader, both = build(replace(SHAPE, heads=heads)).requires_grad_(False).eval(), TestTimeAugmentation()
    pixels, places = torch.rand(1, 1, SIDE_PX, SIDE_PX).numpy(), landmarks()[0].numpy()
    given = ModelInput(pixels, np.ones((SIDE_PX, SIDE_PX), np.bool_), np.eye(2, 3), (SIDE_PX, SIDE_PX), places=places)
    with torch.inference_mode():
        pictures = apply_tta(torch.tensor(given.image), both)
        each = reader(pictures, torch.ones(2), **placed(reader, given, both))
        seen: list[int] = []
        reader.head.register_forward_pre_hook(lambda _, taken: seen.append(len(taken[0])))
        months = predict_months({"a": reader}, {"a": given}, "male", both)["a"].months
        explained = float(age_forward(reader, "male", mirror=True, fixed=given)(pictures[:1]))
    assert each.tolist() == pytest.approx([months, months], abs=1e-3)
    assert explained == pytest.approx(months, abs=1e-3)
    assert all(count == 1 for count in seen)


@pytest.mark.parametrize("name", ["grad_cam", "saliency"])
def test_what_the_network_rests_on_can_be_drawn(network, prepared, name):
    forward = age_forward(network, "female", mirror=True, fixed=prepared)
    months = METHODS[name].attribute(network, forward, prepared).months
    assert months.shape == (96, 96) and np.isfinite(months).all() and np.abs(months).max() > 0


def test_cells_of_patches_are_laid_back_onto_the_hand_with_their_total(network, prepared):
    picture = torch.tensor(prepared.image)
    cells = torch.rand(network.pieces, 1, 4, 4)
    home = network.to_picture_grid(cells, picture, network.places(picture))
    assert home.shape == picture.shape
    assert float(home.sum()) == pytest.approx(float(cells.sum()), rel=1e-3)


def test_a_changed_square_moves_the_answer_as_if_all_patches_were_described_anew():
    torch.manual_seed(0)
    network = build(SHAPE).requires_grad_(False)
    assert isinstance(network, JointAgeNetwork)
    places = torch.cat([landmarks(), landmarks(mirrored=True)])
    pictures, male = torch.rand(2, 1, SIDE_PX, SIDE_PX), torch.ones(2)
    kept = network.with_fixed_landmarks(places)
    described: list[int] = []
    network.head.encoder.register_forward_pre_hook(lambda _, given: described.append(len(given[0])))
    with torch.inference_mode():
        kept(pictures, male)
        for row, column in ((0, 0), (60, 100), (120, 90), (200, 200)):
            changed = pictures.clone()
            changed[..., row : row + 50, column : column + 50] = 0.3
            described.clear()
            found, fewer = kept(changed, male), sum(described)
            torch.testing.assert_close(found, network.with_fixed_landmarks(places)(changed, male), atol=1e-4, rtol=0)
            assert fewer < 2 * len(JOINTS)
        assert torch.equal(kept(pictures, male), kept(pictures, male))
