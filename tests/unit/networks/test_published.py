"""The networks of the other published systems: what they answer, and how they are asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baa_core.hand.segmentation import resegment
from baa_core.networks.age import GroupedAgeNetwork, SixHeads
from baa_core.networks.backbones import VGGS
from baa_core.networks.build import build
from baa_core.networks.hand import MaskNetwork
from baa_core.networks.landmarks import KeyPointNetwork
from baa_core.preprocessing.prepare import InputSpec
from baa_core.preprocessing.steps import PadSquare, Resize, Standardise
from baa_core.recipes import RECIPES
from baa_core.recipes.schema import AGE_GROUPS_MONTHS, Architecture
from baa_core.types import HandMask, Radiograph
from train.fit_frozen import Features

SIX = Architecture("vgg_elu_six_small", heads="six", hidden=(16,), sex_features=0)
GROUPED = Architecture("test_efficientnet", heads="grouped", hidden=(16,), sex_features=0)


def pictures(count: int, height: int = 96, width: int = 64) -> torch.Tensor:
    """Noise in place of hands."""
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [name for name in VGGS if "quarter" in name or "small" in name or "three" in name])
def test_vgg_gives_its_features_whatever_the_size(name: str) -> None:
    network = build(Architecture(name, hidden=(8,), sex_features=0, output="regression"))
    for shape in ((160, 124), (112, 144), (130, 100)):
        months = network(pictures(2, *shape), torch.zeros(2))
        assert months.shape == (2,) and torch.isfinite(months).all()


def test_six_heads_answer_for_the_sex_asked_with_its_two_models() -> None:
    torch.manual_seed(0)
    network = build(SIX)
    assert isinstance(network, SixHeads)
    images = pictures(2)
    with torch.inference_mode():
        months, deviation = network.distribution(images, torch.tensor([0.0, 0.0, 1.0, 1.0]))
        answers = network.answers_from(network.backbone(images))
    for sex, rows in (("female", slice(0, 2)), ("male", slice(2, 4))):
        wanted = [answers[kind, sex][0] for kind in ("regression", "expectation")]
        assert torch.allclose(months[rows], torch.stack(wanted).mean(dim=0), atol=1e-3)
    assert (deviation > 0).all()


def test_the_classifier_chooses_the_regressor_and_a_stated_group_overrides_it() -> None:
    torch.manual_seed(0)
    network = build(GROUPED)
    assert isinstance(network, GroupedAgeNetwork)
    for sex in (0, 1):
        network.classifiers[sex][-1].bias.data = (
            torch.tensor([0.0, 0.0, 50.0, 0.0]) if sex else torch.tensor([0, 50.0, 0, 0])
        )
    images = pictures(3)
    with torch.inference_mode():
        features = network.backbone(images)
        girls, boys = network(images, torch.zeros(3)), network(images, torch.ones(3))
        assert torch.allclose(girls, network.regress(features, 0, 1), atol=1e-4)
        assert torch.allclose(boys, network.regress(features, 1, 2), atol=1e-4)
        for group in range(4):
            stated = network.stating(group)(images, torch.zeros(3))
            assert torch.allclose(stated, network.regress(features, 0, group), atol=1e-4)
            assert (stated - (AGE_GROUPS_MONTHS[group] + AGE_GROUPS_MONTHS[group + 1]) / 2).abs().max() < 16.5
    assert network.group is None, "stating a group leaves the network as it was"


def test_key_points_are_shares_of_the_picture() -> None:
    network = build(Architecture("vgg_elu_three", task="landmarks", hidden=(8,), points=("a", "b", "c")))
    assert isinstance(network, KeyPointNetwork)
    output = network(pictures(2, 130, 100))
    assert output.places.shape == (2, 3, 2) and (output.spread == 0).all()


def square_hand() -> tuple[HandMask, Radiograph]:
    """A radiograph with a square on it, and its mask."""
    mask = np.zeros((200, 150), bool)
    mask[10:190, 10:140] = True
    return HandMask(mask, 1.0, 0.0, False), Radiograph(np.where(mask, 0.7, 0.1).astype(np.float32))


def test_where_another_outline_is_drawn_the_hand_stays_as_found_and_it_is_said() -> None:
    """An untrained U-Net that calls everything hand overlaps; one that calls nothing hand does not."""
    network = build(Architecture("unet", task="mask", hidden=(4,), sex_features=0))
    assert isinstance(network, MaskNetwork)
    spec = InputSpec(64, (PadSquare(), Resize(64)), Standardise())
    hand, radiograph = square_hand()
    network.mask.bias.data.fill_(100.0)
    drawn = resegment(radiograph, hand, network, spec)
    assert drawn.pixels.mean() > 0.9 and drawn.cautions == ()
    network.mask.bias.data.fill_(-100.0)
    kept = resegment(radiograph, hand, network, spec)
    assert kept.pixels is hand.pixels
    assert [said.code for said in kept.cautions] == ["hand_not_drawn"]


def test_every_recipe_shares_the_network_that_says_whether_there_is_a_hand() -> None:
    assert list(RECIPES) == ["lite", "deeplasia", "iglovikov2018", "malanga2024", "fanciulli_motisi2024", "li2021"]
    assert len({recipe.hand for recipe in RECIPES.values()}) == 1
    for recipe in RECIPES.values():
        assert recipe.citation and replace(recipe, name="again").networks


def test_no_child_is_learnt_from_and_measured_in_the_same_fold() -> None:
    """Ten children, most of them with a thumbnail and a sharp radiograph, in any order."""
    children = np.random.default_rng(0).permutation(np.r_[np.arange(100, 110), np.arange(102, 110)])
    months = children.astype(np.float32)
    features = Features(torch.zeros(2, len(children), 3), children % 2 == 0, months, children)
    left_out = []
    for inside, outside in features.folds(5):
        assert not set(inside.children) & set(outside.children)
        assert (
            len(inside.months) + len(outside.months) == len(children) == inside.views.shape[1] + outside.views.shape[1]
        )
        assert (outside.months == outside.children).all()
        left_out += outside.children.tolist()
    assert sorted(left_out) == sorted(children.tolist())


def test_a_system_that_learned_on_other_outlines_says_so_with_a_number() -> None:
    """iglovikov2018 is served on its U-Net's outlines, and its networks of points and regions learned on others."""
    (note,) = [note for note in RECIPES["iglovikov2018"].notes if "learned on hands outlined by" in note]
    assert "months" in note and any(letter.isdigit() for letter in note)
