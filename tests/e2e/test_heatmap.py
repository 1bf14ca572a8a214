"""The heatmap against a known truth: hands drawn to differ in one region only, and a network that reads them."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.estimation.ensemble import age_forward
from baa_core.explanation.heatmap import saliency
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes.deeplasia import masked_hand
from baa_core.types import HandMask

SIDE_PX = 96


class SmallNetwork(nn.Module):
    """Three convolutions and a linear layer, in months."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 12, 24, 32)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 5, stride=2, padding=2), nn.ReLU()) for a, b in itertools.pairwise(widths)
        ]
        self.body = nn.Sequential(*blocks, nn.Flatten())
        self.head = nn.Linear(widths[-1] * (SIDE_PX // 8) ** 2, 1)

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        return 100 + 50 * self.head(self.body(image))[:, 0] + 0 * male


def learn(images: Tensor, months: Tensor, steps: int = 120) -> nn.Module:
    """Teach a small network, under noise so that it looks at more than single pixels."""
    torch.manual_seed(0)
    network = SmallNetwork()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        noisy = images + 0.1 * torch.randn_like(images)
        loss = ((network(noisy, torch.ones(len(images))) - months) / 50).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("region", ["carpals", "radius_ulna"])
def test_heat_lies_where_the_only_age_cue_is(region: str) -> None:
    ages = np.random.default_rng(0).uniform(12, 200, 28)
    drawn = [
        draw_phantom(110, "female", seed=5, height_px=220, altered_region=region, altered_age_months=float(age))
        for age in ages
    ]
    inputs = [
        prepare(hand.radiograph, HandMask(hand.mask.copy(), 1.0, 0.0, False), masked_hand(SIDE_PX)) for hand in drawn
    ]
    images, months = torch.cat([torch.tensor(i.image) for i in inputs]), torch.tensor(ages, dtype=torch.float32)
    network = learn(images, months)
    with torch.inference_mode():
        error = (network(images, torch.ones(len(images))) - months).abs().mean()
    assert float(error) < 20  # it does read the age, from the one place that shows it
    place = drawn[0].regions[region]
    for hand, made in list(zip(drawn, inputs, strict=True))[:3]:
        strong = saliency({"small": [age_forward(network, "female", mirror=False)]}, {"small": made}).heat > 0.5
        assert strong[place].sum() > 0.7 * strong.sum()
        assert place.sum() < 0.35 * hand.mask.sum()  # so chance would give far less
