"""The methods by name, what each can and cannot show, and the explanation of a whole ensemble.

prepared picture ─► Attribution (input grid, per network) ─► SignedExplanation (radiograph's grid, averaged)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from torch import nn

from ..errors import UnknownMethod
from ..preprocessing.prepare import ModelInput
from ..types import BoolArray, FloatArray, SignedExplanation
from .attribution import Attribution, Forward, blurred_hand
from .gradients import grad_cam, integrated_gradients, signed_gradient, sketched_gradients, smoothgrad
from .occlusion import both_ways, occlusion, sketched_both_ways, sketched_occlusion
from .verdict import agreement

ANTIALIAS = 0.6  # deviation of the Gaussian before thinning out a map, in pixels of the coarser grid
COMPARED_PX = 256  # longer side on which members' maps are compared


Attribute = Callable[[nn.Module, Forward, ModelInput], Attribution]


@dataclass(frozen=True)
class Method:
    """A way to explain, with what a reader must know to choose it.

    Attributes:
        name: its key in `METHODS`.
        title: what to call it.
        shows: one sentence, what the map shows.
        cannot: one sentence, what it cannot show.
        attribute: network, the network as a function of the picture alone ((1, C, H, W) to months (1,), views
            averaged), and the prepared picture, to the map. It may hook into the network: give an `own_copy`.
        per_grey: the map is in months per unit of grey, not in months.
        sketch: the same at less cost, for asking again and again; None where the map itself is cheap.
    """

    name: str
    title: str
    shows: str
    cannot: str
    attribute: Attribute
    per_grey: bool = False
    sketch: Attribute | None = None


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            "saliency",
            "Gradient",
            "How the estimate would change if a pixel grew a little brighter.",
            "It cannot say how many months a bone contributes, only where the estimate is sensitive, and it is grainy.",
            signed_gradient,
            per_grey=True,
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "The same as the gradient, averaged over slightly noisy copies of the picture, so with less grain.",
            "It cannot say how many months a bone contributes, and it explains noisy pictures, not quite this one.",
            smoothgrad,
            per_grey=True,
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "How many months each pixel adds or takes as the detail of a blurred hand comes back; the months add up.",
            "It cannot show what the blurred outline of the hand alone tells the network, such as its size and shape.",
            integrated_gradients,
            sketch=sketched_gradients,
        ),
        Method(
            "grad_cam",
            "Grad-CAM",
            "Which parts of the picture the last layer reads as older or younger, and by how many months.",
            "It cannot show anything finer than a tenth of the picture, and its cells also see what lies around them.",
            grad_cam,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How many months the estimate loses when a small square of the hand is blurred.",
            "It cannot show what several places only tell together, and the network has never seen a blurred patch.",
            occlusion,
            sketch=sketched_occlusion,
        ),
        Method(
            "both_ways",
            "Occlusion both ways",
            "How many months a square is worth, hidden in a sharp hand and shown in a blurred one; the months add up.",
            "It cannot show less than a fifth of the picture. A blurred hand reads young: compare the shades of red.",
            both_ways,
            sketch=sketched_both_ways,
        ),
    )
}


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownMethod: there is none.
    """
    if name not in METHODS:
        raise UnknownMethod(f"There is no explanation method '{name[:30]}'. Choose one of: {', '.join(METHODS)}.")
    return METHODS[name]


def evidence(method: Method, months: FloatArray, model_input: ModelInput) -> FloatArray:
    """What a map, (H, W), says that each pixel's detail is worth, in months: what `deletion` puts to the test.

    A map per unit of grey says it of the detail that blurring takes, to first order.
    """
    if not method.per_grey:
        return months
    return np.asarray(months * (model_input.image[0, 0] - blurred_hand(model_input)), np.float32)


def bring_months_home(months: FloatArray, model_input: ModelInput) -> FloatArray:
    """A map on the input grid, (H, W), on the radiograph's grid, (H, W), with the same total but for rounding.

    A pixel's value is shared out among the pixels it covers there. Where the radiograph is coarser than the input,
    the map is first blurred to its pixel size, or most of it would fall between the samples. Where the background is
    masked, what interpolation would lay beyond the edge of the hand stays within it.
    """
    scale = float(np.sqrt(abs(np.linalg.det(model_input.to_radiograph[:, :2]))))

    def home(values: FloatArray) -> FloatArray:
        if scale < 1.0:
            values = np.asarray(
                cv2.GaussianBlur(values, (0, 0), ANTIALIAS / scale, borderType=cv2.BORDER_CONSTANT), np.float32
            )
        return model_input.to_radiograph_grid(values)

    there = home(months) / np.float32(scale**2)
    if model_input.background_masked:
        cover = home(model_input.mask.astype(np.float32))
        there = np.where(cover >= 0.5, there / np.maximum(cover, np.float32(0.5)), np.float32(0.0))
    return np.asarray(there, np.float32)


def explain_with(
    method_name: str,
    networks: Mapping[str, nn.Module],
    forwards: Mapping[str, Forward],
    inputs: Mapping[str, ModelInput],
    hand: BoolArray,
) -> SignedExplanation:
    """The ensemble's estimate explained by one method: the mean of its members' maps.

    Args:
        method_name: one of `METHODS`.
        networks: member name to its network, an `own_copy` of any that other threads use.
        forwards: member name to its network as a function of the picture alone (`ensemble.age_forward`).
        inputs: member name to its prepared picture.
        hand: bool (H, W) on the radiograph's grid. A network whose background is masked has nothing beyond it.

    Raises:
        UnknownMethod: no method has that name.
        NotFinite: a network's map holds values that are no numbers.
    """
    method = find_method(method_name)
    found = {name: method.attribute(networks[name], forwards[name], inputs[name]) for name in networks}
    home = {name: bring_months_home(made.months, inputs[name]) for name, made in found.items()}
    home = {name: values * hand if inputs[name].background_masked else values for name, values in home.items()}
    months = np.asarray(np.mean(list(home.values()), axis=0), np.float32)
    errors = [e for made in found.values() if (e := made.completeness_error_months) is not None]
    return SignedExplanation(
        months=months,
        method=method.name,
        inside_hand_share=_share_inside(months, hand),
        by_member={name: made.months for name, made in found.items()},
        member_agreement=agreement([_small(values) for values in home.values()]),
        completeness_error_months=max(errors) if errors else None,
    )


def _share_inside(months: FloatArray, hand: BoolArray) -> float:
    """Share of a map's size, sign aside, on the hand; 0 for a map of nothing."""
    size = np.abs(months)
    total = float(size.sum(dtype=np.float64))
    inside = float(size[hand].sum(dtype=np.float64))
    return min(1.0, inside / total) if total > 0 else 0.0  # sums in another order may differ by a hair


def _small(values: FloatArray) -> FloatArray:
    """A map shrunk for comparing; small ones as they are."""
    factor = COMPARED_PX / max(values.shape)
    if factor >= 1.0:
        return values
    size = (max(1, round(values.shape[1] * factor)), max(1, round(values.shape[0] * factor)))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
