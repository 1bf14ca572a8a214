"""Every system by name: our own and the published ones. Another one is a file here and a line in this dict."""

import logging

from ..errors import UnknownRecipe
from .deeplasia import RECIPE as DEEPLASIA
from .fanciulli_motisi2024 import RECIPE as FANCIULLI_MOTISI2024
from .iglovikov2018 import RECIPE as IGLOVIKOV2018
from .li2021 import RECIPE as LI2021
from .lite import RECIPE as LITE
from .malanga2024 import RECIPE as MALANGA2024
from .schema import Recipe

DEFAULT_RECIPE = LITE.name
FORMER_NAMES = {"house": LITE.name}
LOG = logging.getLogger("baa_core")  # without a handler Python writes its warnings to standard error

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (LITE, DEEPLASIA, IGLOVIKOV2018, MALANGA2024, FANCIULLI_MOTISI2024, LI2021)
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. A former name is taken too, and a line in the log says so.

    Raises:
        UnknownRecipe: there is none; the message lists those there are.
    """
    if name in FORMER_NAMES:
        LOG.warning("The recipe '%s' is called '%s' now.", name, FORMER_NAMES[name])
        name = FORMER_NAMES[name]
    try:
        return RECIPES[name]
    except KeyError:
        raise UnknownRecipe(f"There is no recipe '{name[:40]}'. Choose one of: {', '.join(RECIPES)}.") from None
