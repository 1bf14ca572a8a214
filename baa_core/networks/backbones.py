"""What turns a picture into features: timm's networks, and the VGG shapes that published systems use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
import torch
from torch import Tensor, nn

from ..recipes.schema import Architecture


def create_backbone(architecture: Architecture) -> tuple[nn.Module, int]:
    """A network without its classifier, for one channel, and how many features it gives."""
    if architecture.backbone in VGGS:
        vgg = Vgg(VGGS[architecture.backbone])
        return vgg, vgg.num_features
    import timm  # here: the page must not wait two seconds for it before it answers

    own: dict[str, Any] = {"act_layer": architecture.activation} if architecture.activation else {}
    name = architecture.backbone
    backbone: nn.Module = timm.create_model(name, pretrained=False, in_chans=1, num_classes=0, **own)
    return backbone, int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def dense(width: int, hidden: tuple[int, ...], out: int, dropout: float) -> nn.Sequential:
    """Fully connected layers with ReLU and dropout, then a linear one of `out` values."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, out))


def softmax_mean_std(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation in months, (N,) each, of a softmax over months from 0, (N, classes).

    Its mean is the estimate (Iglovikov 2018, section 2.3).
    """
    shares, months = raw.float().softmax(dim=1), torch.arange(raw.shape[1], device=raw.device)
    mean = (shares * months).sum(dim=1)
    return mean, (shares * (months - mean[:, None]) ** 2).sum(dim=1).clamp(min=1e-6).sqrt()


@dataclass(frozen=True)
class VggShape:
    """A VGG network: blocks of 3x3 convolutions, each ending in a 2x2 maximum.

    Attributes:
        convolutions: in each block.
        widths: channels of each block.
        activation: of nn.
        cells: the last block's map is averaged to so many cells a side, and these are the features.
        attention: the last map is averaged with weights that the network itself gives its places, `cells` being 1.
    """

    convolutions: tuple[int, ...]
    widths: tuple[int, ...]
    activation: type[nn.Module]
    cells: int = 1
    attention: bool = False


SIXTEEN, QUARTER = (2, 2, 3, 3, 3), (16, 32, 64, 128, 128)  # VGG16's blocks (Simonyan & Zisserman 2014)
FULL = (64, 128, 256, 512, 512)
VGGS = {
    "vgg16": VggShape(SIXTEEN, FULL, nn.ReLU),
    "vgg16_attention": VggShape(SIXTEEN, FULL, nn.ReLU, attention=True),
    "vgg16_quarter": VggShape(SIXTEEN, QUARTER, nn.ReLU),
    "vgg16_quarter_attention": VggShape(SIXTEEN, QUARTER, nn.ReLU, attention=True),
    # Iglovikov 2018, figure 3: six blocks of two convolutions with ELU for the age, three for the key points. The
    # figure's widths cannot be read; these are ours.
    "vgg_elu_six": VggShape((2,) * 6, (32, 64, 128, 128, 256, 384), nn.ELU, cells=2),
    "vgg_elu_six_small": VggShape((2,) * 6, (16, 32, 48, 64, 96, 128), nn.ELU, cells=2),
    "vgg_elu_three": VggShape((2,) * 3, (16, 32, 64), nn.ELU, cells=8),
}


class Vgg(nn.Module):
    """A VGG network for one channel, with batch normalisation, which training from scratch on two cores needs."""

    def __init__(self, shape: VggShape) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 1
        for count, width in zip(shape.convolutions, shape.widths, strict=True):
            for _ in range(count):
                blocks += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
                blocks += [shape.activation(inplace=True)]
                channels = width
            blocks += [nn.MaxPool2d(2, ceil_mode=True)]
        self.blocks = nn.Sequential(*blocks)
        self.looks_at = nn.Conv2d(channels, 1, 1) if shape.attention else None
        self.cells = shape.cells
        self.num_features = channels * shape.cells**2

    def forward(self, image: Tensor) -> Tensor:
        """Features (N, F) of pictures (N, 1, H, W)."""
        found: Tensor = self.blocks(image)
        if self.looks_at is not None:
            weights = self.looks_at(found).flatten(2).softmax(dim=2)
            return torch.einsum("ncp,nop->nc", found.flatten(2), weights)
        return nn.functional.adaptive_avg_pool2d(found, self.cells).flatten(1)


def fold_norms(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution that stands before it, in place; for networks in evaluation mode.

    The answers are the same to a thousandth of a month. On two cores an answer of Lite0 at 320 px comes 1.1 to 1.3
    times faster and its gradient 2.3 to 4 times, because a norm in evaluation mode is slow to differentiate
    (`python -m benchmarks` prints both ratios).
    """
    for module in network.modules():
        before: nn.Module | None = None
        for name, child in list(module.named_children()):
            if isinstance(before, nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
                _fold(before, child)
                setattr(module, name, getattr(child, "act", None) or nn.Identity())  # timm's norms activate as well
            before = child
    return network


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the weights and bias with which it does what it and the norm did."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a norm without running statistics cannot be folded")
    with torch.no_grad():
        scale = norm.weight / (variance + norm.eps).sqrt()
        bias = torch.zeros_like(mean) if convolution.bias is None else convolution.bias
        weight = convolution.weight * scale[:, None, None, None]
        wanted = convolution.weight.requires_grad
        convolution.weight = nn.Parameter(weight, requires_grad=wanted)
        convolution.bias = nn.Parameter((bias - mean) * scale + norm.bias, requires_grad=wanted)
