"""Hiding squares of the hand, or showing them alone: network + ModelInput -> signed months per pixel.

Through Captum as `attributions`, and by the same rules: raw months, positive for older, 0 on a masked background.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..preprocessing.prepare import ModelInput
from ..types import FloatArray
from .attribution import Attribution, Forward, as_batch, as_months, blurred_hand, one_by_one
from .lazy_captum import captum_attr

WINDOW_STRIDES = 2  # an occluding window is about two strides wide
STRIDE_SHARE = 1 / 10
SKETCHED_WINDOW_SHARE = 1 / 4
WINDOWS_AT_ONCE = 8


def occlude(
    forward: Forward, model_input: ModelInput, window_px: int, stride_px: int, *, alone: bool = False
) -> FloatArray:
    """Months that a square window of the hand is worth, spread over the hand below the window.

    Args:
        forward: (1, C, H, W) to (1,).
        model_input: the prepared picture.
        window_px: side of the window.
        stride_px: how far it moves; equal to the window, no pixel is changed twice.
        alone: not what is lost when the window is blurred in the picture, but what is gained when it alone comes back
            in the blurred hand.

    Returns:
        float32 (H, W): a window's months divided by its hand pixels, averaged over the windows on each pixel.
    """
    picture, hand = as_batch(model_input.image[0, 0]), as_batch(model_input.mask.astype(np.float32))
    blurred = as_batch(blurred_hand(model_input))
    shown, other = (blurred, picture) if alone else (picture, blurred)
    with torch.inference_mode():
        whole = forward(shown)

    def answer(pictures: Tensor) -> Tensor:
        months = whole.repeat(len(pictures))
        touched = (pictures != shown).flatten(1).any(dim=1)
        if touched.any():  # a window on nothing but background need not be asked
            months[touched] = one_by_one(forward)(pictures[touched])
        return months

    with torch.inference_mode():
        changed = _slide(answer, shown, other, window_px, stride_px)
        pixels = _slide(lambda covers: covers.sum(dim=(1, 2, 3)), hand, torch.zeros_like(hand), window_px, stride_px)
    months = as_months(changed * hand / pixels.clamp(min=1.0), model_input)
    return -months if alone else months


def _slide(function: Forward, start: Tensor, other: Tensor, window_px: int, stride_px: int) -> Tensor:
    """What the function loses when a window of `start` becomes that of `other`, averaged on each pixel."""
    found: Tensor = (
        captum_attr()
        .Occlusion(function)
        .attribute(
            start,
            sliding_window_shapes=(1, window_px, window_px),
            strides=(1, stride_px, stride_px),
            baselines=other,
            perturbations_per_eval=WINDOWS_AT_ONCE,
        )
    )
    return found


def occlusion(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """`occlude` by `_windows`: about 55 forwards, as windows on nothing but background are not asked."""
    return Attribution(occlude(forward, model_input, *_windows(model_input)), "occlusion")


def both_ways(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """`occlusion`, averaged with what each window gains alone; about 110 forwards."""
    return Attribution(_both_ways(forward, model_input, *_windows(model_input)), "both_ways")


def sketched_occlusion(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """`occlusion` by fewer and larger windows side by side; about 12 forwards."""
    window_px = _sketched_window_px(model_input)
    return Attribution(occlude(forward, model_input, window_px, window_px), "occlusion")


def sketched_both_ways(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """`both_ways` by fewer and larger windows side by side; about 26 forwards."""
    window_px = _sketched_window_px(model_input)
    return Attribution(_both_ways(forward, model_input, window_px, window_px), "both_ways")


def _both_ways(forward: Forward, model_input: ModelInput, window_px: int, stride_px: int) -> FloatArray:
    """The mean of what windows are worth as the first to go and as the first to come, float32 (H, W).

    Shapley's value of a window is the mean over every order in which windows may go; these are its two ends. A lone
    sharp square in a blurred hand is strange to a network and moves it by months wherever it is; that is taken out by
    spreading evenly over the hand what the months miss or exceed, so that they sum to f(picture) - f(blurred hand)
    (additive efficient normalisation, Ruiz 1998). The order of the places does not change by it.
    """
    lost = occlude(forward, model_input, window_px, stride_px)
    gained = occlude(forward, model_input, window_px, stride_px, alone=True)
    months, hand = (lost + gained) / 2, model_input.mask
    with torch.inference_mode():
        whole, blurred = (float(forward(as_batch(p))) for p in (model_input.image[0, 0], blurred_hand(model_input)))
    missing = whole - blurred - float(months.sum(dtype=np.float64))
    return np.asarray(months + hand * np.float32(missing / max(1, hand.sum())), np.float32)


def _windows(model_input: ModelInput) -> tuple[int, int]:
    """Side and stride of the windows, pixels: a fifth of the longer side and half of that; there they end flush."""
    side_px = max(model_input.image.shape)
    stride_px = max(1, round(STRIDE_SHARE * side_px))
    return side_px - stride_px * round(side_px / stride_px - WINDOW_STRIDES), stride_px


def _sketched_window_px(model_input: ModelInput) -> int:
    side_px: int = max(model_input.image.shape)
    return max(1, round(SKETCHED_WINDOW_SHARE * side_px))
