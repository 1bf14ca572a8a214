"""Networks that know where the joints lie: the one that places them, and one that looks along the bones between them.

A convolutional network that averages its features over the picture cannot measure: how long a finger is beside
another, how broad a bone beside its length. Both differ between girls and boys. Straightened, every bone of every hand
lies on the same pixels: small convolutions sum up each, and a dense layer compares the summaries.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from .backbones import create_backbone, dense
from .published import LandmarkOutput
from .recipe import Architecture
from .types import FINGERS, LANDMARKS

_AT: Final = {name: number for number, name in enumerate(LANDMARKS)}
_WRIST, _MIDDLE_TIP = _AT["wrist"], _AT["middle_finger4"]
_CHAINS: Final = tuple(("wrist", *(f"{finger}{joint}" for joint in (1, 2, 3, 4))) for finger in FINGERS)
# The ends of every straightened strip, as places in `LANDMARKS`: five fingers of four, and two that go down the arm.
BONES: Final = tuple((_AT[a], _AT[b]) for chain in _CHAINS for a, b in pairwise(chain))
FOREARM: Final = (_AT["radius"], _AT["ulna"])
# The phalanges of forefinger and ring finger among the bones: their ratio differs by sex (Manning et al., Hum Reprod
# 1998;13:3000-3004).
_FOREFINGER, _RING_FINGER = slice(5, 8), slice(13, 16)
# Distances across the hand: knuckles, fingertips, joints of neighbours.
_ACROSS: Final = tuple(
    (_AT[a], _AT[b])
    for a, b in (
        ("forefinger1", "pinky_finger1"), ("forefinger1", "middle_finger1"), ("ring_finger1", "pinky_finger1"),
        ("forefinger4", "ring_finger4"), ("forefinger4", "middle_finger4"), ("ring_finger4", "middle_finger4"),
        ("pinky_finger4", "middle_finger4"), ("thumb4", "forefinger4"), ("radius", "ulna"),
    )
)  # fmt: skip
ALONG, ACROSS = 32, 24  # samples of a strip
OVERHANG = 0.15  # of a bone's length, to either side of it
HALF_WIDTH, PALM_HALF_WIDTH, FOREARM_LENGTH = 0.09, 0.14, 0.15  # of the hand's length
FARTHEST = 4.0  # deviations
FILTERS = (16, 32, 48)  # of the judge's convolutions, of which the last two halve a strip
SUMMARY, HEAD = 12, 96  # values that sum up a bone; units that compare the bones
LEAST_CONTRAST = 0.05  # deviation below which a strip's greys are grain
UNSEEN_SHARE = 0.1  # of the bones that are left out in training, so that none is relied on


class LandmarkNetwork(nn.Module):
    """One heat map a landmark, at a quarter of the picture's grid; where it lies is the heat's mean.

    Integral regression (Sun et al., ECCV 2018). The stages of the backbone are joined from the deepest up, as in a
    feature pyramid (Lin et al., CVPR 2017), with depthwise convolutions: a tenth more work than the backbone.
    """

    STAGES = (1, 2, 3, 4)  # of timm's features: strides 4, 8, 16, 32

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, _ = create_backbone(architecture)
        self.backbone.prune_intermediate_layers(self.STAGES, prune_norm=True)  # type: ignore[operator]
        channels = [info["num_chs"] for info in self.backbone.feature_info]  # type: ignore[union-attr]
        width = architecture.hidden[0]
        self.lateral = nn.ModuleList(nn.Conv2d(channels[stage], width, 1) for stage in self.STAGES)
        self.smooth = nn.ModuleList(self._smoothing(width) for _ in self.STAGES[:-1])
        self.heat = nn.Conv2d(width, len(architecture.points), 1)

    @staticmethod
    def _smoothing(width: int) -> nn.Module:
        """A 5x5 depthwise convolution, then a 1x1 one."""
        return nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )

    def shares(self, image: Tensor) -> Tensor:
        """How the heat of each landmark is shared out: (N, K, S/4, S/4), each map's sum 1, S a multiple of 32."""
        stages = self.backbone.forward_intermediates(  # type: ignore[operator]
            image, indices=self.STAGES, intermediates_only=True
        )
        x = self.lateral[-1](stages[-1])
        for number in reversed(range(len(stages) - 1)):
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.smooth[number](x + self.lateral[number](stages[number]))
        heat: Tensor = self.heat(x).float()
        return heat.flatten(2).softmax(dim=2).view_as(heat)

    def forward(self, image: Tensor) -> LandmarkOutput:
        """Places and spreads for pictures (N, 1, S, S)."""
        return self.read(self.shares(image))

    def shape(self, image: Tensor) -> Tensor:
        """How the joints lie to one another, and how unsure each is of its place: pictures to (N, F), in hands."""
        places, spread = self.read(self.shares(image))
        _, length, _ = _palm(places)
        return torch.cat([proportions(places), (spread / length).clamp(min=1e-3).log()], dim=1)

    @staticmethod
    def read(shares: Tensor) -> LandmarkOutput:
        """Mean and standard deviation of maps (N, K, h, w)."""
        means, variances = [], []
        for axis in (2, 3):
            cells = shares.shape[axis]
            at = (torch.arange(cells, device=shares.device) + 0.5) / cells
            along = shares.sum(dim=5 - axis)
            mean = (along * at).sum(dim=2)
            means.append(mean)
            variances.append((along * (at - mean[..., None]) ** 2).sum(dim=2))
        return LandmarkOutput(torch.stack(means, dim=2), (variances[0] + variances[1]).sqrt())


class BoneJudge(nn.Module):
    """Tells the sex from straightened bones and the hand's proportions, and the bone age besides, to learn more from.

    The same convolutions see every bone; how they are summed up is each bone's own affair.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        bones = len(BONES) + len(FOREARM)
        layers: list[nn.Module] = []
        for seen, made, stride in zip((1, *FILTERS), FILTERS, (1, 2, 2), strict=False):
            layers += [
                nn.Conv2d(seen, made, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(made),
                nn.ReLU(inplace=True),
            ]
        self.look = nn.Sequential(*layers)
        cells = FILTERS[-1] * (ALONG // 4) * (ACROSS // 4)
        self.sum_up = nn.Parameter(torch.randn(bones, cells, SUMMARY) / cells**0.5)
        self.summary_norm = nn.BatchNorm1d(bones * SUMMARY)
        measures = proportions(torch.zeros(1, len(LANDMARKS), 2)).shape[1] + 2 * bones
        self.measure_norm = nn.BatchNorm1d(measures, affine=False)
        self.compare = nn.Sequential(nn.Dropout(dropout), dense(bones * SUMMARY + measures, (HEAD,), 2, dropout))

    def forward(self, strips: Tensor, measures: Tensor) -> Tensor:
        """Logit of "male" and standardised age, (N, 2).

        Args:
            strips: as `straightened` makes them, (N, bones, ALONG, ACROSS).
            measures: as `proportions` makes them, (N, F).
        """
        level, contrast = strips.mean(dim=(2, 3)), strips.std(dim=(2, 3))
        even = (strips - level[..., None, None]) / contrast.clamp(min=LEAST_CONTRAST)[..., None, None]
        number, bones = level.shape
        cells = self.look(even.reshape(number * bones, 1, ALONG, ACROSS)).reshape(number, bones, -1)
        summary = torch.einsum("nbc,bcs->nbs", cells, self.sum_up).flatten(1)
        summary = torch.relu(self.summary_norm(summary)).view(number, bones, SUMMARY)
        if self.training:
            summary = summary * (torch.rand(number, bones, 1, device=summary.device) >= UNSEEN_SHARE)
        measured = self.measure_norm(torch.cat([measures, level, contrast], dim=1)).clamp(-FARTHEST, FARTHEST)
        told: Tensor = self.compare(torch.cat([summary.flatten(1), measured], dim=1))
        return told


class BoneNetwork(LandmarkNetwork):
    """Places the joints, straightens every bone, and tells the sex from the strips and the hand's proportions.

    The part that places joints is a trained `LandmarkNetwork`; only what judges is learnt (`train.bones`).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.judge = BoneJudge(architecture.dropout)

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        """Logit of "male", (N,), of pictures (N, 1, S, S)."""
        return self.told(image, self.read(self.shares(image)).places)[:, 0]

    def told(self, image: Tensor, places: Tensor) -> Tensor:
        """What the judge says, (N, 2), of pictures whose joints lie at `places`, (N, K, 2)."""
        told: Tensor = self.judge(straightened(image, places), proportions(places))
        return told


def _palm(places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Direction of the middle finger, (N, 2); the hand's length, (N, 1); 1 or -1 by the thumb's side, (N, 1)."""
    whole = places[:, _MIDDLE_TIP] - places[:, _WRIST]
    length = whole.norm(dim=1, keepdim=True).clamp(min=1e-3)
    up = whole / length
    thumb = places[:, _AT["thumb2"]] - places[:, _AT["pinky_finger1"]]
    side = torch.where((up[:, :1] * thumb[:, 1:] - up[:, 1:] * thumb[:, :1]) >= 0, 1.0, -1.0)
    return up, length, side


def straightened(image: Tensor, places: Tensor) -> Tensor:
    """Every bone laid straight, the thumb's side first: pictures (N, 1, S, S) to strips (N, bones, ALONG, ACROSS).

    Args:
        image: square.
        places: (row, column) of `LANDMARKS` as shares of the side, (N, K, 2).
    """
    up, length, side = _palm(places)
    start = torch.stack([places[:, a] for a, _ in BONES] + [places[:, end] for end in FOREARM], dim=1)
    end = torch.stack(
        [places[:, b] for _, b in BONES] + [places[:, e] - FOREARM_LENGTH * length * up for e in FOREARM], dim=1
    )
    along = end - start
    across = torch.stack([-along[..., 1], along[..., 0]], dim=-1)
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=1e-3) * (length * side)[:, None]
    half = torch.tensor([PALM_HALF_WIDTH if a == _WRIST else HALF_WIDTH for a, _ in BONES] + [HALF_WIDTH] * 2)
    shares = torch.linspace(-OVERHANG, 1 + OVERHANG, ALONG, device=image.device)
    sideways = torch.linspace(-1, 1, ACROSS, device=image.device)[:, None] * half.to(image.device)[:, None, None, None]
    at = start[:, :, None, None] + shares[:, None, None] * along[:, :, None, None] + sideways * across[:, :, None, None]
    grid = 2 * at.flip(-1) - 1  # column first, from -1 to 1
    number, bones = at.shape[:2]
    strips = grid_sample(
        image, grid.reshape(number, bones * ALONG, ACROSS, 2), padding_mode="border", align_corners=False
    )
    return strips.reshape(number, bones, ALONG, ACROSS)


def proportions(places: Tensor) -> Tensor:
    """Where the joints lie and how long the bones are, in hands, upright and as on a left hand: (N, K, 2) to (N, F)."""
    up, length, side = _palm(places)
    beside = (places - places[:, _WRIST : _WRIST + 1]) / length[:, None]
    x = (beside[..., 0] * up[:, 1:] - beside[..., 1] * up[:, :1]) * side
    y = beside[..., 0] * up[:, :1] + beside[..., 1] * up[:, 1:]
    spans = [(beside[:, a] - beside[:, b]).norm(dim=1) for a, b in (*BONES, *_ACROSS)]
    forefinger, ring_finger = (torch.stack(spans[finger]).sum(dim=0) for finger in (_FOREFINGER, _RING_FINGER))
    spans += [forefinger / ring_finger.clamp(min=1e-3)]
    return torch.cat([x, y, torch.stack(spans, dim=1).clamp(min=1e-3).log()], dim=1)
