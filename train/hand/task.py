"""Pictures with exact masks for the hand network: real radiographs, pasted hands, and pictures without one.

Sources: radiographs whose masks passed the checks of `train.fit_hand`; the exactly cut `rsna_fitted`
hands pasted onto drawn radiographs (markers, borders, gradient stripes: Deeplasia, supplement 1);
other body parts and noise, which hold no hand; and two radiographs side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from baa_core.preprocessing.picture import IDENTITY, Picture
from baa_core.recipes.schema import Member

from ..age_sex.tasks import Task
from .collimation import CutOut, collimated, cut_out, draw_hands
from .composites import Composite, Grey, add_markers, drawn_background, pasted

HELD_OUT_EVERY = 6  # every sixth fitted hand and other body part is for validation
COLLIMATED_SHARE = 0.5  # of the pictures with a hand and of those without, where there are hands to paste into fields
DRAWN_HANDS, DRAWN_PX = 160, 520  # drawn hands of a training, and how high they are
DRAWN_SEEDS = (20_000, 30_000)  # first seeds of training and of validation; the page's examples have 3 to 15
CLOSE_SHARE = 0.45  # of the pictures with a hand are crops around it, as `masking` segments it a second time
FINGER_WEIGHT = 2.0  # of pixels of the hand that lie where it is thinner than FINGER_SHARE of the palm
PALM_WEIGHT = 1.5  # of the other pixels of the hand: overexposed forearms were left out
BRIGHT_WEIGHTS = (3.0, 2.0)  # of pixels beside the hand as bright as its brightest; in a first training, and further
FINGER_SHARE = 0.45
# With AMX a step at 384 px takes 0.10 s a picture in place of 0.16; without it bfloat16 is slower than float32.
BFLOAT16 = bool(torch.cpu._is_amx_tile_supported())


class HandPictures(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Random pictures for the hand network.

    Items: image (1, S, S), mask (S, S), weight (S, S), answers (4,): presence, up as
    (right, up), inverted.
    """

    def __init__(
        self,
        radiographs: list[Composite],
        cut_outs: list[Composite],
        others: list[Composite],
        member: Member,
        side_px: int,
        length: int,
        seed: int,
        steady: bool = False,
        pasted_hands: list[CutOut] | None = None,
    ) -> None:
        self.radiographs, self.cut_outs, self.others = radiographs, cut_outs, others
        self.pasted_hands = pasted_hands or []
        weights = np.array([f.weight for f in radiographs], float)
        self.shares = weights / weights.sum() if radiographs else weights
        self.normalise = member.input.normalise
        self.side_px, self.length, self.seed, self.steady = side_px, length, seed, steady
        self.generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.steady:
            generator = np.random.default_rng((self.seed, index))
        else:
            worker = torch.utils.data.get_worker_info()
            generator = (
                self.generator if worker is None else np.random.default_rng(int(torch.initial_seed()) % 2**32 + index)
            )
        draw = generator.random()
        if self.pasted_hands and generator.random() < COLLIMATED_SHARE:
            hand = self.pasted_hands[generator.integers(len(self.pasted_hands))] if draw > 0.18 else None
            frame = collimated(hand, generator, self.pasted_hands, self.others)
            return self._item(frame.pixels, frame.mask, frame.up, float(frame.mask.any()), generator)
        if draw < 0.18:
            picture, mask, up, present = *_without_hand(self.others, generator), (0.0, 0.0), 0.0
        elif draw < 0.50 and self.cut_outs:
            radiograph = self.cut_outs[generator.integers(len(self.cut_outs))]
            picture, mask = pasted(radiograph, generator)
            up, present = radiograph.up, 1.0
        elif draw < 0.54 and len(self.radiographs) > 1:
            picture, mask = _two_hands(self.radiographs, generator)
            up, present = (0.0, 0.0), 1.0
        else:
            radiograph = (
                self.radiographs[generator.choice(len(self.radiographs), p=self.shares)]
                if self.radiographs
                else self.cut_outs[0]
            )
            picture, mask = radiograph.pixels.astype(np.float32) / 255, radiograph.mask
            up, present = radiograph.up, 1.0
        known_mask = mask if mask is not None else np.zeros(picture.shape, np.uint8)
        picture = add_markers(picture, generator, mask) if generator.random() < 0.5 else picture
        return self._item(picture, known_mask, up, present, generator)

    def _item(
        self,
        picture: Grey,
        mask: NDArray[np.uint8],
        up: tuple[float, float],
        present: float,
        generator: np.random.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.pasted_hands and mask.any() and generator.random() < CLOSE_SHARE:
            picture = _stretched(picture, mask, generator)
            affine, up = _close_view(mask, up, self.side_px, generator)
        else:
            affine, up = _random_view(picture.shape, up, self.side_px, generator)
        size = (self.side_px, self.side_px)
        zoom = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
        if zoom < 0.77:  # keep detail from aliasing, as area averaging does when serving
            picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / zoom)
        image = _exposed(cv2.warpAffine(picture, affine, size, flags=cv2.INTER_LINEAR), generator)
        target = cv2.warpAffine(mask.astype(np.float32), affine, size, flags=cv2.INTER_LINEAR) > 0.5
        weight = np.ones_like(image)
        if target.any():
            depth = cv2.distanceTransform(target.astype(np.uint8), cv2.DIST_L2, 3)
            further = bool(self.pasted_hands)
            if further:
                weight[target] = PALM_WEIGHT
                weight[target & (depth < FINGER_SHARE * depth.max())] = FINGER_WEIGHT
            weight[~target & (image > np.percentile(image[target], 80))] = BRIGHT_WEIGHTS[further]
        inverted = generator.random() < 0.25
        inside = cv2.warpAffine(np.ones(picture.shape, np.uint8), affine, size, flags=cv2.INTER_NEAREST) > 0
        # Padding is black whatever the polarity, as in `steps.PadSquare`; else it would give the polarity away.
        padding = np.float32(generator.choice([0.0, generator.uniform(0, 1)], p=[0.8, 0.2]))
        image = np.where(inside, 1 - image if inverted else image, padding).astype(np.float32)
        ready = np.array(self.normalise(Picture(image, target, IDENTITY)).pixels)
        answers = torch.tensor([present, up[0], up[1], float(inverted)])
        return (
            torch.from_numpy(ready[None]),
            torch.from_numpy(target.astype(np.float32)),
            torch.from_numpy(weight),
            answers,
        )


def _exposed(image: Grey, generator: np.random.Generator) -> Grey:
    """Another exposure of the same radiograph: full range, random gamma, random noise; float32 in [0, 1]."""
    low, high = float(image.min()), float(image.max())
    image = ((image - low) / max(high - low, 1e-3)) ** generator.uniform(0.6, 1.7)
    image = image + generator.uniform(0, 0.03) * generator.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float32)


def _random_view(
    shape: tuple[int, ...], up: tuple[float, float], side_px: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """A random turn, zoom, shift and mirroring into a square of `side_px`, and what becomes of `up`."""
    height, width = shape[0], shape[1]
    turn = generator.uniform(-25, 25) if generator.random() < 0.6 else generator.uniform(-180, 180)
    zoom = side_px / max(height, width) * (generator.uniform(0.7, 1.15) if generator.random() < 0.8 else 1.0)
    flip = -1.0 if generator.random() < 0.5 else 1.0
    stretch = generator.uniform(0.92, 1.08)
    angle = np.deg2rad(turn)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.diag([flip * stretch, 1.0])
    shift = generator.uniform(-0.08, 0.08, 2) * side_px + side_px / 2
    offset = shift - matrix @ np.array([width / 2, height / 2])
    moved = matrix @ np.array([up[0], -up[1]])
    length = float(np.hypot(*moved))
    direction = (float(moved[0] / length), float(-moved[1] / length)) if length > 0 else (0.0, 0.0)
    return np.column_stack([matrix, offset]), direction


def _stretched(picture: Grey, mask: NDArray[np.uint8], generator: np.random.Generator) -> Grey:
    """Greys stretched to those of the hand and a little around it, somewhat more or less than `masking` does."""
    around = 1 + 2 * max(1, round(float(generator.uniform(0.02, 0.06)) * max(mask.shape)))
    values = picture[cv2.dilate(mask, np.ones((around, around), np.uint8)) > 0]
    low, high = (float(v) for v in np.percentile(values[:: max(1, len(values) // 5000)], (0.5, 99.5)))
    low -= float(generator.uniform(0.0, 0.5)) * (high - low)
    return np.asarray(np.clip((picture - low) / max(high - low, 1e-3), 0, 1), np.float32)


def _close_view(
    mask: NDArray[np.uint8], up: tuple[float, float], side_px: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """A square of `side_px` around the hand, nearly upright, its box a little wrong, and what becomes of `up`."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = np.concatenate(contours)[:, 0].astype(float)
    # Turned back by as much as the fingers lie clockwise of up.
    angle = -float(np.arctan2(up[0], up[1])) + np.deg2rad(float(generator.normal(0, 7)))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.diag([-1.0 if generator.random() < 0.5 else 1.0, 1.0]) @ matrix
    turned = points @ matrix.T
    least, most = turned.min(axis=0), turned.max(axis=0)
    longer = float((most - least).max()) + 1
    wrong = generator.normal(0, 0.03, (2, 2)) + (generator.random((2, 2)) < 0.1) * generator.uniform(-0.1, 0.15, (2, 2))
    least, most = least - wrong[0] * longer, most + wrong[1] * longer
    ratio = float(generator.uniform(1.15, 1.45) if generator.random() < 0.8 else generator.uniform(1.4, 2.2))
    zoom = side_px / (ratio * float((most - least).max() + 1))
    moved = matrix @ np.array([up[0], -up[1]])
    offset = side_px / 2 - zoom * (least + most) / 2
    return np.column_stack([zoom * matrix, offset]), (float(moved[0]), float(-moved[1]))


def _without_hand(others: list[Composite], generator: np.random.Generator) -> tuple[Grey, None]:
    """Another body part, noise, shapes, or an empty radiograph with markers."""
    draw = generator.random()
    if draw < 0.7 and others:
        picture = others[generator.integers(len(others))].pixels.astype(np.float32) / 255
        picture = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_CUBIC)
        if generator.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.5, 3))
        return np.clip(picture, 0, 1), None
    picture = drawn_background(generator, 256, 256)
    if draw < 0.85:  # smooth noise at a random scale, as in photographs
        grain = int(generator.integers(3, 64))
        noise = generator.random((grain, grain)).astype(np.float32)
        picture = 0.4 * picture + 0.8 * cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC)
    else:
        for _ in range(generator.integers(1, 12)):
            corner = generator.integers(0, 256, 4)
            shade = float(generator.uniform(0, 1))
            if generator.random() < 0.5:
                cv2.rectangle(picture, tuple(map(int, corner[:2])), tuple(map(int, corner[2:])), shade, -1)
            else:
                axes = (int(corner[2] // 3) + 2, int(corner[3] // 3) + 2)
                cv2.ellipse(
                    picture, tuple(map(int, corner[:2])), axes, float(generator.uniform(0, 180)), 0, 360, shade, -1
                )
    return np.clip(picture, 0, 1), None


def _two_hands(radiographs: list[Composite], generator: np.random.Generator) -> tuple[Grey, NDArray[np.uint8]]:
    """Two radiographs side by side at one height."""
    pictures, masks = [], []
    for i in generator.choice(len(radiographs), 2, replace=False):
        radiograph = radiographs[i]
        width = max(1, round(radiograph.pixels.shape[1] * 256 / radiograph.pixels.shape[0]))
        pixels, mask = cv2.resize(radiograph.pixels, (width, 256)), radiograph.mask
        known_mask = mask if mask is not None else np.zeros_like(radiograph.pixels)
        pictures.append(pixels.astype(np.float32) / 255)
        masks.append(cv2.resize(known_mask, (width, 256), interpolation=cv2.INTER_NEAREST))
    return np.hstack(pictures), np.hstack(masks)


def load_mined(masks: Path) -> list[Composite]:
    """The radiographs of the newest mining round: `hands.csv` with image, mask, right, up (see `train.fit_hand`)."""
    radiographs = []
    for row in pd.read_csv(masks / "hands.csv").itertuples():
        pixels = cv2.imread(str(masks / str(row.image)), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(masks / str(row.mask)), cv2.IMREAD_GRAYSCALE)
        name, weight = Path(str(row.image)).stem, float(getattr(row, "weight", 1.0))
        up = (float(row.right), float(row.up))
        radiographs.append(Composite(pixels, (mask > 127).astype(np.uint8), up, name=name, weight=weight))
    return radiographs


def held_out_files(folder: Path) -> list[Path]:
    """Every sixth picture of a folder, which no training sees."""
    return sorted(folder.glob("*.*"))[::HELD_OUT_EVERY]


def load_plain(folder: Path, held_out: bool, cut_out: bool) -> list[Composite]:
    """Every picture of a folder, split by position: every sixth one is held out."""
    radiographs = []
    for i, path in enumerate(sorted(folder.glob("*.*"))):
        if (i % HELD_OUT_EVERY == 0) != held_out:
            continue
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if cut_out:
            scale = 640 / max(pixels.shape)
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            radiographs.append(
                Composite(pixels, (pixels > 0).astype(np.uint8), up=(0.0, 1.0), cut_out=True)
            )  # registered upright
        else:
            radiographs.append(Composite(pixels, None))
    return radiographs


def hand_sets(
    member: Member, images: tuple[Path, ...], mined: Path, side_px: int, length: int, seed: int
) -> tuple[HandPictures, HandPictures]:
    """Training and validation pictures for the hand network.

    Args:
        images: folders; `rsna_fitted` and `not_hands_64px` below any of them are used.
        mined: the folder of a mining round, with `hands.csv`.
        side_px: of the square pictures.
        length: training pictures an epoch.
    """
    fitted = [f for f in images if f.name == "rsna_fitted"]
    others = [f for f in images if f.name == "not_hands_64px"]
    radiographs = load_mined(mined)
    held_out = radiographs[::20]
    parts = [
        (
            [f for i, f in enumerate(radiographs) if i % 20] if not val else held_out,
            [f for folder in fitted for f in load_plain(folder, val, cut_out=True)],
            [f for folder in others for f in load_plain(folder, val, cut_out=False)],
        )
        for val in (False, True)
    ]
    training = HandPictures(*parts[0], member=member, side_px=side_px, length=length, seed=seed)
    validation = HandPictures(*parts[1], member=member, side_px=side_px, length=96, seed=seed + 1, steady=True)
    return training, validation


def further_sets(
    member: Member,
    images: tuple[Path, ...],
    outlines: Path,
    side_px: int,
    length: int,
    seed: int,
    drawn_hands: int = DRAWN_HANDS,
) -> tuple[HandPictures, HandPictures]:
    """Training and validation pictures for a hand network that goes on: outlined radiographs, and synthetic fields.

    Args:
        images: folders; `rsna_fitted` and `not_hands_64px` below any of them are used.
        outlines: a folder of `train cut-outs`.
        side_px: of the square pictures.
        length: training pictures an epoch.
        drawn_hands: how many are drawn for training; a fifth of that for validation.
    """
    others = [f for f in images if f.name == "not_hands_64px"]
    sets = []
    for val, (outlined, exact, hands) in enumerate(known_hands(images, outlines, drawn_hands)):
        bodies = [f for folder in others for f in load_plain(folder, bool(val), cut_out=False)]
        pictures = HandPictures(
            outlined, exact, bodies, member, side_px, 160 if val else length, seed + val, steady=bool(val),
            pasted_hands=hands,
        )  # fmt: skip
        sets.append(pictures)
    return sets[0], sets[1]


def known_hands(
    images: tuple[Path, ...], outlines: Path, drawn_hands: int = DRAWN_HANDS
) -> Iterator[tuple[list[Composite], list[Composite], list[CutOut]]]:
    """For training, then for validation: outlined and drawn radiographs, exact cut-outs, and all hands to paste.

    Args:
        images: as for `further_sets`; `rsna_fitted` below any of them is used.
        outlines: a folder of `train cut-outs`.
        drawn_hands: how many are drawn for training; a fifth of that for validation.
    """
    fitted = [f for f in images if f.name == "rsna_fitted"]
    kept_back = {path.stem for folder in fitted for path in held_out_files(folder)}
    outlined = [f for f in load_mined(outlines) if f.name.rpartition("_")[2] not in kept_back]
    for val in (False, True):
        part = outlined[::20] if val else [f for i, f in enumerate(outlined) if i % 20]
        exact = [f for folder in fitted for f in load_plain(folder, val, cut_out=True)]
        count = drawn_hands // 5 if val else drawn_hands
        drawn = draw_hands(range(DRAWN_SEEDS[val], DRAWN_SEEDS[val] + count), DRAWN_PX)
        hands = [cut_out(f) for f in part + [f for f in drawn if not f.marked] + exact * (2 if val else 6)]
        yield part + drawn, exact, [hand for hand in hands if hand is not None]


class HandTask(Task):
    """Hand mask, presence, direction and polarity. Validation metric: Dice on held-out hands."""

    metric = "val_dice"
    higher_is_better = True

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """H - log J (Iglovikov 2018, eq. 1) on the mask, plus the small answers.

        Pixels outside the mask brighter than its 80th percentile weigh more (Deeplasia,
        supplement 1): the data set marks them in `weight`.
        """
        image, mask, weight, answers = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=image.device.type == "cpu" and BFLOAT16):
            output = self.network(image)
        present, up, inverted = answers[:, 0], answers[:, 1:3], answers[:, 3]
        entropy = nn.functional.binary_cross_entropy_with_logits(output.mask_logits[:, 0], mask, weight=weight)
        probability = output.mask_logits[:, 0].sigmoid()
        both = (probability * mask).sum(dim=(1, 2))
        either = probability.sum(dim=(1, 2)) + mask.sum(dim=(1, 2)) - both
        jaccard = ((both + 1) / (either + 1))[mask.sum(dim=(1, 2)) > 0]
        loss = entropy - (jaccard.log().mean() if len(jaccard) else 0.0)
        loss = loss + nn.functional.binary_cross_entropy_with_logits(output.presence_logit, present)
        known = (up.norm(dim=1) > 0) & (present > 0)
        if known.any():
            loss = loss + 0.5 * ((output.up[known] - up[known]) ** 2).sum(dim=1).mean()
        seen = present > 0
        if seen.any():
            loss = loss + 0.2 * nn.functional.binary_cross_entropy_with_logits(
                output.inverted_logit[seen], inverted[seen]
            )
        self.log("loss", loss, prog_bar=True)
        return cast(Tensor, loss)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Dice of pictures with a hand; share of right presence, polarity, and tilt error in degrees."""
        image, mask, _, answers = batch
        output = self.network(image)
        seen = answers[:, 0] > 0
        right = ((output.presence_logit > 0) == seen).float().mean()
        self.log("val_presence", right, prog_bar=True, batch_size=len(image))
        if not seen.any():
            return
        found = (output.mask_logits[seen, 0] > 0).float()
        dice = 2 * (found * mask[seen]).sum(dim=(1, 2)) / (found + mask[seen]).sum(dim=(1, 2)).clamp(min=1)
        self.log(self.metric, dice.mean(), prog_bar=True, batch_size=int(seen.sum()))
        polarity = ((output.inverted_logit > 0) == (answers[:, 3] > 0))[seen].float().mean()
        self.log("val_polarity", polarity, prog_bar=True, batch_size=int(seen.sum()))
        known = seen & (answers[:, 1:3].norm(dim=1) > 0)
        if known.any():
            cosine = nn.functional.cosine_similarity(output.up[known], answers[known, 1:3]).clamp(-1, 1)
            tilt = torch.rad2deg(torch.acos(cosine)).median()
            self.log("val_tilt_degrees", tilt, prog_bar=True, batch_size=int(known.sum()))
