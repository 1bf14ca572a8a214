"""The networks that segment the hand: the light FastSurferCNN of Deeplasia's route, and Iglovikov's U-Net."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..recipes.schema import Architecture


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

    Henschel et al., NeuroImage 2020; 3x3 instead of 5x5 kernels, for speed on a CPU. `norms`: batch norms after the
    convolutions, in place of biases.
    """

    def __init__(self, channels_in: int, filters: int, norms: bool = True) -> None:
        super().__init__()

        def convolution(channels: int, size: int) -> tuple[nn.Module, ...]:
            made = nn.Conv2d(channels, filters, size, padding=size // 2, bias=not norms)
            return (made, nn.BatchNorm2d(filters)) if norms else (made,)

        self.first = nn.Sequential(*convolution(channels_in, 3))
        self.second = nn.Sequential(nn.PReLU(), *convolution(filters, 3))
        self.third = nn.Sequential(nn.PReLU(), *convolution(filters, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters, H, W)."""
        one = self.first(x)
        two = torch.maximum(self.second(one), one)
        return torch.maximum(self.third(two), two)


class _FastSurfer(nn.Module):
    """A light FastSurferCNN (32 filters at every level; Deeplasia, supplement 1).

    Two strided convolutions bring the picture to a quarter of its grid, and every cell answers
    for its 4 x 4 pixels (pixel shuffle), which makes it sixteen times cheaper at the same
    resolution.
    """

    def __init__(self, channels_in: int, filters: int, levels: int, norms: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels_in, filters // 2, 3, stride=2, padding=1),
            nn.PReLU(),
            nn.Conv2d(filters // 2, filters, 3, stride=2, padding=1),
        )
        self.down = nn.ModuleList(CompetitiveBlock(filters, filters, norms) for _ in range(levels))
        self.bottom = CompetitiveBlock(filters, filters, norms)
        self.up = nn.ModuleList(CompetitiveBlock(filters, filters, norms) for _ in range(levels))
        self.mask = nn.Sequential(nn.Conv2d(filters, 16, 3, padding=1), nn.PixelShuffle(4))

    def segment(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 1, S, S) of "hand", S a multiple of 128, and the features of the deepest level."""
        x = self.stem(image)
        skips, places = [], []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x, place = nn.functional.max_pool2d(x, 2, return_indices=True)
            places.append(place)
        x = deepest = self.bottom(x)
        for block in self.up:
            x = nn.functional.max_unpool2d(x, places.pop(), [2, 2])
            x = block(torch.maximum(x, skips.pop()))
        return self.mask(x).float(), deepest


class HandNetwork(_FastSurfer):
    """Finds the hand in a picture with one channel of grey.

    Three small answers are read from the deepest level: is there a hand, where do its fingers point, is bone dark.
    """

    def __init__(self, architecture: Architecture, levels: int = 5) -> None:
        filters = architecture.hidden[0]
        super().__init__(1, filters, levels, norms=True)
        self.answers = nn.Sequential(nn.Linear(2 * filters, 64), nn.ReLU(inplace=True), nn.Linear(64, 4))

    def forward(self, image: Tensor) -> HandOutput:
        """Answers for pictures (N, 1, S, S), S a multiple of 128."""
        mask_logits, x = self.segment(image)
        answers = self.answers(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)).float()
        return HandOutput(mask_logits, answers[:, 0], answers[:, 1:3], answers[:, 3])


class RedrawNetwork(_FastSurfer):
    """Draws an uncertain outline again, from a crop in several greys and the probability that the hand network gave.

    It has no batch norms: it begins as the hand network with those folded in.
    """

    CHANNELS = 4  # `segmentation.redraw_channels`

    def __init__(self, architecture: Architecture, levels: int = 5) -> None:
        super().__init__(self.CHANNELS, architecture.hidden[0], levels, norms=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of "hand", (N, 1, S, S), for crops (N, 4, S, S), S a multiple of 128."""
        return self.segment(image)[0]


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
