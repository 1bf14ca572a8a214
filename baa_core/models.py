"""Architecture -> nn.Module: one builder. Here are Deeplasia's networks; those of the other systems are in `published`.

Networks take normalised pictures, (N, 1, S, S) float32, and speak in the units of their
task: months, the logit of "male", a hand mask, or shares of the picture's side. Nothing outside
this file knows a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbones import VGGS, belief, create_backbone, dense
from .bones import BoneAgeNetwork, BoneSexNetwork
from .joint_patches import JointAgeNetwork
from .joints import LandmarkNetwork
from .published import GroupedAgeNetwork, KeyPointNetwork, MaskNetwork, SixHeads
from .recipe import Architecture

# Mean and deviation of bone age in Deeplasia's `data/parameters.yml` (FIELD.md section 1), rounded.
AGE_MEAN_MONTHS = 127.32
AGE_DEVIATION_MONTHS = 41.18
OLDEST_CLASS_MONTHS = 239  # 240 classes, 0 to 239 months (Iglovikov 2018, section 2.3)


class AgeNetwork(nn.Module):
    """Deeplasia's shape: backbone, sex inflated and concatenated, dense head, months out.

    The `expectation` output is a softmax over 240 months whose mean is the estimate
    (Iglovikov 2018, section 2.3); `regression` is a z-scored number scaled back to months.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone, width = create_backbone(architecture)
        if architecture.also_sex:
            self.sex_head = dense(width, architecture.hidden, 1, architecture.dropout)
        if architecture.sex_features:
            self.inflate_sex = nn.Sequential(nn.Linear(1, architecture.sex_features), nn.ReLU(inplace=True))
            width += architecture.sex_features
        expectation = architecture.output == "expectation"
        out = OLDEST_CLASS_MONTHS + 1 if expectation else 1
        self.head = dense(width, architecture.hidden, out, architecture.dropout)

    def logits(self, image: Tensor, male: Tensor) -> Tensor:
        """Raw output: (N, 240) class logits, or (N, 1) z-scored months.

        Args:
            image: (N, 1, S, S).
            male: (N,), 1 for male and 0 for female: the one place where sex is encoded is `ensemble`.
                Or (k*N,): the pictures are answered k times over, with one pass of the backbone.
        """
        return self.logits_from(self.backbone(image), male)

    def logits_from(self, features: Tensor, male: Tensor) -> Tensor:
        """`logits` of pictures whose features, (N, F), are known."""
        features = features.repeat(len(male) // len(features), 1)
        if self.architecture.sex_features:
            features = torch.cat([features, self.inflate_sex(male[:, None])], dim=1)
        raw: Tensor = self.head(features)
        return raw

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        """Bone age in months, (N,), before any bias correction."""
        return self.distribution(image, male)[0]

    def distribution(self, image: Tensor, male: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in months of what the network holds possible, (N,) each.

        Args:
            image: as for `logits`.
            male: as for `logits`.

        Returns:
            the bone age before any bias correction, and the deviation of the softmax over months: 0 for regression.
        """
        raw = self.logits(image, male)
        if self.architecture.output != "expectation":
            months = raw[:, 0] * AGE_DEVIATION_MONTHS + AGE_MEAN_MONTHS
            return months, torch.zeros_like(months)
        return belief(raw)


class SexNetwork(nn.Module):
    """Backbone and dense head; the logit of "male" comes out (Deeplasia, supplement 2)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        self.head = dense(width, architecture.hidden, 1, architecture.dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Logit of "male", (N,)."""
        logit: Tensor = self.head(self.backbone(image))
        return logit[:, 0]


class HandOutput(NamedTuple):
    """What the hand network says about a picture.

    `mask_logits` (N, 1, S, S); `presence_logit` (N,); `up` (N, 2): the direction of the
    fingers as (right, up), any length; `inverted_logit` (N,): bone is dark.
    """

    mask_logits: Tensor
    presence_logit: Tensor
    up: Tensor
    inverted_logit: Tensor


class CompetitiveBlock(nn.Module):
    """FastSurferCNN's competitive dense block: maxout in place of concatenation.

    Henschel et al., NeuroImage 2020; 3x3 instead of 5x5 kernels, for speed on a CPU.
    """

    def __init__(self, channels_in: int, filters: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels_in, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters))
        self.second = nn.Sequential(
            nn.PReLU(), nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters)
        )
        self.third = nn.Sequential(nn.PReLU(), nn.Conv2d(filters, filters, 1, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters, H, W)."""
        one = self.first(x)
        two = torch.maximum(self.second(one), one)
        return torch.maximum(self.third(two), two)


class HandNetwork(nn.Module):
    """A light FastSurferCNN (32 filters at every level; Deeplasia, supplement 1).

    Two strided convolutions bring the picture to a quarter of its grid, and every cell answers
    for its 4 x 4 pixels (pixel shuffle), which makes it sixteen times cheaper at the same
    resolution. Three small answers are read from the deepest level: is there a hand, where
    do its fingers point, is bone dark.
    """

    def __init__(self, architecture: Architecture, levels: int = 5) -> None:
        super().__init__()
        filters = architecture.hidden[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, filters // 2, 3, stride=2, padding=1),
            nn.PReLU(),
            nn.Conv2d(filters // 2, filters, 3, stride=2, padding=1),
        )
        self.down = nn.ModuleList(CompetitiveBlock(filters, filters) for _ in range(levels))
        self.bottom = CompetitiveBlock(filters, filters)
        self.up = nn.ModuleList(CompetitiveBlock(filters, filters) for _ in range(levels))
        self.mask = nn.Sequential(nn.Conv2d(filters, 16, 3, padding=1), nn.PixelShuffle(4))
        self.answers = nn.Sequential(nn.Linear(2 * filters, 64), nn.ReLU(inplace=True), nn.Linear(64, 4))

    def forward(self, image: Tensor) -> HandOutput:
        """Answers for pictures (N, 1, S, S), S a multiple of 128."""
        x = self.stem(image)
        skips, places = [], []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x, place = nn.functional.max_pool2d(x, 2, return_indices=True)
            places.append(place)
        x = self.bottom(x)
        answers = self.answers(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)).float()
        for block in self.up:
            x = nn.functional.max_unpool2d(x, places.pop(), [2, 2])
            x = block(torch.maximum(x, skips.pop()))
        return HandOutput(self.mask(x).float(), answers[:, 0], answers[:, 1:3], answers[:, 3])


def build(architecture: Architecture) -> nn.Module:
    """An untrained network of this shape, in evaluation mode."""
    builders: dict[tuple[str, str], type[nn.Module]] = {
        ("age", "one"): AgeNetwork,
        ("age", "six"): SixHeads,
        ("age", "grouped"): GroupedAgeNetwork,
        ("sex", "one"): SexNetwork,
        ("age", "bones"): BoneAgeNetwork,
        ("age", "joints"): JointAgeNetwork,
        ("sex", "bones"): BoneSexNetwork,
        ("hand", "one"): HandNetwork,
        ("mask", "one"): MaskNetwork,
        ("landmarks", "one"): KeyPointNetwork if architecture.backbone in VGGS else LandmarkNetwork,
    }
    network: nn.Module = builders[architecture.task, architecture.heads](architecture)
    return network.eval()
