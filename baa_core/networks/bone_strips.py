"""Networks of the straightened bones between the joints, for the sex and for the bone age.

A convolutional network that averages its features over the picture cannot measure: how long a finger is beside
another, how broad a bone beside its length. Both differ between girls and boys, and change with age. Straightened,
every bone of every hand lies on the same pixels: small convolutions sum up each, and a dense layer compares the
summaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from ..hand_anatomy import BONES, FOREARM, LANDMARKS, STRIPS, WRIST
from ..recipes.schema import Architecture
from .age import CLASSES
from .backbones import dense, softmax_mean_std
from .landmarks import LandmarkNetwork, hand_frame, proportions

OVERHANG = 0.15  # of a bone's length, to either side of it
HALF_WIDTH, PALM_HALF_WIDTH, FOREARM_LENGTH = 0.09, 0.14, 0.15  # of the hand's length
FARTHEST = 4.0  # deviations
LEAST_CONTRAST = 0.05  # deviation below which a strip's greys are grain
KEPT_PICTURES: Final = 2  # whose cells an explanation goes on from: the picture, and the blurred hand
FEW_SHARE: Final = 0.6  # of the strips or patches that are described anew; of more, all are
UNSEEN_SHARE = 0.1  # of the bones that are left out in training, so that none is relied on


@dataclass(frozen=True)
class BoneStripShape:
    """The resolution of the strips and the widths of a head.

    Attributes:
        samples: of a strip, along the bone and across it.
        filters: of its convolutions, of which all but the first halve a strip.
        summary: values that sum up a bone.
        head: units of the layer that compares the bones.
    """

    samples: tuple[int, int]
    filters: tuple[int, ...]
    summary: int
    head: int

    @property
    def cells(self) -> tuple[int, int]:
        """What the convolutions leave of a strip."""
        shrunk = 2 ** (len(self.filters) - 1)
        return self.samples[0] // shrunk, self.samples[1] // shrunk


SEX_HEAD: Final = BoneStripShape((32, 24), (16, 32, 48), 12, 96)
AGE_HEAD: Final = BoneStripShape((64, 24), (16, 32, 64, 64), 16, 192)


class BoneStripHead(nn.Module):
    """Logits from straightened bones and the hand's proportions.

    All bones share the convolutions; each bone has its own pooling.

    Args:
        shape: resolution and widths.
        extra: how many values there are beside strips and proportions.
        out: how many values come out.
        dropout: before and behind the layer that compares the bones.
    """

    def __init__(self, shape: BoneStripShape, extra: int, out: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for seen, made in pairwise((1, *shape.filters)):
            layers += [
                nn.Conv2d(seen, made, 3, 2 if layers else 1, padding=1, bias=False),
                nn.BatchNorm2d(made),
                nn.ReLU(inplace=True),
            ]
        self.convolutions = nn.Sequential(*layers)
        cells = shape.filters[-1] * shape.cells[0] * shape.cells[1]
        self.pooling = nn.Parameter(torch.randn(STRIPS, cells, shape.summary) / cells**0.5)
        self.summary_norm = nn.BatchNorm1d(STRIPS * shape.summary)
        measures = proportions(torch.zeros(1, len(LANDMARKS), 2)).shape[1] + extra + 2 * STRIPS
        self.measure_norm = nn.BatchNorm1d(measures, affine=False)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), dense(STRIPS * shape.summary + measures, (shape.head,), out, dropout)
        )

    def forward(self, strips: Tensor, measures: Tensor) -> Tensor:
        """Logits, (k*N, out).

        Args:
            strips: as `straightened` makes them, (N, bones, *samples).
            measures: as `proportions` makes them, and the sex where it is an input, (k*N, F): the strips are answered
                k times over, with one pass of the convolutions.
        """
        return self.answer(strips, self.cells(strips), measures)

    def cells(self, strips: Tensor) -> Tensor:
        """What the convolutions find in strips (N, bones, *samples), each by itself: (N, bones, F)."""
        level, contrast = _level_contrast(strips)
        even = (strips - level[..., None, None]) / contrast.clamp(min=LEAST_CONTRAST)[..., None, None]
        found: Tensor = self.convolutions(even.flatten(0, 1)[:, None])
        return found.reshape(*level.shape, -1)

    def answer(self, strips: Tensor, cells: Tensor, measures: Tensor) -> Tensor:
        """Logits, (k*N, out), of strips whose cells are known; as for `forward`."""
        level, contrast = _level_contrast(strips)
        number, bones = level.shape
        summary = torch.einsum("nbc,bcs->nbs", cells, self.pooling).flatten(1)
        summary = torch.relu(self.summary_norm(summary)).view(number, bones, -1)
        if self.training:
            summary = summary * (torch.rand(number, bones, 1, device=summary.device) >= UNSEEN_SHARE)
        times = len(measures) // len(strips)
        summary, level, contrast = (seen.repeat(times, *[1] * (seen.ndim - 1)) for seen in (summary, level, contrast))
        measured = self.measure_norm(torch.cat([measures, level, contrast], dim=1)).clamp(-FARTHEST, FARTHEST)
        said: Tensor = self.classifier(torch.cat([summary.flatten(1), measured], dim=1))
        return said


def _level_contrast(strips: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each strip."""
    return strips.mean(dim=(2, 3)), strips.std(dim=(2, 3))


class _KeptCells:
    """Cells of the strips of pictures of which some strips changed since before; as `BoneStripHead.cells` gives them.

    An occluded square lies on a few bones, and an explanation changes the picture or the blurred hand.
    """

    def __init__(self, head: BoneStripHead) -> None:
        self.head = head
        self.kept: list[tuple[Tensor, Tensor]] = []  # strips, cells

    def __call__(self, strips: Tensor) -> Tensor:
        """Cells, (N, bones, F), of strips, (N, bones, *samples)."""
        if torch.is_grad_enabled() and strips.requires_grad:
            return self.head.cells(strips)
        for before, known in self.kept:
            touched = (before != strips).any(dim=3).any(dim=2)
            if float(touched.float().mean()) <= FEW_SHARE:
                cells = known.clone()
                if touched.any():
                    cells[touched] = self.head.cells(strips[touched][None])[0]
                return cells
        made = self.head.cells(strips)
        self.kept = [(strips, made), *self.kept[: KEPT_PICTURES - 1]]
        return made


class BoneNetwork(LandmarkNetwork):
    """Places the joints, straightens every bone, and passes strips and proportions of the hand to a head.

    The part that places joints is the trained landmark network, and `train.age_sex.bone_strips` trains only `head`.
    So its weights file holds only that, and where joints were placed already their places are given.

    Args:
        architecture: of the part that places joints; its dropout is the head's.
        head: over strips and proportions.
        samples: of a strip, as the head takes it.
    """

    LEARNED = "head."  # of the names in its state: what is its own beside the landmark network

    def __init__(self, architecture: Architecture, head: BoneStripHead, samples: tuple[int, int]) -> None:
        super().__init__(architecture)
        self.head, self.samples = head, samples

    def places(self, image: Tensor) -> Tensor:
        """Where the joints lie, (N, K, 2), on pictures (N, 1, S, S)."""
        return self.placed(image).places

    def strips(self, image: Tensor, places: Tensor) -> Tensor:
        """The bones of pictures whose joints lie at `places`, as the head takes them."""
        return straightened(image, places, self.samples)


class BoneSexNetwork(BoneNetwork):
    """The sex from straightened bones, and the bone age besides, to learn more from."""

    def __init__(self, architecture: Architecture) -> None:
        head = BoneStripHead(SEX_HEAD, extra=0, out=2, dropout=architecture.dropout)
        super().__init__(architecture, head, SEX_HEAD.samples)

    def forward(self, image: Tensor, places: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Logit of "male", (N,), of pictures (N, 1, S, S), joints at `places`, (N, K, 2), or placed here."""
        return self.logits(image, self.places(image) if places is None else places)[:, 0]

    def logits(self, image: Tensor, places: Tensor) -> Tensor:
        """Logit of "male" and standardised age, (N, 2), of pictures whose joints lie at `places`, (N, K, 2)."""
        logits: Tensor = self.head(self.strips(image, places), proportions(places))
        return logits


class BoneAgeNetwork(BoneNetwork):
    """The bone age from straightened bones and the sex: a softmax over months, as `age.AgeNetwork` has it."""

    pieces: Final = STRIPS

    def __init__(self, architecture: Architecture) -> None:
        head = BoneStripHead(AGE_HEAD, extra=1, out=CLASSES, dropout=architecture.dropout)
        super().__init__(architecture, head, AGE_HEAD.samples)

    def forward(self, image: Tensor, male: Tensor, places: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Bone age in months, (N,), before any bias correction."""
        return self.distribution(image, male, places)[0]

    def distribution(self, image: Tensor, male: Tensor, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in months, (k*N,) each, of pictures (N, 1, S, S) and sexes (k*N,), 1 for male.

        Joints lie at `places`, (N, K, 2), or are placed here.
        """
        places = self.places(image) if places is None else places
        strips, known = self.strips(image, places), proportions(places)
        return softmax_mean_std(self.logits_from(strips, known.repeat(len(male) // len(image), 1), male))

    def logits_from(self, strips: Tensor, known: Tensor, male: Tensor) -> Tensor:
        """Class logits, (k*N, CLASSES), from strips of N pictures and proportions and sexes of k*N."""
        said: Tensor = self.head(strips, torch.cat([known, male[:, None]], dim=1))
        return said

    def with_fixed_landmarks(self, places: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The network as a function of pictures (N, 1, S, S) with the joints at the same places, (N, K, 2).

        For explanations: what a bone looks like is asked, not where a changed picture would have its joints. Not for
        several threads: a strip that shows what it showed in an earlier picture is not described anew.
        """
        known, cells = proportions(places), _KeptCells(self.head)

        def months(pictures: Tensor, male: Tensor) -> Tensor:
            strips, measures = self.strips(pictures, places), torch.cat([known, male[:, None]], dim=1)
            return softmax_mean_std(self.head.answer(strips, cells(strips), measures))[0]

        return months

    def to_picture_grid(self, cells: Tensor, image: Tensor, places: Tensor) -> Tensor:
        """Values of the cells that the head's convolutions leave, spread over the pictures below them.

        Args:
            cells: (N * bones, 1, *cells), as the last convolution orders them.
            image: the pictures, (N, 1, S, S).
            places: of their joints, (N, K, 2).

        Returns:
            (N, 1, S, S) with the same total.
        """
        with torch.enable_grad():
            seen = image.detach().requires_grad_()
            strips = self.strips(seen, places)
            size = strips.shape[-2:]
            spread = interpolate(cells, size, mode="bilinear", align_corners=False)
            spread = spread * (cells.shape[2] * cells.shape[3] / (size[0] * size[1]))
            (home,) = torch.autograd.grad(strips, seen, spread.reshape(strips.shape))
        return home


def straightened(image: Tensor, places: Tensor, samples: tuple[int, int]) -> Tensor:
    """Every bone laid straight, the thumb's side first: pictures (N, 1, S, S) to strips (N, bones, *samples).

    Args:
        image: square.
        places: (row, column) of `LANDMARKS` as shares of the side, (N, K, 2).
        samples: of each strip, along the bone and across it.
    """
    up, length, side = hand_frame(places)
    start = torch.stack([places[:, a] for a, _ in BONES] + [places[:, end] for end in FOREARM], dim=1)
    end = torch.stack(
        [places[:, b] for _, b in BONES] + [places[:, e] - FOREARM_LENGTH * length * up for e in FOREARM], dim=1
    )
    bone = end - start
    beside = torch.stack([-bone[..., 1], bone[..., 0]], dim=-1)
    beside = beside / beside.norm(dim=-1, keepdim=True).clamp(min=1e-3) * (length * side)[:, None]
    half = torch.tensor([PALM_HALF_WIDTH if a == WRIST else HALF_WIDTH for a, _ in BONES] + [HALF_WIDTH] * 2)
    along = torch.linspace(-OVERHANG, 1 + OVERHANG, samples[0], device=image.device)[:, None, None]
    across = torch.linspace(-1, 1, samples[1], device=image.device)[:, None]
    across = across * half.to(image.device)[:, None, None, None]
    at = start[:, :, None, None] + along * bone[:, :, None, None] + across * beside[:, :, None, None]
    grid = 2 * at.flip(-1) - 1  # column first, from -1 to 1
    found = grid_sample(image, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    return found.reshape(len(image), STRIPS, *samples)
