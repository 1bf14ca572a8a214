"""Open bone age assessment from a child's hand radiograph. Research and education only; not a medical device.

Public names are imported when first asked for (PEP 562): `import baa_core.errors` loads neither torch nor OpenCV, and
`train.from_pack` builds networks on a machine that has torch and timm only.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Before PyTorch is loaded, which reads it once. OpenMP's threads spin while they wait for one another, and take the
# cores from those they wait for where other processes are busy (docs/speed.md). Whoever sets it outside has their way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from .errors import (
        BoneAgeError,
        HandCutOff,
        HandNotFound,
        InvalidCalibration,
        InvalidPatient,
        InvalidTable,
        QualityTooLow,
        SeveralHands,
        SeveralPictures,
        UnknownRecipe,
        UnreadableImage,
        UnsupportedImage,
        UnsupportedPose,
        WeightsCorrupt,
        WeightsMissing,
    )
    from .io import read_radiograph
    from .phantom import draw_phantom
    from .recipes import RECIPES
    from .types import Caution, HandMask, Patient, Prediction, Radiograph, Report
    from .workflows.assess import Assessor, load_assessor


__all__ = [
    "RECIPES",
    "Assessor",
    "BoneAgeError",
    "Caution",
    "HandCutOff",
    "HandMask",
    "HandNotFound",
    "InvalidCalibration",
    "InvalidPatient",
    "InvalidTable",
    "Patient",
    "Prediction",
    "QualityTooLow",
    "Radiograph",
    "Report",
    "SeveralHands",
    "SeveralPictures",
    "UnknownRecipe",
    "UnreadableImage",
    "UnsupportedImage",
    "UnsupportedPose",
    "WeightsCorrupt",
    "WeightsMissing",
    "draw_phantom",
    "load_assessor",
    "read_radiograph",
]

_MODULES = {
    "RECIPES": "recipes",
    "draw_phantom": "phantom",
    "read_radiograph": "io",
    **dict.fromkeys(("Assessor", "load_assessor"), "workflows.assess"),
    **dict.fromkeys(("Caution", "HandMask", "Patient", "Prediction", "Radiograph", "Report"), "types"),
}


def __getattr__(name: str) -> object:
    """A public name, from its module; what is in no other module is an error."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
