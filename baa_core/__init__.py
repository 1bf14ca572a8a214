"""Open bone age assessment from a child's hand radiograph. Research and education only; not a medical device."""

__version__ = "0.1.0"  # first: pipeline reports it

# isort: split
from .errors import (
    BoneAgeError,
    HandCutOff,
    HandNotFound,
    InvalidPatient,
    InvalidTable,
    QualityTooLow,
    SeveralHands,
    UnknownRecipe,
    UnreadableImage,
    UnsupportedImage,
    UnusualPicture,
    WeightsCorrupt,
    WeightsMissing,
)
from .io import read_radiograph
from .phantom import draw_phantom
from .pipeline import Assessor, load_assessor
from .recipes import RECIPES
from .types import Caution, HandMask, Patient, Prediction, Radiograph, Report

__all__ = [
    "RECIPES",
    "Assessor",
    "BoneAgeError",
    "Caution",
    "HandCutOff",
    "HandMask",
    "HandNotFound",
    "InvalidPatient",
    "InvalidTable",
    "Patient",
    "Prediction",
    "QualityTooLow",
    "Radiograph",
    "Report",
    "SeveralHands",
    "UnknownRecipe",
    "UnreadableImage",
    "UnsupportedImage",
    "UnusualPicture",
    "WeightsCorrupt",
    "WeightsMissing",
    "draw_phantom",
    "load_assessor",
    "read_radiograph",
]
