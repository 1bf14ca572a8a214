"""The networks that estimate bone age or sex from a prepared picture: Deeplasia's shape and those of the other systems.

Networks take normalised pictures, (N, 1, S, S) float32, and speak in the units of their task: months, or the logit of
"male".
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..recipes.schema import AGE_GROUPS_MONTHS, Architecture
from .backbones import create_backbone, dense, softmax_mean_std
from .engine import on_engine

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
        return self.logits_from(self.features(image), male)

    @on_engine
    def features(self, image: Tensor) -> Tensor:
        """What the backbone finds in pictures, (N, F)."""
        found: Tensor = self.backbone(image)
        return found

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
        return softmax_mean_std(raw)


class SexNetwork(nn.Module):
    """Backbone and dense head; the logit of "male" comes out (Deeplasia, supplement 2)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        self.head = dense(width, architecture.hidden, 1, architecture.dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Logit of "male", (N,)."""
        logit: Tensor = self.head(self.features(image))
        return logit[:, 0]

    @on_engine
    def features(self, image: Tensor) -> Tensor:
        """What the backbone finds in pictures, (N, F)."""
        found: Tensor = self.backbone(image)
        return found


HALF_RANGE_MONTHS = 119.5  # Iglovikov 2018 scales the age to [-1, 1]: 0 to 239 months


CLASSES = 240  # Iglovikov 2018, section 2.3


GROUP_DEVIATION_MONTHS = 16.5  # of ages spread evenly over a group, the unit in which its regressor answers


PEOPLE = ("female", "male", "both")


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
            found["expectation", who] = softmax_mean_std(self.expectation[who](features))
        return found

    @on_engine
    def features(self, image: Tensor) -> Tensor:
        """What the backbone finds in pictures, (N, F)."""
        found: Tensor = self.backbone(image)
        return found

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        """Bone age in months, (k*N,): see `distribution`."""
        return self.distribution(image, male)[0]

    def distribution(self, image: Tensor, male: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the two models of this sex, and the deviation of the one that gives one.

        The two models for everybody, which cannot know the sex, err 4 months more on `val` (`python -m train regions`)
        and would make the mean worse by one: they are for comparison only.

        Args:
            image: (N, 1, H, W).
            male: (k*N,), 1 for male and 0 for female.
        """
        answers = self.answers_from(self.features(image))
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

    @on_engine
    def features(self, image: Tensor) -> Tensor:
        """What the backbone finds in pictures, (N, F)."""
        found: Tensor = self.backbone(image)
        return found

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
        features = self.features(image)
        times = len(male) // len(image)
        by_sex = [self.months_from(features, sex).repeat(times) for sex in (0, 1)]
        months = torch.where(male > 0.5, by_sex[1], by_sex[0])
        return months, torch.zeros_like(months)
