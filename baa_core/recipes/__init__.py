"""The published systems, by name. A sixth one is a file here and a line in this dict."""

from ..errors import UnknownRecipe
from ..recipe import Recipe
from . import deeplasia

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (deeplasia.RECIPE,)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownRecipe: there is none; the message lists those there are.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise UnknownRecipe(f"There is no recipe '{name[:40]}'. Choose one of: {', '.join(RECIPES)}.") from None
