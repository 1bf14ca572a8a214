"""How Iglovikov's U-Net is trained: on the hands that positive mining found, as pictures with their masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from baa_core.errors import BoneAgeError
from baa_core.preprocessing.prepare import InputSpec, apply_steps
from baa_core.recipes.schema import Member

from ..age_sex.tasks import Task
from ..data.augmentation import augment_outlined
from ..data.cache import in_processes, normalised
from ..data.hand_store import HandStore
from ..data.samples import Sample, read_sample

Grey = NDArray[np.uint8]


class OutlinedPictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Arranged pictures with their masks: (1, H, W) normalised image, (H, W) 1 on the hand.

    Args:
        pictures: uint8 (N, H, W).
        masks: uint8 (N, H, W), 255 on the hand.
        augmentation: a name in `train.data.augmentation`, or None for the pictures as they are.
    """

    def __init__(self, pictures: Grey, masks: Grey, spec: InputSpec, augmentation: str | None) -> None:
        self.pictures, self.masks, self.spec, self.augmentation = pictures, masks, spec, augmentation

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture, mask = self.pictures[index], self.masks[index]
        if self.augmentation is not None:
            picture, mask = augment_outlined(picture, mask, self.augmentation)
        image = normalised(picture, self.spec)
        return torch.from_numpy(image), torch.from_numpy((mask > 127).astype(np.float32))


def outline_sets(
    member: Member, samples: list[Sample], labels: pd.DataFrame, cache: Path
) -> tuple[OutlinedPictures, OutlinedPictures]:
    """Training and validation pictures of a network that draws outlines.

    Raises:
        BoneAgeError: no hand was found in any picture of a split, or none were looked for yet.
    """
    store = HandStore(cache / "hands")
    made = []
    for split, augmentation in (("train", member.training.augment), ("val", None)):
        chosen = [s for s in samples if s.kind in member.training.images and labels.split[s.rsna_id] == split]
        tasks = [(s, member.input, store) for s in chosen]
        found = [pair for pair in in_processes(_outlined, tasks, 2, "arranging") if pair is not None]
        if not found:
            raise BoneAgeError(f"No hand was found in the {split} pictures under --images. Name their folders.")
        pictures, masks = (np.array(part, np.uint8) for part in zip(*found, strict=True))
        made.append(OutlinedPictures(pictures, masks, member.input, augmentation))
    return made[0], made[1]


def _outlined(task: tuple[Sample, InputSpec, HandStore]) -> tuple[Grey, Grey] | None:
    sample, spec, store = task
    cv2.setNumThreads(1)
    radiograph = read_sample(sample)
    hand = store.hand(sample, radiograph)
    if hand is None:
        return None
    picture = apply_steps(radiograph, hand, spec)
    return np.asarray(np.round(picture.pixels * 255), np.uint8), picture.mask.astype(np.uint8) * 255


class OutlineTask(Task):
    """Hand masks. Validation metric: Dice with the mined ones."""

    metric = "val_dice"
    higher_is_better = True

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """H - log J: binary cross-entropy less the logarithm of the soft Jaccard index (Iglovikov 2018, eq. 1 to 3).

        The index is taken over each picture; the paper's sum of quotients pixel by pixel is 0 for all background.
        """
        image, mask = batch
        logits = self.network(image)[:, 0].float()
        probability = logits.sigmoid()
        both = (probability * mask).sum(dim=(1, 2))
        either = probability.sum(dim=(1, 2)) + mask.sum(dim=(1, 2)) - both
        jaccard = ((both + 1) / (either + 1)).log().mean()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, mask) - jaccard
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The mean Dice of the pictures."""
        image, mask = batch
        found = (self.network(image)[:, 0] > 0).float()
        dice = 2 * (found * mask).sum(dim=(1, 2)) / (found + mask).sum(dim=(1, 2)).clamp(min=1)
        self.log(self.metric, dice.mean(), prog_bar=True, batch_size=len(image), sync_dist=True)
