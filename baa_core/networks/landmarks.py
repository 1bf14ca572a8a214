"""The network that places the joints, and what their places say of a hand's proportions."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..hand_anatomy import _AT, BONES
from ..recipes.schema import Architecture
from .backbones import create_backbone, dense
from .engine import on_engine

PLACED_PX: Final = 224  # side at which joints are placed, as the network that does it was trained
WRIST, _MIDDLE_TIP = _AT["wrist"], _AT["middle_finger4"]
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

    @on_engine
    def heatmaps(self, image: Tensor) -> Tensor:
        """The heatmap of each landmark: (N, K, S/4, S/4), each one's sum 1, S a multiple of 32."""
        stages = self.backbone.forward_intermediates(  # type: ignore[operator]
            image, indices=self.STAGES, intermediates_only=True
        )
        x = self.lateral[-1](stages[-1])
        for number in reversed(range(len(stages) - 1)):
            x = interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.smooth[number](x + self.lateral[number](stages[number]))
        heat: Tensor = self.heat(x).float()
        return heat.flatten(2).softmax(dim=2).view_as(heat)

    def forward(self, image: Tensor) -> LandmarkOutput:
        """Places and spreads for pictures (N, 1, S, S)."""
        return self.placed(image)

    def placed(self, image: Tensor) -> LandmarkOutput:
        """The same in networks that have something else to say; pictures larger than `PLACED_PX` are shrunk first."""
        if image.shape[-1] > PLACED_PX:
            image = interpolate(image, (PLACED_PX, PLACED_PX), mode="bilinear", align_corners=False, antialias=True)
        return self.soft_argmax(self.heatmaps(image))

    @staticmethod
    def soft_argmax(heatmaps: Tensor) -> LandmarkOutput:
        """Mean and standard deviation of maps (N, K, h, w)."""
        means, variances = [], []
        for axis in (2, 3):
            cells = heatmaps.shape[axis]
            at = (torch.arange(cells, device=heatmaps.device) + 0.5) / cells
            along = heatmaps.sum(dim=5 - axis)
            mean = (along * at).sum(dim=2)
            means.append(mean)
            variances.append((along * (at - mean[..., None]) ** 2).sum(dim=2))
        return LandmarkOutput(torch.stack(means, dim=2), (variances[0] + variances[1]).sqrt())


def hand_frame(places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Direction of the middle finger, (N, 2); the hand's length, (N, 1); 1 or -1 by the thumb's side, (N, 1)."""
    whole = places[:, _MIDDLE_TIP] - places[:, WRIST]
    length = whole.norm(dim=1, keepdim=True).clamp(min=1e-3)
    up = whole / length
    thumb = places[:, _AT["thumb2"]] - places[:, _AT["pinky_finger1"]]
    side = torch.where((up[:, :1] * thumb[:, 1:] - up[:, 1:] * thumb[:, :1]) >= 0, 1.0, -1.0)
    return up, length, side


def proportions(places: Tensor) -> Tensor:
    """Where the joints lie and how long the bones are, in hands, upright and as on a left hand: (N, K, 2) to (N, F)."""
    up, length, side = hand_frame(places)
    beside = (places - places[:, WRIST : WRIST + 1]) / length[:, None]
    x = (beside[..., 0] * up[:, 1:] - beside[..., 1] * up[:, :1]) * side
    y = beside[..., 0] * up[:, :1] + beside[..., 1] * up[:, 1:]
    spans = [(beside[:, a] - beside[:, b]).norm(dim=1) for a, b in (*BONES, *_ACROSS)]
    forefinger, ring_finger = (torch.stack(spans[finger]).sum(dim=0) for finger in (_FOREFINGER, _RING_FINGER))
    spans += [forefinger / ring_finger.clamp(min=1e-3)]
    return torch.cat([x, y, torch.stack(spans, dim=1).clamp(min=1e-3).log()], dim=1)


class LandmarkOutput(NamedTuple):
    """What the landmark network says about a picture, K points in the order of its architecture.

    `places` (N, K, 2): (row, column) in shares of the side, [0, 1] from edge to edge; `spread` (N, K): the standard
    deviation of the heat around its place, in shares of the side.
    """

    places: Tensor
    spread: Tensor


class KeyPointNetwork(nn.Module):
    """Iglovikov's key points: three VGG blocks and three fully connected layers that name coordinates."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone, width = create_backbone(architecture)
        self.head = dense(width, architecture.hidden, 2 * len(architecture.points), architecture.dropout)

    def forward(self, image: Tensor) -> LandmarkOutput:
        """Places for pictures (N, 1, H, W); their spread is 0, since the network gives none."""
        places = 0.5 + 0.25 * self.head(self.features(image)).reshape(len(image), -1, 2)
        return LandmarkOutput(places, torch.zeros_like(places[..., 0]))

    @on_engine
    def features(self, image: Tensor) -> Tensor:
        """What the backbone finds in pictures, (N, F)."""
        found: Tensor = self.backbone(image)
        return found
