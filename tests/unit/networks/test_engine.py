"""Networks on the engine: the same answers as in PyTorch, gradients and changed copies untouched, nothing sent out."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn

from baa_core.errors import EngineMissing
from baa_core.estimation.ensemble import age_forward
from baa_core.explanation.methods import METHODS
from baa_core.networks import engine
from baa_core.networks.build import build
from baa_core.networks.engine import ATTRIBUTE, on_engine, put_on_engine, put_on_torch
from baa_core.preprocessing.picture import IDENTITY
from baa_core.preprocessing.prepare import ModelInput
from baa_core.recipes.schema import Architecture
from tests.conftest import REPOSITORY

HAND = Architecture("fastsurfer", task="hand", hidden=(8,), sex_features=0)
AGE = Architecture("test_efficientnet", hidden=(16,), sex_features=4)
LANDMARKS = Architecture("test_efficientnet", task="landmarks", hidden=(16,), sex_features=0)
SEX = Architecture("test_efficientnet", task="sex", hidden=(16,), sex_features=0)


def frozen(architecture: Architecture) -> nn.Module:
    torch.manual_seed(0)
    return build(architecture).requires_grad_(False)


@pytest.fixture(autouse=True)
def on_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAA_ENGINE", "openvino")


@pytest.mark.parametrize("architecture", [AGE, LANDMARKS, SEX], ids=lambda architecture: architecture.task)
def test_a_network_on_the_engine_answers_as_in_pytorch(architecture: Architecture) -> None:
    """For any number of pictures, by one graph."""
    network, other = frozen(architecture), put_on_engine(frozen(architecture))
    for batch in (1, 3):
        image = torch.rand(batch, 1, 128, 128)
        given = (image, torch.ones(batch)) if architecture is AGE else (image,)
        with torch.inference_mode():
            alone, served = network(*given), other(*given)
        assert type(served) is type(alone)
        torch.testing.assert_close(served, alone, atol=1e-4, rtol=1e-4)


def test_an_outline_is_drawn_by_pytorch() -> None:
    """A mask decides about every picture made with it, so no rounding may decide about its pixels."""
    image = torch.rand(1, 1, 128, 128)
    with torch.inference_mode():
        for alone, served in zip(frozen(HAND)(image), put_on_engine(frozen(HAND))(image), strict=True):
            assert torch.equal(alone, served)


class Small(nn.Module):
    """Layers as those of the shipped networks, and one more."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        first = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU6(inplace=True)
        then = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.SiLU(inplace=True), nn.Conv2d(4, 1, 1)
        self.layers = nn.Sequential(*first, *then, last).requires_grad_(False)

    @on_engine
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def gradient_of(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Of the answers' sum, with respect to the pictures."""
    seen = image.clone().requires_grad_()
    network(seen).sum().backward()
    assert seen.grad is not None
    return seen.grad


def test_first_gradients_are_pytorchs_and_later_ones_the_same_by_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph for every number of pictures; whoever is idle makes it before it is due."""
    monkeypatch.setattr(engine, "PAYS_AFTER", 2)
    monkeypatch.setitem(engine._GRADIENTS, "in graphs", True)
    plain = Small(nn.AdaptiveAvgPool2d(1))
    network, image = put_on_engine(deepcopy(plain)), torch.rand(2, 1, 16, 16)
    graphs, expected = vars(network)[ATTRIBUTE], gradient_of(plain, image)
    for _ in range(2):
        assert torch.equal(gradient_of(network, image), expected)
    assert not graphs._gradients
    torch.testing.assert_close(gradient_of(network, image), expected, atol=1e-6, rtol=1e-3)
    assert len(graphs._gradients) == 1 and None not in graphs._gradients.values()
    assert torch.equal(gradient_of(network, image[:1]), gradient_of(plain, image[:1]))
    engine.make_gradients()
    torch.testing.assert_close(gradient_of(network, image[:1]), gradient_of(plain, image[:1]), atol=1e-6, rtol=1e-3)
    assert len(graphs._gradients) == 2 and None not in graphs._gradients.values()


def test_a_process_may_keep_gradients_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page does: graphs of gradients would take it past the memory it promises."""
    monkeypatch.setattr(engine, "PAYS_AFTER", 0)
    monkeypatch.setitem(engine._GRADIENTS, "in graphs", True)
    engine.keep_gradients_in_pytorch()
    network = put_on_engine(Small(nn.AdaptiveAvgPool2d(1)))
    gradient_of(network, torch.rand(1, 1, 16, 16))
    assert not vars(network)[ATTRIBUTE]._gradients


@pytest.mark.parametrize("layer", [nn.MaxPool2d(2), nn.ConvTranspose2d(1, 1, 2)], ids=["maximum", "transposed"])
def test_a_gradient_without_a_rule_stays_in_pytorch(layer: nn.Module) -> None:
    """What a maximum, or a transposed convolution, hands back is nothing that the engine could be told."""
    network, image = put_on_engine(Small(layer)), torch.rand(1, 1, 16, 16)
    before = gradient_of(network, image)
    engine.make_gradients()
    assert list(vars(network)[ATTRIBUTE]._gradients.values()) == [None]
    assert torch.equal(gradient_of(network, image), before)


CONVOLUTIONS = {
    "plain": nn.Conv2d(3, 4, 3, padding=1),
    "with steps": nn.Conv2d(3, 4, 3, stride=2, padding=1),
    "one channel at a time": nn.Conv2d(3, 3, 5, padding=2, groups=3),
    "one channel at a time with steps": nn.Conv2d(3, 3, 5, stride=2, groups=3),
    "in groups": nn.Conv2d(4, 4, 3, groups=2),
    "with holes": nn.Conv2d(3, 4, (3, 5), padding=(2, 0), dilation=2),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_the_gradient_of_a_convolution_is_pytorchs(kind: str) -> None:
    layer = CONVOLUTIONS[kind].requires_grad_(False)
    image = torch.rand(2, layer.in_channels, 17, 16, requires_grad=True)
    answer = layer(image)
    asked = torch.rand_like(answer)
    (expected,) = torch.autograd.grad(answer, image, asked)
    shape = layer.stride, layer.padding, layer.dilation, False, (0, 0), layer.groups
    found, *_ = engine._convolution_backward(asked, image.detach(), layer.weight, None, *shape, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_hooks_see_what_passes_a_network_whose_gradient_is_a_graph() -> None:
    """Grad-CAM asks a layer of the network."""
    network, image = put_on_engine(Small(nn.AdaptiveAvgPool2d(1))), torch.rand(1, 1, 16, 16)
    gradient_of(network, image)
    engine.make_gradients()
    gradient_of(network, image)
    seen: list[int] = []
    network.layers.register_forward_hook(lambda *_: seen.append(1))  # type: ignore[union-attr, operator]
    gradient_of(network, image)
    assert not seen
    with engine.in_pytorch():
        gradient_of(network, image)
    assert seen


@pytest.mark.slow
def test_a_copy_whose_parameters_are_changed_answers_by_them() -> None:
    network, image = put_on_engine(frozen(SEX)), torch.rand(1, 1, 64, 64)
    before = network(image)
    other = put_on_torch(deepcopy(network))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(other(image), before)
    assert torch.equal(network(image), before)
    assert all(ATTRIBUTE not in vars(module) for module in other.modules())


def test_threads_that_share_a_network_get_the_same_answers() -> None:
    network = put_on_engine(frozen(SEX))
    images = torch.rand(8, 1, 64, 64)
    alone = [network(image[None]) for image in images]
    found: dict[int, torch.Tensor] = {}
    threads = [
        Thread(target=lambda n=n: found.update({n: network(images[n : n + 1])}))  # type: ignore[misc]
        for n in range(len(images))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[n], alone[n]) for n in range(len(images)))


@pytest.mark.slow
def test_threads_may_ask_several_networks_for_the_first_time_at_once() -> None:
    """`torch.jit.trace`, by which a graph is made, cannot run twice at a time."""
    networks, image = [put_on_engine(frozen(SEX)) for _ in range(4)], torch.rand(1, 1, 64, 64)
    with ThreadPoolExecutor(len(networks)) as threads:
        found = list(threads.map(lambda network: network(image), networks))
    assert all(torch.equal(each, found[0]) for each in found)


class Nested(nn.Module):
    """A method on the engine that calls another one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3)]).requires_grad_(False)

    @on_engine
    def inner(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers[0](image)

    @on_engine
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers[1](self.inner(image))


def test_a_method_on_the_engine_may_call_another_one() -> None:
    """Where the other one's answer about the picture of the tracing was kept, all pictures would get it."""
    plain = Nested()
    served = put_on_engine(deepcopy(plain))
    for image in torch.rand(2, 1, 1, 8, 8):
        torch.testing.assert_close(served(image), plain(image), atol=1e-4, rtol=1e-4)


def test_a_picture_that_could_have_a_gradient_is_answered_without_one() -> None:
    network, image = put_on_engine(frozen(SEX)), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.features(image.clone().requires_grad_()), network.features(image))


def test_pytorch_alone_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAA_ENGINE", "torch")
    network = put_on_engine(frozen(SEX))
    assert all(ATTRIBUTE not in vars(module) for module in network.modules())
    assert engine.engine_version() == {}


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAA_ENGINE", "tvm")
    with pytest.raises(EngineMissing, match="torch, openvino"):
        put_on_engine(frozen(SEX))


def test_a_missing_engine_is_said_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.openvino.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineMissing, match="BAA_ENGINE to torch"):
        put_on_engine(frozen(SEX))
    monkeypatch.undo()
    engine.openvino.cache_clear()


def in_new_process(code: str, folder: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "BAA_ENGINE")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=kept | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_nobody_is_told_that_the_engine_is_used(tmp_path: Path) -> None:
    """OpenVINO's own import would send a note of use if its telemetry is installed: here it would say so."""
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("print('telemetry')")
    said = in_new_process("from baa_core.networks.engine import openvino; openvino(); print('done')", tmp_path)
    assert said == "done"


def test_threads_do_not_spin_unless_somebody_wants_them_to(tmp_path: Path) -> None:
    code = "import baa_core, os; print(os.environ['OMP_WAIT_POLICY'])"
    assert in_new_process(code, tmp_path) == "passive"
    assert in_new_process(code, tmp_path, OMP_WAIT_POLICY="active") == "active"


@pytest.mark.parametrize("name", ["saliency", "grad_cam", "occlusion"])
def test_a_method_explains_a_network_on_the_engine_as_in_pytorch(name: str) -> None:
    pixels = np.random.default_rng(0).standard_normal((1, 1, 64, 64)).astype(np.float32)
    given = ModelInput(pixels, np.ones((64, 64), bool), IDENTITY, (64, 64))
    alone, served = frozen(AGE), put_on_engine(frozen(AGE))
    maps = [
        METHODS[name].attribute(net, age_forward(net, "male", mirror=True), given).months for net in (alone, served)
    ]
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-3 * np.abs(maps[0]).max())
