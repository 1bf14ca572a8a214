"""Losses of the bone age, for training with Lightning (`train.age_sex.tasks`) and from a pack (`train.from_pack`)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from baa_core.networks.backbones import softmax_mean_std

SOFT_LABEL_DEVIATION_MONTHS: Final = 7.0  # one reader's standard deviation on RSNA (FIELD.md section 3: 0.58 years)
# Of the Gaussian beside the absolute error; wider than one reader, so that it shapes the distribution and leaves the
# mean to the error (issue 23: best elsewhere in 2026). Not measured here against other values.
WIDE_DEVIATION_MONTHS: Final = 10.0
KL_WEIGHT: Final = 1.0  # nats beside months of absolute error


def gaussian(months: Tensor, classes: int, deviation_months: float) -> Tensor:
    """A Gaussian around each of `months`, (N,), over whole months from 0: shares (N, classes) that sum to 1."""
    steps = torch.arange(classes, device=months.device)
    return torch.softmax(-0.5 * ((steps - months[:, None]) / deviation_months) ** 2, dim=1)


def expectation_loss(raw: Tensor, months: Tensor) -> Tensor:
    """Cross-entropy to a Gaussian around the label and a tenth of the mean's absolute error."""
    raw = raw.float()
    target = gaussian(months, raw.shape[1], SOFT_LABEL_DEVIATION_MONTHS)
    loss = -(target * raw.log_softmax(dim=1)).sum(dim=1).mean()
    return loss + 0.1 * (softmax_mean_std(raw)[0] - months).abs().mean()


def mean_error_loss(raw: Tensor, months: Tensor) -> Tensor:
    """Absolute error of the mean in months, and the divergence from a wide Gaussian around the label.

    Args:
        raw: logits over months from 0, (N, classes).
        months: labels, (N,).
    """
    raw = raw.float()
    target = gaussian(months, raw.shape[1], WIDE_DEVIATION_MONTHS)
    divergence = (target * (target.clamp(min=1e-12).log() - raw.log_softmax(dim=1))).sum(dim=1).mean()
    return (softmax_mean_std(raw)[0] - months).abs().mean() + KL_WEIGHT * divergence
