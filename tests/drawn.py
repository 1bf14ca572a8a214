"""Drawn hands for tests, each drawn once: they are the same at every call, and cannot be changed."""

from functools import lru_cache

from baa_core import phantom

draw_phantom = lru_cache(maxsize=40)(phantom.draw_phantom)
