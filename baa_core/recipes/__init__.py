"""Every system by name: our own and the published ones. Another one is a file here and a line in this dict."""

from ..errors import UnknownRecipe
from . import deeplasia, fanciulli_motisi2024, iglovikov2018, li2021, malanga2024
from . import lite as house
from .schema import Recipe

DEFAULT_RECIPE = house.RECIPE.name

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE
    for module in (house, deeplasia, iglovikov2018, malanga2024, fanciulli_motisi2024, li2021)
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownRecipe: there is none; the message lists those there are.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise UnknownRecipe(f"There is no recipe '{name[:40]}'. Choose one of: {', '.join(RECIPES)}.") from None
