"""Ways to ask a network what moves its estimate by its gradients: network + ModelInput -> signed months per pixel.

All run through Captum, keep their sign (positive: evidence for an older hand) and speak in raw
months, before the calibration's small bias correction. Where the background is masked it gets 0:
whatever the radiograph shows there, the network sees the same black.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import chain, pairwise
from threading import Lock

import torch
from torch import Tensor, nn

from ..networks.bone_strips import BoneAgeNetwork
from ..networks.engine import in_pytorch
from ..networks.joint_patches import JointAgeNetwork
from ..networks.tta import apply_tta, places_for_tta
from ..preprocessing.prepare import ModelInput
from ..recipes.schema import TestTimeAugmentation
from .attribution import Attribution, Forward, as_leaf, as_months, blurred_hand, one_by_one, visible
from .lazy_captum import captum_attr

NOISE_SHARE = 0.1  # SmoothGrad's deviation as a share of the picture's span (Smilkov 2017: 10 to 20 %)
NOISE_SAMPLES = 16
NOISE_SEED = 0
# Of six val radiographs' way from blurred to sharp, the estimate leaps in the first twelfth: the integral looks closer
# there.
PATH_CUTS = (0.0, 0.02, 0.08, 0.3, 1.0)
NODES_PER_PART = 8  # Gauss-Legendre
SKETCHED_NODES = 2
MOST_MISSED_MONTHS = 0.15
HALVINGS = 3

_generator_lock = Lock()  # Captum draws its noise from torch's one generator


def own_copy(network: nn.Module) -> nn.Module:
    """The same network for one explanation alone: its weights are shared, its modules are not.

    Grad-CAM hooks into the modules it asks. In a shared network every other pass, of another thread, would run through
    the same hooks and put its activations in place of this picture's.
    """
    shared: dict[int, object] = {id(kept): kept for kept in chain(network.parameters(), network.buffers())}
    copied: nn.Module = deepcopy(network, shared)
    return copied


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

    Args:
        network: as it is explained.
        forward: the same as a function of the picture alone.
        picture: a leaf that wants a gradient.

    Raises:
        ValueError: the network makes no feature map.
    """
    finished: list[nn.Module] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            finished.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with in_pytorch():  # the hooks are on its modules
            forward(picture)
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
    averages a picture and its mirror image (`ensemble.apply_tta`), the second view's cells are turned back. Cells of
    straightened bones and of patches around joints are laid back onto the hand.
    """
    picture = as_leaf(model_input)
    layer = last_feature_map(network, forward, picture)
    with in_pytorch(), torch.enable_grad():
        cells = captum_attr().LayerGradCam(forward, layer).attribute(picture, relu_attributions=False)
    height, width = picture.shape[-2:]
    if isinstance(network, BoneAgeNetwork | JointAgeNetwork):
        views = len(cells) // network.pieces
        seen = TestTimeAugmentation(mirror=views > 1)
        spread = network.to_picture_grid(cells, apply_tta(picture, seen), places_for_tta(network, model_input, seen))
    else:
        share = cells.shape[2] * cells.shape[3] / (height * width)
        spread = share * nn.functional.interpolate(cells, (height, width), mode="bilinear", align_corners=False)
    once = spread[:1] + spread[1:].flip(3).sum(dim=0, keepdim=True)
    return Attribution(as_months(once, model_input), "grad_cam")
