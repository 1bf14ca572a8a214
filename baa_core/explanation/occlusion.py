"""Hiding squares of the hand, or showing them alone: network + ModelInput -> signed months per pixel.

By the same rules as `gradients`: raw months, positive for older, 0 on a masked background. The windows are Captum's
(`captum.attr.Occlusion`), which copies the whole picture some ten times for each: a third of the time at 800 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from torch import nn

from ..preprocessing.prepare import ModelInput
from ..types import FloatArray
from .attribution import Attribution, Forward, blurred_hand, months_of, visible

WINDOW_STRIDES = 2  # an occluding window is about two strides wide
STRIDE_SHARE = 1 / 10
SKETCHED_WINDOW_SHARE = 1 / 4


def occlude(
    forward: Forward,
    model_input: ModelInput,
    window_px: int,
    stride_px: int,
    *,
    alone: bool = False,
    blurred: FloatArray | None = None,
    whole: float | None = None,
) -> FloatArray:
    """Months that a square window of the hand is worth, spread over the hand below the window.

    Args:
        forward: (N, C, H, W) to (N,).
        model_input: the prepared picture.
        window_px: side of the window.
        stride_px: how far it moves; equal to the window, no pixel is changed twice.
        alone: not what is lost when the window is blurred in the picture, but what is gained when it alone comes back
            in the blurred hand.
        blurred: the blurred hand, if it was made already.
        whole: months of what the windows are changed in, if they are known: of the picture, or else the blurred hand.

    Returns:
        float32 (H, W): a window's months divided by its hand pixels, averaged over the windows on each pixel.
    """
    picture, hand = model_input.image[0, 0], model_input.mask
    blurred = blurred_hand(model_input) if blurred is None else blurred
    shown, other = (blurred, picture) if alone else (picture, blurred)
    lost, pixels, windows = (np.zeros(shown.shape, np.float32) for _ in range(3))
    whole = months_of(forward, [shown])[0] if whole is None else whole
    asked = []
    for window in _positions(shown.shape, window_px, stride_px):
        windows[window] += 1
        pixels[window] += np.float32(hand[window].sum())
        if not np.array_equal(shown[window], other[window]):
            asked.append(window)  # one on nothing but background need not be asked
    for window, months in zip(asked, months_of(forward, _changed(shown, other, asked)), strict=True):
        lost[window] += np.float32(whole - months)
    windows = np.maximum(windows, 1)
    worth = np.where(hand & visible(model_input), lost / windows / np.maximum(pixels / windows, 1), np.float32(0.0))
    return -worth if alone else worth


def _changed(shown: FloatArray, other: FloatArray, windows: Iterable[tuple[slice, slice]]) -> Iterator[FloatArray]:
    """The picture shown with one window after the other from the other picture."""
    for window in windows:
        changed = shown.copy()
        changed[window] = other[window]
        yield changed


def _positions(shape: tuple[int, ...], window_px: int, stride_px: int) -> Iterator[tuple[slice, slice]]:
    """Where a window lies in turn; the last ones end at the edge."""
    starts = [range(0, stride_px * (-(-max(0, side - window_px) // stride_px) + 1), stride_px) for side in shape]
    for top, left in product(*starts):
        yield slice(top, top + window_px), slice(left, left + window_px)


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
    detail_gone = blurred_hand(model_input)
    whole, blurred = months_of(forward, [model_input.image[0, 0], detail_gone])
    lost = occlude(forward, model_input, window_px, stride_px, blurred=detail_gone, whole=whole)
    gained = occlude(forward, model_input, window_px, stride_px, alone=True, blurred=detail_gone, whole=blurred)
    months, hand = (lost + gained) / 2, model_input.mask
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
