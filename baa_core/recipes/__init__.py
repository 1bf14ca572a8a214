"""What each system is, as data. `registry` holds them by name.

Names are loaded when they are first asked for (PEP 562): `train.from_pack` needs `schema` on a machine without OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .registry import DEFAULT_RECIPE, RECIPES, find_recipe

__all__ = ["DEFAULT_RECIPE", "RECIPES", "find_recipe"]


def __getattr__(name: str) -> object:
    """A public name, from `registry`."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(".registry", __name__), name)
