"""Networks + inputs -> which places of the radiograph move the bone age.

heatmap       the default picture, Deeplasia's saliency: fast, unsigned
methods       five methods by name, signed and in months, for one network or the ensemble
attributions  how each is made
trust         whether to believe a map: curves, stability, agreement, a verdict
captum_door   Captum, imported when the first map is made
"""

from __future__ import annotations

from .attributions import Attribution, blurred_hand
from .heatmap import DRAWN_FROM, absolute_gradient, saliency, smooth_and_scale
from .methods import METHODS, Method, bring_months_home, explain_with, find_method
from .trust import Curves, Verdict, agreement, compare, deletion_curve, insertion_curve, judge, stability

__all__ = [
    "DRAWN_FROM",
    "METHODS",
    "Attribution",
    "Curves",
    "Method",
    "Verdict",
    "absolute_gradient",
    "agreement",
    "blurred_hand",
    "bring_months_home",
    "compare",
    "deletion_curve",
    "explain_with",
    "find_method",
    "insertion_curve",
    "judge",
    "saliency",
    "smooth_and_scale",
    "stability",
]
