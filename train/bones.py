"""How `joints.BoneNetwork` is trained: joints are placed once, and what judges learns from the straightened bones.

Placing joints takes longer than all the rest, so greys are augmented and the placed joints are moved, not the hand.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from baa_core.joints import BoneNetwork, proportions, straightened
from baa_core.models import AGE_DEVIATION_MONTHS, AGE_MEAN_MONTHS
from baa_core.recipe import Member

from .labelled import LabelledPictures
from .module import SexTask

PLACING_BATCH = 64
MOVED_SHARE = 0.012  # the most that a hand's joints are moved by, deviation, of the side: they are placed that well
GRAIN = 0.05  # the most that is added to the strips of a batch, deviation
DOUBT = 0.05  # of a label: a few were entered wrongly
AGE_WEIGHT = 0.3  # of the bone age, asked for besides: what tells the sex of a child of six is not what does at sixteen


class BonesTask(SexTask):
    """The sex from straightened bones. Batches end with the places of the joints (`add_joints`)."""

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__(member, minutes)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.startswith("judge."))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Binary cross-entropy of the logit of male, and the error of the bone age."""
        image, male, months, places = batch
        most = MOVED_SHARE * torch.rand(len(places), 1, 1, device=places.device)
        places = places.unflatten(1, (-1, 2)) + most * torch.randn_like(places).unflatten(1, (-1, 2))
        strips = straightened(image, places)
        strips = strips + GRAIN * torch.rand((), device=strips.device) * torch.randn_like(strips)
        told = cast(BoneNetwork, self.network).judge(strips, proportions(places)).float()
        loss = nn.functional.binary_cross_entropy_with_logits(told[:, 0], male * (1 - DOUBT) + DOUBT / 2)
        age = (months - AGE_MEAN_MONTHS) / AGE_DEVIATION_MONTHS
        loss = loss + AGE_WEIGHT * nn.functional.smooth_l1_loss(told[:, 1], age)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect logits; the mirror image has the same bones."""
        image, male, _, places = batch
        told = cast(BoneNetwork, self.network).told(image, places.unflatten(1, (-1, 2)))
        self.auroc.update(told[:, 0].float(), male.int())
        self.log(self.metric, self.auroc, prog_bar=True)


def add_joints(pictures: LabelledPictures, network: BoneNetwork) -> LabelledPictures:
    """Place the joints of every picture as it is, and put them behind the labels of each: (2K,) row, column."""
    augmentation, pictures.augmentation = pictures.augmentation, None
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    places: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for image, *_ in tqdm(DataLoader(pictures, PLACING_BATCH), desc="placing joints", mininterval=10):
            shares = network.shares(image.contiguous(memory_format=torch.channels_last))
            places.append(network.read(shares).places.flatten(1).numpy())
    pictures.features, pictures.augmentation = np.concatenate(places), augmentation
    return pictures
