"""Networks + inputs -> each member's output, the sex encoded as the networks take it.

A hand and its mirror image are the same hand to a network trained on both, but not to the
last decimal: both go through in one batch and the answers are averaged (`schema.TestTimeAugmentation`), so left
and right hands get the same answer and the estimate is steadier.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..networks.age import AgeNetwork
from ..networks.bone_strips import BoneAgeNetwork
from ..networks.joint_patches import JointAgeNetwork
from ..networks.tta import apply_tta, distinct_views, placed, places_for_tta, tensor
from ..networks.weights import check_finite
from ..preprocessing.prepare import ModelInput
from ..recipes.schema import TestTimeAugmentation
from ..types import SEXES, NetworkOutput, Sex

SEX_CODE: dict[Sex, float] = {"female": 0.0, "male": 1.0}  # Deeplasia, lib/datasets.py (FIELD.md section 1)
PROBABILITY_CLIP = 1e-3  # of a sex network, so that rounding to 0 or 1 does not outweigh the other ones
LARGE_PX = (
    512  # side of a picture whose views are differentiated one at a time: there they hold 700 MB and more at once
)

Forward = Callable[[Tensor], Tensor]


def encode_sex(sexes: tuple[Sex, ...] | list[Sex]) -> Tensor:
    """Sexes as the networks take them, float32 (N,)."""
    return torch.tensor([SEX_CODE[sex] for sex in sexes])


def age_forward(network: nn.Module, sex: Sex, mirror: bool, fixed: ModelInput | None = None) -> Forward:
    """A network as a function of pictures alone: (N, C, S, S) to months (N,), differentiable.

    Explanations are of the picture as it stands (and its mirror image), never of turned ones.

    Args:
        network: an age network.
        sex: for which it answers.
        mirror: average over the mirror image too.
        fixed: the picture whose joints a network of bones or joints goes by, whatever is done to the picture
            afterwards; None to place them anew on each.
    """
    answer: Callable[[Tensor, Tensor], Tensor] = network
    views, one_by_one = TestTimeAugmentation(mirror), False
    if fixed is not None and isinstance(network, BoneAgeNetwork | JointAgeNetwork):
        views, one_by_one = distinct_views(network, fixed, views), True
        with torch.inference_mode(False):  # what is made inside cannot be differentiated through
            answer = network.with_fixed_landmarks(places_for_tta(network, fixed, views))

    def months(images: Tensor) -> Tensor:
        if one_by_one and len(images) > 1:
            return torch.cat([months(image) for image in images.split(1)])
        seen = apply_tta(images, views)
        return answer(seen, encode_sex([sex] * len(seen))).view(-1, len(images)).mean(dim=0)

    return months


def forwards_by_view(network: nn.Module, sex: Sex, mirror: bool, fixed: ModelInput) -> tuple[Forward, ...]:
    """Functions of the picture whose mean is `age_forward`: one, or two for a large picture and its mirror image.

    The gradient of both views at once takes twice the memory of one, and a sixth less time at 320 px.
    """
    both = distinct_views(network, fixed, TestTimeAugmentation(mirror)).mirror
    if not both or max(fixed.mask.shape) < LARGE_PX:
        return (age_forward(network, sex, mirror, fixed),)
    forward = age_forward(network, sex, False, fixed)
    return forward, lambda images: forward(images.flip(3))


def by_weight(forwards: Mapping[str, Forward], weights: Mapping[str, float]) -> dict[str, Forward]:
    """The same functions of pictures, each multiplied so that their plain mean is the mean by weight.

    An explanation averages what it finds over the networks, and all it finds is linear in their months.
    """
    factors = weight_factors(forwards, weights)
    return {name: _times(factors[name], forward) for name, forward in forwards.items()}


def weight_factors(names: Collection[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Each network's weight over their mean: by what its months are multiplied before a plain mean."""
    middle = sum(weights[name] for name in names) / max(1, len(names))
    return {name: weights[name] / middle for name in names}


def _times(factor: float, forward: Forward) -> Forward:
    return lambda picture: factor * forward(picture)


def predict_months_by_sex(
    networks: Mapping[str, AgeNetwork],
    inputs: Mapping[str, ModelInput],
    sexes: tuple[Sex, ...],
    views: TestTimeAugmentation,
) -> dict[Sex, dict[str, NetworkOutput]]:
    """What every member answers for each of the sexes, with one backbone pass a member.

    Args:
        networks: member name to its network.
        inputs: member name to its prepared picture.
        sexes: for which to answer.
        views: over which to average.

    Returns:
        sex to member name to months before any correction, with the standard deviation over all views together.

    Raises:
        WeightsCorrupt: an answer is no finite number.
    """
    found: dict[Sex, dict[str, NetworkOutput]] = {sex: {} for sex in sexes}
    with torch.inference_mode():
        for name, network in networks.items():
            seen = distinct_views(network, inputs[name], views)
            image = apply_tta(tensor(inputs[name]), seen)
            codes = encode_sex([sex for sex in sexes for _ in range(len(image))])
            answers = network.distribution(image, codes, **placed(network, inputs[name], seen))
            check_finite(network, *answers)
            mean, deviation = mixture(*(part.reshape(len(sexes), -1) for part in answers))
            for sex, months, spread in zip(sexes, mean.tolist(), deviation.tolist(), strict=True):
                found[sex][name] = NetworkOutput(months, spread)
    return found


def mixture(months: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of several distributions in equal parts, (K, V) to (K,) each.

    Where a deviation is 0 the network gives one number, and its views' difference is not counted.
    """
    mean = months.mean(dim=1)
    squares = deviations**2 + (months - mean[:, None]) ** 2
    return mean, torch.where(deviations > 0, squares, 0.0).mean(dim=1).sqrt()


def predict_months(
    networks: Mapping[str, AgeNetwork], inputs: Mapping[str, ModelInput], sex: Sex, views: TestTimeAugmentation
) -> dict[str, NetworkOutput]:
    """What every member answers for one sex; see `predict_months_by_sex`."""
    return predict_months_by_sex(networks, inputs, (sex,), views)[sex]


def predict_sex(
    networks: Mapping[str, nn.Module], inputs: Mapping[str, ModelInput], views: Mapping[str, TestTimeAugmentation]
) -> dict[str, float]:
    """The probability that the hand is a boy's, 0 to 1, by network, averaged over its views.

    Raises:
        WeightsCorrupt: an answer is no finite number.
    """
    found = {}
    with torch.inference_mode():
        for name, network in networks.items():
            seen = distinct_views(network, inputs[name], views[name])
            logits = network(apply_tta(tensor(inputs[name]), seen), **placed(network, inputs[name], seen))
            check_finite(network, logits)
            found[name] = float(logits.sigmoid().mean())
    return found


def mean_log_odds(probabilities: Iterable[float]) -> float:
    """The mean log-odds of several networks' probabilities, as a probability.

    Each is clipped to odds of 1000 to 1 (`PROBABILITY_CLIP`).
    """
    clipped = np.clip(list(probabilities), PROBABILITY_CLIP, 1 - PROBABILITY_CLIP)
    return float(1 / (1 + np.exp(-np.log(clipped / (1 - clipped)).mean())))


def likelier_sex(probability_male: float) -> Sex:
    """The more probable sex."""
    female, male = SEXES
    return male if probability_male >= 0.5 else female
