"""From bones and soft tissue to radiograph: attenuation, tone, grain, lead marker and collimation."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..types import BoolArray, FloatArray
from .bones import Bone
from .shapes import Points
from .soft_tissue import Frame, chord, fill

_CANCELLOUS = 0.34  # attenuation of spongy bone beside compact bone
_PENUMBRA = 0.0017  # unsharpness of bone edges, which are round and lie above the radiograph, hand units
_LETTERS = {  # strokes of the lead letters in a unit box, (x, y) with y down
    "L": [[(0.0, 0.0), (0.26, 0.0), (0.26, 0.76), (0.66, 0.76), (0.66, 1.0), (0.0, 1.0)]],
    "R": [
        [(0.0, 0.0), (0.24, 0.0), (0.24, 1.0), (0.0, 1.0)],
        [(0.2, 0.0), (0.55, 0.04), (0.68, 0.27), (0.56, 0.5), (0.2, 0.56), (0.2, 0.37), (0.4, 0.34), (0.44, 0.27),
         (0.38, 0.2), (0.2, 0.19)],
        [(0.25, 0.5), (0.47, 0.46), (0.7, 1.0), (0.43, 1.0)],
    ],
}  # fmt: skip


def grain(random: np.random.Generator, shape: tuple[int, int], fine: tuple[float, float], coarse: float) -> FloatArray:
    """Band-passed noise of unit spread.

    Args:
        random: where the noise comes from.
        shape: (height, width).
        fine: smallest structure as Gaussian sigmas (column, row) in pixels; unequal ones make streaks.
        coarse: structures larger than `coarse` times that are taken out.
    """
    noise = random.standard_normal(shape, dtype=np.float32)
    small = cv2.GaussianBlur(noise, (0, 0), sigmaX=fine[0], sigmaY=fine[1])
    band = small - cv2.GaussianBlur(small, (0, 0), sigmaX=fine[0] * coarse, sigmaY=fine[1] * coarse)
    return np.asarray(band / band.std(), dtype=np.float32)


def _box(polygons: Sequence[Points], shape: tuple[int, int], margin_px: int) -> tuple[slice, slice] | None:
    """Rows and columns around the polygons inside the canvas, or None if they lie outside."""
    points = np.concatenate(polygons)
    low = np.maximum(np.floor(points.min(0)).astype(int) - margin_px, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + margin_px, [shape[1], shape[0]])
    return None if (high <= low).any() else (slice(low[1], high[1]), slice(low[0], high[0]))


def _along(axis_px: Points, rows: slice, columns: slice) -> FloatArray:
    """0 at the start of the axis, 1 at its end, for every pixel of a box."""
    step = axis_px[1] - axis_px[0]
    row, column = np.ogrid[rows, columns]
    share = ((column - axis_px[0, 0]) * step[0] + (row - axis_px[0, 1]) * step[1]) / float(step @ step)
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float32)


def bone_attenuation(frame: Frame, bones: Sequence[Bone], textures: Sequence[FloatArray], spongy: float) -> FloatArray:
    """Path through bone, in hand units of compact bone, summed over all bones.

    Args:
        frame: the canvas.
        bones: what to draw.
        textures: even and lengthwise-streaked noise of the canvas's shape and unit spread.
        spongy: contrast of the trabecular pattern.
    """
    total = np.zeros(frame.shape, np.float32)
    for bone in bones:
        outlines = [frame.to_px(outline) for outline in bone.outlines]
        box = _box(outlines, frame.shape, 3)
        if box is None:
            continue
        rows, columns = box
        body = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        corner = np.array([columns.start, rows.start])
        fill(body, [outline - corner for outline in outlines])
        depth = cv2.distanceTransform(body, cv2.DIST_L2, 5) / frame.unit_px
        share = _along(frame.to_px(bone.axis), rows, columns)
        at_end, at_middle = bone.cortex
        shell = at_end + (at_middle - at_end) * np.maximum(np.sin(np.pi * share), 0.0) ** 1.3
        marrow = chord(np.maximum(depth - shell, 0.0), bone.half_depth)
        weave = np.where(shell > at_end * 1.05, textures[1][box], textures[0][box])
        spongy_path = _CANCELLOUS * (1.0 - 0.45 * np.sin(np.pi * share) ** 2 * (at_middle > at_end))
        body_path = chord(depth, bone.half_depth) - marrow + spongy_path * marrow * (1.0 + spongy * weave)
        total[box] += body_path + _scars(frame, bone, box) * (depth > 0)
    return np.asarray(cv2.GaussianBlur(total, (0, 0), _PENUMBRA * frame.unit_px), dtype=np.float32)


def _scars(frame: Frame, bone: Bone, box: tuple[slice, slice]) -> FloatArray | float:
    """The thin dense lines where plates have closed, as extra path."""
    lines = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), np.float32)
    corner = np.array([box[1].start, box[0].start])
    for line, strength in bone.scars:
        if strength > 0:
            start, end = np.round(frame.to_px(line) - corner).astype(int)
            cv2.line(lines, start.tolist(), end.tolist(), 0.010 * strength, max(1, round(0.005 * frame.unit_px)))
    if not lines.any():
        return 0.0
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), max(0.6, 0.0025 * frame.unit_px)), dtype=np.float32)


def develop(tissue: FloatArray, bone: FloatArray, contrast: float, density: float) -> FloatArray:
    """Grey of a path through tissue and bone, before background and grain: near 0 outside, bone bright."""
    linear = contrast * (1.62 * tissue + density * 12.5 * bone)
    return np.asarray(0.98 * (1.0 - np.exp(-1.12 * linear)), dtype=np.float32)


def background(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Unexposed-looking radiograph: a low level, a slight gradient, broad mottle."""
    row, column = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None, :]
    slope = random.normal(0.0, 0.010, 2)
    level = random.uniform(0.050, 0.085) + slope[0] * row + slope[1] * column
    mottle = cv2.resize(random.normal(0, 0.004, (6, 5)), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(level + mottle, dtype=np.float32)


def expose(random: np.random.Generator, picture: FloatArray) -> FloatArray:
    """Blur of the focal spot, a scanner's sharpening, and quantum noise."""
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.75)
    sharp = blurred + 0.22 * (blurred - cv2.GaussianBlur(blurred, (0, 0), 0.012 * picture.shape[0]))
    noise = random.standard_normal(picture.shape, dtype=np.float32)
    noise = 0.55 * noise + 0.9 * cv2.GaussianBlur(random.standard_normal(picture.shape, dtype=np.float32), (0, 0), 1.1)
    return np.asarray(sharp + random.uniform(0.005, 0.009) * noise, dtype=np.float32)


def _turned(points: Sequence[tuple[float, float]], size_px: float, at: Points, angle: float) -> Points:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((np.array(points) - [0.33, 0.5]) @ turn.T * size_px + at)


def _free_corner(random: np.random.Generator, hand: BoolArray, half_px: float) -> Points | None:
    """Where a marker fits beside the hand, (column, row), or None."""
    height, width = hand.shape
    room = cv2.distanceTransform((~hand).astype(np.uint8), cv2.DIST_L2, 5)
    margin = 1.7 * half_px
    spots = [(0.13, 0.10), (0.12, 0.72), (0.88, 0.12), (0.86, 0.78), (0.13, 0.85), (0.87, 0.66)]
    order = random.permutation(len(spots))
    for number in order:
        column, row = spots[number][0] * width, spots[number][1] * height
        if room[int(row), int(column)] > margin and margin < column < width - margin and margin < row < height - margin:
            return np.array([column, row])
    return None


def add_marker(random: np.random.Generator, picture: FloatArray, hand: BoolArray, letter: str) -> None:
    """A lead letter, mostly on its plastic plate, beside the hand; drawn in place."""
    size_px = random.uniform(0.042, 0.058) * picture.shape[0]
    at = _free_corner(random, hand, size_px)
    angle, plate = float(random.normal(0.0, 0.20)), random.random() < 0.7
    if at is None:
        return
    if plate:
        edge = [(-0.25, -0.30), (0.92, -0.30), (0.92, 1.45), (-0.25, 1.45)]
        body = np.zeros(picture.shape, np.uint8)
        fill(body, [_turned(edge, size_px, at, angle)])
        picture += cv2.GaussianBlur(body, (0, 0), 1.0).astype(np.float32) / 255 * 0.055
    ink = np.zeros(picture.shape, np.uint8)
    fill(ink, [_turned(stroke, size_px, at, angle) for stroke in _LETTERS[letter]])
    amount = cv2.GaussianBlur(ink, (0, 0), 0.9).astype(np.float32) / 255
    picture += amount * (0.97 - picture)


def add_collimation(random: np.random.Generator, picture: FloatArray) -> None:
    """The shadow of the collimator: a darker frame around the field with a soft edge; drawn in place."""
    height, width = picture.shape
    left, right, top, bottom = random.uniform(0.010, 0.028, 4) * width
    field = np.zeros(picture.shape, np.float32)
    corners = [(left, top), (width - right, top), (width - right, height - bottom), (left, height - bottom)]
    fill(
        field,
        [
            _turned(
                [((x - width / 2) / width + 0.33, (y - height / 2) / width + 0.5) for x, y in corners],
                width,
                np.array([width / 2, height / 2]),
                float(random.normal(0.0, 0.006)),
            )
        ],
        1,
    )
    soft = cv2.GaussianBlur(field, (0, 0), 0.0035 * width)
    rim = cv2.GaussianBlur(field, (0, 0), 0.007 * width) * (1 - soft) * 4
    picture *= 0.35 + 0.65 * soft
    picture += 0.05 * rim
