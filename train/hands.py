"""Pictures with exact masks for the hand network: real films, pasted hands, and pictures without one.

Sources: films whose masks passed the checks of `train.mining`; the exactly cut `rsna_fitted`
hands pasted onto drawn films (markers, borders, gradient stripes: Deeplasia, supplement 1);
other body parts and noise, which hold no hand; and two films side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from baa_core.recipe import Member
from baa_core.steps import IDENTITY, Picture

Grey = NDArray[np.float32]
HELD_OUT_EVERY = 6  # every sixth fitted hand and other body part is for validation


@dataclass(frozen=True, eq=False)
class Film:
    """A picture with its mask.

    Attributes:
        pixels: uint8 (H, W).
        mask: uint8 (H, W) in {0, 1}; None: there is no hand.
        up: (right, up) unit direction of the fingers, or (0, 0) where unknown.
        cut_out: the background is exactly 0, so it must be pasted on a film.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    up: tuple[float, float] = (0.0, 0.0)
    cut_out: bool = False


def drawn_film(generator: np.random.Generator, height: int, width: int) -> Grey:
    """An empty film: grey level, gradient, noise, and perhaps a collimated field. float32 in [0, 1]."""
    level = generator.uniform(0.0, 0.45) ** 1.5
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = generator.normal(0, 0.08, 2)
    film = level + slope[0] * (rows / height - 0.5) + slope[1] * (columns / width - 0.5)
    film += generator.normal(0, generator.uniform(0.002, 0.03), (height, width))
    return np.clip(film, 0, 1).astype(np.float32)


def add_markers(picture: Grey, generator: np.random.Generator, mask: NDArray[np.uint8] | None) -> Grey:
    """Draw letters on plates, boxes, bright borders and gradient stripes beside the hand."""
    picture = picture.copy()
    height, width = picture.shape
    for _ in range(generator.integers(0, 3)):
        high = int(generator.uniform(0.05, 0.16) * height)
        wide = int(high * generator.uniform(0.5, 1.2))
        top, left = int(generator.integers(0, max(1, height - high))), int(generator.integers(0, max(1, width - wide)))
        if mask is not None and mask[top : top + high, left : left + wide].any():
            continue
        plate = picture[top : top + high, left : left + wide]
        if generator.random() < 0.7:
            plate[:] = plate * generator.uniform(0.2, 1.0) + generator.uniform(0, 0.4)
        letter = str(generator.choice(list("LRABDEGJKMNPRSTVO0123")))
        size = high / 40
        cv2.putText(
            picture,
            letter,
            (left + wide // 5, top + int(high * 0.8)),
            int(generator.integers(0, 5)),
            size,
            float(generator.uniform(0.7, 1.0)),
            max(1, round(size * 3)),
        )
    if generator.random() < 0.25:
        side, thick = generator.integers(0, 4), int(generator.uniform(0.005, 0.06) * width) + 1
        edge = [np.s_[:thick], np.s_[-thick:], np.s_[:, :thick], np.s_[:, -thick:]][side]
        keep = picture[edge].copy()
        picture[edge] = generator.uniform(0.6, 1.0)
        if mask is not None:
            picture[edge] = np.where(mask[edge] > 0, keep, picture[edge])
    if generator.random() < 0.2:
        stripe = np.linspace(generator.uniform(0, 0.4), generator.uniform(0, 0.4), width, dtype=np.float32)
        if generator.random() < 0.5:
            picture += stripe[None, :]
        else:
            picture += cv2.resize(stripe[None, :], (height, 1)).T
    return np.clip(picture, 0, 1)


def pasted(film: Film, generator: np.random.Generator) -> tuple[Grey, NDArray[np.uint8]]:
    """A cut-out hand on a drawn film; the forearm leaves through the bottom of the field."""
    _height, _width = film.pixels.shape
    scale = generator.uniform(0.6, 1.0)
    hand = film.pixels.astype(np.float32) / 255
    known_mask = film.mask if film.mask is not None else (film.pixels > 0).astype(np.uint8)
    small = cv2.resize(hand, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(known_mask, small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    tall = int(generator.uniform(1.02, 1.35) * small.shape[0])
    broad = int(generator.uniform(1.05, 1.7) * small.shape[1])
    picture, mask = drawn_film(generator, tall, broad), np.zeros((tall, broad), np.uint8)
    left = int(generator.integers(0, broad - small.shape[1] + 1))
    region = np.s_[tall - small.shape[0] :, left : left + small.shape[1]]
    softness = cv2.GaussianBlur(small_mask.astype(np.float32), (0, 0), generator.uniform(0.4, 1.2))
    strength = generator.uniform(0.25, 1.0) * (1 - float(picture.mean()))
    lift = generator.uniform(0.0, 0.25)
    picture[region] += softness * strength * (small * (1 - lift) + lift * small_mask)
    mask[region] = small_mask
    if generator.random() < 0.35:  # a collimated field on a darker or brighter surround
        border = int(generator.uniform(0.02, 0.3) * tall)
        surround = float(generator.choice([0.0, generator.uniform(0, 0.3), generator.uniform(0.5, 1)]))
        picture = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT, value=surround)
        mask = cv2.copyMakeBorder(mask, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
    return np.clip(picture, 0, 1).astype(np.float32), mask


class HandPictures(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Random pictures for the hand network.

    Items: image (1, S, S), mask (S, S), weight (S, S), answers (4,): presence, up as
    (right, up), inverted.
    """

    def __init__(
        self,
        films: list[Film],
        cut_outs: list[Film],
        others: list[Film],
        member: Member,
        side_px: int,
        length: int,
        seed: int,
        steady: bool = False,
    ) -> None:
        self.films, self.cut_outs, self.others = films, cut_outs, others
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
        if draw < 0.18:
            picture, mask, up, present = *_without_hand(self.others, generator), (0.0, 0.0), 0.0
        elif draw < 0.50 and self.cut_outs:
            film = self.cut_outs[generator.integers(len(self.cut_outs))]
            picture, mask = pasted(film, generator)
            up, present = film.up, 1.0
        elif draw < 0.54 and len(self.films) > 1:
            picture, mask = _two_films(self.films, generator)
            up, present = (0.0, 0.0), 1.0
        else:
            film = self.films[generator.integers(len(self.films))] if self.films else self.cut_outs[0]
            picture, mask = film.pixels.astype(np.float32) / 255, film.mask
            up, present = film.up, 1.0
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
        affine, up = _random_view(picture.shape, up, self.side_px, generator)
        fill = float(generator.choice([0.0, float(np.median(picture)), generator.uniform(0, 1)], p=[0.7, 0.2, 0.1]))
        size = (self.side_px, self.side_px)
        interpolation = cv2.INTER_AREA if abs(np.linalg.det(affine[:, :2])) < 0.6 else cv2.INTER_LINEAR
        if interpolation == cv2.INTER_AREA:
            blur = 0.45 / np.sqrt(abs(np.linalg.det(affine[:, :2])))
            picture = cv2.GaussianBlur(picture, (0, 0), blur)
        image = cv2.warpAffine(picture, affine, size, flags=cv2.INTER_LINEAR, borderValue=fill)
        target = (cv2.warpAffine(mask.astype(np.float32), affine, size, flags=cv2.INTER_LINEAR) > 0.5).astype(
            np.float32
        )
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / max(high - low, 1e-3)) ** generator.uniform(0.6, 1.7)
        image = image + generator.uniform(0, 0.03) * generator.standard_normal(image.shape, np.float32)
        inverted = generator.random() < 0.25
        if inverted:
            image = 1 - image
        image = np.clip(image, 0, 1).astype(np.float32)
        shown = 1 - image if inverted else image
        weight = np.ones_like(image)
        if target.any():
            weight[(target == 0) & (shown > np.percentile(shown[target > 0], 80))] = 3.0
        ready = np.array(self.normalise(Picture(image, target > 0, IDENTITY)).pixels)
        answers = torch.tensor([present, up[0], up[1], float(inverted)])
        return torch.from_numpy(ready[None]), torch.from_numpy(target), torch.from_numpy(weight), answers


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


def _without_hand(others: list[Film], generator: np.random.Generator) -> tuple[Grey, None]:
    """Another body part, noise, shapes, or an empty film with markers."""
    draw = generator.random()
    if draw < 0.7 and others:
        picture = others[generator.integers(len(others))].pixels.astype(np.float32) / 255
        picture = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_CUBIC)
        if generator.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.5, 3))
        return np.clip(picture, 0, 1), None
    picture = drawn_film(generator, 256, 256)
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


def _two_films(films: list[Film], generator: np.random.Generator) -> tuple[Grey, NDArray[np.uint8]]:
    """Two films side by side at one height."""
    pictures, masks = [], []
    for i in generator.choice(len(films), 2, replace=False):
        film = films[i]
        width = max(1, round(film.pixels.shape[1] * 256 / film.pixels.shape[0]))
        pixels, mask = cv2.resize(film.pixels, (width, 256)), film.mask
        known_mask = mask if mask is not None else np.zeros_like(film.pixels)
        pictures.append(pixels.astype(np.float32) / 255)
        masks.append(cv2.resize(known_mask, (width, 256), interpolation=cv2.INTER_NEAREST))
    return np.hstack(pictures), np.hstack(masks)


def load_films(masks: Path) -> list[Film]:
    """The films of the newest mining round: `films.csv` with image, mask, right, up (see `train.mining`)."""
    films = []
    for row in pd.read_csv(masks / "films.csv").itertuples():
        pixels = cv2.imread(str(masks / str(row.image)), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(masks / str(row.mask)), cv2.IMREAD_GRAYSCALE)
        films.append(Film(pixels, (mask > 127).astype(np.uint8), (float(row.right), float(row.up))))
    return films


def load_plain(folder: Path, held_out: bool, cut_out: bool) -> list[Film]:
    """Every picture of a folder, split by position: every sixth one is held out."""
    films = []
    for i, path in enumerate(sorted(folder.glob("*.*"))):
        if (i % HELD_OUT_EVERY == 0) != held_out:
            continue
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if cut_out:
            scale = 640 / max(pixels.shape)
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            films.append(Film(pixels, (pixels > 0).astype(np.uint8), up=(0.0, 1.0), cut_out=True))  # registered upright
        else:
            films.append(Film(pixels, None))
    return films


def hand_sets(
    member: Member, images: tuple[Path, ...], mined: Path, side_px: int, length: int, seed: int
) -> tuple[HandPictures, HandPictures]:
    """Training and validation pictures for the hand network.

    Args:
        images: folders; `rsna_fitted` and `not_hands_64px` below any of them are used.
        mined: the folder of a mining round, with `films.csv`.
        side_px: of the square pictures.
        length: training pictures an epoch.
    """
    folders = [f for root in images for f in (root, *root.glob("*")) if f.is_dir()]
    fitted = [f for f in folders if f.name == "rsna_fitted"]
    others = [f for f in folders if f.name == "not_hands_64px"]
    films = load_films(mined)
    held_out = films[::20]
    parts = [
        (
            [f for i, f in enumerate(films) if i % 20] if not val else held_out,
            [f for folder in fitted for f in load_plain(folder, val, cut_out=True)],
            [f for folder in others for f in load_plain(folder, val, cut_out=False)],
        )
        for val in (False, True)
    ]
    training = HandPictures(*parts[0], member=member, side_px=side_px, length=length, seed=seed)
    validation = HandPictures(*parts[1], member=member, side_px=side_px, length=96, seed=seed + 1, steady=True)
    return training, validation
