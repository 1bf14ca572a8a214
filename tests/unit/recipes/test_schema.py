from dataclasses import FrozenInstanceError, replace

import pytest

from baa_core.errors import UnknownRecipe
from baa_core.recipes import RECIPES, find_recipe
from baa_core.recipes.schema import Recipe


def test_recipes_are_listed_under_their_own_names() -> None:
    assert "deeplasia" in RECIPES
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UnknownRecipe, match=r"no recipe 'deeplasma'.*deeplasia"):
        find_recipe("deeplasma")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_complete(recipe: Recipe) -> None:
    assert recipe.members
    assert "doi:" in recipe.citation or "University" in recipe.citation
    assert recipe.hand.architecture.task == "hand"
    assert {member.architecture.task for member in recipe.sex} == {"sex"}
    assert {member.architecture.task for member in recipe.members} == {"age"}
    known = {m.name for other in RECIPES.values() for m in other.networks}
    for member in recipe.networks:
        assert member.training.init in ("scratch", "imagenet", *known), member.name
        assert member.training.features_of in ("", *known), member.name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_inputs_can_be_shared_between_members(recipe: Recipe) -> None:
    """A specification written twice is one key, so a picture is prepared once for all that want it."""
    for member in recipe.networks:
        again = replace(member.input, steps=tuple(replace(step) for step in member.input.steps))
        assert {again: "made"}[member.input] == "made", member.name


def test_two_members_of_one_name_are_refused(tiny_recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="twice"):
        replace(tiny_recipe, members=(tiny_recipe.members[0],) * 2)


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        RECIPES["deeplasia"].name = "other"  # type: ignore[misc]


def test_going_further_is_gentle_and_at_full_size() -> None:
    plan = RECIPES["li2021"].members[0].training
    further = plan.fine_tuning()
    assert plan.halved_share > 0 and further.halved_share == 0
    assert further.learning_rate == pytest.approx(plan.learning_rate / 3)
    assert replace(further, learning_rate=plan.learning_rate, halved_share=plan.halved_share) == plan
