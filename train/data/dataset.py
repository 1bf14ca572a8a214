"""The data set of one member: its arranged pictures with labels, and another network's view of them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from baa_core.errors import InvalidTable
from baa_core.networks.build import build
from baa_core.preprocessing.prepare import InputSpec
from baa_core.recipes.schema import Member
from baa_core.recipes import RECIPES

from .augmentation import augment, augment_outlined
from .cache import arranged_pictures, digest, normalised
from .phantoms import DrawnHands, drawn_hands
from .point_finder import finder_of
from .samples import Kind, Sample
from ..initial_weights import member_start, start_file

DRAWN_HANDS = 3000
FEATURES = 64  # main directions of another network's view that are learnt


class LabelledPictures(Dataset[tuple[torch.Tensor, ...]]):
    """Arranged pictures with sex and age: (1, H, W) normalised image, male (0 or 1), months, and features if given.

    `children` holds the `rsna_id` of each; a child with a thumbnail and a sharp radiograph is there twice.

    Args:
        variants: uint8 (N, H, W) each: the pictures with one mask or another; one is drawn at random.
        rows: which of the N to use, in the order of `labels`.
        sharp: bool, in the same order: from a sharp radiograph, not a thumbnail.
        augmentation: a name in `train.data.augmentation`, or None for the pictures as they are.
        features: float32 (N, F), in the order of `labels`, then of drawn hands: another network's view of each picture.
        drawn: drawn hands to put behind them; then where regions lie, uint8 (H, W), and their months, (regions,), 0
            and NaN for radiographs, come before the features.
    """

    def __init__(
        self,
        variants: list[NDArray[np.uint8]],
        rows: NDArray[np.intp],
        sharp: NDArray[np.bool_],
        labels: pd.DataFrame,
        spec: InputSpec,
        augmentation: str | None,
        features: NDArray[np.float32] | None = None,
        drawn: DrawnHands | None = None,
    ) -> None:
        self.variants = variants
        self.features = features
        self.drawn = drawn
        self.rows = rows
        self.children = labels.index.to_numpy()
        if drawn is not None:
            labels = pd.concat([labels[["sex", "bone_age_months"]], drawn.labels])
            sharp = np.concatenate([sharp, np.ones(len(drawn.labels), np.bool_)])
        self.sharp = sharp
        self.male = (labels.sex == "male").to_numpy(np.float32)
        self.months = labels.bone_age_months.to_numpy(np.float32)
        self.spec = spec
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.months)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        male, months = torch.tensor(self.male[index]), torch.tensor(self.months[index])
        if self.drawn is not None:
            picture, regions, ages = self._with_regions(index, self.drawn)
            image = torch.from_numpy(normalised(picture, self.spec))
            items = image, male, months, torch.from_numpy(regions), torch.from_numpy(ages)
            return items if self.features is None else (*items, torch.from_numpy(self.features[index]))
        picture = np.asarray(random.choice(self.variants)[self.rows[index]])
        if self.augmentation is not None:
            picture = augment(picture, self.augmentation)
        items = torch.from_numpy(normalised(picture, self.spec)), male, months
        return items if self.features is None else (*items, torch.from_numpy(self.features[index]))

    def _with_regions(self, index: int, drawn: DrawnHands) -> tuple[NDArray[np.uint8], ...]:
        """A picture, its regions and their months."""
        beyond = index - len(self.rows)
        if beyond < 0:
            picture = np.asarray(random.choice(self.variants)[self.rows[index]])
            regions, ages = np.zeros_like(picture), np.full_like(drawn.region_months[0], np.nan)
        else:
            picture, regions = np.array(drawn.pictures[beyond]), np.array(drawn.regions[beyond])
            ages = drawn.region_months[beyond]
        if self.augmentation is not None:
            picture, regions = augment_outlined(picture, regions, self.augmentation)
        return picture, regions, ages


def labelled(
    member: Member,
    samples: list[Sample],
    labels: pd.DataFrame,
    split: str,
    kinds: tuple[Kind, ...],
    cache: Path,
    hands: Path | None,
    augmented: bool,
) -> LabelledPictures:
    """The dataset of one split and some kinds of picture, prepared for one member."""
    chosen = [
        s
        for s in samples
        if s.kind in kinds and labels.split[s.rsna_id] == split and labels.sex[s.rsna_id] in member.sexes
    ]
    pool = chosen
    if augmented and member.training.thumbnails_at_most is not None:
        chosen = thinned(chosen, member.training.thumbnails_at_most)
    growths = member.training.mask_growths if augmented else (0.0,)
    spec, finder = member.learns_from or member.input, finder_of(member)
    made = [arranged_pictures(chosen, spec, hands, cache, growth, finder=finder) for growth in growths]
    keep = np.flatnonzero(made[0][1])
    rows = labels.loc[[chosen[i].rsna_id for i in keep]]
    if augmented and member.training.teacher_weight:
        rows = rows.assign(bone_age_months=_taught(rows, member.training.teacher_weight))
    augmentation = member.training.augment if augmented else None
    sharp = np.array([chosen[i].kind == "sharp" for i in keep], dtype=np.bool_)
    of = member.training.features_of
    features = features_for(pool, [chosen[i] for i in keep], of, hands, cache) if augmented and of else None
    drawn = drawn_hands(DRAWN_HANDS, spec, cache) if augmented and member.training.drawn_share else None
    return LabelledPictures([pictures for pictures, _ in made], keep, sharp, rows, spec, augmentation, features, drawn)


def thinned(samples: list[Sample], at_most: int) -> list[Sample]:
    """The samples with no more than so many thumbnails, evenly taken."""
    thumbnails = [s for s in samples if s.kind == "thumbnails"]
    kept = set(thumbnails[:: max(1, -(-len(thumbnails) // at_most))])
    return [s for s in samples if s.kind == "sharp" or s in kept]


def network_features(
    network: nn.Module, pictures: NDArray[np.uint8], spec: InputSpec, title: str, batch_size: int = 32
) -> NDArray[np.float32]:
    """What a network's backbone makes of arranged pictures, as they are and mirrored: (2, N, F)."""
    found = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(pictures), batch_size), desc=title, mininterval=10):
            batch = np.stack([normalised(p, spec) for p in pictures[start : start + batch_size]])
            images = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
            both = network.backbone(torch.cat([images, images.flip(-1)]))  # type: ignore[operator]
            found.append(both.reshape(2, len(images), -1).float().numpy())
    return np.concatenate(found, axis=1)


def features_for(
    pool: list[Sample], samples: list[Sample], name: str, hands: Path | None, cache: Path
) -> NDArray[np.float32]:
    """Another member's view of each sample: its features along their main directions, each of deviation 1; (N, 64).

    Where a picture's hand was not found the view is the mean one, 0.

    Args:
        pool: all samples of the split, whose features are computed once and kept for every member.
        samples: of the pool, those asked for.
        name: of the other member.
        hands: folder of the hand store.
        cache: where pictures and features are kept.
    """
    member = next(m for r in RECIPES.values() for m in r.networks if m.name == name)
    pictures, there = arranged_pictures(pool, member.input, hands, cache)
    target = cache / f"features_{name}_{digest([f'{s.kind}{s.rsna_id}' for s in pool])}.npy"
    if not target.exists():
        network = build(member.architecture)
        member_start(network, start_file(name, Path("runs")))
        network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        both = network_features(network, pictures, member.input, f"features of {name}")
        np.save(target, both.mean(axis=0).astype(np.float16))
    features = np.load(target).astype(np.float32)
    centred = features - features[there].mean(axis=0)
    _, _, directions = np.linalg.svd(centred[there][:: max(1, len(features) // 4000)], full_matrices=False)
    along = centred @ directions[:FEATURES].T
    views = np.where(there[:, None], along / along[there].std(axis=0), 0.0).astype(np.float32)
    row = {sample: number for number, sample in enumerate(pool)}
    return np.ascontiguousarray(views[[row[sample] for sample in samples]])


def _taught(labels: pd.DataFrame, weight: float) -> pd.Series:
    """Labels drawn towards the teacher's readings where there are any.

    Raises:
        InvalidTable: no teacher was given.
    """
    if "teacher_months" not in labels.columns:
        raise InvalidTable("This training learns from another system's readings as well. Name their table: --teacher.")
    teacher = labels.teacher_months.fillna(labels.bone_age_months)
    return (1 - weight) * labels.bone_age_months + weight * teacher
