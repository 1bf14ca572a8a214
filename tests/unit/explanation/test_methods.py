"""Attribution methods against toy networks solved by hand, and what every method must hold."""

import ast
import inspect
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baa_core.errors import UnknownMethod
from baa_core.estimation.ensemble import age_forward
from baa_core.explanation import lazy_captum as captum_door
from baa_core.explanation.attribution import BLUR_SHARE, blurred_hand, widely_blurred
from baa_core.explanation.gradients import last_feature_map
from baa_core.explanation.methods import METHODS, bring_months_home, evidence, explain_with, find_method
from baa_core.explanation.occlusion import occlude
from baa_core.explanation.verdict import correlation
from baa_core.networks.build import build
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.schema import Architecture

SIDE = 64
MOST_SIMILAR_AFTER_RANDOMISING = 0.5  # of maps by a network and by the same one with other weights
LEAST_MIRRORED = {"smoothgrad": 0.9}  # its noise is not mirrored with the picture; the others are exact


def prepared(seed: int = 0, side_px: int = SIDE, masked: bool = True) -> ModelInput:
    """Noise with some structure inside an ellipse, black around it; off centre, so that left is not right."""
    rows, columns = np.mgrid[:side_px, :side_px] / side_px
    mask = ((rows - 0.5) / 0.42) ** 2 + ((columns - 0.45) / 0.3) ** 2 < 1
    texture = np.random.default_rng(seed).normal(size=(side_px // 8, side_px // 8)).repeat(8, 0).repeat(8, 1)
    pixels = np.where(mask, texture + 0.5, -1.0).astype(np.float32)
    return ModelInput(pixels[None, None], mask, IDENTITY, (side_px, side_px), background_masked=masked)


def mirrored(model_input: ModelInput) -> ModelInput:
    image, mask = (np.ascontiguousarray(array[..., ::-1]) for array in (model_input.image, model_input.mask))
    return ModelInput(image, mask, IDENTITY, model_input.radiograph_shape, model_input.background_masked)


class Tiny(nn.Module):
    """Two convolutions, a global mean, months; frozen, as the served networks are."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU()
        )
        self.months = nn.Linear(24, 1)
        self.requires_grad_(False)

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        return 100 * self.months(self.features(image).mean(dim=(2, 3)))[:, 0] + male


def linear(weights: np.ndarray) -> Callable[[Tensor], Tensor]:
    given = torch.tensor(weights, dtype=torch.float32)
    return lambda image: (image[:, 0] * given).sum(dim=(1, 2))


def random_weights() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(SIDE, SIDE)).astype(np.float32)


def months_by(name: str, forward: Callable[[Tensor], Tensor], model_input: ModelInput) -> np.ndarray:
    return METHODS[name].attribute(nn.Identity(), forward, model_input).months


@pytest.mark.parametrize("name", ["saliency", "smoothgrad"])
def test_the_gradient_of_a_linear_network_is_its_weights_signed(name: str) -> None:
    weights, picture = random_weights(), prepared()
    assert months_by(name, linear(weights), picture) == pytest.approx(np.where(picture.mask, weights, 0), abs=1e-5)


def test_integrated_gradients_of_a_linear_network() -> None:
    weights, picture = random_weights(), prepared()
    change = picture.image[0, 0] - blurred_hand(picture)
    assert months_by("integrated_gradients", linear(weights), picture) == pytest.approx(weights * change, abs=1e-4)


def test_occlusion_of_a_linear_network_on_a_disjoint_grid() -> None:
    """Every window holds its weights times what blurring took, on its hand pixels alone."""
    weights, picture = random_weights(), prepared()
    lost = weights * (picture.image[0, 0] - blurred_hand(picture))
    found = occlude(linear(weights), picture, window_px=16, stride_px=16)
    for top in range(0, SIDE, 16):
        for left in range(0, SIDE, 16):
            window = (slice(top, top + 16), slice(left, left + 16))
            assert found[window].sum() == pytest.approx(lost[window].sum(), abs=1e-3)
    assert found.sum() == pytest.approx(lost.sum(), abs=1e-3)
    assert np.unique(found[16:32, 16:32][picture.mask[16:32, 16:32]].round(6)).size == 1


def test_both_ways_is_the_same_for_a_linear_network_and_adds_up() -> None:
    """Nothing depends on its surroundings there, so hidden and shown are worth the same."""
    weights, picture = random_weights(), prepared()
    lost = float((weights * (picture.image[0, 0] - blurred_hand(picture))).sum())
    both, one = (months_by(name, linear(weights), picture) for name in ("both_ways", "occlusion"))
    even = (both - one)[picture.mask]
    assert even == pytest.approx(np.full_like(even, even.mean()), abs=1e-4)  # only what overlap left out is spread
    assert both.sum() == pytest.approx(lost, abs=1e-3)


def test_both_ways_shares_a_product_that_occlusion_counts_twice() -> None:
    """f = 10 a*b, a and b the means of two squares: hiding either loses what both have, showing either gains little."""
    picture = prepared()
    one, other = (slice(16, 24), slice(16, 24)), (slice(32, 40), slice(32, 40))
    image = picture.image.copy()
    image[0, 0][one], image[0, 0][other] = 3.0, 4.0
    picture = ModelInput(image, picture.mask, IDENTITY, (SIDE, SIDE), background_masked=True)

    def product(given: Tensor) -> Tensor:
        return 10 * given[:, 0, *one].mean(dim=(1, 2)) * given[:, 0, *other].mean(dim=(1, 2))

    whole, blurred = (float(product(torch.tensor(p)[None, None])) for p in (image[0, 0], blurred_hand(picture)))
    a0, b0 = (float(blurred_hand(picture)[place].mean()) for place in (one, other))
    lost, alone = occlude(product, picture, 8, 8), occlude(product, picture, 8, 8, alone=True)
    assert lost[one].sum() == pytest.approx(10 * (3 - a0) * 4, rel=1e-3)
    assert alone[one].sum() == pytest.approx(10 * (3 - a0) * b0, rel=1e-3)
    assert ((lost + alone) / 2).sum() == pytest.approx(whole - blurred, rel=1e-3)  # Shapley's values, two places
    assert lost.sum() > 1.2 * (whole - blurred)


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "whole"])
def test_occlusion_with_overlap_asks_only_about_windows_on_the_hand(masked: bool) -> None:
    asked = []

    def forward(image: Tensor) -> Tensor:
        asked.extend(picture.shape for picture in image)
        return image.mean(dim=(1, 2, 3))

    METHODS["occlusion"].attribute(nn.Identity(), forward, prepared(masked=masked))
    windows = (round(SIDE / 6 - 2) + 1) ** 2  # a stride of a tenth of 64 px is 6 px
    assert 0.3 * windows < len(asked) < 0.9 * windows
    assert set(asked) == {(1, SIDE, SIDE)}


def test_a_product_shares_its_months_evenly() -> None:
    """f = a*b: the gradient at a is b; the path integral at a is (a - a0) times the mean of b and b0."""
    picture = prepared()
    one, other = (30, 25), (34, 40)
    a, b = (float(picture.image[0, 0][place]) for place in (one, other))
    a0, b0 = (float(blurred_hand(picture)[place]) for place in (one, other))

    def product(image: Tensor) -> Tensor:
        return image[:, 0, one[0], one[1]] * image[:, 0, other[0], other[1]]

    gradient = months_by("saliency", product, picture)
    assert (gradient[one], gradient[other]) == pytest.approx((b, a), abs=1e-5)
    path = months_by("integrated_gradients", product, picture)
    assert path[one] == pytest.approx((a - a0) * (b + b0) / 2, abs=1e-4)
    assert path[other] == pytest.approx((b - b0) * (a + a0) / 2, abs=1e-4)
    assert np.count_nonzero(gradient) == np.count_nonzero(path) == 2


def test_a_rectifier_shut_in_the_picture_has_no_gradient_but_a_path() -> None:
    """f = relu(knee - x): shut at the bright picture, open at the blurred one; only the path sees what is lost."""
    picture = prepared()
    place = np.unravel_index(np.argmax(picture.image[0, 0]), picture.mask.shape)
    bright, blurred = float(picture.image[0, 0][place]), float(blurred_hand(picture)[place])
    knee = (bright + blurred) / 2

    def rectified(image: Tensor) -> Tensor:
        return (knee - image[:, 0, place[0], place[1]]).relu()

    assert not months_by("saliency", rectified, picture).any()
    attribution = METHODS["integrated_gradients"].attribute(nn.Identity(), rectified, picture)
    lost = 0.0 - (knee - blurred)
    assert attribution.months.sum() == pytest.approx(lost, rel=0.15)  # the knee lies between two nodes of the integral
    assert attribution.completeness_error_months == pytest.approx(abs(attribution.months.sum() - lost), abs=1e-4)


def test_integrated_gradients_conserve_the_months() -> None:
    network, picture = Tiny(0), prepared()
    forward = age_forward(network, "male", mirror=True)
    attribution = METHODS["integrated_gradients"].attribute(network, forward, picture)
    with torch.inference_mode():
        gained = forward(torch.tensor(picture.image)) - forward(torch.tensor(blurred_hand(picture))[None, None])
    assert float(attribution.months.sum()) == pytest.approx(float(gained), abs=0.05)


class Blobs(nn.Module):
    """Two filters of 8 px, one for, one against; their rectified answers' mean, weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 2, 8, stride=8, bias=False)
        with torch.no_grad():
            self.filters.weight[0] = 1.0
            self.filters.weight[1] = -1.0

    def forward(self, image: Tensor, male: Tensor) -> Tensor:
        cells = self.filters(image).relu().mean(dim=(2, 3))
        return 3.0 * cells[:, 0] - 2.0 * cells[:, 1] + 0 * male


def spots() -> ModelInput:
    """Bright on the left, dark on the right, grey between; all of it hand."""
    pixels = np.zeros((SIDE, SIDE), np.float32)
    pixels[24:32, 8:16], pixels[40:48, 48:56] = 1.0, -1.0
    return ModelInput(pixels[None, None], np.ones((SIDE, SIDE), bool), IDENTITY, (SIDE, SIDE))


@pytest.mark.parametrize("mirror", [False, True], ids=["one view", "mirrored too"])
def test_grad_cam_by_hand(mirror: bool) -> None:
    """The convolution's cells are +-64 on the spots; rectified and averaged over 64 cells they give 3 and -2 months.

    Mean gradients over the 64 cells: 3/64 * 1/64 where open, and so on; with a mirrored view the second
    half of the batch must be turned back, or half of the months would lie on the wrong side.
    """
    network = Blobs()
    months = METHODS["grad_cam"].attribute(network, age_forward(network, "male", mirror), spots()).months
    # Filter 1 reads +64, -64: mean gradient 3/64/64 (open in one cell of 64). Filter 2 reads -64, +64: -2/64/64.
    left, right = (3 * 64 + 2 * 64) / 64 / 64, -(3 * 64 + 2 * 64) / 64 / 64
    assert months[:, :32].sum() == pytest.approx(left, rel=1e-4)
    assert months[:, 32:].sum() == pytest.approx(right, rel=1e-4)
    assert np.unravel_index(months.argmax(), months.shape) == (pytest.approx(27.5, abs=1), pytest.approx(11.5, abs=1))
    assert np.unravel_index(months.argmin(), months.shape) == (pytest.approx(43.5, abs=1), pytest.approx(51.5, abs=1))


def test_grad_cam_sums_to_the_linear_part() -> None:
    """After a global mean the gradient is the same in every cell, so the map is gradient times activation."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 4, stride=4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1)
    )

    def forward(image: Tensor) -> Tensor:
        return network(image)[:, 0]

    months = METHODS["grad_cam"].attribute(network, forward, prepared(masked=False)).months
    linear_part = float((forward(torch.tensor(prepared().image)) - network[4].bias).detach())
    assert months.sum() == pytest.approx(linear_part, rel=1e-4)


@pytest.mark.slow
def test_the_last_feature_map_is_found_and_no_hook_stays() -> None:
    network = build(Architecture("test_efficientnet", hidden=(16,), sex_features=4)).requires_grad_(False)
    forward = age_forward(network, "male", mirror=True)
    found = last_feature_map(network, forward, torch.tensor(prepared().image))
    assert found is network.backbone.bn2
    assert not any(module._forward_hooks for module in network.modules())


def test_grad_cam_needs_a_feature_map() -> None:
    with pytest.raises(ValueError, match="feature map"):
        METHODS["grad_cam"].attribute(nn.Identity(), linear(random_weights()), prepared())


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_repeatable_and_zero_on_a_masked_background(name: str) -> None:
    network, picture = Tiny(0), prepared()
    forward = age_forward(network, "female", mirror=True)
    state = torch.random.get_rng_state()
    one, other = (METHODS[name].attribute(network, forward, picture) for _ in range(2))
    assert one.months.tobytes() == other.months.tobytes()
    assert torch.equal(state, torch.random.get_rng_state())
    assert one.method == name
    assert one.months.shape == (SIDE, SIDE)
    assert one.months.dtype == np.float32
    assert not one.months[~picture.mask].any()
    assert one.months.any()
    assert (one.completeness_error_months is not None) == (name == "integrated_gradients")


@pytest.mark.parametrize("name", METHODS)
def test_a_map_can_be_asked_for_inside_inference_mode(name: str) -> None:
    network, picture = Tiny(0), prepared()
    usual = METHODS[name].attribute(network, age_forward(network, "female", mirror=True), picture).months
    with torch.inference_mode():
        inside = METHODS[name].attribute(network, age_forward(network, "female", mirror=True), picture).months
    assert inside.tobytes() == usual.tobytes()


@pytest.mark.parametrize("name", METHODS)
def test_a_mirrored_picture_gets_the_mirrored_map(name: str) -> None:
    network, picture = Tiny(0), prepared()
    forward = age_forward(network, "female", mirror=True)
    one, other = (METHODS[name].attribute(network, forward, p).months for p in (picture, mirrored(picture)))
    assert correlation(one, np.ascontiguousarray(other[:, ::-1])) > LEAST_MIRRORED.get(name, 0.999)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.slow
def test_other_weights_give_another_map(name: str) -> None:
    """Adebayo 2018: a map that survives random weights shows the picture, not the network."""
    picture, similar = prepared(), []
    for seed in range(4):
        one, other = (
            METHODS[name].attribute(network, age_forward(network, "female", mirror=False), picture).months
            for network in (Tiny(2 * seed), Tiny(2 * seed + 1))
        )
        similar.append(correlation(one, other))
    assert float(np.mean(similar)) < MOST_SIMILAR_AFTER_RANDOMISING


def test_the_blurred_hand_leaves_the_background_and_mixes_nothing_in() -> None:
    flat = prepared()
    image = np.where(flat.mask, 2.0, -1.0).astype(np.float32)[None, None]
    blurred = blurred_hand(ModelInput(image, flat.mask, IDENTITY, (SIDE, SIDE), True))
    assert blurred == pytest.approx(image[0, 0], abs=1e-5)  # an even hand stays even up to its edge
    grainy = blurred_hand(flat)
    assert np.array_equal(grainy[~flat.mask], flat.image[0, 0][~flat.mask])
    assert grainy[flat.mask].std() < 0.7 * flat.image[0, 0][flat.mask].std()


@pytest.mark.parametrize("scale", [0.35, 0.8, 1.0, 2.7, 6.0])
@pytest.mark.parametrize("turn_degrees", [0.0, 33.0])
def test_months_are_conserved_on_the_way_home(scale: float, turn_degrees: float) -> None:
    """Also for a map of single pixels, as gradients are, on a radiograph coarser than the input."""
    values = np.zeros((SIDE, SIDE), np.float32)
    values[12:52, 12:52] = np.random.default_rng(0).normal(size=(40, 40)).clip(-0.5) ** 3
    angle, shape = np.deg2rad(turn_degrees), (round(110 * scale), round(120 * scale))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2 - turn @ np.array([(SIDE - 1) / 2, (SIDE - 1) / 2])
    affine = np.hstack([turn, middle[:, None]])
    source = ModelInput(np.zeros((1, 1, SIDE, SIDE), np.float32), values != 0, affine, shape)
    assert bring_months_home(values, source).sum() == pytest.approx(values.sum(), rel=0.01)


def test_an_ensemble_is_averaged_and_its_agreement_told() -> None:
    weights, picture = random_weights(), prepared()
    forwards = {"one": linear(weights), "same": linear(3 * weights), "opposite": linear(-weights)}
    networks = {name: nn.Identity() for name in forwards}
    inputs = dict.fromkeys(forwards, picture)
    explanation = explain_with("saliency", networks, forwards, inputs, picture.mask)
    assert explanation.months == pytest.approx(np.where(picture.mask, weights, 0), abs=1e-5)  # (1 + 3 - 1) / 3
    assert explanation.member_agreement == pytest.approx(-1 / 3, abs=1e-3)  # pairs: 1, -1, -1
    assert set(explanation.by_member) == set(forwards)
    assert explanation.inside_hand_share == pytest.approx(1.0)
    assert explanation.completeness_error_months is None
    assert not explanation.months.flags.writeable


def test_one_network_agrees_with_nobody_and_the_months_add_up() -> None:
    weights = random_weights()
    picture = prepared(masked=False)
    explanation = explain_with(
        "integrated_gradients", {"a": nn.Identity()}, {"a": linear(weights)}, {"a": picture}, picture.mask
    )
    assert explanation.member_agreement is None
    assert explanation.completeness_error_months == pytest.approx(0.0, abs=1e-3)
    gained = (weights * (picture.image[0, 0] - blurred_hand(picture))).sum()
    assert explanation.months.sum() == pytest.approx(gained, rel=0.01)


def test_the_share_inside_the_hand_is_measured_where_the_background_is_seen() -> None:
    picture = prepared(masked=False)
    forwards = {"a": linear(np.ones((SIDE, SIDE)))}
    explanation = explain_with("saliency", {"a": nn.Identity()}, forwards, {"a": picture}, picture.mask)
    assert explanation.inside_hand_share == pytest.approx(picture.mask.mean(), abs=1e-4)


def test_an_unknown_method_is_answered_with_the_names() -> None:
    with pytest.raises(UnknownMethod, match=r"'deep_lift'.*saliency, smoothgrad, integrated_gradients"):
        find_method("deep_lift")


def test_every_method_says_what_it_shows_and_what_it_cannot() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        for sentence in (method.shows, method.cannot):
            assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) < 130


def test_captum_waits_until_a_map_is_made() -> None:
    """Its import takes longer than an assessment."""
    top = ast.parse(inspect.getsource(captum_door)).body
    assert "captum" not in " ".join(ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom))


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.sketch])
def test_a_sketch_is_cheaper_and_resembles_the_map(name: str) -> None:
    asked = {"map": 0, "sketch": 0}
    network, picture = Tiny(0), prepared()

    def counting(which: str) -> Callable[[Tensor], Tensor]:
        def forward(image: Tensor) -> Tensor:
            asked[which] += len(image)
            return age_forward(network, "male", mirror=False)(image)

        return forward

    whole = METHODS[name].attribute(network, counting("map"), picture).months
    assert METHODS[name].sketch is not None
    rough = METHODS[name].sketch(network, counting("sketch"), picture).months
    assert asked["sketch"] < asked["map"] / 2
    assert correlation(whole, rough) > 0.5


def test_evidence_of_a_map_per_grey_is_what_blurring_takes_to_first_order() -> None:
    weights, picture = random_weights(), prepared()
    detail = picture.image[0, 0] - blurred_hand(picture)
    assert evidence(METHODS["saliency"], weights, picture) == pytest.approx(weights * detail, abs=1e-5)
    assert evidence(METHODS["occlusion"], weights, picture) is weights


@pytest.mark.parametrize("side_px", [100, 320, 801])
def test_a_wide_blur_taken_on_a_coarse_grid_is_the_gaussian_mean(side_px: int) -> None:
    grain = np.random.default_rng(3).random((side_px, side_px - 7)).astype(np.float32)
    grain[: side_px // 3] = 0
    deviation_px = BLUR_SHARE * side_px
    usual = cv2.GaussianBlur(grain, (0, 0), deviation_px)
    np.testing.assert_allclose(widely_blurred(grain, deviation_px), usual, atol=0.005)
