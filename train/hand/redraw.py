"""How the network that draws uncertain outlines again is trained: on crops whose first outline is uncertain or wrong.

Each picture is a synthetic collimated frame, a hand pasted onto a drawn radiograph, or a radiograph, half of these
reduced to thumbnails, which are outlined as sharply as what they were made of. The hand network draws its first outline
in a crop around a region that is a little wrong; most crops whose first outline is certain are passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from baa_core.hand.redraw import largest_part, redraw_channels, stretched, uncertainty
from baa_core.hand.segmentation import NEIGHBOURHOOD_SHARE, grey_range, square_around
from baa_core.networks.backbones import fold_norms
from baa_core.networks.build import build
from baa_core.preprocessing.picture import IDENTITY, Picture
from baa_core.recipes.deeplasia import HAND
from baa_core.recipes.schema import Member

from ..age_sex.tasks import Task
from ..initial_weights import member_start
from .collimation import SMALL_FILL, USUAL_FILL, CutOut, Frame, collimated
from .composites import Composite, Grey, add_markers, pasted
from .task import (
    FINGER_SHARE,
    FINGER_WEIGHT,
    PALM_WEIGHT,
    known_hands,
)

SHOWN_PER_EPOCH, SHOWN_IN_VALIDATION = 400, 64
FIELD_SHARE, PASTED_SHARE = 0.72, 0.10  # of the pictures; the others are radiographs and drawn hands
FILLS = ((0.25, 0.90), USUAL_FILL, SMALL_FILL)  # length of the hand, of the longer side of a collimated frame
FILL_SHARES = (0.6, 0.25, 0.15)
THUMBNAIL_SHARE, THUMBNAIL_PX, THUMBNAIL_HEIGHT_PX = 0.45, (90, 140), 256
LEAST_AREA_PX = 900  # of a hand in its picture
CERTAIN = 2.2  # `uncertainty` up to which a crop is mostly passed over
CERTAIN_SHARE = 0.3  # of these crops that are shown all the same
RATIOS = (1.2, 1.4)  # side of the crop, of the longer side of the region's box
TILT_DEGREES = 4.0  # deviation of what is taken for upright
BRIGHT_WEIGHT = 2.0  # of pixels beside the hand as bright as its brightest


class RedrawPictures(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Random crops with uncertain first outlines: channels (4, S, S), mask (S, S), weight (S, S; 0: left out).

    Args:
        radiographs: with their masks.
        exact: hands cut out exactly, on black.
        hands: what is pasted into fields.
        first: the hand network, in evaluation mode.
        steady: the same pictures every time, for validation.
    """

    def __init__(
        self,
        radiographs: list[Composite],
        exact: list[Composite],
        hands: list[CutOut],
        first: nn.Module,
        side_px: int,
        length: int,
        seed: int,
        steady: bool = False,
    ) -> None:
        self.radiographs, self.exact, self.hands, self.first = radiographs, exact, hands, first
        self.side_px, self.length, self.seed, self.steady = side_px, length, seed, steady
        self.generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng((self.seed, index)) if self.steady else self.generator
        while True:
            picture = self._picture(generator)
            if picture.mask.sum() >= LEAST_AREA_PX:
                made = self._crop(picture, generator)
                if made is not None:
                    return made

    def _picture(self, generator: np.random.Generator) -> Frame:
        draw = generator.random()
        if draw < FIELD_SHARE:
            fill = FILLS[int(generator.choice(len(FILLS), p=FILL_SHARES))]
            return collimated(self.hands[generator.integers(len(self.hands))], generator, self.hands, [], fill)
        if draw < FIELD_SHARE + PASTED_SHARE and self.exact:
            known = self.exact[generator.integers(len(self.exact))]
            picture, mask = pasted(known, generator)
            return _whole(picture, mask, known.up)
        known = self.radiographs[generator.integers(len(self.radiographs))]
        picture, mask = known.pixels.astype(np.float32) / 255, cast(NDArray[np.uint8], known.mask)
        if generator.random() < 0.5:
            picture = np.asarray(add_markers(picture, generator, mask), np.float32)
        if generator.random() < THUMBNAIL_SHARE:
            picture, mask = _thumbnail(picture, mask, generator)
        return _whole(picture, mask, known.up)

    def _crop(self, frame: Frame, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor] | None:
        picture, mask, up = frame.pixels, frame.mask, frame.up
        if generator.random() < 0.5:
            picture = np.asarray(np.clip(picture, 0, 1) ** generator.uniform(0.6, 1.8), np.float32)
        region = _a_little_wrong(mask, generator)
        tilt = float(np.rad2deg(np.arctan2(up[0], up[1])) + generator.normal(0, TILT_DEGREES))
        whole = Picture(picture, np.ones(picture.shape, bool), IDENTITY)
        plain = square_around(whole, region, float(generator.uniform(*RATIOS)), tilt, self.side_px, (0.0, 1.0))
        size, to_crop = (self.side_px, self.side_px), cv2.WARP_INVERSE_MAP
        there = plain.to_radiograph
        target, unclear = (
            cv2.warpAffine(region.astype(np.float32), there, size, flags=cv2.INTER_LINEAR | to_crop) > 0.5
            for region in (mask, frame.in_scatter)
        )
        if not target.any():
            return None
        low_high = grey_range(picture, region, NEIGHBOURHOOD_SHARE)
        if generator.random() < 0.5:
            mirrored = np.ascontiguousarray(plain.pixels[:, ::-1]), np.ascontiguousarray(plain.mask[:, ::-1])
            plain = Picture(*mirrored, there)
            target, unclear = np.ascontiguousarray(target[:, ::-1]), np.ascontiguousarray(unclear[:, ::-1])
        bright = HAND.input.normalise(stretched(plain, *low_high)).pixels
        with torch.inference_mode():
            logits = self.first(torch.from_numpy(np.array(bright))[None, None]).mask_logits
        probability = logits[0, 0].float().sigmoid().numpy()
        if uncertainty(probability) <= CERTAIN and generator.random() > CERTAIN_SHARE:
            return None
        hand = largest_part(probability > 0.5)
        if hand is None or 2 * (hand & target).sum() < target.sum():
            return None
        weight = np.ones(size, np.float32)
        depth = cv2.distanceTransform(target.astype(np.uint8), cv2.DIST_L2, 3)
        weight[target] = PALM_WEIGHT
        weight[target & (depth < FINGER_SHARE * depth.max())] = FINGER_WEIGHT
        weight[~target & (bright > np.percentile(bright[target], 80))] = BRIGHT_WEIGHT
        weight[unclear & ~target] = 0.0
        channels = redraw_channels(plain, low_high, probability, hand)
        return torch.from_numpy(channels), torch.from_numpy(target.astype(np.float32)), torch.from_numpy(weight)


def _whole(picture: Grey, mask: NDArray[np.uint8], up: tuple[float, float]) -> Frame:
    """A picture whose hand no field cuts."""
    return Frame(picture, mask, up, np.zeros(mask.shape, bool), 1.0)


def _thumbnail(
    picture: Grey, mask: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[Grey, NDArray[np.uint8]]:
    """As in `rsna_100px`: reduced to a small square and enlarged again."""
    height, width = picture.shape
    side = int(generator.integers(*THUMBNAIL_PX))
    size = round(THUMBNAIL_HEIGHT_PX * width / height), THUMBNAIL_HEIGHT_PX
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    large = np.clip(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
    return large, np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def _a_little_wrong(mask: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.bool_]:
    """The region that a crop is made around: the hand grown or shrunk, or without a side of it."""
    region = mask
    if generator.random() < 0.4:
        radius = max(1, int(0.03 * max(mask.shape) * generator.random()))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        grown = np.asarray((cv2.dilate if generator.random() < 0.5 else cv2.erode)(mask, kernel), np.uint8)
        region = grown if grown.any() else mask
    if generator.random() < 0.35:
        rows, columns = np.nonzero(region)
        across, down = generator.normal(size=2)
        along = columns * across + rows * down
        far = along > np.percentile(along, 100 * (1 - 0.2 * generator.random()))
        region = region.copy()
        region[rows[far], columns[far]] = 0
    return np.asarray((region if region.any() else mask) > 0)


def redraw_sets(
    member: Member, images: tuple[Path, ...], outlines: Path, first_weights: Path, seed: int
) -> tuple[RedrawPictures, RedrawPictures]:
    """Training and validation pictures.

    Args:
        images: folders; `rsna_fitted` below any of them is used.
        outlines: a folder of `train cut-outs`.
        first_weights: of the hand network.
    """
    first = first_network(first_weights)
    sets = []
    for val, (outlined, exact, hands) in enumerate(known_hands(images, outlines)):
        length = SHOWN_IN_VALIDATION if val else SHOWN_PER_EPOCH
        sets.append(RedrawPictures(outlined, exact, hands, first, member.input.side_px, length, seed + val, bool(val)))
    return sets[0], sets[1]


def first_network(weights: Path) -> nn.Module:
    """The hand network with its norms folded in, frozen."""
    network = build(HAND.architecture)
    member_start(network, weights)
    return fold_norms(network).requires_grad_(False)


def start_as_hand(network: nn.Module, weights: Path) -> None:
    """Begin as the hand network: stretched and usual greys share its first weights, the other channels begin at 0."""
    state = {k: v for k, v in first_network(weights).state_dict().items() if k in network.state_dict()}
    stem = state["stem.0.weight"]
    state["stem.0.weight"] = torch.cat([stem / 2, stem / 2, torch.zeros_like(stem), torch.zeros_like(stem)], dim=1)
    network.load_state_dict(state)


class RedrawTask(Task):
    """Uncertain hand masks. Validation metric: Dice on held-out hands."""

    metric = "val_dice"
    higher_is_better = True

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Weighted binary cross-entropy less the logarithm of the soft Jaccard index, as of `HandTask`."""
        image, mask, weight = batch
        logits = self.network(image)[:, 0].float()
        entropy = nn.functional.binary_cross_entropy_with_logits(logits, mask, weight=weight)
        probability = logits.sigmoid() * (weight > 0)
        both = (probability * mask).sum(dim=(1, 2))
        either = probability.sum(dim=(1, 2)) + mask.sum(dim=(1, 2)) - both
        loss = entropy - ((both + 1) / (either + 1)).log().mean()
        self.log("loss", loss, prog_bar=True)
        return cast(Tensor, loss)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The mean Dice of the crops, before and after."""
        image, mask, weight = batch
        outlines = {"val_dice_before": image[:, 3] > 0, self.metric: self.network(image)[:, 0] > 0}
        for name, outline in outlines.items():
            found = outline & (weight > 0)
            dice = 2 * (found * mask).sum(dim=(1, 2)) / (found.sum(dim=(1, 2)) + mask.sum(dim=(1, 2)))
            self.log(name, dice.mean(), prog_bar=True, batch_size=len(image))
