"""Ways to ask a network what moves its estimate by its gradients: network + ModelInput -> signed months per pixel.

All run through Captum, keep their sign (positive: evidence for an older hand) and speak in raw
months, before the calibration's small bias correction. Where the background is masked it gets 0:
whatever the radiograph shows there, the network sees the same black.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, pairwise
from threading import Lock

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ..bones import BoneAgeNetwork
from ..errors import NotFinite
from ..joint_patches import JointAgeNetwork
from ..preprocessing import ModelInput
from ..types import BoolArray, FloatArray, freeze
from .captum_door import captum_attr

Forward = Callable[[Tensor], Tensor]

UNSEEN_WEIGHT = 1e-3  # beside 1 around: enough where nothing else is near
BLUR_SHARE = 0.05  # deviation of the blurred hand's Gaussian, as a share of the side: wider than a growth plate
NOISE_SHARE = 0.1  # SmoothGrad's deviation as a share of the picture's span (Smilkov 2017: 10 to 20 %)
NOISE_SAMPLES = 16
NOISE_SEED = 0
# Of six val films' way from blurred to sharp, the estimate leaps in the first twelfth: the integral looks closer there.
PATH_CUTS = (0.0, 0.02, 0.08, 0.3, 1.0)
NODES_PER_PART = 8  # Gauss-Legendre
SKETCHED_NODES = 2
MOST_MISSED_MONTHS = 0.15
HALVINGS = 3

_generator_lock = Lock()  # Captum draws its noise from torch's one generator


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


def own_copy(network: nn.Module) -> nn.Module:
    """The same network for one explanation alone: its weights are shared, its modules are not.

    Grad-CAM hooks into the modules it asks. In a shared network every other pass, of another thread, would run through
    the same hooks and put its activations in place of this picture's.
    """
    shared: dict[int, object] = {id(kept): kept for kept in chain(network.parameters(), network.buffers())}
    copied: nn.Module = deepcopy(network, shared)
    return copied


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
    total = cv2.GaussianBlur(picture * weight, (0, 0), deviation_px)
    share = cv2.GaussianBlur(weight, (0, 0), deviation_px)
    return np.asarray(np.where(mask, total / np.maximum(share, np.float32(1e-6)), picture), np.float32)


def visible(model_input: ModelInput) -> BoolArray:
    """Where the network can see anything of the radiograph, (H, W)."""
    return model_input.mask if model_input.background_masked else np.ones_like(model_input.mask)


def one_by_one(forward: Forward) -> Forward:
    """A function of several pictures, (N, C, H, W) to (N,), from one that averages all it is given.

    On a CPU this costs nothing: two views of one picture already fill it.
    """
    return lambda pictures: torch.cat([forward(picture) for picture in pictures.split(1)])


def as_batch(pixels: FloatArray) -> Tensor:
    """A picture, (H, W), as networks take it, (1, 1, H, W); a copy."""
    return torch.tensor(pixels)[None, None].contiguous(memory_format=torch.channels_last)


def as_leaf(model_input: ModelInput) -> Tensor:
    """The picture as a leaf that wants a gradient; without one, frozen networks give their layers none either."""
    return torch.tensor(model_input.image).contiguous(memory_format=torch.channels_last).requires_grad_()


def as_months(values: Tensor, model_input: ModelInput) -> FloatArray:
    """(1, C, H, W) to float32 (H, W): summed over channels, 0 where nothing is visible."""
    found = np.ascontiguousarray(values.detach().sum(dim=(0, 1)).numpy(), dtype=np.float32)
    return np.where(visible(model_input), found, np.float32(0.0))


@torch.inference_mode(False)
def signed_gradient(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """The gradient of the estimate with its sign, where the default picture shows its size."""
    with torch.enable_grad():
        gradient = captum_attr().Saliency(one_by_one(forward)).attribute(as_leaf(model_input), abs=False)
    return Attribution(as_months(gradient, model_input), "saliency")


@torch.inference_mode(False)
def smoothgrad(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """The mean gradient over noisy copies; the noise is seeded, and only where the network sees the radiograph.

    16 forwards and backwards.
    """
    picture, seen = as_leaf(model_input), torch.tensor(visible(model_input))
    exact = picture.detach()

    def answer(noisy: Tensor) -> Tensor:
        return one_by_one(forward)(torch.where(seen, noisy, exact))

    tunnel = captum_attr().NoiseTunnel(captum_attr().Saliency(answer))
    with _generator_lock, torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(NOISE_SEED)
        gradient = tunnel.attribute(
            picture,
            nt_type="smoothgrad",
            nt_samples=NOISE_SAMPLES,
            nt_samples_batch_size=1,
            stdevs=NOISE_SHARE * float(exact.max() - exact.min()),
            abs=False,
        )
    return Attribution(as_months(gradient, model_input), "smoothgrad")


def integrated_gradients(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """Months gained pixel by pixel on the way from the blurred hand; they sum to f(picture) - f(blurred hand).

    A part of the way whose months miss its own difference of estimates is halved and asked again, a few times at most:
    32 to 480 forwards and backwards. The estimate is jagged along the way; with 45 evenly
    set nodes the sum misses by 2 months.
    """
    return _integrated(forward, model_input, NODES_PER_PART, HALVINGS)


@torch.inference_mode(False)
def _integrated(forward: Forward, model_input: ModelInput, nodes: int, halvings: int) -> Attribution:
    """The path's parts, each by Gauss-Legendre with so many nodes, and halved so many times at most."""
    path = captum_attr().IntegratedGradients(one_by_one(forward))
    picture = as_leaf(model_input).detach()
    start = torch.tensor(blurred_hand(model_input))[None, None]
    gained, error = torch.zeros_like(picture), 0.0
    parts = [(begin, end, halvings) for begin, end in pairwise(PATH_CUTS)]
    while parts:
        begin, end, left = parts.pop()
        with torch.enable_grad():
            months, missed = path.attribute(
                start + (picture - start) * end,
                baselines=start + (picture - start) * begin,
                n_steps=nodes,
                internal_batch_size=1,
                return_convergence_delta=True,
            )
        if left and abs(float(missed)) > MOST_MISSED_MONTHS:
            middle = (begin + end) / 2
            parts += [(begin, middle, left - 1), (middle, end, left - 1)]
        else:
            gained, error = gained + months.detach(), error + float(missed)
    return Attribution(as_months(gained, model_input), "integrated_gradients", abs(error))


def sketched_gradients(_network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """`integrated_gradients` with two nodes a part and no promise of a sum; 8 forwards and backwards, 8 forwards."""
    return _integrated(forward, model_input, SKETCHED_NODES, halvings=0)


def last_feature_map(network: nn.Module, forward: Forward, picture: Tensor) -> nn.Module:
    """The module whose output is the last thing with height and width before the network pools.

    Raises:
        ValueError: the network makes no feature map.
    """
    finished: list[nn.Module] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            finished.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.inference_mode():
            forward(picture.detach())
    finally:
        for hook in hooks:
            hook.remove()
    if not finished:
        raise ValueError("Grad-CAM needs a network with a feature map; this one makes none")
    return finished[-1]


@torch.inference_mode(False)
def grad_cam(network: nn.Module, forward: Forward, model_input: ModelInput) -> Attribution:
    """Activation times mean gradient of the last feature map, both signs kept.

    Each of its cells' months are spread over the pixels below it (bilinear), so the whole map sums to the estimate's
    linear part in that layer's activations; what would lie on a masked background is left out. If the forward
    averages a picture and its mirror image (`ensemble.shown`), the second view's cells are turned back. Cells of
    straightened bones and of patches around joints are laid back onto the hand.
    """
    picture = as_leaf(model_input)
    layer = last_feature_map(network, forward, picture)
    with torch.enable_grad():
        cells = captum_attr().LayerGradCam(forward, layer).attribute(picture, relu_attributions=False)
    height, width = picture.shape[-2:]
    if isinstance(network, BoneAgeNetwork | JointAgeNetwork):
        views = len(cells) // network.pieces
        spread = network.bring_home(cells, torch.cat([picture, picture.flip(3)])[:views])
    else:
        share = cells.shape[2] * cells.shape[3] / (height * width)
        spread = share * nn.functional.interpolate(cells, (height, width), mode="bilinear", align_corners=False)
    once = spread[:1] + spread[1:].flip(3).sum(dim=0, keepdim=True)
    return Attribution(as_months(once, model_input), "grad_cam")
