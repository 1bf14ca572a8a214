"""A drawn hand: age and sex in, a radiograph with its own truth out.

For examples, tests and teaching. No child's picture is in it: bones are outlines with a shell and spongy inside,
summed along the beam, and a timetable says which epiphysis is there, how wide, and how far fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedImage
from ..hand_anatomy import REGIONS
from ..types import SEXES, BoolArray, FloatArray, Radiograph, Sex, freeze
from .bones import Bone, build_bones, growth_centres, place_joints
from .exposure import add_collimation, add_marker, background, bone_attenuation, develop, expose, grain
from .ossification import EPIPHYSES, epiphysis_at, maturity, ossified_carpals
from .shapes import Points
from .soft_tissue import Frame, fill, outline_hand, tissue_thickness, united

__all__ = ["EXAMPLES", "REGIONS", "Phantom", "bone_outlines", "draw_phantom", "ossified_carpals", "to_png", "to_webp"]

# (label, bone age in months, sex, seed) of the hands the page offers.
EXAMPLES: Final[tuple[tuple[str, float, Sex, int], ...]] = (
    ("Girl, 3 years", 36.0, "female", 3),
    ("Boy, 6 years", 72.0, "male", 6),
    ("Girl, 10 years", 120.0, "female", 10),
    ("Boy, 13 years", 156.0, "male", 13),
    ("Girl, 15 ½ years", 186.0, "female", 15),
)
_ASPECT = 0.80  # width over height; RSNA's radiographs: 0.79 ± 0.11
_OVERSAMPLING = 2
_SMALLEST_PX, _LARGEST_PX = 200, 3000
_ADULT_MONTHS = 240.0
_REGION_REACH = 0.035  # how far around its bones a region goes, hand units


@dataclass(frozen=True, eq=False)
class Phantom:
    """A drawn radiograph and the truth about it. Coordinates are (row, column) in pixels.

    Attributes:
        radiograph: pixels float32 (H, W) in [0, 1], bone bright.
        mask: bool (H, W), True on the hand, forearm included.
        landmarks: the 21 hand keypoints: wrist, thumb1 to thumb4, ... pinky_finger4, from palm to tip.
        joints: the 21 growth centres: radius, ulna, metacarpal1 to distal_phalanx5.
        regions: name in `REGIONS` to bool (H, W); they do not overlap.
        bone_age_months, sex: what was drawn.
    """

    radiograph: Radiograph
    mask: BoolArray
    landmarks: Mapping[str, tuple[float, float]]
    joints: Mapping[str, tuple[float, float]]
    regions: Mapping[str, BoolArray]
    bone_age_months: float
    sex: Sex

    def __post_init__(self) -> None:
        freeze(self.mask)
        for region in self.regions.values():
            freeze(region)


def draw_phantom(
    bone_age_months: float,
    sex: Sex,
    *,
    seed: int = 0,
    height_px: int = 1000,
    markers: bool = True,
    altered_region: str | None = None,
    altered_age_months: float | None = None,
    mirrored: bool = False,
) -> Phantom:
    """Draw the left hand of a child, fingers up, thumb to the right. Same arguments, same pixels.

    Args:
        bone_age_months: 0 to 240.
        sex: "female" or "male"; girls' bones are ahead of boys'.
        seed: which child: proportions, position, exposure and grain, independent of age.
        height_px: height of the picture; its width is four fifths of that.
        markers: a lead letter and, on some radiographs, the collimator's shadow.
        altered_region: one of `REGIONS` whose bones are drawn as at `altered_age_months`, all else as before:
            a picture whose only difference lies in a known place.
        altered_age_months: 0 to 240; needed with `altered_region`.
        mirrored: thumb to the left, as a right hand is.

    Raises:
        UnsupportedImage: an age, size, sex or region outside what can be drawn.
    """
    _check(bone_age_months, sex, height_px, altered_region, altered_age_months)
    # One stream a purpose, so that a change of age or of markers leaves the other draws as they were.
    noise, stamp = (np.random.default_rng([seed, purpose]) for purpose in (1, 2))
    body, joints, frame = _pose(bone_age_months, seed, height_px)
    bones = build_bones(joints, bone_age_months, sex)
    if altered_region is not None and altered_age_months is not None:
        other = build_bones(joints, altered_age_months, sex)
        bones = [bone for bone in bones if bone.region != altered_region]
        bones += [bone for bone in other if bone.region == altered_region]
    mask, clean = _project(body, frame, joints, bones, maturity(bone_age_months, sex))
    picture = expose(noise, clean + background(noise, frame.shape))
    regions = _region_masks(frame, build_bones(joints, _ADULT_MONTHS, sex), mask)
    centres = growth_centres(joints)
    if mirrored:
        picture, mask = np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        regions = {name: np.ascontiguousarray(region[:, ::-1]) for name, region in regions.items()}
    if markers:
        if stamp.random() < 0.35:
            add_collimation(stamp, picture)
        add_marker(stamp, picture, mask, "R" if mirrored else "L")
    pixels = np.clip(picture, 0.0, 1.0).astype(np.float32)
    return Phantom(
        radiograph=Radiograph(pixels=pixels, name=_name(bone_age_months, sex)),
        mask=mask,
        landmarks=_in_pixels(frame, joints, mirrored),
        joints=_in_pixels(frame, centres, mirrored),
        regions=regions,
        bone_age_months=float(bone_age_months),
        sex=sex,
    )


def bone_outlines(
    bone_age_months: float, sex: Sex, *, seed: int = 0, height_px: int = 1000
) -> dict[str, NDArray[np.float64]]:
    """The outline of every ossified part in the picture that `draw_phantom` draws from the same arguments.

    Returns:
        name of a bone, such as "capitate" or "metacarpal3", or of its separate epiphysis, such as "metacarpal3
        epiphysis", to a closed polygon (N, 2) of (column, row) in pixels. While a growth plate is open, wholly or in
        part, bone and epiphysis are two parts; then one.

    Raises:
        UnsupportedImage: as `draw_phantom`.
    """
    _check(bone_age_months, sex, height_px, None, None)
    _, joints, frame = _pose(bone_age_months, seed, height_px)
    found: dict[str, NDArray[np.float64]] = {}
    for bone in build_bones(joints, bone_age_months, sex):
        parts = [frame.to_px(outline) for outline in bone.outlines]
        if bone.name not in EPIPHYSES or len(parts) == 1:
            found[bone.name] = parts[0]
        elif epiphysis_at(bone.name, bone_age_months, sex).fusion < 1:
            found[bone.name], found[f"{bone.name} epiphysis"] = parts[0], parts[1]
        else:
            found[bone.name] = united(parts)
    return found


def to_png(radiograph: Radiograph) -> bytes:
    """An 8-bit grey PNG of the pixels, bone bright."""
    grey = np.round(np.clip(radiograph.pixels, 0.0, 1.0) * 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", grey)[1])


def to_webp(radiograph: Radiograph, quality: int = 85) -> bytes:
    """A small grey WebP of the pixels for a screen, bone bright; `quality` from 1 to 100. Not for an assessment."""
    grey = np.round(np.clip(radiograph.pixels, 0.0, 1.0) * 255).astype(np.uint8)
    return bytes(cv2.imencode(".webp", grey, [cv2.IMWRITE_WEBP_QUALITY, quality])[1])


def _check(age: float, sex: Sex, height_px: int, region: str | None, region_age: float | None) -> None:
    if sex not in SEXES:
        raise UnsupportedImage(f"A hand of sex '{sex}' cannot be drawn. Give female or male.")
    for months in (age, region_age):
        if months is not None and not 0 <= months <= _ADULT_MONTHS:
            raise UnsupportedImage(f"A bone age of {months:g} months cannot be drawn. Give 0 to {_ADULT_MONTHS:.0f}.")
    if not _SMALLEST_PX <= height_px <= _LARGEST_PX:
        raise UnsupportedImage(f"A hand {height_px} px high cannot be drawn. Give {_SMALLEST_PX} to {_LARGEST_PX}.")
    if (region is None) != (region_age is None):
        raise UnsupportedImage("An altered region and its age belong together. Give both or neither.")
    if region is not None and region not in REGIONS:
        raise UnsupportedImage(f"There is no region '{region}' in a hand. Give one of: {', '.join(REGIONS)}.")


def _name(age: float, sex: Sex) -> str:
    years, months = divmod(round(age), 12)
    parts = [f"{count} {unit}{'s' * (count != 1)}" for count, unit in ((years, "year"), (months, "month")) if count]
    return f"drawn hand, {'girl' if sex == 'female' else 'boy'} {' '.join(parts) or 'newborn'}"


def _pose(bone_age_months: float, seed: int, height_px: int) -> tuple[np.random.Generator, dict[str, Points], Frame]:
    """The joints of one child in hand units and where they lie in the picture, with the generator that placed them."""
    body = np.random.default_rng([seed, 0])
    joints = place_joints(body, bone_age_months)
    return body, joints, _fit(body, joints, height_px)


def _fit(random: np.random.Generator, joints: Mapping[str, Points], height_px: int) -> Frame:
    """Where the hand lies in the picture: as large as a technician would have it, slightly off upright."""
    shape = (height_px, round(_ASPECT * height_px))
    tilt = float(np.clip(random.normal(0.0, 2.5), -6.0, 6.0))
    unit = Frame(shape, 1.0, (0.0, 0.0), tilt)
    points = unit.to_px(np.array(list(joints.values())))
    (left, top), (right, _) = points.min(0) - 0.05, points.max(0) + 0.05
    unit_px = min(random.uniform(0.60, 0.66) * shape[0], 0.90 * shape[1] / (right - left))
    wrist_row = random.uniform(0.05, 0.08) * shape[0] - top * unit_px
    wrist_column = shape[1] * (0.5 + random.uniform(-0.025, 0.025)) - (left + right) / 2 * unit_px
    return Frame(shape, unit_px, (wrist_row, wrist_column), tilt)


def _project(
    random: np.random.Generator, frame: Frame, joints: Mapping[str, Points], bones: list[Bone], grown: float
) -> tuple[BoolArray, FloatArray]:
    """The hand's mask, and what hand and bones add to the radiograph, anti-aliased by drawing finer and reducing."""
    girth = float(np.interp(grown, (0, 0.25, 0.6, 1), (1.14, 1.06, 0.98, 0.93))) * (1 + random.normal(0, 0.03))
    mask = outline_hand(frame, joints, girth, creases=0.09 * (1 - grown) ** 2)
    tissue = tissue_thickness(frame, mask, joints)
    coarse = (frame.shape[0] // 8, frame.shape[1] // 8)
    muscle = grain(random, coarse, (0.0025 * frame.unit_px, 0.006 * frame.unit_px), 3.0)
    tissue *= 1.0 + 0.022 * _enlarged(muscle, frame.shape)
    # A trabecula is about as thick in every child, so a small hand that fills the radiograph shows a coarser weave.
    weave_px = frame.unit_px / 640 * (1.65 - 0.65 * grown)
    fine = frame.scaled(_OVERSAMPLING)
    sigmas = ((1.0 * weave_px, 1.0 * weave_px), (0.8 * weave_px, 2.2 * weave_px))
    textures = [_enlarged(grain(random, frame.shape, sigma, 2.2), fine.shape) for sigma in sigmas]
    bone = bone_attenuation(fine, bones, textures, spongy=0.20)
    bone = np.asarray(cv2.resize(bone, frame.shape[::-1], interpolation=cv2.INTER_AREA), dtype=np.float32)
    contrast, density = random.uniform(0.90, 1.10), random.uniform(0.92, 1.08) * (0.86 + 0.20 * grown)
    return mask, develop(tissue, bone, contrast, density)


def _enlarged(field: FloatArray, shape: tuple[int, int]) -> FloatArray:
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _region_masks(frame: Frame, adult: list[Bone], hand: BoolArray) -> dict[str, BoolArray]:
    """Each pixel of the hand near a bone belongs to the region of its nearest (full-grown) bone."""
    least = np.full(frame.shape, _REGION_REACH * frame.unit_px, np.float32)
    owner = np.full(frame.shape, -1, np.int8)
    for number, region in enumerate(REGIONS):
        canvas = np.ones(frame.shape, np.uint8)
        fill(canvas, [frame.to_px(part) for bone in adult if bone.region == region for part in bone.outlines], 0)
        distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)
        owner[distance < least] = number
        least = np.minimum(least, distance)
    return {region: hand & (owner == number) for number, region in enumerate(REGIONS)}


def _in_pixels(frame: Frame, points: Mapping[str, Points], mirrored: bool) -> dict[str, tuple[float, float]]:
    """Hand units to (row, column), turned over with a mirrored picture."""
    found = {}
    for name, point in points.items():
        column, row = frame.to_px(point)
        found[name] = (float(row), float(frame.shape[1] - 1 - column if mirrored else column))
    return found
