"""Synthetic collimated radiographs: cut-out hands with known masks pasted into collimated fields.

A field has up to four straight edges, cut corners or a round rim; its surround is black, white, grey or nearly as the
field itself; edges are sharp or blurred, with or without a bright or dark line along them. Lead markers and step wedges
touch the hand, fingers of another person reach in from the side, and a second field lies beside the first. Fields
without a hand are made in the same way. Seen so in `rsna_385px` and among `unlabelled_infants`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from baa_core.phantom import draw_phantom

from .composites import Composite, Grey

LONGER_SIDE_PX = (460, 720)  # of a finished frame
USUAL_FILL, SMALL_FILL = (0.35, 0.95), (0.10, 0.40)  # length of a hand, of the frame's longer side
SMALL_SHARE = 0.25  # of the frames hold a small hand
RING_SHARE = 0.02  # width of the ring around a hand whose median grey is its background, of the longer side
FOREARM_FROM_SHARE = 0.75  # of the height of a picture in which the fingers point up
BORDER_PX = 3  # a mask that comes so near to the picture's end is cut there
LEAST_CONTRAST = 0.08  # of a pasted hand's brightest part above the field, before the exposure is drawn
MOST_OVERLAP_OF_OTHERS = 0.01  # of the hand's area
MOST_AREA_OF_OTHERS = 0.25  # of the hand's area: more would be a second hand
DIRECTIONS = np.array([(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0)])  # down, right, up, left as (x, y)
DOWN = 0


@dataclass(frozen=True, eq=False)
class CutOut:
    """A hand without its background, fingers up.

    Attributes:
        attenuation: uint8 (H, W), grey above the background; 0 outside the hand.
        mask: uint8 (H, W) in {0, 1}.
        up: (right, up) unit direction of the fingers.
        cut_below: the forearm ends at the lower end of the picture, so it must leave its field there.
    """

    attenuation: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    up: tuple[float, float]
    cut_below: bool


def cut_out(known: Composite) -> CutOut | None:
    """The hand of a picture with a known mask; None if fingers or thumb are cut, or the hand does not point up."""
    if known.mask is None or known.up[1] < 0.8:
        return None
    mask = known.mask
    whole = round(FOREARM_FROM_SHARE * mask.shape[0])  # below that, a forearm may leave the picture at its side
    if mask[:BORDER_PX].any() or mask[:whole, :BORDER_PX].any() or mask[:whole, -BORDER_PX:].any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    pixels = known.pixels.astype(np.float32)
    if not known.cut_out:
        radius = max(2, round(RING_SHARE * max(mask.shape)))
        wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
        near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        pixels -= float(np.median(pixels[(wide > 0) & (near == 0)]))
    pixels = np.clip(pixels, 0, None) * mask
    top = float(np.percentile(pixels[mask > 0], 99.5))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    attenuation = np.clip(pixels * (255 / max(top, 1.0)), 0, 255).astype(np.uint8)
    return CutOut(
        attenuation[box].copy(),
        mask[box].copy(),
        known.up,
        bool(rows[-1] >= mask.shape[0] - BORDER_PX) or known.cut_out,
    )


def draw_hands(seeds: range, height_px: int, marked_share: float = 0.5) -> list[Composite]:
    """Drawn hands with their true masks: half of them of infants up to three years, mirrored ones among them."""
    composites = []
    for seed in seeds:
        generator = np.random.default_rng((seed, 5))
        months = float(generator.uniform(0, 36) if generator.random() < 0.5 else generator.uniform(0, 240))
        sex = "female" if generator.random() < 0.5 else "male"
        marked = bool(generator.random() < marked_share)
        mirrored = bool(generator.random() < 0.5)
        drawn = draw_phantom(months, sex, seed=seed, height_px=height_px, markers=marked, mirrored=mirrored)  # type: ignore[arg-type]
        (y0, x0), (y1, x1) = drawn.landmarks["wrist"], drawn.landmarks["middle_finger1"]
        length = float(np.hypot(x1 - x0, y0 - y1))
        pixels = np.uint8(np.round(drawn.radiograph.pixels * 255))
        composites.append(
            Composite(pixels, drawn.mask.astype(np.uint8), ((x1 - x0) / length, (y0 - y1) / length), marked=marked)
        )
    return composites


@dataclass(frozen=True, eq=False)
class Frame:
    """A finished frame.

    Attributes:
        pixels: float32 (H, W) in [0, 1].
        mask: uint8 (H, W) in {0, 1}: the hand within the field.
        up: direction of the fingers.
        in_scatter: bool (H, W): the hand beyond the field, which scatter shows. Whether it belongs to the outline is a
            matter of taste, so that it counts neither as hand nor as background.
        kept_share: of the hand's area, what lies in field and frame.
    """

    pixels: Grey
    mask: NDArray[np.uint8]
    up: tuple[float, float]
    in_scatter: NDArray[np.bool_]
    kept_share: float


@dataclass(eq=False)
class _Scene:
    """A frame in the making: where the field is, what it holds."""

    height: int
    width: int
    field: Grey  # 1 inside the field, 0 outside, blurred edges
    lines: Grey  # bright and dark lines along the edges
    hand: Grey  # attenuation of the hand, 0 to 1
    soft: Grey  # the hand's mask with a soft edge
    whole: NDArray[np.bool_]  # the hand, whether the field is over it or not
    whole_px: float  # its area, with what lies beyond the frame
    mask: NDArray[np.uint8]  # the hand within the field


def collimated(
    hand: CutOut | None,
    generator: np.random.Generator,
    hands: list[CutOut],
    others: list[Composite],
    fill: tuple[float, float] | None = None,
    shadows: bool = True,
) -> Frame:
    """A frame with a collimated field.

    Args:
        hand: what lies in the field; None: no hand.
        generator: where the draws come from.
        hands: other people's hands, of which fingers may reach in from the side.
        others: pictures of other body parts, which may lie in a field without a hand.
        fill: least and greatest length of the hand, in shares of the frame's longer side; by default 0.10 to 0.95.
        shadows: in some frames a band across the hand is darker or brighter.
    """
    scene, up = _laid_out(hand, generator, fill)
    shape = (scene.height, scene.width)
    level = float(generator.choice([generator.uniform(0, 0.12), generator.uniform(0.05, 0.6)]))
    ground = level + _slope(generator, shape, 0.10)
    room = 1.0 - np.clip(ground, 0, 0.95)
    strength = float(np.exp(generator.uniform(np.log(LEAST_CONTRAST), 0.0))) if generator.random() < 0.35 else float(
        generator.uniform(0.4, 1.0)
    )  # fmt: skip
    lift = float(generator.uniform(0.0, 0.3))
    tissue = strength * ((1 - lift) * scene.hand + lift * scene.soft)
    picture = ground + room * tissue
    if hand is None and generator.random() < 0.5 and others:
        picture = _body_part(picture, others, generator)
    if hands and generator.random() < (0.15 if hand is not None else 0.12):
        reach = _reaching_in(hands, generator, scene)
        if reach is not None:
            picture = picture + room * strength * reach * float(generator.uniform(0.6, 1.2))
    picture = _objects(picture, scene, generator, hand is not None)
    if shadows and generator.random() < 0.10:
        picture = _shadow_band(picture, generator)
    picture, scatters = _in_surround(picture, scene, level, room * tissue, generator)
    grain = cv2.resize(
        generator.standard_normal((scene.height // 2, scene.width // 2), np.float32), shape[::-1]
    ) if generator.random() < 0.5 else generator.standard_normal(shape, np.float32)  # fmt: skip
    picture = picture + float(generator.uniform(0.0, 0.025)) * strength * grain
    if generator.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), float(generator.uniform(0.5, 1.5)))
    beyond = scene.whole & (scene.mask == 0) if scatters else np.zeros(shape, bool)
    kept = float(scene.mask.sum()) / scene.whole_px if hand is not None else 0.0
    return Frame(np.clip(picture, 0, 1).astype(np.float32), scene.mask, up, beyond, kept)


def _laid_out(
    hand: CutOut | None, generator: np.random.Generator, limits: tuple[float, float] | None
) -> tuple[_Scene, tuple[float, float]]:
    """Hand, field and frame at random; all lengths follow from the hand's."""
    longer_px = float(generator.uniform(*LONGER_SIDE_PX))
    if limits is None:
        limits = SMALL_FILL if generator.random() < SMALL_SHARE else USUAL_FILL
    length = float(generator.uniform(*limits)) * longer_px
    turn = np.deg2rad(
        generator.normal(0, 8) if generator.random() < 0.75 else generator.uniform(-60, 60)
    )  # of the hand in the field
    rotated = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    flip = -1.0 if generator.random() < 0.5 else 1.0
    if hand is None:
        angle = np.linspace(0, 2 * np.pi, 60)
        outline = np.column_stack([0.35 * np.cos(angle), 0.5 * np.sin(angle)]) * length
        ends, matrix, up = np.zeros((0, 2)), np.eye(2), (0.0, 0.0)
    else:
        scale = length / max(hand.mask.shape)
        matrix = rotated @ np.diag([flip * generator.uniform(0.94, 1.06), 1.0]) * scale
        contours, _ = cv2.findContours(hand.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contour = max(contours, key=len)[:, 0, :].astype(float)
        centre = np.array(hand.mask.shape[::-1]) / 2
        outline = (contour - centre) @ matrix.T
        ends = outline[contour[:, 1] >= hand.mask.shape[0] - 2] if hand.cut_below else np.zeros((0, 2))
        moved = matrix @ np.array([hand.up[0], -hand.up[1]])
        size = float(np.hypot(*moved))
        up = (float(moved[0] / size), float(-moved[1] / size))
    tilt = np.deg2rad(generator.normal(0, 5) if generator.random() < 0.7 else generator.uniform(-20, 20))
    kind = generator.random()
    tilt = 0.0 if kind < 0.35 else tilt
    turned = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    sides = generator.random(4) < generator.choice([0.0, 0.6, 1.0], p=[0.15, 0.35, 0.5])
    # The edge across a forearm that was cut: above all that is cut. The others: beyond the hand.
    cut_px = float(generator.uniform(0, 0.18)) * length if generator.random() < 0.6 else 1.0

    wrist = np.array([-up[0], up[1]])  # where the forearm leaves, as (x, y)

    def reach(normal: NDArray[np.float64]) -> float:
        towards = outline @ normal
        if len(ends) and float(normal @ wrist) > 0.7:
            return float((ends @ normal).min()) - cut_px
        close = generator.uniform(-0.005, 0.02) if generator.random() < 0.3 else generator.uniform(0.02, 0.45)
        if len(ends) and float(normal @ wrist) > 0.3:
            return min(float(towards.max()) + float(close) * length, float((ends @ normal).min()) + 0.3 * length)
        return float(towards.max()) + float(close) * length

    normals = [turned @ d for d in DIRECTIONS]
    edges = [(n, reach(n)) for n, side in zip(normals, sides, strict=True) if side]
    if generator.random() < 0.10 and sides.all():
        for corner in (45, 135, 225, 315):
            normal = turned @ np.array([np.cos(np.deg2rad(corner)), np.sin(np.deg2rad(corner))])
            if generator.random() < 0.8 and not (len(ends) and float(normal @ wrist) > 0.3):
                edges.append((normal, reach(normal)))
    left, right, top, bottom = _frame_limits(outline, len(ends) > 0, edges, sides, length, longer_px, generator, reach)
    width, height = max(64, round(right - left)), max(64, round(bottom - top))
    columns = np.arange(width, dtype=np.float32)[None, :] + np.float32(left)
    rows = np.arange(height, dtype=np.float32)[:, None] + np.float32(top)
    field, lines = _field(edges, rows, columns, length, generator)
    if generator.random() < 0.06 and hand is not None:
        kept = outline[outline[:, 1] < np.percentile(outline[:, 1], 85)] if len(ends) else outline
        middle = (kept.max(0) + kept.min(0)) / 2
        radius = float(np.hypot(*(kept - middle).T).max()) * float(generator.uniform(1.0, 1.3))
        if not len(ends) or middle[1] + radius < ends[:, 1].min():
            distance = radius - np.hypot(rows - middle[1], columns - middle[0])
            field = field * _step(distance, float(np.exp(generator.uniform(-0.7, 2.0))))
    shift = np.array([left, top])
    grey, soft, whole = _hand_layers(hand, matrix, shift, (height, width), up, generator)
    whole_px = float(hand.mask.sum()) * abs(float(np.linalg.det(matrix))) if hand is not None else 0.0
    within = whole & (field > 0.5).astype(np.uint8)
    return _Scene(height, width, field, lines, grey, soft, whole > 0, whole_px, within), up


def _frame_limits(
    outline: NDArray[np.float64],
    cut: bool,
    edges: list[tuple[NDArray[np.float64], float]],
    sides: NDArray[np.bool_],
    length: float,
    longer_px: float,
    generator: np.random.Generator,
    reach: Callable[[NDArray[np.float64]], float],
) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) of the frame: beyond the field where it has an edge, beyond the hand elsewhere."""
    corners = _corners(edges, outline)
    wanted = []
    for k, axis in enumerate(DIRECTIONS):
        free = reach(axis)
        if sides[k]:
            extent = max(float((corners @ axis).max()), float((outline @ axis).max()) if not cut else free)
            wanted.append(extent + float(generator.exponential(0.05)) * length)
        else:
            wanted.append(free)
    down, right, up, left = wanted
    for wide in (True, False):
        size = right + left if wide else down + up
        spare = longer_px * float(generator.uniform(0.75, 1.0)) - size
        if spare <= 0:
            continue
        share = float(generator.uniform(0.2, 0.8))
        if wide:
            right, left = right + spare * share, left + spare * (1 - share)
        elif cut and not sides[DOWN]:
            up += spare  # the frame itself cuts the forearm
        else:
            down, up = down + spare * share, up + spare * (1 - share)
    return -left, right, -up, down


def _corners(edges: list[tuple[NDArray[np.float64], float]], outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where neighbouring edges meet; the hand's own extent if there are none."""
    points = []
    for i, (first, a) in enumerate(edges):
        for second, b in edges[i + 1 :]:
            if abs(float(first @ second)) < 0.8:
                points.append(np.linalg.solve(np.array([first, second]), np.array([a, b])))
    return np.array(points) if points else np.array([n * d for n, d in edges]) if edges else outline


def _step(distance: Grey, blur_px: float) -> Grey:
    """0 outside, 1 inside, across an edge of this blur."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(distance * (1.7 / blur_px), -30, 30))), np.float32)


def _field(
    edges: list[tuple[NDArray[np.float64], float]], rows: Grey, columns: Grey, length: float,
    generator: np.random.Generator,
) -> tuple[Grey, Grey]:  # fmt: skip
    """The field, 0 to 1, and the lines along its edges."""
    shape = (rows.shape[0], columns.shape[1])
    if not edges:
        return np.ones(shape, np.float32), np.zeros(shape, np.float32)
    blur = float(np.exp(generator.uniform(-1.0, 2.2)))
    lined, gain = generator.random() < 0.5, float(generator.uniform(-0.25, 0.5))
    inside, gains = np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
    for normal, offset in edges:
        distance = np.float32(offset) - (columns * np.float32(normal[0]) + rows * np.float32(normal[1]))
        own = np.float32(gain * generator.uniform(0.6, 1.3) if lined and generator.random() < 0.75 else 0.0)
        np.copyto(gains, own, where=distance < inside)
        np.minimum(inside, distance, out=inside)
    lines = np.zeros(shape, np.float32)
    if lined:
        width = max(1.0, blur * float(generator.uniform(0.8, 3.0)))
        lines = gains * np.exp(-0.5 * ((inside + width * float(generator.uniform(-1, 1))) / width) ** 2)
    return _step(inside, blur), np.asarray(lines, np.float32)


def _hand_layers(
    hand: CutOut | None, matrix: NDArray[np.float64], shift: NDArray[np.float64], shape: tuple[int, int],
    up: tuple[float, float], generator: np.random.Generator,
) -> tuple[Grey, Grey, NDArray[np.uint8]]:  # fmt: skip
    """The hand in the frame: its attenuation, its mask with a soft edge, its mask."""
    if hand is None:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    centre = np.array(hand.mask.shape[::-1]) / 2
    affine = np.column_stack([matrix, -matrix @ centre - shift])
    zoom = float(np.sqrt(abs(np.linalg.det(matrix))))
    grey, solid = hand.attenuation.astype(np.float32) / 255, hand.mask.astype(np.float32)
    if zoom < 0.77:  # keep detail from aliasing
        grey, solid = (cv2.GaussianBlur(v, (0, 0), 0.45 / zoom) for v in (grey, solid))
    size = shape[::-1]
    grey = cv2.warpAffine(grey, affine, size, flags=cv2.INTER_LINEAR)
    solid = cv2.warpAffine(solid, affine, size, flags=cv2.INTER_LINEAR)
    mask = (solid > 0.5).astype(np.uint8)
    soft = cv2.GaussianBlur(solid, (0, 0), float(generator.uniform(0.4, 1.2)))
    if generator.random() < 0.4:  # the forearm is thicker than the fingers: brighter, up to white
        rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        along = -(columns * np.float32(up[0]) - rows * np.float32(up[1]))
        inside = along[mask > 0]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)
        along = np.clip((along - low) / max(high - low, 1.0), 0, 1)
        grey = grey * (1 + float(generator.uniform(-0.3, 1.5)) * along)
        grey = np.minimum(grey + float(generator.uniform(0, 0.5)) * along**2 * soft, 1.0 + 0.1 * grey)
    return grey, soft, mask


def _slope(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Grey:
    """A gradient across the frame, straight or round."""
    rows = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :]
    a, b, c = (np.float32(v) for v in generator.normal(0, size, 3))
    return np.asarray(a * rows + b * columns + c * (rows**2 + columns**2), np.float32)


def _body_part(picture: Grey, others: list[Composite], generator: np.random.Generator) -> Grey:
    """Another body part in the middle of the field."""
    height, width = picture.shape
    part = others[generator.integers(len(others))].pixels.astype(np.float32) / 255
    side = int(generator.uniform(0.3, 0.9) * min(height, width))
    top, left = int(generator.integers(0, height - side + 1)), int(generator.integers(0, width - side + 1))
    large = np.clip(cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    picture = picture.copy()
    region = np.s_[top : top + side, left : left + side]
    room = 1 - np.clip(picture[region], 0, 1)
    picture[region] = picture[region] + float(generator.uniform(0.3, 1.0)) * large * room
    return picture


def _reaching_in(hands: list[CutOut], generator: np.random.Generator, scene: _Scene) -> Grey | None:
    """Fingers of another person at the side of the frame; None if they would cover the hand."""
    other = hands[generator.integers(len(hands))]
    shape = (scene.height, scene.width)
    length = max(shape) * float(generator.uniform(0.4, 0.9))
    turn = float(generator.uniform(0, 2 * np.pi))
    scale = length / max(other.mask.shape)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array(other.mask.shape[::-1]) / 2
    tip = np.array([other.mask.shape[1] / 2, 0.0])
    direction = matrix @ (tip - centre)
    direction /= max(float(np.hypot(*direction)), 1e-6)
    middle = np.array([scene.width, scene.height]) / 2
    # Where a ray from the middle, against the fingers' direction, leaves the frame.
    leave = float(np.min(np.abs(middle) / np.maximum(np.abs(direction), 1e-6)))
    depth = float(generator.uniform(0.05, 0.35)) * length
    sideways = np.array([-direction[1], direction[0]]) * float(generator.uniform(-0.35, 0.35)) * min(shape)
    tip_at = middle - direction * (leave - depth) + sideways
    affine = np.column_stack([matrix, tip_at - matrix @ tip])
    grey = cv2.warpAffine(other.attenuation, affine, shape[::-1], flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    there = cv2.warpAffine(other.mask, affine, shape[::-1], flags=cv2.INTER_NEAREST)
    area = int(scene.mask.sum())
    limit = area if area else 0.2 * there.size
    near = cv2.dilate(there, np.ones((9, 9), np.uint8))
    if (near & scene.mask).sum() > MOST_OVERLAP_OF_OTHERS * limit or there.sum() > MOST_AREA_OF_OTHERS * limit:
        return None
    return np.asarray(grey + 0.15 * there, np.float32)


def _objects(picture: Grey, scene: _Scene, generator: np.random.Generator, has_hand: bool) -> Grey:
    """Lead markers, plates, balls and step wedges; often right beside a finger."""
    picture = picture.copy()
    contours, _ = cv2.findContours(scene.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)[:, 0, :] if contours else np.zeros((0, 2), int)
    for _ in range(int(generator.choice([0, 1, 2, 3], p=[0.25, 0.45, 0.2, 0.1]))):
        stamp, opacity = _wedge(generator) if generator.random() < 0.2 else _marker(generator)
        size = float(np.exp(generator.uniform(np.log(0.04), np.log(0.22)))) * max(scene.height, scene.width)
        scale = size / max(stamp.shape)
        if has_hand and len(outline) and generator.random() < 0.5:
            at = outline[generator.integers(len(outline))].astype(float)
            middle = outline.mean(axis=0)
            away = (at - middle) / max(float(np.hypot(*(at - middle))), 1.0)
            at = at + away * size * float(generator.uniform(0.3, 0.7))
        else:
            at = generator.uniform(0, 1, 2) * (scene.width, scene.height)
        turn = float(generator.choice([0, np.pi / 2, -np.pi / 2, np.pi])) + float(generator.normal(0, 0.3))
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
        if generator.random() < 0.3:
            turned = turned @ np.diag([-1.0, 1.0])
        affine = np.column_stack([turned, at - turned @ (np.array(stamp.shape[::-1]) / 2)])
        if scale < 0.7:
            stamp, opacity = (cv2.GaussianBlur(v, (0, 0), 0.45 / scale) for v in (stamp, opacity))
        value, cover = (
            cv2.warpAffine(v, affine, (scene.width, scene.height), flags=cv2.INTER_LINEAR) for v in (stamp, opacity)
        )
        # A marker may touch or overlap a fingertip by a little, never hide a hand.
        if (cover[scene.mask > 0] > 0.2).sum() > 0.02 * max(1, int(scene.mask.sum())):
            continue
        picture = picture * (1 - cover) + value
    return picture


def _marker(generator: np.random.Generator) -> tuple[Grey, Grey]:
    """A lead letter, with initials below, on a plate or without: brightness times opacity, and opacity."""
    tall, wide = 100, int(generator.choice([60, 80, 110]))
    value, cover = np.zeros((tall, wide), np.float32), np.zeros((tall, wide), np.float32)
    white = float(generator.uniform(0.75, 1.0))
    if generator.random() < 0.6:
        plate = float(generator.uniform(0.1, 0.7))
        cover[:] = plate
        value[:] = plate * float(generator.uniform(0.2, 0.9))
    if generator.random() < 0.12:
        cv2.circle(cover, (wide // 2, tall // 2), min(wide, tall) // 3, 1.0, -1)
    else:
        letters = "".join(generator.choice(list("LRABDEGJKMNPRSTVO0123"), int(generator.integers(1, 4))))
        font, bold = int(generator.choice([0, 2, 3, 4])), int(generator.integers(3, 9))
        cv2.putText(cover, str(generator.choice(["L", "R"])), (wide // 6, 58), font, 2.0, 1.0, bold)
        if generator.random() < 0.7:
            cv2.putText(cover, letters, (4, 94), font, wide / 80, 1.0, max(2, bold // 2))
    value = np.where(cover > 0.75, white, value).astype(np.float32)
    return value * 1.0, cover


def _wedge(generator: np.random.Generator) -> tuple[Grey, Grey]:
    """A step wedge, or a strip that grows brighter without steps."""
    long, wide = 120, int(generator.uniform(15, 45))
    low, high = float(generator.uniform(0, 0.4)), float(generator.uniform(0.5, 1.0))
    count = int(generator.integers(4, 16))
    steps = np.linspace(0, 1, long)
    if generator.random() < 0.7:
        steps = np.floor(steps * (count - 1e-3)) / (count - 1)
    value = np.repeat((low + (high - low) * steps)[:, None], wide, axis=1).astype(np.float32)
    return value, np.ones_like(value)


def _shadow_band(picture: Grey, generator: np.random.Generator) -> Grey:
    """A band or half of the frame that is darker or brighter; the hand goes on in it."""
    height, width = picture.shape
    angle = float(generator.normal(np.pi / 2, 0.25) if generator.random() < 0.6 else generator.uniform(0, np.pi))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    along = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle)
    start = float(generator.uniform(-0.3, 0.45)) * height
    band = _step(along.astype(np.float32) - start, float(generator.uniform(0.5, 6)))
    if generator.random() < 0.5:
        band = band * _step(start + float(generator.uniform(0.05, 0.4)) * height - along.astype(np.float32), 3.0)
    factor = float(generator.uniform(0.45, 0.85)) if generator.random() < 0.7 else float(generator.uniform(1.1, 1.5))
    return np.asarray(picture * (1 - band) + picture * factor * band, np.float32)


def _in_surround(
    picture: Grey, scene: _Scene, level: float, tissue: Grey, generator: np.random.Generator
) -> tuple[Grey, bool]:
    """The field in its surround, with the lines along its edges, perhaps a second field; does scatter show the hand?"""
    shape = picture.shape
    beyond = float(
        generator.choice(
            [0.0, 1.0, generator.uniform(0, 0.3), generator.uniform(0.3, 0.7), generator.uniform(0.7, 1.0),
             np.clip(level + generator.uniform(-0.12, 0.12), 0, 1)],
            p=[0.2, 0.12, 0.18, 0.18, 0.12, 0.2],
        )
    )  # fmt: skip
    surround = np.full(shape, beyond, np.float32)
    if 0.0 < beyond < 1.0:
        surround = surround + _slope(generator, shape, 0.05)
    scatters = bool(generator.random() < 0.25)  # scatter shows a little of what lies beyond the field
    if scatters:
        surround = surround + tissue * float(generator.uniform(0.02, 0.12))
    if generator.random() < 0.08:
        top, left = (int(generator.integers(0, s // 2)) for s in shape)
        high, wide = (int(generator.uniform(0.15, 0.5) * s) for s in shape)
        box = np.s_[top : top + high, left : left + wide]
        surround[box] = float(generator.uniform(0, 0.7))
    mixed = picture * scene.field + surround * (1 - scene.field) + scene.lines
    if generator.random() < 0.3:  # a bright or dark rim at the frame's end
        mixed = _rim(mixed, generator)
    return np.asarray(mixed, np.float32), scatters


def _rim(picture: Grey, generator: np.random.Generator) -> Grey:
    """One to four sides of the frame end in a bright or dark strip, sharp or fading."""
    height, width = picture.shape
    value = float(generator.choice([1.0, generator.uniform(0.5, 1.0), 0.0], p=[0.4, 0.4, 0.2]))
    blur = float(generator.uniform(0.3, 4))
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    distances = [height - 1 - rows, width - 1 - columns, rows, columns]
    for k in range(4):
        if generator.random() < 0.4:
            thick = float(generator.uniform(0.0, 0.012)) * max(height, width)
            strip = _step(np.float32(thick) - distances[k], blur)
            picture = picture * (1 - strip) + value * strip
    return picture
