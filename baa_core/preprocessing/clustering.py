"""Radiograph -> hand without a trained network: Li 2021's clustering, fitted to each single picture.

Li et al. (2021, PMC8056376) find the hand by differentiable feature clustering (Kim et al., IEEE TIP 2020): a small
network gives every pixel a response, its largest channel is the pixel's label, and the network learns, on this one
picture, to agree with its own labels while neighbours respond alike. Nothing is learned beforehand, nothing is kept.

`PAPER` holds the published values, `OURS` what is served: about half the channels and iterations, all but the last of
them at half the size, for speed; more iterations also wear fingertips away. The paper does not say how large the
picture was, how the losses were scaled (means here, as in Kim's code), nor how background is told from hand. Ours, not
the paper's: `_background` and `_region`, one look at the greys and one at their square root, and one more into the
exposed field if both fail. On 50 sharp `val` radiographs, on which the shares below were chosen too, 45 boxes overlap
the hand network's by 0.8 or more, median 0.95 (`python -m train clustering`). What fails: fingertips, exposed fields.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import HandNotFound
from ..types import BoolArray, FloatArray, freeze
from .picture import Box, box_of

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClusteringPlan:
    """How the clustering network is built and fitted.

    Attributes:
        channels: of every layer, p = q: the most labels there can be.
        iterations: steps of gradient descent.
        similarity_weight: of the cross-entropy to the pixel's own label, lambda.
        continuity_weight: of the differences between neighbours' responses, mu.
        learning_rate, momentum: of the descent.
        longest_side_px: the picture is reduced to this before it is clustered.
        fewest_labels: fitting stops when no more are left; 0 never stops early.
        halved_iterations: how many of the first steps see the picture at half its size, in a quarter of the time.
    """

    channels: int = 90
    iterations: int = 50
    similarity_weight: float = 4.0
    continuity_weight: float = 1.0
    learning_rate: float = 0.1
    momentum: float = 0.9
    longest_side_px: int = 256
    fewest_labels: int = 0
    halved_iterations: int = 0


PAPER: Final = ClusteringPlan()  # its side of 256 px is an assumption of ours


OURS: Final = replace(PAPER, channels=48, iterations=25, fewest_labels=3, halved_iterations=24)


SEED: Final = 0


LEAST_RANGE: Final = 1e-3  # of grey; in less, rounding alone would make the labels


def cluster_pixels(greys: list[FloatArray], plan: ClusteringPlan) -> list[Labels]:
    """The labels (h, w) of Algorithm 1 for each picture, numbered from 0 without gaps; the pictures side by side.

    Each has a thread of its own and computes on one core: the same labels on any number of cores, and two threads that
    share one small picture wait for each other. `torch.set_num_threads` would be for the whole process and every
    thread begun later; OpenMP's own limit is for the thread that sets it.
    """
    with ThreadPoolExecutor(len(greys)) as pool:
        return list(pool.map(partial(_fit_one, plan=plan), greys))


def _fit_one(grey: FloatArray, plan: ClusteringPlan) -> Labels:
    """The labels of one picture, computed on one core."""
    if float(np.ptp(grey)) < LEAST_RANGE:
        return np.zeros(grey.shape, np.int64)
    torch.get_num_threads()  # now, because the first use in a thread sets the limit anew
    with threadpool_limits(1, "openmp"):
        labels = _descend(grey, plan)
    return np.asarray(np.unique(labels.numpy(), return_inverse=True)[1].reshape(grey.shape), np.int64)


def _descend(grey: FloatArray, plan: ClusteringPlan) -> torch.Tensor:
    parameters = _initial(plan.channels, torch.Generator().manual_seed(SEED))
    descent = torch.optim.SGD(parameters, lr=plan.learning_rate, momentum=plan.momentum)
    labels = torch.zeros(1, *grey.shape, dtype=torch.int64)
    halved, rest = plan.halved_iterations, plan.iterations - plan.halved_iterations
    # What was learnt at half the size is asked at every pixel: means of 2 x 2, and neighbours two pixels away.
    rounds = [(_halved(grey), 1, halved), (_blurred(grey), 2, rest)] if halved else [(grey, 1, rest)]
    for picture, spacing, steps in rounds:
        image = _bordered(picture, 2 * spacing)
        for step in range(1, steps + 1):
            response = _respond(image, parameters, spacing)
            labels = response.argmax(1)
            final = step == steps and picture is rounds[-1][0]  # nobody would see what is learnt from it
            if final or len(labels.unique()) <= plan.fewest_labels:
                break
            down, across = response.diff(dim=2).abs().mean(), response.diff(dim=3).abs().mean()
            similarity = F.cross_entropy(response, labels)
            loss = plan.similarity_weight * similarity + plan.continuity_weight * (down + across)
            descent.zero_grad()
            loss.backward()
            descent.step()
    return labels


def _halved(grey: FloatArray) -> FloatArray:
    size = tuple(max(8, side // 2) for side in grey.shape[::-1])
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _blurred(grey: FloatArray) -> FloatArray:
    return np.asarray(cv2.blur(grey, (2, 2)), np.float32)


def _bordered(grey: FloatArray, around: int) -> torch.Tensor:
    """(1, 1, h, w) and as many pixels around as two layers see: repeated edges, where zeros would draw a border."""
    wide = np.asarray(cv2.copyMakeBorder(grey, *4 * (around,), cv2.BORDER_REPLICATE), np.float32)
    return torch.from_numpy(wide)[None, None].contiguous(memory_format=torch.channels_last)


def _initial(channels: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Weight, bias, and batch norm's scale and shift, of two 3x3 layers and a 1x1 layer, as torch would draw them."""
    parameters = []
    for into, side in ((1, 3), (channels, 3), (channels, 1)):
        reach = float(into * side * side) ** -0.5
        weight = torch.empty(channels, into, side, side).uniform_(-reach, reach, generator=generator)
        bias = torch.empty(channels).uniform_(-reach, reach, generator=generator)
        weight = weight.contiguous(memory_format=torch.channels_last)
        parameters += [weight, bias, torch.ones(channels), torch.zeros(channels)]
    return [parameter.requires_grad_() for parameter in parameters]


def _respond(image: torch.Tensor, parameters: list[torch.Tensor], spacing: int) -> torch.Tensor:
    """(1, channels, h, w): how much each pixel belongs to each label; neighbours are so many pixels away."""
    features = image
    for layer in range(3):
        weight, bias, scale, shift = parameters[4 * layer : 4 * layer + 4]
        features = F.conv2d(features, weight, bias, dilation=spacing)
        features = F.relu(features) if layer < 2 else features
        features = F.batch_norm(features, None, None, scale, shift, training=True)
    return features


# Of the greys, one look each. The square root shows fingertips little brighter than a dark radiograph; on a bright
# radiograph, or where the exposed field is brighter than what surrounds it, plain greys tell more.
POWERS: Final = (1.0, 0.5)
BAND_SHARE: Final = 0.04  # width of the frame's border band, of the longer side
OTHER_SIDES_SHARE: Final = 0.10  # of three sides' bands; a forearm enters by the fourth
BESIDE_FOREARM_SHARE: Final = 0.03  # of the frame
BORDER_DENSITY: Final = 3.0  # times as dense in the border band as in the picture: a white strip, an edge
OPENING_SHARE: Final = 0.008  # radius of what is cut off, of the longer side: lines and letters that touch the hand
EDGE_SHARE: Final = 0.016  # of the longer side, as far as the layers see: skin left out for the label of edges
FRAME_FILL: Final = 0.85  # of its box: a hand fills about 0.6, an exposed field or a radiograph nearly all
MOST_FRAMES: Final = 3  # a radiograph in a white border, in it a field, in it a hand
STRIP_WHITE: Final = 0.9  # of the brightest grey
STRIP_FILL: Final = 0.95  # of a row or column: what is white in it
WIDEST_STRIP_SHARE: Final = 0.15  # of the picture's height or width, both ends together
SMALLEST_AREA_SHARE: Final = 0.015
SMALLEST_FIELD_SHARE: Final = 0.10


@dataclass(frozen=True, eq=False)
class ClusteredHand:
    """What clustering finds.

    Attributes:
        labels: int (h, w), the label of every pixel at working size, white strips along the frame cut off; 0 to
            n_labels - 1.
        region: bool (H, W) on the input's grid, True on the largest region that is not background.
        box: (top, left, bottom, right) of the region; bottom and right are just outside it.
        n_labels: how many labels are left.
    """

    labels: Labels
    region: BoolArray
    box: Box
    n_labels: int

    def __post_init__(self) -> None:
        freeze(self.labels)
        freeze(self.region)


def cluster_hand(pixels: FloatArray, plan: ClusteringPlan = OURS) -> ClusteredHand:
    """Find the hand of one picture by clustering its pixels.

    The same pixels give the same region; torch's own random numbers are not touched.

    Args:
        pixels: (H, W), float32 in [0, 1], bone bright.
        plan: `OURS`, or `PAPER` for those with the time.

    Raises:
        HandNotFound: the whole picture became one cluster, or nothing but background was left.
    """
    inside = _within_strips(pixels)
    framed = pixels[inside]
    height, width = framed.shape
    grey = _reduced(framed, plan.longest_side_px / max(height, width))
    labels, small = _clearest(grey, plan)
    n_labels = int(labels.max()) + 1
    if small is None and n_labels > 1:
        small = _look_again(framed, _field(labels, grey), plan)
    if small is None:
        found = "only background" if n_labels > 1 else "no parts that could be told apart"
        raise HandNotFound(
            f"Clustering found {found} in the picture ({height} x {width} px). A radiograph of one whole hand and "
            "wrist is expected: check that it is the right file and crop away wide borders."
        )
    region = np.zeros(pixels.shape, np.bool_)
    wide = cv2.dilate(small.astype(np.float32), _disc(EDGE_SHARE, small.shape))
    region[inside] = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    return ClusteredHand(labels, region, box_of(region), n_labels)


def _within_strips(pixels: FloatArray) -> tuple[slice, slice]:
    """Rows and columns without the white strips along the frame: a hand that touches one would be one region with it.

    Nothing is cut where more than `WIDEST_STRIP_SHARE` would go: then white is not a strip but the radiograph's ground.
    """
    kept = []
    for along in (1, 0):
        white = (pixels >= STRIP_WHITE).mean(axis=along) >= STRIP_FILL
        first, last = int(np.argmin(white)), len(white) - int(np.argmin(white[::-1]))
        cut = len(white) - (last - first)
        kept.append(slice(first, last) if 0 < cut <= WIDEST_STRIP_SHARE * len(white) else slice(None))
    return kept[0], kept[1]


def _clearest(grey: FloatArray, plan: ClusteringPlan) -> tuple[Labels, BoolArray | None]:
    """Labels and region of the look that shows more of the hand; the first look's labels if none shows any.

    What reaches the frame on several sides is more than a hand, and comes last.
    """
    looks = [(labels, _region(labels, grey)) for labels in cluster_pixels([grey**power for power in POWERS], plan)]
    hands = [(labels, region) for labels, region in looks if region is not None and not _rectangular(region)]
    whole = [look for look in hands if _beside_forearm(look[1]) <= BESIDE_FOREARM_SHARE] or hands
    return max(whole, key=lambda look: int(look[1].sum())) if whole else (looks[0][0], None)


def _beside_forearm(region: BoolArray) -> float:
    """How much of the frame it touches, but for the side it touches most, where a forearm enters."""
    sides = (region[0], region[-1], region[:, 0], region[:, -1])
    touched = [int(side.sum()) for side in sides]
    return (sum(touched) - max(touched)) / sum(side.size for side in sides)


def _rectangular(region: BoolArray) -> bool:
    """Does it fill the smallest turned box around it, as an exposed field does?"""
    _, (across, down), _ = cv2.minAreaRect(np.argwhere(region)[:, ::-1].astype(np.float32))
    return bool(region.sum() >= FRAME_FILL * (across + 1.0) * (down + 1.0))


def _reduced(pixels: FloatArray, scale: float) -> FloatArray:
    """The picture made smaller by averaging; never larger. Even sides, so that halving loses no row."""
    size = tuple(max(2, 2 * round(side * min(1.0, scale) / 2)) for side in pixels.shape[::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


def _look_again(pixels: FloatArray, field: BoolArray, plan: ClusteringPlan) -> BoolArray | None:
    """Cluster only the exposed field, turned upright, its greys spread evenly; for hands too faint at first.

    A bright marker and a black surround leave a hand so little of the range that it is one cluster with its field.
    The region comes on the grid of the picture reduced until the field has the working size.
    """
    centre, sides, angle = cv2.minAreaRect(np.argwhere(field)[:, ::-1].astype(np.float32))
    if angle > 45.0:
        sides, angle = sides[::-1], angle - 90.0
    across, down = (max(side + 1.0, 8.0) for side in sides)
    grey = _reduced(pixels, plan.longest_side_px / max(across, down) * max(field.shape) / max(pixels.shape))
    scale = max(grey.shape) / max(field.shape)
    middle = (scale * (centre[0] + 0.5) - 0.5, scale * (centre[1] + 0.5) - 0.5)
    size = (max(8, round(scale * across)), max(8, round(scale * down)))
    turn = np.asarray(cv2.getRotationMatrix2D(middle, angle, 1.0), np.float64)
    turn[:, 2] += (size[0] - 1) / 2 - middle[0], (size[1] - 1) / 2 - middle[1]
    view = np.asarray(cv2.warpAffine(grey, turn, size, borderMode=cv2.BORDER_REPLICATE), np.float32)
    even = np.searchsorted(np.sort(view, axis=None), view, side="right") / view.size
    found = _region(cluster_pixels([even.astype(np.float32)], plan)[0], view)
    if found is None:
        return None
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(found.astype(np.uint8), turn, grey.shape[::-1], flags=flags), np.bool_)


def _field(labels: Labels, grey: FloatArray) -> BoolArray:
    """What the darkest label surrounds, if that is about a rectangle; else the whole picture. bool (h, w)."""
    area = np.bincount(labels.ravel())
    darkest = int(np.argmin(np.bincount(labels.ravel(), weights=grey.ravel()) / area))
    field = _largest(labels != darkest)
    exposed = field.sum() >= SMALLEST_FIELD_SHARE * field.size and _rectangular(field)
    return field if exposed else np.ones(labels.shape, np.bool_)


def _region(labels: Labels, grey: FloatArray) -> BoolArray | None:
    """The largest region that is not background, bool (h, w); None if there is none.

    A region that fills its box is no hand but what holds it, such as a radiograph within a white border. Then what lies
    inside is looked at in the same way.
    """
    top, left, bottom, right = 0, 0, *labels.shape
    for _ in range(MOST_FRAMES):
        inside = np.s_[top:bottom, left:right]
        found = _largest(~_background(labels[inside], grey[inside]))
        if found.sum() < max(1.0, SMALLEST_AREA_SHARE * labels.size):
            return None
        region = np.zeros(labels.shape, np.bool_)
        region[inside] = found
        above, before, below, after = box_of(region)
        if region.sum() < FRAME_FILL * (below - above) * (after - before):
            return region
        top, left, bottom, right = above, before, below, after
    return None


def _parts(labels: Labels) -> tuple[Labels, Labels]:
    """Every connected part of every label with a number of its own, (h, w); and for each pixel its label's largest."""
    parts, largest, count = np.zeros(labels.shape, np.int64), np.zeros(labels.shape, np.int64), 0
    for label in np.unique(labels):
        found, own = cv2.connectedComponents((labels == label).astype(np.uint8))
        parts[own > 0] = own[own > 0] - 1 + count
        largest[own > 0] = int(np.argmax(np.bincount(own[own > 0] - 1))) + count
        count += found - 1
    return parts, largest


def _background(labels: Labels, grey: FloatArray) -> BoolArray:
    """Where the background is, judged part by part.

    A part is background if it lies along more than one side of the frame (a forearm enters by one side only), if it
    hardly occurs but at the border, if it is darker than the parts so found, or if its label's largest part is. So the
    radiograph's bright edges do not take a hand of their label with them, and what lies between fingers goes with
    the rest.
    """
    labels, largest = _parts(labels)
    band = max(1, round(BAND_SHARE * max(labels.shape)))
    count = int(labels.max()) + 1
    sides = (labels[:band], labels[-band:], labels[:, :band], labels[:, -band:])
    along = np.array([np.bincount(side.ravel(), minlength=count) for side in sides], float)
    lengths = np.array([side.size for side in sides], float)
    main = along / lengths[:, None] == (along / lengths[:, None]).max(0)
    others = np.where(main, 0.0, along).sum(0) / (lengths.sum() - lengths.max())
    area = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    density = along.sum(0) / area * labels.size / lengths.sum()
    at_border = (others > OTHER_SIDES_SHARE) | (density > BORDER_DENSITY)
    mean = np.bincount(labels.ravel(), weights=grey.ravel(), minlength=count) / area
    middle = float(np.average(mean, weights=area))
    dark = at_border & (mean < middle)
    limit = float(np.average(mean[dark], weights=area[dark])) if dark.any() else -1.0
    behind = at_border | (mean < limit)
    return np.asarray(behind[labels] | behind[largest], np.bool_)


def _disc(share: float, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A disc with a radius of this share of the longer side."""
    radius = max(1, round(share * max(shape)))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _largest(foreground: BoolArray) -> BoolArray:
    """The largest part once thin bridges are cut, with its own fine ends again and its holes filled."""
    kernel = _disc(OPENING_SHARE, foreground.shape)
    whole = foreground.astype(np.uint8)
    # Beyond the frame counts as background, so that a line along the frame is thin.
    opened = cv2.morphologyEx(whole, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return np.zeros(foreground.shape, np.bool_)
    main = (parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    near = np.minimum(whole, cv2.dilate(main, kernel))
    contours, _ = cv2.findContours(near, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(main), contours, -1, 1, -1), np.bool_)
