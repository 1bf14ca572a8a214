"""Pixels -> labels, by a small network fitted to one picture: differentiable feature clustering.

Kim et al., IEEE TIP 2020, as Li 2021 (PMC8056376) takes it. Every pixel gets a response, its largest channel is the
pixel's label, and the network learns, on this one picture, to agree with its own labels while neighbours respond alike.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .types import FloatArray

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClusteringPlan:
    """How the clustering network is built and fitted.

    Attributes:
        channels: of every layer, p = q: the most labels there can be.
        iterations: steps of gradient descent.
        similarity_weight: of the cross-entropy to the pixel's own label, lambda.
        continuity_weight: of the differences between neighbours' responses, mu.
        learning_rate, momentum: of the descent.
        longest_side_px: the picture is reduced to this before it is clustered.
        fewest_labels: fitting stops when no more are left; 0 never stops early.
        halved_iterations: how many of the first steps see the picture at half its size, in a quarter of the time.
    """

    channels: int = 90
    iterations: int = 50
    similarity_weight: float = 4.0
    continuity_weight: float = 1.0
    learning_rate: float = 0.1
    momentum: float = 0.9
    longest_side_px: int = 256
    fewest_labels: int = 0
    halved_iterations: int = 0


PAPER: Final = ClusteringPlan()  # its side of 256 px is an assumption of ours
OURS: Final = replace(PAPER, channels=48, iterations=25, fewest_labels=3, halved_iterations=24)

SEED: Final = 0
LEAST_RANGE: Final = 1e-3  # of grey; in less, rounding alone would make the labels


def cluster_pixels(greys: list[FloatArray], plan: ClusteringPlan) -> list[Labels]:
    """The labels (h, w) of Algorithm 1 for each picture, numbered from 0 without gaps; the pictures side by side.

    Each has a thread of its own and computes on one core: the same labels on any number of cores, and two threads that
    share one small picture wait for each other. `torch.set_num_threads` would be for the whole process and every
    thread begun later; OpenMP's own limit is for the thread that sets it.
    """
    with ThreadPoolExecutor(len(greys)) as pool:
        return list(pool.map(partial(_fit_one, plan=plan), greys))


def _fit_one(grey: FloatArray, plan: ClusteringPlan) -> Labels:
    """The labels of one picture, computed on one core."""
    if float(np.ptp(grey)) < LEAST_RANGE:
        return np.zeros(grey.shape, np.int64)
    torch.get_num_threads()  # now, because the first use in a thread sets the limit anew
    with threadpool_limits(1, "openmp"):
        labels = _descend(grey, plan)
    return np.asarray(np.unique(labels.numpy(), return_inverse=True)[1].reshape(grey.shape), np.int64)


def _descend(grey: FloatArray, plan: ClusteringPlan) -> torch.Tensor:
    parameters = _initial(plan.channels, torch.Generator().manual_seed(SEED))
    descent = torch.optim.SGD(parameters, lr=plan.learning_rate, momentum=plan.momentum)
    labels = torch.zeros(1, *grey.shape, dtype=torch.int64)
    halved, rest = plan.halved_iterations, plan.iterations - plan.halved_iterations
    # What was learnt at half the size is asked at every pixel: means of 2 x 2, and neighbours two pixels away.
    rounds = [(_halved(grey), 1, halved), (_blurred(grey), 2, rest)] if halved else [(grey, 1, rest)]
    for picture, spacing, steps in rounds:
        image = _bordered(picture, 2 * spacing)
        for step in range(1, steps + 1):
            response = _respond(image, parameters, spacing)
            labels = response.argmax(1)
            final = step == steps and picture is rounds[-1][0]  # nobody would see what is learnt from it
            if final or len(labels.unique()) <= plan.fewest_labels:
                break
            down, across = response.diff(dim=2).abs().mean(), response.diff(dim=3).abs().mean()
            similarity = F.cross_entropy(response, labels)
            loss = plan.similarity_weight * similarity + plan.continuity_weight * (down + across)
            descent.zero_grad()
            loss.backward()
            descent.step()
    return labels


def _halved(grey: FloatArray) -> FloatArray:
    size = tuple(max(8, side // 2) for side in grey.shape[::-1])
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _blurred(grey: FloatArray) -> FloatArray:
    return np.asarray(cv2.blur(grey, (2, 2)), np.float32)


def _bordered(grey: FloatArray, around: int) -> torch.Tensor:
    """(1, 1, h, w) and as many pixels around as two layers see: repeated edges, where zeros would draw a border."""
    wide = np.asarray(cv2.copyMakeBorder(grey, *4 * (around,), cv2.BORDER_REPLICATE), np.float32)
    return torch.from_numpy(wide)[None, None].contiguous(memory_format=torch.channels_last)


def _initial(channels: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Weight, bias, and batch norm's scale and shift, of two 3x3 layers and a 1x1 layer, as torch would draw them."""
    parameters = []
    for into, side in ((1, 3), (channels, 3), (channels, 1)):
        reach = float(into * side * side) ** -0.5
        weight = torch.empty(channels, into, side, side).uniform_(-reach, reach, generator=generator)
        bias = torch.empty(channels).uniform_(-reach, reach, generator=generator)
        weight = weight.contiguous(memory_format=torch.channels_last)
        parameters += [weight, bias, torch.ones(channels), torch.zeros(channels)]
    return [parameter.requires_grad_() for parameter in parameters]


def _respond(image: torch.Tensor, parameters: list[torch.Tensor], spacing: int) -> torch.Tensor:
    """(1, channels, h, w): how much each pixel belongs to each label; neighbours are so many pixels away."""
    features = image
    for layer in range(3):
        weight, bias, scale, shift = parameters[4 * layer : 4 * layer + 4]
        features = F.conv2d(features, weight, bias, dilation=spacing)
        features = F.relu(features) if layer < 2 else features
        features = F.batch_norm(features, None, None, scale, shift, training=True)
    return features
