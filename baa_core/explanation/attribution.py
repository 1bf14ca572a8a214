"""What attribution methods share: the function that is explained, and what a hidden place shows instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import NotFinite
from ..preprocessing.prepare import ModelInput
from ..types import BoolArray, FloatArray, freeze

Forward = Callable[[Tensor], Tensor]


UNSEEN_WEIGHT = 1e-3  # beside 1 around: enough where nothing else is near


AT_ONCE = 4  # pictures in one pass of a network; their mirror images come on top


BLUR_SHARE = 0.05  # deviation of the blurred hand's Gaussian, as a share of the side: wider than a growth plate
BLUR_GRID_PX = 8.0  # least deviation of that Gaussian on the grid on which it is taken


@dataclass(frozen=True, eq=False)
class Attribution:
    """One network's map of one picture.

    Attributes:
        months: float32 (H, W) on the input grid, positive where it speaks for an older hand. For
            `saliency` and `smoothgrad` in months per unit of standardised grey: how far the estimate
            would go if that pixel alone grew brighter by 1. For the others in months: the map's sum
            is what is explained (see each method).
        method: its name in `METHODS`.
        completeness_error_months: how far the sum of `integrated_gradients` is from the difference of
            estimates it should equal; None for methods that promise no sum.
    """

    months: FloatArray
    method: str
    completeness_error_months: float | None = None

    def __post_init__(self) -> None:
        require_finite(self.months, f"The map by '{self.method}'")
        freeze(self.months)


def require_finite(values: FloatArray | float, what: str) -> None:
    """Stop a computation that ended in something that is no number.

    Args:
        values: all that was computed.
        what: what it is, as a message begins: "The map by Grad-CAM".

    Raises:
        NotFinite: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise NotFinite(
            f"{what} holds values that are no numbers, so no explanation is shown; every value must be finite. "
            "A weights file may be damaged: get the weights folder again as weights/README.md says. If it happens "
            "again, choose another method and report it."
        )


def blurred_hand(model_input: ModelInput, unseen: BoolArray | None = None) -> FloatArray:
    """The prepared picture without its detail: what IG, occlusion and the deletion curves put in its place.

    Args:
        model_input: the prepared picture.
        unseen: (H, W), where greys hardly count: what is there comes from the hand around it, as far as that reaches.

    Returns:
        float32 (H, W): inside the mask a Gaussian mean over the hand alone, of deviation 5 % of the side;
        outside it the picture, untouched.
    """
    picture, mask = model_input.image[0, 0], model_input.mask
    weight = mask.astype(np.float32)
    if unseen is not None:
        weight[unseen] *= UNSEEN_WEIGHT
    deviation_px = BLUR_SHARE * len(picture)
    total, share = widely_blurred(picture * weight, deviation_px), widely_blurred(weight, deviation_px)
    return np.asarray(np.where(mask, total / np.maximum(share, np.float32(1e-6)), picture), np.float32)


def widely_blurred(values: FloatArray, deviation_px: float) -> FloatArray:
    """A Gaussian mean, (H, W), taken on a grid on which the deviation is still `BLUR_GRID_PX`.

    So wide a blur leaves nothing that the coarse grid lacks: on noise at 320 to 800 px greys differ by 0.003 at most,
    and it takes a twentieth of the time at 800 px.
    """
    step = max(1, int(deviation_px / BLUR_GRID_PX))
    height, width = values.shape
    size = max(1, round(width / step)), max(1, round(height / step))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), deviation_px * len(small) / height)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def visible(model_input: ModelInput) -> BoolArray:
    """Where the network can see anything of the radiograph, (H, W)."""
    return model_input.mask if model_input.background_masked else np.ones_like(model_input.mask)


def months_of(forward: Forward, pictures: Iterable[FloatArray]) -> list[float]:
    """Months of pictures, (H, W) each, `AT_ONCE` in a pass; they may be made as they are asked for."""
    left, months = iter(pictures), []
    with torch.inference_mode():
        while some := list(islice(left, AT_ONCE)):
            months += forward(torch.from_numpy(np.stack(some)[:, None])).tolist()
    return months


def one_by_one(forward: Forward) -> Forward:
    """A function of several pictures, (N, C, H, W) to (N,), from one that averages all it is given.

    On a CPU this costs nothing: two views of one picture already fill it.
    """
    return lambda pictures: torch.cat([forward(picture) for picture in pictures.split(1)])


def as_leaf(model_input: ModelInput) -> Tensor:
    """The picture as a leaf that wants a gradient; without one, frozen networks give their layers none either."""
    return torch.tensor(model_input.image).contiguous(memory_format=torch.channels_last).requires_grad_()


def as_months(values: Tensor, model_input: ModelInput) -> FloatArray:
    """(1, C, H, W) to float32 (H, W): summed over channels, 0 where nothing is visible."""
    found = np.ascontiguousarray(values.detach().sum(dim=(0, 1)).numpy(), dtype=np.float32)
    return np.where(visible(model_input), found, np.float32(0.0))
