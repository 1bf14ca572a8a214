"""Which networks can be trained, by name."""

from __future__ import annotations

from baa_core.recipes import RECIPES
from baa_core.recipes.schema import Member


def members() -> dict[str, tuple[str, Member]]:
    """Every trainable member: name to (recipe name, member)."""
    found: dict[str, tuple[str, Member]] = {}
    for recipe in RECIPES.values():
        for member in recipe.networks:
            found.setdefault(member.name, (recipe.name, member))  # shared ones belong to the first that names them
    return found
