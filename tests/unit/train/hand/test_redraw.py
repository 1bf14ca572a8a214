"""What the network that draws uncertain outlines again is trained on, and what it begins as."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baa_core.networks.build import build
from baa_core.networks.weights import save_network
from baa_core.recipes.deeplasia import HAND, REDRAW
from train.hand.collimation import cut_out, draw_hands
from train.hand.redraw import RedrawPictures, first_network, start_as_hand


def test_it_begins_by_drawing_what_the_hand_network_draws(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_network(build(HAND.architecture), tmp_path / "hand.safetensors")
    network, first = build(REDRAW.architecture), first_network(tmp_path / "hand.safetensors")
    start_as_hand(network, tmp_path / "hand.safetensors")
    picture, other = torch.randn(1, 1, 128, 128), torch.randn(1, 2, 128, 128)
    with torch.inference_mode():
        drawn = network(torch.cat([picture, picture, other], dim=1))
        assert torch.allclose(drawn, first(picture).mask_logits, atol=1e-3)


def test_it_is_shown_a_hand_in_its_crop_with_a_mask_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.hand.redraw.CERTAIN", -1.0)  # nothing is passed over
    drawn = draw_hands(range(90_000, 90_002), 300, marked_share=0.0)
    hands = [hand for each in drawn if (hand := cut_out(each)) is not None]
    first = build(HAND.architecture).requires_grad_(False)
    with torch.no_grad():
        first.get_submodule("mask")[0].bias.fill_(9.0)  # type: ignore[operator, union-attr]  # a hand everywhere
    pictures = RedrawPictures(drawn, [], hands, first, side_px=128, length=3, seed=3, steady=True)
    made = [pictures[i] for i in range(3)]
    for channels, mask, weight in made:
        assert channels.shape == (4, 128, 128) and mask.shape == weight.shape == (128, 128)
        assert 0.03 < float(mask.mean()) < 0.9
        assert bool((weight[mask > 0] > 1).all()) and bool((weight >= 1).all())
    assert torch.equal(pictures[0][0], made[0][0])
    assert np.ptp([float(mask.mean()) for _, mask, _ in made]) > 0
