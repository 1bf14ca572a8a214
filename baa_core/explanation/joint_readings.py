"""JointAgeNetwork -> what each joint says: an explanation by construction, since the estimate is pooled from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..hand_anatomy import FINGER_NAMES
from ..networks.backbones import softmax_mean_std
from ..networks.joint_patches import JOINTS, JointAgeNetwork
from ..networks.tta import AS_IT_IS, placed, tensor
from ..preprocessing.prepare import ModelInput

# Of a patch's own answer in the pooled one; less is of no account in a table for people.
LEAST_SHARE: Final = 0.005
KINDS: Final = {"dip": "DIP joint", "pip": "PIP joint", "mcp": "MCP joint", "ip": "IP joint", "cmc": "CMC joint"}
OTHER_TITLES: Final = {
    "carpals_distal": "distal carpals",
    "carpals_thumb_side": "carpals, thumb side",
    "carpals_little_finger_side": "carpals, little finger side",
    "radius": "distal radius",
    "ulna": "distal ulna",
}


@dataclass(frozen=True)
class JointReading:
    """What one joint, or group of carpals, says.

    Attributes:
        name: of `joint_patches.JOINTS`.
        title: in the field's terms.
        months: the bone age by this patch alone, before any correction.
        share: of the network's answer that rests on it, 0 to 1; they sum to 1.
    """

    name: str
    title: str
    months: float
    share: float


def title_of(name: str) -> str:
    """What to call a patch of `JOINTS`."""
    kind, _, finger = name.partition("_")
    return f"{KINDS[kind]} of the {FINGER_NAMES[finger]}" if kind in KINDS else OTHER_TITLES[name]


def joint_readings(network: JointAgeNetwork, given: ModelInput, sex: Tensor) -> tuple[JointReading, ...]:
    """What each joint of a prepared picture says, the one with the largest share first.

    Joints outside the picture, and those with a share below `LEAST_SHARE`, are left out.

    Args:
        network: with its trained weights.
        given: its picture.
        sex: for which it answers, (1,), as networks take it (`ensemble.encode_sex`).
    """
    with torch.inference_mode():
        answer = network.by_joint(tensor(given), sex, **placed(network, given, AS_IT_IS))
        months = softmax_mean_std(answer.joint_logits[0])[0].tolist()
    found = [
        JointReading(joint.name, title_of(joint.name), said, share)
        for joint, said, share in zip(JOINTS, months, answer.attention[0].tolist(), strict=True)
        if share >= LEAST_SHARE
    ]
    return tuple(sorted(found, key=lambda reading: -reading.share))
