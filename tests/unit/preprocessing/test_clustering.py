"""Clustering finds a hand without a trained network. Pictures are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baa_core.errors import HandNotFound
from baa_core.phantom import Phantom, draw_phantom
from baa_core.preprocessing.clustering import OURS, PAPER, ClusteredHand, cluster_hand
from baa_core.preprocessing.picture import box_of, overlap

QUICK = replace(OURS, channels=24, iterations=20, longest_side_px=96, halved_iterations=0)


def boxes_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Of the boxes of two masks."""
    return overlap(box_of(one), box_of(other))


def blob(height: int = 120, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc with a brighter core on dark grain, and where it is."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 66, columns - 44)
    grain = np.random.default_rng(0).normal(0, 0.01, (height, width))
    pixels = 0.1 + 0.5 * (distance < 30) + 0.2 * (distance < 15) + grain
    return np.clip(pixels, 0, 1).astype(np.float32), distance < 30


@pytest.fixture(scope="module")
def girl() -> Phantom:
    return draw_phantom(120, "female", seed=10, height_px=400)


@pytest.fixture(scope="module")
def found(girl: Phantom) -> ClusteredHand:
    return cluster_hand(girl.radiograph.pixels)


@pytest.mark.slow
def test_finds_the_drawn_hand(girl: Phantom, found: ClusteredHand) -> None:
    assert found.region.shape == girl.mask.shape
    assert found.region.dtype == bool
    assert boxes_overlap(found.region, girl.mask) > 0.8
    assert (found.region & girl.mask).sum() / (found.region | girl.mask).sum() > 0.7


@pytest.mark.slow
def test_says_what_it_found(found: ClusteredHand) -> None:
    assert found.box == box_of(found.region)
    assert max(found.labels.shape) == OURS.longest_side_px
    assert set(np.unique(found.labels)) == set(range(found.n_labels))
    assert not found.region.flags.writeable
    assert not found.labels.flags.writeable


def test_finds_a_blob_within_a_white_border() -> None:
    """And a rim around it, where the clustering sees an edge."""
    pixels, disc = blob()
    framed, there = np.pad(pixels, 14, constant_values=1.0), np.pad(disc, 14)
    assert boxes_overlap(cluster_hand(pixels, QUICK).region, disc) > 0.75
    assert boxes_overlap(cluster_hand(framed, QUICK).region, there) > 0.75


def test_a_white_strip_that_touches_the_hand_is_no_part_of_it() -> None:
    pixels, disc = blob()
    pixels, disc = pixels[:102].copy(), disc[:102]
    pixels[96:] = 1.0  # the disc ends at row 95
    assert boxes_overlap(cluster_hand(pixels, QUICK).region, disc) > 0.75


@pytest.mark.slow
def test_same_pixels_same_hand() -> None:
    pixels, _ = blob()
    first, second = cluster_hand(pixels, QUICK), cluster_hand(pixels, QUICK)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.region, second.region)
    assert first.box == second.box


def test_leaves_torch_as_it_was() -> None:
    pixels, _ = blob()
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.inference_mode():
        hand = cluster_hand(pixels, QUICK)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert hand.n_labels > 1


def test_a_plain_picture_is_one_cluster() -> None:
    with pytest.raises(HandNotFound, match="no parts"):
        cluster_hand(np.full((100, 80), 0.5, np.float32), QUICK)


def test_a_picture_of_background_only_is_refused() -> None:
    pixels = np.full((100, 80), 0.1, np.float32)
    pixels[:, :40] = 0.6
    with pytest.raises(HandNotFound, match="only background"):
        cluster_hand(pixels, QUICK)


def test_the_plan_stands_beside_the_papers() -> None:
    assert (PAPER.channels, PAPER.iterations) == (90, 50)
    assert (PAPER.similarity_weight, PAPER.continuity_weight) == (4.0, 1.0)
    assert (PAPER.learning_rate, PAPER.momentum) == (0.1, 0.9)
    own = {name: getattr(OURS, name) for name in ("channels", "iterations", "fewest_labels", "halved_iterations")}
    assert replace(PAPER, **own) == OURS
