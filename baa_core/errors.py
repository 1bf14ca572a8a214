"""What can go wrong, in the clinician's words.

    BoneAgeError
    ├── UnreadableImage        the bytes are no radiograph this software can decode
    │   └── UnsupportedImage   they decode, but not to one single-frame greyscale-like picture
    ├── InvalidEdits           the picture cannot be turned, cropped or inverted by hand as asked
    ├── InvalidPatient         sex or age as entered make no sense
    ├── HandRefused            of this picture no honest number can be given
    │   ├── HandNotFound       no hand in the picture
    │   ├── SeveralHands       more than one hand in the picture
    │   ├── SeveralPictures    a page or screen that shows several pictures
    │   ├── HandCutOff         the picture's edge takes the fingers or the wrist away
    │   ├── QualityTooLow      a hand, but too small, dark, bright, blurred or grainy to read
    │   ├── UnsupportedPose    its joints do not lie as in a hand seen from the front
    │   └── LandmarksNotFound  a hand, but its joints cannot be placed
    ├── WeightsMissing         a network's weights file is not there
    ├── WeightsCorrupt         it is there, but is not the file the manifest names
    ├── EngineMissing          the software that computes the networks is unknown or not installed
    ├── PackageMissing         an optional package is not installed: Parquet, object storage, Zarr
    ├── StorageUnreachable     where an archive's radiographs are read, or its heatmaps written, does not answer
    ├── UnknownRecipe          no recipe of that name
    ├── UnknownMethod          no explanation method of that name
    ├── NotFinite              a computation gave something that is no number
    ├── InvalidTable           a CSV lacks what the command needs
    ├── InvalidArchive         a zip is damaged, too large, or packed as no radiograph is
    ├── InvalidCalibration     a local calibration is no such file, or of another recipe or other weights
    └── ReportNotPossible      a report in this form cannot be made of this picture

Every message answers three questions: what happened, what was expected, how to fix it.
No message holds a path of the server or anything about the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class BoneAgeError(Exception):
    """Base of every error this package raises on purpose."""


class UnreadableImage(BoneAgeError):
    """The bytes cannot be decoded: empty, truncated, or not an image."""


class UnsupportedImage(UnreadableImage):
    """Decodable, but not one radiograph: several frames, constant, too small, too large, in colour."""


class InvalidEdits(BoneAgeError):
    """A change of the picture by hand that is not possible: a crop beyond its edges, say."""


class InvalidPatient(BoneAgeError):
    """Sex or chronological age outside what is possible."""


class HandRefused(BoneAgeError):
    """Nothing is wrong with files or software, but of this picture no honest number can be given."""


class HandNotFound(HandRefused):
    """No hand was found, so no number is given."""


class SeveralHands(HandRefused):
    """More than one hand was found, and which one is meant was not said.

    Attributes:
        hands: `types.HandMask` of each on the radiograph's grid, from left to right; empty where they are not known
            apart.
    """

    def __init__(self, message: str, hands: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.hands = tuple(hands)


class SeveralPictures(HandRefused):
    """A page or a screen that shows several pictures, and which one is meant was not said."""


class HandCutOff(HandRefused):
    """So much of the hand lies beyond the picture's edge that what is left cannot be assessed."""


class QualityTooLow(HandRefused):
    """There is a hand, but no bone can be seen well enough in it."""


class UnsupportedPose(HandRefused):
    """The joints lie otherwise than in every hand seen from the front that the networks learned from."""


class LandmarksNotFound(HandRefused):
    """The network is too unsure of where the joints are for a point or a region to be shown."""


class WeightsMissing(BoneAgeError):
    """A weights file named by the manifest is not there."""


class WeightsCorrupt(BoneAgeError):
    """A weights file is there but its sha256 or contents are not what the manifest says."""


class EngineMissing(BoneAgeError):
    """The inference engine that was asked for is unknown or not installed."""


class PackageMissing(BoneAgeError):
    """What was asked for needs an optional package that is not installed."""


class StorageUnreachable(BoneAgeError):
    """Storage that a whole batch reads from or writes to cannot be used; it is about no radiograph in particular."""


class UnknownRecipe(BoneAgeError):
    """No recipe of that name is listed."""


class UnknownMethod(BoneAgeError):
    """No explanation method of that name is listed."""


class NotFinite(BoneAgeError):
    """A computation ended in something that is no number (NaN or infinite), so nothing of it is shown."""


class InvalidTable(BoneAgeError):
    """A CSV file lacks rows or columns that the command needs."""


class InvalidArchive(BoneAgeError):
    """A zip cannot be used: damaged, too large, or packed more tightly than radiographs can be."""


class InvalidCalibration(BoneAgeError):
    """A local calibration cannot be read, or was made with another recipe or other weights."""


class ReportNotPossible(BoneAgeError):
    """A report in this form needs something that the picture or its file lacks."""
