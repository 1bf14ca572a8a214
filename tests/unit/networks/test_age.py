import copy

import pytest
import torch
from torch import nn

from baa_core.networks.age import OLDEST_CLASS_MONTHS
from baa_core.networks.backbones import fold_norms
from baa_core.networks.build import build
from baa_core.networks.hand import HandNetwork
from baa_core.recipes import RECIPES
from baa_core.recipes.schema import Architecture, Recipe

RECIPE_MEMBERS = [pytest.param(m, id=f"{r.name}-{m.name}") for r in RECIPES.values() for m in r.sex_and_age_members]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_months_follow_the_sex(tiny_recipe: Recipe) -> None:
    network = build(tiny_recipe.members[0].architecture)
    image = torch.randn(2, 1, 64, 64)
    girl, boy = network(image, torch.zeros(2)), network(image, torch.ones(2))
    assert girl.shape == (2,)
    assert not torch.allclose(girl, boy)


@pytest.mark.parametrize("number", [0, 1])
def test_several_sexes_a_picture_are_answered_as_one_by_one(tiny_recipe: Recipe, number: int) -> None:
    network = build(tiny_recipe.members[number].architecture)
    image = torch.randn(2, 1, 64, 64)
    together = network(image, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    apart = torch.cat([network(image, torch.zeros(2)), network(image, torch.ones(2))])
    assert torch.allclose(together, apart, atol=1e-3)


def test_an_expectation_stays_within_its_months(tiny_recipe: Recipe) -> None:
    network = build(tiny_recipe.members[0].architecture)
    months = network(100 * torch.randn(4, 1, 64, 64), torch.ones(4))
    assert bool(((months >= 0) & (months <= OLDEST_CLASS_MONTHS)).all())


def test_a_network_without_sex_input_ignores_it() -> None:
    network = build(Architecture("test_efficientnet", hidden=(), sex_features=0))
    image = torch.randn(1, 1, 64, 64)
    assert torch.equal(network(image, torch.zeros(1)), network(image, torch.ones(1)))


@pytest.mark.parametrize("member", RECIPE_MEMBERS)
def test_every_shipped_shape_has_a_finite_image_gradient(member: object) -> None:
    """What an explanation needs."""
    network = build(member.architecture)  # type: ignore[attr-defined]
    image = torch.randn(1, 1, 96, 96, requires_grad=True)
    answer = network(image) if member.architecture.task == "sex" else network(image, torch.ones(1))  # type: ignore[attr-defined]
    (gradient,) = torch.autograd.grad(answer.sum(), image)
    assert gradient.shape == image.shape
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0


def test_the_hand_network_answers_on_the_pictures_grid() -> None:
    network = build(Architecture("fastsurfer", task="hand", hidden=(8,), sex_features=0))
    assert isinstance(network, HandNetwork)
    answer = network(torch.randn(2, 1, 128, 128))
    assert answer.mask_logits.shape == (2, 1, 128, 128)
    assert answer.presence_logit.shape == answer.inverted_logit.shape == (2,)
    assert answer.up.shape == (2, 2)


def test_networks_are_built_for_serving(tiny_recipe: Recipe) -> None:
    assert not any(build(m.architecture).training for m in tiny_recipe.members_in_use)


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("tf_efficientnet_lite0", hidden=(16,)),
        Architecture("mobilenetv3_large_100", hidden=(16,), output="regression"),
        Architecture("tf_efficientnet_lite0", task="landmarks", hidden=(16,), sex_features=0),
        Architecture("fastsurfer", task="hand", hidden=(8,), sex_features=0),
        Architecture("vgg_elu_six_small", heads="six", hidden=(16,), sex_features=0),
        Architecture("unet", task="mask", hidden=(4,), sex_features=0),
    ],
    ids=lambda architecture: f"{architecture.task}-{architecture.backbone}",
)
def test_folding_the_norms_leaves_every_answer_as_it_was(architecture: Architecture) -> None:
    torch.manual_seed(0)
    network = build(architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
    folded = fold_norms(copy.deepcopy(network))
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    pictures = torch.randn(2, 1, 128, 128)
    asked = (pictures, torch.tensor([0.0, 1.0])) if architecture.task == "age" else (pictures,)
    with torch.inference_mode():
        before, after = network(*asked), folded(*asked)
    for one, other in zip(*((a,) if isinstance(a, torch.Tensor) else a for a in (before, after)), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
