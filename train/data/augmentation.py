"""Augmentation sets, by the name a `TrainingPlan` carries. Training only; serving imports none of this.

Pictures are uint8 (S, S), background 0 where the plan's input masks it.
"""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


class Degrade(A.ImageOnlyTransform):  # type: ignore[misc]
    """Bring a sharp picture to a thumbnail's quality: shrink with nearest neighbours, enlarge again.

    Lets one network learn from thumbnails and sharp radiographs alike (the 100 px pictures
    of DATA.md were made by nearest-neighbour squashing).
    """

    def __init__(self, sides_px: tuple[int, int] = (90, 200), p: float = 0.3) -> None:
        super().__init__(p=p)
        self.sides_px = sides_px

    def get_params(self) -> dict[str, int]:
        """A random intermediate side."""
        return {"side_px": int(self.py_random.randint(*self.sides_px))}

    def apply(self, img: Grey, side_px: int, **_: object) -> Grey:
        """Shrink and enlarge, (S, S) to (S, S)."""
        shape = img.shape[1::-1]
        small = cv2.resize(img, (side_px, side_px), interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.resize(small, shape, interpolation=cv2.INTER_CUBIC), dtype=np.uint8).reshape(img.shape)


def _geometric(scale: float, translate: float, rotate: float, shear: float) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            scale=(1 - scale, 1 + scale),
            translate_percent=(-translate, translate),
            rotate=(-rotate, rotate),
            shear=(-shear, shear),
            p=0.9,
        ),
    ]


def _intensity(gamma_low: int, gamma_high: int) -> list[A.BasicTransform]:
    return [
        A.Sharpen(alpha=(0.5, 0.75), lightness=(0.5, 1.0), p=0.2),
        A.OneOf(
            [
                A.RandomGamma(gamma_limit=(gamma_low, gamma_high), p=0.33),
                A.CLAHE(clip_limit=(1, 3), p=0.67),
            ],
            p=0.5,
        ),
    ]


# "default" and "strong": Deeplasia, supplement 2 (after Cicero and Bilbily 2017).
# "light": strong's kinds at what pays for an already aligned crop (train/RUNS.md).
AUGMENTATIONS: dict[str, A.Compose] = {
    "default": A.Compose(_geometric(0.20, 0.20, 20, 1)),
    "strong": A.Compose(_geometric(0.30, 0.30, 30, 10) + _intensity(70, 130)),
    "light": A.Compose(_geometric(0.15, 0.06, 15, 3) + _intensity(70, 140)),
    "light_degraded": A.Compose([Degrade(p=0.3), *_geometric(0.15, 0.06, 15, 3), *_intensity(70, 140)]),
    # For pictures whose joints are placed already.
    "tones": A.Compose([Degrade(p=0.3), A.RandomGamma(gamma_limit=(60, 165), p=0.8)]),
    # For pictures with landmarks: more turning, since nothing but the hand network's tilt sets them upright.
    "pointed": A.Compose(
        [Degrade(p=0.3), *_geometric(0.15, 0.06, 25, 3), *_intensity(70, 140)],
        keypoint_params=A.KeypointParams("xy", remove_invisible=False),
    ),
    # For hands that registration has brought to one place and side (Iglovikov 2018: zoom, rotation, shift).
    "light_registered": A.Compose([Degrade(p=0.3), *_geometric(0.10, 0.04, 8, 2)[1:], *_intensity(70, 140)]),
    # Fanciulli & Motisi 2024, section 2.1.2.
    "turned": A.Compose([A.Affine(rotate=(-20, 20), p=1.0)]),
    # For whole radiographs with the hand's mask.
    "outlined": A.Compose([Degrade(p=0.3), *_geometric(0.25, 0.10, 20, 5), A.RandomGamma((60, 160), p=0.5)]),
}


def mirrors(name: str) -> bool:
    """Does this set show pictures mirrored?"""
    return any(isinstance(step, A.HorizontalFlip) for step in AUGMENTATIONS[name].transforms) if name else False


def augment(picture: Grey, name: str) -> Grey:
    """One random version of a picture.

    Args:
        picture: uint8 (S, S).
        name: a key of `AUGMENTATIONS`.
    """
    return np.asarray(AUGMENTATIONS[name](image=picture)["image"], dtype=np.uint8)


def augment_pointed(picture: Grey, points: NDArray[np.float32], name: str) -> tuple[Grey, NDArray[np.float32]]:
    """One random version of a picture and where it puts the picture's points.

    Args:
        picture: uint8 (S, S).
        points: (K, 2), (row, column) in pixels.
        name: a key of `AUGMENTATIONS` that moves points too.
    """
    made = AUGMENTATIONS[name](image=picture, keypoints=points[:, ::-1])
    moved = np.asarray(made["keypoints"], dtype=np.float32)[:, ::-1]
    return np.asarray(made["image"], dtype=np.uint8), np.ascontiguousarray(moved)


def augment_outlined(picture: Grey, mask: Grey, name: str) -> tuple[Grey, Grey]:
    """One random version of a picture and of its mask, both uint8 (H, W)."""
    made = AUGMENTATIONS[name](image=picture, mask=mask)
    return np.asarray(made["image"], dtype=np.uint8), np.asarray(made["mask"], dtype=np.uint8)
