"""The networks of the other published systems: their heads, their masks and their key points.

Each takes pictures (N, 1, H, W) as `models` does, and speaks in the same units. Age networks answer to
`distribution(image, male)`, by which `ensemble` asks.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbones import belief, create_backbone, dense
from .recipe import Architecture

HALF_RANGE_MONTHS = 119.5  # Iglovikov 2018 scales the age to [-1, 1]: 0 to 239 months
CLASSES = 240  # Iglovikov 2018, section 2.3
# Malanga 2024, Methods: 0-57, 58-114, 115-171 and 172-228 months.
AGE_GROUPS_MONTHS = (0.0, 57.5, 114.5, 171.5, 228.0)
GROUP_DEVIATION_MONTHS = 16.5  # of ages spread evenly over a group, the unit in which its regressor answers
PEOPLE = ("female", "male", "both")


class LandmarkOutput(NamedTuple):
    """What the landmark network says about a picture, K points in the order of its architecture.

    `places` (N, K, 2): (row, column) in shares of the side, [0, 1] from edge to edge; `spread` (N, K): the standard
    deviation of the heat around its place, in shares of the side.
    """

    places: Tensor
    spread: Tensor


class SixHeads(nn.Module):
    """Iglovikov's six models of one region on shared convolutions: regression and expectation for girls, boys, both.

    In the paper each is a network of its own; sharing the convolutions makes them trainable on two cores.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        sizes = (architecture.hidden, architecture.dropout)
        self.regression = nn.ModuleDict({who: dense(width, sizes[0], 1, sizes[1]) for who in PEOPLE})
        self.expectation = nn.ModuleDict({who: dense(width, sizes[0], CLASSES, sizes[1]) for who in PEOPLE})

    def answers_from(self, features: Tensor) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
        """Mean and deviation in months, (N,) each, of every model by its kind and for whom it answers."""
        found = {}
        for who in PEOPLE:
            raw = self.regression[who](features)[:, 0]
            found["regression", who] = (raw + 1.0) * HALF_RANGE_MONTHS, torch.zeros_like(raw)
            found["expectation", who] = belief(self.expectation[who](features))
        return found

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        """Bone age in months, (k*N,): see `distribution`."""
        return self.distribution(image, male)[0]

    def distribution(self, image: Tensor, male: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the two models of this sex, and the deviation of the one that gives one.

        The two models for everybody, which cannot know the sex, err 4 months more on `val` (`python -m train.regions`)
        and would make the mean worse by one: they are for comparison only.

        Args:
            image: (N, 1, H, W).
            male: (k*N,), 1 for male and 0 for female.
        """
        answers = self.answers_from(self.backbone(image))
        times = len(male) // len(image)

        def chosen(kind: str, part: int) -> Tensor:
            own = [answers[kind, who][part].repeat(times) for who in ("female", "male")]
            return torch.where(male > 0.5, own[1], own[0])

        months = (chosen("regression", 0) + chosen("expectation", 0)) / 2
        return months, chosen("expectation", 1)


class GroupedAgeNetwork(nn.Module):
    """Malanga's route: a classifier of four age groups for each sex, and a regressor for each group and sex.

    The backbone is frozen in training; all that is learnt stands behind it.

    Attributes:
        group: the group that the user states, 0 to 3; None lets the classifier choose.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        hidden, dropout = architecture.hidden, architecture.dropout
        groups = len(AGE_GROUPS_MONTHS) - 1
        self.classifiers = nn.ModuleList(dense(width, hidden, groups, dropout) for _ in range(2))
        self.regressors = nn.ModuleList(
            nn.ModuleList(dense(width, hidden, 1, dropout) for _ in range(groups)) for _ in range(2)
        )
        self.group: int | None = None

    def stating(self, group: int) -> GroupedAgeNetwork:
        """The same network, its route stated."""
        stated = copy.copy(self)
        stated.group = group
        return stated

    def classify(self, features: Tensor, sex: int) -> Tensor:
        """Logits of the age groups, (N, 4), by the classifier of one sex (0 female, 1 male)."""
        logits: Tensor = self.classifiers[sex](features)
        return logits

    def regress(self, features: Tensor, sex: int, group: int) -> Tensor:
        """Months, (N,), by the regressor of one sex and group."""
        centre = (AGE_GROUPS_MONTHS[group] + AGE_GROUPS_MONTHS[group + 1]) / 2
        raw: Tensor = self.regressors[sex][group](features)[:, 0]  # type: ignore[index]
        return centre + GROUP_DEVIATION_MONTHS * raw

    def route(self, features: Tensor, sex: int) -> Tensor:
        """Which group each picture goes to, (N,)."""
        if self.group is not None:
            return torch.full((len(features),), self.group, device=features.device)
        return self.classify(features, sex).argmax(dim=1)

    def months_from(self, features: Tensor, sex: int) -> Tensor:
        """Months, (N,), each by the regressor of its group."""
        routes = self.route(features, sex)
        by_group = torch.stack(
            [self.regress(features, sex, group) for group in range(len(AGE_GROUPS_MONTHS) - 1)], dim=1
        )
        return by_group.gather(1, routes[:, None])[:, 0]

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        """Bone age in months, (k*N,): see `distribution`."""
        return self.distribution(image, male)[0]

    def distribution(self, image: Tensor, male: Tensor) -> tuple[Tensor, Tensor]:
        """Months for pictures (N, 1, H, W) and sexes (k*N,), and 0: a regressor names one number only."""
        features = self.backbone(image)
        times = len(male) // len(image)
        by_sex = [self.months_from(features, sex).repeat(times) for sex in (0, 1)]
        months = torch.where(male > 0.5, by_sex[1], by_sex[0])
        return months, torch.zeros_like(months)


class KeyPointNetwork(nn.Module):
    """Iglovikov's key points: three VGG blocks and three fully connected layers that name coordinates."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        self.head = dense(width, architecture.hidden, 2 * len(architecture.points), architecture.dropout)

    def forward(self, image: Tensor) -> LandmarkOutput:
        """Places for pictures (N, 1, H, W); their spread is 0, since the network gives none."""
        places = 0.5 + 0.25 * self.head(self.backbone(image)).reshape(len(image), -1, 2)
        return LandmarkOutput(places, torch.zeros_like(places[..., 0]))


class MaskNetwork(nn.Module):
    """A U-Net (Ronneberger 2015) with batch normalisation; `hidden` names the channels of its first level."""

    LEVELS = 4

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = [architecture.hidden[0] * 2**level for level in range(self.LEVELS + 1)]
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip([1, *widths], widths, strict=False))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(deep, flat, 2, stride=2) for flat, deep in pairwise(widths))
        self.up = nn.ModuleList(_pair(2 * width, width) for width in widths[:-1])
        self.mask = nn.Conv2d(widths[0], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of "hand", (N, 1, H, W), for pictures whose sides are multiples of 16."""
        skips: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(self.LEVELS)):
            x = self.up[level](torch.cat([self.enlarge[level](x), skips[level]], dim=1))
        logits: Tensor = self.mask(x)
        return logits


def _pair(channels_in: int, channels: int) -> nn.Sequential:
    """Two 3x3 convolutions, each normalised."""
    layers: list[nn.Module] = []
    for width in (channels_in, channels):
        layers += [
            nn.Conv2d(width, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
