"""Do the methods show the shipped network, or only the picture? (Adebayo 2018, "Sanity checks for saliency maps")

The top of the network gets random weights; a map that stays as it was explains nothing. The similarities are in the
report that the command in docs/explanations.md writes.
"""

from collections.abc import Callable
from copy import deepcopy
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.estimation.ensemble import age_forward, encode_sex
from baa_core.explanation import gradients
from baa_core.explanation.methods import METHODS
from baa_core.explanation.verdict import correlation
from baa_core.networks.age import AgeNetwork
from baa_core.networks.weights import load_network
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import ModelInput, prepare
from baa_core.recipes.deeplasia import masked_hand
from baa_core.types import HandMask
from baa_core.workflows.assess import Assessor

MOST_SIMILAR = 0.5  # correlation of the smoothed signed maps before and after, on average
SEEDS = (0, 1)  # of the random weights: a coarse map may resemble a chance one once


@pytest.fixture(scope="module")
def drawn() -> ModelInput:
    """A drawn boy of ten years as the age network sees him, at two fifths of its size; the mask is the drawn one."""
    phantom = draw_phantom(120.0, "male", height_px=500)
    hand = HandMask(phantom.mask, 1.0, 0.0, inverted=False)
    return prepare(phantom.radiograph, hand, masked_hand(128))


@pytest.fixture(scope="module")
def network(assessor: Assessor) -> AgeNetwork:
    """With its norms unfolded: random weights behind them keep the signal's size."""
    shipped = load_network(assessor.recipe.members[0]).requires_grad_(False)
    assert isinstance(shipped, AgeNetwork)
    return shipped


def with_random_top(network: AgeNetwork, seed: int) -> AgeNetwork:
    """A copy whose head, last convolution and last two stages forget what they learned."""
    torch.manual_seed(seed)
    copy = deepcopy(network)
    for part in (copy.head, copy.backbone.conv_head, copy.backbone.bn2, *copy.backbone.blocks[-2:]):
        for module in part.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return copy.requires_grad_(False).eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_random_weights_destroy_the_map(
    network: AgeNetwork,
    drawn: ModelInput,
    name: str,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients, "HALVINGS", 0)  # the months need not add up here
    one, *others = (
        METHODS[name].attribute(net, age_forward(net, "male", mirror=False), drawn).months
        for net in (network, *(with_random_top(network, seed) for seed in SEEDS))
    )
    similarity = fmean(correlation(one, other) for other in others)
    record_property(name, round(similarity, 2))
    assert all(other.any() for other in others)
    assert similarity < MOST_SIMILAR


class OpenReLU6(nn.ReLU):
    """ReLU6 as a kind of ReLU, because Captum's Guided Backprop looks for no other."""

    def forward(self, values: Tensor) -> Tensor:
        return values.clamp(0.0, 6.0)


def guided(network: AgeNetwork, drawn: ModelInput) -> np.ndarray:
    """Captum's Guided Backprop, which this project does not offer."""
    from captum.attr import GuidedBackprop

    copy = deepcopy(network)
    for module in list(copy.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6):  # none in place: Captum's hooks need their inputs as they were
                setattr(module, name, OpenReLU6() if isinstance(child, nn.ReLU6) else nn.ReLU())
    image, male = torch.tensor(drawn.image).requires_grad_(), encode_sex(["male"]).requires_grad_()
    with pytest.warns(UserWarning, match="backward hooks"):
        gradient = GuidedBackprop(copy).attribute(image, additional_forward_args=male)
    return np.where(drawn.mask, gradient[0, 0].detach().numpy(), np.float32(0.0))


@pytest.mark.slow
def test_guided_backprop_would_not_pass(
    network: AgeNetwork, drawn: ModelInput, record_property: Callable[[str, object], None]
) -> None:
    """Why it is not among the methods: it draws the same edges for a network that has forgotten them."""
    one = guided(network, drawn)
    similarity = fmean(correlation(one, guided(with_random_top(network, seed), drawn)) for seed in SEEDS)
    record_property("guided_backprop", round(similarity, 2))
    assert similarity > MOST_SIMILAR
