"""Networks + inputs -> Explanation: where a small change of grey would move the bone age.

Deeplasia's attention maps (supplement, material 4): the absolute gradient of the predicted
bone age with respect to the input picture, given the sex; smoothed by a Gaussian kernel of
5 % of the input's side; minimum subtracted, divided by the 99th percentile, clipped to 1;
values under 0.075 not drawn. Each member's map is made on its own input grid, brought home to
the radiograph's grid and averaged over the members by the weight each has in the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch

from ..preprocessing.prepare import ModelInput
from ..types import Explanation, FloatArray
from .attribution import Forward, require_finite
from .lazy_captum import captum_attr

KERNEL_SHARE = 0.05
PERCENTILE = 99.0
DRAWN_FROM = 0.075
METHOD = "saliency: absolute gradient of the bone age, smoothed, averaged over the networks (Deeplasia, supplement 4)"


@torch.inference_mode(False)
def absolute_gradient(views: Sequence[Forward], model_input: ModelInput) -> FloatArray:
    """Captum's saliency of one network, in months per unit of the standardised grey value.

    Args:
        views: the network as a function of the picture alone, (1, C, H, W) to (1,), by each view whose months are
            averaged: the gradient is that of the mean. One at a time they need half the memory that two at once do.
        model_input: the prepared picture.

    Returns:
        float32 (H, W), summed over channels. Where the background is masked it is 0: whatever the
        radiograph shows there, the network sees the same black, so its gradient is 0.
    """
    image = torch.tensor(model_input.image).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.enable_grad():
        gradients = [captum_attr().Saliency(months).attribute(image, abs=False).detach() for months in views]
    gradient = torch.stack(gradients).mean(dim=0).abs()
    found = np.ascontiguousarray(gradient.sum(dim=(0, 1)).numpy(), dtype=np.float32)
    require_finite(found, "The gradient of the estimate")
    return np.where(model_input.mask, found, np.float32(0.0)) if model_input.background_masked else found


def smooth(values: FloatArray) -> FloatArray:
    """A map, (H, W), blurred as the paper blurs.

    The kernel is the odd number of pixels nearest to 5 % of the longer side; its deviation is the
    one OpenCV derives from that size.
    """
    kernel = 2 * round((KERNEL_SHARE * max(values.shape) - 1) / 2) + 1
    return np.asarray(cv2.GaussianBlur(values, (kernel, kernel), 0), np.float32) if kernel > 1 else values


def smooth_and_scale(gradient: FloatArray) -> FloatArray:
    """Steps two and three of the method: (H, W) of any scale to (H, W) in [0, 1]. A flat map stays 0."""
    raised = smooth(gradient)
    raised = raised - raised.min()
    top = float(np.percentile(raised, PERCENTILE))
    if top <= 0.0:
        return np.zeros_like(raised)
    return np.asarray(np.clip(raised / top, 0.0, 1.0), dtype=np.float32)


def saliency(
    forwards: Mapping[str, Sequence[Forward]],
    inputs: Mapping[str, ModelInput],
    weights: Mapping[str, float] | None = None,
) -> Explanation:
    """The heatmap of an ensemble, one forward and one backward pass a member and view.

    Args:
        forwards: member name to its network as functions of the picture alone, one for each view, the sex already
            given (`ensemble.forwards_by_view`); differentiable, (1, C, H, W) to months (1,).
        inputs: member name to its prepared picture.
        weights: member name to its weight in the estimate (`Recipe.weights`); equal ones if left out.

    Returns:
        heat (H, W) on the radiograph's grid, 0 where nothing is drawn; and the share of the raw
        gradient that falls on the hand, measured on the input grids, where the background counts too.
    """
    heats, shares = [], []
    counts = [1.0 if weights is None else weights[name] for name in forwards]
    for name, views in forwards.items():
        gradient = absolute_gradient(views, inputs[name])
        total = float(gradient.sum(dtype=np.float64))
        inside = float(gradient[inputs[name].mask].sum(dtype=np.float64))
        shares.append(min(1.0, inside / total) if total > 0 else 0.0)  # sums in another order may differ by a hair
        heats.append(inputs[name].to_radiograph_grid(smooth_and_scale(gradient)))
    total_count = sum(counts)
    heat = sum(np.float32(count / total_count) * heat for count, heat in zip(counts, heats, strict=True))
    heat = np.clip(heat, 0.0, 1.0)
    heat[heat < DRAWN_FROM] = 0.0
    return Explanation(heat, float(np.average(shares, weights=counts)), METHOD)
