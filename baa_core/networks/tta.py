"""A prepared picture in every view of test-time augmentation, and where its joints lie in each."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from ..preprocessing.prepare import ModelInput
from ..recipes.schema import TestTimeAugmentation
from .bone_strips import BoneNetwork
from .joint_patches import JointAgeNetwork

AS_IT_IS = TestTimeAugmentation(mirror=False)


def apply_tta(image: Tensor, views: TestTimeAugmentation) -> Tensor:
    """(1, C, S, S) to (V, C, S, S): the picture in every view, turned ones first, then their mirror images."""
    turned = torch.cat([turn(image, degrees, views.zoom) for degrees in views.turns_degrees])
    return torch.cat([turned, turned.flip(3)]) if views.mirror else turned


def turn(image: Tensor, degrees: float, zoom: float = 1.0) -> Tensor:
    """A square picture turned clockwise and enlarged about its middle; beyond its edge, the edge is repeated."""
    if degrees == 0.0 and zoom == 1.0:
        return image
    angle = torch.deg2rad(torch.tensor(degrees))
    cosine, sine, zero = angle.cos() / zoom, angle.sin() / zoom, torch.zeros(())
    back = torch.stack([torch.stack([cosine, sine, zero]), torch.stack([-sine, cosine, zero])])[None]
    grid = affine_grid(back, list(image.shape), align_corners=False)
    return grid_sample(image, grid, padding_mode="border", align_corners=False)


def tta_places(places: Tensor, views: TestTimeAugmentation) -> Tensor:
    """Places (1, K, 2) on a picture to places (V, K, 2) on what `apply_tta` makes of it."""
    turned = []
    for degrees in views.turns_degrees:
        angle = torch.deg2rad(torch.tensor(degrees))
        back = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
        at = (2 * places.flip(-1) - 1) @ (views.zoom * back)  # the inverse of the rotation, on (column, row)
        turned.append(((at + 1) / 2).flip(-1))
    together = torch.cat(turned)
    mirrored = torch.stack([together[..., 0], 1 - together[..., 1]], dim=-1)
    return torch.cat([together, mirrored]) if views.mirror else together


def places_for_tta(
    network: BoneNetwork | JointAgeNetwork, model_input: ModelInput, views: TestTimeAugmentation
) -> Tensor:
    """Where joints lie in every view of a picture, (V, K, 2): as they were placed, or else by the network itself."""
    if model_input.places is None:
        with torch.no_grad():
            return network.places(apply_tta(tensor(model_input), views))
    return tta_places(torch.tensor(model_input.places)[None], views)


def distinct_views(network: nn.Module, model_input: ModelInput, views: TestTimeAugmentation) -> TestTimeAugmentation:
    """The views on which a network's answers can differ.

    Where joints were placed already, a network of bones or joints cuts the same strips or patches out of a picture and
    out of its mirror image, so its answers are equal but for rounding.
    """
    if isinstance(network, BoneNetwork | JointAgeNetwork) and model_input.places is not None:
        return replace(views, mirror=False)
    return views


def placed(network: nn.Module, model_input: ModelInput, views: TestTimeAugmentation) -> dict[str, Tensor]:
    """What a network of bones or joints is given beside the views of a picture; nothing for others."""
    if not isinstance(network, BoneNetwork | JointAgeNetwork):
        return {}
    return {"places": places_for_tta(network, model_input, views)}


def tensor(model_input: ModelInput) -> Tensor:
    """The input's image, float32 (1, C, S, S), channels last."""
    return torch.tensor(model_input.image).contiguous(memory_format=torch.channels_last)
