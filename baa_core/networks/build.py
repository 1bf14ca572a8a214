"""Architecture -> nn.Module: the one builder of every network."""

from __future__ import annotations

from torch import nn

from ..recipes.schema import Architecture
from .age import AgeNetwork, GroupedAgeNetwork, SexNetwork, SixHeads
from .backbones import VGGS
from .bone_strips import BoneAgeNetwork, BoneSexNetwork
from .hand import HandNetwork, MaskNetwork, RedrawNetwork
from .joint_patches import JointAgeNetwork
from .landmarks import KeyPointNetwork, LandmarkNetwork


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
        ("redraw", "one"): RedrawNetwork,
        ("landmarks", "one"): KeyPointNetwork if architecture.backbone in VGGS else LandmarkNetwork,
    }
    network: nn.Module = builders[architecture.task, architecture.heads](architecture)
    return network.eval()
