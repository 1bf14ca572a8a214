"""What each joint says: the table of the Explain tab for a network that reads joints."""

import numpy as np
import pytest
import torch

from baa_core.estimation.ensemble import encode_sex
from baa_core.explanation.joint_readings import LEAST_SHARE, joint_readings, title_of
from baa_core.explanation.region_effects import leaving_joints_out
from baa_core.hand_anatomy import LANDMARKS
from baa_core.networks.backbones import softmax_mean_std
from baa_core.networks.build import build
from baa_core.networks.joint_patches import JOINTS, JointAgeNetwork, joint_frames
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.lite import AGE_JOINTS


@pytest.fixture(scope="module")
def network() -> JointAgeNetwork:
    torch.manual_seed(3)
    made = build(AGE_JOINTS.architecture)
    assert isinstance(made, JointAgeNetwork)
    return made


@pytest.fixture(scope="module")
def drawn_input() -> ModelInput:
    drawn = draw_phantom(120.0, "female", seed=4, height_px=320)
    side = max(drawn.radiograph.shape)
    image = np.zeros((1, 1, side, side), np.float32)
    height, width = drawn.radiograph.shape
    image[0, 0, :height, :width] = drawn.radiograph.pixels
    row, column = drawn.landmarks["wrist"]
    below = {"radius": (row + 20, column + 10), "ulna": (row + 20, column - 10)}
    places = np.array([(drawn.landmarks | below)[name] for name in LANDMARKS], np.float32) / side
    mask = np.zeros((side, side), np.bool_)
    mask[:height, :width] = drawn.mask
    return ModelInput(image, mask, np.eye(3)[:2], drawn.radiograph.shape, places=places)


def test_the_readers_table_adds_up_to_the_networks_answer(network: JointAgeNetwork, drawn_input: ModelInput) -> None:
    found = joint_readings(network, drawn_input, encode_sex(["female"]))
    shares = [reading.share for reading in found]
    assert sum(shares) > 1 - len(JOINTS) * LEAST_SHARE
    assert shares == sorted(shares, reverse=True)
    with torch.inference_mode():
        answer = network.by_joint(
            torch.tensor(drawn_input.image), encode_sex(["female"]), torch.tensor(drawn_input.places)[None]
        )
        alone = softmax_mean_std(answer.joint_logits[0])[0]
    places = {joint.name: number for number, joint in enumerate(JOINTS)}
    for reading in found:
        assert reading.months == pytest.approx(float(alone[places[reading.name]]), abs=1e-3)


def test_without_any_region_left_out_a_network_of_joints_says_what_it_says(
    network: JointAgeNetwork, drawn_input: ModelInput
) -> None:
    nothing = np.zeros_like(drawn_input.mask)
    without_none, whole = leaving_joints_out(network, drawn_input, encode_sex(["female"]))([nothing])
    with torch.inference_mode():
        own = network(torch.tensor(drawn_input.image), encode_sex(["female"]), torch.tensor(drawn_input.places)[None])
    assert whole == pytest.approx(float(own), abs=1e-3)
    assert without_none == pytest.approx(whole, abs=1e-3)
    assert leaving_joints_out(network, drawn_input, encode_sex(["female"]), factor=2.0)([])[0] == pytest.approx(
        2 * whole, abs=1e-3
    )


def test_a_region_left_out_is_one_whose_joints_do_not_count(network: JointAgeNetwork, drawn_input: ModelInput) -> None:
    """All but one joint covered: the answer is that joint's own, made sharper as every answer is."""
    middle, up, _ = joint_frames(torch.tensor(drawn_input.places)[None])
    number = next(n for n, joint in enumerate(JOINTS) if joint.name == "dip_middle_finger")
    (row, column), reach = middle[0, number].numpy(), 1.5 * float(up[0, number].norm())
    side = len(drawn_input.mask)
    rows, columns = np.mgrid[:side, :side] / side
    far = np.hypot(rows - row, columns - column) > reach
    months, _ = leaving_joints_out(network, drawn_input, encode_sex(["female"]))([far])
    with torch.inference_mode():
        answer = network.by_joint(
            torch.tensor(drawn_input.image), encode_sex(["female"]), torch.tensor(drawn_input.places)[None]
        )
        alone = softmax_mean_std(network.head.sharpness.exp() * answer.joint_logits[0])[0]
    assert months == pytest.approx(float(alone[number]), abs=0.05)


def test_every_joint_has_a_name_in_the_fields_terms() -> None:
    titles = [title_of(joint.name) for joint in JOINTS]
    assert len(set(titles)) == len(JOINTS)
    assert title_of("pip_forefinger") == "PIP joint of the index finger"
    assert title_of("carpals_thumb_side") == "carpals, thumb side"
