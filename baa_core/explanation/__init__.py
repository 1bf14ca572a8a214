"""Networks + inputs -> which places of the radiograph move the bone age, and whether that can be relied on.

heatmap           the default picture, Deeplasia's saliency: fast, unsigned
methods           six methods by name, signed and in months, for one network or the ensemble
attribution       what a method gives
gradients         methods by gradients
occlusion         methods by hiding squares
region_effects    contributions and shares by region of the hand
atlas             which bones the atlas names for a stage
robustness        the same radiograph changed in ways that should not matter
faithfulness      deletion curves: does the map mark what moves the estimate?
verdict           stability, likeness of the networks' maps, a verdict
report            all of it about one radiograph
lazy_captum       Captum, imported when the first map is made
"""

from __future__ import annotations

from .atlas import Stage, textbook_stage
from .attribution import Attribution, blurred_hand
from .faithfulness import Deletion, Removal, measure_deletion
from .gradients import own_copy
from .heatmap import DRAWN_FROM, absolute_gradient, saliency, smooth, smooth_and_scale
from .lazy_captum import captum_attr
from .methods import METHODS, Method, bring_months_home, evidence, explain_with, find_method
from .region_effects import ELSEWHERE, OUTSIDE, RegionEffect, attribution_shares, months_by_region, regions_on_input
from .robustness import OTHER_SEX, TRANSFORMS, Robustness, measure_robustness
from .verdict import Verdict, agreement, likeness_sentence, stability, summarise_checks

__all__ = [
    "DRAWN_FROM",
    "ELSEWHERE",
    "METHODS",
    "OTHER_SEX",
    "OUTSIDE",
    "TRANSFORMS",
    "Attribution",
    "Deletion",
    "Method",
    "RegionEffect",
    "Removal",
    "Robustness",
    "Stage",
    "Verdict",
    "absolute_gradient",
    "agreement",
    "attribution_shares",
    "blurred_hand",
    "bring_months_home",
    "captum_attr",
    "evidence",
    "explain_with",
    "find_method",
    "likeness_sentence",
    "measure_deletion",
    "measure_robustness",
    "months_by_region",
    "own_copy",
    "regions_on_input",
    "saliency",
    "smooth",
    "smooth_and_scale",
    "stability",
    "summarise_checks",
    "textbook_stage",
]
