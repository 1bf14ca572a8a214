"""The networks of a weights folder: each is loaded once, whoever asks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from baa_core.errors import WeightsMissing
from baa_core.networks import store as store_module
from baa_core.networks.store import NetworkStore
from baa_core.recipes.schema import Recipe
from tests.conftest import assessor_of


def test_assessors_that_share_a_store_load_each_network_once(
    tiny_recipe: Recipe, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = store_module.load_network
    monkeypatch.setattr(
        store_module, "load_network", lambda member, *rest: loaded.append(member.name) or load(member, *rest)
    )
    one = assessor_of(tiny_recipe, tiny_weights)
    other = replace(one, recipe=replace(tiny_recipe, name="other", members=tiny_recipe.members[:1]))
    for assessor in (one, other, one):
        assessor.warm_up()
    assert sorted(loaded) == sorted(one.store.loaded) == sorted(member.name for member in tiny_recipe.members_in_use)
    assert one.network(tiny_recipe.hand) is other.network(tiny_recipe.hand)


def test_a_network_loaded_in_inference_mode_can_still_be_explained(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    with torch.inference_mode():
        network = NetworkStore.of_folder(tiny_weights).network(tiny_recipe.members[0])
    assert not any(parameter.is_inference() or parameter.requires_grad for parameter in network.parameters())


def test_what_could_not_be_loaded_is_tried_again(tiny_weights: Path) -> None:
    store = NetworkStore.of_folder(tiny_weights)

    def missing(folder: Path, manifest: object) -> str:
        raise WeightsMissing("not there yet")

    with pytest.raises(WeightsMissing):
        store.once("late", missing)
    assert store.once("late", lambda folder, manifest: str(folder)) == str(tiny_weights)
    assert store.once("late", missing) == str(tiny_weights)


def test_a_network_can_be_tried_out_in_place_of_the_folders(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    own, member = torch.nn.Identity(), tiny_recipe.members[0]
    store = NetworkStore.of_folder(tiny_weights)
    tried = store.replaced(member.name, own)
    assert tried.network(member) is own
    assert store.network(member) is not own
    assert tried.network(tiny_recipe.hand) is not own
