"""How `bone_strips.BoneNetwork` is trained: joints are placed once, and what judges learns from the straightened bones.

Placing joints takes longer than all the rest, so greys are augmented and the placed joints are moved, not the hand.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader
from torchmetrics.classification import BinaryAUROC
from tqdm import tqdm

from baa_core.networks.age import AGE_DEVIATION_MONTHS, AGE_MEAN_MONTHS
from baa_core.networks.backbones import softmax_mean_std
from baa_core.networks.bone_strips import BoneAgeNetwork, BoneNetwork, BoneSexNetwork
from baa_core.networks.landmarks import proportions
from baa_core.recipes.schema import Member

from ..data.dataset import LabelledPictures
from .losses import expectation_loss
from .tasks import Task

PLACING_BATCH = 64
MOVED_SHARE = 0.012  # the most that a hand's joints are moved by, deviation, of the side: they are placed that well
GRAIN = 0.05  # the most that is added to the strips of a batch, deviation
DOUBT = 0.05  # of a label: a few were entered wrongly
AGE_WEIGHT = 0.3  # of the bone age, asked for besides: what tells the sex of a child of six is not what does at sixteen
EFFACED_SHARE, EFFACED_TO = (
    0.1,
    4,
)  # of the bones, age alone: blurred to so many cells a side, to do without their detail


class BonesTask(Task):
    """What both trainings share. Batches end with the places of the joints (`add_joints`)."""

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__(member, minutes)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.startswith("head."))

    def seen(self, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Strips with grain, and proportions, of joints that are moved a little."""
        places = places.unflatten(1, (-1, 2))
        most = MOVED_SHARE * torch.rand(len(places), 1, 1, device=places.device)
        places = places + most * torch.randn_like(places)
        strips = cast(BoneNetwork, self.network).strips(image, places)
        grain = GRAIN * torch.rand((), device=strips.device)
        return strips + grain * torch.randn_like(strips), proportions(places)


class BoneSexTask(BonesTask):
    """The sex. Validation metric: area under the curve."""

    metric = "val_auroc"
    higher_is_better = True

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__(member, minutes)
        self.auroc = BinaryAUROC()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Binary cross-entropy of the logit of male, and the error of the bone age."""
        image, male, months, places = batch
        told = cast(BoneSexNetwork, self.network).head(*self.seen(image, places)).float()
        loss = nn.functional.binary_cross_entropy_with_logits(told[:, 0], male * (1 - DOUBT) + DOUBT / 2)
        age = (months - AGE_MEAN_MONTHS) / AGE_DEVIATION_MONTHS
        loss = loss + AGE_WEIGHT * nn.functional.smooth_l1_loss(told[:, 1], age)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect logits; the mirror image has the same bones."""
        image, male, _, places = batch
        told = cast(BoneSexNetwork, self.network).logits(image, places.unflatten(1, (-1, 2)))
        self.auroc.update(told[:, 0].float(), male.int())
        self.log(self.metric, self.auroc, prog_bar=True)


class BoneAgeTask(BonesTask):
    """The bone age, for a known sex. Validation metric: MAE in months."""

    metric = "val_mae_months"

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy to a Gaussian around the label and a tenth of the absolute error of the mean."""
        image, male, months, *_, places = batch
        strips, known = self.seen(image, places)
        loss = expectation_loss(cast(BoneAgeNetwork, self.network).logits_from(effaced(strips), known, male), months)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Mean absolute error; the mirror image has the same bones."""
        image, male, months, places = batch
        network, at = cast(BoneAgeNetwork, self.network), places.unflatten(1, (-1, 2))
        predicted, _ = softmax_mean_std(network.logits_from(network.strips(image, at), proportions(at), male))
        self.log(self.metric, (predicted - months).abs().mean(), prog_bar=True, batch_size=len(months), sync_dist=True)


def effaced(strips: Tensor) -> Tensor:
    """Some bones, (N, bones, along, across), without their detail: an explanation takes it away, region by region."""
    small = nn.functional.adaptive_avg_pool2d(strips, EFFACED_TO)
    smooth = interpolate(small, strips.shape[2:], mode="bilinear", align_corners=False)
    kept = torch.rand(*strips.shape[:2], 1, 1, device=strips.device) >= EFFACED_SHARE
    return torch.where(kept, strips, smooth)


def add_joints(pictures: LabelledPictures, network: BoneNetwork) -> LabelledPictures:
    """Place the joints of every picture as it is, and put them behind the labels of each: (2K,) row, column."""
    augmentation, pictures.augmentation = pictures.augmentation, None
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    places: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for image, *_ in tqdm(DataLoader(pictures, PLACING_BATCH), desc="placing joints", mininterval=10):
            found = network.places(image.contiguous(memory_format=torch.channels_last))
            places.append(found.flatten(1).numpy())
    pictures.features, pictures.augmentation = np.concatenate(places), augmentation
    return pictures
