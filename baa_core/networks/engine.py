"""Which software computes a network's forward pass: PyTorch, or OpenVINO, which takes half the time on a CPU.

The environment variable `BAA_ENGINE` names one of `ENGINES`; `DEFAULT` if it is not set. Both compute in float32:
`python -m benchmarks` prints what each takes, `python -m benchmarks.agreement` how far their answers differ.

A method of a network marked with `on_engine` is computed by OpenVINO if the network was put on it (`put_on_engine`, as
`store` does with every network it serves). Training and copies with changed parameters stay in PyTorch. So do the
networks that draw outlines: rounding would decide about single pixels of a mask, and a mask decides about every picture
made with it. The graph is made from the verified weights in memory, when it is first needed; no second file of weights
is written or read.

A gradient with respect to the picture is computed by PyTorch at first. Its graph takes as long to make as several dozen
gradients of PyTorch, and half the time of one afterwards: it is made when it was asked for `PAYS_AFTER` times, as in a
batch with heatmaps, unless the process keeps gradients in PyTorch (`keep_gradients_in_pytorch`). Networks with an
operation that has no rule there stay in PyTorch (`_gradient_of`).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import lru_cache, wraps
from threading import Lock, local
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, conv_transpose2d

from ..errors import EngineMissing

ENGINES: Final = ("torch", "openvino")
DEFAULT: Final = "openvino"
ATTRIBUTE: Final = "_graphs"  # of a module that was put on OpenVINO: its graphs by method and input
PAYS_AFTER: Final = 24  # gradients by PyTorch; on two cores a graph is worth its making after 20 to 40

Given = ParamSpec("Given")
Made = TypeVar("Made")


def engine_name() -> str:
    """The engine that networks are put on.

    Raises:
        EngineMissing: `BAA_ENGINE` names none of `ENGINES`.
    """
    name = os.environ.get("BAA_ENGINE") or DEFAULT
    if name not in ENGINES:
        raise EngineMissing(f"BAA_ENGINE is '{name[:30]}'. Set it to one of: {', '.join(ENGINES)}; or leave it out.")
    return name


def engine_version() -> dict[str, str]:
    """The engine and its version, for `NetworkStore.versions`; nothing for PyTorch, which is named there anyway."""
    return {} if engine_name() == "torch" else {"openvino": str(openvino().__version__).split("-")[0]}


@lru_cache(maxsize=1)
def openvino() -> ModuleType:
    """OpenVINO, imported when the first network is put on it.

    Its import sends a note of use to its maker where the package `openvino_telemetry` is installed, as pip does. Here
    nothing is sent: that package is hidden before the import, and OpenVINO takes the empty stub it has for that case.

    Raises:
        EngineMissing: it is not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import openvino
    except ImportError as missing:
        raise EngineMissing(
            "OpenVINO, which computes the networks, is not installed. Install what requirements.txt lists, or set the "
            "environment variable BAA_ENGINE to torch, which takes twice the time."
        ) from missing
    return cast(ModuleType, openvino)


def put_on_engine(network: nn.Module) -> nn.Module:
    """The same network, its marked methods computed by the engine; for networks whose parameters stay as they are.

    Raises:
        EngineMissing: the engine is unknown or not installed.
    """
    if engine_name() != "torch":
        openvino()
        for module in network.modules():
            vars(module)[ATTRIBUTE] = _Graphs()
    return network


def put_on_torch(network: nn.Module) -> nn.Module:
    """The same network, computed by PyTorch: for copies whose parameters are changed."""
    for module in network.modules():
        vars(module).pop(ATTRIBUTE, None)
    return network


def on_engine(method: Callable[Given, Made]) -> Callable[Given, Made]:
    """A method of a module, from batches of tensors to a tensor or a named tuple of tensors, as a graph of the engine.

    The first axis of every input is the batch and may have any length; its other axes tell graphs apart.
    """

    @wraps(method)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        module, *given = cast(tuple[Any, ...], args)
        graphs = vars(module).get(ATTRIBUTE)
        # While the graph of another method is made this one must be traced with it, or would count as a constant.
        if graphs is None or kwargs or getattr(_HERE, "in_pytorch", False):
            return method(*args, **kwargs)
        wants_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in given)
        ask = graphs.run_with_gradient if wants_gradient else graphs.run
        return cast(Made, ask(method, module, given))

    return run


_MAKING: Final = Lock()  # one graph at a time: `torch.jit.trace` keeps the names of modules in a global variable
_HERE: Final = local()  # whether this thread computes in PyTorch, as it does while it makes a graph
_ALL: Final = WeakSet["_Graph"]()
_OWNERS: Final = WeakSet["_Graphs"]()


@contextmanager
def in_pytorch() -> Iterator[None]:
    """Meanwhile this thread computes everything in PyTorch, module by module, so that hooks see what passes."""
    before = getattr(_HERE, "in_pytorch", False)
    _HERE.in_pytorch = True
    try:
        yield
    finally:
        _HERE.in_pytorch = before


def make_gradients() -> None:
    """Make the graphs of all gradients that PyTorch was asked for, however seldom; each takes a second or two."""
    for graphs in tuple(_OWNERS):
        graphs.make_gradients(asked_at_least=1)


_GRADIENTS = {"in graphs": True}


def keep_gradients_in_pytorch() -> None:
    """From now on this process makes no graph of a gradient: two of them hold some 150 MB (by a script, not kept)."""
    _GRADIENTS["in graphs"] = False


def release_memory() -> None:
    """Give back what the engine's passes were computed in, as large as the largest batch so far, where none runs now.

    The next pass takes it anew, which takes no measurable time.
    """
    for graph in tuple(_ALL):
        graph.release()


Method = Callable[..., Any]


class _Graphs:
    """The graphs of one module. Threads may share it; copies of the module share its parameters and so its graphs."""

    def __init__(self) -> None:
        self._made: dict[Any, _Graph] = {}
        self._gradients: dict[Any, _Graph | None] = {}  # None: it has an operation without a rule
        self._asked = Counter[Any]()  # how often for which gradient
        self._wanted: dict[Any, tuple[Method, nn.Module, torch.Size]] = {}  # what is needed to make those
        _OWNERS.add(self)

    def __deepcopy__(self, _memo: object) -> _Graphs:
        return self

    def __reduce__(self) -> tuple[type[_Graphs], tuple[()]]:
        return _Graphs, ()

    def run(self, method: Method, module: nn.Module, given: Sequence[Tensor]) -> Any:
        """What the method makes of these tensors."""
        key = (method.__name__, tuple(each.shape[1:] for each in given))
        graph = self._made.get(key)
        if graph is None:
            with _MAKING, in_pytorch():
                if key not in self._made:
                    self._made[key] = _Graph(method, module, given)
                graph = self._made[key]
        return graph(given)

    def run_with_gradient(self, method: Method, module: nn.Module, given: Sequence[Tensor]) -> Any:
        """The same, to be differentiated with respect to the tensor given."""
        if len(given) != 1:
            return method(module, *given)
        key = (method.__name__, given[0].shape)
        if key not in self._gradients:
            self._wanted.setdefault(key, (method, module, given[0].shape))
            self._asked[key] += 1
            if self._asked[key] <= PAYS_AFTER or not _GRADIENTS["in graphs"]:
                return method(module, *given)
            self.make_gradients(PAYS_AFTER)
        gradient = self._gradients[key]
        if gradient is None:
            return method(module, *given)
        apply = cast(Callable[..., Tensor], _ByGraph.apply)
        return apply(given[0], lambda picture: self.run(method, module, (picture,)), gradient)

    def make_gradients(self, asked_at_least: int) -> None:
        """The graphs of gradients that were asked for so often."""
        for key, count in tuple(self._asked.items()):
            with _MAKING, in_pytorch():
                if key not in self._gradients and count >= asked_at_least:
                    self._gradients[key] = _gradient_of(*self._wanted.pop(key))


class _ByGraph(torch.autograd.Function):
    """A picture to features by one graph, and what is asked of the features to what it asks of the picture by another.

    The second one computes the features again. What a first one hands on between takes longer to keep.
    """

    @staticmethod
    def forward(ctx: Any, picture: Tensor, features: Callable[[Tensor], Tensor], gradient: _Graph) -> Tensor:
        ctx.save_for_backward(picture)
        ctx.gradient = gradient
        return features(picture)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_features: Tensor) -> tuple[Tensor, None, None]:
        (picture,) = ctx.saved_tensors
        return ctx.gradient((picture, of_features)), None, None


def _gradient_of(method: Method, module: nn.Module, shape: torch.Size) -> _Graph | None:
    """The graph of a method's gradient: a picture and the gradient of its answer to the gradient of the picture.

    PyTorch differentiates operation by operation, and what it does for each is written down in operations that the
    engine has. Pictures have this shape, their number included.

    Returns:
        None where an operation has no rule: pooling by maximum, or a method whose answer is no single tensor.
    """
    from openvino.frontend import OpConversionFailure
    from torch._decomp import get_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    # Layers that keep channels last hand on strides, of which the engine knows nothing.
    plain = deepcopy(module).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def gradient(picture: Tensor, of_answer: Tensor) -> Tensor:
        seen = picture.detach().requires_grad_()
        with torch.enable_grad():
            answer = method(plain, seen)
        (found,) = torch.autograd.grad(answer, seen, of_answer)
        return found

    with torch.inference_mode(False):
        picture = torch.zeros(shape)
        with torch.no_grad():
            answer = method(plain, picture)
        if not isinstance(answer, Tensor):
            return None
        rules: dict[Any, Any] = dict(get_decompositions(_RULES))
        rules[torch.ops.aten.convolution_backward.default] = _convolution_backward
        given = picture, torch.zeros_like(answer)
        with suppress(OpConversionFailure, RuntimeError):  # of the engine or of PyTorch: an operation without a rule
            return _Graph(lambda made, *given: made(*given), make_fx(gradient, rules)(*given), given, shape[0])
    return None


_RULES: Final = [  # of PyTorch's own; norms are folded into convolutions (`backbones.fold_norms`)
    torch.ops.aten.hardtanh_backward,
    torch.ops.aten.threshold_backward,
    torch.ops.aten.silu_backward,
    torch.ops.aten.elu_backward,
    torch.ops.aten.sigmoid_backward,
    torch.ops.aten.hardswish_backward,
    torch.ops.aten.hardsigmoid_backward,
]


def _convolution_backward(
    of_answer: Tensor,
    given: Tensor,
    weight: Tensor,
    _bias: object,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: object,
    groups: int,
    _wanted: object,
) -> tuple[Tensor, None, None]:
    """The gradient of a convolution's input alone, as a convolution: faster than a transposed one where that will do.

    Arguments are those of PyTorch's operation.
    """
    if transposed:
        raise NotImplementedError("the gradient of a transposed convolution has no rule")
    reach = [dilated * (side - 1) for dilated, side in zip(dilation, weight.shape[2:], strict=True)]
    single = weight.shape[1] == 1 and weight.shape[0] == groups  # one channel at a time
    if max(stride) == 1 and (single or groups == 1):
        turned = weight.flip(2, 3) if single else weight.flip(2, 3).transpose(0, 1)
        rest = [most - padded for most, padded in zip(reach, padding, strict=True)]
        return conv2d(of_answer, turned.contiguous(), None, 1, rest, dilation, groups), None, None
    sides = zip(given.shape[2:], of_answer.shape[2:], stride, padding, reach, strict=True)
    left = [whole - ((part - 1) * step - 2 * padded + most + 1) for whole, part, step, padded, most in sides]
    return conv_transpose2d(of_answer, weight, None, stride, padding, left, groups, dilation), None, None


class _Method(nn.Module):
    """A method of a module as a module of its own, for tracing."""

    def __init__(self, method: Method, module: nn.Module) -> None:
        super().__init__()
        self.module, self.method = module, method
        self.made: type | None = None  # of its answer, where that is a named tuple

    def forward(self, *given: Tensor) -> Any:
        made = self.method(self.module, *given)
        self.made = type(made) if isinstance(made, tuple) else None
        return made


class _Graph:
    """A method compiled for inputs of one shape; a batch of any length, or of one length only."""

    def __init__(self, method: Method, module: nn.Module, given: Sequence[Tensor], batch: int | None = None) -> None:
        ov = openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.inference_mode(False), torch.no_grad():
            examples = tuple(torch.zeros(batch or 2, *each.shape[1:]) for each in given)
            alone = _Method(method, module).eval()
            traced = torch.jit.trace(alone, examples, check_trace=False, strict=False)
            self._type = alone.made
            frontend = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(torch.jit.freeze(traced))  # must outlive the conversion
            model = frontend.convert(frontend.load(decoder))
        for parameter in model.get_parameters():
            parameter.set_element_type(ov.Type.f32)
        model.reshape({number: ov.PartialShape([batch or -1, *each.shape[1:]]) for number, each in enumerate(given)})
        threads = torch.get_num_threads()
        self._model = ov.Core().compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "EXECUTION_MODE_HINT": "ACCURACY",
                "INFERENCE_PRECISION_HINT": "f32",  # on some CPUs its own choice is bfloat16
                "INFERENCE_NUM_THREADS": threads,
                "ENABLE_CPU_PINNING": False,  # several processes would be bound to the same cores
            },
        )
        self._outputs = len(self._model.outputs)
        self._idle: list[Any] = []
        _ALL.add(self)

    def release(self) -> None:
        """Give back what passes were computed in, unless one runs now."""
        with suppress(RuntimeError):  # a pass of another thread is under way
            self._model.release_memory()

    def __call__(self, given: Sequence[Tensor]) -> Any:
        """What the method makes of these tensors."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.infer([each.detach().contiguous().numpy() for each in given], share_inputs=True)
        found = [torch.tensor(request.get_output_tensor(number).data) for number in range(self._outputs)]
        self._idle.append(request)
        return found[0] if self._type is None else self._type(*found)
